"""What the events of a message cost the lane that stores it, and the scribe: microseconds of CPU for a Reception and a Delivery.

Run: ``python -m benchmarks.events_feed``. A lane counts its mail and tells the scribe of frames as they were written; the scribe makes events of
them and writes them down. Records as of ``benchmarks.events_encode``: 10 KB, one recipient, stored 20 at a time.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from benchmarks.events_encode import attempts_of, messages_of
from penstock.events.log import EventLog
from penstock.ipc.channel import Channel, over
from penstock.ipc.feed_words import FEED, ScribeLaneBegin, ScribeLaneFrames
from penstock.ipc.frames import Frame
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.ports import LogPosition
from penstock.mail.records import Verdict
from penstock.mail.status import Tally
from penstock.net.clock import SystemClock
from penstock.scribe.link import LaneLink
from penstock.scribe.scribe import Scribe
from penstock.spool.codec import encode_attempt, encode_transaction
from penstock.spool.entry import Entry
from penstock.spool.frame import Place
from penstock.spool.shelf import Shelved
from penstock.worker.feed import Feed

_GROUP = 20
_ROUNDS = 10


class _Log:
    """A spool's log that nobody reads."""

    def __init__(self) -> None:
        self.synced = LogPosition(1, 64)

    def segments(self) -> list[Shelved]:
        return []

    def events_written(self, position: LogPosition) -> None:
        pass


Group = tuple[list[Entry], LogPosition]


def groups() -> list[Group]:
    """Transactions and then their attempts, group by group, each with the place behind it."""
    offset = 64
    result: list[Group] = []
    messages = messages_of(1)
    attempts = attempts_of(messages, Verdict.ACCEPTED)
    for start in range(0, len(messages), _GROUP):
        entries = []
        places = []
        for message in messages[start : start + _GROUP]:
            entry = Entry(encode_transaction([message]), (message,))
            entry.segment, entry.offset = 1, offset
            places.append(Place(1, offset, 0))
            offset += entry.payload.size
            entries.append(entry)
        for attempt, place in zip(attempts[start : start + _GROUP], places, strict=True):
            entry = Entry(encode_attempt(attempt, place), (attempt,))
            entry.segment, entry.offset = 1, offset
            offset += entry.payload.size
            entries.append(entry)
        result.append((entries, LogPosition(1, offset)))
    return result


def best(work: Callable[[], object], count: int) -> float:
    """Microseconds of CPU each, of the best round: noise only ever adds."""
    found = float("inf")
    for _ in range(_ROUNDS):
        begin = time.process_time()
        work()
        found = min(found, time.process_time() - begin)
    return found / count * 1e6


async def tallied(work: Sequence[Group]) -> float:
    """Counting."""

    def count() -> None:
        tally = Tally()
        for entries, _ in work:
            for entry in entries:
                for record in entry.records:
                    tally.add(record)

    return best(count, len(work) * _GROUP)


async def fed(work: Sequence[Group], root: Path) -> tuple[float, list[Frame]]:
    """A lane telling, over a socket that is read by somebody else's clock; and what was told."""
    log = _Log()
    ours, theirs = socket.socketpair()
    frames: list[Frame] = []
    ended = asyncio.Event()
    reader = Channel(frames.append, lambda reason: ended.set(), tail_limit=1 << 24)
    await over(theirs, reader)
    feed = Feed("0", log, root, root / "none", 1)
    channel = Channel(lambda frame: None, lambda reason: None, tail_limit=1 << 24)
    await over(ours, channel)
    feed._channel = channel
    feed._begin(channel)
    found = float("inf")
    for _ in range(_ROUNDS):
        frames.clear()
        spent = 0.0
        feed._first = feed._last = log.synced = LogPosition(1, 64)
        for number, (entries, position) in enumerate(work):
            begin = time.process_time()
            feed.on_stored(entries, position)
            if number % 4 == 3:  # some 4,000 messages a second: 20 ms
                feed._flush()
            spent += time.process_time() - begin
            await asyncio.sleep(0)
        feed._flush()
        await asyncio.sleep(0.05)
        found = min(found, spent)
    feed.abort()
    channel.abort()
    reader.abort()
    return found / (len(work) * _GROUP) * 1e6, list(frames)


async def written(told: Sequence[Frame], root: Path, count: int) -> float:
    """The scribe, from what came off the socket to what is in the file."""
    found = float("inf")
    for number in range(_ROUNDS):
        log = EventLog(
            root / f"events-{number}",
            clock=SystemClock(),
            max_file_size=ByteCount(1 << 30),
            max_segment_duration=Seconds(3600.0),
        )
        scribe = Scribe(log, "mta1.example.com", 1)
        scribe.open(["0"])
        (root / "spool").mkdir(exist_ok=True)
        link = LaneLink(scribe)
        await asyncio.sleep(0.05)
        kind, head = FEED.encode(ScribeLaneBegin("0", str(root / "spool"), (), (1, 64), ()))
        link._received(Frame(kind, 0, head, b""))
        while log.counts.is_behind:
            await asyncio.sleep(0.005)
        begin = time.process_time()
        for frame in told:
            link._received(frame)
            if len(scribe.lanes["0"].batches) >= 2:
                scribe._write()
        scribe.flush()
        spent = time.process_time() - begin
        assert log.counts.lines >= 2 * count, log.counts
        found = min(found, spent)
        scribe._is_closed = True
        log.close()
    return found / count * 1e6


async def measure() -> None:
    """Print the figures."""
    work = groups()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tally = await tallied(work)
        feed, told = await fed(work, root)
        frames_kind = FEED.encode(ScribeLaneFrames((0, 0), (0, 0), 0))[0]
        told = [frame for frame in told if frame.kind == frames_kind]
        scribe = await written(told, root, len(work) * _GROUP)
    print(f"a lane: counting   {tally:6.2f} µs a message")
    print(f"a lane: telling    {feed:6.2f}")
    print(f"the scribe         {scribe:6.2f}")


def main() -> None:
    """Measure."""
    uvloop.run(measure())


if __name__ == "__main__":
    main()

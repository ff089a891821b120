"""What it costs to store a message in another lane instead of ours: 10 KB, both lanes in one process. ``python -m benchmarks.micro_handover``.

Three ways of storing the same messages, without SMTP: straight into the spool and the lane, through the committer of a server of one lane, and of
one with two lanes, for mail that is at home here and for mail that is not. The last includes encoding, the frame, the socket, decoding, and the
answer, at both ends. The spools are on disk, and not synced.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from penstock.ipc.lane_words import HAND_OVER, socket_of
from penstock.lane.doorway import Doorway
from penstock.lane.neighbours import Neighbours
from penstock.lane.taking_over import Intake
from penstock.mail.address import Address
from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ids import IdSource, MessageId
from penstock.mail.ports import SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, Reception
from penstock.net.clock import SystemClock
from penstock.routing.answer import Exchange
from penstock.routing.placement import Homes, Placement
from penstock.routing.plan import Route, Unroutable
from penstock.spool.durable import DurableSpool
from penstock.spool.log import SpoolOptions
from penstock.worker.committing import Committer

_CONTENT: Final = os.urandom(7500).hex().encode()[:10_000]
_DOMAINS: Final = tuple(f"d{number}.test" for number in range(50))
_MEMORY: Final = 16 * 1024 * 1024


class _Known:
    """Every domain is a site of its own, and known."""

    def __init__(self) -> None:
        forever = MonotonicTime(1e12)
        self._routes = {name: Route(name, (Exchange(1, name),), forever) for name in _DOMAINS}

    def route_cached(self, domain: str, now: MonotonicTime) -> Route | Unroutable | None:
        return self._routes.get(domain)

    def expect(self, domain: str) -> asyncio.Task[Route | Unroutable] | None:
        return None


class _Lane:
    """A spool, and what stands before it."""

    def __init__(self, name: str, root: Path, placement: Placement) -> None:
        clock = self.clock = SystemClock()
        self.ids = IdSource(secrets.randbits(42))
        options = SpoolOptions(durability="os", memory=_MEMORY)
        self.durable = DurableSpool(
            root / name, clock, self.ids, lambda _, position: self.spool.events_written(position), options
        )
        self.spool = self.durable.log
        self.durable.open()
        self.delivered = 0
        self.homes = Homes(placement, name)
        self.neighbours = Neighbours(name, root, clock)
        self.committer = Committer(
            spool=self.spool,
            deliver=self.submit,
            homes=self.homes,
            routes=_Known(),
            neighbours=self.neighbours,
            clock=clock,
            folder=root,
            life=1,
        )
        self.doorway = Doorway(
            socket_of(root, name), {HAND_OVER: Intake(self.spool, self.submit, clock, root).session}
        )

    def submit(self, stored: Sequence[tuple[int, MessageRecord]]) -> None:
        self.delivered += len(stored)

    def straight(self, records: Sequence[MessageRecord], done: Callable[[SpoolError | None], None]) -> None:
        """As it was before there were other lanes."""

        def stored(positions: Sequence[int], fault: SpoolError | None) -> None:
            if fault is None:
                self.submit(list(zip(positions, records, strict=True)))
            done(fault)

        self.spool.store(records, stored)

    async def close(self) -> None:
        await self.committer.close()
        await self.doorway.close(1.0)
        await self.durable.close(Seconds(5.0))


async def measure(lane: _Lane, commit: Callable[..., Any], messages: int, window: int) -> float:
    """Microseconds of this process for each message."""
    reception = Reception(
        "ESMTP", "192.0.2.1", 4711, "client.test", "127.0.0.1:2525", "mx.test", MessageId("1" * 32)
    )
    finished = asyncio.Event()
    sent = stored = 0

    def store() -> None:
        nonlocal sent
        sent += 1
        domain = _DOMAINS[sent % 50]
        now = lane.clock.wall()
        record = MessageRecord(
            lane.ids.next(now), QueueName(domain, "tenant", "campaign"), Address("a", "b.test"),
            (Address("c", domain),), b"Received: from x by y\r\n" * 4, _CONTENT, now, reception,
        )  # fmt: skip
        commit([record], done)

    def done(fault: SpoolError | None) -> None:
        nonlocal stored
        assert fault is None, fault
        stored += 1
        if sent < messages:
            store()
        elif stored == messages:
            finished.set()

    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(window):
        store()
    await finished.wait()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / messages * 1e6


async def run(root: Path, messages: int, window: int, rounds: int) -> dict[str, list[float]]:
    """Rounds of each way, in turn, in one pair of lanes; the first of them warms up."""
    both = ("0", "1")
    here = Placement(both, table=dict.fromkeys(_DOMAINS, "0"))
    there = Placement(both, table=dict.fromkeys(_DOMAINS, "1"))
    lane, other = _Lane("0", root, here), _Lane("1", root, here)
    for each in (lane, other):
        await each.spool.recover(lambda _: None)
        await each.doorway.open()
    lane.committer.use_placement()
    neighbour = lane.neighbours.get("1")
    while neighbour is None or not neighbour.is_taking:
        await asyncio.sleep(0.01)
    commit = lane.committer.commit
    ways = {
        "straight": (here, lane.straight),
        "alone": (here, commit),
        "here": (here, commit),
        "there": (there, commit),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, (placement, store) in ways.items():
            lane.homes.use(placement)
            lane.committer._is_alone = way == "alone"
            found[way].append(await measure(lane, store, messages, window))
    assert other.delivered == messages * (rounds + 1), "not handed over"
    for each in (lane, other):
        await each.close()
    return {way: spent[1:] for way, spent in found.items()}


def main() -> None:
    """Print the least of the rounds: whatever else the machine does only adds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--window", type=int, default=64, help="transactions under way at a time")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-handover-") as root:
        rounds = uvloop.run(run(Path(root), options.messages, options.window, options.rounds))
    least = {way: min(spent) for way, spent in rounds.items()}
    straight = least["straight"]
    print(f"stored straight                            {straight:6.1f} µs of CPU a message")
    print(f"through the committer, one lane            {least['alone'] - straight:+6.1f} µs")
    print(f"through the committer, two lanes, at home  {least['here'] - straight:+6.1f} µs")
    print(f"handed over to another lane                {least['there'] - straight:+6.1f} µs, both ends")


if __name__ == "__main__":
    main()

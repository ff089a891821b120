"""A scribe with lanes, a disk and a clock that tests control."""

from __future__ import annotations

import asyncio
import json
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from penstock.events.event import UnloggedEvent
from penstock.events.ledger import Ledger
from penstock.events.log import EventLog
from penstock.events.record import derive
from penstock.events.survey import ID_LIMIT
from penstock.events.tail import Position, Reader
from penstock.mail.directive import SweepAction
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.ids import MessageId
from penstock.mail.ports import LogPosition
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    OrderRecord,
    QuarantineRecord,
    RebindRecord,
    RemovalRecord,
    SpoolRecord,
    Verdict,
)
from penstock.mail.status import Tally
from penstock.scribe.deriving import REMEMBERED, Envelopes
from penstock.scribe.lane import Batch, Lane
from penstock.scribe.scribe import Scribe
from penstock.sim.clock import FakeClock, Timer
from penstock.spool.codec import (
    Payload,
    encode_attempt,
    encode_expiration,
    encode_note,
    encode_quarantine,
    encode_transaction,
)
from penstock.spool.frame import Place
from penstock.spool.head import Head
from penstock.spool.orders import encode_flush, encode_rebind, encode_removal
from tests.events.samples import (
    attempt,
    directive,
    expiration,
    flush,
    in_queue,
    message,
    outcome,
    rebind,
    rejection,
    removal,
)

from .disk import LosingFiles

NODE = "mta.example"


class FakeSpool:
    """A log of frames of one lane. Those whose events are said to be written are gone, as they are from a real one once a segment is reclaimed."""

    def __init__(self, salt: int = 7) -> None:
        self.frames: list[tuple[Head, LogPosition]] = []
        self.synced = LogPosition(1, 64)
        self.written = LogPosition(0, 0)
        self.broken: Exception | None = None
        self.readings = 0
        #: frames that were read for the messages in them
        self.fetched = 0
        self._salt = salt
        self._places: dict[MessageId, Place] = {}
        self._queues: dict[MessageId, QueueName] = {}

    def store(self, *records: SpoolRecord) -> tuple[Batch, LogPosition]:
        """Records on stable storage, each in a frame; the frames, and the place behind them."""
        first = self.synced
        heads = [self._append(record) for record in records]
        return Batch(first, self.synced, heads), self.synced

    def _append(self, record: SpoolRecord) -> Head:
        number, offset = self.synced
        payload = self._payload(record)
        octets = payload.buffers[0]
        head = Head(
            number, offset, payload.meaning.kind, payload.version, octets, payload.length - len(octets)
        )
        self.synced = LogPosition(number, head.end)
        self.frames.append((head, self.synced))
        return head

    def _payload(self, record: SpoolRecord) -> Payload:
        match record:
            case MessageRecord():
                self._places[record.id] = Place(*self.synced, 0)
                self._queues[record.id] = record.queue
                return encode_transaction([record])
            case AttemptRecord():
                return encode_attempt(record, *self._about(record.message))
            case ExpirationRecord():
                return encode_expiration(record, *self._about(record.message))
            case RemovalRecord() | RebindRecord() | FlushRecord():
                return self._of_order(record)
            case QuarantineRecord():
                return encode_quarantine(record, Place(1, 64, 0), 0, (0, 1))
        return encode_note(record)

    def _of_order(self, record: OrderRecord) -> Payload:
        about = self._about(record.message)
        match record:
            case RemovalRecord():
                return encode_removal(record, *about)
            case RebindRecord():
                return encode_rebind(record, *about)
            case FlushRecord():
                return encode_flush(record, *about)

    def _about(self, message: MessageRecord) -> tuple[Place, QueueName | None]:
        """Where a message is, and in which queue, if that is not the one that it was accepted for."""
        return self._places[message.id], message.queue if message.queue != self._queues[message.id] else None

    def begin_segment(self) -> None:
        """The next records are in another segment."""
        self.synced = LogPosition(self.synced.segment + 1, 64)

    def salt(self, segment: int) -> int | None:
        """See LaneLog."""
        return self._salt + segment if segment <= self.synced.segment else None

    def heads(self, start: LogPosition) -> Iterator[tuple[Head | None, LogPosition]]:
        """See LaneLog."""
        assert start >= self.written, f"what is asked for is gone: {start} < {self.written}"
        self.readings += 1
        last = start
        while True:
            if self.broken is not None:
                raise self.broken
            place = bisect_right(self.frames, last, key=lambda item: item[1])
            if place == len(self.frames):
                return
            following = self.frames[place]
            yield None, last
            yield following
            last = following[1]

    def head(self, segment: int, offset: int) -> Head:
        """See LaneLog."""
        self.fetched += 1
        place = bisect_right(self.frames, LogPosition(segment, offset), key=lambda item: item[1])
        head = self.frames[place][0]
        assert (head.segment, head.offset) == (segment, offset)
        return head

    def events_written(self, position: LogPosition) -> None:
        """See LaneLog."""
        self.written = max(self.written, position)

    def close(self) -> None:
        """See LaneLog."""


class World:
    """One scribe after another for the spools of some lanes and one directory of events. The lanes' processes go on when a scribe crashes."""

    def __init__(
        self,
        directory: Path,
        *,
        cut_at: int | None = None,
        max_file_size: int = 1 << 20,
        id_limit: int = ID_LIMIT,
        lanes: Sequence[str] = ("0", "1"),
        envelopes: int = REMEMBERED,
    ) -> None:
        self.directory = directory / "events"
        self.spools = {name: FakeSpool() for name in lanes}
        self.clock = FakeClock()
        self.files = LosingFiles(cut_at)
        self.stored: list[SpoolRecord] = []
        self.jobs: list[tuple[Callable[[], None], Callable[[Exception | None], None]]] = []
        self.holds_jobs = False
        self.turns = 0
        self.least_delay = Seconds(0.0)
        #: of each lane's process: (place, epoch of the frames behind it)
        self.epochs: dict[str, list[tuple[LogPosition, int]]] = {
            name: [(LogPosition(1, 64), 1)] for name in lanes
        }
        self.attached: dict[str, Lane] = {}
        self._max_file_size = max_file_size
        self._id_limit = id_limit
        self._envelopes = envelopes
        self._number = 0
        self.make()

    @property
    def spool(self) -> FakeSpool:
        """That of the first lane."""
        return next(iter(self.spools.values()))

    def keep_all(self) -> None:
        """Nothing was reclaimed: all frames can be read again."""
        for spool in self.spools.values():
            spool.written = LogPosition(0, 0)

    def replace_spools(self) -> None:
        """Somebody has put other spools in place of those that there were."""
        self.spools = {name: FakeSpool(salt=1000) for name in self.spools}
        self.epochs = {name: [(LogPosition(1, 64), 1)] for name in self.spools}
        self.stored.clear()

    def reload(self, epoch: int) -> None:
        """All lanes go on with another configuration."""
        for name, spool in self.spools.items():
            self.epochs[name].append((spool.synced, epoch))
            if name in self.attached:
                self.scribe.use_epoch(self.attached[name], epoch, spool.synced)

    def make(self, *, epoch: int = 1) -> None:
        """A scribe, not started yet."""
        self.log = EventLog(
            self.directory,
            clock=self.clock,
            max_file_size=ByteCount(self._max_file_size),
            max_segment_duration=Seconds(3600.0),
            files=self.files,
        )
        self.scribe = Scribe(
            self.log,
            NODE,
            epoch,
            timers=self,
            aside=self._aside,
            id_limit=self._id_limit,
            envelopes=Envelopes(self._envelopes),
        )
        self.attached = {}

    def start(self) -> None:
        """The scribe begins, and all lanes come to it."""
        self.scribe.open(self.spools)
        for name in self.spools:
            self.attach(name)

    def attach(self, name: str) -> None:
        """A lane's process comes."""
        self.attached[name] = self.scribe.attach(name, self.spools[name], self.epochs[name])

    def detach(self, name: str) -> None:
        """A lane's process goes."""
        self.scribe.detach(self.attached.pop(name))

    def restart_lane(self, name: str, epoch: int = 1) -> None:
        """A lane's process has gone, and the next one has its spool: it begins another segment."""
        self.detach(name)
        self.spools[name].begin_segment()
        self.epochs[name] = [(self.spools[name].synced, epoch)]

    def crash(self, *, power: random.Random | None = None, cut_at: int | None = None) -> None:
        """The scribe is gone, by the power if there is chance in what that takes; the next one is there, not started yet.

        With the power all lanes' processes go.
        """
        self.files = self.files.next_run(power=power, cut_at=cut_at)
        self.clock = FakeClock(self.clock.wall() + 1.0)
        self.jobs.clear()
        if power is not None:
            for name, spool in self.spools.items():
                spool.begin_segment()
                self.epochs[name] = [(spool.synced, 1)]
        self.make()

    def call_later(self, delay: Seconds, callback: Callable[[], None]) -> Timer:
        """See Timers. The loop is so busy that nothing comes sooner than after ``least_delay``."""

        def turn() -> None:
            self.turns += 1
            callback()

        return self.clock.call_later(max(delay, self.least_delay), turn)

    def _aside(self, work: Callable[[], None], done: Callable[[Exception | None], None]) -> None:
        if self.holds_jobs:
            self.jobs.append((work, done))
        else:
            self.clock.call_later(Seconds(0.001), lambda: self._do(work, done))

    @staticmethod
    def _do(work: Callable[[], None], done: Callable[[Exception | None], None]) -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as caught:  # noqa: BLE001 - as the thread does
            error = caught
        done(error)

    # -- mail

    def message(self, *recipients: str, tenant: str | None = "acme") -> MessageRecord:
        """A message of its own."""
        self._number += 1
        return msgspec.structs.replace(
            message(*recipients, tenant=tenant),
            id=MessageId(f"{self._number:032x}"),
            created=self.clock.wall(),
        )

    def store(self, *records: SpoolRecord, lane: str | None = None) -> None:
        """A spool has stored these together, that of the first lane if no other is named."""
        name = lane if lane is not None else next(iter(self.spools))
        self.stored += records
        batch, _ = self.spools[name].store(*records)
        if name in self.attached:
            self.scribe.on_frames(self.attached[name], batch)

    def mail(self, count: int = 1) -> None:
        """So many messages come, and are delivered but for a part; with a rejection between. The lanes take turns."""
        names = list(self.spools)
        for _ in range(count):
            sent = self.message("a", "b", tenant=random.Random(self._number).choice(["acme", "beta", None]))
            lane = names[self._number % len(names)]
            self.store(sent, lane=lane)
            at = self.clock.wall()
            self.store(
                attempt(outcome(Verdict.ACCEPTED), outcome(Verdict.DEFERRED, 1), of=sent, at=at),
                msgspec.structs.replace(rejection(), id=MessageId(f"f{self._number:031x}")),
                lane=lane,
            )
            if self._number % 3 == 0:
                self.store(expiration(1, of=sent, attempts=1), lane=lane)
            elif self._number % 3 == 1:
                self.order(sent, lane)

    def order(self, sent: MessageRecord, lane: str) -> None:
        """A message goes to another tenant, is tried now, and is bounced or deleted; every other one without a word."""
        is_silent = self._number % 2 == 0
        to = random.Random(self._number).choice(["acme", "beta", "gamma"])
        bound = rebind(1, of=sent, to=to, suppress_logging=is_silent)
        moved = in_queue(sent, bound.queue)
        action = random.Random(self._number).choice([SweepAction.BOUNCE, SweepAction.DELETE])
        self.store(
            bound,
            flush(1, of=moved, suppress_logging=is_silent),
            removal(1, of=moved, action=action, suppress_logging=is_silent),
            msgspec.structs.replace(directive(), id=MessageId(f"e{self._number:031x}")),
            lane=lane,
        )

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(Seconds(seconds))

    def close(self) -> None:
        """The process ends in order."""

        async def end() -> None:
            closing = asyncio.create_task(self.scribe.close())
            while not closing.done():
                await asyncio.sleep(0)
                self.advance(0.01)
            await closing

        asyncio.run(end())

    # -- what is there

    def lines(self) -> list[dict[str, Any]]:
        """The events that a reader of the log gets, without what is none."""
        lines: list[bytes] = []
        with Reader(self.directory, Position()) as reader:
            for found in reader.batches():
                if not found:
                    break
                lines += found
        return [event for line in lines if (event := _event(line)) is not None]

    def ids(self) -> list[str]:
        """Ids of events, but for the files' openings."""
        return [event["event_id"] for event in self.lines() if event["type"] != "Totals"]

    def expected_ids(self) -> list[str]:
        """The ids that all that was ever stored has."""
        return [
            event.event_id
            for record in self.stored
            for event in derive(record, node=NODE, epoch=1)
            if not isinstance(event, UnloggedEvent)
        ]

    def assert_in_order(self) -> None:
        """The events of each message are there in the order in which they happened."""
        last: dict[str, int] = {}
        for event in self.lines():
            if event["type"] != "Totals":
                assert event["sequence"] >= last.get(event["id"], 0)
                last[event["id"]] = event["sequence"]

    def assert_exactly_once(self) -> None:
        """Every event of everything that was stored is there, once, and the sums of all files are right."""
        assert sorted(self.ids()) == sorted(self.expected_ids())
        assert Ledger(self.directory).report().findings == []

    def assert_queued(self) -> None:
        """As many recipients are queued, of each tenant, as the records leave: to be asked when a second has passed, or the scribe has ended."""
        tally = Tally()
        for record in self.stored:
            tally.add(record)
        report = Ledger(self.directory).report()
        expected = {tenant: counts.queued for tenant, counts in tally.tenants.items() if counts.queued}
        assert {counts.tenant: counts.queued for counts in report.tenants if counts.queued} == expected
        assert report.totals.queued == tally.total.queued
        assert report.totals.dropped == tally.total.dropped


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def recover(world: World) -> None:
    """The next scribe reads back what is missing, takes more mail, and ends in order."""
    world.start()
    world.mail(1)
    world.advance(3.0)
    assert not world.log.counts.is_behind
    world.mail(1)
    world.advance(2.0)
    for spool in world.spools.values():
        assert spool.written == spool.synced
    world.close()

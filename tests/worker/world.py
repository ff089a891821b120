"""A journal with a spool, a disk and a clock that tests control."""

from __future__ import annotations

import asyncio
import json
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from penstock.events.files import log_files
from penstock.events.ledger import Ledger
from penstock.events.log import EventLog
from penstock.events.record import derive
from penstock.events.survey import ID_LIMIT
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.ids import MessageId
from penstock.mail.ports import LogPosition
from penstock.mail.records import MessageRecord, SpoolRecord, Verdict
from penstock.sim.clock import FakeClock, Timer
from penstock.worker.journal import Journal
from tests.events.samples import attempt, expiration, message, outcome, rejection

from .disk import LosingFiles

NODE = "mta.example"


class FakeSpool:
    """A log of records. Those whose events are said to be written are gone, as they are from a real one once a segment is reclaimed."""

    def __init__(self) -> None:
        self.records: list[tuple[SpoolRecord, LogPosition]] = []
        self.synced = LogPosition(1, 64)
        self.written = LogPosition(0, 0)
        self.broken: Exception | None = None
        self.readings = 0

    def store(self, *records: SpoolRecord) -> LogPosition:
        """Records on stable storage; the place behind them."""
        for record in records:
            self.synced = LogPosition(self.synced.segment, self.synced.offset + 16)
            self.records.append((record, self.synced))
        return self.synced

    def begin_segment(self) -> None:
        """The next records are in another segment."""
        self.synced = LogPosition(self.synced.segment + 1, 64)

    def history(self, start: LogPosition) -> Iterator[tuple[SpoolRecord | None, LogPosition]]:
        """See FollowedLog."""
        assert start >= self.written, "what is asked for is gone"
        self.readings += 1
        last = start
        while True:
            if self.broken is not None:
                raise self.broken
            place = bisect_right(self.records, last, key=lambda item: item[1])
            if place == len(self.records):
                return
            following = self.records[place]
            yield None, last
            yield following
            last = following[1]

    def events_written(self, position: LogPosition) -> None:
        """See FollowedLog."""
        self.written = max(self.written, position)


class World:
    """One process after another on one spool and one directory of events."""

    def __init__(
        self,
        directory: Path,
        *,
        cut_at: int | None = None,
        max_file_size: int = 1 << 20,
        id_limit: int = ID_LIMIT,
    ) -> None:
        self.directory = directory / "events"
        self.spool = FakeSpool()
        self.clock = FakeClock()
        self.files = LosingFiles(cut_at)
        self.stored: list[SpoolRecord] = []
        self.jobs: list[tuple[Callable[[], None], Callable[[Exception | None], None]]] = []
        self.holds_jobs = False
        self.turns = 0
        self.least_delay = Seconds(0.0)
        self._max_file_size = max_file_size
        self._id_limit = id_limit
        self._number = 0
        self.make()

    def make(self, *, epoch: int = 1) -> None:
        """A process, not started yet."""
        self.log = EventLog(
            self.directory,
            clock=self.clock,
            max_file_size=ByteCount(self._max_file_size),
            max_segment_duration=Seconds(3600.0),
            files=self.files,
        )
        self.journal = Journal(self.log, NODE, epoch, timers=self, aside=self._aside, id_limit=self._id_limit)

    def start(self) -> None:
        """The journal follows the spool."""
        self.journal.start(self.spool)

    def crash(self, *, power: random.Random | None = None, cut_at: int | None = None) -> None:
        """This process is gone, by the power if there is chance in what that takes; the next one is there, not started yet."""
        self.files = self.files.next_run(power=power, cut_at=cut_at)
        self.clock = FakeClock(self.clock.wall() + 1.0)
        self.jobs.clear()
        self.spool.begin_segment()
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

    def store(self, *records: SpoolRecord) -> None:
        """The spool has stored these together."""
        self.stored += records
        position = self.spool.store(*records)
        self.journal.on_stored(records, position)

    def mail(self, count: int = 1) -> None:
        """So many messages come, and are delivered but for a part; with a rejection between."""
        for _ in range(count):
            sent = self.message("a", "b", tenant=random.Random(self._number).choice(["acme", "beta", None]))
            self.store(sent)
            at = self.clock.wall()
            self.store(
                attempt(outcome(Verdict.ACCEPTED), outcome(Verdict.DEFERRED, 1), of=sent, at=at),
                msgspec.structs.replace(rejection(), id=MessageId(f"f{self._number:031x}")),
            )
            if self._number % 3 == 0:
                self.store(expiration(1, of=sent, attempts=1))

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(Seconds(seconds))

    def close(self) -> None:
        """The process ends in order."""

        async def end() -> None:
            closing = asyncio.create_task(self.journal.close())
            while not closing.done():
                await asyncio.sleep(0)
                self.advance(0.01)
            await closing

        asyncio.run(end())

    # -- what is there

    def lines(self) -> list[dict[str, Any]]:
        """The events that a reader of the log gets, without what is none."""
        lines = [line for path in log_files(self.directory) for line in path.read_bytes().split(b"\n")[:-1]]
        return [event for line in lines if (event := _event(line)) is not None]

    def ids(self) -> list[str]:
        """Ids of events, but for the files' openings."""
        return [event["event_id"] for event in self.lines() if event["type"] != "Totals"]

    def expected_ids(self) -> list[str]:
        """The ids that all that was ever stored has."""
        return [event.event_id for record in self.stored for event in derive(record, node=NODE, epoch=1)]

    def assert_exactly_once(self) -> None:
        """Every event of everything that was stored is there, once, and the sums of all files are right."""
        assert sorted(self.ids()) == sorted(self.expected_ids())
        assert Ledger(self.directory).report().findings == []


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def ids_of(records: Sequence[SpoolRecord]) -> list[str]:
    """The ids of the events of these records."""
    return [event.event_id for record in records for event in derive(record, node=NODE, epoch=1)]


def recover(world: World) -> None:
    """The next process reads back what is missing, takes more mail, and ends in order."""
    world.start()
    world.mail(1)
    world.advance(3.0)
    assert not world.journal.is_behind
    world.mail(1)
    world.advance(2.0)
    assert world.spool.written == world.spool.synced
    world.close()

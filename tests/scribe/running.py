"""A scribe, and lanes with spools of their own, in one process: connected by sockets, as in a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from penstock.events.files import log_files
from penstock.events.log import EventLog
from penstock.events.record import derive
from penstock.ipc.channel import ListeningServer, listen
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import LogPosition
from penstock.mail.records import AttemptRecord, ExpirationRecord, MessageRecord, NoteRecord, SpoolRecord
from penstock.net.clock import SystemClock
from penstock.scribe.link import LaneLink
from penstock.scribe.scribe import Scribe
from penstock.spool.durable import DurableSpool
from penstock.spool.log import SpoolOptions
from penstock.worker.feed import Feed

NODE = "mta.example"
_PATIENCE = 10.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it; AssertionError if it does not come."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never: {what}"
        await asyncio.sleep(0.002)


class RunningLane:
    """A lane: its spool, its feed, and what it has stored."""

    def __init__(self, name: str, root: Path, socket: Path, *, segment_size: int) -> None:
        self.folder = root / name
        self.stored: list[SpoolRecord] = []
        self.positions: dict[str, int] = {}
        self._durable = DurableSpool(
            self.folder,
            SystemClock(),
            IdSource(1),
            self._on_stored,
            SpoolOptions(durability="os", segment_size=segment_size),
        )
        self.spool = self._durable.log
        self._name = name
        self._socket = socket
        self.feed: Feed

    def _on_stored(self, records: Any, position: LogPosition) -> None:
        self.stored += records

    async def start(self, epoch: int = 1) -> None:
        """Recover the spool, and look for the scribe."""
        self._durable.open()
        await self.spool.recover(lambda messages: None)
        self.feed = Feed(self._name, self.spool, self.folder, self._socket, epoch)
        self.spool.follower = self.feed
        self.feed.start()

    def store(self, *records: MessageRecord) -> None:
        """Messages of one transaction."""

        def done(rows: Any, fault: Exception | None) -> None:
            assert fault is None
            self.positions.update(zip([record.id for record in records], rows, strict=True))

        self.spool.store(records, done)

    def record(self, *records: AttemptRecord | ExpirationRecord) -> None:
        """What became of messages."""
        for record in records:
            position = self.positions[record.message.id]
            if isinstance(record, AttemptRecord):
                self.spool.record_attempt(position, record)
            else:
                self.spool.record_expiration(position, record)

    def note(self, record: NoteRecord) -> None:
        """A note."""
        self.spool.note(record)

    async def stop(self) -> None:
        """In order: first all is stored, then told."""
        await self._durable.close(Seconds(5.0))
        await self.feed.close()

    @property
    def is_quiet(self) -> bool:
        """Whether all is stored."""
        return self.spool._appender.is_quiet

    def kill(self) -> None:
        """At once: what was not told is not told."""
        self.spool.follower = None
        self.feed.abort()
        self.spool.finish()
        self._durable._files.close()


class _Aside:
    """Does what is to be done beside the loop in a turn of its own, until the process is dead."""

    def __init__(self) -> None:
        self.is_dead = False

    def __call__(self, work: Callable[[], None], done: Callable[[Exception | None], None]) -> None:
        def turn() -> None:
            if not self.is_dead:
                work()
                done(None)

        asyncio.get_running_loop().call_soon(turn)


class RunningScribe:
    """A scribe that listens, and its event log."""

    def __init__(self, root: Path) -> None:
        self.socket = root / "scribe.sock"
        self.directory = root / "events"
        self._server: ListeningServer | None = None
        self._links: list[LaneLink] = []
        self.scribe: Scribe

    async def start(self, lanes: list[str]) -> None:
        """Begin."""
        log = EventLog(
            self.directory,
            clock=SystemClock(),
            max_file_size=ByteCount(1 << 20),
            max_segment_duration=Seconds(3600.0),
        )
        self._aside = _Aside()
        self.scribe = Scribe(log, NODE, 1, aside=self._aside)
        self.scribe.open(lanes)

        def make() -> Any:
            self._links.append(LaneLink(self.scribe))
            return self._links[-1].channel

        self._server = await listen(self.socket, make)

    async def stop(self) -> None:
        """In order."""
        assert self._server is not None
        self._server.close()
        await self.scribe.close()
        for link in self._links:
            link.channel.abort()

    def kill(self) -> None:
        """At once, without a last word."""
        assert self._server is not None
        self._server.close()
        for link in self._links:
            link.channel.abort()
        self._aside.is_dead = True
        self.scribe._is_closed = True
        for timer in (self.scribe._flush_timer, self.scribe._write_timer, self.scribe._read_timer):
            if timer is not None:
                timer.cancel()  # type: ignore[attr-defined]

    def events(self) -> list[dict[str, Any]]:
        """All events that are there."""
        lines = [line for path in log_files(self.directory) for line in path.read_bytes().splitlines()]
        return [event for event in map(json.loads, lines) if event["type"] != "Totals"]

    def ids(self) -> list[str]:
        """Their ids."""
        return [event["event_id"] for event in self.events()]


def expected(*lanes: RunningLane) -> list[str]:
    """The ids of the events of all that lanes have stored."""
    return sorted(
        event.event_id
        for lane in lanes
        for record in lane.stored
        for event in derive(record, node=NODE, epoch=1)
    )


@asynccontextmanager
async def running(
    root: Path, *names: str, segment_size: int = 1 << 20
) -> AsyncIterator[tuple[RunningScribe, list[RunningLane]]]:
    """A scribe, with lanes that it follows."""
    scribe = RunningScribe(root)
    lanes = [RunningLane(name, root, scribe.socket, segment_size=segment_size) for name in names]
    await scribe.start(list(names))
    for lane in lanes:
        await lane.start()
    await until(lambda: all(lane.feed.is_connected for lane in lanes), "all lanes are connected")
    await until(lambda: not scribe.scribe.log.counts.is_behind, "nothing is read back")
    try:
        yield scribe, lanes
    finally:
        for lane in lanes:
            await lane.stop()
        await scribe.stop()

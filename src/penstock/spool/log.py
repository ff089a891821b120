"""The durable spool: ``penstock.mail.ports.Spool`` on a log of segments (decision 12).

    appender    the end of the log: group commit, and what becomes of failures
    queued      what is queued, in columns
    arrivals    what has come from other lanes, and is held
    departures  what has gone to other lanes
    recent      messages that are still in memory
    reading     messages that are not
    retrieval   both of them, for whoever asks
    finding     messages by their ids
    bodies      large contents
    reclaim     gives back what is not needed any more
    health      whether new mail is taken
    times       what time it was
    recovery    what was there at the start
    history     the records again, for events

All of it happens on one loop. Nothing here waits for a disk, but for the write into the system's memory and what a start must know.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from penstock.mail.configuration import Reserve
from penstock.mail.duration import Seconds, to_next_second
from penstock.mail.ids import IdSource
from penstock.mail.ports import (
    Clock,
    Fetched,
    Found,
    LogPosition,
    OnStored,
    SpoolError,
    StoreDone,
    Unreadable,
)
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    NoteRecord,
    QueuedMessage,
    RebindRecord,
    RemovalRecord,
    SpoolHealthRecord,
    SpoolRecord,
    StoredMessage,
)
from penstock.mail.status import Durability, SpoolCounts
from penstock.spool.appender import Appender
from penstock.spool.arrivals import Arrivals
from penstock.spool.bodies import Bodies
from penstock.spool.codec import (
    INLINE_LIMIT,
    Body,
    Payload,
    as_encoded,
    encode_attempt,
    encode_expiration,
    encode_note,
    encode_transaction,
)
from penstock.spool.departures import Departures
from penstock.spool.entry import Entry, Follower
from penstock.spool.files import File, FileError, Files
from penstock.spool.finding import Finding
from penstock.spool.frame import Place
from penstock.spool.health import Health
from penstock.spool.history import History
from penstock.spool.loop import Handle, Loop
from penstock.spool.orders import encode_flush, encode_rebind, encode_removal
from penstock.spool.queued import Queued
from penstock.spool.reading import Background, Reading
from penstock.spool.recent import Recent
from penstock.spool.reclaim import Reclaim
from penstock.spool.restart import Restart
from penstock.spool.retrieval import Retrieval
from penstock.spool.segment import SEGMENT_SIZE
from penstock.spool.shelf import Shelf, Shelved
from penstock.spool.syncer import Syncer
from penstock.spool.times import Times

LOG = logging.getLogger(__name__)

#: Notes that are kept while nothing can be written.
_NOTES_KEPT: Final = 1000
#: Ticks between two notes of the time.
_NOTE_EVERY: Final = 60
#: Seconds of the loop that a slice of the recovery takes.
_SLICE: Final = 0.001


#: Makes a frame of messages, whose content is in a body file or is not.
Encode = Callable[[Sequence[MessageRecord], Body | None], Payload]


class SpoolOptions(msgspec.Struct, frozen=True):
    """How a spool is run. ``memory``: octets of messages that are kept in memory; ``segment_size`` and ``reserve`` as their modules say."""

    durability: Durability = "fsync"
    reserve: Reserve = Reserve(share=0.05)
    memory: int = 256 * 1024 * 1024
    segment_size: int = SEGMENT_SIZE


class SpoolLog:
    """See the module. ``open`` comes first, then ``recover``; mail can be stored in between.

    ``salt`` draws 32 random bits. ``on_stored`` is called with records in the order of the log, once they are on stable storage.
    """

    def __init__(
        self,
        files: Files,
        syncer: Syncer,
        loop: Loop,
        background: Background,
        clock: Clock,
        ids: IdSource,
        salt: Callable[[], int],
        on_stored: OnStored,
        options: SpoolOptions,
    ) -> None:
        self._files = files
        self._syncer = syncer
        self._loop = loop
        self._background = background
        self._clock = clock
        self._ids = ids
        self._salt = salt
        self._on_stored = on_stored
        #: who is told of the frames that are stored
        self.follower: Follower | None = None
        self._queued = Queued()
        self._shelf = Shelf(files)
        self._recent = Recent(options.memory)
        self._times = Times(files)
        self._health = Health(files, clock, options.reserve, self._health_changed)
        size = options.segment_size
        self._appender = Appender(files, syncer, loop, clock, self._shelf, salt, self, size)
        self._bodies = Bodies(files, loop, self._appender)
        self._reading = Reading(files, self._shelf, background)
        #: messages that come from other lanes, and go there
        self.arrivals = Arrivals(self, self._queued, self._shelf, clock, loop)
        self.departures = Departures(self, self._queued, self._shelf, self._appender, clock, size)
        self._reclaim = Reclaim(
            files, loop, self._queued, self._shelf, self._appender, self._reading, self._bodies, size, self
        )
        self._counts = SpoolCounts(durability=options.durability, is_recovering=True)
        self._retrieval = Retrieval(
            self,
            self._queued,
            self._recent,
            self._reading,
            self._bodies,
            loop,
            clock,
            ids,
            self._reclaim.original,
            self._counts,
        )
        self._finding = Finding(
            files,
            self._shelf,
            self._queued,
            self._recent,
            loop,
            background,
            self._reclaim.original,
            lambda: self._times.offsets,
        )
        self._history = History(self._shelf, lambda: self._appender.synced)
        self._watchers: list[Callable[[], None]] = []
        self._restart: Restart | None = None
        self._ticks = 0
        self._tick: Handle | None = None
        #: contents that are being written to files
        self._writing = 0
        self._is_closing = False
        self._quiet: asyncio.Event | None = None
        self._told_refusing: str | None = None

    # -- the beginning and the end

    def open(self) -> None:
        """Take the spool, and make it ready for new mail; blocks, for a short time. FileError, NewerFormat."""
        self._files.lock()
        restart = self._restart = Restart(self._files, self._queued, self._shelf, self._bodies, self._times)
        number = restart.begin(self._clock.wall())
        self._bodies.prefix = f"{number:x}-{self._salt():x}"
        self._appender.open(number)
        self._syncer.start()
        self._health.look()
        self._tick = self._loop.call_later(to_next_second(self._clock.monotonic()), self._on_tick)

    def restore(self, restored: Callable[[Sequence[QueuedMessage]], None]) -> Iterator[None]:
        """Read what was there at the start, in small steps, then tell of what is queued, some at a time. FileError, NewerFormat."""
        restart = self._restart
        assert restart is not None  # noqa: S101 -- opened first
        yield from restart.steps(restored)
        self._restart = None
        yield from self.arrivals.find_moves()
        yield from self.departures.find(restart.forgets)
        self._counts.quarantined += restart.quarantined
        for text in restart.damages:
            now = self._clock.wall()
            self.note(
                SpoolHealthRecord(self._ids.next(now), now, not self.has_room(), not self.can_record(), text)
            )
        self._counts.is_recovering = False
        self._reclaim.start()

    async def recover(self, restored: Callable[[Sequence[QueuedMessage]], None]) -> None:
        """``restore``, with others having their turn in between."""
        begun = self._clock.monotonic()
        for _ in self.restore(restored):
            if self._clock.monotonic() - begun > _SLICE:
                await asyncio.sleep(0)
                begun = self._clock.monotonic()

    async def close(self, grace: Seconds) -> None:
        """Wait until everything is stored, within ``grace`` seconds, then end."""
        self._is_closing = True
        if not self._appender.is_quiet or self._writing:
            self._quiet = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._quiet.wait()
        self.finish()

    def finish(self) -> None:
        """End; what is not stored is not."""
        if self._tick is not None:
            self._tick.cancel()
        self._background.close()
        self._times.note(self._clock.wall())
        self._appender.close()
        self._bodies.close()
        self._shelf.close()

    # -- storing

    def store(
        self, records: Sequence[MessageRecord], done: StoreDone, encoded: bytes | None = None
    ) -> None:  # hot: throughput
        """See Spool."""
        if encoded is None:
            self.store_as(records, encode_transaction, done)
        else:
            self.store_as(records, partial(_as_it_came, encoded=encoded), done)

    def store_as(
        self, records: Sequence[MessageRecord], encode: Encode, done: StoreDone
    ) -> None:  # hot: throughput
        """See ``arrivals.Owner``."""
        if not self._health.can_record():
            raise SpoolError(self._health.fault)
        content = records[0].content
        if len(content) <= INLINE_LIMIT:
            self._append(records, None, encode, done)
            return

        def written(body: Body | SpoolError) -> None:
            self._writing -= len(content)
            if isinstance(body, SpoolError):
                done((), body)
                return
            try:
                self._append(records, body, encode, done)
            except SpoolError as fault:
                self._bodies.discard(body.name)
                done((), fault)

        try:
            self._bodies.store(content, written)
        except FileError as error:
            raise SpoolError(str(error)) from error
        self._writing += len(content)

    def _append(
        self, records: Sequence[MessageRecord], body: Body | None, encode: Encode, done: StoreDone
    ) -> None:  # hot: throughput
        payload = encode(records, body)
        states = payload.meaning.states
        rows: list[int] = []

        def stored(fault: SpoolError | None) -> None:
            if fault is None:
                self._recent.unpin(rows)
                self._counts.stored += len(rows)
                done(rows, None)
                return
            for row in rows:
                self._recent.drop(row)
                self._queued.drop(row)
            if body is not None:
                # if nobody knows what is stored, the file may be needed at the next start
                self._bodies.names.pop((entry.segment, entry.offset), None)
            done((), fault)

        # what comes from another lane is ours, and told, when it is released
        entry = Entry(payload, () if states else records, stored)
        self._appender.append(entry, is_urgent=True)
        rows += self._queued.put(entry.segment, entry.offset, payload.meaning.messages)
        if states:
            self.arrivals.stored(rows, entry.segment, entry.offset, payload.meaning)
        self._recent.pin(rows, records)
        if body is not None:
            self._bodies.names[(entry.segment, entry.offset)] = body.name

    # -- what becomes of messages

    def record_attempt(self, position: int, record: AttemptRecord) -> None:  # hot: throughput
        """See Spool."""
        self._record(position, record, encode_attempt)

    def record_expiration(self, position: int, record: ExpirationRecord) -> None:
        """See Spool."""
        self._record(position, record, encode_expiration)

    def record_removal(self, position: int, record: RemovalRecord) -> None:
        """See Spool."""
        self._record(position, record, encode_removal)

    def record_rebind(self, position: int, record: RebindRecord) -> None:
        """See Spool."""
        self._record(position, record, encode_rebind)

    def record_flush(self, position: int, record: FlushRecord) -> None:
        """See Spool."""
        self._record(position, record, encode_flush)

    def _record(
        self, row: int, record: SpoolRecord, encode: Callable[..., Payload]
    ) -> None:  # hot: throughput
        queued = self._queued
        if not queued.waiting[row]:
            LOG.warning(
                "spool: an outcome of a message that was settled meanwhile is dropped: position %d", row
            )
            return
        if queued.rebound and row in queued.rebound:
            encode = partial(encode, queue=queued.queue_name(row))
        self.record(row, record, encode)

    def record(
        self,
        row: int,
        record: SpoolRecord,
        encode: Callable[[Any, Place], Payload],
        then: Callable[[], None] | None = None,
        *,
        is_urgent: bool = False,
    ) -> Entry:  # hot: throughput
        """See ``arrivals.Owner``."""
        queued = self._queued
        place = queued.place(row)
        payload = encode(record, place)
        change = payload.meaning.change
        assert change is not None  # noqa: S101 -- each of these frames makes one
        entry = Entry(payload, (record,), None, place, encode)
        self._appender.append(entry, is_urgent=is_urgent)
        queued.change(row, payload.meaning.kind, change)
        if payload.meaning.queue is not None:
            queued.rebind(row, payload.meaning.queue)
        if queued.waiting[row]:
            if then is None:
                # it will be needed again after its retry interval, not before
                self._recent.drop(row)
            self._reclaim.hold(row)
            entry.after = partial(self._reclaim.release, row)
        else:
            self._settled(row, place, entry)
        if then is not None:
            entry.after = _both(entry.after, then)
        return entry

    def _settled(self, row: int, place: Place, entry: Entry) -> None:  # hot: throughput
        self._recent.drop(row)
        names = self._bodies.names
        if names and place[:2] in names and not self._queued.has_live(place.segment, place.offset):
            entry.after = partial(self._bodies.free, names.pop(place[:2]))
        if row not in self._retrieval.damaged:
            self._queued.free(row)

    def note(self, record: NoteRecord) -> None:
        """See Spool."""
        if self._appender.kept >= _NOTES_KEPT or self._is_closing:
            self._counts.notes_dropped += 1
        else:
            self._appender.append(Entry(encode_note(record), (record,)), is_urgent=False)

    # -- reading

    def get(self, position: int) -> StoredMessage | None:  # hot: throughput
        """See Spool."""
        return self._retrieval.get(position)

    def fetch(self, position: int, done: Fetched) -> None:
        """See Spool."""
        self._retrieval.fetch(position, done)

    def find(self, message_id: str, done: Found) -> None:
        """See Spool."""
        self._finding.find(message_id, done)

    def quarantine(self, row: int, damage: Exception) -> Unreadable:
        """A message is damaged for good: keep its octets aside, and settle it."""
        return self._retrieval.quarantine(row, damage)

    # -- how it is

    def has_room(self) -> bool:  # hot: throughput
        """See Spool."""
        return self._health.has_room() and not self._is_closing

    def can_record(self) -> bool:  # hot: throughput
        """See Spool."""
        return self._health.can_record()

    def watch(self, changed: Callable[[], None]) -> None:
        """See Spool."""
        self._watchers.append(changed)

    @property
    def held_bytes(self) -> int:
        """See Spool."""
        return self._recent.held + self._writing

    def __len__(self) -> int:
        return self._queued.live

    @property
    def synced(self) -> LogPosition:
        """Up to where everything is on stable storage."""
        return self._appender.synced

    @property
    def counts(self) -> SpoolCounts:
        """What it is, and did: up to date when it is asked for."""
        counts, appender = self._counts, self._appender
        counts.fault = self._health.fault
        counts.refusing = self._health.refusing
        counts.segments = len(self._shelf)
        counts.bytes = self._shelf.size
        counts.live_bytes = self._queued.live_bytes
        counts.bodies = len(self._bodies)
        counts.failed_syncs = appender.failed_syncs
        counts.abandoned = appender.abandoned_segments
        counts.copied = self._reclaim.copied
        counts.removed_segments = self._reclaim.removed
        counts.free_bytes = self._health.free_bytes
        return counts

    def use_reserve(self, reserve: Reserve) -> None:
        """Keep another reserve of free space from now on."""
        self._health.use_reserve(reserve)

    def _on_tick(self) -> None:
        self._ticks += 1
        self._tick = self._loop.call_later(to_next_second(self._clock.monotonic()), self._on_tick)
        self._health.look()
        self._reclaim.tick()
        if self._ticks % _NOTE_EVERY == 0:
            self._times.note_soon(self._clock.wall(), self._sync_note)

    def _sync_note(self, file: File, done: Callable[[bool], None]) -> None:
        self._appender.sync_files([file], lambda fault: done(fault is None))

    def _health_changed(self) -> None:
        refusing = self._health.refusing
        now = self._clock.wall()
        text = refusing if refusing is not None else f"well again; it was: {self._told_refusing}"
        self._told_refusing = refusing
        self.note(
            SpoolHealthRecord(
                self._ids.next(now), now, refusing is not None, not self._health.can_record(), text
            )
        )
        for changed in self._watchers:
            changed()

    # -- events

    def history(self, start: LogPosition) -> Iterator[tuple[SpoolRecord | None, LogPosition]]:
        """The records from a position on, up to ``synced``, in small steps; see ``penstock.spool.history``."""
        return self._history.records(start)

    def segments(self) -> list[Shelved]:
        """The segments that there are, oldest first."""
        return list(self._shelf)

    @property
    def has_all_events(self) -> bool:
        """Whether everything that is stored has become events that are on stable storage."""
        return self._reclaim.events >= self.synced

    def events_written(self, position: LogPosition) -> None:
        """Everything before the position has become events that are on stable storage."""
        self._reclaim.events_written(position)

    # -- what the appender tells

    def on_stored(self, entries: Sequence[Entry], position: LogPosition) -> None:  # hot: throughput
        """See ``entry.Owner``."""
        if self.follower is not None:
            self.follower.on_stored(entries, position)
        records: list[SpoolRecord] = []
        for entry in entries:
            records += entry.records
        self._on_stored(records, position)
        if self._bodies.has_doomed:
            self._bodies.remove_some()
        self._reclaim.consider()
        if self._quiet is not None and self._appender.is_quiet and not self._writing:
            self._quiet.set()

    def on_synced(self, seconds: Seconds) -> None:  # hot: throughput
        """See ``entry.Owner``."""
        self._counts.syncs.observe(seconds)

    def on_fault(self, fault: str | None) -> None:
        """See ``entry.Owner``."""
        if fault is None:
            self._reclaim.forget_failed()
        self._health.on_fault(fault)

    def restored_place(self, place: Place) -> Place:
        """See ``entry.Owner``."""
        return self._reclaim.original(place)


def _as_it_came(records: Sequence[MessageRecord], body: Body | None, *, encoded: bytes) -> Payload:
    return as_encoded(records, encoded) if body is None else encode_transaction(records, body)


def _both(first: Callable[[], None] | None, second: Callable[[], None]) -> Callable[[], None]:
    if first is None:
        return second

    def call() -> None:
        first()
        second()

    return call

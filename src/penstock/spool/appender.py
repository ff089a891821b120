"""The end of the log: frames are appended, and synced together with all that came meanwhile.

A write or a sync that fails is never believed again. What is in the segment past its last good sync is unknown, so the segment is abandoned: the
next one begins with a frame, written twice, that says from where on the old one does not count; then come the outcomes that were not
known to be stored. Only when that is on stable storage are those told who waited: nothing of theirs is stored, or ever will be. If it does
not succeed either they are told that nobody knows, and it is tried again, ever more slowly; until then nothing can be written.

A segment that cannot be created is no such failure: what was appended before is synced, and creating is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import Clock, LogPosition, SpoolError, SpoolUncertain
from penstock.spool.creation import Creation
from penstock.spool.entry import Entry, EntryDone, Owner
from penstock.spool.files import File, FileError, Files
from penstock.spool.frame import SEGMENT_HEADER_SIZE
from penstock.spool.loop import Handle, Loop
from penstock.spool.names import SEGMENTS
from penstock.spool.segment import SegmentWriter
from penstock.spool.shelf import Shelf, Shelved
from penstock.spool.syncer import Syncer

LOG = logging.getLogger(__name__)

#: How long an outcome may wait for a sync that somebody else asks for.
OUTCOME_DELAY: Final = 0.05
#: Until a segment is tried again that could not be created, or made durable: doubled each time, up to the last.
_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 30.0


class Appender:
    """See the module. ``position`` is behind the last frame, ``synced`` behind the last that is known to be on stable storage."""

    def __init__(
        self,
        files: Files,
        syncer: Syncer,
        loop: Loop,
        clock: Clock,
        shelf: Shelf,
        salt: Callable[[], int],
        owner: Owner,
        segment_size: int,
    ) -> None:
        self._files = files
        self._creation = Creation(files, clock, shelf, salt, segment_size)
        self._syncer = syncer
        self._loop = loop
        self._clock = clock
        self._shelf = shelf
        self._owner = owner
        self._writer: SegmentWriter
        self._sealed: list[SegmentWriter] = []
        self._folder: File
        self._waiting: list[Entry] = []
        self._covered: list[Entry] = []
        self._kept: list[Entry] = []
        self._lost: list[Entry] = []
        self._side_files: list[tuple[Sequence[File], EntryDone]] = []
        self._names_done: list[Callable[[], None]] = []
        self._has_new_names = False
        #: the last sync was of other files: the log has its turn now
        self._was_beside = False
        #: of the abandoned ones, how many the current segment tells of
        self._noted = 0
        #: the current segment is not written any more
        self._is_broken = False
        self._write_fault: FileError | None = None
        self._is_syncing = False
        self._begun = MonotonicTime(0.0)
        self._is_urgent = False
        self._soon: Handle | None = None
        self._later: Handle | None = None
        self._retry: Handle | None = None
        self._delay = _FIRST_RETRY
        self._is_closed = False
        self.fault: str | None = None
        self.synced = LogPosition(0, 0)
        self.abandoned_segments = 0
        self.failed_syncs = 0

    # -- the beginning and the end

    def open(self, number: int) -> None:
        """Begin a segment with this number, and make it durable; blocks. FileError."""
        self._folder = self._files.open_folder(SEGMENTS)
        self._creation.begin(number)
        writer = self._creation.create()
        try:
            writer.make_durable(self._files)
        except FileError:
            writer.file.close()
            raise
        self._use(writer)
        self.synced = LogPosition(writer.identity.number, writer.synced)

    def _use(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._has_new_names = True
        self._shelf.add(Shelved(writer.identity, writer.path, writer.size))

    @property
    def position(self) -> LogPosition:
        """Behind the last frame."""
        return LogPosition(self._writer.identity.number, self._writer.end)

    @property
    def current(self) -> int:
        """The number of the segment that is being written."""
        return self._writer.identity.number

    def is_settled(self, number: int) -> bool:
        """Whether a segment is sealed, and on stable storage."""
        return number != self.current and all(writer.identity.number != number for writer in self._sealed)

    @property
    def is_broken(self) -> bool:
        """Whether the current segment cannot be written any more, and there is no other yet."""
        return self._is_broken

    def try_now(self) -> None:
        """There may be room for a new segment now: do not wait any longer for the next try."""
        if self._retry is not None and not self._is_broken:
            self._retry.cancel()
            self._retry = self._loop.call_later(0.0, self._on_retry)

    @property
    def is_quiet(self) -> bool:
        """Whether everything is stored that can be."""
        return not (
            self._waiting or self._covered or self._is_syncing or self._kept or self._side_files or self._lost
        )

    @property
    def kept(self) -> int:
        """How many records wait for a segment that can be written."""
        return len(self._kept)

    def close(self) -> None:
        """Write nothing more; seal the segment, so that the next start need not read it. All must be quiet, or is given up."""
        self._is_closed = True
        for handle in (self._soon, self._later, self._retry):
            if handle is not None:
                handle.cancel()
        if self.fault is None and self.is_quiet:
            try:
                self._writer.seal()
            except FileError as error:
                LOG.warning("spool: the last segment could not be sealed: %s", error)
        for writer in (*self._sealed, self._writer):
            writer.file.close()
        self._folder.close()

    # -- appending

    def append(self, entry: Entry, *, is_urgent: bool) -> None:  # hot: throughput
        """Append a frame, and have it synced: soon, or with what comes within OUTCOME_DELAY.

        SpoolError, if it is one that is all or nothing, and nothing can be written; others are kept.
        """
        if self.fault is not None or self._is_closed:
            self._refuse(entry)
            return
        writer = self._writer
        if not writer.has_room(entry.payload):
            try:
                writer = self._roll()
            except FileError:
                self._refuse(entry)
                return
        entry.segment = writer.identity.number
        entry.offset = writer.append(entry.payload)
        self._waiting.append(entry)
        if is_urgent:
            self._wake()
        elif self._later is None and self._soon is None and not self._is_syncing:
            self._later = self._loop.call_later(OUTCOME_DELAY, self._on_later)

    def _refuse(self, entry: Entry) -> None:
        if entry.done is not None or self._is_closed:
            raise SpoolError(self.fault or "the spool is closed")
        self._kept.append(entry)

    def sync_files(self, files: Sequence[File], done: EntryDone) -> None:
        """Put other files on stable storage; an error of theirs is theirs alone."""
        self._side_files.append((files, done))
        self._wake()

    def sync_names(self, done: Callable[[], None]) -> None:
        """Call ``done`` when the names in the folder of segments are on stable storage."""
        self._names_done.append(done)
        self._has_new_names = True
        self._wake()

    def _wake(self) -> None:
        self._is_urgent = True
        if self._soon is None and not self._is_syncing and not self._is_closed:
            self._soon = self._loop.call_soon(self._begin)

    def _on_later(self) -> None:
        self._later = None
        if self._soon is None and not self._is_syncing:
            self._begin()

    def _roll(self) -> SegmentWriter:
        """Go on in a new segment. FileError: nothing can be written until one can be created."""
        try:
            new = self._creation.create()
        except FileError as error:
            self._failed(error)
            raise
        old = self._writer
        try:
            old.seal()
        except FileError as error:
            self._creation.give_up(new)
            self._write_failed(error)
            raise
        self._shelf.resize(old.identity.number, old.size)
        self._sealed.append(old)
        self._use(new)
        self._creation.tell(new)
        self._noted = len(self._creation.abandoned)
        return new

    # -- rounds of syncing

    def _begin(self) -> None:  # hot: throughput
        """Write what was appended, and have it synced."""
        self._soon = None
        if self._is_syncing or self._is_closed:
            return
        self._is_urgent = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._side_files and not (self._was_beside and (self._waiting or self._has_new_names)):
            self._sync_side_files()
            return
        self._was_beside = False
        if self._is_broken:
            return
        writer = self._writer
        try:
            writer.flush()
        except FileError as error:
            self._write_failed(error)
            return
        if not self._waiting and not self._has_new_names:
            return
        writers = [*self._sealed, writer]
        files = [each.file for each in writers]
        names = self._names_done
        if self._has_new_names:
            files.append(self._folder)
            self._has_new_names = False
            self._names_done = []
        else:
            names = []
        self._covered, self._waiting = self._waiting, []
        self._is_syncing = True
        self._begun = self._clock.monotonic()
        marks = [each.written for each in writers]
        self._syncer.sync(files, partial(self._synced, writers, marks, names, self._noted))

    def _synced(
        self,
        writers: list[SegmentWriter],
        marks: list[int],
        names: list[Callable[[], None]],
        noted: int,
        error: FileError | None,
    ) -> None:  # hot: throughput
        self._is_syncing = False
        if error is not None:
            self.failed_syncs += 1
            self._has_new_names = self._has_new_names or bool(names)
            self._names_done += names
            self._write_failed(error)
            return
        self._owner.on_synced(Seconds(self._clock.monotonic() - self._begun))
        for writer, mark in zip(writers, marks, strict=True):
            writer.mark_synced(mark)
        for writer in writers[:-1]:
            writer.file.close()
            self._sealed.remove(writer)
        del self._creation.abandoned[:noted]
        self._noted -= noted
        covered, self._covered = self._covered, []
        self.synced = LogPosition(writers[-1].identity.number, marks[-1])
        self._tell(covered)
        for done in names:
            done()
        if self._write_fault is not None:
            self._write_failed(self._write_fault)
        else:
            self._go_on()

    def _tell(self, entries: Sequence[Entry]) -> None:  # hot: throughput
        """These are on stable storage."""
        for entry in entries:
            if entry.done is not None:
                _call(entry.done, None)
            if entry.after is not None:
                entry.after()
        self._owner.on_stored(entries, self.synced)

    def _go_on(self) -> None:
        if self._is_closed:
            return
        if self._is_urgent or self._side_files or self._has_new_names:
            self._wake()
        elif self._waiting and self._later is None:
            self._later = self._loop.call_later(OUTCOME_DELAY, self._on_later)

    def _sync_side_files(self) -> None:
        requests, self._side_files = self._side_files, []
        self._was_beside = True
        self._is_syncing = True
        self._is_urgent = True

        def finished(error: FileError | None) -> None:
            self._is_syncing = False
            if error is not None:
                self.failed_syncs += 1
            for _, done in requests:
                _call(done, None if error is None else SpoolError(str(error)))
            if self._write_fault is not None:
                self._write_failed(self._write_fault)
            else:
                self._go_on()

        self._syncer.sync([file for files, _ in requests for file in files], finished)

    # -- failures

    def _failed(self, error: FileError) -> None:
        """No segment can be created; nothing that is written is in doubt."""
        LOG.error("spool: %s", error)
        self.fault = str(error)
        self._owner.on_fault(self.fault)
        self._try_later()

    def _write_failed(self, error: FileError) -> None:
        """What was written since the last good sync is in doubt. If a sync is under way its answer is waited for."""
        self.fault = str(error)
        if self._is_syncing:
            self._write_fault = error
            return
        self._write_fault = None
        self._is_broken = True
        self._noted = 0
        LOG.error("spool: %s; going on in a new segment", error)
        for writer in (*self._sealed, self._writer):
            end = max(writer.synced, SEGMENT_HEADER_SIZE)
            number = writer.identity.number
            self._creation.abandon(number, end)
            self.abandoned_segments += 1
            writer.mark_failed()
            writer.file.close()
            segment = self._shelf.get(number)
            if segment is not None:
                segment.end = end
        self._sealed.clear()
        entries, self._covered, self._waiting = [*self._covered, *self._waiting], [], []
        self._lost += [entry for entry in entries if entry.done is not None]
        self._kept = [entry for entry in entries if entry.done is None] + self._kept
        self._owner.on_fault(self.fault)
        self._mend()

    def _try_later(self) -> None:
        if self._retry is None and not self._is_closed:
            self._retry = self._loop.call_later(self._delay, self._on_retry)
            self._delay = min(self._delay * 2, _LAST_RETRY)

    def _on_retry(self) -> None:
        self._retry = None
        if not self._is_broken and (self._waiting or self._is_syncing):
            # what could still be written is stored first
            self._wake()
            self._retry = self._loop.call_later(OUTCOME_DELAY, self._on_retry)
        elif self._is_syncing:
            self._try_later()
        else:
            self._mend()

    def _mend(self) -> None:
        """Begin a segment that says what does not count any more and repeats what is kept; then go on."""
        try:
            writer = self._creation.create()
        except FileError as error:
            self._mend_failed(error)
            return
        repeated: list[Entry] = []
        try:
            self._creation.tell(writer)
            for entry in self._kept:
                self._make_anew(entry)
                if not writer.has_room(entry.payload):
                    break
                entry.segment, entry.offset = writer.identity.number, writer.append(entry.payload)
                repeated.append(entry)
            writer.flush()
        except FileError as error:
            self._mend_failed(error, writer)
            return
        self._is_syncing = True
        self._syncer.sync([writer.file, self._folder], partial(self._mended, writer, repeated))

    def _make_anew(self, entry: Entry) -> None:
        if entry.place is None or entry.made is None:
            return
        place = self._owner.restored_place(entry.place)
        if place != entry.place:
            entry.place = place
            entry.payload = entry.made(entry.records[0], place)

    def _mend_failed(self, error: FileError, writer: SegmentWriter | None = None) -> None:
        if writer is not None:
            self._creation.give_up(writer)
        self.fault = str(error)
        LOG.error("spool: %s; nothing can be written until that is mended", error)
        self._tell_lost(SpoolUncertain(self.fault))
        self._owner.on_fault(self.fault)
        self._try_later()

    def _mended(self, writer: SegmentWriter, repeated: list[Entry], error: FileError | None) -> None:
        self._is_syncing = False
        if error is not None:
            self.failed_syncs += 1
            self._mend_failed(error, writer)
            return
        fault, self.fault = self.fault, None
        writer.mark_synced(writer.written)
        if not self._is_broken:
            self._retire()
        self._is_broken = False
        self._creation.abandoned.clear()
        self._delay = _FIRST_RETRY
        self._use(writer)
        self.synced = LogPosition(writer.identity.number, writer.synced)
        names, self._names_done = self._names_done, []
        self._has_new_names = False
        self._kept, rest = [], self._kept[len(repeated) :]
        self._tell_lost(
            SpoolError(fault)
        )  # of copies too: what was to be copied is where it was, before anything else is recorded of it
        for entry in rest:
            self._make_anew(entry)
            self.append(entry, is_urgent=True)
        self._tell(repeated)
        for done in names:
            done()
        if self.fault is None:
            self._owner.on_fault(None)
            self._go_on()

    def _retire(self) -> None:
        """The segment that was full when no other could be created: all of it is stored."""
        writer = self._writer
        try:
            writer.seal()
        except FileError as error:
            LOG.warning("spool: %s could not be sealed: %s", writer.path, error)
        self._shelf.resize(writer.identity.number, writer.size)
        writer.file.close()

    def _tell_lost(self, fault: SpoolError) -> None:
        lost, self._lost = self._lost, []
        for entry in lost:
            if entry.done is not None:
                _call(entry.done, fault)


def _call(done: EntryDone, fault: SpoolError | None) -> None:
    """Tell one; whatever it raises, the others are told too."""
    try:
        done(fault)
    except Exception:
        LOG.exception("spool: who was told of a stored message failed")

"""The event log's writer: lines in, files that rotate by size and by age out.

``append`` collects, ``flush`` writes what was collected in one go; the shell flushes about every 50 ms, and 256 KiB do not wait for it.
Neither ever raises: when the disk does not take the lines they stay in a buffer and are tried again every second, so that what is written
is always whole lines in order. ``has_room`` says whether to go on; nobody has to keep what is not appended, for events can be derived
from the spool again. ``counts.fault`` says what is wrong meanwhile.

The buffer starts at the beginning of the first line that is not whole on disk; ``_torn`` octets of that line are already in the file.
A full disk (ENOSPC, EDQUOT) keeps the file, and the line is completed when there is room. Any other error leaves the file behind with
its torn line as the last thing in it, where readers skip it, and the line is written again, whole, in the next file. The same holds for
a crash: each start begins a new file.

Each file begins with a line that ``opening`` makes from what was written before it.

Files stay open until what is in them is *settled*: synced, and named by a checkpoint. ``syncing`` hands out what is to be synced, ``settle``
tells that it was, and ``rewind`` takes away what was written behind a place: what could not be synced must not be relied on, so it is
written again, to another file (``penstock.spool.files`` says why).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from penstock.events.files import LogFiles, SystemFiles, file_name, file_time
from penstock.events.tail import Position
from penstock.mail.duration import ByteCount, MonotonicTime, Seconds, WallTime
from penstock.mail.ports import Clock
from penstock.mail.status import EventLogCounts

#: What is collected before it is written without waiting for the shell's next flush.
FLUSH_AT: Final = 256 * 1024
#: What waits in memory before there is no room for more: some flushes, so that a short delay of the disk is not noticed.
BUFFER_LIMIT: Final = 2 * 1024 * 1024
#: What may be written and not settled: a start after a crash reads it all. At full speed the events of some seconds.
UNSETTLED_LIMIT: Final = 64 * 1024 * 1024
#: Files that are open because they are not settled; where files are that small, what waits is kept to as many of them.
_FILE_LIMIT: Final = 32
_RETRY_INTERVAL: Final = 1.0
_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Names that are taken although they are newer than any we saw: somebody else's files. More than this is a fault.
_NAME_ATTEMPTS: Final = 16

#: The first line of the file with this name, begun at this time, given the lines that wait to be written behind it.
Opening = Callable[[str, WallTime, bytes], bytes]


class _File:
    """An open file."""

    __slots__ = ("begin", "descriptor", "is_finished", "is_named", "opening", "path", "settled", "size")

    def __init__(self, path: Path, descriptor: int, opening: bytes) -> None:
        self.path = path
        self.descriptor = descriptor
        #: what is still to be written before the lines
        self.opening = opening
        #: where the lines begin
        self.begin = len(opening)
        self.size = 0
        #: as much as is settled
        self.settled = 0
        self.is_finished = False
        #: whether its name is on stable storage
        self.is_named = False


class Syncing(NamedTuple):
    """What is to be synced: these files, which stay open until ``settle``, then the directory if ``has_new_files``. ``end`` is behind all."""

    sizes: dict[int, int]
    has_new_files: bool
    end: Position


class EventLog:
    """The event files of one directory. One writer per directory; what it did is in ``counts``."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        max_file_size: ByteCount,
        max_segment_duration: Seconds,
        opening: Opening = lambda name, begun, waiting: b"",
        buffer_limit: int = BUFFER_LIMIT,
        unsettled_limit: int = UNSETTLED_LIMIT,
        files: LogFiles | None = None,
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.counts = EventLogCounts()
        self.files: LogFiles = files if files is not None else SystemFiles()
        self.opening = opening
        self._max_file_size = max_file_size
        self._max_segment_duration = max_segment_duration
        self._buffer_limit = min(buffer_limit, _FILE_LIMIT * max_file_size)
        self._unsettled_limit = unsettled_limit
        self._buffer = bytearray()
        self._torn = 0
        #: those that are not settled, oldest first; if the last is not finished, it is the one that is written to
        self._open: list[_File] = []
        self._unsettled = 0
        self._end = Position()
        self._opened = MonotonicTime(0.0)
        self._last_name = 0
        self._is_prepared = False
        self._is_closed = False
        self._retry_at: MonotonicTime | None = None
        self._complaint: str | None = None

    @property
    def fault(self) -> str | None:
        """Why the disk does not take the lines; None while it does."""
        return self.counts.fault

    @property
    def has_room(self) -> bool:
        """Whether more may be appended."""
        return (
            len(self._buffer) < self._buffer_limit
            and self._unsettled < self._unsettled_limit
            and len(self._open) < _FILE_LIMIT
        )

    @property
    def needs_sync(self) -> bool:
        """Whether so much is not settled that it should not wait for its time."""
        return self._unsettled >= self._unsettled_limit // 4 or len(self._open) >= _FILE_LIMIT // 2

    @property
    def end(self) -> Position | None:
        """The place behind all that was appended; None while some of it waits to be written."""
        return self._end if not self._buffer else None

    def open(self) -> None:
        """Make the directory ready. OSError if it cannot be, which is a reason not to start; without this call the first flush does it."""
        existing = self.files.prepare(self.directory)
        self._last_name = max(
            [self._last_name, *(file_time(path.name) or 0 for path in existing)],
        )
        if self._end.file is None and existing:
            self._end = Position(existing[-1], existing[-1].lstat().st_size)
        self._is_prepared = True

    def append(self, lines: bytes) -> None:  # hot: throughput
        """Add whole lines, each ended by a newline. Ask ``has_room`` before."""
        buffer = self._buffer
        if not lines:
            return
        buffer += lines
        if not lines.endswith(b"\n"):
            buffer += b"\n"  # a buffer without the end of its last line would never be empty
        if len(buffer) >= FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what was appended, and finish the file if it is old enough. After a fault, nothing is tried for a second."""
        now = self.clock.monotonic()
        if self._retry_at is not None and now < self._retry_at:
            self.counts.waiting = len(self._buffer)
            return
        self._try(now)

    def complain(self, text: str | None) -> None:
        """Say that something else than a write is wrong with the log; None: it is not any more."""
        self._complaint = text
        if self._retry_at is None:
            self.counts.fault = text

    def close(self) -> None:
        """Write what was appended, as far as the disk takes it, and close all files."""
        if self._is_closed:
            return
        self._is_closed = True
        self._try(self.clock.monotonic())
        self._buffer.clear()
        self.counts.waiting = 0
        self._finish()
        for file in self._open:
            self.files.close(file.descriptor)
        self._open.clear()

    # -- stable storage

    def syncing(self) -> Syncing:
        """What is to be synced so that everything before ``end`` is on stable storage; for when nothing waits to be written."""
        return Syncing(
            {file.descriptor: file.size for file in self._open},
            not all(file.is_named for file in self._open),
            self._end,
        )

    def settle(self, done: Syncing) -> None:
        """It was synced, and will never be taken back: what is finished is closed."""
        still_open = []
        for file in self._open:
            if file.descriptor in done.sizes:
                file.is_named = True
                file.settled = done.sizes[file.descriptor]
            if file.is_finished and file.settled == file.size:
                self.files.close(file.descriptor)
            else:
                still_open.append(file)
        self._open = still_open
        self._unsettled = sum(file.size - file.settled for file in still_open)

    def rewind(self, end: Position) -> None:
        """Take away all that was written behind ``end``, a place that was settled or where the log began; what waits to be written too."""
        self._buffer.clear()
        self._torn = 0
        self.counts.waiting = 0
        self._finish()
        for file in self._open:
            size = end.offset if file.path == end.file else 0
            try:
                self.files.truncate(file.descriptor, size)
            except OSError as error:  # its events may be there twice then: better than not at all
                self._fail(error, self.clock.monotonic())
            self.files.close(file.descriptor)
        self._open.clear()
        self._unsettled = 0
        self._end = end

    # -- writing

    @property
    def _current(self) -> _File | None:
        return self._open[-1] if self._open and not self._open[-1].is_finished else None

    def _try(self, now: MonotonicTime) -> None:
        begin = time.perf_counter()
        had_lines = bool(self._buffer)
        try:
            file = self._current
            if file is not None:
                self._leave_file_that_is_over(now, file)
            if had_lines:
                self._write(now)
        except OSError as error:
            self._fail(error, now)
        else:
            self._retry_at = None
            self.counts.fault = self._complaint
        if had_lines:
            self.counts.flushes.observe(time.perf_counter() - begin)
        self.counts.waiting = len(self._buffer)

    def _leave_file_that_is_over(self, now: MonotonicTime, file: _File) -> None:
        if now - self._opened >= self._max_segment_duration or not self.files.is_linked(file.descriptor):
            self._finish()

    def _write(self, now: MonotonicTime) -> None:
        buffer = self._buffer
        while buffer:
            file = self._current
            if file is None:
                file = self._create(now)
            if file.opening:
                self._write_opening(file)
                continue
            end = self._end_for(file)
            if end == 0:
                self._finish()
                continue
            with memoryview(buffer)[self._torn : end] as view:
                written = self._put(file, view)
            written += self._torn
            whole = buffer.rfind(b"\n", 0, written) + 1
            self.counts.lines += buffer.count(b"\n", 0, whole)
            del buffer[:whole]
            self._torn = written - whole

    def _write_opening(self, file: _File) -> None:
        with memoryview(file.opening) as view:
            written = self._put(file, view)
        file.opening = file.opening[written:]
        if not file.opening:
            self.counts.lines += 1

    def _put(self, file: _File, data: memoryview) -> int:
        written = self.files.write(file.descriptor, data)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.size += written
        self._unsettled += written
        self.counts.bytes += written
        self._end = Position(file.path, file.size)
        return written

    def _end_for(self, file: _File) -> int:
        """How much of the buffer goes into the current file: as many whole lines as fit, and 0 is none.

        A file takes one line at least, and a line that was begun is ended where it began: each round gets on.
        """
        buffer = self._buffer
        room = self._max_file_size - file.size + self._torn
        if len(buffer) <= room:
            return len(buffer)
        end = buffer.rfind(b"\n", 0, max(room, 0)) + 1
        if end == 0 and (file.size == file.begin or self._torn):
            end = buffer.find(b"\n") + 1 or len(buffer)
        return end

    def _create(self, now: MonotonicTime) -> _File:
        if not self._is_prepared:
            self.open()
        for attempt in range(_NAME_ATTEMPTS):
            self._last_name = max(int(self.clock.wall() * 1_000_000), self._last_name + 1)
            path = self.directory / file_name(self._last_name)
            try:
                descriptor = self.files.create(path)
                break
            except FileExistsError:
                if attempt == _NAME_ATTEMPTS - 1:
                    raise
        begun = WallTime(self._last_name / 1_000_000)
        file = _File(path, descriptor, self.opening(path.name, begun, bytes(self._buffer)))
        self._open.append(file)
        self._torn = 0
        self._opened = now
        self.counts.files += 1
        return file

    def _finish(self) -> None:
        file = self._current
        if file is not None:
            file.is_finished = True
            with suppress(OSError):  # its mode matters to nobody but people; the next start sets it
                self.files.finish(file.descriptor)

    def _fail(self, error: OSError, now: MonotonicTime) -> None:
        self.counts.fault = f"{self.directory}: {error.strerror or error}"
        self._retry_at = MonotonicTime(now + _RETRY_INTERVAL)
        if error.errno in _FULL_DISK:
            return
        self._is_prepared = False
        self._finish()

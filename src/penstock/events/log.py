"""The event log's writer: lines in, files that rotate by size and by age out.

``append`` collects, ``flush`` writes what was collected in one go; the shell flushes about every 50 ms, and 256 KiB do not wait for it.
Neither ever raises: when the disk does not take the lines they stay in a bounded buffer and are tried again every second, and what does
not fit is dropped and counted, newest first, so that what is written is always whole lines in order. ``counts.fault`` says what is
wrong meanwhile. Nothing is synced: the spool is the truth, and events can be derived from it again.

The buffer starts at the beginning of the first line that is not whole on disk; ``_torn`` octets of that line are already in the file.
A full disk (ENOSPC, EDQUOT) keeps the file, and the line is completed when there is room. Any other error leaves the file behind with
its torn line as the last thing in it, where readers skip it, and the line is written again, whole, in the next file. The same holds for
a crash: each start begins a new file.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from penstock.events.files import LogFiles, SystemFiles, file_name, file_time
from penstock.mail.duration import ByteCount, MonotonicTime, Seconds
from penstock.mail.ports import Clock
from penstock.mail.status import EventLogCounts

#: What is collected before it is written without waiting for the shell's next flush.
FLUSH_AT: Final = 256 * 1024
#: What is kept while the disk does not take it: at 1.2 KB an event, the events of some seconds at full speed.
BUFFER_LIMIT: Final = 16 * 1024 * 1024
_RETRY_INTERVAL: Final = 1.0
_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Names that are taken although they are newer than any we saw: somebody else's files. More than this is a fault.
_NAME_ATTEMPTS: Final = 16


class EventLog:
    """The event files of one directory. One writer per directory; what it did is in ``counts``."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        max_file_size: ByteCount,
        max_segment_duration: Seconds,
        buffer_limit: int = BUFFER_LIMIT,
        files: LogFiles | None = None,
    ) -> None:
        self.directory = directory
        self.counts = EventLogCounts()
        self._clock = clock
        self._max_file_size = max_file_size
        self._max_segment_duration = max_segment_duration
        self._buffer_limit = buffer_limit
        self._files: LogFiles = files if files is not None else SystemFiles()
        self._buffer = bytearray()
        self._torn = 0
        self._descriptor: int | None = None
        self._size = 0
        self._opened = MonotonicTime(0.0)
        self._last_name = 0
        self._is_prepared = False
        self._is_closed = False
        self._retry_at: MonotonicTime | None = None

    @property
    def fault(self) -> str | None:
        """Why the disk does not take the lines; None while it does."""
        return self.counts.fault

    def open(self) -> None:
        """Make the directory ready. OSError if it cannot be, which is a reason not to start; without this call the first flush does it."""
        existing = self._files.prepare(self.directory)
        self._last_name = max(
            [self._last_name, *(file_time(path.name) or 0 for path in existing)],
        )
        self._is_prepared = True

    def append(self, lines: bytes) -> None:  # hot: throughput
        """Add whole lines, each ended by a newline. They are dropped, and counted, if the buffer is full or the log is closed."""
        buffer = self._buffer
        if not lines:
            return
        if not lines.endswith(b"\n"):
            lines += b"\n"  # a buffer without the end of its last line would never be empty
        if len(buffer) + len(lines) > self._buffer_limit or self._is_closed:
            self.counts.dropped += lines.count(b"\n")
            return
        buffer += lines
        if len(buffer) >= FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what was appended, and finish the file if it is old enough. After a fault, nothing is tried for a second."""
        now = self._clock.monotonic()
        if self._retry_at is not None and now < self._retry_at:
            self.counts.waiting = len(self._buffer)
            return
        self._try(now)

    def close(self) -> None:
        """Write what was appended and finish the file. What the disk does not take now is dropped, and counted."""
        if self._is_closed:
            return
        self._is_closed = True
        self._try(self._clock.monotonic())
        self.counts.dropped += self._buffer.count(b"\n")
        self._buffer.clear()
        self.counts.waiting = 0
        with suppress(OSError):  # the file is closed all the same, and the next start finishes it
            self._finish()

    def _try(self, now: MonotonicTime) -> None:
        begin = time.perf_counter()
        had_lines = bool(self._buffer)
        try:
            if self._descriptor is not None:
                self._leave_file_that_is_over(now, self._descriptor)
            if had_lines:
                self._write(now)
        except OSError as error:
            self._fail(error, now)
        else:
            self._retry_at = None
            self.counts.fault = None
        if had_lines:
            self.counts.flushes.observe(time.perf_counter() - begin)
        self.counts.waiting = len(self._buffer)

    def _leave_file_that_is_over(self, now: MonotonicTime, descriptor: int) -> None:
        if now - self._opened >= self._max_segment_duration or not self._files.is_linked(descriptor):
            self._finish()

    def _write(self, now: MonotonicTime) -> None:
        buffer = self._buffer
        while buffer:
            if self._descriptor is None:
                self._create(now)
                continue
            end = self._end_for_this_file()
            if end == 0:
                self._finish()
                continue
            with memoryview(buffer)[self._torn : end] as view:
                written = self._files.write(self._descriptor, view)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += written
            self.counts.bytes += written
            written += self._torn
            whole = buffer.rfind(b"\n", 0, written) + 1
            self.counts.lines += buffer.count(b"\n", 0, whole)
            del buffer[:whole]
            self._torn = written - whole

    def _end_for_this_file(self) -> int:
        """How much of the buffer goes into the current file: as many whole lines as fit, and 0 is none.

        An empty file takes one line at least, and a line that was begun is ended where it began: each round gets on.
        """
        buffer = self._buffer
        room = self._max_file_size - self._size + self._torn
        if len(buffer) <= room:
            return len(buffer)
        end = buffer.rfind(b"\n", 0, max(room, 0)) + 1
        if end == 0 and (self._size == 0 or self._torn):
            end = buffer.find(b"\n") + 1 or len(buffer)
        return end

    def _create(self, now: MonotonicTime) -> None:
        if not self._is_prepared:
            self.open()
        for attempt in range(_NAME_ATTEMPTS):
            self._last_name = max(int(self._clock.wall() * 1_000_000), self._last_name + 1)
            try:
                self._descriptor = self._files.create(self.directory / file_name(self._last_name))
                break
            except FileExistsError:
                if attempt == _NAME_ATTEMPTS - 1:
                    raise
        self._size = 0
        self._torn = 0
        self._opened = now
        self.counts.files += 1

    def _finish(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.finish(descriptor)

    def _fail(self, error: OSError, now: MonotonicTime) -> None:
        self.counts.fault = f"{self.directory}: {error.strerror or error}"
        self._retry_at = MonotonicTime(now + _RETRY_INTERVAL)
        if error.errno in _FULL_DISK:
            return
        self._is_prepared = False
        with suppress(OSError):  # one fault is being told already
            self._finish()

"""How far long work is, on stderr: nothing in the first seconds, then a line now and then, on a terminal always the same one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TextIO

from penstock.cli.quantities import shown_size

#: Work that is done sooner shows nothing.
_QUIET_SECONDS: Final = 2.0
_TERMINAL_SECONDS: Final = 0.2
_FILE_SECONDS: Final = 10.0


class Progress:
    """Told often, shows seldom. ``now`` is a monotonic clock."""

    def __init__(self, file: TextIO, now: Callable[[], float]) -> None:
        self._file = file
        self._now = now
        self._is_terminal = file.isatty()
        self._next = now() + _QUIET_SECONDS
        self._count = 0
        self._has_line = False

    def segments(self, path: str, done: int, known: int) -> None:
        """A segment is about to be read."""
        self._show(lambda: f"{path}: {done} of {known} segments")

    def octets(self, path: str, done: int, known: int) -> None:
        """So many octets are read."""
        self._show(lambda: f"{path}: {shown_size(done)}" + (f" of {shown_size(known)}" if known else ""))

    def frames(self, count: int) -> None:
        """So many frames more were looked at."""
        self._count += count
        if self._count % 1000 == 0:
            self._show(lambda: f"{self._count} messages looked at")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._has_line and self._is_terminal:
            self._file.write("\r\x1b[K")
            self._file.flush()
        self._has_line = False

    def _show(self, text: Callable[[], str]) -> None:
        now = self._now()
        if now < self._next:
            return
        self._next = now + (_TERMINAL_SECONDS if self._is_terminal else _FILE_SECONDS)
        self._has_line = True
        self._file.write(f"\r\x1b[K{text()}" if self._is_terminal else f"{text()}\n")
        self._file.flush()

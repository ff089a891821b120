"""Reading the event log: from its beginning, from its last lines, or from a moment on, and on and on across files.

Nothing here waits: a reader says that there is nothing more for now, and the caller decides whether to ask again. Lines are the octets
of the file, without the newline. An incomplete last line is what a crash or a full disk left, or is being written at this moment: in the
newest file the reader waits for the rest of it, in a file that has a successor it is skipped.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from penstock.events.files import PACKED, file_time, log_files, plain_name
from penstock.events.packing import Source, opened

#: Longer lines are none of ours (an event with 1,024 recipients has under 400 KB), and are skipped.
LINE_LIMIT: Final = 1024 * 1024
_CHUNK: Final = 256 * 1024


class Position(msgspec.Struct, frozen=True):
    """A place in the event log: an offset in a file; ``file`` None is before the first file, whichever that will be."""

    file: Path | None = None
    offset: int = 0


def begin_at(directory: Path, microseconds: int) -> Position:
    """The latest position that has all lines written at or after that time (since 1970) behind it. OSError if there is no log."""
    files = log_files(directory)
    for path, following in pairwise(files):
        # whatever is in a file was written before the next one was begun
        if (file_time(following.name) or 0) >= microseconds:
            return Position(path)
    return Position(files[-1]) if files else Position()


def last_lines(
    directory: Path, count: int, is_wanted: Callable[[bytes], bool]
) -> tuple[list[bytes], Position]:
    """The last ``count`` wanted lines, oldest first, and the position behind everything complete. OSError if there is no log."""
    files = log_files(directory)
    found: list[bytes] = []
    position = Position()
    for path in reversed(files):
        if position.file is not None and len(found) >= count:
            break
        try:
            end = _last_of(path, count, is_wanted, found)
        except FileNotFoundError:  # removed meanwhile, as old files are
            continue
        if position.file is None:
            position = Position(path, end)
    found.reverse()
    return found, position


def _last_of(path: Path, count: int, is_wanted: Callable[[bytes], bool], found: list[bytes]) -> int:
    """Add wanted lines to ``found``, youngest first, until it has ``count``; return the offset behind the last complete line."""
    if path.suffix != PACKED:
        with path.open("rb") as file:
            return _lines_backwards(file, count, is_wanted, found)
    last: deque[bytes] = deque(maxlen=max(0, count - len(found)))
    end = 0
    source = opened(path)
    try:
        for line in _lines_of(source):
            end += len(line) + 1
            if len(line) <= LINE_LIMIT and is_wanted(line):
                last.append(line)
    finally:
        source.close()
    found += reversed(last)
    return end


def _lines_of(source: Source) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _lines_backwards(
    file: BinaryIO, count: int, is_wanted: Callable[[bytes], bool], found: list[bytes]
) -> int:
    """Add wanted lines to ``found``, youngest first, until it has ``count``; return the offset behind the last complete line."""
    if file.seek(0, 2) == 0:
        return 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        complete = end = octets.rfind(b"\n") + 1
        while end > 0 and len(found) < count:
            start = octets.rfind(b"\n", 0, end - 1) + 1
            if end - start <= LINE_LIMIT:
                line = octets[start : end - 1]
                if is_wanted(line):
                    found.append(line)
            end = start
    return complete


class Reader:
    """Reads lines from a position on. Close it, or use it in a ``with`` statement."""

    def __init__(self, directory: Path, position: Position) -> None:
        self._directory = directory
        self._path = position.file
        self._offset = position.offset
        self._file: Source | None = None
        self._rest = b""
        self._is_skipping = False

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def batches(self) -> Iterator[list[bytes]]:
        """Lines as they can be read; an empty list whenever there is nothing more for now. OSError if a file cannot be read."""
        is_last_look = False
        while True:
            if self._file is None and not self._open():
                yield []
                continue
            lines = self._read_lines()
            if lines is not None:
                is_last_look = False
                if lines:
                    yield lines
            elif self._successor() is None:
                yield []
            elif is_last_look:
                # it was at its end after its successor had come, so nothing more will be written to it
                is_last_look = False
                self._advance()
            else:
                is_last_look = True

    def _open(self) -> bool:
        """Open the current file, or the first that is after it if it is gone; False if there is none."""
        path = self._path if self._path is not None else self._successor()
        while path is not None:
            if path != self._path:
                self._path, self._offset = path, 0
            try:
                self._file = opened(path, self._offset)
            except FileNotFoundError:
                path = self._successor()
                continue
            return True
        return False

    def _successor(self) -> Path | None:
        """The file after the current one, if there is any yet."""
        for path in log_files(self._directory):
            if self._path is None or plain_name(path.name) > plain_name(self._path.name):
                return path
        return None

    def _advance(self) -> None:
        self.close()
        self._path, self._offset = self._successor(), 0
        self._rest = b""
        self._is_skipping = False

    def _read_lines(self) -> list[bytes] | None:
        """The complete lines of the next chunk, perhaps none; None at the end of the file."""
        assert self._file is not None  # noqa: S101  # batches() opens it first
        chunk = self._file.read(_CHUNK)
        if not chunk:
            return None
        *lines, rest = (self._rest + chunk).split(b"\n")
        if self._is_skipping and lines:
            self._is_skipping = False
            del lines[0]
        if len(rest) > LINE_LIMIT:
            self._is_skipping = True
        self._rest = b"" if self._is_skipping else rest
        return [line for line in lines if len(line) <= LINE_LIMIT]

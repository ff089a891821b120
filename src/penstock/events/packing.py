"""Finished files of the event log, packed: ``<name>.zst`` (Zstandard, RFC 8878) in place of ``<name>``, with the same lines.

A packed file is written beside the plain one, read back, synced and named, and only then the plain one goes: at each moment one of the two
is there and whole. Where both are, the plain one counts, and the other is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast
from zlib import crc32

import zstandard

from penstock.events.files import PACKED, LogFiles

#: What a packed file is called before it is whole.
UNFINISHED: Final = ".new"
_CHUNK: Final = 1024 * 1024
#: Octets of a packed file that are unpacked at once: some hundred KB of lines.
_PACKED_CHUNK: Final = 16 * 1024
#: Memory that a packed file may ask for when it is read; level 19 uses 8 MiB.
_WINDOW_LIMIT: Final = 128 * 1024 * 1024


class Source(Protocol):
    """The lines of a file, as octets."""

    def read(self, size: int, /) -> bytes:
        """Up to so many of the next octets, b"" at the end."""

    def close(self) -> None:
        """Give the file back."""


class PackedError(OSError):
    """A packed file is damaged, or none."""


class _Unpacked:
    """The octets in a packed file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._frame = self._new_frame()
        self._is_between = True
        self._ready = b""
        self._at = 0

    @staticmethod
    def _new_frame() -> zstandard.ZstdDecompressionObj:
        return zstandard.ZstdDecompressor(max_window_size=_WINDOW_LIMIT).decompressobj()

    def read(self, size: int, /) -> bytes:
        """See Source. PackedError where it is damaged, or ends too soon."""
        while self._at == len(self._ready):
            octets = self._file.read(_PACKED_CHUNK)
            if not octets:
                if not self._is_between:
                    raise PackedError(f"{self._path} is damaged: it ends too soon")
                return b""
            self._ready, self._at = self._unpacked(octets), 0
        found = self._ready[self._at : self._at + size]
        self._at += len(found)
        return found

    def _unpacked(self, octets: bytes) -> bytes:
        found = b""
        try:
            while octets:
                found += self._frame.decompress(octets)
                self._is_between = self._frame.eof
                octets = self._frame.unused_data if self._is_between else b""
                if self._is_between:
                    self._frame = self._new_frame()
        except zstandard.ZstdError as error:
            raise PackedError(f"{self._path} is damaged: {error}") from error
        return found

    def skip(self, offset: int) -> None:
        """Leave out so many octets."""
        while offset and (octets := self.read(min(offset, _CHUNK))):
            offset -= len(octets)

    def close(self) -> None:
        """See Source."""
        self._file.close()


def opened(path: Path, offset: int = 0) -> Source:
    """A file of the event log from an offset of its lines on, packed or not, or packed meanwhile. OSError."""
    file, path = _open(path)
    if path.suffix != PACKED:
        file.seek(offset)
        return cast(Source, file)
    unpacked = _Unpacked(file, path)
    try:
        unpacked.skip(offset)
    except BaseException:
        file.close()
        raise
    return unpacked


@contextmanager
def opened_with_progress(path: Path) -> Iterator[tuple[Source, Callable[[], int]]]:
    """A file of the event log, and how many octets of it on the disk have been read. OSError."""
    file, path = _open(path)
    try:
        yield (cast(Source, file) if path.suffix != PACKED else _Unpacked(file, path)), file.tell
    finally:
        file.close()


def _open(path: Path) -> tuple[BinaryIO, Path]:
    try:
        return path.open("rb"), path
    except FileNotFoundError:
        packed = path.with_name(path.name + PACKED)
        if path.suffix == PACKED or not packed.exists():
            raise
        return packed.open("rb"), packed


def pack(files: LogFiles, path: Path, level: int) -> int:
    """Put a packed file in place of the finished one at ``path``; octets that it has. OSError: the plain one is there as before.

    What is left of an earlier try is removed.
    """
    target = path.with_name(path.name + PACKED)
    new = path.with_name(target.name + UNFINISHED)
    files.remove(new)
    descriptor = files.create(new)
    try:
        size, checksum = _write(files, descriptor, path, level)
        files.sync(descriptor)
        files.finish(descriptor)
        if _checksum(new) != checksum:
            raise PackedError(f"{path} cannot be packed: what was written reads back as something else")
    except OSError:
        files.remove(new)
        raise
    finally:
        files.close(descriptor)
    files.rename(new, target)
    files.sync_directory(path.parent)
    files.remove(path)
    files.sync_directory(path.parent)
    return size


def _write(files: LogFiles, descriptor: int, path: Path, level: int) -> tuple[int, int]:
    """The octets that were written, and the checksum of what they stand for."""
    packer = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    size = checksum = 0

    def put(octets: bytes) -> int:
        with memoryview(octets) as view:
            written = 0
            while written < len(octets):
                written += files.write(descriptor, view[written:])
        return len(octets)

    with path.open("rb") as file:
        while octets := file.read(_CHUNK):
            checksum = crc32(octets, checksum)
            size += put(packer.compress(octets))
    return size + put(packer.flush()), checksum


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        unpacked = _Unpacked(file, path)
        while octets := unpacked.read(_CHUNK):
            checksum = crc32(octets, checksum)
    return checksum

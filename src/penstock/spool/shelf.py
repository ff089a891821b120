"""The segments that there are, oldest first, and their files, open for reading as long as they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from penstock.spool.files import File
from penstock.spool.frame import OFFSET_LIMIT, Identity
from penstock.spool.segment import SegmentReader

#: Files that are kept open for reading.
_OPEN_LIMIT: Final = 64


class Tree(Protocol):
    """Where the files are; every ``penstock.spool.files.Files`` can do it."""

    def open(self, path: str) -> File:
        """A file that is there, to be read. FileError."""


class Shelved(msgspec.Struct):
    """A segment. ``size`` is what it takes on the disk, in octets; frames count if they begin before ``end``."""

    identity: Identity
    path: str
    size: int
    end: int = OFFSET_LIMIT


class Shelf:
    """See the module. ``size`` is that of all segments, in octets."""

    __slots__ = ("_files", "_open", "_segments", "size")

    def __init__(self, files: Tree) -> None:
        self._files = files
        self._segments: dict[int, Shelved] = {}
        self._open: OrderedDict[int, File] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Shelved]:
        """The segments, oldest first."""
        return iter([self._segments[number] for number in sorted(self._segments)])

    def __getitem__(self, number: int) -> Shelved:
        return self._segments[number]

    def get(self, number: int) -> Shelved | None:
        """A segment, if there is one of this number."""
        return self._segments.get(number)

    def oldest(self) -> Shelved:
        """The segment with the lowest number; ValueError if there is none."""
        return self._segments[min(self._segments)]

    def add(self, segment: Shelved) -> None:
        """There is one more."""
        self._segments[segment.identity.number] = segment
        self.size += segment.size

    def resize(self, number: int, size: int) -> None:
        """A segment takes more or less than before."""
        segment = self._segments[number]
        self.size += size - segment.size
        segment.size = size

    def remove(self, number: int) -> None:
        """A segment is gone."""
        segment = self._segments.pop(number)
        self.size -= segment.size
        self.close(number)

    def reader(self, number: int) -> SegmentReader:
        """A reader of a segment. KeyError if there is none of this number; FileError."""
        segment = self._segments[number]
        file = self._open.get(number)
        if file is None:
            file = self._files.open(segment.path)
            self._open[number] = file
            if len(self._open) > _OPEN_LIMIT:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(number)
        return SegmentReader(file, segment.identity, segment.path)

    def close(self, number: int | None = None) -> None:
        """Close the file of one segment, or all."""
        for each in [number] if number is not None else list(self._open):
            file = self._open.pop(each, None)
            if file is not None:
                file.close()

"""A segment without an index, read from its first frame to its last: what was being written when the process ended.

What follows the last whole frame is a torn tail: its sync cannot have succeeded, or it would be whole, and nobody was told of it. A frame
that is damaged *before* a whole one is reported with the octets that it had. Where its own header is right its length is believed, so that
nothing in a message's content is ever looked at as a frame; where that is damaged too, the next frame is looked for at every place
where one can begin.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, TypeVar

import msgspec

from penstock.spool.decoding import decode
from penstock.spool.files import File
from penstock.spool.frame import (
    ALIGNMENT,
    FRAME_HEADER_SIZE,
    MARKER,
    SEGMENT_HEADER_SIZE,
    Damaged,
    Frame,
    FrameHeader,
    FrameType,
    Identity,
    check_payload,
    is_known,
    parse_frame_header,
)
from penstock.spool.index import Index

T = TypeVar("T")

#: Octets that are read at once; more only for a frame that is larger.
_CHUNK: Final = 1024 * 1024
_ZEROS: Final = bytes(_CHUNK)
#: Frames that are one step.
_FRAMES_AT_ONCE: Final = 16


class Damage(msgspec.Struct, frozen=True):
    """Octets of a segment that are no frame although there are frames behind them.

    ``was_stored``: a later frame says that they were on stable storage. Otherwise they may be what a power cut left of frames that
    nobody was told of.
    """

    offset: int
    size: int
    reason: str
    was_stored: bool


class Scan(msgspec.Struct, frozen=True):
    """A scanned segment. ``end`` is behind its last whole frame; ``torn`` counts the octets behind it up to the last that is not zero.

    ``synced`` is the most that any of its frames says was on stable storage.
    """

    index: Index
    damages: tuple[Damage, ...]
    end: int
    torn: int
    synced: int

    @property
    def has_frames(self) -> bool:
        """Whether there is one that is whole."""
        return self.end > SEGMENT_HEADER_SIZE


class _Window:
    """A file read in large pieces, from its beginning to its end, up to ``limit``."""

    __slots__ = ("_begin", "_file", "_octets", "limit")

    def __init__(self, file: File, limit: int) -> None:
        self._file = file
        self._begin = 0
        self._octets = b""
        self.limit = limit

    def get(self, size: int, offset: int) -> bytes:
        """``size`` octets at ``offset``; fewer at the end."""
        start = offset - self._begin
        if start < 0 or start + size > len(self._octets):
            wanted = max(0, min(max(size, _CHUNK), self.limit - offset))
            self._octets, self._begin, start = self._file.read(wanted, offset), offset, 0
        return self._octets[start : start + size]

    def find_marker(self, offset: int) -> Generator[None, None, int | None]:
        """The first place from ``offset`` on, a multiple of the alignment, at which there is a frame's marker. In small steps."""
        while offset < self.limit:
            start = offset - self._begin
            if not 0 <= start < len(self._octets):
                self._octets, self._begin, start = (
                    self._file.read(min(_CHUNK, self.limit - offset), offset),
                    offset,
                    0,
                )
                if not self._octets:
                    return None
            at = self._octets.find(MARKER, start)
            while at >= 0:
                if (self._begin + at) % ALIGNMENT == 0:
                    return self._begin + at
                at = self._octets.find(MARKER, at + 1)
            yield
            offset = self._begin + (len(self._octets) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return None

    def last_octet(self, offset: int) -> Generator[None, None, int]:
        """Behind the last octet from ``offset`` on that is not zero; ``offset`` if there is none. In small steps."""
        last = offset
        while offset < self.limit:
            octets = self.get(min(_CHUNK, self.limit - offset), offset)
            if not octets:
                break
            rest = len(octets.rstrip(b"\0")) if octets != _ZEROS[: len(octets)] else 0
            last = offset + rest if rest else last
            offset += len(octets)
            yield
        return last


class _Scanner:
    __slots__ = ("_damages", "_end", "_identity", "_index", "_path", "_suspects", "_synced", "_window")

    def __init__(self, file: File, identity: Identity, path: str, limit: int) -> None:
        self._index = Index(identity.number)
        self._identity = identity
        self._path = path
        self._window = _Window(file, limit)
        self._end = SEGMENT_HEADER_SIZE
        #: the most that any frame says was on stable storage
        self._synced = 0
        #: offset, end and reason of what is damaged: for certain, and since the last whole frame
        self._damages: list[tuple[int, int, str]] = []
        self._suspects: list[tuple[int, int, str]] = []

    def steps(self) -> Generator[None, None, Scan]:
        """Read all of it, by and by."""
        window, offset = self._window, SEGMENT_HEADER_SIZE
        frames = 0
        while True:
            frames += 1
            if frames % _FRAMES_AT_ONCE == 0:
                yield
            try:
                head = parse_frame_header(window.get(FRAME_HEADER_SIZE, offset), self._identity, offset)
            except Damaged as damage:
                found = yield from _next_header(window, self._identity, offset + ALIGNMENT)
                if found is None:
                    break
                self._suspects.append((offset, found, str(damage)))
                offset = found
                continue
            if head.type == FrameType.SEAL or offset + head.size > window.limit:
                break
            self._take(offset, head)
            offset += head.size

        damages = tuple(
            [Damage(start, end - start, reason, start < self._synced) for start, end, reason in self._damages]
        )
        last = yield from window.last_octet(self._end)
        return Scan(self._index, damages, self._end, last - self._end, self._synced)

    def _take(self, offset: int, head: FrameHeader) -> None:
        """A frame whose header is right."""
        payload = self._window.get(head.length, offset + FRAME_HEADER_SIZE)
        try:
            check_payload(head, payload)
        except Damaged as damage:
            self._suspects.append((offset, offset + head.size, str(damage)))
            return
        self._damages += self._suspects
        self._suspects.clear()
        self._synced = max(self._synced, head.synced)
        self._end = offset + head.size
        if is_known(head.type, head.version, f"{self._path} at {offset}"):
            try:
                meaning = decode(Frame(offset, head.type, head.version, payload)).meaning()
            except Damaged as damage:
                self._damages.append((offset, self._end, str(damage)))
            else:
                self._index.add(offset, meaning)


def _next_header(window: _Window, identity: Identity, offset: int) -> Generator[None, None, int | None]:
    """The next place at which there is a frame's header that is right."""
    found = yield from window.find_marker(offset)
    while found is not None:
        try:
            parse_frame_header(window.get(FRAME_HEADER_SIZE, found), identity, found)
        except Damaged:
            found = yield from window.find_marker(found + ALIGNMENT)
        else:
            return found
    return None


def stored_mark(file: File, identity: Identity, limit: int) -> int:
    """The most that any frame before the first whose header is not right says was on stable storage. Looks at headers alone. FileError."""
    window, offset, mark = _Window(file, limit), SEGMENT_HEADER_SIZE, 0
    while True:
        try:
            head = parse_frame_header(window.get(FRAME_HEADER_SIZE, offset), identity, offset)
        except Damaged:
            return mark
        mark = max(mark, min(head.synced, limit))
        offset += head.size


def next_header(file: File, identity: Identity, offset: int, limit: int) -> int | None:
    """Where the frame behind a damaged one at ``offset`` begins; None if there is none before ``limit``. FileError."""
    try:
        return offset + parse_frame_header(file.read(FRAME_HEADER_SIZE, offset), identity, offset).size
    except Damaged:
        return _to_its_end(_next_header(_Window(file, limit), identity, offset + ALIGNMENT))


def scan_in_steps(file: File, identity: Identity, path: str, limit: int) -> Generator[None, None, Scan]:
    """Read a segment's frames as far as ``limit``, behind which none counts, in small steps. NewerFormat, naming ``path``; FileError.

    Needs the memory of one frame and of the index.
    """
    return (yield from _Scanner(file, identity, path, limit).steps())


def scan(file: File, identity: Identity, path: str, limit: int) -> Scan:
    """``scan_in_steps``, all at once."""
    return _to_its_end(scan_in_steps(file, identity, path, limit))


def _to_its_end(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found

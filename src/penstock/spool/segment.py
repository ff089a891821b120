"""Segments: created, appended to, sealed, and read frame by frame.

A writer collects frames and writes them with ``flush``, all in one go: the offset of a frame, and so the places of its messages, are known at
once. It never syncs after its creation: who does says so with ``mark_synced``. After an error nothing more can be written: what is in
the file past the last sync is unknown, and its owner abandons it.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from typing import Final

from penstock.mail.duration import WallTime
from penstock.mail.ports import SpoolError
from penstock.spool.codec import Payload
from penstock.spool.decoding import Transaction, decode
from penstock.spool.files import File, FileError, Files
from penstock.spool.frame import (
    FOOTER_SIZE,
    FRAME_HEADER_SIZE,
    OFFSET_LIMIT,
    SEGMENT_HEADER_SIZE,
    Damaged,
    Frame,
    FrameType,
    Identity,
    Place,
    SegmentHeader,
    check_payload,
    footer,
    frame_size,
    is_known,
    parse_footer,
    parse_frame_header,
    write_frame,
)
from penstock.spool.index import Index, parse_index_in_steps
from penstock.spool.meaning import Meaning
from penstock.spool.names import SEGMENTS, body_path, segment_path
from penstock.spool.scan import next_header

#: Octets that a segment is given when it is created, and is meant to hold.
SEGMENT_SIZE: Final = 64 * 1024 * 1024
#: Frames that a writer's index takes up in one go: half a millisecond.
_LISTED_AT_ONCE: Final = 256


class SegmentWriter:
    """A segment that grows. ``end`` is where the next frame will begin, ``synced`` up to where all is on stable storage."""

    __slots__ = (
        "_failed",
        "_index",
        "_pending",
        "_unlisted",
        "_written",
        "end",
        "file",
        "identity",
        "path",
        "size",
        "synced",
    )

    def __init__(self, file: File, identity: Identity, size: int) -> None:
        self.file = file
        self.identity = identity
        self.path = segment_path(identity)
        self.size = size
        self._index = Index(identity.number)
        #: frames that the index has not taken up: many at once take less time than one by one
        self._unlisted: list[tuple[int, Meaning]] = []
        self.end = SEGMENT_HEADER_SIZE
        self.synced = 0
        self._pending: list[bytes] = []
        self._written = SEGMENT_HEADER_SIZE
        self._failed = False

    @classmethod
    def create(
        cls, files: Files, identity: Identity, created: WallTime, size: int = SEGMENT_SIZE
    ) -> SegmentWriter:
        """A new segment, allocated, with its header written and nothing synced: ``make_durable``, or a sync of the file and of the folder.

        FileError: there is no such segment; a file of its name may be left, which recovery knows for what it is.
        """
        file = files.create(segment_path(identity))
        try:
            file.allocate(size)
            file.write([SegmentHeader(identity, created).to_bytes()], 0)
        except FileError:
            file.close()
            raise
        return cls(file, identity, size)

    def make_durable(self, files: Files) -> None:
        """Put all that was flushed, and the segment's name, on stable storage; blocks. Before that nothing in it may be acknowledged. FileError."""
        try:
            self.file.sync()
            files.sync_folder(SEGMENTS)
        except FileError:
            self._failed = True
            raise
        self.mark_synced(self._written)

    @property
    def pending(self) -> int:
        """Octets that wait for ``flush``."""
        return self.end - self._written

    @property
    def written(self) -> int:
        """Up to where all is with the file: what a sync that begins now puts on stable storage."""
        return self._written

    @property
    def has_failed(self) -> bool:
        """Whether a write or sync has failed."""
        return self._failed

    @property
    def index(self) -> Index:
        """What is in it so far."""
        self._list()
        return self._index

    def has_room(self, payload: Payload) -> bool:
        """Whether a frame still fits; an empty segment takes any that its offsets can count."""
        after = self.end + payload.size
        return after <= self.size or (self.end == SEGMENT_HEADER_SIZE and after <= OFFSET_LIMIT)

    def append(self, payload: Payload) -> int:  # hot: throughput
        """Add a frame to what ``flush`` will write; its offset. The places of its messages are (number, offset, 0) and on."""
        if self._failed:
            raise SpoolError(f"{self.path} takes nothing more since a write or a sync has failed")
        offset = self.end
        meaning = payload.meaning
        buffers = write_frame(
            self.identity, offset, (meaning.kind, payload.version), payload.buffers, self.synced
        )
        self._pending += buffers
        self.end = offset + payload.size
        self._unlisted.append((offset, meaning))
        if len(self._unlisted) == _LISTED_AT_ONCE:
            self._list()
        return offset

    def _list(self) -> None:
        add = self._index.add
        for offset, meaning in self._unlisted:
            add(offset, meaning)
        self._unlisted.clear()

    def flush(self) -> None:
        """Write what was appended. FileError: some of it may be in the file; nothing more can be written."""
        pending = self._pending
        if not pending:
            return
        try:
            self.file.write(pending, self._written)
        except FileError:
            self._failed = True
            raise
        self._pending = []
        self._written = self.end

    def mark_synced(self, offset: int) -> None:
        """All before ``offset`` is on stable storage: a sync has succeeded that began when ``written`` was that."""
        self.synced = max(self.synced, offset)

    def mark_failed(self) -> None:
        """A sync has failed: nothing more can be written."""
        self._failed = True

    def seal(self) -> None:
        """Flush, write the index behind the last frame, and give the file its final size; nothing is synced, and nothing can follow.

        FileError: the segment stays as it was, unsealed, which costs the next start some time; but what had not been flushed may be lost.
        """
        self.flush()
        self._failed = True
        self.size = write_seal(self.file, self.index, self.identity, self.end, self.synced)


def write_seal(file: File, index: Index, identity: Identity, offset: int, synced: int) -> int:
    """Write the index and the footer at ``offset``, the end of the last frame, and cut the file behind them; its size. FileError.

    All before ``synced`` is on stable storage. Nothing of it needs to be synced for its own sake: without it, or with half of it, the
    segment is scanned; also if the frames may have been lost that it tells of.
    """
    buffers = write_frame(identity, offset, (FrameType.SEAL, index.version), [index.to_bytes()], synced)
    end = offset + sum(map(len, buffers))
    buffers.append(footer(identity, end, offset))
    file.write(buffers, offset)
    file.truncate(end + FOOTER_SIZE)
    return end + FOOTER_SIZE


class SegmentReader:
    """A segment that is read, sealed or not. ``identity`` is what its frames were written for."""

    __slots__ = ("file", "identity", "path")

    def __init__(self, file: File, identity: Identity, path: str) -> None:
        self.file = file
        self.identity = identity
        self.path = path

    def frame(self, offset: int) -> Frame:
        """The frame at ``offset``; Damaged if there is none that is whole, NewerFormat, FileError."""
        head = parse_frame_header(self.file.read(FRAME_HEADER_SIZE, offset), self.identity, offset)
        payload = self.file.read(head.length, offset + FRAME_HEADER_SIZE)
        check_payload(head, payload)
        return Frame(offset, head.type, head.version, payload, head.synced)

    def frames(self, offset: int = SEGMENT_HEADER_SIZE) -> Iterator[Frame]:
        """The frames from ``offset`` on, up to the first that is not there or not whole. NewerFormat, FileError."""
        while True:
            try:
                frame = self.frame(offset)
            except Damaged:
                return
            if frame.type == FrameType.SEAL:
                return
            if is_known(frame.type, frame.version, self.path):
                yield frame
            offset += frame_size(len(frame.payload))

    def right_frames(self, limit: int) -> Iterator[Frame]:
        """The frames before ``limit`` that are whole, what is between them passed over. NewerFormat, FileError."""
        offset: int | None = SEGMENT_HEADER_SIZE
        while offset is not None and offset < limit:
            try:
                frame = self.frame(offset)
            except Damaged:
                offset = next_header(self.file, self.identity, offset, limit)
                continue
            if frame.type == FrameType.SEAL:
                return
            if is_known(frame.type, frame.version, self.path):
                yield frame
            offset += frame_size(len(frame.payload))

    def transaction(self, offset: int) -> Transaction:
        """The messages of the frame at ``offset``; Damaged if there are none."""
        frame = self.frame(offset)
        if is_known(frame.type, frame.version, self.path):
            decoded = decode(frame)
            if isinstance(decoded, Transaction):
                return decoded
        raise Damaged(f"no message is at {Place(self.identity.number, offset, 0)}")

    def index(self, limit: int = OFFSET_LIMIT) -> tuple[Index, int] | None:
        """``index_in_steps``, all at once."""
        steps = self.index_in_steps(limit)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: tuple[Index, int] | None = end.value
                return found

    def index_in_steps(
        self, limit: int = OFFSET_LIMIT, *, is_sure: bool = True
    ) -> Generator[None, None, tuple[Index, int] | None]:
        """The index of a sealed segment, and where its frames end; None if it has none that is whole, or frames behind ``limit``.

        If it is not ``is_sure`` that what it tells of is on stable storage, it must say so itself.

        In small steps; reads nothing else of the segment. NewerFormat, FileError.
        """
        at = self.file.size() - FOOTER_SIZE
        if at < SEGMENT_HEADER_SIZE:
            return None
        seal = parse_footer(self.file.read(FOOTER_SIZE, at), self.identity, at)
        if seal is None or seal > limit:
            return None
        try:
            frame = self.frame(seal)
            if frame.type != FrameType.SEAL or not is_known(frame.type, frame.version, self.path):
                return None
            if not is_sure and frame.synced < seal:
                return None
            yield
            index = yield from parse_index_in_steps(frame.payload, self.identity.number)
        except Damaged:
            return None
        return index, seal


def read_body(files: Files, name: str, size: int) -> bytes | None:
    """A body file's octets, ``size`` and one more at most; None if it is not there. FileError."""
    try:
        file = files.open(body_path(name))
    except FileError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    try:
        return file.read(size + 1, 0)
    finally:
        file.close()

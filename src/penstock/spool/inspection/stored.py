"""Messages read out of a spool that may be at work: the envelope alone, or all that is sent.

An envelope is read without the content behind it, so no checksum covers it: it is what the frame says. Octets that are given out as a message
have matched their checksums before the first of them is.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final
from zlib import crc32

import msgspec

from penstock.mail.records import MessageRecord
from penstock.spool import forms
from penstock.spool.codec import HEAD_LENGTH, Body
from penstock.spool.decoding import Transaction
from penstock.spool.files import File, FileError
from penstock.spool.frame import (
    FRAME_HEADER_SIZE,
    Damaged,
    FrameType,
    Identity,
    Place,
    is_known,
    parse_frame_header,
)
from penstock.spool.inspection.read_only import Tree
from penstock.spool.meaning import State
from penstock.spool.names import body_path, segment_path
from penstock.spool.segment import SegmentReader

_MESSAGES: Final = frozenset((FrameType.TRANSACTION, FrameType.COPY, FrameType.MOVED))
_HEAD: Final = msgspec.msgpack.Decoder(forms.TransactionForm)
#: Octets read at once in the hope that an envelope is in them.
_FIRST: Final = 4096
#: Octets of a body file read at once.
_PIECE: Final = 1024 * 1024
#: Segments held open.
_OPEN_LIMIT: Final = 32


class Gone(Exception):
    """The segment, or the body file, was removed since it was listed: the message was settled, or copied forward."""


class Stored(msgspec.Struct, frozen=True):
    """A message but for its content, which ``record`` lacks. ``body``: it is in that file. ``state``: what a copy says of its message."""

    place: Place
    record: MessageRecord
    body: Body | None
    state: State | None


class StoredReader:
    """Reads messages by their places. ``segments`` are those that there are, by number."""

    __slots__ = ("_files", "_frame", "_segments", "_tree")

    def __init__(self, tree: Tree, segments: dict[int, Identity]) -> None:
        self._tree = tree
        self._segments = segments
        self._files: OrderedDict[int, File] = OrderedDict()
        #: the head that was read last, and where it is: parts of a frame are read one after the other
        self._frame: tuple[int, int, forms.TransactionForm] | None = None

    def envelope(self, place: Place) -> Stored:
        """The message at ``place`` without its content. Gone, Damaged, NewerFormat, FileError."""
        segment, offset, part = place
        last = self._frame
        form = last[2] if last is not None and last[:2] == (segment, offset) else self._head(segment, offset)
        self._frame = segment, offset, form
        body = _body(form)
        transaction = Transaction(msgspec.structs.replace(form, body=None), b"")
        state = transaction.states[part] if part < len(transaction.states) else None
        return Stored(place, transaction.message(part), body, state)

    def ids(self, segment: int, offset: int) -> tuple[str, ...]:
        """The ids of a frame's messages. As ``envelope``."""
        return tuple([item.id for item in self._head(segment, offset).messages])

    def body(self, segment: int, offset: int) -> Body | None:
        """The body file of a frame's messages; None if their content is in the frame. As ``envelope``."""
        return _body(self._head(segment, offset))

    def pieces(self, place: Place) -> Iterator[bytes]:
        """The message at ``place`` as it is sent, in pieces; nothing is given out before its checksum was right. As ``envelope``."""
        stored = self.envelope(place)
        file, identity = self._file(place.segment)
        transaction = SegmentReader(file, identity, segment_path(identity)).transaction(place.offset)
        if stored.body is None:
            record = transaction.message(place.part)
            yield record.added_header
            yield record.content
            return
        body = self._checked_body(stored.body)
        try:
            yield stored.record.added_header
            yield from _pieces(body, stored.body.size)
        finally:
            body.close()

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()

    def _checked_body(self, body: Body) -> File:
        """The body file, open, found to be what was stored."""
        path = body_path(body.name)
        file = _opened(self._tree, path)
        try:
            fault = body_fault(file, body)
        except FileError:
            file.close()
            raise
        if fault is not None:
            file.close()
            raise Damaged(f"{path}: {fault}")
        return file

    def _file(self, number: int) -> tuple[File, Identity]:
        identity = self._segments.get(number)
        if identity is None:
            raise Gone(f"segment {number} is not there")
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = _opened(self._tree, segment_path(identity))
            if len(self._files) > _OPEN_LIMIT:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(number)
        return file, identity

    def _head(self, segment: int, offset: int) -> forms.TransactionForm:
        file, identity = self._file(segment)
        path = segment_path(identity)
        octets = file.read(FRAME_HEADER_SIZE + _FIRST, offset)
        header = parse_frame_header(octets[:FRAME_HEADER_SIZE], identity, offset)
        known = is_known(header.type, header.version, f"{path} at {offset}")
        if not known or header.type not in _MESSAGES:
            raise Damaged(f"no message begins in {path} at {offset}")
        begin = FRAME_HEADER_SIZE + HEAD_LENGTH.size
        if header.length < HEAD_LENGTH.size or len(octets) < begin:
            raise Damaged(f"the frame in {path} at {offset} is too short for a message")
        end = begin + HEAD_LENGTH.unpack_from(octets, FRAME_HEADER_SIZE)[0]
        if end > FRAME_HEADER_SIZE + header.length:
            raise Damaged(f"the envelope in {path} at {offset} goes on past its frame")
        if end > len(octets):
            octets += file.read(end - len(octets), offset + len(octets))
        try:
            return _HEAD.decode(octets[begin:end])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Damaged(f"the envelope in {path} at {offset} cannot be read: {error}"[:300]) from error


def _body(form: forms.TransactionForm) -> Body | None:
    body = form.body
    return Body(body.name, body.size, body.checksum) if body is not None else None


def body_fault(file: File, body: Body) -> str | None:
    """What is wrong with a body file; None if it is what was stored. FileError."""
    size = file.size()
    if size != body.size:
        return f"it has {size} octets, and the message has {body.size}"
    checksum = 0
    for piece in _pieces(file, size):
        checksum = crc32(piece, checksum)
    return None if checksum == body.checksum else "its octets do not match their checksum"


def _pieces(file: File, size: int) -> Iterator[bytes]:
    for offset in range(0, size, _PIECE):
        yield file.read(min(_PIECE, size - offset), offset)


def _opened(tree: Tree, path: str) -> File:
    try:
        return tree.open(path)
    except FileError as error:
        if error.errno == errno.ENOENT:
            raise Gone(str(error)) from error
        raise

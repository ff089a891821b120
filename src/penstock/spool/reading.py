"""Messages read back from segments: at once where that needs no waiting for a disk, else in the background.

A thread is right for that, other than for syncs: nobody's acceptance waits for it, and it asks the system for what lies behind the frame too,
so that of a backlog that is read in its order most is in memory when its turn comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol, TypeVar

from penstock.spool.decoding import Transaction, decode
from penstock.spool.files import File, FileError, Files
from penstock.spool.frame import (
    FRAME_HEADER_SIZE,
    Damaged,
    Frame,
    Place,
    check_payload,
    is_known,
    parse_frame_header,
)
from penstock.spool.quarantine import save
from penstock.spool.segment import SegmentReader, read_body
from penstock.spool.shelf import Shelf

T = TypeVar("T")

#: Octets of a frame besides its messages: most fit.
_ENVELOPE: Final = 2048
#: Octets behind a frame that are asked for with it.
_AHEAD: Final = 4 * 1024 * 1024
_THREADS: Final = 2


class Background(Protocol):
    """Does what may wait for a disk."""

    def submit(self, job: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """Do the job, and call ``done`` on the loop, later, with what it returned or raised."""

    def close(self) -> None:
        """Begin nothing more; what is under way is not told."""


class Threads:
    """The Background of a running server."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool")
        self._is_closed = False

    def submit(self, job: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """See Background."""

        def run() -> None:
            try:
                result: T | Exception = job()
            except Exception as error:  # noqa: BLE001 -- whoever asked is told
                result = error
            if not self._is_closed:
                self._loop.call_soon_threadsafe(self._tell, done, result)

        if not self._is_closed:
            self._executor.submit(run)

    def _tell(self, done: Callable[[T | Exception], None], result: T | Exception) -> None:
        if not self._is_closed:
            done(result)

    def close(self) -> None:
        """See Background."""
        self._is_closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)


class Content:
    """A frame with messages, and the content where that is in a body file and was asked for."""

    __slots__ = ("body", "transaction")

    def __init__(self, transaction: Transaction, body: bytes | None = None) -> None:
        self.transaction = transaction
        self.body = body


class Reading:
    """See the module. Everything may raise Damaged, NewerFormat, FileError; KeyError for a segment that there is not."""

    def __init__(self, files: Files, shelf: Shelf, background: Background) -> None:
        self._files = files
        self._shelf = shelf
        self._background = background
        #: segment and offset up to which was asked ahead
        self._ahead = (0, 0)

    def now(self, place: Place, size: int) -> Transaction | None:  # hot: throughput
        """The frame at a place, whose content is about ``size`` octets; None if it must be fetched."""
        reader = self._shelf.reader(place.segment)
        offset = place.offset
        octets = reader.file.read_now(size + _ENVELOPE, offset)
        if octets is None:
            return None
        head = parse_frame_header(octets[:FRAME_HEADER_SIZE], reader.identity, offset)
        end = FRAME_HEADER_SIZE + head.length
        if end > len(octets):
            octets = reader.file.read_now(end, offset)
            if octets is None:
                return None
        payload = octets[FRAME_HEADER_SIZE:end]
        check_payload(head, payload)
        return _transaction(reader, Frame(offset, head.type, head.version, payload))

    def fetch(self, place: Place, done: Callable[[Content | Exception], None]) -> None:
        """The frame at a place, with its content."""
        try:
            reader = self._shelf.reader(place.segment)
        except (FileError, KeyError) as error:
            self._background.submit(partial(_raise, error), done)
            return
        # a file of its own: the shelf may close what it opened meanwhile
        path, identity, files = reader.path, reader.identity, self._files
        ahead = self._is_ahead(place)

        def job() -> Content:
            file = files.open(path)
            try:
                if ahead:
                    file.prefetch(_AHEAD, place.offset)
                return _content(files, file, SegmentReader(file, identity, path), place)
            finally:
                file.close()

        self._background.submit(job, done)

    def save(self, place: Place, size: int, end: int | None) -> str | None:
        """Keep the octets of a frame aside; where they are, None if they could not be.

        Where its header cannot be believed they are about ``size``, and none from ``end`` on: what is there is another's.
        """
        try:
            reader = self._shelf.reader(place.segment)
            offset = place.offset
            try:
                octets = reader.file.read(FRAME_HEADER_SIZE, offset)
                size = parse_frame_header(octets, reader.identity, offset).size
            except Damaged:
                size += _ENVELOPE
            if end is not None:
                size = min(size, end - offset)
            return save(self._files, reader.file, reader.identity, offset, size)
        except (FileError, KeyError):
            return None

    def _is_ahead(self, place: Place) -> bool:
        """Whether what lies behind is to be asked for: not if it was for a place shortly before."""
        segment, end = self._ahead
        if place.segment == segment and end - _AHEAD <= place.offset < end - _AHEAD // 2:
            return False
        self._ahead = (place.segment, place.offset + _AHEAD)
        return True


def _raise(error: Exception) -> Content:
    raise error


def _content(files: Files, file: File, reader: SegmentReader, place: Place) -> Content:
    transaction = _transaction(reader, reader.frame(place.offset))
    body = transaction.body
    return Content(transaction, read_body(files, body.name, body.size) if body is not None else None)


def _transaction(reader: SegmentReader, frame: Frame) -> Transaction:
    if is_known(frame.type, frame.version, reader.path):
        decoded = decode(frame)
        if isinstance(decoded, Transaction):
            return decoded
    raise Damaged(f"no message is at offset {frame.offset} of {reader.path}")

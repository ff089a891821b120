"""Making segments, and what is to be said of those that came to nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from penstock.mail.ports import Clock
from penstock.spool.codec import encode_abandon
from penstock.spool.files import FileError, Files
from penstock.spool.frame import SEGMENT_HEADER_SIZE, Identity
from penstock.spool.meaning import Abandoned
from penstock.spool.names import segment_path
from penstock.spool.segment import SegmentWriter
from penstock.spool.shelf import Shelf, Shelved

#: Where there is no room for a segment of the usual size, one of this size may do: outcomes are small.
_SMALL_SEGMENT: Final = 1024 * 1024
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Creation:
    """Creates segments. ``abandoned`` is what the next one has to say about others, until that is on stable storage."""

    def __init__(
        self, files: Files, clock: Clock, shelf: Shelf, salt: Callable[[], int], segment_size: int
    ) -> None:
        self._files = files
        self._clock = clock
        self._shelf = shelf
        self._salt = salt
        self._segment_size = segment_size
        self._number = 0
        #: of the last one, which could not be created
        self._spare: Identity | None = None
        self.abandoned: list[Abandoned] = []

    def begin(self, number: int) -> None:
        """The first segment will have this number."""
        self._number = number - 1

    def create(self) -> SegmentWriter:
        """A new segment, a small one if there is no room for another. FileError."""
        try:
            return self._create_of(self._segment_size)
        except FileError as error:
            if error.errno not in _NO_ROOM or self._segment_size <= _SMALL_SEGMENT:
                raise
        return self._create_of(_SMALL_SEGMENT)

    def _create_of(self, size: int) -> SegmentWriter:
        """FileError. What is left then is taken away, and the next one has its number and salt: if it comes back, it is an empty segment."""
        if self._spare is None:
            self._number += 1
            self._spare = Identity(self._number, self._salt())
        identity = self._spare
        try:
            writer = SegmentWriter.create(self._files, identity, self._clock.wall(), size)
        except FileError:
            if not self._is_gone(identity):
                self._spare = None
                self.abandon(identity.number)
            raise
        self._spare = None
        return writer

    def abandon(self, number: int, end: int = SEGMENT_HEADER_SIZE) -> None:
        """Frames of a segment count only up to ``end``: say so in the next one."""
        self.abandoned.append(Abandoned(number, end))

    def give_up(self, writer: SegmentWriter) -> None:
        """A new segment will not be used: nothing in it counts, and its file goes."""
        writer.file.close()
        self._is_gone(writer.identity)
        self.abandon(writer.identity.number)

    def tell(self, writer: SegmentWriter) -> None:
        """Begin a segment with what it has to say, twice: a sector of it may be damaged some day."""
        for abandoned in (*self.abandoned, *self.abandoned):
            writer.append(encode_abandon(abandoned))

    def _is_gone(self, identity: Identity) -> bool:
        """Remove the file of a segment that will not be used; if that fails it goes when its turn comes."""
        path = segment_path(identity)
        try:
            self._files.remove(path)
        except FileError as error:
            if error.errno == errno.ENOENT:
                return True
            self._shelf.add(Shelved(identity, path, 0, SEGMENT_HEADER_SIZE))
            return False
        return True

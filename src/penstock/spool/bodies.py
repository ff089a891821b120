"""Large contents, each in a file of its own: written in pieces, so that the loop waits for none, and removed when nobody needs it any more."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final
from zlib import crc32

from penstock.mail.ports import SpoolError
from penstock.spool.appender import Appender
from penstock.spool.codec import Body
from penstock.spool.files import File, FileError, Files
from penstock.spool.loop import Loop
from penstock.spool.names import BODIES, body_path

LOG = logging.getLogger(__name__)

#: Octets that are written in one round of the loop.
_PIECE: Final = 1024 * 1024
#: Files that are removed in one go.
_REMOVED_AT_ONCE: Final = 16

#: Told what a frame says of the content once the file and its name are on stable storage; or why there is none.
BodyDone = Callable[[Body | SpoolError], None]


class Bodies:
    """The body files of a spool. ``names`` has that of each frame with a live message whose content is in one."""

    def __init__(self, files: Files, loop: Loop, appender: Appender) -> None:
        self._files = files
        self._loop = loop
        self._appender = appender
        self._folder: File | None = None
        self._last = 0
        #: what the names of this run begin with, as no others do
        self.prefix = ""
        #: by segment and offset
        self.names: dict[tuple[int, int], str] = {}
        #: what nobody needs any more
        self._doomed: deque[str] = deque()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_doomed(self) -> bool:
        """Whether files wait to be removed."""
        return bool(self._doomed)

    def store(self, content: bytes, done: BodyDone) -> None:
        """Write a content into a new file. FileError if none can be made."""
        self._last += 1
        name = f"{self.prefix}-{self._last:x}"
        if self._folder is None:
            self._folder = self._files.open_folder(BODIES)
        _Writing(self, name, self._files.create(body_path(name)), content, done).go_on(0, 0)

    def finish(self, name: str, file: File, body: Body, done: BodyDone) -> None:
        """All is written: have it synced, with its name."""
        folder = self._folder
        assert folder is not None  # noqa: S101 -- opened before the first is stored

        def synced(fault: SpoolError | None) -> None:
            file.close()
            if fault is not None:
                self.discard(name)
            done(body if fault is None else fault)

        self._appender.sync_files([file, folder], synced)

    def soon(self, callback: Callable[[int, int], None], *arguments: int) -> None:
        """Go on in the next round of the loop."""
        self._loop.call_soon(callback, *arguments)

    def move(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        """The live messages of a frame lie in another frame now, or are on their way there."""
        name = self.names.pop(old, None)
        if name is not None:
            self.names[new] = name

    def free(self, name: str) -> None:
        """No live message needs a file, and that is on stable storage."""
        self._doomed.append(name)

    def remove_some(self) -> None:
        """Remove what may go, some of it."""
        for _ in range(min(len(self._doomed), _REMOVED_AT_ONCE)):
            self.discard(self._doomed.popleft())

    def discard(self, name: str) -> None:
        """Remove a file that no record names, or none that counts. If that fails the next start does it."""
        try:
            self._files.remove(body_path(name))
        except FileError as error:
            LOG.warning("spool: %s", error)

    def close(self) -> None:
        """Close the folder."""
        if self._folder is not None:
            self._folder.close()


class _Writing:
    """A content on its way into its file."""

    __slots__ = ("_bodies", "_content", "_done", "_file", "_name")

    def __init__(self, bodies: Bodies, name: str, file: File, content: bytes, done: BodyDone) -> None:
        self._bodies = bodies
        self._name = name
        self._file = file
        self._content = content
        self._done = done

    def go_on(self, offset: int, checksum: int) -> None:
        """Write the piece at ``offset``; ``checksum`` is that of what is before."""
        piece = self._content[offset : offset + _PIECE]
        try:
            self._file.write([piece], offset)
        except FileError as error:
            self._file.close()
            self._bodies.discard(self._name)
            self._done(SpoolError(str(error)))
            return
        offset += len(piece)
        checksum = crc32(piece, checksum)
        if offset < len(self._content):
            self._bodies.soon(self.go_on, offset, checksum)
            return
        body = Body(self._name, offset, checksum)
        self._bodies.finish(self._name, self._file, body, self._done)

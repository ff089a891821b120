"""The files of an event log on a disk that can be full, or broken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from penstock.events.files import SystemFiles


class FaultyFiles(SystemFiles):
    """The system's files, with ``room`` octets left (None: enough), and every operation failing with ``broken`` while it is set."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.broken: int | None = None
        #: octets that are still written before ``broken`` shows
        self.grace = 0
        self.writes = 0
        #: what ``broken`` becomes with the next file
        self.breaking: int | None = None
        #: what every sync answers
        self.failing: int | None = None

    def prepare(self, directory: Path) -> list[Path]:
        """Fail if broken."""
        self._check()
        return super().prepare(directory)

    def create(self, path: Path) -> int:
        """Fail if broken."""
        self._check()
        self.broken, self.breaking = self.breaking, None
        return super().create(path)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write what there is room for."""
        self.writes += 1
        if self.broken is not None:
            if not self.grace:
                self._check()
            data, self.grace = data[: self.grace], 0
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.room]
            self.room -= len(data)
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Fail if syncing fails."""
        if self.failing is not None:
            raise OSError(self.failing, os.strerror(self.failing))

    def sync_directory(self, directory: Path) -> None:
        """Nothing to wait for."""

    def _check(self) -> None:
        if self.broken is not None:
            raise OSError(self.broken, os.strerror(self.broken))

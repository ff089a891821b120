"""The files of the event log: how they are called, and everything that is done to the disk for them.

A file is named for the moment it was begun, ``YYYYMMDD-HHMMSS.<fraction>`` in UTC, so names sort in the order of time; one that is packed ends in
``.zst``. The one being written has mode 0600, finished ones 0440, their directory 0700: what customers mail to whom is nobody else's business.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

_NAME = re.compile(r"([0-9]{8}-[0-9]{6})\.([0-9]{6,9})", re.ASCII)
_FORMAT = "%Y%m%d-%H%M%S"
#: What the name of a packed file ends in.
PACKED: Final = ".zst"


def file_name(microseconds: int) -> str:
    """The name of a file begun at this time, in microseconds since 1970."""
    second, fraction = divmod(microseconds, 1_000_000)
    return f"{time.strftime(_FORMAT, time.gmtime(second))}.{fraction:06d}"


def file_time(name: str) -> int | None:
    """When the file called ``name``, packed or not, was begun, in microseconds since 1970; None if it is no file of an event log."""
    match = _NAME.fullmatch(plain_name(name))
    if match is None:
        return None
    try:
        second = calendar.timegm(time.strptime(match[1], _FORMAT))
    except ValueError:
        return None
    return second * 1_000_000 + int(match[2][:6])


def plain_name(name: str) -> str:
    """What a file is called while it is not packed. These names sort in the order of time."""
    return name.removesuffix(PACKED)


def log_files(directory: Path) -> list[Path]:
    """The files of the event log in ``directory``, oldest first. Of one that is being packed the plain one. OSError if it cannot be listed."""
    found: dict[str, Path] = {}
    for path in directory.iterdir():
        if file_time(path.name) is None:
            continue
        name = plain_name(path.name)
        if name not in found or path.name == name:
            found[name] = path
    return [found[name] for name in sorted(found)]


class LogFiles(Protocol):
    """What the event log asks of the disk. Everything but ``close`` raises OSError."""

    def prepare(self, directory: Path) -> list[Path]:
        """Make the directory if it is missing, and private; return the event files in it, oldest first, all of them finished."""

    def create(self, path: Path) -> int:
        """A descriptor to append to a new file; FileExistsError if there is one."""

    def write(self, descriptor: int, data: memoryview) -> int:
        """Append as much of ``data`` as goes in; return how much that was."""

    def is_linked(self, descriptor: int) -> bool:
        """Whether the file still has a name, so that what is written can be found."""

    def finish(self, descriptor: int) -> None:
        """Nobody writes to the file from now on."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file there."""

    def sync(self, descriptor: int) -> None:
        """Put the octets of the file on stable storage. After an error nothing that was written since the last success is sure to be there."""

    def close(self, descriptor: int) -> None:
        """Give the descriptor back. Never fails: what is not synced is nobody's to rely on."""

    def sync_old(self, path: Path) -> None:
        """Put the octets of a file that an earlier process has written on stable storage."""

    def sync_directory(self, directory: Path) -> None:
        """Put the names in a directory on stable storage."""

    def read(self, path: Path) -> bytes:
        """All of a small file."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in one step; what had that name is gone."""

    def remove(self, path: Path) -> None:
        """Take a file's name away; nothing if there is none."""


class SystemFiles:
    """The operating system's files."""

    def prepare(self, directory: Path) -> list[Path]:
        """See LogFiles. A file that a crash left unfinished is finished."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(directory.stat().st_mode) != 0o700:
            directory.chmod(0o700)
        self.sync_directory(directory.parent)
        files = log_files(directory)
        for path in files:
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and stat.S_IMODE(mode) != 0o440:
                path.chmod(0o440)
        return files

    def create(self, path: Path) -> int:
        """See LogFiles."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600)

    def write(self, descriptor: int, data: memoryview) -> int:
        """See LogFiles."""
        return os.write(descriptor, data)

    def is_linked(self, descriptor: int) -> bool:
        """See LogFiles."""
        return os.fstat(descriptor).st_nlink > 0

    def finish(self, descriptor: int) -> None:
        """See LogFiles. It is for reading only then."""
        os.fchmod(descriptor, 0o440)

    def truncate(self, descriptor: int, size: int) -> None:
        """See LogFiles."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """See LogFiles."""
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        """See LogFiles."""
        with suppress(OSError):
            os.close(descriptor)

    def sync_old(self, path: Path) -> None:
        """See LogFiles."""
        self._sync(path, os.O_NOFOLLOW)

    def sync_directory(self, directory: Path) -> None:
        """See LogFiles."""
        self._sync(directory, os.O_DIRECTORY)

    def _sync(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, path: Path) -> bytes:
        """See LogFiles."""
        return path.read_bytes()

    def rename(self, old: Path, new: Path) -> None:
        """See LogFiles."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        """See LogFiles."""
        path.unlink(missing_ok=True)

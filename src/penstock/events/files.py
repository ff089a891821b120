"""The files of the event log: how they are called, and everything that is done to the disk for them.

A file is named for the moment it was begun, ``YYYYMMDD-HHMMSS.<fraction>`` in UTC, so names sort in the order of time. The one being
written has mode 0600, finished ones 0440, their directory 0700: what customers mail to whom is nobody else's business.
"""

from __future__ import annotations

import calendar
import os
import re
import stat
import time
from pathlib import Path
from typing import Protocol

_NAME = re.compile(r"([0-9]{8}-[0-9]{6})\.([0-9]{6,9})", re.ASCII)
_FORMAT = "%Y%m%d-%H%M%S"


def file_name(microseconds: int) -> str:
    """The name of a file begun at this time, in microseconds since 1970."""
    second, fraction = divmod(microseconds, 1_000_000)
    return f"{time.strftime(_FORMAT, time.gmtime(second))}.{fraction:06d}"


def file_time(name: str) -> int | None:
    """When the file called ``name`` was begun, in microseconds since 1970; None if it is no file of an event log."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        second = calendar.timegm(time.strptime(match[1], _FORMAT))
    except ValueError:
        return None
    return second * 1_000_000 + int(match[2][:6])


def log_files(directory: Path) -> list[Path]:
    """The files of the event log in ``directory``, oldest first. OSError if it cannot be listed."""
    return sorted(path for path in directory.iterdir() if file_time(path.name) is not None)


class LogFiles(Protocol):
    """What the event log asks of the disk. Everything raises OSError."""

    def prepare(self, directory: Path) -> list[Path]:
        """Make the directory if it is missing, and private; return the event files in it, oldest first, all of them finished."""

    def create(self, path: Path) -> int:
        """A descriptor to append to a new file; FileExistsError if there is one."""

    def write(self, descriptor: int, data: memoryview) -> int:
        """Append as much of ``data`` as goes in; return how much that was."""

    def is_linked(self, descriptor: int) -> bool:
        """Whether the file still has a name, so that what is written can be found."""

    def finish(self, descriptor: int) -> None:
        """Close the file, for reading only from now on. It is closed even if this raises."""


class SystemFiles:
    """The operating system's files."""

    def prepare(self, directory: Path) -> list[Path]:
        """See LogFiles. A file that a crash left unfinished is finished."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(directory.stat().st_mode) != 0o700:
            directory.chmod(0o700)
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
        """See LogFiles."""
        try:
            os.fchmod(descriptor, 0o440)
        finally:
            os.close(descriptor)

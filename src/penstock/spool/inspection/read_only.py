"""A spool's files for whoever only looks: nothing is made, changed or locked, and there is no way to.

Unlike ``os_files`` this takes files with a second name (a hard link), for a snapshot of a spool may be made of such, and where it may it
leaves no trace in access times. Symbolic links are not followed here either.
"""

from __future__ import annotations

import contextlib
import errno as errors
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from penstock.spool.files import File, FileError
from penstock.spool.os_files import OsFile

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe without a writer would be waited for
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree(Protocol):
    """What looking at a spool asks of a file system; every ``penstock.spool.files.Files`` can do it."""

    def open(self, path: str) -> File:
        """A file that is there, to be read. FileError."""

    def names(self, folder: str = "") -> list[str]:
        """The names in a folder, sorted. FileError."""


class Attributes(msgspec.Struct, frozen=True):
    """What a file system says of a file or folder. ``owner`` is a user id, ``mode`` the permission bits, ``links`` how many names it has."""

    kind: str
    owner: int
    mode: int
    links: int
    size: int


class ReadOnlyFiles:
    """The spool in the directory ``root``. FileError if there is none, or it may not be read."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        with self._mapped("open", ""):
            self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, path: str) -> OsFile:
        """See Tree. FileError for anything but a regular file."""
        with self._mapped("open", path), self._above(path) as (folder, name):
            descriptor = os.open(name, _FILE, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileError(
                "open",
                self._shown(path),
                errors.EINVAL,
                reason="is no regular file",
                advice="take it out of the spool",
            )
        with contextlib.suppress(PermissionError):  # only the file's owner may leave its access time alone
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_NOATIME)
        return OsFile(descriptor, path, self._shown(path))

    def names(self, folder: str = "") -> list[str]:
        """See Tree."""
        with self._mapped("list", folder), self._folder(folder) as descriptor:
            return sorted(os.listdir(descriptor))  # noqa: PTH208 - a descriptor has no Path

    def attributes(self, path: str = "") -> Attributes:
        """Those of a file or folder, itself and not what a symbolic link names. FileError."""
        with self._mapped("look at", path):
            if path:
                with self._above(path) as (folder, name):
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            else:
                found = os.fstat(self._descriptor)
        return Attributes(
            _kind(found.st_mode), found.st_uid, stat.S_IMODE(found.st_mode), found.st_nlink, found.st_size
        )

    def close(self) -> None:
        """Give the directory back. Files that are open stay so."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _shown(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextlib.contextmanager
    def _mapped(self, operation: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            number = error.errno or errors.EIO
            advice = _advice(self._root) if number in (errors.EACCES, errors.EPERM) else None
            raise FileError(operation, self._shown(path), number, advice=advice) from error

    @contextlib.contextmanager
    def _above(self, path: str) -> Iterator[tuple[int, str]]:
        folder, _, name = path.rpartition("/")
        with self._folder(folder) as descriptor:
            yield descriptor, name

    @contextlib.contextmanager
    def _folder(self, folder: str) -> Iterator[int]:
        descriptor = os.open(folder or ".", _FOLDER, dir_fd=self._descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def user_name(number: int) -> str:
    """What a user is called; the number where nobody knows."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "symbolic link" if stat.S_ISLNK(mode) else "device, pipe or socket"


def _advice(root: str) -> str:
    """As whom to come again, as far as the system tells us whose the directory is."""
    try:
        owner = user_name(Path(root).stat().st_uid)
    except OSError:
        return "run this as the user that Penstock runs as"
    return f"run this as {owner}, whose the spool is, or as root"

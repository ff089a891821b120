"""What the spool asks of a file system. Everything that it reads, writes and relies on after a power cut goes through this.

Two things implement it: ``penstock.spool.os_files``, the operating system's files, and ``penstock.sim.file_system``, which can lose power
after any operation. Paths are relative to the root of one directory tree, parts separated by ``/``; ``""`` is the root itself.

What is promised about stable storage is what POSIX promises and no more. The octets of a file, and its size, are on stable storage once
its ``sync`` has returned. Its *name* is there once ``sync_folder`` of the folder that it is in has returned, and that of a new folder
once ``sync_folder`` of the folder above has. Until then each may be there or not after a power cut, octets in any order.

After a ``sync`` has failed, nothing that was written since the one before it may be relied upon: the system may have dropped it and
call a second sync of the same file a success. What matters is written again, to another file.
"""

from __future__ import annotations

import errno as errors
import os
from collections.abc import Sequence
from typing import Final, Protocol

#: The file in the root that is locked; it stays there.
LOCK_NAME: Final = "lock"
_OWN_FOLDER: Final = "the spool's directory and all in it must belong to the user that Penstock runs as"
_ADVICE: Final = {
    errors.ENOSPC: "free space or inodes on the spool's file system (df, df -i)",
    errors.EDQUOT: "raise the disk quota of the user that Penstock runs as",
    errors.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errors.EIO: "the disk, or the way to it, is failing: look into the kernel's log (dmesg)",
    errors.EROFS: "the file system is read-only, perhaps since an error: look into the kernel's log (dmesg)",
    errors.EMFILE: "raise the limit on open files of this process (ulimit -n, LimitNOFILE)",
    errors.ENFILE: "raise the limit on open files of the whole system (fs.file-max)",
    errors.EACCES: _OWN_FOLDER,
    errors.EPERM: _OWN_FOLDER,
    errors.ELOOP: "a symbolic link has no business in the spool: put the file itself in its place",
    errors.ETIMEDOUT: "the disk does not answer: look into the kernel's log (dmesg)",
}


class FileError(Exception):
    """An operation on a file failed. The text says which, on what, why, and what to do about it.

    ``operation`` is a verb, ``number`` an errno; ``reason`` is said in place of the system's words for it, ``advice`` in place of ours.
    """

    def __init__(
        self, operation: str, path: str, number: int, *, reason: str = "", advice: str | None = None
    ) -> None:
        self.operation = operation
        self.path = path
        self.errno = number
        name = errors.errorcode.get(number, f"errno {number}")
        subject = path or "the spool directory"
        told = f"cannot {operation} {subject}: {reason or os.strerror(number).lower()} ({name})"
        hint = _ADVICE.get(number, "") if advice is None else advice
        super().__init__(f"{told}; {hint}" if hint else told)


class File(Protocol):
    """An open file."""

    @property
    def path(self) -> str:
        """Where it was when it was opened."""

    def write(self, buffers: Sequence[bytes], offset: int) -> None:
        """Write all of the buffers, one after the other, from ``offset`` on. FileError if not all went in: some may have."""

    def read(self, size: int, offset: int) -> bytes:
        """``size`` octets from ``offset`` on; fewer only where the file ends before. FileError."""

    def read_now(self, size: int, offset: int) -> bytes | None:
        """As ``read``, if that needs no waiting for a disk; else None. FileError."""

    def prefetch(self, size: int, offset: int) -> None:
        """Say that these octets will be read soon. Never fails."""

    def allocate(self, size: int) -> None:
        """Reserve room for ``size`` octets in all; the file then has at least that size, zeros where nothing was written. FileError."""

    def truncate(self, size: int) -> None:
        """Give the file this size: cut it there, or continue it with zeros. FileError."""

    def sync(self) -> None:
        """Put octets and size on stable storage; blocks until they are. FileError: see the module about what is left."""

    def fileno(self) -> int:
        """The descriptor, to hand to the helper that syncs. It stays this file's own."""

    def size(self) -> int:
        """The size in octets. FileError."""

    def close(self) -> None:
        """Give the descriptor back; twice is once. Says nothing about stable storage, and never fails."""


class Files(Protocol):
    """One directory tree."""

    def create(self, path: str) -> File:
        """A new file, for reading and writing, which only its owner may do. FileError if there is anything of this name."""

    def open(self, path: str, *, writable: bool = False) -> File:
        """A file that is there. FileError if it is not, or is a symbolic link or anything else than a regular file."""

    def names(self, folder: str = "") -> list[str]:
        """The names in a folder, of files and folders, sorted. FileError."""

    def make_folder(self, path: str) -> None:
        """Make a folder that only its owner may use. One that is there is left alone. FileError."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step; a file that has it already is gone. FileError."""

    def remove(self, path: str) -> None:
        """Take a file's name away; who has it open keeps it. FileError."""

    def open_folder(self, folder: str = "") -> File:
        """A folder whose names are put on stable storage by ``sync``; nothing else can be done with it. FileError."""

    def sync_folder(self, folder: str = "") -> None:
        """Put the names in a folder, and which are gone, on stable storage; blocks until they are. FileError."""

    def lock(self) -> None:
        """Take the tree for this process, until it ends, by the file LOCK_NAME. FileError says which other process has it."""

    def free(self) -> tuple[int, int, int, int]:
        """Free octets and all octets, free inodes and all inodes, as far as this user may use them. FileError.

        Where the file system has no fixed number of inodes, both are 0.
        """

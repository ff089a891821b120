"""The files of the operating system, as ``penstock.spool.files`` asks for them.

The root's descriptor is held from the start and every part of a path is opened without following symbolic links, so whatever else is
renamed or put in the way, nothing outside the tree is ever read or written. Files have mode 0600, folders 0700. Calls that a signal
interrupts are repeated (PEP 475), short writes are continued, and every OSError becomes a FileError.
"""

from __future__ import annotations

import contextlib
import errno as errors
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from penstock.spool.files import LOCK_NAME, FileError

_CAREFUL: Final = os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe without a writer would be waited for; what is no regular file is refused once it is open
_EXISTING: Final = _CAREFUL | os.O_NONBLOCK
_FOLDER: Final = _CAREFUL | os.O_DIRECTORY | os.O_RDONLY
#: Buffers in one call: IOV_MAX of Linux (limits.h).
_BUFFERS_AT_ONCE: Final = 1024
#: What file systems without preallocation answer (posix_fallocate(3)); glibc imitates it there, others do not.
_NO_ALLOCATION: Final = (errors.EOPNOTSUPP, errors.EINVAL, errors.ENOSYS)


class OsFile:
    """A file by its descriptor. ``shown`` is its path as messages tell it."""

    __slots__ = ("_descriptor", "_shown", "path")

    def __init__(self, descriptor: int, path: str, shown: str) -> None:
        self._descriptor = descriptor
        self._shown = shown
        self.path = path

    def write(self, buffers: Sequence[bytes], offset: int) -> None:
        """See File."""
        rest: list[bytes | memoryview] = [buffer for buffer in buffers if buffer]
        left = sum(map(len, rest))
        while left:
            try:
                written = os.pwritev(self._descriptor, rest[:_BUFFERS_AT_ONCE], offset)
            except OSError as error:
                raise self._failed("write", error) from error
            if not written:  # no reason given, so none is told
                raise FileError("write", self._shown, errors.EIO, reason="nothing went in")
            left -= written
            if left:
                offset += written
                rest = _after(rest, written)

    def read(self, size: int, offset: int) -> bytes:
        """See File."""
        try:
            data = os.pread(self._descriptor, size, offset)
            while data and len(data) < size:
                more = os.pread(self._descriptor, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise self._failed("read", error) from error
        return data

    def read_now(self, size: int, offset: int) -> bytes | None:
        """See File. Where the system cannot say what is in memory (RWF_NOWAIT, preadv2(2)), it is read, and may wait."""
        buffer = bytearray(size)
        done = 0
        while done < size:
            try:
                count = os.preadv(self._descriptor, [memoryview(buffer)[done:]], offset + done, os.RWF_NOWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errors.EOPNOTSUPP:
                    return self.read(size, offset)
                raise self._failed("read", error) from error
            if not count:
                break
            done += count
        return bytes(buffer) if done == size else bytes(memoryview(buffer)[:done])

    def prefetch(self, size: int, offset: int) -> None:
        """See File."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def allocate(self, size: int) -> None:
        """See File. Where the file system cannot reserve room, the file only gets the size."""
        if size <= 0:
            return
        try:
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            if error.errno not in _NO_ALLOCATION:
                raise self._failed("allocate", error) from error
            if self.size() < size:
                self.truncate(size)

    def truncate(self, size: int) -> None:
        """See File."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self._failed("truncate", error) from error

    def sync(self) -> None:
        """See File."""
        if self._descriptor < 0:  # os.fdatasync would raise ValueError
            raise FileError("sync", self._shown, errors.EBADF)
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._failed("sync", error) from error

    def fileno(self) -> int:
        """See File."""
        return self._descriptor

    def size(self) -> int:
        """See File."""
        try:
            return os.fstat(self._descriptor).st_size
        except OSError as error:
            raise self._failed("look at", error) from error

    def close(self) -> None:
        """See File. An error that the system reports here is about what was not synced, so nobody relies on it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _failed(self, operation: str, error: OSError) -> FileError:
        return FileError(operation, self._shown, error.errno or errors.EIO)


class OsFolder(OsFile):
    """A folder by its descriptor: what is done to a file fails, but for ``sync``."""

    __slots__ = ()

    def sync(self) -> None:
        """See Files. A folder has no data to be synced without the rest."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed("sync", error) from error


def _after(buffers: list[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """What is left of the buffers once so many octets of them are written."""
    for index, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[index + 1 :]]
        written -= len(buffer)
    return []


class OsFiles:
    """The tree under ``root``, which is made if it is missing. FileError if it cannot be."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._lock: int | None = None
        with self._mapped("open", ""):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_upwards(root.absolute())
            self._descriptor = os.open(root, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)

    def create(self, path: str) -> OsFile:
        """See Files."""
        with self._mapped("create", path), self._above(path) as (folder, name):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CAREFUL, 0o600, dir_fd=folder)
        return OsFile(descriptor, path, self._shown(path))

    def open(self, path: str, *, writable: bool = False) -> OsFile:
        """See Files. A file with a second name (a hard link) is refused too: who has that could change what is stored."""
        with self._mapped("open", path), self._above(path) as (folder, name):
            descriptor = os.open(name, _EXISTING | (os.O_RDWR if writable else os.O_RDONLY), dir_fd=folder)
        refusal = _refusal(os.fstat(descriptor))
        if refusal is not None:
            os.close(descriptor)
            number, reason, advice = refusal
            raise FileError("open", self._shown(path), number, reason=reason, advice=advice)
        return OsFile(descriptor, path, self._shown(path))

    def names(self, folder: str = "") -> list[str]:
        """See Files."""
        with self._mapped("list", folder), self._folder(_parts(folder)) as descriptor:
            return sorted(os.listdir(descriptor))  # noqa: PTH208 - a descriptor has no Path

    def make_folder(self, path: str) -> None:
        """See Files."""
        with self._mapped("make", path), self._above(path) as (folder, name):
            try:
                os.mkdir(name, 0o700, dir_fd=folder)
            except FileExistsError:
                os.close(os.open(name, _FOLDER, dir_fd=folder))

    def rename(self, old: str, new: str) -> None:
        """See Files."""
        with (
            self._mapped("rename", old),
            self._above(old) as (source, old_name),
            self._above(new) as (target, new_name),
        ):
            os.rename(old_name, new_name, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, path: str) -> None:
        """See Files."""
        with self._mapped("remove", path), self._above(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def open_folder(self, folder: str = "") -> OsFolder:
        """See Files."""
        with self._mapped("open", folder), self._folder(_parts(folder)) as descriptor:
            return OsFolder(os.dup(descriptor), folder, self._shown(folder))

    def sync_folder(self, folder: str = "") -> None:
        """See Files."""
        with self._mapped("sync", folder), self._folder(_parts(folder)) as descriptor:
            os.fsync(descriptor)

    def lock(self) -> None:
        """See Files. The process id in the file is for the message only; what holds is flock(2), which ends with the process."""
        with self._mapped("lock", ""):
            descriptor = os.open(
                LOCK_NAME, os.O_RDWR | os.O_CREAT | _EXISTING, 0o600, dir_fd=self._descriptor
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 20, 0).strip()
                os.close(descriptor)
                raise self._taken(holder) from error
            except OSError:
                os.close(descriptor)
                raise
        self._lock = descriptor

    def free(self) -> tuple[int, int, int, int]:
        """See Files."""
        with self._mapped("look at", ""):
            told = os.fstatvfs(self._descriptor)
        return told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize, told.f_favail, told.f_files

    def close(self) -> None:
        """Give the tree back, and its lock. Files that are open stay so."""
        for descriptor in (self._lock, self._descriptor):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._lock, self._descriptor = None, -1

    def _shown(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _taken(self, holder: bytes) -> FileError:
        known = holder.isdigit()
        who = f"process {holder.decode('ascii')}" if known else "another process"
        reason = f"in use by {who}"
        advice = "stop that one first, or give this one a data_dir of its own"
        return FileError("lock", self._shown(""), errors.EWOULDBLOCK, reason=reason, advice=advice)

    @contextlib.contextmanager
    def _mapped(self, operation: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileError(operation, self._shown(path), error.errno or errors.EIO) from error

    @contextlib.contextmanager
    def _above(self, path: str) -> Iterator[tuple[int, str]]:
        """The descriptor of the folder that ``path`` is in, and its name there."""
        parts = _parts(path)
        if not parts:
            raise ValueError("the root is no file")
        with self._folder(parts[:-1]) as descriptor:
            yield descriptor, parts[-1]

    @contextlib.contextmanager
    def _folder(self, parts: Sequence[str]) -> Iterator[int]:
        descriptor = os.open(".", _FOLDER, dir_fd=self._descriptor)
        try:
            for part in parts:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)


def _parts(path: str) -> list[str]:
    """ValueError for a path that is not ours: the program makes them all."""
    if not path:
        return []
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"{path!r} is no path inside a tree")
    return parts


def _refusal(status: os.stat_result) -> tuple[int, str, str] | None:
    """Why a file that is open is not to be used: an errno, the reason, and what to do."""
    if not stat.S_ISREG(status.st_mode):
        return errors.EINVAL, "is no regular file", "take it out of the spool"
    if status.st_nlink > 1:
        return errors.EMLINK, "has a second name (a hard link)", "put a copy in its place"
    return None


def _sync_upwards(folder: Path) -> None:
    """Put a folder's own name on stable storage, and those of the folders above it, up to where its file system is mounted.

    At every start, for a crash may have come between the making of a folder and this.
    """
    while not folder.is_mount():
        folder = folder.parent
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return  # not ours to list, so not made by us
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

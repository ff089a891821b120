"""Files that are octets in a dictionary: no durability, no faults. For tests of what is in them."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from penstock.spool.files import FileError


class MemoryFile:
    """An open file."""

    def __init__(self, path: str, octets: bytearray, synced: list[str]) -> None:
        self.path = path
        self.octets = octets
        self._synced = synced

    def write(self, buffers: Sequence[bytes], offset: int) -> None:
        data = b"".join(buffers)
        if offset > len(self.octets):
            self.octets.extend(bytes(offset - len(self.octets)))
        self.octets[offset : offset + len(data)] = data

    def read(self, size: int, offset: int) -> bytes:
        return bytes(self.octets[offset : offset + size])

    def read_now(self, size: int, offset: int) -> bytes | None:
        return self.read(size, offset)

    def prefetch(self, size: int, offset: int) -> None:
        pass

    def allocate(self, size: int) -> None:
        self.octets.extend(bytes(max(0, size - len(self.octets))))

    def truncate(self, size: int) -> None:
        self.allocate(size)
        del self.octets[size:]

    def sync(self) -> None:
        self._synced.append(self.path)

    def fileno(self) -> int:
        raise AssertionError("nothing here is a descriptor")

    def size(self) -> int:
        return len(self.octets)

    def close(self) -> None:
        pass


class MemoryFiles:
    """One tree: ``octets`` by path, ``folders``, and ``synced``, every file and folder that was synced, in order."""

    def __init__(self) -> None:
        self.octets: dict[str, bytearray] = {}
        self.folders = {""}
        self.synced: list[str] = []

    def create(self, path: str) -> MemoryFile:
        if path in self.octets or path.rpartition("/")[0] not in self.folders:
            raise FileError("create", path, errno.EEXIST if path in self.octets else errno.ENOENT)
        self.octets[path] = bytearray()
        return self.open(path)

    def open(self, path: str, *, writable: bool = False) -> MemoryFile:
        if path not in self.octets:
            raise FileError("open", path, errno.ENOENT)
        return MemoryFile(path, self.octets[path], self.synced)

    def names(self, folder: str = "") -> list[str]:
        if folder not in self.folders:
            raise FileError("list", folder, errno.ENOENT)
        paths = [*self.octets, *(self.folders - {""})]
        return sorted(path.rpartition("/")[2] for path in paths if path.rpartition("/")[0] == folder)

    def make_folder(self, path: str) -> None:
        self.folders.add(path)

    def rename(self, old: str, new: str) -> None:
        self.octets[new] = self.octets.pop(old)

    def open_folder(self, folder: str = "") -> MemoryFile:
        return MemoryFile(folder, bytearray(), self.synced)

    def remove(self, path: str) -> None:
        del self.octets[path]

    def sync_folder(self, folder: str = "") -> None:
        self.synced.append(folder)

    def lock(self) -> None:
        pass

    def free(self) -> tuple[int, int, int, int]:
        return 1 << 40, 1 << 40, 0, 0

"""A program's view of a simulated disk: the spool's ``Files`` and ``File``."""

from __future__ import annotations

import errno as errors
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.sim.file_system.faults import Fault
from penstock.sim.file_system.node import FileNode, FolderNode, Node
from penstock.sim.file_system.operation import Operation
from penstock.spool.files import LOCK_NAME, FileError

if TYPE_CHECKING:
    from penstock.sim.file_system.disk import SimulatedDisk


class SimulatedFile:
    """An open file."""

    __slots__ = ("_disk", "_is_open", "_is_writable", "_node", "_number", "path")

    def __init__(
        self, disk: SimulatedDisk, node: FileNode, path: str, number: int, *, is_writable: bool
    ) -> None:
        self._disk = disk
        self._node = node
        self._number = number
        self._is_writable = is_writable
        self._is_open = True
        self.path = path
        node.opened += 1

    def write(self, buffers: Sequence[bytes], offset: int) -> None:
        """See File."""
        data = b"".join(buffers)

        def act() -> None:
            self._check(Operation.WRITE, writes=True)
            room = self._disk.room(self._node, offset + len(data))
            self._node.write(self._disk.steps, data[: max(0, room - offset)], offset)
            if room < offset + len(data):
                raise FileError(Operation.WRITE.value, self.path, errors.ENOSPC)

        def fail(fault: Fault) -> None:
            room = self._disk.room(self._node, offset + fault.written)
            self._node.write(self._disk.steps, data[: max(0, min(room - offset, fault.written))], offset)

        self._disk.run(Operation.WRITE, self.path, act, fail)

    def read(self, size: int, offset: int) -> bytes:
        """See File."""

        def act() -> bytes:
            self._check(Operation.READ)
            return self._node.read(size, offset)

        return self._disk.run(Operation.READ, self.path, act)

    def read_now(self, size: int, offset: int) -> bytes | None:
        """See File. Everything is in memory."""
        return self.read(size, offset)

    def prefetch(self, size: int, offset: int) -> None:
        """See File."""

    def allocate(self, size: int) -> None:
        """See File."""

        def act() -> None:
            self._check(Operation.ALLOCATE, writes=True)
            if self._disk.room(self._node, size) < size:
                self._disk.give_back(self._node, self._node.size)
                raise FileError(Operation.ALLOCATE.value, self.path, errors.ENOSPC)
            if size > self._node.size:
                self._node.truncate(self._disk.steps, size)

        self._disk.run(Operation.ALLOCATE, self.path, act)

    def truncate(self, size: int) -> None:
        """See File."""

        def act() -> None:
            self._check(Operation.TRUNCATE, writes=True)
            if not self._disk.switches.is_ignored(Operation.TRUNCATE, self.path):
                self._node.truncate(self._disk.steps, size)
                self._disk.give_back(self._node, size)

        self._disk.run(Operation.TRUNCATE, self.path, act)

    def sync(self) -> None:
        """See File."""

        def act() -> None:
            self._check(Operation.SYNC)
            if not self._disk.switches.is_ignored(Operation.SYNC, self.path):
                self._node.sync()

        def fail(_fault: Fault) -> None:
            self._node.fail_sync(self._disk.failed_sync)

        try:
            self._disk.run(Operation.SYNC, self.path, act, fail)
        except FileError:
            if not self._disk.switches.hides_failed_sync:
                raise

    def fileno(self) -> int:
        """A number that no other open file of the disk has; no descriptor of the system's."""
        return self._number if self._is_open else -1

    def size(self) -> int:
        """See File."""

        def act() -> int:
            self._check(Operation.SIZE)
            return self._node.size

        return self._disk.run(Operation.SIZE, self.path, act)

    def close(self) -> None:
        """See File."""
        if self._is_open:
            self._is_open = False
            self._node.opened -= 1
            self._disk.free(self._node)

    def _check(self, operation: Operation, *, writes: bool = False) -> None:
        if not self._is_open or (writes and not self._is_writable):
            raise FileError(operation.value, self.path, errors.EBADF)


class SimulatedFolder(SimulatedFile):
    """An open folder, to be synced."""

    __slots__ = ("_files",)

    def __init__(self, files: SimulatedFiles, path: str, number: int) -> None:
        super().__init__(files.disk, FileNode(), path, number, is_writable=False)
        self._files = files

    def sync(self) -> None:
        """See Files."""
        self._files.sync_folder(self.path)


class SimulatedFiles:
    """The tree as one process sees it. ``number`` is the process's id."""

    def __init__(self, disk: SimulatedDisk, number: int) -> None:
        self.disk = disk
        self.number = number
        self._opened = 2

    def create(self, path: str) -> SimulatedFile:
        """See Files."""

        def act() -> SimulatedFile:
            folder, name = self._above(Operation.CREATE, path)
            if name in folder.entries:
                raise FileError(Operation.CREATE.value, path, errors.EEXIST)
            self.disk.take_inode(Operation.CREATE, path)
            node = FileNode()
            self.disk.change_names((folder, name, node))
            return self._new_file(node, path, is_writable=True)

        return self.disk.run(Operation.CREATE, path, act)

    def open(self, path: str, *, writable: bool = False) -> SimulatedFile:
        """See Files."""

        def act() -> SimulatedFile:
            node = self._node(Operation.OPEN, path)
            if not isinstance(node, FileNode):
                raise FileError(Operation.OPEN.value, path, errors.EINVAL, reason="is no regular file")
            return self._new_file(node, path, is_writable=writable)

        return self.disk.run(Operation.OPEN, path, act)

    def names(self, folder: str = "") -> list[str]:
        """See Files."""
        return self.disk.run(
            Operation.LIST, folder, lambda: sorted(self._folder(Operation.LIST, folder).entries)
        )

    def make_folder(self, path: str) -> None:
        """See Files."""

        def act() -> None:
            folder, name = self._above(Operation.MAKE_FOLDER, path)
            there = folder.entries.get(name)
            if isinstance(there, FileNode):
                raise FileError(Operation.MAKE_FOLDER.value, path, errors.ENOTDIR)
            if there is None:
                self.disk.take_inode(Operation.MAKE_FOLDER, path)
                self.disk.change_names((folder, name, FolderNode()))

        self.disk.run(Operation.MAKE_FOLDER, path, act)

    def rename(self, old: str, new: str) -> None:
        """See Files."""

        def act() -> None:
            source, old_name = self._above(Operation.RENAME, old)
            target, new_name = self._above(Operation.RENAME, new)
            node = self._node(Operation.RENAME, old)
            there = target.entries.get(new_name)
            if not isinstance(node, FileNode) or isinstance(there, FolderNode):
                raise FileError(Operation.RENAME.value, old, errors.EISDIR)
            if node is not there:
                self.disk.change_names((source, old_name, None), (target, new_name, node))

        self.disk.run(Operation.RENAME, old, act)

    def remove(self, path: str) -> None:
        """See Files."""

        def act() -> None:
            folder, name = self._above(Operation.REMOVE, path)
            if not isinstance(self._node(Operation.REMOVE, path), FileNode):
                raise FileError(Operation.REMOVE.value, path, errors.EISDIR)
            if not self.disk.switches.is_ignored(Operation.REMOVE, path):
                self.disk.change_names((folder, name, None))

        self.disk.run(Operation.REMOVE, path, act)

    def open_folder(self, folder: str = "") -> SimulatedFolder:
        """See Files."""

        def act() -> SimulatedFolder:
            self._folder(Operation.OPEN, folder)
            self._opened += 1
            return SimulatedFolder(self, folder, self._opened)

        return self.disk.run(Operation.OPEN, folder, act)

    def sync_folder(self, folder: str = "") -> None:
        """See Files."""

        def act() -> None:
            node = self._folder(Operation.SYNC_FOLDER, folder)
            if not self.disk.switches.is_ignored(Operation.SYNC_FOLDER, folder):
                self.disk.sync_folder(node)

        try:
            self.disk.run(Operation.SYNC_FOLDER, folder, act)
        except FileError:
            if not self.disk.switches.hides_failed_sync:
                raise

    def lock(self) -> None:
        """See Files. As on a real disk there is then a file of that name in the root."""

        def act() -> None:
            if self.disk.holder is not None:
                reason = f"in use by process {self.disk.holder}"
                raise FileError(Operation.LOCK.value, "", errors.EWOULDBLOCK, reason=reason)
            self.disk.holder = self.number
            if LOCK_NAME not in self.disk.root.entries:
                self.disk.take_inode(Operation.LOCK, "")
                # on stable storage at once: whether it is there matters to nobody, and would double the states
                self.disk.root.entries[LOCK_NAME] = self.disk.root.settled[LOCK_NAME] = FileNode()

        self.disk.run(Operation.LOCK, "", act)

    def free(self) -> tuple[int, int, int, int]:
        """See Files."""
        return self.disk.run(Operation.FREE, "", self.disk.free_space)

    def _new_file(self, node: FileNode, path: str, *, is_writable: bool) -> SimulatedFile:
        self._opened += 1
        return SimulatedFile(self.disk, node, path, self._opened, is_writable=is_writable)

    def _node(self, operation: Operation, path: str) -> Node:
        folder, name = self._above(operation, path)
        if name not in folder.entries:
            raise FileError(operation.value, path, errors.ENOENT)
        return folder.entries[name]

    def _above(self, operation: Operation, path: str) -> tuple[FolderNode, str]:
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            raise ValueError(f"{path!r} is no path inside a tree")
        return self._folder(operation, folder), name

    def _folder(self, operation: Operation, path: str) -> FolderNode:
        node: Node = self.disk.root
        for part in path.split("/") if path else ():
            below = node.entries.get(part) if isinstance(node, FolderNode) else None
            if below is None:
                raise FileError(operation.value, path, errors.ENOENT)
            node = below
        if not isinstance(node, FolderNode):
            raise FileError(operation.value, path, errors.ENOTDIR)
        return node

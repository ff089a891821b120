"""What a simulated file system stores, on stable storage and not yet; where its power is cut and its errors are asked for."""

from __future__ import annotations

import contextlib
import errno as errors
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

from penstock.sim.file_system.crash import Possibilities
from penstock.sim.file_system.faults import FailedSync, Fault, Faults, Switches
from penstock.sim.file_system.names import Change, settle
from penstock.sim.file_system.node import BLOCK, FileNode, FolderNode, Node, blocks
from penstock.sim.file_system.operation import SYNCING, Operation, PowerCut, Step
from penstock.sim.file_system.process import SimulatedFiles
from penstock.sim.file_system.story import tell
from penstock.spool.files import FileError

T = TypeVar("T")

#: What a disk without a capacity says that it has.
_PLENTY: Final = 1 << 40
_PLENTY_OF_INODES: Final = 1 << 24
#: Removed files whose octets may turn up again where a file has grown.
_GRAVES: Final = 4


class SimulatedDisk:
    """A disk with an empty root folder.

    ``capacity`` is its size in octets, which files take in blocks of 4096, ``inodes`` how many files and folders it can have; None
    is as much as needed. ``failed_sync`` says what becomes of what could not be synced. With ``cut_at`` the power is cut while
    that step runs: it raises PowerCut, and so does everything after it. ``on_step`` is called after each step.
    """

    def __init__(
        self,
        *,
        capacity: int | None = None,
        inodes: int | None = None,
        switches: Switches = Switches(),  # noqa: B008 - it is frozen
        failed_sync: FailedSync = FailedSync.MARKED_CLEAN,
        cut_at: int | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.capacity = capacity
        self.inodes = inodes
        self.switches = switches
        self.failed_sync = failed_sync
        self.cut_at = cut_at
        self.on_step = on_step
        self.faults = Faults()
        #: Steps done so far.
        self.steps = 0
        self._tell: Callable[[], str] = lambda: "a new disk"
        self.root = FolderNode()
        self.changes: list[Change] = []
        #: the process that has the lock
        self.holder: int | None = None
        self.used_blocks = 0
        self.used_inodes = 0
        self._graves: list[bytes] = []
        self._is_off = False
        self._last_process = 100

    def process(self) -> SimulatedFiles:
        """The files as a new process sees them."""
        self._last_process += 1
        return SimulatedFiles(self, self._last_process)

    # -- cutting the power

    @property
    def story(self) -> str:
        """What made this disk as it is, for people. To be asked before the disk that it was made from goes on."""
        return self._tell()

    def crash_states(
        self, limit: int = 64, seed: int = 0, *, corners: bool = True
    ) -> Iterator[SimulatedDisk]:
        """Disks as a power cut now may leave them, at most ``limit``, no two alike; all there are if they are not more, else a sample
        that is the same for the same seed. Each has this one's size and switches, but none of its faults.

        A sample begins with its ``corners``: nothing is there of what was not synced, or all of it, or all of the names, or none but the names.
        """
        possibilities = Possibilities(self.root, self.changes, self._graves)
        rng = random.Random(seed * 1_000_003 + self.steps)  # noqa: S311 - repeatable is what is asked for
        for choice in possibilities.choices(limit, rng, corners=corners):
            yield self._state(possibilities.tree(choice), partial(tell, possibilities, choice, self.steps))

    def after_kill(self) -> SimulatedDisk:
        """A disk as ``kill -9`` of every process leaves this one: nothing is lost, nothing is synced. A copy."""
        copies: dict[Node, Node] = {}
        disk = self._state(_copied_folder(self.root, copies), lambda: "every process was killed")
        for change in self.changes:
            puts = [
                (_copied_folder(folder, copies), name, _copied(node, copies))
                for folder, name, node in change.puts
            ]
            copied = Change(change.step, puts)
            copied.unsynced = {_copied_folder(folder, copies) for folder in change.unsynced}
            disk.changes.append(copied)
        disk.steps = self.steps
        return disk

    def _state(self, root: FolderNode, tell: Callable[[], str]) -> SimulatedDisk:
        disk = SimulatedDisk(
            capacity=self.capacity, inodes=self.inodes, switches=self.switches, failed_sync=self.failed_sync
        )
        disk.root = root
        disk._tell = tell
        disk._graves = list(self._graves)
        disk._last_process = self._last_process
        disk.used_blocks, disk.used_inodes = _taken(root)
        return disk

    def spoil(self, path: str, offset: int) -> None:
        """Have another octet at ``offset`` of a file, as on a disk that is going bad; stable storage or not. ValueError if there is no such file."""
        node: Node | None = self.root
        for part in path.split("/"):
            node = node.entries.get(part) if isinstance(node, FolderNode) else None
        if not isinstance(node, FileNode) or not 0 <= offset < node.size:
            raise ValueError(f"there is no octet {offset} of {path}")
        node.spoil(offset)

    # -- what a process does

    def run(
        self,
        operation: Operation,
        path: str,
        act: Callable[[], T],
        fail: Callable[[Fault], None] | None = None,
    ) -> T:
        """A step: ``act`` does it. If it is to fail, ``fail`` does what is done nevertheless. FileError, PowerCut."""
        if self._is_off:
            raise PowerCut
        self.steps += 1
        step = Step(self.steps, operation, path)
        if self.steps == self.cut_at:
            self._cut(operation, act)
        fault = self.faults.due(operation, path)
        try:
            if fault is not None:
                if fault.takes_effect:
                    act()
                elif fail is not None:
                    fail(fault)
                raise FileError(operation.value, path, fault.errno)
            return act()
        finally:
            if self.on_step is not None:
                self.on_step(step)

    def _cut(self, operation: Operation, act: Callable[[], object]) -> None:
        self._is_off = True
        # what was asked for may be done in any part, which crash_states sees to; a sync may have done nothing
        if operation not in SYNCING:
            with contextlib.suppress(FileError):
                act()
        raise PowerCut

    def change_names(self, *puts: tuple[FolderNode, str, Node | None]) -> None:
        """Names put into folders, or taken out (None), in one step. What has no name any more is freed."""
        self.changes.append(Change(self.steps, puts))
        for folder, name, node in puts:
            old = folder.entries.pop(name, None)
            if node is not None:
                folder.entries[name] = node
            if isinstance(old, FileNode) and not any(old is other for _, _, other in puts):
                old.is_linked = False
                self.free(old)

    def sync_folder(self, folder: FolderNode) -> None:
        """Its names are on stable storage."""
        self.changes = settle(self.changes, folder)

    def take_inode(self, operation: Operation, path: str) -> None:
        """For a new file or folder. FileError if there is none left."""
        if self.inodes is not None and self.used_inodes >= self.inodes:
            raise FileError(operation.value, path, errors.ENOSPC)
        self.used_inodes += 1

    def room(self, node: FileNode, size: int) -> int:
        """Of ``size`` octets of a file, how many can be had; they are taken."""
        wanted = blocks(size) - node.reserved
        if wanted <= 0:
            return size
        if self.capacity is not None:
            wanted = min(wanted, self.capacity // BLOCK - self.used_blocks)
        self.used_blocks += wanted
        node.reserved += wanted
        return min(size, node.reserved * BLOCK)

    def give_back(self, node: FileNode, size: int) -> None:
        """A file keeps only what ``size`` octets take."""
        surplus = node.reserved - blocks(size)
        if surplus > 0:
            node.reserved -= surplus
            self.used_blocks -= surplus

    def free(self, node: FileNode) -> None:
        """If it has no name and nobody has it open, its room is for others, who may find its octets there."""
        if not node.is_linked and not node.opened:
            self.give_back(node, 0)
            self.used_inodes -= 1
            self._graves = [node.frozen(), *self._graves][:_GRAVES]

    def free_space(self) -> tuple[int, int, int, int]:
        """As Files.free."""
        space = _PLENTY if self.capacity is None else self.capacity // BLOCK * BLOCK
        inodes = _PLENTY_OF_INODES if self.inodes is None else self.inodes
        return space - self.used_blocks * BLOCK, space, inodes - self.used_inodes, inodes


def _taken(folder: FolderNode) -> tuple[int, int]:
    """Blocks and inodes of all that is in a folder."""
    taken, count = 0, 0
    for node in folder.entries.values():
        count += 1
        if isinstance(node, FolderNode):
            more, below = _taken(node)
            taken, count = taken + more, count + below
        else:
            taken += node.reserved
    return taken, count


def _copied(node: Node | None, copies: dict[Node, Node]) -> Node | None:
    if node is None or node in copies:
        return None if node is None else copies[node]
    if isinstance(node, FolderNode):
        return _copied_folder(node, copies)
    copies[node] = copy = node.copy()
    return copy


def _copied_folder(folder: FolderNode, copies: dict[Node, Node]) -> FolderNode:
    found = copies.get(folder)
    if isinstance(found, FolderNode):
        return found
    copies[folder] = copy = FolderNode()
    for source, target in ((folder.entries, copy.entries), (folder.settled, copy.settled)):
        for name, node in source.items():
            copied = _copied(node, copies)
            if copied is not None:
                target[name] = copied
    return copy

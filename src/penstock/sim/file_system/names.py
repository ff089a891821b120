"""Changes of names that are not on stable storage, and which of them may be there without the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from penstock.sim.file_system.node import FolderNode, Node


class Change:
    """Names put into folders, or taken out (None), in one step and never in part."""

    __slots__ = ("keys", "puts", "step", "unsynced")

    def __init__(self, step: int, puts: Sequence[tuple[FolderNode, str, Node | None]]) -> None:
        self.step = step
        self.puts = tuple(puts)
        self.keys = frozenset((folder, name) for folder, name, _ in puts)
        #: folders that have not been synced since
        self.unsynced = {folder for folder, _, _ in puts}

    def settle(self) -> None:
        """It is on stable storage."""
        for folder, name, node in self.puts:
            if node is None:
                folder.settled.pop(name, None)
            else:
                folder.settled[name] = node


Names = dict[FolderNode, dict[str, Node]]


def names_after(changes: Iterable[Change]) -> Names:
    """What is on stable storage in the folders that these changes are about, had only these got there besides what was."""
    found: Names = {}
    for change in changes:
        for folder, name, node in change.puts:
            names = found.get(folder)
            if names is None:
                names = found[folder] = dict(folder.settled)
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node
    return found


def settle(changes: Sequence[Change], folder: FolderNode) -> list[Change]:
    """Sync a folder; what is still not on stable storage.

    A rename from one folder to another is there when both are synced, and with a change those before it of the same names.
    """
    needed = 0
    befores = predecessors(changes)
    for index, change in enumerate(changes):
        change.unsynced.discard(folder)
        if not change.unsynced:
            needed |= befores[index] | 1 << index
    left = []
    for index, change in enumerate(changes):
        if needed >> index & 1:
            change.settle()
        else:
            left.append(change)
    return left


def predecessors(changes: Sequence[Change]) -> list[int]:
    """For each change those that it cannot be without, directly or not, as a set of bits."""
    found: list[int] = []
    last: dict[tuple[FolderNode, str], int] = {}
    for index, change in enumerate(changes):
        before = 0
        for key in change.keys:
            if key in last:
                before |= found[last[key]] | 1 << last[key]
            last[key] = index
        found.append(before)
    return found


def possible_sets(befores: Sequence[int], limit: int) -> Iterator[int]:
    """Sets of changes that a power cut may leave, as bits; at most ``limit`` of them."""
    waiting = [(0, 0)]
    count = 0
    while waiting and count < limit:
        index, chosen = waiting.pop()
        if index == len(befores):
            count += 1
            yield chosen
            continue
        waiting.append((index + 1, chosen))
        if befores[index] & ~chosen == 0:
            waiting.append((index + 1, chosen | 1 << index))


def completed(chosen: int, befores: Sequence[int]) -> int:
    """The set with all that its members cannot be without."""
    for index, before in enumerate(befores):
        if chosen >> index & 1:
            chosen |= before
    return chosen


def without(index: int, befores: Sequence[int]) -> int:
    """All changes but this one and those that cannot be without it."""
    return sum(
        1 << other for other, before in enumerate(befores) if other != index and not before >> index & 1
    )

"""The states that a power cut may leave: all of them where they are few, a sample where they are many.

A state is a choice: a set of changes of names, and for each file that is not settled a size and the octets of each sector.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Final

from penstock.sim.file_system.file_state import Choice, contents, every_state, least_states
from penstock.sim.file_system.names import Change, Names, names_after, possible_sets, predecessors
from penstock.sim.file_system.node import FileNode, FolderNode, patch
from penstock.sim.file_system.sample import Sampler

#: Attempts at finding a state that was not seen yet, for each that is wanted.
_ATTEMPTS: Final = 3


class Possibilities:
    """What a power cut may leave of a tree, given the changes of names that are not settled, and octets of files that are no more."""

    def __init__(self, root: FolderNode, changes: Sequence[Change], graves: Sequence[bytes]) -> None:
        self.root = root
        self.changes = changes
        self._befores = predecessors(changes)
        self._graves = graves
        self.files = [node for node in _files(root, changes) if not node.is_settled]
        self._index = {node: index for index, node in enumerate(self.files)}
        #: set of changes -> what ``_shape`` says of it
        self._shapes: dict[int, tuple[object, list[int]]] = {}

    def choices(self, limit: int, rng: random.Random, *, corners: bool = True) -> Iterator[Choice]:
        """At most ``limit`` choices, no two alike; see ``SimulatedDisk.crash_states``."""
        seen: set[object] = set()
        source = self._all(limit)
        if source is None:
            source = itertools.islice(
                Sampler(self.files, self.changes, self._befores, self._graves, rng).choices(corners=corners),
                _ATTEMPTS * limit,
            )
        for choice in source:
            key = self._key(choice)
            if key not in seen:
                seen.add(key)
                yield choice
                if len(seen) == limit:
                    return

    def tree(self, choice: Choice) -> FolderNode:
        """The tree as this choice has it, a copy."""
        made: dict[FileNode, FileNode] = {}
        return self._folder(self.root, self.names(choice), choice, made)

    def names(self, choice: Choice) -> Names:
        """The names in the folders whose names are not settled."""
        return names_after([change for index, change in enumerate(self.changes) if choice.names >> index & 1])

    def _folder(
        self, folder: FolderNode, names: Names, choice: Choice, made: dict[FileNode, FileNode]
    ) -> FolderNode:
        copy = FolderNode()
        for name, node in names.get(folder, folder.settled).items():
            if isinstance(node, FolderNode):
                copy.settled[name] = self._folder(node, names, choice, made)
            else:
                if node not in made:
                    made[node] = self._file(node, choice)
                copy.settled[name] = made[node]
        copy.entries = dict(copy.settled)
        return copy

    def _file(self, node: FileNode, choice: Choice) -> FileNode:
        index = self._index.get(node)
        if index is None:
            return FileNode(node.frozen(), node.size)
        size, sectors = choice.states[index]
        content = bytearray(node.frozen())
        patch(content, dict(sectors))
        del content[size:]
        return FileNode(content, size)

    def _key(self, choice: Choice) -> object:
        """Equal for choices that leave the same."""
        shape = self._shapes.get(choice.names)
        if shape is None:
            shape = self._shapes[choice.names] = self._shape(self.names(choice))
        return shape[0], tuple([choice.states[index] for index in shape[1]])

    def _shape(self, names: Names) -> tuple[object, list[int]]:
        """The names of all files, and which of the files that are not settled have one."""
        found: list[object] = []
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            for name, node in sorted(names.get(folder, folder.settled).items(), key=lambda item: item[0]):
                found += (name, node)
                if isinstance(node, FolderNode):
                    waiting.append(node)
            found.append(None)
        indexes = {self._index[node] for node in found if isinstance(node, FileNode) and node in self._index}
        return tuple(found), sorted(indexes)

    def _all(self, limit: int) -> Iterator[Choice] | None:
        """Every choice; None if there are more than ``limit``."""
        names = list(possible_sets(self._befores, limit + 1))
        if len(names) * math.prod(least_states(node) for node in self.files) > limit:
            return None
        held = [
            [contents(node, sector, self._graves) for sector in sorted(node.versions)] for node in self.files
        ]
        sizes = [list(dict.fromkeys(size for _, size in node.sizes)) for node in self.files]
        count = math.prod(map(len, sizes)) * math.prod(len(octets) for file in held for octets in file)
        if len(names) * count > limit:
            return None
        options = [
            list(every_state(file_sizes, sorted(node.versions), octets))
            for node, file_sizes, octets in zip(self.files, sizes, held, strict=True)
        ]
        return (Choice(chosen, states) for chosen in names for states in itertools.product(*options))


def _files(root: FolderNode, changes: Sequence[Change]) -> list[FileNode]:
    """Every file that may have a name after a power cut."""
    found: dict[FileNode, None] = {}
    waiting: list[FolderNode] = [root]
    seen = {root}
    while waiting:
        folder = waiting.pop()
        added = [
            node for change in changes for at, _, node in change.puts if at is folder and node is not None
        ]
        for node in itertools.chain(folder.settled.values(), added):
            if isinstance(node, FileNode):
                found[node] = None
            elif node not in seen:
                seen.add(node)
                waiting.append(node)
    return list(found)

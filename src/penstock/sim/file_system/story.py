"""Tells people what a power cut has left."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.sim.file_system.crash import Possibilities
from penstock.sim.file_system.file_state import Choice, FileState
from penstock.sim.file_system.names import Change, Names
from penstock.sim.file_system.node import FileNode, FolderNode


def tell(possibilities: Possibilities, choice: Choice, steps: int) -> str:
    """A few lines: names that were lost, and for each file that was not settled its size, and which content each sector has."""
    lines = [f"the power was cut after step {steps}"]
    for index, change in enumerate(possibilities.changes):
        if not choice.names >> index & 1:
            lines.append(f"  lost: {_names(change)} (step {change.step})")
    for path, node in _paths(possibilities.root, possibilities.names(choice), ""):
        if node in possibilities.files:
            lines.append(f"  {path}: {_file(node, choice.states[possibilities.files.index(node)])}")
    return "\n".join(lines)


def _names(change: Change) -> str:
    return ", ".join(f"{'removal' if node is None else 'name'} {name!r}" for _, name, node in change.puts)


def _paths(folder: FolderNode, names: Names, above: str) -> Iterator[tuple[str, FileNode]]:
    for name, node in sorted(names.get(folder, folder.settled).items(), key=lambda item: item[0]):
        if isinstance(node, FileNode):
            yield above + name, node
        else:
            yield from _paths(node, names, f"{above}{name}/")


def _file(node: FileNode, state: FileState) -> str:
    told = [f"{state.size} octets of {node.size}"]
    for sector, octets in state.sectors:
        held = [version.octets for version in node.versions[sector]]
        if octets == held[-1]:
            told.append(f"sector {sector} new")
        elif octets in held:
            step = node.versions[sector][held.index(octets)].step
            told.append(f"sector {sector} as of {f'step {step}' if step else 'the last sync'}")
        else:
            told.append(f"sector {sector} torn or stale")
    return ", ".join(told)

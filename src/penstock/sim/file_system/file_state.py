"""What a power cut may leave of one file: a size, and a content for each sector that is not settled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.sim.file_system.node import SECTOR, FileNode, Version


class FileState(NamedTuple):
    """What becomes of a file: its size, and what its sectors hold that are not settled."""

    size: int
    sectors: tuple[tuple[int, bytes], ...]


class Choice(NamedTuple):
    """What a power cut leaves: a set of changes of names as bits, and a state for each file of the possibilities' ``files``."""

    names: int
    states: tuple[FileState, ...]


def contents(node: FileNode, sector: int, graves: Sequence[bytes]) -> list[bytes]:
    """What a sector may hold: each that it has held, each change torn in its middle, what was there before the file was."""
    versions = node.versions[sector]
    found = dict.fromkeys(version.octets for version in versions)
    for before, after in itertools.pairwise(versions):
        found[torn_octets(before, after, (after.start + after.end) // 2)] = None
    if not versions[0].octets:
        found[stale(graves, sector, 0)] = None
    return list(found)


def stale(graves: Sequence[bytes], sector: int, which: int) -> bytes:
    """What a removed file may have left where a sector is now; some octets if none has."""
    if graves:
        grave = graves[which % len(graves)]
        octets = grave[sector * SECTOR : (sector + 1) * SECTOR]
        if octets:
            return octets.ljust(SECTOR, b"\0")
    return b"\xa5" * SECTOR


def least_states(node: FileNode) -> int:
    """How many states a file has at least, quickly."""
    return len({size for _, size in node.sizes}) << len(node.versions)


def every_state(sizes: list[int], sectors: list[int], contents: list[list[bytes]]) -> Iterator[FileState]:
    """Every combination of a size with contents of the sectors."""
    for held in itertools.product(*contents):
        for size in sizes:
            yield state_of(size, dict(zip(sectors, held, strict=True)))


def state_of(size: int, sectors: dict[int, bytes]) -> FileState:
    """Sectors behind the end are left out, so that equal states are equal."""
    return FileState(
        size, tuple([(sector, sectors[sector]) for sector in sorted(sectors) if sector * SECTOR < size])
    )


def steps_of(node: FileNode) -> list[int]:
    """The steps that changed it since it was synced; never empty for a file that is not settled."""
    steps = {version.step for held in node.versions.values() for version in held}
    return sorted((steps | {step for step, _ in node.sizes}) - {0})


def version_after(held: list[Version], moment: float) -> Version:
    """What a sector held after a step; the synced content where that was before all."""
    return next((version for version in reversed(held) if version.step <= moment), held[0])


def state_after(node: FileNode, moment: float) -> FileState:
    """As it was after a step."""
    size = next(size for step, size in reversed(node.sizes) if step <= moment)
    return state_of(
        size, {sector: version_after(held, moment).octets for sector, held in node.versions.items()}
    )


def only(held: list[Version], moment: int) -> bytes:
    """What a sector holds if of all writes only that of this step got there."""
    return next((version.octets for version in held if version.step == moment), held[0].octets)


def all_but(held: list[Version], moment: int) -> bytes:
    """What a sector holds if all writes but that of this step got there."""
    return next(version.octets for version in reversed(held) if version.step != moment)


def torn_octets(before: Version, after: Version, at: int) -> bytes:
    """The first octets of one content, and the rest of that before."""
    old = before.octets
    return after.octets[:at].ljust(at, b"\0") + old[at:] if len(old) > at else after.octets[:at]

"""Samples of what a power cut may leave, where there are too many states to visit them all.

Independent draws for each sector would hardly ever give what shows a mistake: everything but one write, or one alone. So the kind of
state is drawn first, for the names and for each file.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Final

from penstock.sim.file_system.file_state import (
    Choice,
    FileState,
    all_but,
    only,
    stale,
    state_after,
    state_of,
    steps_of,
    torn_octets,
    version_after,
)
from penstock.sim.file_system.names import Change, completed, without
from penstock.sim.file_system.node import FileNode, Version

#: How often, of all draws: states in order of time; torn sectors; stale octets where there can be any; the newest size.
_IN_ORDER: Final = 0.25
_TORN: Final = 0.25
_STALE: Final = 0.5
_NEWEST_SIZE: Final = 0.5


class Sampler:
    """Draws choices for files and changes of names that are not settled."""

    def __init__(
        self,
        files: Sequence[FileNode],
        changes: Sequence[Change],
        befores: Sequence[int],
        graves: Sequence[bytes],
        rng: random.Random,
    ) -> None:
        self._files = files
        self._changes = changes
        self._befores = befores
        self._graves = graves
        self._rng = rng

    def choices(self, *, corners: bool) -> Iterator[Choice]:
        """First the ``corners``, then others without end; none if nothing can be lost. Some come more than once."""
        if corners:
            yield from self._corners()
        written = {step for node in self._files for step in steps_of(node)}
        steps = sorted(written | {change.step for change in self._changes})
        while steps:
            # in order of time: what a journal that orders data with names would leave
            if self._rng.random() < _IN_ORDER:
                moment = self._rng.choice(steps)
                names = sum(1 << i for i, change in enumerate(self._changes) if change.step <= moment)
                yield Choice(names, tuple([self._torn_at(node, moment) for node in self._files]))
            else:
                yield Choice(self._names(), tuple([self._state(node) for node in self._files]))

    def _corners(self) -> Iterator[Choice]:
        everything = (1 << len(self._changes)) - 1
        nothing_written = tuple([state_after(node, 0) for node in self._files])
        all_written = tuple([state_after(node, math.inf) for node in self._files])
        yield Choice(0, nothing_written)
        yield Choice(everything, all_written)
        yield Choice(everything, nothing_written)
        yield Choice(0, all_written)

    def _names(self) -> int:
        count = len(self._changes)
        if not count:
            return 0
        index = self._rng.randrange(count)
        match self._rng.randrange(6):
            case 0:
                return 0
            case 1:
                return (1 << count) - 1
            case 2:
                return (1 << index + 1) - 1
            case 3:
                return completed(1 << index, self._befores)
            case 4:
                return without(index, self._befores)
            case _:
                chosen = self._rng.getrandbits(count) & self._rng.getrandbits(count)
                return completed(chosen, self._befores)

    def _state(self, node: FileNode) -> FileState:
        moment = self._rng.choice(steps_of(node))
        match self._rng.randrange(6):
            case 0:
                return state_after(node, 0)
            case 1:
                return state_after(node, math.inf)
            case 2:
                return self._torn_at(node, moment)
            case 3:
                sectors = {sector: only(held, moment) for sector, held in node.versions.items()}
            case 4:
                sectors = {sector: all_but(held, moment) for sector, held in node.versions.items()}
            case _:
                share = self._rng.random()
                sectors = {sector: self._octets(held, share) for sector, held in node.versions.items()}
        if self._rng.random() < _STALE:
            self._fill(node, sectors)
        size = node.size if self._rng.random() < _NEWEST_SIZE else self._rng.choice(node.sizes)[1]
        return state_of(size, sectors)

    def _fill(self, node: FileNode, sectors: dict[int, bytes]) -> None:
        """Where the file grew and nothing got there, put what a removed file had there."""
        which = self._rng.randrange(8)
        for sector, octets in sectors.items():
            if not octets and not node.versions[sector][0].octets:
                sectors[sector] = stale(self._graves, sector, which)

    def _octets(self, held: list[Version], share: float) -> bytes:
        """Something that a sector may hold; the newest with a probability of ``share`` at least."""
        if self._rng.random() < share:
            return held[-1].octets
        index = self._rng.randrange(len(held))
        if index and self._rng.random() < _TORN:
            return self._torn(held[index - 1], held[index])
        return held[index].octets

    def _torn(self, before: Version, version: Version) -> bytes:
        return torn_octets(before, version, self._rng.randint(version.start, version.end))

    def _torn_at(self, node: FileNode, moment: int) -> FileState:
        """As after ``moment``, if of what was written then only the first octets got there."""
        written = [
            sector
            for sector, held in node.versions.items()
            if any(version.step == moment for version in held)
        ]
        if not written:
            return state_after(node, moment)
        end = self._rng.choice(written)
        sectors = {}
        for sector, held in node.versions.items():
            before = version_after(held, moment - (sector >= end))
            sectors[sector] = before.octets
            if sector == end:
                version = next(version for version in held if version.step == moment)
                sectors[sector] = self._torn(before, version)
        size = self._rng.choice([size for step, size in node.sizes if step <= moment])
        return state_of(size, sectors)

"""What each of many takes of something: here, and, as was said last, elsewhere."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

#: Of how many it is told elsewhere what they take: those that take the most.
TOLD_LIMIT: Final = 10_000

Name = TypeVar("Name", bound=str | None)


class Shares(Generic[Name]):
    """Amounts by name. ``elsewhere`` is replaced whole."""

    __slots__ = ("_here", "elsewhere")

    def __init__(self) -> None:
        self._here: dict[Name, int] = {}
        self.elsewhere: Mapping[Name, int] = {}

    def add(self, name: Name, amount: int) -> None:
        """Take so much more here, or less."""
        have = self._here.get(name, 0) + amount
        if have:
            self._here[name] = have
        else:
            self._here.pop(name, None)

    def of(self, name: Name) -> int:
        """What it takes in all."""
        return self._here.get(name, 0) + self.elsewhere.get(name, 0)

    def here(self) -> Mapping[Name, int]:
        """What all take here; not to be changed."""
        return self._here


def worth_telling(amounts: Mapping[Name, int], least: Mapping[Name, int], otherwise: int) -> dict[Name, int]:
    """Those that take at least so much here that it may matter elsewhere: by name in ``least``, of all others ``otherwise``."""
    found = {name: amount for name, amount in amounts.items() if amount >= least.get(name, otherwise)}
    if len(found) > TOLD_LIMIT:
        return dict(heapq.nlargest(TOLD_LIMIT, found.items(), key=lambda item: item[1]))
    return found


def sums(parts: list[Mapping[Name, int]]) -> dict[Name, int]:
    """What all take in these parts together."""
    found: dict[Name, int] = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found.get(name, 0) + amount
    return found

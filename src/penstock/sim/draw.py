"""Chance that can be repeated: draws from a seed, draws from a list, and weighted choices made with either."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Mapping
from typing import Generic, TypeVar

from penstock.mail.ports import Draw

T = TypeVar("T")


def seeded_draw(seed: int) -> Draw:
    """Uniform numbers in [0, 1), the same ones for the same seed."""
    return random.Random(seed).random  # noqa: S311 - repeatable is what is asked for


def fixed_draw(*values: float) -> Draw:
    """These numbers, one after the other, then from the first again. ValueError if one is not in [0, 1), or if there is none."""
    if not values or not all(0 <= value < 1 for value in values):
        raise ValueError("draws are numbers in [0, 1), at least one of them")
    return itertools.cycle(values).__next__


class WeightedChoice(Generic[T]):
    """Chooses among ``weights``' keys, each as often as its weight says. The weights are positive."""

    __slots__ = ("_edges", "_items", "_only")

    def __init__(self, weights: Mapping[T, float]) -> None:
        if not weights or any(weight <= 0 for weight in weights.values()):
            raise ValueError("a weighted choice needs at least one item, and weights above 0")
        self._items = tuple(weights)
        self._edges = list(itertools.accumulate(weights.values()))
        self._only = self._items[0] if len(self._items) == 1 else None

    def __call__(self, draw: Draw) -> T:
        """One of the items. A single item costs no draw."""
        if self._only is not None:
            return self._only
        index = bisect.bisect_right(self._edges, draw() * self._edges[-1])
        return self._items[min(index, len(self._items) - 1)]

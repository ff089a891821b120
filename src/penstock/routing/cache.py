"""Decisions kept by name until they expire: a bounded cache that forgets the name unused longest. It has no clock: callers say what time it is.

An expired entry stays until its place is needed or something newer is put there: ``last`` finds it, so that repeated failures can be counted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from penstock.mail.duration import MonotonicTime

V = TypeVar("V")

#: 64 k entries, as KumoMTA keeps. 0.74 KB each with a route of two hosts (measured), so 48 MB when full.
CAPACITY: Final = 65_536


class Cache(Generic[V]):
    """At most ``capacity`` values (one at least), each with its end."""

    __slots__ = ("_capacity", "_entries")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = max(capacity, 1)
        self._entries: OrderedDict[str, tuple[MonotonicTime, V]] = OrderedDict()

    def get(self, name: str, now: MonotonicTime) -> V | None:  # hot: throughput
        """The value kept for ``name``; None if there is none or its time is over."""
        entry = self._entries.get(name)
        if entry is None or entry[0] <= now:
            return None
        self._entries.move_to_end(name)
        return entry[1]

    def last(self, name: str) -> V | None:
        """The value kept for ``name``, its time over or not; None if there is none."""
        entry = self._entries.get(name)
        return None if entry is None else entry[1]

    def put(self, name: str, value: V, expires: MonotonicTime) -> None:
        """Keep ``value`` until ``expires``; the name unused longest makes room for it."""
        self._entries[name] = (expires, value)
        self._entries.move_to_end(name)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)

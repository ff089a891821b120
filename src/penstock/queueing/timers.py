"""Queues, hops and paths by the instant at which they are to be looked at again; messages have the ``calendar``.

An entry counts only while its owner's ``timer`` names its instant; others are dropped when they come up, and all at once when they are more than
the rest. So moving a timer costs one push.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, Protocol, TypeVar

#: Dead entries that are not worth clearing.
_GRACE: Final = 64


class Timed(Protocol):
    """Something with a timer: ``timer`` is its instant in microseconds, 0 for none, and only ``Timers`` sets it."""

    timer: int


Owner = TypeVar("Owner", bound=Timed)


class Timers(Generic[Owner]):
    """A heap of instants and their owners."""

    __slots__ = ("_heap", "_live", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Owner]] = []
        self._order = 0
        self._live = 0

    def __len__(self) -> int:
        """How many owners have a timer."""
        return self._live

    def set(self, owner: Owner, instant: int) -> None:
        """Have ``owner`` come up at ``instant`` and not when it was to before."""
        if owner.timer == instant:
            return
        if owner.timer == 0:
            self._live += 1
        owner.timer = instant
        self._order += 1
        if len(self._heap) > 2 * self._live + _GRACE:
            self._heap = [entry for entry in self._heap if entry[2].timer == entry[0]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (instant, self._order, owner))

    def cancel(self, owner: Owner) -> None:
        """Let ``owner`` not come up."""
        if owner.timer:
            owner.timer = 0
            self._live -= 1

    def first(self) -> Owner | None:
        """The owner that comes up next, at its ``timer``; None if none has one."""
        heap = self._heap
        while heap and heap[0][2].timer != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    def pop(self, now: int) -> Owner | None:
        """An owner whose instant has come, its timer cleared; None if there is none."""
        owner = self.first()
        if owner is None or owner.timer > now:
            return None
        heapq.heappop(self._heap)
        self.cancel(owner)
        return owner

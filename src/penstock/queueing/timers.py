"""The lane's one timer structure: what has an instant at which it is to be looked at again.

An entry counts only while its owner's ``timer`` names its instant; others are dropped when they come up. So moving a timer costs one push.
"""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Something with a timer: ``timer`` is its instant in microseconds, 0 for none, and only ``Timers`` sets it."""

    timer: int


Owner = TypeVar("Owner", bound=Timed)


class Timers(Generic[Owner]):
    """A heap of instants and their owners."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Owner]] = []
        self._order = 0

    def at_latest(self, owner: Owner, instant: int) -> None:
        """See to it that ``owner`` comes up at ``instant`` or before."""
        if owner.timer == 0 or instant < owner.timer:
            owner.timer = instant
            self._order += 1
            heapq.heappush(self._heap, (instant, self._order, owner))

    def cancel(self, owner: Owner) -> None:
        """Let ``owner`` not come up."""
        owner.timer = 0

    def next(self) -> int:
        """The earliest instant, 0 for none."""
        heap = self._heap
        while heap and heap[0][2].timer != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else 0

    def pop_due(self, now: int) -> Owner | None:
        """An owner whose instant has come, its timer cleared; None if there is none."""
        instant = self.next()
        if not instant or instant > now:
            return None
        owner = heapq.heappop(self._heap)[2]
        owner.timer = 0
        return owner

"""When each message of a blast is due.

At a rate, message k is due at the start plus k intervals, whatever the server does: an open loop. Its latency is measured from then, so a
server that stalls is charged for everything that should have been sent meanwhile (no coordinated omission). Bursts of a rate have no
meaning here; the interval is even. Without a rate a message is due when a connection is free for it: a closed loop, whose latencies say
nothing about what a steady stream would have met.
"""

from __future__ import annotations

import math

from penstock.mail.rate import Rate


class Pace:
    """The schedule of one run, from ``start`` on. ``count`` 0 and ``end`` None are no end."""

    __slots__ = ("_count", "_end", "_interval", "_start", "next_number")

    def __init__(self, rate: Rate | None, count: int, start: float, end: float | None) -> None:
        self._interval = rate.period / rate.count if rate else 0.0
        self._count = count
        self._start = start
        self._end = end
        self.next_number = 0

    def due(self, now: float) -> float:
        """When the next message is due: at ``now`` without a rate, else at its own time, which may be past."""
        return self._start + self.next_number * self._interval if self._interval else now

    def is_over(self, now: float) -> bool:
        """Whether no message is to be begun any more: all were, or the time is up."""
        return self.is_complete or (self._end is not None and now >= self._end)

    @property
    def is_complete(self) -> bool:
        """Whether all messages there are were begun."""
        return bool(self._count) and self.next_number >= self._count

    def unsent(self, now: float) -> int:
        """Messages that were due before ``now`` or the end and were not begun; 0 without a rate."""
        if not self._interval:
            return 0
        until = now if self._end is None else min(now, self._end)
        # The tolerance is for intervals that binary fractions cannot say.
        due = math.ceil((until - self._start) / self._interval - 1e-6)
        if self._count:
            due = min(due, self._count)
        return max(due - self.next_number, 0)

    def fraction(self, now: float) -> float | None:
        """How much of the blast is behind, from 0 to 1; None if it has no end."""
        parts = []
        if self._count:
            parts.append(self.next_number / self._count)
        if self._end is not None and self._end > self._start:
            parts.append((now - self._start) / (self._end - self._start))
        return min(max(parts), 1.0) if parts else None

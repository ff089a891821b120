"""Time for simulated parts: the real clock with its timers, and one that stands still until a test moves it.

Everything in ``penstock.sim`` that waits asks a ``TimedClock``, so a test of a ten-minute tarpit takes no time at all.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.ports import Clock
from penstock.net.clock import SystemClock


class Timer(Protocol):
    """A call that will be made later."""

    def cancel(self) -> None:
        """Do not make it. Nothing happens if it was made already."""


class TimedClock(Clock, Protocol):
    """A clock that can also call back."""

    def call_later(self, delay: Seconds, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once ``delay`` seconds have passed on this clock."""


class LoopClock(SystemClock):
    """The system's clock, with the timers of the running event loop (uvloop's resolution is a millisecond).

    ``monotonic`` is one and the same for all processes of the machine, so readings of two of them can be compared.
    """

    __slots__ = ()

    def call_later(self, delay: Seconds, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` from the running loop, ``delay`` seconds from now."""
        return asyncio.get_running_loop().call_later(delay, callback)


class _FakeTimer:
    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """A clock that moves only when told to: ``advance`` calls every timer that falls due on the way, in order, each at its own time."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 1000.0) -> None:
        self._offset = wall - monotonic
        self._now = monotonic
        self._timers: list[tuple[float, int, _FakeTimer]] = []
        self._order = itertools.count()

    def wall(self) -> WallTime:
        """Seconds since 1970."""
        return WallTime(self._now + self._offset)

    def monotonic(self) -> MonotonicTime:
        """Seconds that only go forward."""
        return MonotonicTime(self._now)

    def call_later(self, delay: Seconds, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` when ``advance`` has moved the clock past ``delay`` seconds from now; never from inside this call."""
        timer = _FakeTimer(self._now + max(delay, 0.0), callback)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def advance(self, seconds: Seconds) -> None:
        """Move the clock forward; ValueError if that would be backward."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        target = self._now + seconds
        while self._timers and self._timers[0][0] <= target:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                callback()
        self._now = target

    def step_wall(self, seconds: Seconds) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would, and leave the monotonic one alone."""
        self._offset += seconds

    def next_timer(self) -> Seconds | None:
        """Seconds until the next timer falls due; None if nothing waits."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return Seconds(self._timers[0][0] - self._now) if self._timers else None

"""A loop without time of its own, for what asks a loop for no more than to be called later (``penstock.spool.loop``).

It is a clock too: time goes on only by ``advance``. Calls of one instant come in the order in which they were asked for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from penstock.mail.duration import MonotonicTime, WallTime

#: Rounds after which something goes on for ever.
_ROUNDS: Final = 1_000_000


class SimulatedHandle:
    """A call that is to come."""

    __slots__ = ("arguments", "callback", "is_cancelled")

    def __init__(self, callback: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.callback = callback
        self.arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        """Let it not come."""
        self.is_cancelled = True


class SimulatedLoop:
    """See the module. ``start`` is what time it is at first, in seconds since 1970."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = 0.0
        self._start = start
        self._soon: deque[SimulatedHandle] = deque()
        self._later: list[tuple[float, int, SimulatedHandle]] = []
        self._count = 0

    def wall(self) -> WallTime:
        """Seconds since 1970."""
        return WallTime(self._start + self._now)

    def monotonic(self) -> MonotonicTime:
        """Seconds since the loop was made."""
        return MonotonicTime(self._now)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> SimulatedHandle:
        """Call it when ``run`` comes to it."""
        handle = SimulatedHandle(callback, args)
        self._soon.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> SimulatedHandle:
        """Call it when time has gone on by ``delay`` seconds."""
        handle = SimulatedHandle(callback, args)
        self._count += 1
        heapq.heappush(self._later, (self._now + delay, self._count, handle))
        return handle

    def run(self) -> None:
        """Call all that is to be called now, and what comes of it. RuntimeError if that does not end."""
        for _ in range(_ROUNDS):
            if not self._soon:
                return
            handle = self._soon.popleft()
            if not handle.is_cancelled:
                handle.callback(*handle.arguments)
        raise RuntimeError("the calls do not come to an end")

    def advance(self, seconds: float) -> None:
        """Let time go on, and call what is due, in order."""
        end = self._now + seconds
        self.run()
        while self._later and self._later[0][0] <= end:
            due, _, handle = heapq.heappop(self._later)
            self._now = max(self._now, due)
            if not handle.is_cancelled:
                handle.callback(*handle.arguments)
            self.run()
        self._now = end


class AtOnce:
    """A ``penstock.spool.reading.Background`` that does its jobs in the next round of a simulated loop."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """See Background."""

        def run() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 -- whoever asked is told
                result = error
            done(result)

        self._loop.call_soon(run)

    def close(self) -> None:
        """See Background."""

"""How long a lane has the loop in one round: what comes to more waits, in order, for the rounds behind it.

Hundreds of connections whose peers answer at the same time are work for a tenth of a second. Sessions of clients, and everything else on the
loop, have their turn in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import Clock

#: What a lane takes of a round. Beside a backlog that drained on two slow processors, a client's message was accepted within 13 ms (the
#: median), within 37 ms with rounds of 8 ms, and 70 ms with 20.
ROUND: Final = Seconds(0.002)


class Turns:
    """The rounds of a running loop."""

    __slots__ = ("_clock", "_loop", "_until", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        #: when the lane's time in this round is over; None before it has had any
        self._until: MonotonicTime | None = None
        self._waiting: deque[Callable[[], None]] = deque()

    def has_time(self) -> bool:  # hot: throughput
        """Whether there is time in this round, and nobody waits who came first. If not, ``wait``."""
        now = self._clock.monotonic()
        if self._until is None:
            self._until = MonotonicTime(now + ROUND)
            self._loop.call_soon(self._next_round)
            return True
        return now < self._until and not self._waiting

    def wait(self, work: Callable[[], None]) -> None:
        """Have ``work`` done when its turn comes."""
        self._waiting.append(work)

    def _next_round(self) -> None:
        self._until = None
        waiting = self._waiting
        if not waiting:
            return
        clock = self._clock
        until = self._until = MonotonicTime(clock.monotonic() + ROUND)
        self._loop.call_soon(self._next_round)
        while waiting and clock.monotonic() < until:
            waiting.popleft()()

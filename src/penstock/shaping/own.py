"""Rates that are a lane's own: nobody is asked."""

from __future__ import annotations

import heapq
import math
from typing import Final

from penstock.mail.rate import Rate
from penstock.shaping import gcra
from penstock.shaping.ports import Held, HeldBy

#: Keys that are looked at for each new one, whether they can be forgotten.
_SWEPT: Final = 2


class OwnRates:
    """``shaping.ports.Rates`` in the lane alone. ``opened`` are the keys that ``wake`` found open, for which somebody was refused."""

    def __init__(self) -> None:
        self._arrivals: dict[str, float] = {}
        self._awaited: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []
        self.opened: list[str] = []

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """See ``ports.Rates``."""
        arrival = self._arrivals.get(key, -math.inf)
        if gcra.is_open(arrival, now, rate):
            if key not in self._arrivals:
                self._sweep(now)
            self._arrivals[key] = gcra.charged(arrival, now, rate)
            return None
        # a changed rate owes no more than a full bucket
        arrival = self._arrivals[key] = min(arrival, now + rate.burst * (rate.period / rate.count))
        opens = max(gcra.opens_at(arrival, rate), math.nextafter(now, math.inf))
        if self._awaited.get(key) != opens:
            self._awaited[key] = opens
            heapq.heappush(self._timers, (opens, key))
        return Held(HeldBy.RATE, opens)

    def wake(self, now: float) -> None:
        """See what has opened."""
        while self._timers and self._timers[0][0] <= now:
            opens, key = heapq.heappop(self._timers)
            if self._awaited.get(key) == opens:
                del self._awaited[key]
                self.opened.append(key)

    def next_wake(self) -> float:
        """When ``wake`` is to be called; infinity if nobody waits."""
        return self._timers[0][0] if self._timers else math.inf

    def __len__(self) -> int:
        """How many rates are known."""
        return len(self._arrivals)

    def _sweep(self, now: float) -> None:
        """Forget rates that are as if they had never been used, some at a time."""
        for key in [key for key, _ in zip(self._arrivals, range(_SWEPT), strict=False)]:
            arrival = self._arrivals.pop(key)
            if arrival > now:
                self._arrivals[key] = arrival


class OwnNumbers:
    """Numbers in the lane alone. ``opened`` are the keys of which one was released, for which somebody was refused."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._awaited: set[str] = set()
        self.opened: list[str] = []

    def acquire(self, key: str, limit: int) -> Held | None:
        """Use one more of ``limit``: None if it may be, until ``release``."""
        used = self._used.get(key, 0)
        if used < limit:
            self._used[key] = used + 1
            return None
        self._awaited.add(key)
        return Held(HeldBy.COUNT, math.inf)

    def release(self, key: str) -> None:
        """One is not used any more."""
        self._used[key] -= 1
        if not self._used[key]:
            del self._used[key]
        if key in self._awaited:
            self._awaited.discard(key)
            self.opened.append(key)

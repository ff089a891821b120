"""Rates that are a lane's own: nobody is asked."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Sequence
from typing import Final

from penstock.mail.configuration import Limit
from penstock.mail.rate import Rate
from penstock.shaping import gcra
from penstock.shaping.ports import Held, HeldBy

#: Keys that are looked at for each new one, whether they can be forgotten.
_SWEPT: Final = 2
#: Events of a rate that can be given back: the latest.
_REMEMBERED: Final = 32
#: Seconds between two names of one instant, at most: clocks differ in the last digits.
_SAME: Final = 2e-6


#: What a rate of nothing answers, until it is another.
_NEVER: Final = Held(HeldBy.RATE, math.inf)


class _Bucket:
    """What is known of a rate. ``times`` are the latest events since it was last empty, ``base`` the arrival time before them."""

    __slots__ = ("arrival", "base", "rate", "times")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.arrival = -math.inf
        self.base = -math.inf
        self.times = array("d")

    def charge(self, now: float) -> None:
        times = self.times
        if self.arrival <= now:
            # what happened before changes nothing any more
            del times[:]
            self.base = -math.inf
        elif len(times) == _REMEMBERED:
            self.base = gcra.charged(self.base, times.pop(0), self.rate)
        times.append(now)
        self.arrival = gcra.charged(self.arrival, now, self.rate)

    def change(self, rate: Rate, now: float) -> None:
        """A changed rate owes no more than a full bucket."""
        self.rate = rate
        self.arrival = self.base = min(self.arrival, now + rate.burst * (rate.period / rate.count))
        del self.times[:]

    def give_back(self, taken: float) -> None:
        """As if what happened then had not; if that is not remembered, nothing changes."""
        times = self.times
        place = len(times) - 1
        while place >= 0 and times[place] > taken + _SAME:
            place -= 1
        if place < 0 or times[place] < taken - _SAME:
            return
        times.pop(place)
        arrival = self.base
        for time in times:
            arrival = gcra.charged(arrival, time, self.rate)
        self.arrival = arrival


class OwnRates:
    """``shaping.ports.Rates`` in the lane alone. ``opened`` are the keys that ``wake`` found open, for which somebody was refused."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._awaited: dict[str, float] = {}
        self._timers: list[tuple[float, str]] = []
        self.opened: list[str] = []

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """See ``ports.Rates``."""
        held = self.look(key, rate, now)
        if held is None:
            self.charge(key, rate, now)
        return held

    def take_all(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """See ``ports.Rates``."""
        held = self.check(limits, now)
        if held is None:
            for limit in limits:
                self.charge(limit.key, limit.rate, now)
        return held

    def check(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """See ``ports.Rates``."""
        for place, limit in enumerate(limits):
            held = self.look(limit.key, limit.rate, now)
            if held is not None:
                return place, held
        return None

    def look(self, key: str, rate: Rate, now: float) -> Held | None:
        """``check`` for one limit."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return None if rate.count else _NEVER
        if bucket.rate is not rate and bucket.rate != rate:
            bucket.change(rate, now)
        if gcra.is_open(bucket.arrival, now, rate):
            return None
        opens = max(gcra.opens_at(bucket.arrival, rate), math.nextafter(now, math.inf))
        self._await(key, opens)
        return Held(HeldBy.RATE, opens)

    def charge(self, key: str, rate: Rate, now: float) -> None:
        """An event happens, which ``look`` has just let happen."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._sweep(now)
            bucket = self._buckets[key] = _Bucket(rate)
        bucket.charge(now)

    def room(self, limit: Limit, now: float) -> int:
        """See ``ports.Rates``."""
        bucket = self._buckets.get(limit.key)
        return limit.rate.burst if bucket is None else gcra.room(bucket.arrival, now, limit.rate)

    def is_lent(self, limit: Limit) -> bool:
        """See ``ports.Rates``. Nothing is lent: what is used here is all there is."""
        return False

    def give_back(self, limit: Limit, taken: float, now: float) -> None:
        """See ``ports.Rates``. Of a rate, the latest events are remembered."""
        key, rate = limit.key, limit.rate
        bucket = self._buckets.get(key)
        if bucket is None or (bucket.rate is not rate and bucket.rate != rate):
            return
        bucket.give_back(taken)
        if key in self._awaited:
            self._await(key, min(self._awaited[key], max(now, gcra.opens_at(bucket.arrival, rate))))

    def _await(self, key: str, opens: float) -> None:
        if self._awaited.get(key) != opens:
            self._awaited[key] = opens
            heapq.heappush(self._timers, (opens, key))

    def wake(self, now: float) -> None:
        """See what has opened."""
        while self.next_wake() <= now:
            _, key = heapq.heappop(self._timers)
            del self._awaited[key]
            self.opened.append(key)

    def next_wake(self) -> float:
        """When ``wake`` is to be called; infinity if nobody waits."""
        timers = self._timers
        while timers and self._awaited.get(timers[0][1]) != timers[0][0]:
            heapq.heappop(timers)
        return timers[0][0] if timers else math.inf

    def __len__(self) -> int:
        """How many rates are known."""
        return len(self._buckets)

    def _sweep(self, now: float) -> None:
        """Forget rates that are as if they had never been used, some at a time."""
        for key in [key for key, _ in zip(self._buckets, range(_SWEPT), strict=False)]:
            bucket = self._buckets.pop(key)
            if bucket.arrival > now:
                self._buckets[key] = bucket


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

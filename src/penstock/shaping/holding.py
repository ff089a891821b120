"""A lane's part of numbers that lanes share: the units that it holds, and uses.

A unit is asked for when it is needed, and given back when it is not. What is held is renewed in time. Where that fails, because the broker is
gone and does not come back, all is lost at its ``until``: whatever uses it must end then.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, NamedTuple

from penstock.shaping.counting import LIFETIME
from penstock.shaping.ports import Held, HeldBy

#: Units are renewed when so much of their time has passed.
_RENEWAL: Final = LIFETIME / 3
#: Seconds that a unit waits to be taken, before it goes back.
_PATIENCE: Final = 0.05


class UnitAsk(NamedTuple):
    """To the broker: this many more are wanted."""

    key: str
    limit: int
    wanted: int


class UnitClaim(NamedTuple):
    """To a broker that does not know it: this many are held."""

    key: str
    limit: int
    units: int


class UnitRenew(NamedTuple):
    """To the broker: they are still needed."""

    key: str


class UnitRelease(NamedTuple):
    """To the broker: this many are not needed any more."""

    key: str
    units: int


class _Number:
    """``held`` units are ours until ``until``, ``used`` of them are in use; ``lost`` ones are to be released without a word. ``due`` is when
    it is to be looked at.
    """

    __slots__ = (
        "due", "granted", "held", "is_asked", "is_awaited", "is_renewing", "limit", "lost", "until", "used",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.used = 0
        self.lost = 0
        self.until = 0.0
        self.granted = 0.0
        self.due = math.inf
        self.is_renewing = False
        self.is_asked = False
        self.is_awaited = False

    def is_idle(self) -> bool:
        return not self.held and not self.lost and not self.is_asked and not self.is_awaited


class Holding:
    """All numbers of a lane that are shared. ``words`` go to the broker; ``opened`` are keys for which ``acquire`` may succeed now; ``lost``
    those of which all units in use must end, with a ``release`` for each as always.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, _Number] = {}
        self._timers: list[tuple[float, str]] = []
        self._is_connected = False
        self.words: list[UnitAsk | UnitClaim | UnitRenew | UnitRelease] = []
        self.opened: list[str] = []
        self.lost: list[str] = []

    def acquire(self, key: str, limit: int, now: float) -> Held | None:
        """Use one more of at most ``limit`` over all lanes: None if it may be, until ``release``."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = _Number(limit)
        number.limit = limit
        if number.used < number.held and now < number.until:
            number.used += 1
            return None
        number.is_awaited = True
        if not self._is_connected:
            return Held(HeldBy.BROKER, math.inf)
        if not number.is_asked:
            number.is_asked = True
            self.words.append(UnitAsk(key, limit, 1))
        return Held(HeldBy.COUNT, math.inf)

    def release(self, key: str) -> None:
        """One is not used any more."""
        number = self._numbers[key]
        if number.lost:
            number.lost -= 1
        else:
            number.used -= 1
            number.held -= 1
            self._say(UnitRelease(key, 1))
        self._forget(key, number)

    def granted(self, key: str, units: int, until: float, now: float) -> None:
        """The broker lends ``units`` more, and all that it has lent until then."""
        number = self._numbers.get(key)
        if number is None:
            if units:
                self._say(UnitRelease(key, units))
            return
        number.until = until
        number.held += units
        number.is_renewing = False
        if units:
            number.is_asked = False
            number.granted = now
        self._plan(key, number)
        if units and number.is_awaited:
            number.is_awaited = False
            self.opened.append(key)

    def broker_gone(self) -> None:
        """Nothing comes of what was asked."""
        self._is_connected = False
        for number in self._numbers.values():
            number.is_asked = False

    def broker_back(self, now: float) -> None:
        """Say what is held, and ask for what is waited for."""
        self._is_connected = True
        for key, number in self._numbers.items():
            if number.held and now < number.until:
                self.words.append(UnitClaim(key, number.limit, number.held))
            if number.is_awaited:
                number.is_asked = True
                self.words.append(UnitAsk(key, number.limit, 1))

    def wake(self, now: float) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            number = self._numbers.get(key)
            if number is None or number.due != due:
                continue
            if number.held and now >= number.until:
                self._lose(key, number)
            elif number.held and not number.is_renewing and now >= number.until - LIFETIME + _RENEWAL:
                number.is_renewing = True
                self._say(UnitRenew(key))
            if number.used < number.held and now >= number.granted + _PATIENCE:
                self._say(UnitRelease(key, number.held - number.used))
                number.held = number.used
            number.due = math.inf
            self._plan(key, number)
            self._forget(key, number)

    def next_wake(self) -> float:
        """When ``wake`` is to be called; infinity if nothing is held."""
        return self._timers[0][0] if self._timers else math.inf

    def __len__(self) -> int:
        """How many numbers are known."""
        return len(self._numbers)

    # -- within

    def _lose(self, key: str, number: _Number) -> None:
        number.lost += number.used
        number.held = number.used = 0
        if number.lost:
            self.lost.append(key)

    def _plan(self, key: str, number: _Number) -> None:
        """Look at it again when something may be due."""
        due = math.inf
        if number.held:
            due = number.until if number.is_renewing else number.until - LIFETIME + _RENEWAL
        if number.used < number.held:
            due = min(due, number.granted + _PATIENCE)
        if due < number.due:
            number.due = due
            heapq.heappush(self._timers, (due, key))

    def _say(self, word: UnitRenew | UnitRelease) -> None:
        if self._is_connected:
            self.words.append(word)

    def _forget(self, key: str, number: _Number) -> None:
        if number.is_idle():
            del self._numbers[key]

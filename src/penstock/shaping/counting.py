"""The broker's part of numbers that lanes share, such as connections to a provider: who holds how many units, and until when.

A holder keeps its units by renewing them; one that does not has lost them at its ``until``, and by then makes no more use of them. So they can
be lent again a little later (``_MARGIN``). A broker that begins does not know what its predecessor lent: it lends nothing for ``LIFETIME``, and
meanwhile hears from the holders that are there what they hold (``claim``).
"""

from __future__ import annotations

import heapq
import math
from typing import Final, NamedTuple

#: Seconds for which units are lent, or renewed.
LIFETIME: Final = 15.0
#: Between the last use and the next loan: a claim or a renewal may be under way for so long.
_MARGIN: Final = 1.0
#: Units that a holder may want, and keys that are looked at for each new one, whether they can be forgotten.
_WANTED_LIMIT: Final = 10_000
_SWEPT: Final = 2


class UnitGrant(NamedTuple):
    """``units`` more for a holder, and until when all of them can be used; 0 units: they are renewed."""

    holder: str
    key: str
    units: int
    until: float


class _Held:
    __slots__ = ("units", "until")

    def __init__(self, units: int, until: float) -> None:
        self.units = units
        self.until = until


class _Shared:
    __slots__ = ("epoch", "held", "limit", "waiting")

    def __init__(self, limit: int, epoch: int) -> None:
        self.limit = limit
        self.epoch = epoch
        self.held: dict[str, _Held] = {}
        self.waiting: dict[str, int] = {}

    def change(self, limit: int, epoch: int) -> None:
        """Go by the newer epoch."""
        if epoch > self.epoch:
            self.limit, self.epoch = limit, epoch

    def room(self) -> int:
        return self.limit - sum(each.units for each in self.held.values())


class Counting:
    """All numbers of a broker that began at ``now``; ``is_clean``: its predecessor has ended in order, with nothing lent."""

    def __init__(self, now: float, *, is_clean: bool) -> None:
        self._begins = -math.inf if is_clean else now + LIFETIME + _MARGIN
        self._shared: dict[str, _Shared] = {}
        self._ends: list[tuple[float, int, str, str, _Held]] = []
        self._count = 0
        self._is_begun = is_clean
        self.effects: list[UnitGrant] = []

    def ask(self, holder: str, key: str, limit: int, epoch: int, wanted: int, now: float) -> None:
        """A holder wants that many more, instead of what it wanted before; 0 if none."""
        shared = self._known(key, limit, epoch)
        if wanted <= 0:
            shared.waiting.pop(holder, None)
        else:
            shared.waiting[holder] = min(wanted, _WANTED_LIMIT)
        self._serve(key, shared, now)

    def claim(self, holder: str, key: str, limit: int, epoch: int, units: int, now: float) -> None:
        """A holder says, as the first about this key, what another broker, or this one over another connection, has lent it."""
        shared = self._known(key, limit, epoch)
        if units > 0 and holder not in shared.held:
            shared.held[holder] = _Held(min(units, _WANTED_LIMIT), 0.0)
            self._renew(holder, key, shared.held[holder], 0, now)

    def renew(self, holder: str, key: str, now: float) -> None:
        """A holder wants to keep what it has; without an answer, it has nothing."""
        held = self._shared[key].held.get(holder) if key in self._shared else None
        if held is not None:
            self._renew(holder, key, held, 0, now)

    def release(self, holder: str, key: str, units: int, now: float) -> None:
        """A holder does not need so many any more."""
        shared = self._shared.get(key)
        held = shared.held.get(holder) if shared is not None else None
        if shared is None or held is None or units <= 0:
            return
        held.units -= units
        if held.units <= 0:
            del shared.held[holder]
        self._serve(key, shared, now)

    def gone(self, holder: str, now: float) -> None:
        """It wants nothing any more; what it has, it loses when it has not renewed it."""
        for key, shared in self._shared.items():
            if shared.waiting.pop(holder, None) is not None:
                self._serve(key, shared, now)

    def wake(self, now: float) -> None:
        """Do what is due."""
        if not self._is_begun and now >= self._begins:
            self._is_begun = True
            for key, shared in self._shared.items():
                self._serve(key, shared, now)
        while self._ends and self._ends[0][0] <= now:
            _, _, key, holder, held = heapq.heappop(self._ends)
            found = self._shared.get(key)
            if found is None or found.held.get(holder) is not held:
                continue
            if held.until + _MARGIN > now:
                self._end_at(key, holder, held)
            else:
                del found.held[holder]
                self._serve(key, found, now)

    def next_wake(self) -> float:
        """When ``wake`` is to be called; infinity if nothing depends on time."""
        ends = self._ends[0][0] if self._ends else math.inf
        return ends if self._is_begun else min(ends, self._begins)

    def is_idle(self) -> bool:
        """Whether nothing is lent."""
        return self._is_begun and not any(shared.held for shared in self._shared.values())

    def __len__(self) -> int:
        """How many numbers are known."""
        return len(self._shared)

    # -- within

    def _known(self, key: str, limit: int, epoch: int) -> _Shared:
        shared = self._shared.get(key)
        if shared is None:
            for old in [old for old, _ in zip(self._shared, range(_SWEPT), strict=False)]:
                kept = self._shared.pop(old)
                if kept.held or kept.waiting:
                    self._shared[old] = kept
            shared = self._shared[key] = _Shared(limit, epoch)
        shared.change(limit, epoch)
        return shared

    def _serve(self, key: str, shared: _Shared, now: float) -> None:
        """Lend what there is, one unit after the other to those who wait."""
        if not self._is_begun:
            return
        given: dict[str, int] = {}
        for _ in range(max(0, shared.room())):
            if not shared.waiting:
                break
            holder = next(iter(shared.waiting))
            wanted = shared.waiting.pop(holder)
            if wanted > 1:
                shared.waiting[holder] = wanted - 1
            given[holder] = given.get(holder, 0) + 1
        for holder, units in given.items():
            held = shared.held.get(holder)
            if held is None:
                held = shared.held[holder] = _Held(0, 0.0)
            held.units += units
            self._renew(holder, key, held, units, now)

    def _renew(self, holder: str, key: str, held: _Held, units: int, now: float) -> None:
        is_new = held.until == 0.0
        held.until = now + LIFETIME
        if is_new:
            self._end_at(key, holder, held)
        self.effects.append(UnitGrant(holder, key, units, held.until))

    def _end_at(self, key: str, holder: str, held: _Held) -> None:
        self._count += 1
        heapq.heappush(self._ends, (held.until + _MARGIN, self._count, key, holder, held))

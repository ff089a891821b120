"""The broker's part of rates that lanes share: who is lent how many tokens, in which order, until when.

Lanes (*holders*) ask, and are served in turn, a batch each. What is lent is settled by the holder: used, or unused. A holder that is gone has
used what it has not settled, when its tokens ran out. A broker that begins knows nothing of tokens that its predecessor lent, but that they
run out: so a rate begins with a bucket that is full ``LIFETIME`` from now.

Rates with a period of a minute or more are kept on disk, for a bucket may need hours to drain. A grant is given out by the shell when what
it rests on is on stable storage: an arrival time that supposes the worst of all that is lent (``Grant.keep``). For a fast one of them that is
a second ahead, so that not every grant waits for a disk.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from penstock.mail.rate import Rate
from penstock.shaping.tokens import WANTED_LIMIT, SharedRate, batch_size

#: Seconds that a token can be used.
LIFETIME: Final = 1.0
#: Rates with such a period, in seconds, or a longer one, are kept.
KEPT_PERIOD: Final = 60.0
#: A holder that has to wait longer is told until when.
_WORTH_TELLING: Final = 0.5
#: After a fault of the disk, seconds until it is tried again.
_REST: Final = 1.0
#: Rates that are looked at, for each new one, whether they can be forgotten.
_SWEPT: Final = 2


class Grant(NamedTuple):
    """``tokens`` for a holder, out of ``most`` that it is given at a time. ``keep``, if it is not None, must be on stable
    storage first as the arrival time of ``key``, or a later one.
    """

    holder: str
    key: str
    lease: int
    tokens: int
    most: int
    until: float
    keep: float | None


class Wait(NamedTuple):
    """A holder will get what it asked for at ``opens`` or later."""

    holder: str
    key: str
    opens: float


class _Lease:
    __slots__ = ("count", "holder", "key", "until")

    def __init__(self, holder: str, key: str, count: int, until: float) -> None:
        self.holder = holder
        self.key = key
        self.count = count
        self.until = until


class _Lent:
    """A rate with those who wait, in their order, and how many leases each holder has. ``kept`` is the arrival time on disk, or on its way
    there; -inf if there is none.
    """

    __slots__ = ("kept", "leases", "resting", "shared", "waiting", "wakes")

    def __init__(self, shared: SharedRate, kept: float) -> None:
        self.shared = shared
        self.kept = kept
        self.waiting: dict[str, int] = {}
        self.leases: dict[str, int] = {}
        self.resting = -math.inf
        self.wakes = math.inf

    def is_idle(self, now: float) -> bool:
        return not self.waiting and not self.leases and self.shared.arrival <= now


class Lending:
    """All rates of a broker that began at ``now``.

    ``kept`` are the arrival times that were on disk, as monotonic time; they are forgotten as they are taken. ``is_clean``: the broker before has
    ended in order, with nothing lent. Lease numbers begin behind ``first_lease``, so that those of another broker are not mistaken for ours.
    """

    def __init__(self, now: float, kept: Mapping[str, float], *, is_clean: bool, first_lease: int) -> None:
        self._kept = dict(kept)
        self._begins = -math.inf if is_clean else now + LIFETIME
        self._rates: dict[str, _Lent] = {}
        self._leases: dict[int, _Lease] = {}
        self._holders: dict[str, set[int]] = {}
        self._last_lease = first_lease
        self._timers: list[tuple[float, int, str]] = []
        self._expiries: list[tuple[float, int]] = []
        self._count = 0
        self.effects: list[Grant | Wait] = []

    def ask(self, holder: str, key: str, rate: Rate, epoch: int, wanted: int, now: float) -> None:
        """A holder wants that many more tokens in all, instead of what it wanted before; 0 if none."""
        lent = self._rates.get(key)
        if lent is None:
            lent = self._new(key, rate, epoch, now)
        lent.shared.change(rate, epoch, now)
        if wanted <= 0:
            lent.waiting.pop(holder, None)
        else:
            lent.waiting[holder] = min(wanted, WANTED_LIMIT)
        self._serve(key, lent, now)
        if holder in lent.waiting and lent.wakes - now >= _WORTH_TELLING:
            self.effects.append(Wait(holder, key, lent.wakes))

    def settle(self, holder: str, number: int, used: int, last_use: float, unused: int, now: float) -> None:
        """Of a lease, these tokens were used, the last of them then, and these will not be. What is not its own is not believed."""
        lease = self._leases.get(number)
        if lease is None or lease.holder != holder or used < 0 or unused < 0:
            return
        used = min(used, lease.count)
        unused = min(unused, lease.count - used)
        lease.count -= used + unused
        lent = self._rates[lease.key]
        lent.shared.settle(used, min(max(last_use, 0.0), now), unused)
        if lease.count == 0:
            self._end(number, lease, lent)
        self._serve(lease.key, lent, now)

    def gone(self, holder: str, now: float) -> None:
        """It is not there any more: it waits for nothing, and will settle nothing. Comes after all that it said."""
        for number in self._holders.pop(holder, ()):
            heapq.heappush(self._expiries, (self._leases[number].until, number))
        for key, lent in self._rates.items():
            if lent.waiting.pop(holder, None) is not None:
                self._serve(key, lent, now)

    def failed(self, grant: Grant, now: float) -> None:
        """A grant could not be given out, for ``keep`` could not be written: its tokens are back, and its holder waits a second."""
        if grant.holder not in self._holders:
            return
        lent = self._rates[grant.key]
        lent.kept = -math.inf
        lent.resting = now + _REST
        lent.waiting[grant.holder] = min(lent.waiting.get(grant.holder, 0) + grant.tokens, WANTED_LIMIT)
        self.settle(grant.holder, grant.lease, 0, now, grant.tokens, now)

    def wake(self, now: float) -> None:
        """Do what is due."""
        while self._expiries and self._expiries[0][0] <= now:
            until, number = heapq.heappop(self._expiries)
            lease = self._leases[number]
            lent = self._rates[lease.key]
            lent.shared.settle(lease.count, until, 0)
            self._end(number, lease, lent)
            self._serve(lease.key, lent, now)
        while self._timers and self._timers[0][0] <= now:
            instant, _, key = heapq.heappop(self._timers)
            found = self._rates.get(key)
            if found is not None and found.wakes == instant:
                found.wakes = math.inf
                self._serve(key, found, now)

    def next_wake(self) -> float:
        """When ``wake`` is to be called; infinity if nothing depends on time."""
        return min(
            self._timers[0][0] if self._timers else math.inf,
            self._expiries[0][0] if self._expiries else math.inf,
        )

    def to_keep(self) -> dict[str, float] | None:
        """At an orderly end: what belongs on disk for all rates that are kept; None if tokens are lent, so that the end is not in order."""
        if self._leases:
            return None
        return self._kept | {
            key: lent.shared.arrival
            for key, lent in self._rates.items()
            if lent.shared.rate.period >= KEPT_PERIOD
        }

    def __len__(self) -> int:
        """How many rates are known."""
        return len(self._rates)

    # -- within

    def _new(self, key: str, rate: Rate, epoch: int, now: float) -> _Lent:
        self._sweep(now)
        interval = rate.period / rate.count
        if rate.period >= KEPT_PERIOD:
            arrival = self._kept.pop(key, -math.inf)
            lent = _Lent(SharedRate(rate, epoch, min(arrival, now + rate.burst * interval)), arrival)
        else:
            lent = _Lent(SharedRate(rate, epoch, self._begins + rate.burst * interval), -math.inf)
        self._rates[key] = lent
        return lent

    def _sweep(self, now: float) -> None:
        """Forget rates that are as if they had never been used, some at a time."""
        for key in [key for key, _ in zip(self._rates, range(_SWEPT), strict=False)]:
            lent = self._rates.pop(key)
            if not lent.is_idle(now):
                self._rates[key] = lent

    def _end(self, number: int, lease: _Lease, lent: _Lent) -> None:
        del self._leases[number]
        lent.leases[lease.holder] -= 1
        if not lent.leases[lease.holder]:
            del lent.leases[lease.holder]
        numbers = self._holders.get(lease.holder)
        if numbers is not None:
            numbers.discard(number)
            if not numbers:
                del self._holders[lease.holder]

    def _serve(self, key: str, lent: _Lent, now: float) -> None:
        """Lend what can be lent, and note when there is more."""
        shared = lent.shared
        while lent.waiting:
            holder, wanted = next(iter(lent.waiting.items()))
            most = batch_size(shared.rate, len(lent.waiting.keys() | lent.leases.keys()))
            count = min(wanted, most)
            if now < lent.resting or shared.room(now) < count:
                opens = max(lent.resting, shared.opens_at(count))
                self._wake_at(key, lent, max(opens, math.nextafter(now, math.inf)))
                return
            del lent.waiting[holder]
            if wanted > count:
                lent.waiting[holder] = wanted - count
            self._lend(key, lent, holder, (count, most), now)
        lent.wakes = math.inf

    def _lend(self, key: str, lent: _Lent, holder: str, batch: tuple[int, int], now: float) -> None:
        count, most = batch
        self._last_lease += 1
        number, until = self._last_lease, now + LIFETIME
        self._leases[number] = _Lease(holder, key, count, until)
        self._holders.setdefault(holder, set()).add(number)
        lent.leases[holder] = lent.leases.get(holder, 0) + 1
        lent.shared.lent += count
        keep = None
        if lent.shared.rate.period >= KEPT_PERIOD:
            worst = lent.shared.worst_arrival(until)
            if worst > lent.kept:
                rate = lent.shared.rate
                lent.kept = worst + int(rate.count / rate.period) * (rate.period / rate.count)
            keep = lent.kept
        self.effects.append(Grant(holder, key, number, count, most, until, keep))

    def _wake_at(self, key: str, lent: _Lent, instant: float) -> None:
        if instant == lent.wakes:
            return
        lent.wakes = instant
        if instant < math.inf:
            self._count += 1
            heapq.heappush(self._timers, (instant, self._count, key))

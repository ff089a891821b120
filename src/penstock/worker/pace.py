"""A lane's rates as its scheduler asks about them: in wall time, which the process counts on from the same reading of the monotonic clock.

The scheduler's instants are whole microseconds, and what is limited may go when its instant has come: so a microsecond is given to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.mail.configuration import Limit
from penstock.mail.ports import Clock
from penstock.mail.rate import Rate
from penstock.shaping.ports import Held, Rates

_ROUNDED: Final = 1e-6


class Pace:
    """``shaping.ports.Rates`` of another clock."""

    __slots__ = ("_ahead", "_rates")

    def __init__(self, rates: Rates, clock: Clock) -> None:
        self._rates = rates
        #: how far the one clock is ahead of the other
        self._ahead = clock.wall() - clock.monotonic()

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """See ``shaping.ports.Rates``, as of all of these."""
        held = self._rates.take(key, rate, self._theirs(now))
        return self._ours(held) if held is not None else None

    def take_all(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """As above."""
        refused = self._rates.take_all(limits, self._theirs(now))
        return (refused[0], self._ours(refused[1])) if refused is not None else None

    def check(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """As above."""
        refused = self._rates.check(limits, self._theirs(now))
        return (refused[0], self._ours(refused[1])) if refused is not None else None

    def room(self, limit: Limit, now: float) -> int:
        """As above."""
        return self._rates.room(limit, self._theirs(now))

    def is_lent(self, limit: Limit) -> bool:
        """As above."""
        return self._rates.is_lent(limit)

    def give_back(self, limit: Limit, taken: float, now: float) -> None:
        """As above."""
        self._rates.give_back(limit, self._theirs(taken), self._theirs(now))

    def _theirs(self, time: float) -> float:
        return time - self._ahead + _ROUNDED

    def _ours(self, held: Held) -> Held:
        return Held(held.by, held.until + self._ahead)

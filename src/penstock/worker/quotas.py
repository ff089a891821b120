"""A lane's rates and numbers, whoever decides about them: the lane itself, or the broker of the host. The shell of ``shaping.own``, ``borrowing``
and ``holding``: timers, and words to and from the broker.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from penstock.ipc.broker_words import (
    BrokerTokensAsk,
    BrokerTokensSettle,
    BrokerUnitsAsk,
    BrokerUnitsClaim,
    BrokerUnitsRelease,
    BrokerUnitsRenew,
    LaneTokensGrant,
    LaneTokensWait,
    LaneUnitsGrant,
)
from penstock.mail.configuration import Limit
from penstock.mail.duration import Seconds
from penstock.mail.ports import Clock
from penstock.mail.rate import Rate
from penstock.shaping.borrowing import Ask, Borrowing, Settle
from penstock.shaping.holding import Holding, UnitAsk, UnitClaim, UnitRelease, UnitRenew
from penstock.shaping.own import OwnNumbers, OwnRates
from penstock.shaping.ports import Held


class Timer(Protocol):
    """What ``call_later`` gives."""

    def cancel(self) -> None:
        """Let it not come."""


CallLater = Callable[[Seconds, Callable[[], None]], Timer]


class Quotas:
    """See the module. Made on a running loop.

    ``opened`` is called with a key when what was refused for it may be tried again; ``lost`` with that of a number whose units have run out:
    all that uses them must end, with a ``release`` for each. ``epoch`` is that of the rates and limits that are asked for from now on.
    ``is_alone``: no other lane shares anything, and there is no broker. ``call_later`` is the loop's, or that of a clock.
    """

    def __init__(
        self,
        clock: Clock,
        opened: Callable[[str], None],
        lost: Callable[[str], None],
        *,
        epoch: int = 0,
        is_alone: bool = False,
        call_later: CallLater | None = None,
    ) -> None:
        self._is_alone = is_alone
        self._clock = clock
        self._on_opened = opened
        self._on_lost = lost
        self._loop = asyncio.get_running_loop()
        self._call_later: CallLater = call_later or self._loop.call_later
        self._own = OwnRates()
        self._own_numbers = OwnNumbers()
        self._borrowing = Borrowing()
        self._holding = Holding()
        self.epoch = epoch
        self._tell: Callable[[msgspec.Struct], None] | None = None
        self._timer: Timer | None = None
        self._wakes = math.inf

    @property
    def epoch(self) -> int:
        """See the class."""
        return self._borrowing.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._borrowing.epoch = epoch

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """See ``shaping.ports.Rates``. A ``local`` rate is this lane's own."""
        refused = self.take_all((Limit("", key, rate),), now)
        return refused[1] if refused is not None else None

    def take_all(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """See ``shaping.ports.Rates``."""
        refused = self.check(limits, now)
        if refused is None:
            for limit in limits:
                if self._is_own(limit):
                    self._own.charge(limit.key, limit.rate, now)
                else:
                    self._borrowing.charge(limit.key, now)
            if self._borrowing.asks:
                self._say()
        return refused

    def check(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """See ``shaping.ports.Rates``. What is to be borrowed is asked for all at once, for a token that waits for another goes back soon."""
        refused: tuple[int, Held] | None = None
        for place, limit in enumerate(limits):
            rates = self._own if self._is_own(limit) else self._borrowing
            held = rates.look(limit.key, limit.rate, now)
            if held is not None and refused is None:
                refused = place, held
        if refused is not None:
            self._say()
            self._look()
        elif self._borrowing.asks:
            self._say()
        return refused

    def _is_own(self, limit: Limit) -> bool:
        """Whether nobody else has to be asked."""
        return limit.is_here or limit.rate.local or self._is_alone

    def room(self, limit: Limit, now: float) -> int:
        """See ``shaping.ports.Rates``."""
        if self._is_own(limit):
            return self._own.room(limit, now)
        return self._borrowing.room(limit.key, now)

    def is_lent(self, limit: Limit) -> bool:
        """See ``shaping.ports.Rates``."""
        return not self._is_own(limit)

    def give_back(self, limit: Limit, taken: float, now: float) -> None:
        """See ``shaping.ports.Rates``. Who waits for it is told later, never from inside this call."""
        if self._is_own(limit):
            self._own.give_back(limit, taken, now)
            self._look()
            return
        self._borrowing.give_back(limit.key, taken, now)
        if self._borrowing.opened:
            self._loop.call_soon(self._settle)

    def acquire(self, key: str, limit: int, now: float) -> Held | None:
        """Use one more of at most ``limit`` over all lanes: None if it may be, until ``release``."""
        if self._is_alone:
            return self._own_numbers.acquire(key, limit)
        held = self._holding.acquire(key, limit, now)
        if self._holding.words:
            self._say()
        return held

    def release(self, key: str) -> None:
        """One is not used any more."""
        if self._is_alone:
            self._own_numbers.release(key)
            self._loop.call_soon(self._settle)
            return
        self._holding.release(key)
        self._say()

    # -- the broker

    def handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """What a bus to the broker is to do with its words."""
        return {
            LaneTokensGrant: self._granted,
            LaneTokensWait: lambda word: self._borrowing.told(word.key, word.opens),
            LaneUnitsGrant: self._lent,
        }

    def connected(self, tell: Callable[[msgspec.Struct], None]) -> None:
        """The broker is there; ``tell`` tells it something."""
        self._tell = tell
        self._borrowing.broker_back()
        self._holding.broker_back(self._clock.monotonic())
        self._settle()

    def disconnected(self) -> None:
        """It is gone. What is in hand is used until it runs out; the rest waits for ``connected``."""
        self._tell = None
        self._borrowing.broker_gone()
        self._holding.broker_gone()

    def close(self) -> None:
        """Give back what is in hand. Nothing is to be taken after it."""
        self._borrowing.close()
        self._say()
        if self._timer is not None:
            self._timer.cancel()

    def _granted(self, word: LaneTokensGrant) -> None:
        now = self._clock.monotonic()
        self._borrowing.granted(word.key, word.lease, word.tokens, word.most, word.until, now)
        self._settle()

    def _lent(self, word: LaneUnitsGrant) -> None:
        self._holding.granted(word.key, word.units, word.until, self._clock.monotonic())
        self._settle()

    # -- within

    def _wake(self) -> None:
        self._timer, self._wakes = None, math.inf
        now = self._clock.monotonic()
        self._own.wake(now)
        self._borrowing.wake(now)
        self._holding.wake(now)
        self._settle()

    def _settle(self) -> None:
        """Carry out what was decided; what is taken meanwhile may decide more."""
        for keys, tell in (
            (self._own.opened, self._on_opened),
            (self._own_numbers.opened, self._on_opened),
            (self._borrowing.opened, self._on_opened),
            (self._holding.opened, self._on_opened),
            (self._holding.lost, self._on_lost),
        ):
            found = keys.copy()
            keys.clear()
            for key in found:
                tell(key)
        self._say()
        self._look()

    def _say(self) -> None:
        asks, words = self._borrowing.asks, self._holding.words
        if self._tell is not None:
            for ask in asks:
                self._tell(self._token_word(ask))
            for word in words:
                self._tell(self._unit_word(word))
        asks.clear()
        words.clear()

    def _token_word(self, said: Ask | Settle) -> msgspec.Struct:
        if isinstance(said, Ask):
            return BrokerTokensAsk(said.key, said.rate, said.epoch, said.wanted)
        return BrokerTokensSettle(said.lease, said.used, said.last_use, said.unused)

    def _unit_word(self, said: UnitAsk | UnitClaim | UnitRenew | UnitRelease) -> msgspec.Struct:
        match said:
            case UnitAsk(key=key, limit=limit, wanted=wanted):
                return BrokerUnitsAsk(key, limit, self.epoch, wanted)
            case UnitClaim(key=key, limit=limit, units=units):
                return BrokerUnitsClaim(key, limit, self.epoch, units)
            case UnitRenew(key=key):
                return BrokerUnitsRenew(key)
            case UnitRelease(key=key, units=units):
                return BrokerUnitsRelease(key, units)

    def _look(self) -> None:
        """Have the timer go off when something is due."""
        wakes = min(self._own.next_wake(), self._borrowing.next_wake(), self._holding.next_wake())
        if wakes == self._wakes:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wakes = wakes
        if wakes < math.inf:
            # uvloop's timers have milliseconds, and may be early by half a one
            delay = Seconds(math.ceil(max(0.0, wakes - self._clock.monotonic()) * 1000) / 1000)
            self._timer = self._call_later(delay, self._wake)

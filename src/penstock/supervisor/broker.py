"""The broker: rates and numbers that lanes share. The shell of ``shaping.lending`` and ``shaping.counting``: words, timers, and the disk.

What a grant of a slow rate rests on is written before the grant is given out; what is to be written meanwhile goes with the next one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, Protocol

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
from penstock.mail.duration import Seconds
from penstock.mail.ports import Clock
from penstock.shaping.counting import Counting
from penstock.shaping.lending import Grant, Lending, Wait
from penstock.supervisor.quota_state import Found, QuotaState
from penstock.supervisor.state import StateError

LOG = logging.getLogger(__name__)

#: What holders say.
WORDS: Final = (
    BrokerTokensAsk,
    BrokerTokensSettle,
    BrokerUnitsAsk,
    BrokerUnitsClaim,
    BrokerUnitsRenew,
    BrokerUnitsRelease,
)
#: Writes after which rates are forgotten whose time has come.
_WRITES_BETWEEN: Final = 1000


class Timer(Protocol):
    """What ``call_later`` gives."""

    def cancel(self) -> None:
        """Let it not come."""


CallLater = Callable[[Seconds, Callable[[], None]], Timer]
Tell = Callable[[msgspec.Struct], None]


class Broker:
    """See the module. Made on a running loop, with what ``state.begin()`` found; ``disk`` is the one thread that uses ``state``.

    A *holder* is one connection of one lane, and its name is never used again: ``join`` when it is there, ``leave`` when it is gone. ``call_later``
    is the loop's, or that of a clock.
    """

    def __init__(
        self,
        state: QuotaState,
        found: Found,
        disk: Executor,
        clock: Clock,
        call_later: CallLater | None = None,
    ) -> None:
        now = clock.monotonic()
        self._state = state
        self._disk = disk
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._call_later: CallLater = call_later or self._loop.call_later
        # microseconds: more leases than that no broker has lent before this one began
        self._lending = Lending(now, found.arrivals, is_clean=found.is_clean, first_lease=int(now * 1e6))
        self._counting = Counting(now, is_clean=found.is_clean)
        self._holders: dict[str, Tell] = {}
        self._kept = dict(found.arrivals)
        self._unkept: list[Grant] = []
        self._writing: asyncio.Task[None] | None = None
        self._writes = 0
        self._has_failed = False
        self._timer: Timer | None = None
        self._wakes = math.inf
        self._look()

    def join(self, holder: str, tell: Tell) -> None:
        """A holder is there; ``tell`` tells it something."""
        self._holders[holder] = tell

    def leave(self, holder: str) -> None:
        """It is gone, after all that it has said."""
        if self._holders.pop(holder, None) is not None:
            now = self._clock.monotonic()
            self._lending.gone(holder, now)
            self._counting.gone(holder, now)
            self._carry_out()

    async def close(self) -> None:
        """End, when all holders have left. If nothing is lent, the next broker may lend at once."""
        if self._timer is not None:
            self._timer.cancel()
        while self._writing is not None:
            await asyncio.wait([self._writing])
        now = self._clock.monotonic()
        self._lending.wake(now)
        self._counting.wake(now)
        arrivals = self._lending.to_keep()
        if arrivals is None or not self._counting.is_idle():
            return
        try:
            await self._loop.run_in_executor(self._disk, self._state.end, arrivals)
        except StateError as error:
            LOG.error("broker: %s", error)

    def hear(self, holder: str, word: msgspec.Struct) -> None:
        """A holder says something: one of ``WORDS``. Who has not joined is not heard."""
        if holder not in self._holders:
            return
        now = self._clock.monotonic()
        lending, counting = self._lending, self._counting
        match word:
            case BrokerTokensAsk():
                lending.ask(holder, word.key, word.rate, word.epoch, word.wanted, now)
            case BrokerTokensSettle():
                lending.settle(holder, word.lease, word.used, word.last_use, word.unused, now)
            case BrokerUnitsAsk():
                counting.ask(holder, word.key, word.limit, word.epoch, word.wanted, now)
            case BrokerUnitsClaim():
                counting.claim(holder, word.key, word.limit, word.epoch, word.units, now)
            case BrokerUnitsRenew():
                counting.renew(holder, word.key, now)
            case BrokerUnitsRelease():
                counting.release(holder, word.key, word.units, now)
        self._carry_out()

    # -- what is decided

    def _wake(self) -> None:
        self._timer, self._wakes = None, math.inf
        now = self._clock.monotonic()
        self._lending.wake(now)
        self._counting.wake(now)
        self._carry_out()

    def _carry_out(self) -> None:
        for effect in self._lending.effects:
            if isinstance(effect, Wait):
                self._tell(effect.holder, LaneTokensWait(effect.key, effect.opens))
            elif effect.keep is None or self._kept.get(effect.key, -math.inf) >= effect.keep:
                self._give(effect)
            else:
                self._unkept.append(effect)
        self._lending.effects.clear()
        for grant in self._counting.effects:
            self._tell(grant.holder, LaneUnitsGrant(grant.key, grant.units, grant.until))
        self._counting.effects.clear()
        if self._unkept and self._writing is None:
            self._writing = self._loop.create_task(self._write(), name="broker: write")
        self._look()

    def _give(self, grant: Grant) -> None:
        self._tell(
            grant.holder, LaneTokensGrant(grant.key, grant.lease, grant.tokens, grant.most, grant.until)
        )

    def _tell(self, holder: str, word: msgspec.Struct) -> None:
        tell = self._holders.get(holder)
        if tell is not None:
            tell(word)

    def _look(self) -> None:
        """Have the timer go off when something is due."""
        wakes = min(self._lending.next_wake(), self._counting.next_wake())
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

    # -- the disk

    async def _write(self) -> None:
        """Write what grants rest on, and give them out; until there are no more."""
        while self._unkept:
            grants, self._unkept = self._unkept, []
            wanted: dict[str, float] = {}
            for grant in grants:
                wanted[grant.key] = max(grant.keep or 0.0, wanted.get(grant.key, -math.inf))
            try:
                await self._loop.run_in_executor(self._disk, self._state.keep, wanted)
                await self._forget()
            except StateError as error:
                self._failed(grants, error)
                continue
            if self._has_failed:
                self._has_failed = False
                LOG.warning("broker: slow rates are kept again")
            self._kept |= wanted
            for grant in grants:
                self._give(grant)
        self._writing = None
        self._look()

    async def _forget(self) -> None:
        self._writes += 1
        if self._writes % _WRITES_BETWEEN == 0:
            now = self._clock.monotonic()
            self._kept = {key: arrival for key, arrival in self._kept.items() if arrival > now}
            await self._loop.run_in_executor(self._disk, self._state.forget)

    def _failed(self, grants: list[Grant], error: StateError) -> None:
        if not self._has_failed:
            self._has_failed = True
            LOG.error("broker: mail waits for the rates that cannot be kept: %s", error)
        now = self._clock.monotonic()
        for grant in grants:
            self._lending.failed(grant, now)
        self._carry_out()

"""A lane's part of rates that lanes share: the tokens it has in hand, and what it asks the broker for.

Tokens come in batches (*leases*) that run out. Those that were used are settled when their batch is used up or over, those that were not
with them, so that others can have them. Of a slow rate, or one that allows no burst, there is one token at a time, asked for when it is
needed; if nobody takes it at once it goes back. Of another one, more are asked for before the last is used; how many, follows what was used.

Without its broker a lane uses what it has, until that runs out, and then is held by BROKER. It asks again when the broker is back.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import Final, NamedTuple

from penstock.mail.rate import Rate
from penstock.shaping.ports import Held, HeldBy
from penstock.shaping.tokens import batch_size

#: Seconds that a token that comes alone waits to be taken, before it goes back.
_PATIENCE: Final = 0.05
#: What is asked for first, of a rate that is that fast for as many lanes. With one at a time the first messages would wait for each of theirs.
_FIRST: Final = 32
_LANES: Final = 4


class Ask(NamedTuple):
    """To the broker: this many more are wanted in all."""

    key: str
    rate: Rate
    wanted: int
    epoch: int = 0


class Settle(NamedTuple):
    """To the broker: what became of tokens of a lease."""

    lease: int
    used: int
    last_use: float
    unused: int


class _Batch:
    __slots__ = ("first_use", "last_use", "lease", "left", "until", "used")

    def __init__(self, lease: int, left: int, until: float) -> None:
        self.lease = lease
        self.left = left
        self.until = until
        self.used = 0
        self.first_use = 0.0
        self.last_use = 0.0


class _Borrowed:
    """One rate. ``asked`` is what the broker still owes us; ``size`` is what we ask for, up to ``most``; ``opens`` is what it said."""

    __slots__ = ("asked", "batches", "epoch", "is_awaited", "most", "opens", "rate", "size")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        #: of the configuration that the rate is from
        self.epoch = 0
        self.batches: deque[_Batch] = deque()
        self.asked = 0
        self.most = self.size = min(_FIRST, batch_size(rate, _LANES))
        self.opens = math.inf
        #: whether somebody was refused, and is to be told
        self.is_awaited = False


class Borrowing:
    """All rates of a lane that are shared. ``asks`` and ``opened`` are emptied by the shell, which sends the first to the broker, and calls
    ``take`` for what waits for the second.
    """

    def __init__(self) -> None:
        self._rates: dict[str, _Borrowed] = {}
        self._ends: list[tuple[float, str]] = []
        self._is_connected = False
        #: of the configuration that rates are looked at by
        self.epoch = 0
        self.asks: list[Ask | Settle] = []
        self.opened: list[str] = []

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """See ``ports.Rates``."""
        held = self.look(key, rate, now)
        if held is None:
            self.charge(key, now)
        return held

    def look(self, key: str, rate: Rate, now: float) -> Held | None:
        """``ports.Rates.check`` for one limit: what is not in hand is asked for."""
        borrowed = self._rates.get(key)
        if borrowed is None:
            borrowed = self._rates[key] = _Borrowed(rate)
        borrowed.epoch = self.epoch
        if borrowed.rate != rate:
            borrowed.rate = rate
            borrowed.opens = math.inf
            if borrowed.asked:
                # the broker has us wait for a token of the old rate, which may be days away
                self._ask(key, borrowed, borrowed.asked)
        while borrowed.batches:
            if now < borrowed.batches[0].until:
                return None
            self._end(key, borrowed)
        borrowed.is_awaited = True
        if not self._is_connected:
            return Held(HeldBy.BROKER, math.inf)
        if borrowed.asked == 0:
            self._ask(key, borrowed, borrowed.size)
        return Held(HeldBy.RATE, borrowed.opens if borrowed.opens > now else math.inf)

    def charge(self, key: str, now: float) -> None:
        """An event happens, which ``look`` has just let happen."""
        borrowed = self._rates[key]
        batch = borrowed.batches[0]
        batch.left -= 1
        batch.used += 1
        if batch.used == 1:
            batch.first_use = now
        batch.last_use = now
        if batch.left == 0:
            borrowed.size = min(borrowed.size * 2, borrowed.most)
            self._end(key, borrowed)
        self._ask_ahead(key, borrowed)

    def room(self, key: str, now: float) -> int:
        """How many tokens are in hand."""
        borrowed = self._rates.get(key)
        return (
            sum(batch.left for batch in borrowed.batches if now < batch.until) if borrowed is not None else 0
        )

    def give_back(self, key: str, taken: float, now: float) -> None:
        """See ``ports.Rates``. What has been settled, counts."""
        borrowed = self._rates.get(key)
        if borrowed is None or not borrowed.batches:
            return
        batch = borrowed.batches[0]
        if batch.used and batch.first_use <= taken and now < batch.until:
            batch.left += 1
            batch.used -= 1
            self._tell(key, borrowed)

    def granted(self, key: str, lease: int, count: int, most: int, until: float, now: float) -> None:
        """The broker lends ``count`` tokens, and would lend ``most``. What nobody needs any more goes back at once."""
        borrowed = self._rates.get(key)
        if borrowed is None or count <= 0:
            self.asks.append(Settle(lease, 0, 0.0, max(0, count)))
            return
        borrowed.asked = max(0, borrowed.asked - count)
        borrowed.opens = math.inf
        borrowed.most = max(1, most)
        borrowed.size = min(borrowed.size, borrowed.most)
        last = min(until, now + _PATIENCE) if most <= 1 else until
        borrowed.batches.append(_Batch(lease, count, last))
        heapq.heappush(self._ends, (last, key))
        self._tell(key, borrowed)

    def told(self, key: str, opens: float) -> None:
        """The broker said when there is more."""
        borrowed = self._rates.get(key)
        if borrowed is not None:
            borrowed.opens = opens

    def broker_gone(self) -> None:
        """What we asked for will not come, and what we settle concerns nobody."""
        self._is_connected = False
        for borrowed in self._rates.values():
            borrowed.asked = 0
            borrowed.opens = math.inf
            for batch in borrowed.batches:
                batch.lease = 0

    def broker_back(self) -> None:
        """Ask again for what is waited for."""
        self._is_connected = True
        for key, borrowed in self._rates.items():
            if borrowed.is_awaited:
                self._ask(key, borrowed, borrowed.size)

    def wake(self, now: float) -> None:
        """Give back what has run out, and forget rates that nothing is known of."""
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            borrowed = self._rates.get(key)
            if borrowed is None:
                continue
            while borrowed.batches and now >= borrowed.batches[0].until:
                self._end(key, borrowed)
            if not borrowed.batches and not borrowed.asked and not borrowed.is_awaited:
                del self._rates[key]

    def next_wake(self) -> float:
        """When ``wake`` is to be called; infinity if there is nothing in hand."""
        return self._ends[0][0] if self._ends else math.inf

    def close(self) -> None:
        """At an orderly end: settle all that is in hand, and want nothing any more."""
        for key, borrowed in self._rates.items():
            while borrowed.batches:
                self._end(key, borrowed)
            if borrowed.asked:
                self._ask(key, borrowed, 0)
        self._rates.clear()

    def __len__(self) -> int:
        """How many rates are known."""
        return len(self._rates)

    # -- within

    def _tell(self, key: str, borrowed: _Borrowed) -> None:
        if borrowed.is_awaited:
            borrowed.is_awaited = False
            self.opened.append(key)

    def _ask(self, key: str, borrowed: _Borrowed, wanted: int) -> None:
        borrowed.asked = wanted
        self.asks.append(Ask(key, borrowed.rate, wanted, borrowed.epoch))

    def _ask_ahead(self, key: str, borrowed: _Borrowed) -> None:
        if not self._is_connected or borrowed.asked or borrowed.most == 1:
            return
        if 2 * sum(batch.left for batch in borrowed.batches) <= borrowed.size:
            self._ask(key, borrowed, borrowed.size)

    def _end(self, key: str, borrowed: _Borrowed) -> None:
        """Be done with the oldest batch. What was not used is not asked for again."""
        batch = borrowed.batches.popleft()
        if batch.lease:
            self.asks.append(Settle(batch.lease, batch.used, batch.last_use, batch.left))
        if batch.left:
            borrowed.size = min(max(1, batch.used), borrowed.most)
            if borrowed.asked and not borrowed.is_awaited:
                self._ask(key, borrowed, 0)

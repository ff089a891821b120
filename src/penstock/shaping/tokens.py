"""A rate that several lanes share: how many of its tokens are lent, and when there are more.

A token is the right to one event. The bucket of the rate (GCRA) holds ``burst`` of them; an event fills a place in it, which the rate drains.
A token that is lent, and of which nobody knows yet whether and when it was used, fills a place too, and that place is not drained. So what
has happened and what may still happen are never more than the burst together, at whatever moment the lent ones are used: no window of
time can hold more events than the rate allows, and a delay of any report makes it fewer, not more.

The one thing assumed of a lane is that it uses no token after its ``until``. One that is gone has used all of its tokens then.
"""

from __future__ import annotations

import math
from typing import Final

from penstock.mail.rate import Rate
from penstock.shaping import gcra

#: Seconds of its rate that a lane gets at a time.
_BATCH: Final = 0.05
#: Of the burst, lanes have a quarter in hand at most, shared by all that ask: the rest keeps the rate draining.
_SHARE: Final = 4
#: A lane asks for no more at a time.
WANTED_LIMIT: Final = 10_000


def is_slow(rate: Rate) -> bool:
    """Whether its tokens are asked for one by one, when they are needed, and those that are not used go back at once."""
    return rate.count <= rate.period


def batch_size(rate: Rate, holders: int) -> int:
    """How many tokens one of ``holders`` lanes gets at a time, at least one."""
    if is_slow(rate):
        return 1
    return max(1, min(int(rate.count / rate.period * _BATCH), rate.burst // (_SHARE * max(1, holders))))


class SharedRate:
    """One rate, of one epoch. ``arrival`` is the theoretical arrival time by all events that are known of."""

    __slots__ = ("arrival", "epoch", "lent", "rate")

    def __init__(self, rate: Rate, epoch: int, arrival: float) -> None:
        self.rate = rate
        self.epoch = epoch
        self.arrival = arrival
        #: tokens that are lent, and not settled
        self.lent = 0

    def room(self, now: float) -> int:
        """How many more can be lent."""
        return max(0, gcra.room(self.arrival, now, self.rate) - self.lent)

    def opens_at(self, count: int) -> float:
        """When ``count`` can be lent, if nothing is settled meanwhile; infinity if something must be."""
        if count + self.lent > self.rate.burst:
            return math.inf
        return gcra.opens_at(self.arrival, self.rate, count + self.lent)

    def settle(self, used: int, last_use: float, unused: int) -> None:
        """Of the lent ones, these were used, none of them after ``last_use``, and these will not be."""
        self.lent -= used + unused
        if used:
            self.arrival = gcra.charged(self.arrival, last_use, self.rate, used)

    def worst_arrival(self, until: float) -> float:
        """What ``arrival`` is if all that are lent are used, at ``until`` at the latest."""
        return gcra.charged(self.arrival, until, self.rate, self.lent) if self.lent else self.arrival

    def change(self, rate: Rate, epoch: int, now: float) -> None:
        """Go on with the rate of a newer epoch. Places that are filled stay so, up to its burst; an older epoch changes nothing."""
        if epoch <= self.epoch:
            return
        self.epoch = epoch
        if rate != self.rate:
            filled = max(0.0, self.arrival - now) / (self.rate.period / self.rate.count)
            self.arrival = now + min(filled, float(rate.burst)) * (rate.period / rate.count)
            self.rate = rate

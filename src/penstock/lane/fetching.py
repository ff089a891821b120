"""Gets a pulled message out of the spool: at once where it is in memory, else when it has been read from the disk, for a connection that waits.

A connection that waits is at work, and the message is in flight with it. Whatever ends the wait says what becomes of the row: it is delivered,
given back (also if it may not begin any more), settled because the spool has given it up, or deferred because it cannot be read now.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from penstock.lane.delivery import Delivery
from penstock.lane.turns import Turns
from penstock.mail.duration import WallTime
from penstock.mail.ports import Clock, Draw, Spool, SpoolError, Unreadable
from penstock.mail.records import StoredMessage
from penstock.queueing.queues import Path
from penstock.queueing.scheduler import Scheduler

LOG = logging.getLogger(__name__)

#: Seconds until a message is tried again that cannot be read, and has no retry before its time is over.
AFTER_FAULT: Final = 60.0


class Receiver(Protocol):
    """A connection that waits for a message."""

    def fetched(self, delivery: Delivery | None) -> None:
        """Here it is; None if there is nothing to deliver, and another may be pulled."""


class Fetching:
    """A message on its way from the disk to ``receiver``, which is None once it does not want it any more."""

    __slots__ = ("_clock", "_scheduler", "path", "receiver", "row")

    def __init__(self, scheduler: Scheduler, clock: Clock, receiver: Receiver, path: Path, row: int) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self.receiver: Receiver | None = receiver
        self.path = path
        self.row = row

    def give_back(self) -> None:
        """Let the message be pulled by another connection; what comes from the disk is dropped."""
        if self.receiver is not None:
            self.receiver = None
            self._scheduler.put_back(self.path, self.row, self._clock.wall())


class Fetcher:
    """Makes deliveries of rows that were pulled. What it cannot make one of, it tells the scheduler."""

    __slots__ = ("_clock", "_draw", "_scheduler", "_spool", "_turns")

    def __init__(self, scheduler: Scheduler, spool: Spool, clock: Clock, draw: Draw, turns: Turns) -> None:
        self._scheduler = scheduler
        self._spool = spool
        self._turns = turns
        self._clock = clock
        self._draw = draw

    def take(self, receiver: Receiver, path: Path, row: int) -> Delivery | Fetching | None:  # hot: throughput
        """The message of ``row``, or its way from the disk to ``receiver``; None if it cannot be had, and the row is in flight no more."""
        position = self._scheduler.rows.position[row]
        try:
            stored = self._spool.get(position)
        except SpoolError as fault:
            self._failed(path, row, fault)
            return None
        if stored is not None:
            return self._deliver(path, row, stored)
        fetching = Fetching(self._scheduler, self._clock, receiver, path, row)
        self._spool.fetch(position, lambda answer: self._fetched(fetching, answer))
        return fetching

    def _fetched(self, fetching: Fetching, answer: StoredMessage | SpoolError) -> None:
        if self._turns.has_time():
            self._hand_over(fetching, answer)
        else:
            self._turns.wait(lambda: self._hand_over(fetching, answer))

    def _hand_over(self, fetching: Fetching, answer: StoredMessage | SpoolError) -> None:
        receiver, path, row = fetching.receiver, fetching.path, fetching.row
        if receiver is None:
            return
        fetching.receiver = None
        now = self._clock.wall()
        if isinstance(answer, SpoolError):
            self._failed(path, row, answer)
            receiver.fetched(None)
        elif not self._scheduler.may_begin(path, row, now):
            self._scheduler.put_back(path, row, now)
            receiver.fetched(None)
        else:
            receiver.fetched(self._deliver(path, row, answer))

    def _deliver(self, path: Path, row: int, stored: StoredMessage) -> Delivery:  # hot: throughput
        self._scheduler.fetched(path, row, len(stored.waiting))
        return Delivery(self._scheduler, self._spool, self._clock, self._draw, path, row, stored)

    def _failed(self, path: Path, row: int, fault: SpoolError) -> None:
        scheduler, now = self._scheduler, self._clock.wall()
        if isinstance(fault, Unreadable):
            # the spool has written down that it is lost
            scheduler.settled(path, row, now)
            return
        LOG.error("a message of %s cannot be read, and will be tried again: %s", path.name, fault)
        due = scheduler.retry_at(row, now, self._draw())
        scheduler.deferred(path, row, due or WallTime(now + AFTER_FAULT))

"""Writes down what no connection had a part in: mail given up because its time is over, mail that can go nowhere, and what orders do to mail.

What is to be written down may have to be read from the disk first, some of it at a time; the rest waits with the scheduler, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from penstock.lane.delivery import expired
from penstock.lane.fetching import AFTER_FAULT
from penstock.mail.duration import WallTime
from penstock.mail.ports import Clock, Spool, SpoolError, Unreadable
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    Outcome,
    RebindRecord,
    RemovalRecord,
    StoredMessage,
    Verdict,
)
from penstock.queueing.effects import Drop, End, Expire, Fail, Flush, Rebind
from penstock.queueing.scheduler import Scheduler

LOG = logging.getLogger(__name__)

#: Messages that are being read from the disk to be written down as over.
_FETCHES: Final = 64


class Undeliverable:
    """Takes the scheduler's ends. ``work_done`` is called when one that had to be read has been dealt with."""

    __slots__ = ("_clock", "_fetches", "_is_stopped", "_scheduler", "_spool", "_work_done")

    def __init__(
        self, scheduler: Scheduler, spool: Spool, clock: Clock, work_done: Callable[[], None]
    ) -> None:
        self._scheduler = scheduler
        self._spool = spool
        self._clock = clock
        self._work_done = work_done
        self._fetches = 0
        self._is_stopped = False

    @property
    def has_work(self) -> bool:  # hot: throughput
        """Whether ``take`` would do something."""
        return self._scheduler.has_ends and self._fetches < _FETCHES and not self._is_stopped

    def take(self) -> None:
        """Take one end, and record it or begin to read it."""
        end = self._scheduler.take_end()
        if end is None:
            return
        try:
            stored = self._spool.get(end.position)
        except SpoolError as fault:
            self._failed(end, fault)
            return
        if stored is not None:
            self._record(end, stored)
        else:
            self._fetches += 1
            self._spool.fetch(end.position, lambda answer: self._fetched(end, answer))

    def stop(self) -> None:
        """Record nothing more."""
        self._is_stopped = True

    def _fetched(self, end: End, answer: StoredMessage | SpoolError) -> None:
        self._fetches -= 1
        if isinstance(answer, SpoolError):
            self._failed(end, answer)
        elif self._is_stopped or self._scheduler.hold is not None:
            self._scheduler.end_put_back(end)
        else:
            self._record(end, answer)
        self._work_done()

    def _failed(self, end: End, fault: SpoolError) -> None:
        now = self._clock.wall()
        if isinstance(fault, Unreadable):
            # the spool has written down that it is lost
            self._scheduler.end_lost(end, now)
            return
        LOG.error("a message of %s cannot be read, and will end later: %s", end.queue.name, fault)
        self._scheduler.end_put_off(end, WallTime(now + AFTER_FAULT))

    def _record(self, end: End, stored: StoredMessage) -> None:
        now = self._clock.wall()
        spool, position, record, waiting = self._spool, end.position, stored.record, stored.waiting
        match end:
            case Expire():
                spool.record_expiration(position, self._expiration(end, stored, now))
            case Fail():
                spool.record_attempt(position, self._failure(end, stored, now))
            case Drop(attempts=attempts, site=site, reply=reply, order=order):
                removal = RemovalRecord(record, now, attempts, site, waiting, reply, order)
                spool.record_removal(position, removal)
            case Rebind(attempts=attempts, name=name, due=due, order=order):
                spool.record_rebind(position, RebindRecord(record, now, attempts, waiting, name, due, order))
            case Flush(attempts=attempts, due=due, order=order):
                spool.record_flush(position, FlushRecord(record, now, attempts, waiting, due, order))
        self._scheduler.end_recorded(end, now)

    def _expiration(self, end: Expire, stored: StoredMessage, now: WallTime) -> ExpirationRecord:
        """The recipients that still wait are given up, with what held them last."""
        reply = expired(self._held_by(end))
        return ExpirationRecord(stored.record, now, end.attempts, end.site, stored.waiting, reply)

    def _held_by(self, end: Expire) -> str:
        """What held an expired message last, in words."""
        path = self._scheduler.paths.get(end.site)
        hold = end.queue.hop.hold or (path.hold if path is not None else None)
        return f"it was held for want of a {hold.gate}: {hold.reason}" if hold is not None else ""

    def _failure(self, end: Fail, stored: StoredMessage, now: WallTime) -> AttemptRecord:
        """The recipients that still wait fail with the reply that is the answer for their domain."""
        outcomes = tuple([Outcome(index, Verdict.FAILED, end.reply) for index in stored.waiting])
        source = self._scheduler.source if end.site else ""
        return AttemptRecord(stored.record, now, end.attempts, end.site, source, None, outcomes)

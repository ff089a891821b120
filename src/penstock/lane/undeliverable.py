"""Writes down what no connection had a part in: mail given up because its time is over, and mail that can go nowhere."""

from __future__ import annotations

from penstock.lane.delivery import expired
from penstock.mail.duration import WallTime
from penstock.mail.ports import Spool
from penstock.mail.records import AttemptRecord, ExpirationRecord, Outcome, Verdict
from penstock.queueing.effects import Expire, Fail
from penstock.queueing.scheduler import Scheduler


def record_expiration(spool: Spool, scheduler: Scheduler, effect: Expire, now: WallTime) -> None:
    """The recipients that still wait are given up, with what held them last."""
    stored = spool.read(effect.position)
    spool.record_expiration(
        effect.position,
        ExpirationRecord(
            stored.record,
            now,
            effect.attempts,
            effect.site,
            stored.waiting,
            expired(_held_by(scheduler, effect)),
        ),
    )


def _held_by(scheduler: Scheduler, effect: Expire) -> str:
    """What held an expired message last, in words."""
    path = scheduler.paths.get(effect.site)
    hold = effect.queue.hop.hold or (path.hold if path is not None else None)
    return f"it was held for want of a {hold.gate}: {hold.reason}" if hold is not None else ""


def record_failure(spool: Spool, scheduler: Scheduler, effect: Fail, now: WallTime) -> None:
    """The recipients that still wait fail with the reply that is the answer for their domain."""
    stored = spool.read(effect.position)
    outcomes = [Outcome(index, Verdict.FAILED, effect.reply) for index in stored.waiting]
    spool.record_attempt(
        effect.position,
        AttemptRecord(
            stored.record,
            now,
            effect.attempts,
            effect.site,
            scheduler.source if effect.site else "",
            None,
            tuple(outcomes),
        ),
    )

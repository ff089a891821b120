"""What orders do, in a run by chance: messages put into other queues, flushed, taken out; and messages with a schedule."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.records import FlushRecord, MessageRecord, RebindRecord, RemovalRecord
from penstock.mail.schedule import Schedule, Window
from tests.spool import samples

if TYPE_CHECKING:
    from tests.spool.campaign.run import Run

#: Of the messages those with a schedule.
_TIMED = 0.2


def timed(run: Run, record: MessageRecord) -> MessageRecord:
    """The message, or the same with a schedule."""
    draw = run.draw
    if draw.random() >= _TIMED:
        return record
    run.kinds["messages with a schedule"] += 1
    window = Window(
        frozenset(draw.sample(range(7), 3)), "Europe/Vienna", dt.time(9), dt.time(17, draw.randrange(60))
    )
    first = WallTime(run.now + draw.randrange(9999)) if draw.random() < 0.7 else None
    schedule = Schedule(
        first, window if draw.random() < 0.7 else None, draw.choice((None, WallTime(run.now + 1e5)))
    )
    return msgspec.structs.replace(record, schedule=schedule)


def _now(run: Run) -> WallTime:
    return WallTime(run.now + next(run.times))


def rebind(run: Run) -> None:
    """A message is put into another queue, or back into its own."""
    some = run.some()
    if some is not None:
        tenant = run.draw.choice((None, "t1", "t2", "shop"))
        rebind_at(run, some[0], tenant, due=run.draw.random() < 0.6)


def rebind_at(run: Run, position: int, tenant: str | None, *, due: bool) -> None:
    """Have this message put into a queue of that tenant, and be due; or be due as it was."""
    message = run.model.messages[run.known[position]]
    record = message.as_it_is
    queue = QueueName(record.queue.domain, tenant, "spring" if tenant == "shop" else None)
    now = _now(run)
    waiting = tuple(sorted(message.waiting))
    spent = run.model.spent(record.id)
    run.record(
        position, RebindRecord(record, now, spent, waiting, queue, now if due else None, samples.REBIND)
    )
    run.kinds["messages rebound"] += 1


def flush(run: Run) -> None:
    """A message is due now."""
    some = run.some()
    if some is not None:
        flush_at(run, some[0])


def flush_at(run: Run, position: int) -> None:
    """Have this message be due."""
    message = run.model.messages[run.known[position]]
    record, now = message.as_it_is, _now(run)
    waiting, spent = tuple(sorted(message.waiting)), run.model.spent(record.id)
    run.record(position, FlushRecord(record, now, spent, waiting, now, samples.FLUSH))
    run.kinds["messages flushed"] += 1


def remove(run: Run) -> None:
    """Some recipients of a message are taken out."""
    some = run.some()
    if some is not None:
        remove_at(run, some[0], some[2])


def remove_at(run: Run, position: int, recipients: tuple[int, ...]) -> None:
    """Have these recipients of this message taken out."""
    record = run.model.messages[run.known[position]].as_it_is
    spent, order = run.model.spent(record.id), run.draw.choice((samples.BOUNCE, samples.DELETE))
    run.record(
        position, RemovalRecord(record, _now(run), spent, "mx.a.test", recipients, samples.LATER, order)
    )
    run.kinds["recipients removed"] += 1

"""What orders did to mail, and when its senders want it delivered, in one process, the next, and after it was copied forward."""

from __future__ import annotations

import msgspec
import pytest

from penstock.mail.ids import MessageId
from penstock.mail.ports import LogPosition
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, Move, RebindRecord, SpoolRecord, StoredMessage, Verdict
from penstock.spool.arrivals import Arrival
from tests.spool import samples
from tests.spool.bench import Bench
from tests.spool.test_moves import hold, settle, turn

ROUNDS = ("at once", "in the next process", "copied forward", "copied forward, in the next process")


def stored(record: MessageRecord) -> tuple[Bench, int]:
    """A spool with one message, and its position."""
    bench = Bench()
    bench.store(record)
    bench.settle()
    return bench, bench.position_of(record)


def later(bench: Bench, when: str) -> tuple[Bench, int]:
    """The spool then, in which one message is queued, and its position."""
    if "copied" in when:
        turn(bench)
        assert bench.spool.counts.copied and bench.spool.counts.removed_segments
    if "process" in when:
        bench = bench.restart()
    (position,) = bench.spool._queued
    return bench, position


def in_queue(record: MessageRecord, queue: QueueName) -> MessageRecord:
    """The message there."""
    return msgspec.structs.replace(record, queue=queue)


def told(bench: Bench) -> list[SpoolRecord]:
    """What whoever makes events reads out of the log."""
    return [record for record, _ in bench.spool.history(LogPosition(0, 0)) if record is not None]


@pytest.mark.parametrize("when", ROUNDS)
def test_a_message_is_in_the_queue_that_it_was_put_into_last(when: str) -> None:
    """Attempts and age are as they were, and it is due when the order says."""
    record = samples.message(1, recipients=2)
    bench, position = stored(record)
    bench.spool.record_rebind(position, samples.rebind(record, QueueName("a.test", "first"), recipients=2))
    moved = in_queue(record, QueueName("a.test", "first"))
    bench.spool.record_rebind(position, samples.rebind(moved, samples.OTHER, due=None, recipients=2))
    settle(bench)
    bench, position = later(bench, when)
    assert bench.read(position) == StoredMessage(in_queue(record, samples.OTHER), (0, 1), 2)
    row = bench.spool._queued.message(position)
    assert (row.queue, row.created, row.due) == (samples.OTHER, record.created, 1_700_000_400.0)
    if "process" in when:
        (queued,) = bench.queued
        assert (queued.queue, queued.attempts, queued.due) == (samples.OTHER, 2, 1_700_000_400.0)


@pytest.mark.parametrize("when", ROUNDS)
def test_an_outcome_tells_in_which_queue_its_message_was(when: str) -> None:
    """What is read out of the log is what was told at the time: before the order, by it, and after."""
    record = samples.message(1, recipients=4)
    bench, position = stored(record)
    bench.spool.record_attempt(position, samples.attempt(record, 1, (0, Verdict.ACCEPTED)))
    bench.spool.record_rebind(position, samples.rebind(record))
    settle(bench)
    before = list(bench.records)
    bench, position = later(bench, when)
    found = bench.read(position)
    assert isinstance(found, StoredMessage)
    assert found.record.queue == samples.OTHER
    bench.spool.record_attempt(position, samples.attempt(found.record, 3, (1, Verdict.ACCEPTED)))
    bench.spool.record_flush(position, samples.flush(found.record))
    bench.spool.record_expiration(position, samples.expiration(found.record, 2))
    bench.spool.record_removal(position, samples.removal(found.record, 3))
    settle(bench)
    assert len(bench.spool) == 0
    if "copied" not in when:
        assert told(bench) == before + (bench.records if "process" in when else bench.records[len(before) :])
    last = told(bench)[-4:]
    assert last == bench.records[-4:]
    assert [item.message.queue for item in last if not isinstance(item, RebindRecord)] == [samples.OTHER] * 4


def test_a_message_can_be_put_back_into_the_queue_that_it_came_from() -> None:
    """The last word counts, over restarts."""
    record = samples.message(1)
    bench, position = stored(record)
    bench.spool.record_rebind(position, samples.rebind(record))
    there = in_queue(record, samples.OTHER)
    bench.spool.record_rebind(position, samples.rebind(there, record.queue))
    settle(bench)
    bench, position = later(bench, "in the next process")
    assert bench.read(position) == StoredMessage(record, (0,), 2)
    assert [item.message.queue for item in told(bench) if isinstance(item, RebindRecord)] == [
        record.queue,
        samples.OTHER,
    ]


@pytest.mark.parametrize("when", ROUNDS)
def test_a_message_that_was_flushed_is_due_then(when: str) -> None:
    """Until its next attempt says otherwise."""
    record = samples.message(1)
    bench, position = stored(record)
    bench.spool.record_attempt(
        position, samples.attempt(record, 1, (0, Verdict.DEFERRED), due=1_700_009_000.0)
    )
    bench.spool.record_flush(position, samples.flush(record, due=1_700_000_600.0))
    settle(bench)
    bench, position = later(bench, when)
    assert bench.spool._queued.message(position).due == 1_700_000_600.0
    bench.spool.record_attempt(
        position, samples.attempt(record, 3, (0, Verdict.DEFERRED), due=1_700_019_000.0)
    )
    settle(bench)
    assert bench.restart().queued[0].due == 1_700_019_000.0


def test_what_was_taken_out_is_gone_and_the_rest_waits() -> None:
    """One recipient deleted, one bounced, one left; what comes for a message that is settled is dropped."""
    record = samples.message(1, recipients=3)
    bench, position = stored(record)
    bench.spool.record_removal(position, samples.removal(record, 0, order=samples.DELETE))
    bench.spool.record_removal(position, samples.removal(record, 2))
    settle(bench)
    assert bench.read(position) == StoredMessage(record, (1,), 2)
    bench, position = later(bench, "in the next process")
    assert bench.read(position) == StoredMessage(record, (1,), 2)
    bench.spool.record_removal(position, samples.removal(record, 1))
    bench.spool.record_flush(position, samples.flush(record))
    settle(bench)
    assert len(bench.records) == 1
    assert bench.restart().queued == []


@pytest.mark.parametrize("is_copied", [False, True])
@pytest.mark.parametrize("is_sealed", [False, True])
def test_when_a_message_may_be_delivered_is_told_to_the_next_process(
    is_copied: bool, is_sealed: bool
) -> None:
    """From the index of its segment, or from its frame; of a transaction, to the message that has it."""
    bench = Bench()
    timed = msgspec.structs.replace(samples.message(1), schedule=samples.SCHEDULE)
    bench.store(samples.message(2), timed)
    bench.settle()
    first = min(bench.spool._queued)
    bench.spool.record_attempt(first, samples.attempt(samples.message(2), 1, (0, Verdict.ACCEPTED)))
    settle(bench)
    bench, _ = later(bench, "copied" if is_copied else "at once")
    if is_sealed:
        bench.spool.finish()
    again = bench.restart()
    assert [item.schedule for item in again.queued] == [samples.SCHEDULE]
    assert again.read(again.queued[0].position) == StoredMessage(timed, (0,), 0)
    assert not again.spool._queued.schedules, "told once, and not kept"


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_message_that_comes_from_another_lane_keeps_its_schedule_and_its_queue(is_killed: bool) -> None:
    """The one that it was put into, by which the lane that takes it makes its events."""
    record = msgspec.structs.replace(samples.message(1), schedule=samples.SCHEDULE)
    giving, position = stored(record)
    giving.spool.record_rebind(position, samples.rebind(record))
    settle(giving)
    found = giving.read(position)
    assert isinstance(found, StoredMessage)
    move = Move("1", MessageId("9" * 32), 0)
    offered: Arrival = giving.spool.departures.offered(position, found, move)
    taking = Bench()
    hold(taking, offered)
    if is_killed:
        taking = taking.restart()
    ((held, _),) = taking.spool.arrivals.held()
    taking.spool.arrivals.release(held, lambda: None)
    message = taking.spool.arrivals.message(held)
    assert (message.queue, message.schedule, message.due) == (
        samples.OTHER,
        samples.SCHEDULE,
        1_700_000_400.0,
    )
    settle(taking)
    assert taking.read(held) == StoredMessage(in_queue(record, samples.OTHER), (0,), 2)


def test_a_directive_is_a_note() -> None:
    """Told in its turn, now and when the log is read again; nothing is queued by it."""
    bench = Bench()
    bench.spool.note(samples.DIRECTIVE)
    settle(bench)
    assert bench.records == [samples.DIRECTIVE]
    again = bench.restart()
    assert told(again) == [samples.DIRECTIVE]
    assert again.queued == []


def test_names_of_queues_that_nobody_is_in_any_more_are_forgotten() -> None:
    """A million orders leave no names behind."""
    record = samples.message(1)
    bench, position = stored(record)
    for number in range(50):
        bench.spool.record_rebind(position, samples.rebind(record, QueueName("a.test", f"t{number}")))
    queued = bench.spool._queued
    assert len(queued.queue_names) <= 2
    settle(bench)
    bench.spool.record_removal(position, samples.removal(record, 0))
    settle(bench)
    assert not queued.rebound
    assert set(queued.queue_names) == {None}

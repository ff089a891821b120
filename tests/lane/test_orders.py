"""What orders do to mail is written down before it is done, whoever has to be read from the disk for it."""

from __future__ import annotations

import pytest

from penstock.mail.directive import Criteria, Order, Rebinding, Sweep, SweepAction
from penstock.mail.ports import SpoolError, Unreadable
from penstock.mail.queue_name import QueueName
from penstock.mail.records import FlushRecord, OrderRecord, RebindRecord, RemovalRecord
from penstock.queueing.rows import WAITING
from tests.lane.yard import Yard, in_yard

THERE = QueueName("b.test", "shop")


def sweep(yard: Yard, action: SweepAction, **order: object) -> Sweep:
    """An order about all that is queued, given now."""
    given = Order("s1", action, "why not", "ann", **order)  # type: ignore[arg-type]
    found = Sweep(given, Criteria(), yard.clock.wall())
    yard.lane.scheduler.sweep(found)
    yard.lane.work_done()
    return found


def done(yard: Yard) -> list[OrderRecord]:
    """What was written down of orders."""
    return [
        record for record in yard.records if isinstance(record, RemovalRecord | RebindRecord | FlushRecord)
    ]


@pytest.mark.parametrize("is_cold", [False, True], ids=["at once", "from the disk"])
@pytest.mark.parametrize("action", [SweepAction.BOUNCE, SweepAction.DELETE])
def test_what_is_taken_out_is_recorded_for_those_who_wait(action: SweepAction, *, is_cold: bool) -> None:
    """With the reply that its events will have; then it is gone from the scheduler and from the spool."""

    async def test(yard: Yard) -> None:
        waiting = yard.queued(due=600.0)
        yard.lane.restore([waiting])
        yard.spool.is_cold = is_cold
        order = sweep(yard, action).order
        await yard.settle()
        while is_cold and yard.spool.fetches:
            assert len(yard.lane.scheduler) == 1
            yard.spool.answer_fetch()
            await yard.settle()
        (record,) = done(yard)
        assert isinstance(record, RemovalRecord)
        assert (record.recipients, record.attempts, record.order) == ((0,), 2, order)
        assert (record.reply.code, str(record.reply.enhanced)) == (551, "5.7.1")
        assert "why not" in record.reply.text
        assert len(yard.spool) == len(yard.lane.scheduler) == 0
        assert not yard.attempts

    in_yard(test)


def test_a_message_that_is_rebound_is_sent_as_one_of_its_new_queue() -> None:
    """Its attempts are of the queue in which it was then."""

    async def test(yard: Yard) -> None:
        yard.lane.restore([yard.queued("b.test", due=600.0)])
        await yard.settle()
        order = sweep(yard, SweepAction.REBIND, rebinding=Rebinding(tenant="shop")).order
        await yard.settle()
        await yard.advance(600.0)
        (record,) = done(yard)
        assert isinstance(record, RebindRecord)
        assert (record.message.queue, record.queue, record.recipients) == (QueueName("b.test"), THERE, (0,))
        assert (record.order, record.attempts) == (order, 2)
        (attempt,) = yard.attempts
        assert (attempt.message.queue, attempt.attempts) == (THERE, 3)
        assert yard.accepted == 1

    in_yard(test)


def test_a_message_that_is_flushed_is_sent_now() -> None:
    """That it is due is written down first, with the instant."""

    async def test(yard: Yard) -> None:
        yard.lane.restore([yard.queued(due=600.0)])
        await yard.settle()
        assert not yard.attempts
        sweep(yard, SweepAction.FLUSH)
        await yard.settle()
        (record,) = done(yard)
        assert isinstance(record, FlushRecord)
        assert record.due == pytest.approx(yard.clock.wall(), abs=1.0)
        assert yard.accepted == 1
        assert yard.records.index(record) < yard.records.index(yard.attempts[0])

    in_yard(test)


@pytest.mark.parametrize("action", list(SweepAction))
def test_mail_that_is_found_damaged_is_gone_whatever_was_to_be_done_to_it(action: SweepAction) -> None:
    """The spool has written down that it is lost; no order is recorded of it."""

    async def test(yard: Yard) -> None:
        message = yard.queued("b.test", due=600.0)
        yard.lane.restore([message])
        yard.spool.bad[message.position] = Unreadable("damaged")
        sweep(yard, action, rebinding=Rebinding(tenant="shop"))
        await yard.settle()
        assert not done(yard)
        assert len(yard.lane.scheduler) == 0
        assert yard.lane.scheduler.sweeps["s1"].is_over

    in_yard(test)


@pytest.mark.parametrize("action", [SweepAction.BOUNCE, SweepAction.DELETE, SweepAction.REBIND])
def test_mail_that_cannot_be_read_now_gets_the_order_later(action: SweepAction) -> None:
    """It is neither forgotten nor done without a record, and nobody asks for it again and again meanwhile."""

    async def test(yard: Yard) -> None:
        message = yard.queued("b.test", due=1800.0)
        yard.lane.restore([message])
        yard.spool.bad[message.position] = SpoolError("not now")
        sweep(yard, action, rebinding=Rebinding(tenant="shop"))
        await yard.settle()
        assert not done(yard)
        assert list(yard.lane.scheduler.rows.state).count(WAITING) == 1
        yard.spool.bad.clear()
        await yard.advance(61.0)
        assert len(done(yard)) == 1
        assert yard.lane.scheduler.sweeps["s1"].is_over

    in_yard(test)


def test_mail_that_cannot_be_read_now_is_flushed_when_it_can() -> None:
    """It is sent all the same, as soon as it can be read."""

    async def test(yard: Yard) -> None:
        message = yard.queued(due=1800.0)
        yard.lane.restore([message])
        yard.spool.bad[message.position] = SpoolError("not now")
        sweep(yard, SweepAction.FLUSH)
        await yard.settle()
        yard.spool.bad.clear()
        await yard.advance(61.0)
        assert yard.accepted == 1
        assert yard.lane.scheduler.sweeps["s1"].is_over

    in_yard(test)


def test_nothing_is_done_while_the_spool_can_record_nothing() -> None:
    """When it can again, it is."""

    async def test(yard: Yard) -> None:
        yard.lane.restore([yard.queued(due=1800.0) for _ in range(3)])
        yard.spool.become(can_record=False)
        sweep(yard, SweepAction.DELETE)
        await yard.settle()
        assert not done(yard) and len(yard.lane.scheduler) == 3
        yard.spool.become()
        await yard.settle()
        assert len(done(yard)) == 3 and len(yard.lane.scheduler) == 0

    in_yard(test)

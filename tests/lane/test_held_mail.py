"""Directives and the lane: what is suspended does not begin, at whatever point a message is found."""

from __future__ import annotations

from penstock.mail.directive import Action, Criteria, Directive
from penstock.mail.duration import Seconds, WallTime
from tests.lane.yard import Yard, in_yard


def suspend(yard: Yard, *, seconds: float = 3500.0, **criteria: str) -> None:
    """Suspend what matches."""
    now = yard.clock.wall()
    directive = Directive(
        "one", Action.SUSPEND, "maintenance", now, WallTime(now + seconds), Criteria(**criteria)
    )
    yard.lane.scheduler.direct(directive, now)
    yard.lane.work_done()


def release(yard: Yard) -> None:
    """It is over."""
    yard.lane.scheduler.cancel("one", yard.clock.wall())
    yard.lane.work_done()


def test_a_message_that_is_being_read_does_not_begin_after_the_answer() -> None:
    """It is put back, has spent nothing, and goes once it may; its connection sends others' mail meanwhile."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        yard.send("a.test")
        await yard.settle()
        suspend(yard, domain="a.test")
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 0 and yard.in_flight == 0 and not yard.attempts
        yard.spool.is_cold = False
        yard.send("b.test")
        await yard.settle()
        assert yard.accepted == 1
        release(yard)
        await yard.settle()
        assert yard.accepted == 2 and len(yard.spool) == 0
        assert [record.attempts for record in yard.attempts] == [1, 1]

    in_yard(test)


def test_a_message_whose_time_is_over_when_it_has_been_read_is_given_up() -> None:
    """Not begun: it expires in every state."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        yard.send("a.test")
        await yard.settle()
        yard.clock.advance(Seconds(3600.0))
        yard.spool.answer_fetch()
        await yard.settle()
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 0 and not yard.attempts
        assert len(yard.expirations) == 1 and len(yard.spool) == 0

    in_yard(test)


def test_a_message_of_many_recipients_stops_between_two_transactions() -> None:
    """Those who had none yet wait with no attempt spent; those who had one are settled."""

    async def test(yard: Yard) -> None:
        yard.loop.is_silent = True
        yard.send("a.test", tuple(f"u{number}" for number in range(150)))
        await yard.settle()
        suspend(yard, domain="a.test")
        yard.loop.is_silent = False
        (peer,) = yard.peers
        peer.say(b"250 2.0.0 taken\r\n")
        await yard.settle()
        assert [len(record.outcomes) for record in yard.attempts] == [100] and yard.in_flight == 0
        await yard.advance(60.0)
        release(yard)
        await yard.settle()
        assert [(record.attempts, len(record.outcomes)) for record in yard.attempts] == [(1, 100), (1, 50)]
        assert len(yard.spool) == 0

    in_yard(test)


def test_mail_that_comes_in_while_it_is_suspended_asks_for_nothing() -> None:
    """No route, no connection; on release all of it goes at once."""

    async def test(yard: Yard) -> None:
        suspend(yard, domain="a.test")
        for _ in range(20):
            yard.send("a.test")
        await yard.settle()
        assert not yard.peers and yard.lane.route_hits + yard.lane.route_misses == 0
        await yard.advance(600.0)
        release(yard)
        await yard.settle()
        assert yard.accepted == 20
        assert {record.attempts for record in yard.attempts} == {1}

    in_yard(test)


def test_a_suspension_that_ends_by_itself_needs_nobody() -> None:
    """The lane's timer is set for it."""

    async def test(yard: Yard) -> None:
        now = yard.clock.wall()
        yard.lane.restore([yard.queued(due=500.0)])
        suspend(yard, domain="a.test", seconds=600.0)
        await yard.advance(599.9)
        assert yard.clock.wall() < now + 600.0 and yard.accepted == 0
        await yard.advance(0.2)
        assert yard.accepted == 1

    in_yard(test)

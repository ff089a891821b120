"""Mail that has to be read from the disk before it is sent or given up: connections wait for it, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from penstock.mail.duration import WallTime
from penstock.mail.ports import SpoolError, Unreadable
from tests.lane.yard import Yard, in_yard

FETCHES = 64
LATER = SpoolError("input/output error")
NEVER = Unreadable("its checksum is wrong")


def test_a_connection_waits_for_its_message_and_the_others_go_on() -> None:
    """Neither idle nor lost meanwhile, however long it takes; the message is sent once."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        cold = yard.send("a.test")
        await yard.settle()
        assert yard.spool.fetches == [cold]
        yard.spool.is_cold = False
        yard.send("b.test")
        await yard.settle()
        assert yard.accepted == 1
        await yard.advance(60.0)  # far beyond idle_timeout
        assert [peer.address for peer in yard.peers] == ["192.0.2.1"]
        assert yard.in_flight == 1
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 2
        assert len(yard.spool) == 0
        assert yard.spool.fetched == [cold]

    in_yard(test)


def test_many_connections_fetch_at_once_and_no_more_than_there_are() -> None:
    """A backlog is read ahead by the connections that send it."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        positions = [yard.send() for _ in range(200)]
        await yard.settle()
        assert yard.spool.fetches == positions[:3]
        for position in reversed(yard.spool.fetches):
            yard.spool.answer_fetch(position)
        for _ in range(200):
            await yard.settle()
            while yard.spool.fetches:
                assert len(yard.spool.fetches) <= 3
                yard.spool.answer_fetch()
        assert yard.accepted == 200
        assert yard.spool.fetched == positions

    in_yard(test)


@pytest.mark.parametrize("end", ["closed", "refused"])
def test_a_connection_that_ends_gives_its_message_back(end: str) -> None:
    """It goes by another one, has spent no attempt, and what comes from the disk for the first is dropped."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        yard.send()
        await yard.settle()
        (peer,) = yard.peers
        if end == "closed":
            peer.close()
        else:
            peer.say(b"421 4.3.2 going down\r\n")
        await yard.settle()
        assert len(yard.spool.fetches) == 2
        assert yard.in_flight == 1
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 0
        yard.spool.answer_fetch()
        await yard.settle()
        (attempt,) = yard.attempts
        assert (yard.accepted, attempt.attempts) == (1, 1)

    in_yard(test)


def test_a_stop_gives_back_what_is_being_fetched() -> None:
    """Its connections say QUIT at once, and the message waits for the next start, as it was."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        yard.send()
        await yard.settle()
        (peer,) = yard.peers
        yard.loop.is_silent = True
        stopping = asyncio.ensure_future(yard.lane.stop(60.0))
        await yard.settle()
        assert peer.commands[-1] == "QUIT"
        assert yard.in_flight == 0
        peer.close()
        await stopping
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 0
        assert not yard.attempts
        assert len(yard.spool) == len(yard.lane.scheduler) == 1

    in_yard(test)


@pytest.mark.parametrize("is_cold", [False, True], ids=["at once", "later"])
def test_what_is_damaged_is_forgotten_and_the_next_message_is_sent(*, is_cold: bool) -> None:
    """The spool has written down that it is lost; nothing else is."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = is_cold
        bad = yard.message()
        (position,) = yard.store(bad)
        if not is_cold:
            yard.spool.bad[position] = NEVER
        yard.lane.submit([(position, bad)])
        await yard.settle()
        if is_cold:
            yard.spool.answer_fetch(position, NEVER)
            yard.spool.is_cold = False
        yard.send()
        await yard.settle()
        assert yard.accepted == 1
        assert len(yard.attempts) == 1
        assert len(yard.lane.scheduler) == 0

    in_yard(test)


@pytest.mark.parametrize("is_cold", [False, True], ids=["at once", "later"])
def test_what_cannot_be_read_now_is_tried_again(*, is_cold: bool) -> None:
    """At its next retry; nothing is recorded."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = is_cold
        record = yard.message()
        (position,) = yard.store(record)
        if not is_cold:
            yard.spool.bad[position] = LATER
        yard.lane.submit([(position, record)])
        await yard.settle()
        if is_cold:
            yard.spool.answer_fetch(position, LATER)
            yard.spool.is_cold = False
        yard.spool.bad.clear()
        await yard.advance(599.0)
        assert not yard.attempts
        await yard.advance(2.0)
        assert yard.accepted == 1

    in_yard(test)


def test_expired_mail_is_read_a_bounded_number_at_a_time_and_holds_up_nothing() -> None:
    """New mail is routed, connected and sent meanwhile; every expired one is recorded once."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        old = [yard.queued(age=4000.0) for _ in range(300)]
        yard.lane.restore(old)
        await yard.settle()
        assert yard.spool.fetches == [message.position for message in old[:FETCHES]]
        yard.spool.is_cold = False
        yard.send("b.test")
        await yard.settle()
        assert yard.accepted == 1
        assert len(yard.lane.scheduler) == 300
        yard.spool.is_cold = True
        while yard.spool.fetches:
            yard.spool.answer_fetch()
            assert len(yard.spool.fetches) <= FETCHES
            await asyncio.sleep(0)
        assert yard.spool.fetched == [message.position for message in old]
        assert len(yard.expirations) == 300
        assert len(yard.spool) == len(yard.lane.scheduler) == 0

    in_yard(test)


def test_mail_that_can_go_nowhere_is_read_before_it_fails() -> None:
    """With the reply that is the answer for its domain."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        yard.send("nowhere.test")
        await yard.settle()
        assert not yard.attempts
        yard.spool.answer_fetch()
        (attempt,) = yard.attempts
        assert attempt.outcomes[0].reply.code == 550
        assert len(yard.spool) == len(yard.lane.scheduler) == 0

    in_yard(test)


@pytest.mark.parametrize(("fault", "is_later"), [(NEVER, False), (LATER, True)], ids=["never", "later"])
@pytest.mark.parametrize("is_cold", [False, True], ids=["at once", "from the disk"])
def test_expired_mail_that_cannot_be_read_ends_later_or_has_ended(
    fault: SpoolError, *, is_later: bool, is_cold: bool
) -> None:
    """Damaged mail is the spool's to record; a disk that fails for now is asked again, and never forgotten."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = is_cold
        old = yard.queued(age=4000.0)
        if not is_cold:
            yard.spool.bad[old.position] = fault
        yard.lane.restore([old])
        await yard.settle()
        if is_cold:
            yard.spool.answer_fetch(old.position, fault)
        assert len(yard.lane.scheduler) == int(is_later)
        yard.spool.bad.clear()
        yard.spool.is_cold = False
        await yard.advance(61.0)
        assert len(yard.expirations) == int(is_later)
        assert len(yard.lane.scheduler) == 0

    in_yard(test)


def test_a_stop_records_no_end_any_more() -> None:
    """What is being read then is for the next start."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        yard.lane.restore([yard.queued(age=4000.0)])
        await yard.settle()
        stopping = asyncio.ensure_future(yard.lane.stop(60.0))
        await yard.settle()
        await stopping
        yard.spool.answer_fetch()
        await yard.settle()
        assert not yard.expirations
        assert len(yard.spool) == 1

    in_yard(test)


def test_mail_from_before_the_start_comes_in_the_order_in_which_it_was_due() -> None:
    """Overdue mail at once, as the limits of its path let it; the rest at its time, with the attempts that it has spent."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        late, later, latest, never_tried, ahead = (
            yard.queued(age=3000.0, due=-500.0),
            yard.queued(age=3000.0, due=-400.0),
            yard.queued(age=3000.0, due=-300.0),
            yard.queued(age=450.0),
            yard.queued(age=3000.0, due=100.0),
        )
        yard.lane.restore([latest, ahead, never_tried, later, late])
        await yard.settle()
        while yard.spool.fetches:
            yard.spool.answer_fetch()
            await yard.settle()
        assert yard.spool.fetched == [message.position for message in (late, never_tried, later, latest)]
        assert yard.accepted == 4
        assert [attempt.attempts for attempt in yard.attempts] == [3, 1, 3, 3]
        await yard.advance(101.0)
        assert yard.spool.fetches == [ahead.position]
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 5

    in_yard(test)


def test_mail_whose_retry_is_beyond_its_time_ends_in_its_time() -> None:
    """A due time from another configuration does not keep it longer."""

    async def test(yard: Yard) -> None:
        yard.lane.restore([yard.queued(age=3500.0, due=5000.0)])
        await yard.advance(99.0)
        assert not yard.expirations
        await yard.advance(2.0)
        (expiration,) = yard.expirations
        assert expiration.time <= WallTime(yard.clock.wall())
        assert expiration.attempts == 2
        assert not yard.loop.peers

    in_yard(test)

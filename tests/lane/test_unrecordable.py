"""While outcomes cannot be recorded nothing is delivered, for it might be delivered again; when they can, everything goes on by itself."""

from __future__ import annotations

from penstock.mail.records import Verdict
from tests.lane.yard import Yard, in_yard


def test_nothing_begins_and_what_is_in_flight_ends() -> None:
    """D6: its outcome is given to the spool; the connection gets no other message, and the mail says what holds it."""

    async def test(yard: Yard) -> None:
        yard.loop.is_silent = True
        yard.send()
        await yard.settle()
        (peer,) = yard.peers
        assert peer.commands[-1] == "DATA"
        yard.spool.become(has_room=False, can_record=False)
        for domain in ("a.test", "a.test", "b.test"):
            yard.send(domain)
        await yard.settle()
        peer.say(b"250 2.0.0 taken\r\n")
        await yard.settle()
        assert len(yard.attempts) == 1
        assert len(yard.loop.peers) == 1
        assert peer.commands.count("DATA") == 1
        hold = yard.lane.scheduler.hold
        assert hold is not None
        assert (hold.gate, hold.reason) == ("spool", "outcomes cannot be recorded")
        yard.loop.is_silent = False
        yard.spool.become()
        await yard.settle()
        assert yard.accepted == 3
        assert len(yard.spool) == 0

    in_yard(test)


def test_an_idle_connection_and_mail_do_not_chase_each_other() -> None:
    """Nothing turns while all is held, and nothing is asked again by the clock."""

    async def test(yard: Yard) -> None:
        yard.send()
        await yard.settle()
        assert len(yard.peers) == 1
        yard.spool.become(can_record=False)
        yard.send()
        yard.lane.restore([yard.queued(age=4000.0)])
        await yard.settle()
        assert yard.is_quiet
        assert yard.lane.scheduler.next_wake() is None
        await yard.advance(3600.0)
        assert yard.is_quiet
        assert (yard.accepted, len(yard.expirations)) == (1, 0)
        yard.spool.become()
        await yard.settle()
        # the message has become too old meanwhile
        assert (yard.accepted, len(yard.expirations)) == (1, 2)

    in_yard(test)


def test_a_spool_that_is_ill_from_the_start_lets_nothing_begin() -> None:
    """Mail is taken over and waits."""

    async def test(yard: Yard) -> None:
        yard.lane.restore([yard.queued(), yard.queued(age=4000.0)])
        yard.send("nowhere.test")
        await yard.settle()
        assert not yard.loop.peers
        assert not yard.attempts
        assert not yard.expirations
        yard.spool.become()
        await yard.settle()
        assert (yard.accepted, len(yard.attempts), len(yard.expirations)) == (1, 2, 1)

    in_yard(test, can_record=False)


def test_what_comes_from_the_disk_meanwhile_is_not_begun() -> None:
    """A message to be sent is given back, one that has expired is not recorded; both are read again."""

    async def test(yard: Yard) -> None:
        yard.spool.is_cold = True
        sent, expired = yard.send(), yard.queued(age=4000.0)
        yard.lane.restore([expired])
        await yard.settle()
        assert sorted(yard.spool.fetches) == [sent, expired.position]
        yard.spool.become(can_record=False)
        yard.spool.answer_fetch()
        yard.spool.answer_fetch()
        await yard.settle()
        assert yard.accepted == 0
        assert yard.in_flight == 0
        assert not yard.expirations
        assert yard.is_quiet
        yard.spool.is_cold = False
        yard.spool.become()
        await yard.settle()
        assert (yard.accepted, len(yard.expirations)) == (1, 1)
        assert yard.attempts[0].attempts == 1

    in_yard(test)


def test_a_message_in_several_transactions_stops_between_them() -> None:
    """Those who have it have it; the others get it afterwards, and nobody twice."""

    async def test(yard: Yard) -> None:
        yard.loop.is_silent = True
        yard.send(recipients=tuple(f"to{number}" for number in range(150)))
        await yard.settle()
        (peer,) = yard.peers
        yard.spool.become(can_record=False)
        yard.loop.is_silent = False
        peer.say(b"250 2.0.0 taken\r\n")
        await yard.settle()
        assert [len(attempt.outcomes) for attempt in yard.attempts] == [100]
        assert yard.in_flight == 0
        yard.spool.become()
        await yard.settle()
        assert [len(attempt.outcomes) for attempt in yard.attempts] == [100, 50]
        told = [line for peer in yard.loop.peers for line in peer.commands if line.startswith("RCPT")]
        assert len(told) == len(set(told)) == 150

    in_yard(test)


def test_connections_that_wait_for_a_slot_are_not_opened() -> None:
    """Not even when one becomes free; afterwards they are."""

    async def test(yard: Yard) -> None:
        yard.send("a.test")
        await yard.settle()
        yard.send("b.test")
        await yard.settle()
        assert len(yard.loop.peers) == 1
        yard.spool.become(can_record=False)
        await yard.advance(6.0)  # idle_timeout: the only slot is free
        assert not yard.peers
        assert len(yard.loop.peers) == 1
        yard.spool.become()
        await yard.settle()
        assert yard.accepted == 2

    in_yard(test, connections=1)


def test_a_message_given_up_after_its_last_attempt_names_those_who_wait() -> None:
    """Recipients that were accepted are not among them; nothing is read back for that."""

    async def test(yard: Yard) -> None:
        message = yard.queued()
        record = yard.message(recipients=("one", "later1", "two", "later2"))
        (position,) = yard.store(record)
        old = message.__class__(position, record.queue, yard.clock.wall(), 10, 4, 4, None)
        yard.lane.restore([old])
        await yard.settle()
        (attempt,) = [item for item in yard.attempts if len(item.outcomes) == 4]
        assert [item.verdict for item in attempt.outcomes] == [
            Verdict.ACCEPTED,
            Verdict.DEFERRED,
            Verdict.ACCEPTED,
            Verdict.DEFERRED,
        ]
        (expiration,) = yard.expirations
        assert expiration.recipients == (1, 3)
        assert len(yard.lane.scheduler) == 0

    in_yard(test)

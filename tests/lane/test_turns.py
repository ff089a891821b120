"""The lane's share of a round of the loop: work beyond it waits, in order, and others have their turn in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock.lane.turns import ROUND, Turns
from penstock.mail.records import Verdict
from penstock.sim.clock import FakeClock
from tests.lane.yard import Yard, in_yard


def in_loop(scene: Callable[[FakeClock, Turns], Awaitable[None]]) -> None:
    """Run a scene with a clock that stands still."""

    async def run() -> None:
        clock = FakeClock()
        await scene(clock, Turns(clock))

    asyncio.run(run())


def test_there_is_time_until_the_round_is_used_up() -> None:
    """And again in the next one."""

    async def scene(clock: FakeClock, turns: Turns) -> None:
        assert turns.has_time()
        clock.advance(ROUND * 0.9)
        assert turns.has_time()
        clock.advance(ROUND * 0.2)
        assert not turns.has_time()
        await asyncio.sleep(0)
        assert turns.has_time()

    in_loop(scene)


def test_what_waits_is_done_in_order_and_before_what_comes_later() -> None:
    """Each round takes as much of it as fits; between two rounds the others on the loop run."""

    async def scene(clock: FakeClock, turns: Turns) -> None:
        done: list[object] = []

        def work(number: int) -> None:
            clock.advance(ROUND * 0.4)
            done.append(number)

        assert turns.has_time()
        for number in range(7):
            turns.wait(lambda number=number: work(number))
        for _ in range(3):
            await asyncio.sleep(0)
            done.append("others")
            assert turns.has_time() == (len(done) >= 10)
        assert done == [0, 1, 2, "others", 3, 4, 5, "others", 6, "others"]

    in_loop(scene)


class NoTime(Turns):
    """The lane has never time at once: all of its work waits, and is done when the test says so."""

    def has_time(self) -> bool:
        """Never."""
        return False

    def do_all(self) -> None:
        """What waits now."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for work in waiting:
            work()


async def until_nothing_waits(yard: Yard, turns: NoTime) -> None:
    """Give it its turns."""
    await yard.settle()
    while turns._waiting:
        turns.do_all()
        await yard.settle()


def late(yard: Yard) -> NoTime:
    """Make all work of this yard's lane wait."""
    turns = NoTime(yard.clock)
    yard.lane.turns = turns
    yard.lane._fetcher._turns = turns
    return turns


@pytest.mark.parametrize("is_cold", [False, True])
def test_mail_is_delivered_when_everything_waits(is_cold: bool) -> None:
    """Replies, and messages from the disk."""

    async def test(yard: Yard) -> None:
        turns = late(yard)
        yard.spool.is_cold = is_cold
        for _ in range(10):
            yard.send()
        await until_nothing_waits(yard, turns)
        while yard.spool.fetches:
            yard.spool.answer_fetch()
            await until_nothing_waits(yard, turns)
        assert yard.accepted == len(yard.attempts) == 10
        yard.lane.turns = Turns(yard.clock)

    in_yard(test)


def test_what_a_peer_said_before_it_went_counts() -> None:
    """Its reply is in memory and waits when the connection is lost: the message is delivered, once."""

    async def test(yard: Yard) -> None:
        yard.send()
        await yard.settle()
        turns = late(yard)
        yard.send()
        await until_nothing_waits(yard, turns)  # idle, and offered the second message
        while yard.accepted < 2:
            turns.do_all()
            await yard.settle()
        (peer,) = yard.peers
        peer.close()
        await yard.settle()
        assert [attempt.outcomes[0].verdict for attempt in yard.attempts] == [Verdict.ACCEPTED] * 2
        turns.do_all()
        yard.lane.turns = Turns(yard.clock)

    in_yard(test)


def test_what_waits_when_its_connection_is_aborted_counts_and_asks_for_no_more() -> None:
    """The peer has taken the message and said so; that we gave the connection up before we came to it changes nothing."""

    async def test(yard: Yard) -> None:
        yard.send()
        await yard.settle()
        turns = late(yard)
        yard.send()
        await until_nothing_waits_but(yard, turns, lambda: yard.accepted == 2)
        (peer,) = yard.peers
        connection = peer.connection
        connection.data_received(b"250 2.0.0 nobody asked\r\n")
        assert peer.is_paused
        peer.is_over = True  # aborted: it is told of that a moment later
        turns.do_all()
        assert peer.is_paused, "a transport that is closing was asked to read on"
        connection.connection_lost(None)
        await yard.settle()
        assert [attempt.outcomes[0].verdict for attempt in yard.attempts] == [Verdict.ACCEPTED] * 2
        yard.lane.turns = Turns(yard.clock)

    in_yard(test)


async def until_nothing_waits_but(yard: Yard, turns: NoTime, is_over: Callable[[], bool]) -> None:
    """Give it its turns until this is so; what came then still waits."""
    await yard.settle()
    while not is_over():
        turns.do_all()
        await yard.settle()


def test_no_more_is_read_of_a_peer_whose_turn_has_not_come() -> None:
    """What it sends beyond a second helping stays with the kernel, and is asked for again afterwards."""

    async def test(yard: Yard) -> None:
        yard.send()
        await yard.settle()
        turns = late(yard)
        (peer,) = yard.peers
        for _ in range(2):
            peer.say(b"250 2.0.0 nobody asked\r\n")
        await yard.settle()
        assert peer.is_paused
        turns.do_all()
        assert not peer.is_paused
        yard.lane.turns = Turns(yard.clock)

    in_yard(test)

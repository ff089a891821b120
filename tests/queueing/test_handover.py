"""Handing transactions over: what is told to those who wait is true, and in time, whatever happens between sender and lane."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock.mail.duration import MonotonicTime
from penstock.queueing.handover import (
    COMMIT_WITHIN,
    SEND_WITHIN,
    STALLED,
    Credit,
    Fate,
    Incoming,
    Outgoing,
    Sending,
    Violation,
    may_begin,
)
from tests.queueing.handover_world import LAG, World

NOW = MonotonicTime(1000.0)


class HandoverMachine(RuleBasedStateMachine):
    """Everything in any order. ``make`` makes the world."""

    make: ClassVar[Callable[[], World]] = World

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).make()

    @rule()
    def connect(self) -> None:
        self.world.connect()

    @rule(octets=st.sampled_from([1, 10, 40, 99, 150]), messages=st.integers(1, 6))
    def offer(self, octets: int, messages: int) -> None:
        self.world.offer(octets, messages)

    @rule(count=st.integers(1, 4), is_old=st.booleans())
    def frames_arrive_at_the_lane(self, count: int, *, is_old: bool) -> None:
        world = self.world
        link = world.old[0] if is_old and world.old else world.link
        for _ in range(count):
            if link is not None:
                world.arrive_at_lane(link)

    @rule(is_doubled=st.booleans())
    def an_answer_arrives(self, *, is_doubled: bool) -> None:
        self.world.arrive_at_sender(is_doubled=is_doubled)

    @rule(how=st.sampled_from(["ends well", "ends well", "fails", "nobody knows"]), is_there=st.booleans())
    def a_sync_ends(self, how: str, *, is_there: bool) -> None:
        self.world.sync(how, is_there=is_there)

    @rule(
        octets=st.integers(1, 60),
        how=st.sampled_from(["ends well", "fails", "nobody knows"]),
        is_there=st.booleans(),
        is_doubled=st.booleans(),
    )
    def one_goes_all_the_way(self, octets: int, how: str, *, is_there: bool, is_doubled: bool) -> None:
        world = self.world
        world.connect()
        world.offer(octets, 1)
        while world.link is not None and world.link.to_lane:
            world.arrive_at_lane(world.link)
        world.sync(how, is_there=is_there)
        while world.link is not None and world.link.to_sender:
            world.arrive_at_sender(is_doubled=is_doubled)

    @rule(there=st.integers(0, 3), is_answer_lost=st.booleans())
    def the_lane_dies(self, there: int, *, is_answer_lost: bool) -> None:
        self.world.lane_dies(there, is_answer_lost=is_answer_lost)

    @rule()
    def the_connection_is_cut(self) -> None:
        self.world.give_up()

    @rule(seconds=st.sampled_from([0.001, 0.3, SEND_WITHIN, COMMIT_WITHIN, 45.0]), lag=st.floats(0, LAG / 2))
    def time_passes(self, seconds: float, lag: float) -> None:
        self.world.pass_time(seconds, lag)

    @invariant()
    def the_account_is_right(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle()


def run(machine: type[RuleBasedStateMachine], examples: int, *, shrinks: bool = True) -> None:
    """So many histories."""
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrinks else [])]
    steps = settings(max_examples=examples, stateful_step_count=30, deadline=None, phases=phases)
    run_state_machine_as_test(machine, settings=steps)


def test_what_is_told_is_true_and_in_time() -> None:
    """Never an acceptance without a commit, never a refusal of what is stored or will be, one answer for each, by its deadline."""
    run(HandoverMachine, int(os.environ.get("PENSTOCK_EXAMPLES", "100")))


class DeniesWhatWasSent(Outgoing[int]):
    """At the end of a connection."""

    __slots__ = ()

    def closed(self) -> None:
        super().closed()
        self.decided = [(item, Fate.UNSENT) for item, _ in self.decided]


class ForgetsCredit(Outgoing[int]):
    """It sends whatever is offered."""

    __slots__ = ()

    def next(self, now: MonotonicTime) -> Sending[int] | None:
        self._used_octets = self._used_messages = 0
        return super().next(now)


class WaitsForEver(Outgoing[int]):
    """It has no end of its patience."""

    __slots__ = ()

    def wake(self) -> MonotonicTime | None:
        return None


class AnswersTwice(Outgoing[int]):
    """It believes a second answer."""

    __slots__ = ("seen",)

    def answered(self, number: int, fate: Fate) -> None:
        sent = self._sent.get(number)
        super().answered(number, fate)
        if sent is None:
            self.decided.append((0, fate))


class BelievesWhatIsUncertain(Outgoing[int]):
    """It takes no knowledge for an acceptance."""

    __slots__ = ()

    def answered(self, number: int, fate: Fate) -> None:
        super().answered(number, Fate.STORED if fate is Fate.UNCERTAIN else fate)


MISTAKES: dict[str, Callable[[], World]] = {
    "the sender denies what was sent": lambda: World(DeniesWhatWasSent),
    "the sender forgets its credit": lambda: World(ForgetsCredit),
    "the sender waits for ever": lambda: World(WaitsForEver),
    "the sender believes a second answer": lambda: World(AnswersTwice),
    "the sender takes no knowledge for an acceptance": lambda: World(BelievesWhatIsUncertain),
    "the lane answers before the sync": lambda: World(answers_before_the_sync=True),
    "the lane looks at no deadline": lambda: World(looks_at_no_deadline=True),
    "the lane says no when nobody knows": lambda: World(says_no_when_nobody_knows=True),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    """The account is not blind: each of these is a way to lose mail, to double it, or to leave a client without an answer."""
    machine = type("Mistaken", (HandoverMachine,), {"make": staticmethod(MISTAKES[mistake])})
    with pytest.raises((AssertionError, Violation, ExceptionGroup)):
        run(machine, 400, shrinks=False)


def test_a_transaction_larger_than_the_credit_goes_alone() -> None:
    """A message of 100 MB is not refused for a credit of 8; it waits until nothing else is under way, and nothing goes beside it."""
    outgoing = Outgoing[str]()
    outgoing.opened(Credit(10, 10))
    assert outgoing.offer("small", 1, 1, NOW)
    first = outgoing.next(NOW)
    assert first is not None
    assert outgoing.offer("large", 100, 1, NOW)
    assert outgoing.next(NOW) is None
    assert not outgoing.offer("behind", 1, 1, NOW)
    outgoing.answered(first.number, Fate.STORED)
    large = outgoing.next(NOW)
    assert large is not None
    assert large.item == "large"
    assert outgoing.offer("behind", 1, 1, NOW)
    assert outgoing.next(NOW) is None


def test_nothing_is_offered_to_a_lane_that_stands_still() -> None:
    """What it has may become uncertain; nothing more is to."""
    outgoing = Outgoing[str]()
    outgoing.opened(Credit(100, 100))
    outgoing.offer("first", 1, 1, NOW)
    outgoing.next(NOW)
    assert outgoing.offer("second", 1, 1, MonotonicTime(NOW + STALLED))
    assert not outgoing.offer("third", 1, 1, MonotonicTime(NOW + STALLED + 0.1))


def test_no_more_waits_than_the_credit_is_worth() -> None:
    """What waits is memory: the next one goes elsewhere at once."""
    outgoing = Outgoing[str]()
    outgoing.opened(Credit(10, 10))
    taken = [outgoing.offer(str(number), 6, 1, NOW) for number in range(4)]
    outgoing.next(NOW)
    assert taken == [True, False, False, False]
    assert [outgoing.offer(str(number), 6, 1, NOW) for number in range(2)] == [True, False]


@pytest.mark.parametrize(
    "commit_by", [float("nan"), float("inf"), NOW - 0.1, NOW + COMMIT_WITHIN + 0.1, -1.0]
)
def test_nothing_begins_after_its_deadline_or_by_one_that_is_none(commit_by: float) -> None:
    """An instant farther away than any sender of ours names is a mistake, and a mistake stores nothing."""
    assert not may_begin(commit_by, NOW)


@pytest.mark.parametrize(
    ("number", "octets", "messages"),
    [(1, 1, 1), (0, 1, 1), (2, -1, 1), (2, 1, 0), (2, 1, -5), (2, 10, 1), (2, 1, 10)],
    ids=["twice", "before the first", "less than no octets", "no message", "negative", "octets", "messages"],
)
def test_a_sender_that_breaks_the_rules_is_found_out(number: int, octets: int, messages: int) -> None:
    """Nothing of it is stored."""
    incoming = Incoming(Credit(10, 10))
    incoming.begin(1, 5, 5)
    with pytest.raises(Violation):
        incoming.begin(number, octets, messages)
    assert len(incoming) == 1


@pytest.mark.parametrize("number", [0, -1, 2, 3, 99])
def test_a_lane_that_answers_what_was_not_sent_is_found_out(number: int) -> None:
    """Whoever waits for something else must not be told by that."""
    outgoing = Outgoing[str]()
    outgoing.opened(Credit(10, 10))
    outgoing.offer("sent", 10, 1, NOW)
    outgoing.offer("waits", 10, 1, NOW)
    outgoing.next(NOW)
    with pytest.raises(Violation):
        outgoing.answered(number, Fate.STORED)
    assert not outgoing.decided


@pytest.mark.parametrize("credit", [Credit(0, 1), Credit(1, 0), Credit(-1, 5)])
def test_a_credit_of_nothing_is_none(credit: Credit) -> None:
    """A lane that wants nothing closes the connection instead."""
    with pytest.raises(Violation):
        Outgoing[str]().opened(credit)


def test_a_second_credit_on_a_connection_is_a_mistake() -> None:
    """What is under way is counted against the first."""
    outgoing = Outgoing[str]()
    outgoing.opened(Credit(10, 10))
    with pytest.raises(Violation):
        outgoing.opened(Credit(10, 10))

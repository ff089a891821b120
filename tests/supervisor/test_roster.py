"""When children are started, drained and killed."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.supervisor.roster import (
    LONGEST_WAIT,
    LOOK_EVERY,
    MARGIN,
    SILENCE,
    SLOWEST_START,
    Drain,
    Effect,
    Kill,
    Phase,
    Roster,
    Start,
)

NOW = MonotonicTime(1000.0)


def at(seconds: float) -> MonotonicTime:
    """So many seconds after the beginning."""
    return MonotonicTime(NOW + seconds)


def ready(*names: str) -> Roster:
    """Children that are all at work at the beginning."""
    made = Roster(names, NOW)
    assert made.due(NOW) == [Start(name) for name in names]
    for name in names:
        made.ready(name, NOW)
    return made


def looked_after(made: Roster, since: float, until: float, hearing: tuple[str, ...]) -> list[Effect]:
    """What was to be done from one instant to another, looked at every second, while some of the children tick."""
    effects: list[Effect] = []
    for second in range(round(since) + 1, round(until) + 1):
        for name in hearing:
            made.heard(name, at(second))
        effects += made.due(at(second))
    return effects


def test_a_child_that_dies_at_work_is_started_again_at_once() -> None:
    """Its lane should be back in a moment; the others never notice."""
    made = ready("0", "1")
    made.ended("0", at(0.5))
    assert made.due(at(0.5)) == [Start("0")]


def test_one_that_dies_before_it_is_ready_waits_longer_each_time() -> None:
    """Up to half a minute; once it was ready that is forgotten."""
    made = Roster(["0"], NOW)
    now, waits = 0.0, []
    for _ in range(12):
        assert made.due(at(now)) == [Start("0")]
        made.ended("0", at(now))
        assert made.due(at(now)) == []
        waits.append(made.children["0"].start_at - at(now))
        now += waits[-1]
    assert [round(wait, 3) for wait in waits[:4]] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == LONGEST_WAIT
    made.due(at(now))
    made.ready("0", at(now))
    made.ended("0", at(now))
    assert made.due(at(now)) == [Start("0")]
    made.ended("0", at(now))
    assert round(made.children["0"].start_at - at(now), 3) == 0.1


def test_one_whose_loop_does_not_tick_is_killed() -> None:
    """After ten seconds, and not before; one that ticks never is."""
    made = ready("0", "1")
    assert looked_after(made, 0, SILENCE - 1, ("1",)) == []
    (killed,) = looked_after(made, SILENCE - 1, SILENCE, ("1",))
    assert isinstance(killed, Kill)
    assert killed.name == "0"
    made.ended("0", at(SILENCE))
    assert made.due(at(SILENCE)) == [Start("0")]


def test_one_that_starts_has_longer_until_its_first_tick() -> None:
    """A slow disk is no hang."""
    made = Roster(["0"], NOW)
    made.due(NOW)
    assert looked_after(made, 0, SLOWEST_START - 1, ()) == []
    assert isinstance(looked_after(made, SLOWEST_START - 1, SLOWEST_START, ())[0], Kill)


def test_time_in_which_the_supervisor_itself_stood_still_counts_for_nobody() -> None:
    """A machine that was suspended kills nobody when it wakes."""
    made = ready("0")
    looked_after(made, 0, 5, ("0",))
    assert made.due(at(500)) == []
    assert looked_after(made, 500, 506, ()) == []
    assert looked_after(made, 506, 512, ()) != []


def test_stopping_drains_all_and_kills_those_that_take_too_long() -> None:
    """Within the grace and a margin for the last outcomes; nothing is started any more."""
    made = ready("0", "1")
    assert made.stop(at(1), Seconds(30.0)) == [Drain("0", Seconds(30.0)), Drain("1", Seconds(30.0))]
    made.ended("0", at(2))
    assert looked_after(made, 1, 31 + MARGIN - 1, ()) == []
    (killed,) = looked_after(made, 31 + MARGIN - 1, 31 + MARGIN, ())
    assert isinstance(killed, Kill)
    assert not made.is_over
    made.ended("1", at(40))
    assert made.is_over
    assert made.due(at(41)) == []


def test_replacing_takes_one_after_the_other_and_waits_for_each_new_one() -> None:
    """So no more than one lane is away, and a program that cannot start costs one child."""
    made = ready("0", "1")
    made.replace(Seconds(10.0))
    assert made.due(at(1)) == [Drain("0", Seconds(10.0))]
    assert made.due(at(2)) == []
    made.ended("0", at(3))
    assert made.due(at(3)) == [Start("0")]
    made.ended("0", at(3))
    assert made.due(at(3.05)) == []
    assert made.due(at(3.2)) == [Start("0")]
    made.ready("0", at(4))
    assert made.due(at(4)) == [Drain("1", Seconds(10.0))]
    made.ended("1", at(5))
    assert made.due(at(5)) == [Start("1")]
    made.ready("1", at(6))
    assert made.due(at(6)) == []


def test_children_of_an_earlier_program_are_taken_over_and_replaced() -> None:
    """One that dies before its turn is replaced by that."""
    made = Roster(["0", "1", "2"], NOW)
    made.adopted("0", Seconds(5.0))
    made.adopted("1", Seconds(5.0))
    assert made.due(NOW) == [Start("2")]
    made.ended("1", at(0.5))
    assert made.due(at(0.5)) == [Start("1")]
    made.ready("1", at(1))
    assert made.due(at(1)) == []
    # nobody hears the first, and nobody holds that against it
    made.heard("2", at(200))
    made.heard("1", at(200))
    assert made.due(at(200)) == []
    made.ready("2", at(200))
    assert made.due(at(200)) == [Drain("0", Seconds(5.0))]


class Model(RuleBasedStateMachine):
    """Children that become ready, tick, fall silent, die, and do what they are told late or never."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.made = Roster(["0", "1", "2"], NOW)
        self.alive: dict[str, MonotonicTime] = {}
        self.told: set[str] = set()
        self.was_ready: set[str] = set()
        self.is_stopping = False

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(name=name):
                    assert name not in self.alive, "two at once"
                    assert not self.is_stopping
                    self.alive[name] = self.now
                    self.was_ready.discard(name)
                case Drain(name=name):
                    assert name in self.alive
                    self.told.add(name)
                case Kill(name=name):
                    silent = self.now - self.alive[name]
                    assert silent >= SILENCE or name in self.told
                    self.end(name)

    def end(self, name: str) -> None:
        del self.alive[name]
        self.told.discard(name)
        self.made.ended(name, self.now)

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.0]))
    def look(self, seconds: float) -> None:
        self.now = MonotonicTime(self.now + seconds)
        self.carry_out(self.made.due(self.now))

    @rule(seconds=st.integers(1, 100))
    def look_for_long(self, seconds: int) -> None:
        for _ in range(seconds):
            self.look(LOOK_EVERY)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def tick(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive[name] = self.now
        self.made.heard(name, self.now)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def become_ready(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive[name] = self.now
        self.was_ready.add(name)
        self.made.ready(name, self.now)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.alive)))
        was_ready = name in self.was_ready
        self.end(name)
        if was_ready and not self.is_stopping:
            self.carry_out(self.made.due(self.now))
            assert name in self.alive, "not started again at once"

    @precondition(lambda self: not self.is_stopping)
    @rule()
    def replace(self) -> None:
        self.made.replace(Seconds(1.0))

    @precondition(lambda self: not self.is_stopping)
    @rule()
    def stop(self) -> None:
        self.is_stopping = True
        self.carry_out(self.made.stop(self.now, Seconds(1.0)))

    @invariant()
    def what_is_there_is_known(self) -> None:
        known = {child.name for child in self.made.children.values() if child.phase is not Phase.ABSENT}
        assert known == set(self.alive)
        assert self.made.is_over == (self.is_stopping and not self.alive)

    @invariant()
    def one_is_replaced_at_a_time(self) -> None:
        if not self.is_stopping:
            assert len(self.told) <= 1


TestModel = Model.TestCase

"""How workers come to one epoch, whatever dies, is late or refuses."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.mail.duration import MonotonicTime
from penstock.mail.problem import Problem
from penstock.supervisor.agreement import (
    CATCHING_UP,
    PATIENCE,
    Agreement,
    Commit,
    Committed,
    Effect,
    Expel,
    Keep,
    Prepare,
    Refused,
)

NOW = MonotonicTime(1000.0)
WRONG = Problem("queues.toml", "queue", "is wrong", "mend it")


def joined(*workers: str, kept: int = 1) -> Agreement:
    """An agreement with these workers, all of them in the epoch that is kept."""
    made = Agreement(kept)
    for worker in workers:
        assert made.joined(worker, NOW) == [Prepare(worker, kept)]
        assert made.prepared(worker, kept, []) == [Commit(worker, kept)]
        assert made.committed(worker, kept, NOW) == []
    return made


def test_a_change_is_prepared_by_all_then_kept_then_committed_by_all() -> None:
    """No step begins before the one in front of it has ended everywhere."""
    made = joined("0", "1")
    assert made.propose(2, NOW) == [Prepare("0", 2), Prepare("1", 2)]
    assert made.prepared("1", 2, []) == []
    assert made.prepared("0", 2, []) == [Keep(2)]
    assert made.kept == 1
    assert made.kept_it(NOW) == [Commit("0", 2), Commit("1", 2)]
    assert made.committed("0", 2, NOW) == []
    assert made.committed("1", 2, NOW) == [Committed(2)]
    assert (made.kept, made.workers, made.proposed) == (2, {"0": 2, "1": 2}, None)


def test_one_problem_anywhere_refuses_the_change_for_everybody() -> None:
    """Nothing was kept, nobody commits, and later answers are for nothing."""
    made = joined("0", "1")
    made.propose(2, NOW)
    assert made.prepared("0", 2, [WRONG]) == [Refused(2, (WRONG,))]
    assert made.prepared("1", 2, []) == []
    assert (made.kept, made.workers) == (1, {"0": 1, "1": 1})
    assert made.propose(3, NOW) == [Prepare("0", 3), Prepare("1", 3)]


def test_an_epoch_that_cannot_be_stored_is_refused() -> None:
    """The disk is part of the agreement."""
    made = joined("0")
    made.propose(2, NOW)
    made.prepared("0", 2, [])
    assert made.not_kept(WRONG) == [Refused(2, (WRONG,))]
    assert made.kept == 1


def test_a_worker_that_dies_in_the_middle_comes_back_in_the_committed_epoch() -> None:
    """Nobody waits for it; what it is given when it joins is what is kept by then."""
    made = joined("0", "1")
    made.propose(2, NOW)
    made.prepared("0", 2, [])
    assert made.left("1") == [Keep(2)]
    assert made.joined("1", NOW) == [Prepare("1", 1)]
    assert made.kept_it(NOW) == [Commit("0", 2)]
    assert made.committed("0", 2, NOW) == [Committed(2)]
    assert made.prepared("1", 1, []) == [Prepare("1", 2)]
    assert made.prepared("1", 2, []) == [Commit("1", 2)]
    assert made.committed("1", 2, NOW) == []
    assert made.workers == {"0": 2, "1": 2}


def test_a_worker_that_joins_during_a_change_prepares_it_before_it_commits_it() -> None:
    """It was given what was in force, and then the change is kept."""
    made = joined("0")
    made.propose(2, NOW)
    made.joined("1", NOW)
    made.prepared("1", 1, [])
    made.committed("1", 1, NOW)
    assert made.prepared("0", 2, []) == [Keep(2)]
    assert made.kept_it(NOW) == [Commit("0", 2), Prepare("1", 2)]
    assert made.committed("0", 2, NOW) == []
    assert made.prepared("1", 2, []) == [Commit("1", 2)]
    assert made.committed("1", 2, NOW) == [Committed(2)]


def test_who_does_not_prepare_in_time_ends_the_change_and_who_does_not_commit_is_expelled() -> None:
    """Before it is kept the change gives way, after it the worker does."""
    made = joined("0", "1")
    made.propose(2, NOW)
    made.prepared("0", 2, [])
    assert made.due(MonotonicTime(NOW + PATIENCE - 1)) == []
    (refused,) = made.due(MonotonicTime(NOW + PATIENCE))
    assert isinstance(refused, Refused)
    assert "lane 1 " in refused.problems[0].what
    made.propose(3, NOW)
    made.prepared("0", 3, [])
    made.prepared("1", 3, [])
    made.kept_it(NOW)
    made.committed("0", 3, NOW)
    (expelled,) = made.due(MonotonicTime(NOW + PATIENCE))
    assert isinstance(expelled, Expel)
    assert expelled.worker == "1"
    assert made.left("1") == [Committed(3)]


def test_a_worker_that_cannot_take_what_is_kept_is_expelled() -> None:
    """It would go by no epoch at all."""
    made = Agreement(1)
    made.joined("0", NOW)
    (expelled,) = made.prepared("0", 1, [WRONG])
    assert isinstance(expelled, Expel)
    assert "is wrong" in expelled.reason
    made.left("0")
    made.joined("0", NOW)
    assert not made.due(MonotonicTime(NOW + CATCHING_UP - 1))
    assert isinstance(made.due(MonotonicTime(NOW + CATCHING_UP))[0], Expel)


def test_a_change_without_workers_is_kept_at_once() -> None:
    """All of them may be dead just then."""
    made = Agreement(1)
    assert made.propose(2, NOW) == [Keep(2)]
    assert made.kept_it(NOW) == [Committed(2)]


def test_a_number_that_is_not_new_cannot_be_proposed() -> None:
    """Numbers name epochs in events, for ever."""
    made = joined("0")
    with pytest.raises(ValueError, match="cannot be proposed"):
        made.propose(1, NOW)
    made.propose(2, NOW)
    with pytest.raises(ValueError, match="cannot be proposed"):
        made.propose(3, NOW)


class Model(RuleBasedStateMachine):
    """Workers that answer late, in any order, or die; a disk that fails; and changes, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.made = Agreement(1)
        self.number = 1
        #: on stable storage
        self.stored = 1
        #: what each worker goes by, and what it was asked and has not answered
        self.goes_by: dict[str, int] = {}
        self.prepared: dict[str, int] = {}
        self.asked: list[Prepare | Commit | Keep] = []
        self.refused: set[int] = set()

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Prepare() | Commit() | Keep():
                    if isinstance(effect, Commit):
                        assert effect.number <= self.stored, "committed before it was kept"
                        assert effect.number not in self.refused
                    self.asked.append(effect)
                case Expel(worker=worker):
                    assert worker in self.goes_by
                    self.die(worker)
                case Refused(number=number):
                    self.refused.add(number)
                    assert self.stored < number
                    self.asked = [
                        each for each in self.asked if isinstance(each, Commit) or each.number != number
                    ]
                case Committed(number=number):
                    assert number == self.stored
                    assert {epoch for epoch in self.goes_by.values() if epoch} <= {number}

    def die(self, worker: str) -> None:
        del self.goes_by[worker]
        self.asked = [each for each in self.asked if isinstance(each, Keep) or each.worker != worker]
        self.carry_out(self.made.left(worker))

    @initialize()
    def begin(self) -> None:
        for worker in "01":
            self.goes_by[worker] = 0
            self.carry_out(self.made.joined(worker, self.now))

    @precondition(lambda self: len(self.goes_by) < 3)
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted({"0", "1", "2"} - self.goes_by.keys())))
        self.goes_by[worker] = 0
        self.carry_out(self.made.joined(worker, self.now))

    @precondition(lambda self: self.goes_by)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.die(data.draw(st.sampled_from(sorted(self.goes_by))))

    @precondition(lambda self: self.made.proposed is None)
    @rule()
    def change(self) -> None:
        self.number += 1
        self.carry_out(self.made.propose(self.number, self.now))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), is_wrong=st.sampled_from([False, False, False, True]))
    def answer(self, data: st.DataObject, is_wrong: bool) -> None:
        question = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        match question:
            case Keep(number=number):
                if is_wrong:
                    self.carry_out(self.made.not_kept(WRONG))
                else:
                    self.stored = number
                    self.carry_out(self.made.kept_it(self.now))
            case Prepare(worker=worker, number=number):
                self.prepared[worker] = number
                self.carry_out(self.made.prepared(worker, number, [WRONG] if is_wrong else []))
            case Commit(worker=worker, number=number):
                assert self.prepared[worker] == number, "committed what it has not prepared"
                self.goes_by[worker] = number
                self.carry_out(self.made.committed(worker, number, self.now))

    @rule(seconds=st.sampled_from([1.0, PATIENCE, CATCHING_UP]))
    def wait(self, seconds: float) -> None:
        self.now = MonotonicTime(self.now + seconds)
        self.carry_out(self.made.due(self.now))

    @invariant()
    def what_is_kept_is_what_is_stored(self) -> None:
        assert self.made.kept == self.stored
        assert self.made.workers == self.goes_by
        assert all(number <= self.stored for number in self.goes_by.values())

    @invariant()
    def nobody_stays_behind(self) -> None:
        if not self.asked:
            assert self.made.proposed is None
            assert set(self.goes_by.values()) <= {self.stored}


TestModel = Model.TestCase

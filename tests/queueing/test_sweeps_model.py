"""The model of sweeps in a short version, and proof that it notices: deliberate mistakes, each of which it must find."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

from penstock.mail.directive import Criteria, SweepAction
from penstock.queueing import sweeping as sweeping_module
from penstock.queueing.effects import End
from penstock.queueing.places import Places
from penstock.queueing.rows import READY, WAITING
from penstock.queueing.runs import Run
from penstock.queueing.sweeping import Sweeping
from tests.queueing.mistakes import Mistake, Mistakes, assert_found, search, wrap
from tests.queueing.sweep_machine import SweepMachine

TestSweeps = SweepMachine.TestCase
TestSweeps.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)

mistake = Mistakes()


@mistake
def mail_accepted_later_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(original: Any, run: Run, order: Any, criteria: Any, given: int, began: int) -> None:
        original(run, order, criteria, given + 10**12, began)

    wrap(monkeypatch, Run, "__init__", begun)


@mistake
def mail_accepted_at_that_instant_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(original: Any, run: Run, order: Any, criteria: Any, given: int, began: int) -> None:
        original(run, order, criteria, given - 1, began)

    wrap(monkeypatch, Run, "__init__", begun)


@mistake
def all_queues_match(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(
        monkeypatch,
        Sweeping,
        "_fetch_queues",
        lambda original, self, run, walk, size: original(
            self, run, self._places.postings.walk(Criteria()), size
        ),
    )


@mistake
def mail_that_comes_back_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeping, "came_back", lambda self, row: None)


@mistake
def mail_that_comes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeping, "came", lambda self, row: None)


@mistake
def mail_in_flight_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeping, "_await", lambda self, run, row: None)


@mistake
def mail_that_is_gone_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeping, "gone", lambda self, row: None)


@mistake
def what_is_put_off_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_off(original: Any, self: Sweeping, end: End, until: int) -> None:
        run = self._taken.pop(end.row, None)
        if run is not None:
            run.pending -= 1
            self._review(run)

    wrap(monkeypatch, Sweeping, "put_off", put_off)


@mistake
def ready_mail_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(original: Any, self: Sweeping, run: Run, queue: Any, row: int, now: int) -> bool:
        return self._places.rows.state[row] != READY and bool(original(self, run, queue, row, now))

    wrap(monkeypatch, Sweeping, "_take", take)


@mistake
def waiting_mail_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(original: Any, self: Sweeping, run: Run, queue: Any, row: int, now: int) -> bool:
        return self._places.rows.state[row] != WAITING and bool(original(self, run, queue, row, now))

    wrap(monkeypatch, Sweeping, "_take", take)


@mistake
def a_list_that_has_moved_is_not_gone_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def resume(original: Any, self: Sweeping, run: Run, queue: Any) -> tuple[int, int]:
        state, row = original(self, run, queue)
        return state, row if not run.mark or row == run.mark[1] else sweeping_module.NONE

    wrap(monkeypatch, Sweeping, "_resume", resume)


@mistake
def there_is_always_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "ends_room", 1)


@mistake
def a_flush_meets_what_has_been_tried_since(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(original: Any, run: Run, order: Any, criteria: Any, given: int, began: int) -> None:
        original(run, order, criteria, given, 10**12)

    wrap(monkeypatch, Run, "__init__", begun)
    monkeypatch.setattr(Sweeping, "_find_again", _again_by_queue)


def _again_by_queue(self: Sweeping, run: Run, queue: Any, row: int) -> None:
    run.again[queue.name] = None
    self._review(run)


@mistake
def a_rebind_takes_what_is_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "changes", lambda run, name: True)


@mistake
def a_rebind_leaves_the_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "_move_octets", lambda self, size, left, queue: None)


@mistake
def a_rebind_counts_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def rebind(original: Any, places: Places, end: Any, now: int) -> None:
        places.rows.attempts[end.row] += 1
        original(places, end, now)

    wrap(monkeypatch, Places, "rebind", rebind)


@mistake
def a_rebind_lets_mail_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def go_on(original: Any, places: Places, queue: Any, row: int, due: int, now: int) -> None:
        original(places, queue, row, due + 60_000_000, now)

    wrap(monkeypatch, Places, "_go_on", go_on)


@mistake
def rebinds_undo_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeping, "_mark", lambda self, run, row: None)


@mistake
def what_is_put_off_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_off(original: Any, self: Sweeping, end: End, until: int) -> None:
        original(self, end, until)
        self._not_yet.clear()

    wrap(monkeypatch, Sweeping, "put_off", put_off)


@mistake
def a_sweep_is_over_when_all_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def review(original: Any, self: Sweeping, run: Run) -> None:
        pending, run.pending = run.pending, 0
        original(self, run)
        run.pending = pending

    wrap(monkeypatch, Sweeping, "_review", review)


@mistake
def a_sweep_that_is_cancelled_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "stop", lambda run: None)


@mistake
def a_sweep_is_forgotten_while_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_turn(original: Any, self: Sweeping, now: int, size: int) -> int:
        if self._turns and not self._places.ends_room:
            self._turns.clear()
        return int(original(self, now, size))

    wrap(monkeypatch, Sweeping, "take_turn", take_turn)


#: those that take long to be found
_RARE = {
    "what_is_put_off_is_forgotten",
    "a_list_that_has_moved_is_not_gone_through_again",
    "mail_that_comes_is_forgotten",
    "a_sweep_that_is_cancelled_goes_on",
    "a_sweep_is_forgotten_while_there_is_no_room",
    "mail_that_comes_back_is_forgotten",
    "there_is_always_room",
    "a_rebind_counts_an_attempt",
}


@pytest.mark.parametrize(
    "make",
    mistake.cases(rare=_RARE),
)
def test_the_model_finds_the_mistake(make: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps with a known mistake do not pass for right ones."""
    make(monkeypatch)
    assert_found(SweepMachine, 40)


@pytest.mark.campaign
def test_sweeps_without_a_mistake_pass_the_same_examples() -> None:
    """What the mistakes are found by is not found without them."""
    search(SweepMachine, 40)


def test_mistakes_are_counted() -> None:
    """The list does not shrink unnoticed."""
    assert len(mistake) >= 22
    assert set(mistake) > _RARE
    assert len(SweepAction) == 4, "another action is a reason for another mistake"

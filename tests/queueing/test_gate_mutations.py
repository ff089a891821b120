"""Proof that the gated model notices: deliberate mistakes in what holds mail and lets it go, each of which it must find."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.mail.directive import Directive
from penstock.mail.duration import WallTime
from penstock.queueing.backlog import Backlog
from penstock.queueing.directives import Directives
from penstock.queueing.gates import Gates
from penstock.queueing.parking import Parking
from penstock.queueing.places import Places
from penstock.queueing.queues import EVERYTHING, Path, ScheduledQueue
from penstock.queueing.rows import Rows
from penstock.queueing.scheduler import Scheduler
from penstock.queueing.supply import Supply
from penstock.queueing.turnstile import Turnstile
from penstock.shaping import gcra
from penstock.shaping.own import OwnRates, _Bucket
from tests.queueing.gated_machine import GatedMachine
from tests.queueing.mistakes import Mistake, Mistakes, assert_found, search, wrap

mistake = Mistakes()


# -- limits


@mistake
def a_burst_is_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(
        monkeypatch, OwnRates, "look", lambda look, rates, key, rate, now: look(rates, key, _more(rate), now)
    )


def _more(rate: Any) -> Any:
    return type(rate)(rate.count, rate.period, rate.burst + 1, rate.local)


@mistake
def tokens_come_a_little_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcra, "is_open", lambda arrival, now, rate: gcra.room(arrival, now + 0.001, rate) > 0)


@mistake
def a_limit_is_looked_at_and_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OwnRates, "take_all", OwnRates.check)


@mistake
def only_the_first_limit_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, OwnRates, "take_all", lambda take, rates, limits, now: take(rates, limits[:1], now))


@mistake
def what_is_refused_is_charged_where_it_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_all(rates: OwnRates, limits: Any, now: float) -> Any:
        for place, limit in enumerate(limits):
            held = rates.take(limit.key, limit.rate, now)
            if held is not None:
                return place, held
        return None

    monkeypatch.setattr(OwnRates, "take_all", take_all)


@mistake
def what_is_put_back_has_used_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gates, "give_back", lambda gates, queue, path, taken, now: None)


@mistake
def what_is_put_back_gives_back_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_back(original: Any, bucket: _Bucket, taken: float) -> None:
        bucket.arrival -= bucket.rate.period / bucket.rate.count
        bucket.base = bucket.arrival
        del bucket.times[:]

    wrap(monkeypatch, _Bucket, "give_back", give_back)


@mistake
def a_limit_that_opens_wakes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "opened", lambda scheduler, key, now: None)


@mistake
def what_is_left_over_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def let_go(turnstile: Turnstile, parking: Any, now: int) -> None:
        if parking.limit is not None and turnstile._places.gates.has_room(parking.limit, now):
            turnstile._let_go(parking, 1, now)

    monkeypatch.setattr(Turnstile, "let_go", let_go)
    monkeypatch.setattr(Gates, "has_room", lambda gates, limit, now: 1)


@mistake
def mail_that_may_not_go_asks_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(original: Any, gates: Gates, queue: ScheduledQueue, now: int) -> None:
        original(gates, queue, now)
        if queue.path is not None:
            queue.path.excess -= queue.excess
            queue.excess = 0

    wrap(monkeypatch, Gates, "measure", measure)


@mistake
def what_a_limit_still_lets_through_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def used(
        original: Any, turnstile: Turnstile, queue: ScheduledQueue, path: Path, row: int, now: int
    ) -> None:
        turnstile._places.rows.wake[row] = now

    wrap(monkeypatch, Turnstile, "_used", used)


@mistake
def a_held_path_opens_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gates, "limited_path", lambda gates, key: None)


@mistake
def a_path_is_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, Places, "configure", _without_limits)


def _without_limits(configure: Any, places: Places, path: Path, config: Any, now: int) -> None:
    configure(places, path, config, now)
    path.limits = ()


@mistake
def a_limit_that_has_changed_holds_what_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    def review(original: Any, turnstile: Turnstile, queue: ScheduledQueue, now: int) -> None:
        if queue.parking is None:
            original(turnstile, queue, now)

    wrap(monkeypatch, Turnstile, "review", review)


@mistake
def what_the_limits_leave_is_not_counted_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(original: Any, path: Path, queue: ScheduledQueue) -> None:
        excess = path.excess
        original(path, queue)
        path.excess = excess

    wrap(monkeypatch, Path, "leave", leave)


@mistake
def an_allowance_is_never_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(original: Any, gates: Gates, path: Path, now: int) -> None:
        allowance = path.allowance
        original(gates, path, now)
        if allowance != EVERYTHING:
            path.allowance = max(0, allowance - 1)

    wrap(monkeypatch, Gates, "measure_path", measure)


# -- directives


@mistake
def suspended_mail_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(original: Any, scheduler: Scheduler, path: Path, now: WallTime) -> int:
        for queue in scheduler.queues.values():
            queue.generation = scheduler._places.gates.generation
        row: int = original(scheduler, path, now)
        return row

    wrap(monkeypatch, Scheduler, "pull", pull)
    monkeypatch.setattr(Backlog, "review", lambda backlog, criteria: None)


@mistake
def suspended_mail_is_parked_at_its_pull_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backlog, "review", lambda backlog, criteria: None)


@mistake
def a_directive_that_is_over_holds_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gates, "lift", lambda gates, directive: None)


@mistake
def one_queue_stays_behind_when_a_directive_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def lift(original: Any, gates: Gates, directive: Directive) -> None:
        parking = gates.parkings.get(f"directive:{directive.id}")
        original(gates, directive)
        if parking is not None and parking.queues > 1 and parking.first is not None:
            parking.leave(parking.first)

    wrap(monkeypatch, Gates, "lift", lift)


@mistake
def what_a_directive_let_go_is_held_by_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def release(original: Any, turnstile: Turnstile, queue: ScheduledQueue, now: int) -> None:
        places = turnstile._places
        places.gates.unpark(queue)
        queue.hop.enlist(queue)
        queue.generation = places.gates.generation
        places.admit(queue, now)

    wrap(monkeypatch, Turnstile, "release", release)


@mistake
def a_directive_ends_a_microsecond_late(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, Directives, "expire", lambda expire, self, now: expire(self, WallTime(now - 1e-6)))


@mistake
def a_directive_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Directives, "next_expiry", lambda directives: None)


@mistake
def a_bounce_forgets_what_there_was_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop_first(original: Any, backlog: Backlog, now: int, size: int) -> int:
        done: int = original(backlog, now, size)
        dropping = backlog._places.gates.dropping
        if dropping and not backlog._places.ends_room:
            dropping.popleft()
        return done

    wrap(monkeypatch, Backlog, "_drop_first", drop_first)


@mistake
def a_bounce_ends_mail_after_it_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    def lift(gates: Gates, directive: Directive) -> None:
        gates.generation += 1
        parking = gates.parkings.get(f"directive:{directive.id}")
        if parking is not None and not parking.is_behind:
            gates.releasing.append(gates.parkings.pop(parking.key))

    monkeypatch.setattr(Gates, "lift", lift)


@mistake
def a_suspended_path_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        gate, path.gate = path.gate, None
        original(supply, path, now)
        path.gate = gate

    wrap(monkeypatch, Supply, "serve", serve)


@mistake
def a_suspended_path_is_pulled_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gates, "find_for", lambda gates, path, now: None)


@mistake
def mail_that_comes_in_while_it_is_suspended_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_held(original: Any, places: Places, queue: ScheduledQueue, now: int) -> bool:
        if queue.ready == 1:
            queue.generation = places.gates.generation
            return False
        held: bool = original(places, queue, now)
        return held

    wrap(monkeypatch, Places, "is_held", is_held)


@mistake
def a_queue_that_was_emptied_is_held_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpark(original: Any, gates: Gates, queue: ScheduledQueue) -> None:
        generation = queue.generation
        original(gates, queue)
        queue.generation = generation

    wrap(monkeypatch, Gates, "unpark", unpark)


@mistake
def a_parked_queue_keeps_its_parking_when_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_out(places: Places, queue: ScheduledQueue, row: int) -> str:
        path = queue.remove_ready(places.rows, row)
        if path is None:
            return ""
        places.drop_if_unused(path)
        return path.site

    monkeypatch.setattr(Places, "take_out", take_out)


@mistake
def a_parked_queue_stays_in_its_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(original: Any, path: Path, queue: ScheduledQueue) -> None:
        original(path, queue)
        path.ready += queue.ready

    wrap(monkeypatch, Path, "leave", leave)


@mistake
def being_held_spends_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def park(original: Any, gates: Gates, queue: ScheduledQueue, parking: Parking[Any], now: int) -> None:
        original(gates, queue, parking, now)
        _rows(queue).attempts[queue.ready_rows.head] += 1

    def _rows(queue: ScheduledQueue) -> Rows:
        return rows[-1]

    rows: list[Rows] = []
    wrap(monkeypatch, Rows, "__init__", lambda init, self: (init(self), rows.append(self))[0])
    wrap(monkeypatch, Gates, "_park", park)


#: Found within seconds: the part of the campaign that every run of the suite has.
_QUICK = {
    "a_limit_is_looked_at_and_not_charged",
    "what_is_put_back_has_used_its_tokens",
    "a_limit_that_opens_wakes_nobody",
    "suspended_mail_is_pulled",
    "a_directive_that_is_over_holds_on",
    "a_suspended_path_is_connected_to",
}


@pytest.mark.parametrize(
    "make",
    mistake.cases(rare=set(mistake) - _QUICK),
)
def test_the_gated_model_finds_the_mistake(make: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler with a known mistake does not pass for a right one."""
    make(monkeypatch)
    assert_found(GatedMachine)


@pytest.mark.campaign
def test_the_scheduler_without_a_mistake_passes_the_same_examples() -> None:
    """What the mistakes are found by is not found without them."""
    search(GatedMachine)


def test_mistakes_are_counted() -> None:
    """The list does not shrink unnoticed."""
    assert len(mistake) >= 25
    assert set(mistake) >= _QUICK

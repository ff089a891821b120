"""Proof that the model notices: deliberate mistakes in the scheduler, each of which it must find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from penstock.mail.duration import WallTime
from penstock.queueing import places as places_module
from penstock.queueing import scheduler as scheduler_module
from penstock.queueing.calendar import Calendar
from penstock.queueing.effects import Connect, Offer, Resolve
from penstock.queueing.holds import Hold
from penstock.queueing.instants import instant_of
from penstock.queueing.places import Places
from penstock.queueing.queues import Hop, Path, ScheduledQueue
from penstock.queueing.retry import retry_delay
from penstock.queueing.rows import READY, RowList
from penstock.queueing.scheduler import Scheduler
from penstock.queueing.sharing import Sharing
from penstock.queueing.supply import Supply
from penstock.queueing.timers import Timers
from penstock.shaping.connections import connections_wanted, reconnect_delay
from tests.queueing.machine import SchedulerMachine

Mutation = Callable[[pytest.MonkeyPatch], None]
MUTATIONS: dict[str, Mutation] = {}

_enough = settings(
    max_examples=1000,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def mutation(mutate: Mutation) -> Mutation:
    """A mistake that the model must find, named by its function."""
    MUTATIONS[mutate.__name__] = mutate
    return mutate


def _wrap(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a method by ``wrapper``, which gets the original first."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **options: wrapper(original, *args, **options))


# -- time


@mutation
def ready_mail_outlives_its_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    def insert(original: Any, calendar: Calendar, row: int, instant: int) -> None:
        original(calendar, row, instant + (10**12 if calendar._rows.state[row] == READY else 0))

    _wrap(monkeypatch, Calendar, "insert", insert)


@mutation
def expired_mail_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(original: Any, scheduler: Scheduler, path: Path, now: WallTime) -> int:
        row: int = original(scheduler, path, WallTime(1.0))
        return row

    _wrap(monkeypatch, Scheduler, "pull", pull)


@mutation
def wakes_come_a_microsecond_late(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrap(monkeypatch, Calendar, "insert", lambda insert, self, row, instant: insert(self, row, instant + 1))


@mutation
def wakes_come_a_microsecond_early(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrap(monkeypatch, Calendar, "insert", lambda insert, self, row, instant: insert(self, row, instant - 1))


@mutation
def what_is_nearly_due_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrap(monkeypatch, Calendar, "pop", lambda pop, self, now: pop(self, now + 1))
    _wrap(monkeypatch, Calendar, "open", lambda pop, self, now, size: pop(self, now + 1, size))


@mutation
def a_row_is_lost_when_its_bucket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def move(original: Any, calendar: Calendar, level: int, bucket: Any, budget: int) -> int:
        calendar.remove(bucket.tail)
        return 1 + (original(calendar, level, bucket, budget) if bucket.size else 0)

    _wrap(monkeypatch, Calendar, "_move", move)


@mutation
def a_timer_only_moves_to_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_timer(original: Any, timers: Timers[Any], owner: Any, instant: int) -> None:
        if not owner.timer or instant < owner.timer:
            original(timers, owner, instant)

    _wrap(monkeypatch, Timers, "set", set_timer)


@mutation
def retries_double_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scheduler_module,
        "retry_delay",
        lambda config, attempts, draw: retry_delay(config, attempts + 1, draw),
    )


@mutation
def jitter_has_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scheduler_module,
        "retry_delay",
        lambda config, attempts, draw: retry_delay(config, attempts, 0.5 + draw / 2),
    )


@mutation
def retries_come_after_the_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    def retry_at(original: Any, scheduler: Scheduler, row: int, now: WallTime, draw: float) -> WallTime:
        due = original(scheduler, row, now, draw)
        return WallTime(now + 10_000.0) if due is None else due

    _wrap(monkeypatch, Scheduler, "retry_at", retry_at)


# -- messages


@mutation
def what_is_put_back_goes_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(original: Any, places: Places, queue: ScheduledQueue, row: int, path: Path, now: int) -> None:
        places.order += 1
        places.rows.order[row] = places.order
        original(places, queue, row, path, now)

    _wrap(monkeypatch, Places, "make_ready_again", again)


@mutation
def what_is_put_back_goes_to_the_front_of_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(_: Any, rows_list: RowList, rows: Any, row: int) -> None:
        head = rows_list.head
        rows.next[row], rows.previous[row] = head, 0xFFFFFFFF
        rows.previous[head] = row
        rows_list.head = row

    _wrap(monkeypatch, RowList, "restore", restore)


@mutation
def what_is_put_back_has_spent_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_back(original: Any, scheduler: Scheduler, path: Path, row: int, now: WallTime) -> None:
        scheduler.rows.attempts[row] += 1
        original(scheduler, path, row, now)

    _wrap(monkeypatch, Scheduler, "put_back", put_back)


@mutation
def what_is_put_back_is_offered_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(original: Any, places: Places, queue: ScheduledQueue, row: int, path: Path, now: int) -> None:
        monkeypatch.setattr(Supply, "serve", lambda supply, path, now: None)
        original(places, queue, row, path, now)
        monkeypatch.setattr(Supply, "serve", serve)

    serve = Supply.serve
    _wrap(monkeypatch, Places, "make_ready_again", again)


@mutation
def a_deferral_forgets_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def deferred(original: Any, scheduler: Scheduler, path: Path, row: int, due: WallTime) -> None:
        original(scheduler, path, row, due)
        scheduler.rows.attempts[row] -= 1

    _wrap(monkeypatch, Scheduler, "deferred", deferred)


@mutation
def the_last_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def pop(_: Any, rows_list: RowList, rows: Any) -> int:
        row = rows_list.tail
        if row != 0xFFFFFFFF:
            rows_list.remove(rows, row)
        return row

    _wrap(monkeypatch, RowList, "pop", pop)


@mutation
def a_queue_without_mail_keeps_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(original: Any, sharing: Sharing[ScheduledQueue], queue: ScheduledQueue) -> None:
        if queue.ready:
            original(sharing, queue)

    _wrap(monkeypatch, Sharing, "leave", leave)


@mutation
def a_queue_that_comes_back_has_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(original: Any, sharing: Sharing[ScheduledQueue], queue: ScheduledQueue) -> None:
        if not queue.in_flight:
            original(sharing, queue)

    _wrap(monkeypatch, Sharing, "enter", enter)


@mutation
def doomed_mail_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrap(
        monkeypatch,
        Places,
        "fail",
        lambda _, places, queue, row, site, reply: places.forget(queue, row, 0),
    )


@mutation
def doomed_mail_fails_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(original: Any, places: Places, *rest: Any) -> None:
        original(places, *rest)
        places.ends.append(places.ends[-1])

    _wrap(monkeypatch, Places, "fail", fail)


@mutation
def expired_mail_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrap(monkeypatch, Places, "expire", lambda _, places, queue, row, site: places.forget(queue, row, 0))


@mutation
def expired_mail_aside_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "expire_aside", lambda places: False)


@mutation
def ends_know_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "ends_room", 64)


@mutation
def an_end_that_is_put_off_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_off(original: Any, places: Places, end: Any, until: int) -> None:
        original(places, end, min(until, places.rows.expires[end.row]))

    _wrap(monkeypatch, Places, "put_off", put_off)


@mutation
def an_end_that_is_put_back_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "end_put_back", lambda scheduler, end: scheduler._places.ends.append(end))


# -- everything held


@mutation
def mail_is_pulled_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(original: Any, scheduler: Scheduler, path: Path, now: WallTime) -> int:
        hold, scheduler._supply.hold = scheduler._supply.hold, None
        row: int = original(scheduler, path, now)
        scheduler._supply.hold = hold
        return row

    _wrap(monkeypatch, Scheduler, "pull", pull)


@mutation
def time_passes_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def tick(original: Any, scheduler: Scheduler, now: WallTime, budget: int = 500) -> bool:
        hold, scheduler._supply.hold = scheduler._supply.hold, None
        more: bool = original(scheduler, now, budget)
        scheduler._supply.hold = hold
        return more

    _wrap(monkeypatch, Scheduler, "tick", tick)


@mutation
def connections_are_asked_for_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        hold, supply.hold = supply.hold, None
        original(supply, path, now)
        supply.hold = hold

    _wrap(monkeypatch, Supply, "serve", serve)


@mutation
def idle_connections_are_offered_mail_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(original: Any, supply: Supply, path: Path) -> None:
        hold, supply.hold = supply.hold, None
        original(supply, path)
        supply.hold = hold

    _wrap(monkeypatch, Supply, "_offer", offer)


@mutation
def what_was_held_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def resume(scheduler: Scheduler, now: WallTime) -> None:
        scheduler._supply.hold = None

    monkeypatch.setattr(Scheduler, "resume", resume)


# -- queues and routes


@mutation
def an_empty_queue_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(original: Any, scheduler: Scheduler, name: Any, *rest: Any, **options: Any) -> int:
        queue = scheduler.queues.get(name)
        if queue is not None and not len(queue):
            del scheduler.queues[name]
        row: int = original(scheduler, name, *rest, **options)
        return row

    _wrap(monkeypatch, Scheduler, "add", add)


@mutation
def queues_are_forgotten_early(monkeypatch: pytest.MonkeyPatch) -> None:
    early = {600.0: 599_000_000}
    monkeypatch.setattr(places_module, "instant_of", lambda time: early.get(time, instant_of(time)))


@mutation
def queues_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "forget_queue", lambda places, queue: None)


@mutation
def a_hop_outlives_its_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, places: Places, queue: ScheduledQueue) -> None:
        queue.hop.users += 1
        original(places, queue)

    _wrap(monkeypatch, Places, "forget_queue", forget)


@mutation
def paths_are_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "drop_if_unused", lambda places, path: None)


@mutation
def held_paths_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(original: Any, places: Places, path: Path) -> None:
        timer, path.timer = path.timer, 0
        original(places, path)
        path.timer = timer

    _wrap(monkeypatch, Places, "drop_if_unused", drop)


@mutation
def a_route_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(original: Any, places: Places, hop: Hop, now: int) -> None:
        hop.is_resolving = False
        original(places, hop, now)

    _wrap(monkeypatch, Places, "ask_route", ask)


@mutation
def a_route_is_asked_for_during_a_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: Any, places: Places, hop: Hop, now: int) -> None:
        if not hop.is_resolving:
            hop.is_resolving = True
            places.supply.effects.append(Resolve(hop))

    _wrap(monkeypatch, Places, "ask_route", ask)


@mutation
def a_route_is_believed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(original: Any, scheduler: Scheduler, hop: Hop, route: Any, until: float, now: float) -> None:
        original(scheduler, hop, route, now + 10**8, now)

    _wrap(monkeypatch, Scheduler, "route_found", found)


@mutation
def mail_on_a_path_stays_there_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def move(original: Any, places: Places, queue: ScheduledQueue, now: int) -> None:
        if queue.path is None:
            original(places, queue, now)

    _wrap(monkeypatch, Places, "move", move)


@mutation
def one_queue_is_left_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(original: Any, scheduler: Scheduler, hop: Hop, *rest: Any) -> None:
        original(scheduler, hop, *rest)
        if hop.cursor is not None and hop.cursor.after is not None:
            hop.cursor = hop.cursor.after

    _wrap(monkeypatch, Scheduler, "route_found", found)


@mutation
def routes_of_a_dead_path_are_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "review", lambda path, count: [])


# -- connections


@mutation
def a_closed_connection_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(original: Any, supply: Supply, path: Path, now: int, *, was_closing: bool) -> None:
        path.connections += 1
        original(supply, path, now, was_closing=was_closing)

    _wrap(monkeypatch, Supply, "closed", closed)


@mutation
def a_refused_connection_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(original: Any, supply: Supply, path: Path, *rest: Any) -> None:
        path.connections += 1
        original(supply, path, *rest)

    _wrap(monkeypatch, Supply, "failed", failed)


@mutation
def the_limit_is_one_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(supply: Supply, path: Path, now: int) -> None:
        limit = path.config.connection_limit + 1
        wanted = connections_wanted(limit, path.ready + path.in_flight)
        is_held = path.hold is not None and now < path.hold.until
        while path.connections < wanted and path.opening < path.ready and not is_held:
            path.connections += 1
            path.opening += 1
            supply.effects.append(Connect(path))

    monkeypatch.setattr(Supply, "serve", serve)


@mutation
def offers_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        if path.idle:
            supply.effects.append(Offer(path))
        else:
            original(supply, path, now)

    _wrap(monkeypatch, Supply, "serve", serve)


@mutation
def one_idle_connection_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        if path.idle:
            supply._offer(path)
        else:
            original(supply, path, now)

    _wrap(monkeypatch, Supply, "serve", serve)


@mutation
def idle_connections_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Supply, "_offer", lambda supply, path: None)


@mutation
def failures_together_count_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(supply: Supply, path: Path, reason: str, now: int, draw: float) -> None:
        path.connections -= 1
        path.opening -= 1
        path.failures += 1
        supply._hold(path, reason, now, now + instant_of(reconnect_delay(path.failures, draw)))

    monkeypatch.setattr(Supply, "failed", failed)


@mutation
def a_connection_does_not_lift_the_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(supply: Supply, path: Path, now: int) -> None:
        path.opening -= 1

    monkeypatch.setattr(Supply, "connected", connected)


@mutation
def a_hold_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(supply: Supply, path: Path, reason: str, now: int, until: int) -> None:
        path.hold = Hold("connection", reason, now, until)

    monkeypatch.setattr(Supply, "_hold", hold)


@mutation
def a_dead_site_is_tried_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def released(original: Any, supply: Supply, path: Path, now: int) -> None:
        failures, path.failures = path.failures, 0
        original(supply, path, now)
        path.failures = failures

    _wrap(monkeypatch, Supply, "released", released)


@mutation
def back_off_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(original: Any, supply: Supply, path: Path, reason: str, now: int, draw: float) -> None:
        original(supply, path, reason, now, draw)
        if path.failures > 1 and path.timer > now + 1_000_000:
            supply._hold(path, reason, now, now + 1_000_000)

    _wrap(monkeypatch, Supply, "failed", failed)


@mutation
def a_site_that_served_is_held_as_if_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(original: Any, supply: Supply, path: Path, now: int, *, was_closing: bool) -> None:
        path.opening -= 1
        original(supply, path, now, was_closing=was_closing)
        path.opening += 1

    _wrap(monkeypatch, Supply, "closed", closed)


@mutation
def octets_of_what_has_ended_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, places: Places, queue: ScheduledQueue, row: int, now: int) -> None:
        before = dict(places.octets)
        original(places, queue, row, now)
        places.octets.update(before)

    _wrap(monkeypatch, Places, "forget", forget)


#: Found within seconds: the part of the campaign that every run of the suite has.
_QUICK = {
    "octets_of_what_has_ended_stay",
    "the_last_comes_first",
    "doomed_mail_vanishes",
    "expired_mail_vanishes",
    "a_closed_connection_counts_on",
    "the_limit_is_one_too_high",
    "wakes_come_a_microsecond_late",
    "a_deferral_forgets_the_attempt",
    "what_is_put_back_has_spent_an_attempt",
    "what_was_held_stays_where_it_is",
}


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(mutate, id=name, marks=[] if name in _QUICK else [pytest.mark.campaign])
        for name, mutate in MUTATIONS.items()
    ],
)
def test_the_model_finds_the_mistake(mutate: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler with a known mistake does not pass for a right one."""
    mutate(monkeypatch)
    with pytest.raises(Exception):  # noqa: B017 -- whatever it trips over
        run_state_machine_as_test(SchedulerMachine, settings=_enough)


@pytest.mark.campaign
def test_the_scheduler_without_a_mistake_passes_the_same_examples() -> None:
    """What the mistakes are found by is not found without them."""
    run_state_machine_as_test(SchedulerMachine, settings=_enough)


def test_mistakes_are_counted() -> None:
    """The list does not shrink unnoticed."""
    assert len(MUTATIONS) >= 40
    assert set(MUTATIONS) >= _QUICK

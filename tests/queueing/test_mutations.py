"""Proof that the model notices: deliberate mistakes in the scheduler, each of which it must find."""

from __future__ import annotations

from typing import Any

import pytest

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
from tests.queueing.mistakes import Mistake, Mistakes, assert_found, search, wrap

mistake = Mistakes()


# -- time


@mistake
def ready_mail_outlives_its_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    def insert(original: Any, calendar: Calendar, row: int, instant: int) -> None:
        original(calendar, row, instant + (10**12 if calendar._rows.state[row] == READY else 0))

    wrap(monkeypatch, Calendar, "insert", insert)


@mistake
def expired_mail_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(original: Any, scheduler: Scheduler, path: Path, now: WallTime) -> int:
        row: int = original(scheduler, path, WallTime(1.0))
        return row

    wrap(monkeypatch, Scheduler, "pull", pull)


@mistake
def wakes_come_a_microsecond_late(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, Calendar, "insert", lambda insert, self, row, instant: insert(self, row, instant + 1))


@mistake
def wakes_come_a_microsecond_early(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, Calendar, "insert", lambda insert, self, row, instant: insert(self, row, instant - 1))


@mistake
def what_is_nearly_due_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, Calendar, "pop", lambda pop, self, now: pop(self, now + 1))
    wrap(monkeypatch, Calendar, "open", lambda pop, self, now, size: pop(self, now + 1, size))


@mistake
def a_row_is_lost_when_its_bucket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def move(original: Any, calendar: Calendar, level: int, bucket: Any, budget: int) -> int:
        calendar.remove(bucket.tail)
        return 1 + (original(calendar, level, bucket, budget) if bucket.size else 0)

    wrap(monkeypatch, Calendar, "_move", move)


@mistake
def a_timer_only_moves_to_the_front(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_timer(original: Any, timers: Timers[Any], owner: Any, instant: int) -> None:
        if not owner.timer or instant < owner.timer:
            original(timers, owner, instant)

    wrap(monkeypatch, Timers, "set", set_timer)


@mistake
def retries_double_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scheduler_module,
        "retry_delay",
        lambda config, attempts, draw: retry_delay(config, attempts + 1, draw),
    )


@mistake
def jitter_has_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        scheduler_module,
        "retry_delay",
        lambda config, attempts, draw: retry_delay(config, attempts, 0.5 + draw / 2),
    )


@mistake
def retries_come_after_the_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    def retry_at(original: Any, scheduler: Scheduler, row: int, now: WallTime, draw: float) -> WallTime:
        due = original(scheduler, row, now, draw)
        return WallTime(now + 10_000.0) if due is None else due

    wrap(monkeypatch, Scheduler, "retry_at", retry_at)


# -- messages


@mistake
def what_is_put_back_goes_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(original: Any, places: Places, queue: ScheduledQueue, row: int, path: Path, now: int) -> None:
        places.order += 1
        places.rows.order[row] = places.order
        original(places, queue, row, path, now)

    wrap(monkeypatch, Places, "make_ready_again", again)


@mistake
def what_is_put_back_goes_to_the_front_of_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(_: Any, rows_list: RowList, rows: Any, row: int) -> None:
        head = rows_list.head
        rows.next[row], rows.previous[row] = head, 0xFFFFFFFF
        rows.previous[head] = row
        rows_list.head = row

    wrap(monkeypatch, RowList, "restore", restore)


@mistake
def what_is_put_back_has_spent_an_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_back(original: Any, scheduler: Scheduler, path: Path, row: int, now: WallTime) -> None:
        scheduler.rows.attempts[row] += 1
        original(scheduler, path, row, now)

    wrap(monkeypatch, Scheduler, "put_back", put_back)


@mistake
def what_is_put_back_is_offered_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(original: Any, places: Places, queue: ScheduledQueue, row: int, path: Path, now: int) -> None:
        monkeypatch.setattr(Supply, "serve", lambda supply, path, now: None)
        original(places, queue, row, path, now)
        monkeypatch.setattr(Supply, "serve", serve)

    serve = Supply.serve
    wrap(monkeypatch, Places, "make_ready_again", again)


@mistake
def a_deferral_forgets_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def deferred(original: Any, scheduler: Scheduler, path: Path, row: int, due: WallTime) -> None:
        original(scheduler, path, row, due)
        scheduler.rows.attempts[row] -= 1

    wrap(monkeypatch, Scheduler, "deferred", deferred)


@mistake
def the_last_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def pop(_: Any, rows_list: RowList, rows: Any) -> int:
        row = rows_list.tail
        if row != 0xFFFFFFFF:
            rows_list.remove(rows, row)
        return row

    wrap(monkeypatch, RowList, "pop", pop)


@mistake
def a_queue_without_mail_keeps_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(original: Any, sharing: Sharing[ScheduledQueue], queue: ScheduledQueue) -> None:
        if queue.ready:
            original(sharing, queue)

    wrap(monkeypatch, Sharing, "leave", leave)


@mistake
def a_queue_that_comes_back_has_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(original: Any, sharing: Sharing[ScheduledQueue], queue: ScheduledQueue) -> None:
        if not queue.in_flight:
            original(sharing, queue)

    wrap(monkeypatch, Sharing, "enter", enter)


@mistake
def doomed_mail_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(
        monkeypatch,
        Places,
        "fail",
        lambda _, places, queue, row, site, reply: places.forget(queue, row, 0),
    )


@mistake
def doomed_mail_fails_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(original: Any, places: Places, *rest: Any) -> None:
        original(places, *rest)
        places.ends.append(places.ends[-1])

    wrap(monkeypatch, Places, "fail", fail)


@mistake
def expired_mail_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    wrap(monkeypatch, Places, "expire", lambda _, places, queue, row, site: places.forget(queue, row, 0))


@mistake
def expired_mail_aside_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "expire_aside", lambda places: False)


@mistake
def ends_know_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "ends_room", 64)


@mistake
def an_end_that_is_put_off_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_off(original: Any, places: Places, end: Any, until: int) -> None:
        original(places, end, min(until, places.rows.expires[end.row]))

    wrap(monkeypatch, Places, "put_off", put_off)


@mistake
def an_end_that_is_put_back_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "end_put_back", lambda scheduler, end: scheduler._places.ends.append(end))


# -- everything held


@mistake
def mail_is_pulled_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(original: Any, scheduler: Scheduler, path: Path, now: WallTime) -> int:
        hold, scheduler._supply.hold = scheduler._supply.hold, None
        row: int = original(scheduler, path, now)
        scheduler._supply.hold = hold
        return row

    wrap(monkeypatch, Scheduler, "pull", pull)


@mistake
def time_passes_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def tick(original: Any, scheduler: Scheduler, now: WallTime, budget: int = 500) -> bool:
        hold, scheduler._supply.hold = scheduler._supply.hold, None
        more: bool = original(scheduler, now, budget)
        scheduler._supply.hold = hold
        return more

    wrap(monkeypatch, Scheduler, "tick", tick)


@mistake
def connections_are_asked_for_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        hold, supply.hold = supply.hold, None
        original(supply, path, now)
        supply.hold = hold

    wrap(monkeypatch, Supply, "serve", serve)


@mistake
def idle_connections_are_offered_mail_while_all_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(original: Any, supply: Supply, path: Path) -> None:
        hold, supply.hold = supply.hold, None
        original(supply, path)
        supply.hold = hold

    wrap(monkeypatch, Supply, "_offer", offer)


@mistake
def what_was_held_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def resume(scheduler: Scheduler, now: WallTime) -> None:
        scheduler._supply.hold = None

    monkeypatch.setattr(Scheduler, "resume", resume)


# -- queues and routes


@mistake
def an_empty_queue_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(original: Any, scheduler: Scheduler, name: Any, *rest: Any, **options: Any) -> int:
        queue = scheduler.queues.get(name)
        if queue is not None and not len(queue):
            del scheduler.queues[name]
        row: int = original(scheduler, name, *rest, **options)
        return row

    wrap(monkeypatch, Scheduler, "add", add)


@mistake
def queues_are_forgotten_early(monkeypatch: pytest.MonkeyPatch) -> None:
    early = {600.0: 599_000_000}
    monkeypatch.setattr(places_module, "instant_of", lambda time: early.get(time, instant_of(time)))


@mistake
def queues_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "forget_queue", lambda places, queue: None)


@mistake
def a_hop_outlives_its_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, places: Places, queue: ScheduledQueue) -> None:
        queue.hop.users += 1
        original(places, queue)

    wrap(monkeypatch, Places, "forget_queue", forget)


@mistake
def paths_are_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "drop_if_unused", lambda places, path: None)


@mistake
def held_paths_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(original: Any, places: Places, path: Path) -> None:
        timer, path.timer = path.timer, 0
        original(places, path)
        path.timer = timer

    wrap(monkeypatch, Places, "drop_if_unused", drop)


@mistake
def a_route_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(original: Any, places: Places, hop: Hop, now: int) -> None:
        hop.is_resolving = False
        original(places, hop, now)

    wrap(monkeypatch, Places, "ask_route", ask)


@mistake
def a_route_is_asked_for_during_a_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: Any, places: Places, hop: Hop, now: int) -> None:
        if not hop.is_resolving:
            hop.is_resolving = True
            places.supply.effects.append(Resolve(hop))

    wrap(monkeypatch, Places, "ask_route", ask)


@mistake
def a_route_is_believed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(original: Any, scheduler: Scheduler, hop: Hop, route: Any, until: float, now: float) -> None:
        original(scheduler, hop, route, now + 10**8, now)

    wrap(monkeypatch, Scheduler, "route_found", found)


@mistake
def mail_on_a_path_stays_there_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def move(original: Any, places: Places, queue: ScheduledQueue, now: int) -> None:
        if queue.path is None:
            original(places, queue, now)

    wrap(monkeypatch, Places, "move", move)


@mistake
def one_queue_is_left_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(original: Any, scheduler: Scheduler, hop: Hop, *rest: Any) -> None:
        original(scheduler, hop, *rest)
        if hop.cursor is not None and hop.cursor.after is not None:
            hop.cursor = hop.cursor.after

    wrap(monkeypatch, Scheduler, "route_found", found)


@mistake
def routes_of_a_dead_path_are_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "review", lambda path, count: [])


# -- connections


@mistake
def a_closed_connection_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(original: Any, supply: Supply, path: Path, now: int, *, was_closing: bool) -> None:
        path.connections += 1
        original(supply, path, now, was_closing=was_closing)

    wrap(monkeypatch, Supply, "closed", closed)


@mistake
def a_refused_connection_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(original: Any, supply: Supply, path: Path, *rest: Any) -> None:
        path.connections += 1
        original(supply, path, *rest)

    wrap(monkeypatch, Supply, "failed", failed)


@mistake
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


@mistake
def offers_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        if path.idle:
            supply.effects.append(Offer(path))
        else:
            original(supply, path, now)

    wrap(monkeypatch, Supply, "serve", serve)


@mistake
def one_idle_connection_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(original: Any, supply: Supply, path: Path, now: int) -> None:
        if path.idle:
            supply._offer(path)
        else:
            original(supply, path, now)

    wrap(monkeypatch, Supply, "serve", serve)


@mistake
def idle_connections_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Supply, "_offer", lambda supply, path: None)


@mistake
def failures_together_count_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(supply: Supply, path: Path, reason: str, now: int, draw: float) -> None:
        path.connections -= 1
        path.opening -= 1
        path.failures += 1
        supply._hold(path, reason, now, now + instant_of(reconnect_delay(path.failures, draw)))

    monkeypatch.setattr(Supply, "failed", failed)


@mistake
def a_connection_does_not_lift_the_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(supply: Supply, path: Path, now: int) -> None:
        path.opening -= 1

    monkeypatch.setattr(Supply, "connected", connected)


@mistake
def a_hold_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(supply: Supply, path: Path, reason: str, now: int, until: int) -> None:
        path.hold = Hold("connection", reason, now, until)

    monkeypatch.setattr(Supply, "_hold", hold)


@mistake
def a_dead_site_is_tried_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def released(original: Any, supply: Supply, path: Path, now: int) -> None:
        failures, path.failures = path.failures, 0
        original(supply, path, now)
        path.failures = failures

    wrap(monkeypatch, Supply, "released", released)


@mistake
def back_off_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(original: Any, supply: Supply, path: Path, reason: str, now: int, draw: float) -> None:
        original(supply, path, reason, now, draw)
        if path.failures > 1 and path.timer > now + 1_000_000:
            supply._hold(path, reason, now, now + 1_000_000)

    wrap(monkeypatch, Supply, "failed", failed)


@mistake
def a_site_that_served_is_held_as_if_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(original: Any, supply: Supply, path: Path, now: int, *, was_closing: bool) -> None:
        path.opening -= 1
        original(supply, path, now, was_closing=was_closing)
        path.opening += 1

    wrap(monkeypatch, Supply, "closed", closed)


@mistake
def octets_of_what_has_ended_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, places: Places, queue: ScheduledQueue, row: int, now: int) -> None:
        before = dict(places.octets)
        original(places, queue, row, now)
        places.octets.update(before)

    wrap(monkeypatch, Places, "forget", forget)


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
    "make",
    mistake.cases(rare=set(mistake) - _QUICK),
)
def test_the_model_finds_the_mistake(make: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler with a known mistake does not pass for a right one."""
    make(monkeypatch)
    assert_found(SchedulerMachine)


@pytest.mark.campaign
def test_the_scheduler_without_a_mistake_passes_the_same_examples() -> None:
    """What the mistakes are found by is not found without them."""
    search(SchedulerMachine)


def test_mistakes_are_counted() -> None:
    """The list does not shrink unnoticed."""
    assert len(mistake) >= 40
    assert set(mistake) >= _QUICK

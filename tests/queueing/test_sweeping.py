"""Sweeps by example: what they do, to what, and in what slices."""

from __future__ import annotations

from collections import Counter

import pytest

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.directive import (
    Action,
    Criteria,
    Directive,
    Order,
    Progress,
    Rebinding,
    Sweep,
    SweepAction,
)
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.schedule import Schedule, parse_schedule
from penstock.net.zones import zone_of
from penstock.queueing.effects import Drop, End, Expire, Flush, Rebind
from penstock.queueing.scheduler import Scheduler
from penstock.queueing.sweeping import SWEEPS_LIMIT
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

#: A Thursday, 21:00 in Vienna.
NOW = WallTime(1_763_668_800.0)
A = QueueName("a.example", "t1")
B = QueueName("b.example", "t2")


def made(*, max_age: dict[str | None, float] | None = None, ends_limit: int = 1000) -> Scheduler:
    """A scheduler without mail; ``max_age`` by tenant."""
    ages = max_age or {}
    return Scheduler(
        lambda name: QueueConfig(max_age=Seconds(ages.get(name.tenant, 86_400.0))),
        lambda site: PathConfig(),
        ends_limit=ends_limit,
        zone_of=zone_of,
    )


def add(
    scheduler: Scheduler, name: QueueName, count: int = 1, *, due: float = 600.0, age: float = 0.0,
    schedule: Schedule | None = None,
) -> list[int]:  # fmt: skip
    """Messages come in; their rows. Positions are those of the rows."""
    return [
        scheduler.add(
            name, len(scheduler) + 1, 10, created=WallTime(NOW - age), now=NOW,
            due=WallTime(NOW + due) if due else None, schedule=schedule,
        )
        for _ in range(count)
    ]  # fmt: skip


def sweep(
    scheduler: Scheduler,
    action: SweepAction,
    which: Criteria | None = None,
    rebinding: Rebinding | None = None,
) -> str:
    """Begin a sweep; its id."""
    identity = f"{action.value}-{len(scheduler.sweeps)}"
    order = Order(identity, action, "because", rebinding=rebinding or Rebinding())
    scheduler.sweep(Sweep(order, which or Criteria(), NOW))
    return identity


def ends(scheduler: Scheduler, *, now: WallTime = NOW, record: bool = True) -> list[End]:
    """Everything that ends when nothing else happens, recorded."""
    found: list[End] = []
    while scheduler.is_behind or scheduler.has_ends or (scheduler.next_wake() or now + 1.0) <= now:
        scheduler.tick(now)
        while (end := scheduler.take_end()) is not None:
            found.append(end)
            if record:
                scheduler.end_recorded(end, now)
    return found


def connected(scheduler: Scheduler, name: QueueName) -> int:
    """The queue's mail has a route and one connection; the row that is pulled."""
    hop = scheduler.queues[name].hop
    route = Route("mx.example", (Exchange(10, "mx.example"),), MonotonicTime(0.0))
    scheduler.route_found(hop, route, WallTime(NOW + 86_400.0), NOW)
    while scheduler.tick(NOW):
        pass
    scheduler.take_effects()
    path = scheduler.paths["mx.example"]
    scheduler.connected(path, NOW)
    return scheduler.pull(path, NOW)


# -- what is done


def test_a_bounce_tells_why() -> None:
    """551 5.7.1, and the reason as it was given; a deletion likewise, in other words."""
    scheduler = made()
    add(scheduler, A)
    sweep(scheduler, SweepAction.BOUNCE)
    (bounce,) = ends(scheduler)
    assert isinstance(bounce, Drop)
    assert str(bounce.reply) == "551 5.7.1 Penstock internal: bounced by an administrator: because"
    add(scheduler, A)
    sweep(scheduler, SweepAction.DELETE)
    (deletion,) = ends(scheduler)
    assert isinstance(deletion, Drop)
    assert str(deletion.reply) == "551 5.7.1 Penstock internal: deleted by an administrator: because"
    assert not len(scheduler)


def test_a_sweep_takes_what_waits_and_what_is_ready() -> None:
    """Of the queues that match, and nothing of others."""
    scheduler = made()
    add(scheduler, A, 3)
    add(scheduler, A, 2, due=0.0)
    add(scheduler, B, 4)
    identity = sweep(scheduler, SweepAction.DELETE, Criteria(tenant="t1"))
    assert len(ends(scheduler)) == 5
    assert scheduler.sweeps[identity] == Progress(5, 5, is_over=True)
    assert len(scheduler) == len(scheduler.queues[B]) == 4


def test_a_flush_makes_waiting_mail_due() -> None:
    """Without an attempt; mail that is ready is left alone."""
    scheduler = made()
    waiting = add(scheduler, A, 3)
    add(scheduler, A, 2, due=0.0)
    identity = sweep(scheduler, SweepAction.FLUSH)
    found = ends(scheduler)
    assert all(isinstance(end, Flush) and end.due == NOW for end in found)
    assert [end.row for end in found] == waiting
    assert scheduler.sweeps[identity].done == 3
    assert (scheduler.queues[A].ready, scheduler.queues[A].waiting) == (5, 0)


def test_mail_that_is_rebound_is_due_at_once() -> None:
    """In the other queue, with its attempts and its age; mail that was ready is so there."""
    scheduler = made()
    add(scheduler, A, 2, age=50.0)
    add(scheduler, A, due=0.0)
    sweep(scheduler, SweepAction.REBIND, Criteria(tenant="t1"), Rebinding(tenant="t9", campaign="spring"))
    found = ends(scheduler)
    assert Counter(isinstance(end, Rebind) and end.due for end in found) == {NOW: 2, None: 1}
    there = scheduler.queues[QueueName("a.example", "t9", "spring")]
    assert (there.ready, there.octets, scheduler.octets) == (3, 30, {"t9": 30})
    assert len(scheduler.queues[A]) == 0


def test_a_rebind_that_changes_nothing_does_nothing() -> None:
    """Mail that is where it would go is not moved, and not made due."""
    scheduler = made()
    add(scheduler, A)
    identity = sweep(scheduler, SweepAction.REBIND, None, Rebinding(tenant="t1"))
    assert ends(scheduler) == []
    assert scheduler.sweeps[identity] == Progress(0, 0, is_over=True)


def test_the_later_of_two_rebinds_has_the_last_word() -> None:
    """Whoever corrects a mistake need not wait until it has been made everywhere, and no message goes to and fro."""
    scheduler = made()
    add(scheduler, A, 40)
    add(scheduler, QueueName("a.example", "right"), 40)
    wrong = sweep(scheduler, SweepAction.REBIND, Criteria(domain="a.example"), Rebinding(tenant="wrong"))
    right = sweep(scheduler, SweepAction.REBIND, Criteria(domain="a.example"), Rebinding(tenant="right"))
    assert 80 <= len(ends(scheduler)) <= 200
    assert len(scheduler.queues[QueueName("a.example", "right")]) == len(scheduler) == 80
    assert all(scheduler.sweeps[identity].is_over for identity in (wrong, right))
    assert not scheduler._sweeping._rebound


def test_a_rebind_that_is_given_once_more_is_as_old_as_it_was() -> None:
    """A later one that has mail in hand keeps it, if that is put off and the earlier one comes again meanwhile."""
    scheduler = made()
    first = Sweep(
        Order("first", SweepAction.REBIND, "", rebinding=Rebinding(campaign="one")), Criteria(), NOW
    )
    scheduler.sweep(first)
    add(scheduler, A, 2)
    ends(scheduler)
    identity = sweep(scheduler, SweepAction.REBIND, rebinding=Rebinding(campaign="two"))
    while not scheduler.has_ends:
        scheduler.tick(NOW)
    end, waiting = scheduler.take_end(), scheduler.take_end()
    assert end is not None and waiting is not None
    scheduler.sweep(first)
    scheduler.end_recorded(end, NOW)
    ends(scheduler)
    scheduler.end_recorded(waiting, NOW)
    ends(scheduler)
    assert len(scheduler.queues[QueueName("a.example", "t1", "two")]) == 2
    assert scheduler.sweeps[identity].is_over and scheduler.sweeps["first"].is_over


def test_what_is_left_of_a_rebound_messages_time_is_by_its_new_queue() -> None:
    """One that is too old there expires at once; the sender's own end counts anywhere."""
    scheduler = made(max_age={"t9": 100.0})
    add(scheduler, A, age=50.0)
    add(scheduler, A, age=150.0)
    add(scheduler, A, age=150.0, schedule=Schedule(expires=WallTime(NOW + 5.0)))
    sweep(scheduler, SweepAction.REBIND, None, Rebinding(tenant="t9"))
    found = ends(scheduler)
    assert [type(end) for end in found] == [Rebind, Rebind, Rebind, Expire]
    assert sorted(scheduler.rows.expires[end.row] / 1e6 - NOW for end in (found[0], found[2])) == [5.0, 50.0]


# -- the sender's hours


def _hours(start: str, end: str) -> Schedule:
    return parse_schedule(
        f'{{"dow": "Thu,Fri", "tz": "Europe/Vienna", "start": "{start}", "end": "{end}"}}', zone_of
    )


def test_a_flush_leaves_mail_outside_its_hours_alone() -> None:
    """What its sender wants later stays until then; within the hours it is flushed."""
    scheduler = made()
    add(scheduler, A, schedule=_hours("09:00:00", "17:00:00"))
    add(scheduler, A, schedule=Schedule(first_attempt=WallTime(NOW + 60.0)))
    (within,) = add(scheduler, A, schedule=_hours("19:00:00", "22:00:00"))
    sweep(scheduler, SweepAction.FLUSH)
    assert [end.row for end in ends(scheduler)] == [within]
    assert scheduler.queues[A].waiting == 2


def test_mail_is_rebound_with_its_hours() -> None:
    """It is due there when they begin."""
    scheduler = made()
    (row,) = add(scheduler, A, due=0.0, schedule=_hours("09:00:00", "17:00:00"))
    sweep(scheduler, SweepAction.REBIND, None, Rebinding(tenant="t9"))
    (end,) = ends(scheduler)
    assert isinstance(end, Rebind)
    opens = WallTime(NOW + 12 * 3600)
    assert end.due == opens
    assert scheduler.queues[QueueName("a.example", "t9")].waiting == 1
    assert scheduler.rows.wake[row] == round(opens * 1e6)


def test_mail_that_goes_back_to_waiting_for_its_hours_is_not_missed() -> None:
    """Its hours are over when it is about to be pulled: then the sweep has been through what waits, and not yet through what is ready."""
    scheduler = made(ends_limit=2)
    add(scheduler, A, 1, due=0.0)
    connected(scheduler, A)
    add(scheduler, A, 2)
    add(scheduler, A, 1, due=0.0, schedule=_hours("19:00:00", "21:00:01"))
    identity = sweep(scheduler, SweepAction.DELETE)
    while scheduler.is_behind:
        scheduler.tick(NOW, 1)
    assert (scheduler.queues[A].waiting, scheduler.queues[A].ready) == (0, 1)
    assert scheduler.pull(scheduler.paths["mx.example"], WallTime(NOW + 2.0)) == -1
    assert (scheduler.queues[A].waiting, scheduler.queues[A].ready) == (1, 0)
    assert len(ends(scheduler)) == 3
    scheduler.settled(scheduler.paths["mx.example"], 0, NOW)
    assert scheduler.sweeps[identity] == Progress(3, 3, is_over=True)


# -- how far it is


def test_a_sweep_is_over_when_the_last_of_it_is_recorded() -> None:
    """Not when it was found, and not before what is in flight has come back or gone."""
    scheduler = made()
    add(scheduler, A, 2, due=0.0)
    row = connected(scheduler, A)
    identity = sweep(scheduler, SweepAction.DELETE)
    (found,) = ends(scheduler, record=False)
    assert scheduler.sweeps[identity] == Progress(2, 0)
    scheduler.end_recorded(found, NOW)
    assert scheduler.sweeps[identity] == Progress(2, 1)
    scheduler.deferred(scheduler.paths["mx.example"], row, WallTime(NOW + 600.0))
    (last,) = ends(scheduler)
    assert (last.row, last.attempts) == (row, 1)
    assert scheduler.sweeps[identity] == Progress(2, 2, is_over=True)


def test_mail_that_is_delivered_first_is_not_counted() -> None:
    """A sweep is over without it."""
    scheduler = made()
    add(scheduler, A, 1, due=0.0)
    row = connected(scheduler, A)
    identity = sweep(scheduler, SweepAction.BOUNCE)
    assert ends(scheduler) == []
    assert not scheduler.sweeps[identity].is_over
    scheduler.settled(scheduler.paths["mx.example"], row, NOW)
    assert scheduler.sweeps[identity] == Progress(0, 0, is_over=True)


def test_what_a_directive_ends_counts_for_its_sweep() -> None:
    """A bounce is both: mail that the directive comes to first is done too."""
    scheduler = made()
    add(scheduler, A, 3, due=0.0)
    add(scheduler, A, 3)
    directive = Directive(
        "bounce", Action.BOUNCE, "because", NOW, WallTime(NOW + 300.0), Criteria(tenant="t1")
    )
    scheduler.direct(directive, NOW)
    scheduler.sweep(Sweep(Order("bounce", SweepAction.BOUNCE, "because"), Criteria(tenant="t1"), NOW))
    assert len(ends(scheduler)) == 6
    assert scheduler.sweeps["bounce"] == Progress(6, 6, is_over=True)


def test_a_sweep_that_is_given_again_goes_on_as_it_is() -> None:
    """While it is under way; after that it is done once more, to what is left."""
    scheduler = made()
    add(scheduler, A, 3)
    given = Sweep(Order("again", SweepAction.DELETE, ""), Criteria(), NOW)
    scheduler.sweep(given)
    scheduler.tick(NOW)
    scheduler.sweep(given)
    assert len(ends(scheduler)) == 3
    add(scheduler, A, 2)
    scheduler.sweep(given)
    assert len(ends(scheduler)) == 2
    assert scheduler.sweeps["again"] == Progress(2, 2, is_over=True)


def test_no_sweep_is_over_before_mail_from_before_the_start_is_there() -> None:
    """What comes meanwhile is swept, however long it takes, and what was accepted since is not."""
    scheduler = made()
    scheduler.filling_began()
    identity = sweep(scheduler, SweepAction.DELETE)
    assert ends(scheduler) == []
    assert not scheduler.sweeps[identity].is_over
    add(scheduler, A, 2500, age=10.0)
    assert len(ends(scheduler)) == 2500
    add(scheduler, A, age=-1.0)
    assert ends(scheduler) == []
    assert not scheduler.sweeps[identity].is_over
    scheduler.filled()
    assert scheduler.sweeps[identity] == Progress(2500, 2500, is_over=True)
    assert len(scheduler) == 1


def test_a_message_that_is_lost_is_done_with() -> None:
    """The spool cannot read it any more, whatever was to become of it."""
    scheduler = made()
    add(scheduler, A)
    identity = sweep(scheduler, SweepAction.REBIND, None, Rebinding(tenant="t9"))
    (end,) = ends(scheduler, record=False)
    scheduler.end_lost(end, NOW)
    assert scheduler.sweeps[identity].is_over
    assert not len(scheduler)


# -- bounds


def test_a_slice_is_bounded() -> None:
    """However much there is to do, a call does about its budget, and leaves room for what ends otherwise to be recorded."""
    scheduler = made()
    add(scheduler, A, 3000)
    sweep(scheduler, SweepAction.DELETE)
    slices = []
    while scheduler.is_behind:
        scheduler.tick(NOW)
        slices.append(0)
        while (end := scheduler.take_end()) is not None:
            slices[-1] += 1
            scheduler.end_recorded(end, NOW)
    assert sum(slices) == 3000
    assert max(slices) <= 500 // 3 + 8


def test_sweeps_take_turns() -> None:
    """A small one need not wait for a large one."""
    scheduler = made()
    add(scheduler, A, 5000)
    add(scheduler, B, 1)
    large = sweep(scheduler, SweepAction.DELETE, Criteria(tenant="t1"))
    small = sweep(scheduler, SweepAction.DELETE, Criteria(tenant="t2"))
    for _ in range(3):
        scheduler.tick(NOW)
        while (end := scheduler.take_end()) is not None:
            scheduler.end_recorded(end, NOW)
    assert scheduler.sweeps[small].is_over
    assert not scheduler.sweeps[large].is_over


def test_mail_beyond_the_room_stays_where_it_is() -> None:
    """Until the ends before it have been taken."""
    scheduler = made(ends_limit=10)
    add(scheduler, A, 25)
    sweep(scheduler, SweepAction.DELETE)
    while scheduler.is_behind:
        scheduler.tick(NOW)
    assert scheduler.queues[A].waiting == 15
    assert scheduler.next_wake() == NOW + 600.0
    assert len(ends(scheduler)) == 25


def test_only_so_many_sweeps_are_under_way() -> None:
    """One too many is refused, and one that is cancelled makes room."""
    scheduler = made()
    scheduler.filling_began()
    for number in range(SWEEPS_LIMIT):
        scheduler.sweep(Sweep(Order(str(number), SweepAction.FLUSH, ""), Criteria(), NOW))
    late = Sweep(Order("late", SweepAction.FLUSH, ""), Criteria(), NOW)
    with pytest.raises(ValueError, match="1000 sweeps are under way; cancel some"):
        scheduler.sweep(late)
    for number in range(SWEEPS_LIMIT):
        assert scheduler.cancel_sweep(str(number))
    scheduler.filled()
    scheduler.sweep(late)
    ends(scheduler)
    assert scheduler.sweeps["late"].is_over
    assert not scheduler.cancel_sweep("late")


def test_more_mail_than_is_remembered_row_by_row_comes_back() -> None:
    """Its queues are gone through again."""
    scheduler = made()
    scheduler.filling_began()
    identity = sweep(scheduler, SweepAction.DELETE)
    ends(scheduler)
    add(scheduler, A, 1500, age=1.0)
    add(scheduler, B, 10, age=1.0)
    scheduler.filled()
    run = scheduler._sweeping.runs[identity]
    assert len(run.rows) == 1000
    assert set(run.again) == {A, B}
    assert len(ends(scheduler)) == 1510


# -- one message


def test_a_message_is_found_by_its_position() -> None:
    """In steps; one that is gone is not found, though its row still has its position."""
    scheduler = made()
    rows = add(scheduler, A, 3000)
    finding = scheduler.find(2500)
    steps = 0
    while finding.step(100):
        steps += 1
    assert finding.row == rows[2499]
    assert steps == 24
    sweep(scheduler, SweepAction.DELETE)
    ends(scheduler)
    gone = scheduler.find(2500)
    while gone.step(100):
        pass
    assert gone.row is None


def test_a_freed_row_does_not_hide_the_message() -> None:
    """Two rows may have one position, where a message was moved; the one that is queued is found."""
    scheduler = made()
    first, _ = add(scheduler, A, 2)
    scheduler.order(first, Order("x", SweepAction.DELETE, ""))
    ends(scheduler)
    filler = scheduler.add(B, 77, 10, created=NOW, now=NOW)
    again = scheduler.add(A, 1, 10, created=NOW, now=NOW)
    assert (filler, again) == (first, 2)
    finding = scheduler.find(1)
    while finding.step():
        pass
    assert finding.row == again


@pytest.mark.parametrize("action", list(SweepAction))
def test_an_order_is_about_one_message(action: SweepAction) -> None:
    """Whatever it is, others in its queue stay as they are."""
    scheduler = made()
    rows = add(scheduler, A, 3)
    scheduler.order(rows[1], Order("one", action, "because", rebinding=Rebinding(campaign="spring")))
    (end,) = ends(scheduler)
    assert end.row == rows[1]
    assert scheduler.sweeps["one"] == Progress(1, 1, is_over=True)
    assert scheduler.queues[A].waiting == 2

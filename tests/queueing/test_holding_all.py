"""What ends without a connection is bounded; while all is held nothing begins or ends, and many paths go on in slices."""

from __future__ import annotations

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import reply
from penstock.queueing.effects import Connect, Effect, Expire, Fail, Resolve
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

NOW = WallTime(1_800_000_000.0)
NOBODY = reply(550, "5.1.2", "Penstock internal: domain does not exist")
LIMIT = 5


def scheduler(*, max_age: float = 3600.0) -> Scheduler:
    """A scheduler of whose ends few may wait."""
    queue = QueueConfig(max_age=Seconds(max_age))
    return Scheduler(lambda name: queue, lambda site: PathConfig(connection_limit=3), ends_limit=LIMIT)


def add(made: Scheduler, domain: str, count: int = 1, *, age: float = 0.0, due: float | None = None) -> None:
    """Messages for a domain, received so long ago, due so many seconds from now."""
    for number in range(count):
        made.add(
            QueueName(domain),
            number,
            100,
            created=WallTime(NOW - age),
            now=NOW,
            due=None if due is None else WallTime(NOW + due),
        )


def found(made: Scheduler, now: WallTime = NOW) -> list[Effect]:
    """Find every route that is asked for, to a site for each domain; what is asked for then."""
    for effect in made.take_effects():
        assert isinstance(effect, Resolve)
        site = f"mx.{effect.hop.name}"
        route = Route(site, (Exchange(10, site),), MonotonicTime(0.0))
        made.route_found(effect.hop, route, WallTime(now + 10.0**6), now)
    while made.tick(now):
        pass
    return made.take_effects()


def test_ends_that_nobody_takes_are_bounded_and_hold_up_nothing_else() -> None:
    """Expired and doomed mail waits where it is; new mail is routed and connected, and nothing turns meanwhile."""
    made = scheduler()
    add(made, "old.test", 20, age=4000.0)
    add(made, "doomed.test", 20)
    (doomed,) = made.take_effects()
    assert isinstance(doomed, Resolve)
    made.route_failed(doomed.hop, NOBODY, NOW, NOW, is_permanent=True)
    while made.tick(NOW):
        pass
    assert not made.is_behind
    assert len(made) == 40
    add(made, "new.test")
    (connect,) = found(made)
    assert isinstance(connect, Connect)
    made.connected(connect.path, NOW)
    assert made.pull(connect.path, NOW) >= 0
    ends = []
    for _ in range(1000):
        end = made.take_end()
        if end is None:
            break
        ends.append(end)
        assert len(made) == 41, "it is queued until it is recorded"
        made.tick(NOW)
    assert [type(end) for end in ends].count(Expire) == 20
    assert [type(end) for end in ends].count(Fail) == 20
    assert len({end.row for end in ends}) == 40
    for end in ends:
        made.end_recorded(end, NOW)
    assert len(made) == 1


def test_what_expires_in_a_pull_is_bounded_too() -> None:
    """The connection gets the first message that is in time, however many before it are not."""
    made = scheduler()
    add(made, "a.test", 40, age=3599.0)
    (connect, *_) = found(made)
    assert isinstance(connect, Connect)
    made.connected(connect.path, NOW)
    later = WallTime(NOW + 2.0)
    made.add(QueueName("a.test"), 77, 100, created=later, now=later)
    rows = [made.pull(connect.path, later) for _ in range(3)]
    assert [made.rows.position[row] for row in rows if row >= 0] == [77]
    assert len(made) == 41
    ends = 0
    while made.is_behind or made.has_ends:
        made.tick(later)
        if (end := made.take_end()) is not None:
            made.end_recorded(end, later)
            ends += 1
    assert ends == 40
    assert len(made) == 1


def test_mail_that_is_too_old_when_it_comes_ends_without_asking_for_a_way() -> None:
    """No route, no connection, no attempt; a due time in the past is now, one beyond the expiry is the expiry."""
    made = scheduler()
    add(made, "a.test", 1, age=3600.0)
    add(made, "a.test", 1, age=3700.0, due=-100.0)
    add(made, "a.test", 1, age=3700.0, due=50.0)
    add(made, "a.test", 1, age=3500.0, due=500.0)
    assert not made.has_effects
    assert made.next_wake() == NOW - 100.0
    made.tick(NOW)
    assert [made.take_end() is not None for _ in range(4)] == [True, True, True, False]
    assert made.next_wake() == NOW + 100.0
    add(made, "a.test", 1, age=10.0, due=-5.0)
    assert [type(effect) for effect in made.take_effects()] == [Resolve]


def test_a_hold_of_all_is_one_hold_however_often_it_is_said() -> None:
    """Since when is when it began; the reason is the last one."""
    made = scheduler()
    assert made.hold is None
    made.pause("spool", "first", NOW)
    made.pause("spool", "second", WallTime(NOW + 5.0))
    hold = made.hold
    assert hold is not None
    assert (hold.gate, hold.reason, hold.since, hold.until) == ("spool", "second", 1_000_000 * NOW, 0)
    made.resume(WallTime(NOW + 6.0))
    assert made.hold is None


def test_doomed_mail_does_not_fail_while_all_is_held() -> None:
    """It does afterwards, and nothing turns meanwhile."""
    made = scheduler()
    add(made, "doomed.test", 3)
    (resolve,) = made.take_effects()
    assert isinstance(resolve, Resolve)
    made.pause("spool", "no", NOW)
    made.route_failed(resolve.hop, NOBODY, NOW, NOW, is_permanent=True)
    assert not made.tick(NOW)
    assert not made.is_behind
    assert made.take_end() is None
    made.resume(NOW)
    assert made.is_behind
    made.tick(NOW)
    assert [type(made.take_end()) for _ in range(3)] == [Fail] * 3


def test_many_paths_go_on_in_slices() -> None:
    """Each asks for its connection once, and no single call does it for all of them."""
    made = scheduler()
    made.pause("spool", "no", NOW)
    for number in range(1000):
        add(made, f"d{number}.test")
    assert found(made) == []
    assert len(made.paths) == 1000
    made.resume(NOW)
    slices = [len(made.take_effects())]
    while made.is_behind:
        made.tick(NOW, budget=1)
        slices.append(len(made.take_effects()))
    assert sum(slices) == 1000
    assert max(slices) <= 64


def test_holding_all_again_and_again_leaves_nothing_behind() -> None:
    """What was left of one going on is part of the next."""
    made = scheduler()
    made.pause("spool", "no", NOW)
    for number in range(200):
        add(made, f"d{number}.test")
    assert found(made) == []
    asked = 0
    for _ in range(5):
        made.resume(NOW)
        asked += len(made.take_effects())
        made.pause("spool", "no", NOW)
    made.resume(NOW)
    turns = 0
    while made.is_behind:
        made.tick(NOW, budget=1)
        turns += 1
    assert asked + len(made.take_effects()) == 200
    assert turns <= 200 // 64 + 1

"""The sender's hours and end in the scheduler; what messages cost of a path's turns."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest

from penstock.mail.configuration import PathConfig, QueueConfig, ShareBy
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.schedule import Schedule, Window
from penstock.queueing.effects import Expire, Resolve
from penstock.queueing.queues import Path
from tests.queueing.bench import BEGIN, Bench

NAME = QueueName("a.example", "acme")
HOUR = 3600.0


def hours(first: float, last: float) -> Window:
    """Every day, from so many seconds after the beginning to so many, in a zone that is known."""
    begins, ends = (dt.datetime.fromtimestamp(BEGIN + each, dt.UTC).time() for each in (first, last))
    return Window(frozenset(range(7)), "UTC", begins, ends)


def add(bench: Bench, schedule: Schedule | None, *, due: float | None = None, position: int = 1) -> int:
    """A message with a schedule; its row."""
    return bench.scheduler.add(
        NAME,
        position,
        1000,
        created=bench.wall,
        now=bench.wall,
        due=WallTime(due) if due is not None else None,
        schedule=schedule,
    )


def connected(bench: Bench) -> Path:
    """A connection that may pull; the route is known, and no other connection is made."""
    scheduler = bench.scheduler
    for effect in scheduler.take_effects():
        if isinstance(effect, Resolve):
            bench.found(effect.hop)
    while scheduler.tick(bench.wall):
        pass
    path = scheduler.paths["mx.example"]
    scheduler.connected(path, bench.wall)
    return path


def test_mail_is_due_when_its_sender_wants_it() -> None:
    """At the first moment, or at the beginning of the hours; not a microsecond before."""
    bench = Bench()
    add(bench, Schedule(first_attempt=WallTime(BEGIN + 100.0)), position=1)
    add(bench, Schedule(window=hours(HOUR, 2 * HOUR)), position=2)
    add(bench, Schedule(WallTime(BEGIN + 5400.5), hours(HOUR, 2 * HOUR)), position=3)
    add(bench, Schedule(first_attempt=WallTime(BEGIN - 100.0)), position=4)
    bench.pass_time(3 * HOUR)
    assert [round(time - BEGIN, 6) for time, _ in bench.delivered] == [0.0, 100.0, 3600.0, 5400.5]


def test_hours_of_a_zone_that_is_not_known_hold_nothing() -> None:
    """Late beats lost, and here there is nothing to wait for."""
    bench = Bench()
    window = hours(HOUR, 2 * HOUR)
    add(bench, Schedule(window=Window(window.days, "Mars/Olympus", window.start, window.end)))
    bench.settle()
    assert len(bench.delivered) == 1


def test_mail_whose_hours_are_over_at_the_pull_waits_for_the_next() -> None:
    """It has spent nothing; what stands behind it goes."""
    bench = Bench()
    row = add(bench, Schedule(window=hours(-HOUR, HOUR)), position=1)
    add(bench, None, position=2)
    scheduler = bench.scheduler
    path = connected(bench)
    bench.now += HOUR
    pulled = scheduler.pull(path, bench.wall)
    assert scheduler.rows.position[pulled] == 2 and scheduler.pull(path, bench.wall) < 0
    scheduler.settled(path, pulled, bench.wall)
    scheduler.connection_closed(path, bench.wall)
    bench.now += 1.0
    assert scheduler.next_wake() == BEGIN + 23 * HOUR
    bench.pass_time(23 * HOUR)
    assert [round(time - BEGIN, 6) for time, _ in bench.delivered] == [23 * HOUR]
    assert scheduler.rows.attempts[row] == 0


def test_a_retry_keeps_to_the_hours() -> None:
    """Its time by the formula, or the beginning of the hours after it."""
    bench = Bench({"acme": QueueConfig(retry_interval=Seconds(1200.0))})
    row = add(bench, Schedule(window=hours(-HOUR, 600.0)))
    path = connected(bench)
    assert bench.scheduler.pull(path, bench.wall) == row
    assert bench.scheduler.retry_at(row, bench.wall, 0.5) == BEGIN + 23 * HOUR
    other = add(bench, None, position=2)
    assert bench.scheduler.retry_at(other, bench.wall, 0.5) == BEGIN + 1200.0


def test_a_retry_after_the_senders_end_is_none() -> None:
    """Though the queue's own time is not over."""
    bench = Bench({"acme": QueueConfig(retry_interval=Seconds(1200.0))})
    row = add(bench, Schedule(expires=WallTime(BEGIN + 1100.0)))
    connected(bench)
    assert bench.scheduler.retry_at(row, bench.wall, 0.5) is None


@pytest.mark.parametrize("end", [50.0, 200.0])
def test_the_senders_end_counts_instead_of_the_queues(end: float) -> None:
    """Earlier or later than ``max_age``."""
    bench = Bench({"acme": QueueConfig(max_age=Seconds(100.0))})
    bench.dead = {"mx.example"}
    add(bench, Schedule(expires=WallTime(BEGIN + end)))
    scheduler = bench.scheduler
    bench.now += end - 0.001
    scheduler.tick(bench.wall)
    assert scheduler.take_end() is None
    bench.now += 0.002
    scheduler.tick(bench.wall)
    expired = scheduler.take_end()
    assert isinstance(expired, Expire)
    scheduler.end_recorded(expired, bench.wall)
    assert not scheduler._places.schedules


def test_mail_from_before_the_start_keeps_its_retry_and_its_hours() -> None:
    """The time that was written down, if the hours allow it."""
    bench = Bench()
    add(bench, Schedule(window=hours(0.0, 2 * HOUR)), due=BEGIN + 300.0, position=1)
    add(bench, Schedule(window=hours(HOUR, 2 * HOUR)), due=BEGIN - 300.0, position=2)
    bench.pass_time(3 * HOUR)
    assert [round(time - BEGIN, 6) for time, _ in bench.delivered] == [300.0, 3600.0]


def taken(bench: Bench, path: Path, turns: int, recipients: dict[str, int]) -> Counter[str]:
    """Whose messages are pulled."""
    found: Counter[str] = Counter()
    for _ in range(turns):
        row = bench.scheduler.pull(path, bench.wall)
        tenant = bench.scheduler.queue_of(row).tenant or ""
        bench.scheduler.fetched(path, row, recipients.get(tenant, 1))
        bench.scheduler.settled(path, row, bench.wall)
        found[tenant] += 1
    return found


@pytest.mark.parametrize(
    ("share_by", "expected"),
    [
        (ShareBy.MESSAGES, {"large": 300, "wide": 300, "small": 300}),
        (ShareBy.RECIPIENTS, {"large": 429, "wide": 43, "small": 429}),
        (ShareBy.BYTES, {"large": 43, "wide": 429, "small": 429}),
    ],
)
def test_shares_are_of_what_the_path_counts(share_by: ShareBy, expected: dict[str, int]) -> None:
    """Messages, their recipients, or their octets: tenants of one weight have as much of it as each other."""
    bench = Bench(path=PathConfig(share_by=share_by, connection_limit=1))
    sizes = {"large": 100_000, "wide": 10_000, "small": 10_000}
    for position in range(1500):
        tenant = ("large", "wide", "small")[position % 3]
        name = QueueName("a.example", tenant)
        bench.scheduler.add(name, position, sizes[tenant], created=bench.wall, now=bench.wall)
    path = connected(bench)
    found = taken(bench, path, 900, {"wide": 10})
    for tenant, count in expected.items():
        assert abs(found[tenant] - count) <= 0.03 * count + 2


def test_what_comes_back_unused_has_cost_nothing() -> None:
    """In recipients too, though they were told later."""
    bench = Bench(path=PathConfig(share_by=ShareBy.RECIPIENTS, connection_limit=1))
    bench.add("a@a.example", 100)
    bench.add("b@a.example", 100)
    path = connected(bench)
    scheduler = bench.scheduler
    for _ in range(20):
        row = scheduler.pull(path, bench.wall)
        if scheduler.queue_of(row).tenant == "a":
            scheduler.fetched(path, row, 1000)
            scheduler.put_back(path, row, bench.wall)
        else:
            scheduler.settled(path, row, bench.wall)
    assert taken(bench, path, 100, {})["a"] >= 45
    assert not scheduler._places.costs


def test_another_unit_begins_anew() -> None:
    """What was owed in octets is not paid back in messages."""
    bench = Bench(path=PathConfig(share_by=ShareBy.BYTES, connection_limit=1))
    name = QueueName("a.example", "a")
    for position in range(100):
        bench.scheduler.add(name, position, 1_000_000, created=bench.wall, now=bench.wall)
    bench.add("b@a.example", 100)
    path = connected(bench)
    taken(bench, path, 2, {})
    bench.scheduler.reconfigure(bench._config, lambda site: PathConfig(connection_limit=1), bench.wall)
    found = taken(bench, path, 60, {})
    assert 29 <= found["a"] <= 31

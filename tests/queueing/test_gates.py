"""What holds ready mail beside its path: limits and directives, their order, and how queues come back."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.directive import Action
from penstock.mail.duration import Seconds
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import parse_rate
from penstock.queueing.effects import Resolve
from tests.queueing.bench import BEGIN, Bench, of_tenant, own


def test_five_a_minute_are_five_and_then_one_each_twelve_seconds() -> None:
    """To the message and to the microsecond, over ten minutes."""
    bench = Bench({"acme": own("5/minute")})
    bench.add("acme@a.example", 1000)
    bench.pass_time(600.0)
    times = [round(time - BEGIN, 6) for time, _ in bench.delivered]
    assert times == [0.0] * 5 + [12.0 * number for number in range(1, 51)]


def test_a_path_that_is_blocked_leads_to_no_burst_beyond_the_bucket() -> None:
    """Half of the time nothing can go; what GCRA allows then is its burst."""
    bench = Bench({"acme": own("5/minute,max_burst=1")})
    bench.add("acme@a.example", 1000)
    bench.pass_time(60.0)
    bench.scheduler.pause("spool", "full", bench.wall)
    bench.pass_time(60.0)
    bench.scheduler.resume(bench.wall)
    bench.pass_time(60.0)
    times = [round(time - BEGIN, 6) for time, _ in bench.delivered]
    assert times == [*[12.0 * number for number in range(6)], *[120.0 + 12.0 * number for number in range(6)]]


def test_a_limit_asks_for_no_more_connections_than_it_has_tokens() -> None:
    """A thousand messages and one token a minute: one connection."""
    bench = Bench({"acme": own("1/minute")})
    bench.add("acme@a.example", 1000)
    bench.settle()
    assert bench.connects == 1 and len(bench.delivered) == 1
    assert bench.hold_of("acme@a.example") == "queue-rate"


def test_a_throttled_queue_never_blocks_its_tenants_others() -> None:
    """Nor other tenants: they go as if it were not there."""
    bench = Bench({"acme@slow.example": own("1/h")}, PathConfig(connection_limit=1))
    bench.add("acme@slow.example", 500)
    bench.add("acme@fast.example", 50)
    bench.add("other@fast.example", 50)
    bench.settle()
    assert Counter(name for _, name in bench.delivered) == {
        "acme@slow.example": 1,
        "acme@fast.example": 50,
        "other@fast.example": 50,
    }
    assert bench.scheduler.refused == {"queue-rate": 1}


def test_limits_are_charged_together_or_not_at_all() -> None:
    """A queue that its own rate holds uses nothing of its tenant's."""
    bench = Bench(
        {
            "acme@a.example": of_tenant("acme", "10/minute", "1/h"),
            "acme@b.example": of_tenant("acme", "10/minute"),
        }
    )
    bench.add("acme@a.example", 100)
    bench.settle()
    bench.add("acme@b.example", 100)
    bench.settle()
    assert Counter(name for _, name in bench.delivered) == {"acme@a.example": 1, "acme@b.example": 9}
    assert (bench.hold_of("acme@a.example"), bench.hold_of("acme@b.example")) == ("queue-rate", "tenant-rate")


def test_a_token_wakes_one_of_many_parked_queues_in_turn() -> None:
    """Not the whole herd; and each has its turn."""
    bench = Bench({"acme": of_tenant("acme", "60/minute,max_burst=1")})
    for number in range(300):
        bench.add(f"acme@d{number}.example", 2)
    bench.pass_time(299.5)
    assert len(bench.delivered) == 300
    # the first was refused before the others were, and so is before them once more
    assert len({name for _, name in bench.delivered}) == 299
    bench.wakes = 0
    looks: list[object] = []
    charge = bench.rates.take_all
    bench.rates.take_all = lambda limits, now: (looks.append(limits), charge(limits, now))[1]  # type: ignore[method-assign]
    bench.pass_time(100.0)
    assert len(bench.delivered) == 400
    assert bench.wakes <= 2 * 100 + 5 and len(looks) <= 2 * 100


def test_tokens_go_to_mail_that_can_use_them() -> None:
    """Queues of dead sites come first, and do not keep the others from it for long."""
    bench = Bench({"acme": of_tenant("acme", "60/minute,max_burst=1")}, site_of=lambda domain: f"mx.{domain}")
    bench.dead = {f"mx.d{number}.example" for number in range(200)}
    bench.add("acme@alive.example", 1)
    bench.settle()
    for number in range(200):
        bench.add(f"acme@d{number}.example")
    bench.add("acme@alive.example", 100)
    bench.pass_time(60.5)
    assert 57 <= len(bench.delivered) <= 61


def test_the_rate_of_a_path_holds_all_of_it_and_opens_no_connection() -> None:
    """Until the instant at which the next may go."""
    bench = Bench(path=PathConfig(max_message_rate=parse_rate("2/minute")))
    bench.add("acme@a.example", 50)
    bench.add("other@a.example", 50)
    bench.settle()
    assert len(bench.delivered) == 2 and bench.connects <= 2
    path = bench.scheduler.paths["mx.example"]
    assert path.gate is not None and path.gate.gate == "path-rate"
    assert set(bench.scheduler.refused) == {"path-rate"}
    bench.pass_time(29.9)
    assert len(bench.delivered) == 2 and bench.connects <= 2
    bench.pass_time(0.2)
    assert [name for _, name in bench.delivered].count("acme@a.example") in (1, 2)
    assert len(bench.delivered) == 3


def test_what_is_put_back_gives_its_tokens_back() -> None:
    """Of all its limits, and the path's."""
    bench = Bench(
        {"acme": of_tenant("acme", "1/minute", "1/h")}, PathConfig(max_message_rate=parse_rate("1/day"))
    )
    bench.add("acme@a.example", 2)
    scheduler = bench.scheduler
    for effect in scheduler.take_effects():
        assert isinstance(effect, Resolve)
        bench.found(effect.hop)
    scheduler.tick(bench.wall)
    path = scheduler.paths["mx.example"]
    scheduler.connected(path, bench.wall)
    for _ in range(5):
        row = scheduler.pull(path, bench.wall)
        assert row >= 0 and scheduler.pull(path, bench.wall) < 0
        scheduler.put_back(path, row, bench.wall)
        bench.wake()
    row = scheduler.pull(path, bench.wall)
    scheduler.put_back(path, row, bench.wall, has_begun=True)
    bench.wake()
    assert row >= 0 and scheduler.pull(path, bench.wall) < 0


@pytest.mark.parametrize(
    "criteria", [{"tenant": "acme"}, {"domain": "a.example"}, {"tenant": "acme", "domain": "a.example"}, {}]
)
def test_no_message_of_a_suspended_queue_starts(criteria: dict[str, str]) -> None:
    """From the answer on, on connections that have others' mail too; and on release all is due at once."""
    bench = Bench(path=PathConfig(connection_limit=1))
    bench.add("acme@a.example", 10)
    bench.add("other@b.example", 10)
    scheduler = bench.scheduler
    identity = bench.suspend(**criteria)
    bench.settle()
    expected = {} if not criteria else {"other@b.example": 10}
    assert Counter(name for _, name in bench.delivered) == expected
    assert bench.hold_of("acme@a.example") == "suspension"
    bench.add("acme@a.example", 10)
    bench.settle()
    assert bench.connects == bool(criteria)
    assert scheduler.cancel(identity, bench.wall) is not None
    bench.settle()
    assert Counter(name for _, name in bench.delivered)["acme@a.example"] == 20
    assert not any(scheduler.rows.attempts[row] for row in range(20))


def test_a_suspension_ends_by_itself_at_its_instant() -> None:
    """Not before, not after, with nothing polled."""
    bench = Bench()
    bench.suspend(tenant="acme", seconds=90.5)
    bench.add("acme@a.example", 10)
    bench.pass_time(90.4)
    assert not bench.delivered and not bench.wakes
    bench.pass_time(0.2)
    assert {round(time - BEGIN, 6) for time, _ in bench.delivered} == {90.5}
    assert not bench.scheduler.directives


def test_of_two_suspensions_the_last_to_end_counts() -> None:
    """And one that takes another's place holds what that held."""
    bench = Bench()
    bench.add("acme@a.example")
    first = bench.suspend(tenant="acme", seconds=50.0)
    bench.suspend(domain="a.example", seconds=100.0)
    bench.scheduler.cancel(first, bench.wall)
    bench.pass_time(99.0)
    assert not bench.delivered
    bench.suspend(domain="a.example", seconds=20.0)
    bench.pass_time(19.0)
    assert not bench.delivered and len(list(bench.scheduler.directives)) == 1
    bench.pass_time(1.5)
    assert len(bench.delivered) == 1


@pytest.mark.parametrize(
    ("action", "subject"),
    [(Action.SUSPEND_PATH, "unspecified->mx.example@smtp_client"), (Action.SUSPEND_SOURCE, "unspecified")],
)
def test_a_suspended_path_holds_all_its_mail_and_no_other(action: Action, subject: str) -> None:
    """Connections that it has are idle; none is made."""
    bench = Bench(site_of=lambda domain: "mx.example" if domain == "a.example" else "mx.other.example")
    bench.add("acme@a.example")
    bench.settle()
    bench.connects = 0
    bench.suspend(action=action, subject=subject, seconds=60.0)
    bench.add("acme@a.example", 10)
    bench.add("acme@b.example", 10)
    bench.pass_time(59.0)
    others = 10 if action is Action.SUSPEND_PATH else 0
    assert len(bench.delivered) == 1 + others
    assert bench.hold_of("acme@a.example") == ("path" if action is Action.SUSPEND_PATH else "source")
    bench.pass_time(2.0)
    assert len(bench.delivered) == 21


def test_a_bounce_ends_what_is_ready_and_what_becomes_so() -> None:
    """Without a connection, a bounded number at a time; and no more once it is cancelled."""
    bench = Bench()
    identity = bench.suspend(action=Action.BOUNCE, tenant="acme")
    bench.add("acme@a.example", 2500)
    bench.add("other@a.example", 5)
    bench.settle()
    assert len(bench.dropped) == 2500 and len(bench.delivered) == 5
    assert str(bench.dropped[0].reply) == (
        "551 5.7.1 Penstock internal: bounced by an administrator: maintenance"
    )
    assert bench.dropped[0].order.id == identity
    bench.scheduler.cancel(identity, bench.wall)
    bench.add("acme@a.example", 5)
    bench.settle()
    assert len(bench.dropped) == 2500 and len(bench.delivered) == 10


@pytest.mark.parametrize("action", [Action.SUSPEND, Action.BOUNCE])
def test_a_queue_that_was_emptied_under_a_directive_is_under_it_still(action: Action) -> None:
    """What comes next does not begin either, though the queue stood nowhere meanwhile."""
    config = msgspec.structs.replace(QueueConfig(), max_age=Seconds(100.0))
    bench = Bench({"acme": config})
    bench.suspend(action=action, tenant="acme", seconds=500.0)
    for _ in range(3):
        bench.add("acme@a.example", 3)
        bench.settle()
        bench.now += 100.0
        bench.scheduler.tick(bench.wall)
        while (end := bench.scheduler.take_end()) is not None:
            bench.scheduler.end_recorded(end, bench.wall)
        assert not len(bench.scheduler.queues[QueueName("a.example", "acme")])
    assert not bench.delivered and not bench.connects
    assert len(bench.dropped) == (9 if action is Action.BOUNCE else 0)


def test_a_suspended_tenant_with_many_queues_leaves_no_gap_on_the_path() -> None:
    """Between two messages of others, a few of its queues are looked at."""
    bench = Bench(path=PathConfig(connection_limit=1))
    for number in range(300):
        bench.add(f"acme@d{number}.example", 2)
    bench.add("other@a.example", 300)
    scheduler = bench.scheduler
    for _ in range(2):
        for effect in scheduler.take_effects():
            if isinstance(effect, Resolve):
                bench.found(effect.hop)
        while scheduler.tick(bench.wall):
            pass
    path = scheduler.paths["mx.example"]
    bench.suspend(tenant="acme")
    scheduler.connected(path, bench.wall)
    pulled = [scheduler.pull(path, bench.wall) for _ in range(300)]
    assert min(pulled) >= 0
    assert {scheduler.queue_of(row).tenant for row in pulled} == {"other"}


def test_another_configuration_lets_parked_queues_go_or_keeps_them() -> None:
    """By the new limits, at once."""
    bench = Bench({"acme": own("1/h")})
    bench.add("acme@a.example", 10)
    bench.settle()
    assert len(bench.delivered) == 1
    bench.configs = {"acme": own("10/h")}
    bench.scheduler.reconfigure(bench._config, lambda site: bench.path_config, bench.wall)
    bench.pass_time(361.0)
    assert len(bench.delivered) == 2
    bench.configs = {}
    bench.scheduler.reconfigure(bench._config, lambda site: bench.path_config, bench.wall)
    bench.settle()
    assert len(bench.delivered) == 10


def test_one_queue_can_be_configured_anew() -> None:
    """As when a hook has another answer for it."""
    bench = Bench({"acme@a.example": own("1/h"), "acme@b.example": own("1/h")})
    bench.add("acme@a.example", 5)
    bench.add("acme@b.example", 5)
    bench.settle()
    bench.configs = {}
    bench.scheduler.reread(QueueName("a.example", "acme"), bench.wall)
    bench.scheduler.reread(QueueName("nobody.example"), bench.wall)
    bench.settle()
    assert Counter(name for _, name in bench.delivered) == {"acme@a.example": 5, "acme@b.example": 1}


def test_a_path_takes_up_another_rate() -> None:
    """One that is held goes on."""
    bench = Bench(path=PathConfig(max_message_rate=parse_rate("1/h")))
    bench.add("acme@a.example", 5)
    bench.settle()
    assert len(bench.delivered) == 1
    bench.path_config = PathConfig()
    bench.scheduler.reconfigure(bench._config, lambda site: bench.path_config, bench.wall)
    bench.settle()
    assert len(bench.delivered) == 5


def test_parked_mail_expires_and_its_queue_is_forgotten() -> None:
    """A gate does not keep it for ever; nor is anything left behind."""
    config = msgspec.structs.replace(own("1/day"), max_age=Seconds(100.0), reap_interval=Seconds(50.0))
    bench = Bench({"acme": config})
    bench.add("acme@a.example", 3)
    bench.settle()
    scheduler = bench.scheduler
    bench.now += 100.0
    scheduler.tick(bench.wall)
    ends = []
    while (end := scheduler.take_end()) is not None:
        ends.append(end)
        scheduler.end_recorded(end, bench.wall)
    assert len(ends) == 2 and not scheduler._places.gates.parkings
    bench.pass_time(49.0)
    assert scheduler.queues
    bench.pass_time(1.5)
    assert not scheduler.queues and not scheduler.hops


def test_after_a_reload_no_limit_is_asked_by_what_it_was() -> None:
    """Also for queues that are parked and have not been looked at: a broker would take it for the new configuration's."""
    bench = Bench({"acme": of_tenant("acme", "1/minute,max_burst=1")})
    for number in range(300):
        bench.add(f"acme@d{number}.example", 2)
    bench.settle()
    bench.configs = {"acme": of_tenant("acme", "2/minute,max_burst=1")}
    asked: set[str] = set()
    check = bench.rates.check
    bench.rates.check = lambda limits, now: (
        asked.update(str(each.rate) for each in limits),
        check(limits, now),
    )[1]  # type: ignore[method-assign]
    bench.scheduler.reconfigure(
        bench.scheduler._places.queue_config, bench.scheduler._places.path_config, bench.wall
    )
    bench.scheduler.opened("tenant:acme", bench.wall)
    assert asked == {"2/minute,max_burst=1"}


def test_a_limit_lets_go_as_many_as_it_has_tokens_whatever_is_ordered() -> None:
    """A directive about other mail changes nothing of that: queues that it is not about are not let go on its account."""
    bench = Bench({"acme": of_tenant("acme", "60/minute,max_burst=1")})
    for number in range(300):
        bench.add(f"acme@d{number}.example", 2)
    bench.settle()
    bench.suspend(tenant="other")
    bench.settle()
    looks: list[object] = []
    charge = bench.rates.take_all
    bench.rates.take_all = lambda limits, now: (looks.append(limits), charge(limits, now))[1]  # type: ignore[method-assign]
    bench.pass_time(10.0)
    assert len(bench.delivered) == 11 and len(looks) <= 20

"""Why mail does not move: every gate is asked, and says what holds, since when, until when, by whose word."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from penstock.mail.configuration import Limit, PathConfig, QueueConfig
from penstock.mail.directive import Action
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import parse_rate
from penstock.mail.reason import Reason
from penstock.mail.schedule import Schedule, Window
from penstock.queueing.effects import Resolve
from penstock.shaping.own import OwnRates
from tests.queueing.bench import BEGIN, Bench, of_tenant, own


class Lent(OwnRates):
    """Rates that say of themselves that others have them too."""

    def is_lent(self, limit: Limit) -> bool:
        """All are."""
        return True


GATES = (
    "bounce", "suspension", "retry", "queue-rate", "campaign-rate", "tenant-rate",
    "spool", "route", "source", "path", "path-rate", "connection", "lane",
)  # fmt: skip


def reasons(bench: Bench, name: str = "acme@a.example") -> dict[str, Reason]:
    """What the gates say of a queue."""
    tenant, _, domain = name.rpartition("@")
    scheduler = bench.scheduler
    found = scheduler.explain_queue(scheduler.queues[QueueName(domain, tenant or None)], bench.wall)
    assert tuple(reason.gate for reason in found) == GATES
    assert all(reason.text for reason in found)
    assert not any(reason.is_holding and reason.until is None and not reason.awaits for reason in found)
    return {reason.gate: reason for reason in found}


def holding(bench: Bench, name: str = "acme@a.example") -> list[str]:
    """The gates that hold a queue."""
    return [gate for gate, reason in reasons(bench, name).items() if reason.is_holding]


def row_reasons(bench: Bench, row: int) -> dict[str, Reason]:
    """What the gates say of a message."""
    found = bench.scheduler.explain_row(row, bench.wall)
    assert tuple(reason.gate for reason in found) == ("expiry", *GATES[:2], "schedule", *GATES[2:])
    return {reason.gate: reason for reason in found}


def test_a_rate_says_what_it_is_and_when_it_opens() -> None:
    """And what file and key have set it."""
    origin = "queues.toml: tenant.'acme'.max_message_rate"
    bench = Bench({"acme": msgspec.structs.replace(own("1/minute"), origins={"max_message_rate": origin})})
    bench.add("acme@a.example", 5)
    bench.pass_time(10.0)
    assert holding(bench) == ["queue-rate"]
    assert reasons(bench)["queue-rate"] == Reason(
        "queue-rate", True, "the queue has used up its 1/minute", "0 of 1", "1/minute",
        since=WallTime(BEGIN), until=WallTime(BEGIN + 60.0), origin=origin,
    )  # fmt: skip
    assert not reasons(bench)["tenant-rate"].is_holding


def test_asking_uses_nothing_up_and_wakes_nobody() -> None:
    """However often."""
    bench = Bench({"acme": of_tenant("acme", "2/minute", "10/minute")})
    bench.add("acme@a.example", 1)
    bench.settle()
    before = bench.rates.next_wake()
    for _ in range(20):
        reasons(bench)
    assert reasons(bench)["tenant-rate"].value == "1 of 2" and bench.rates.next_wake() == before
    bench.add("acme@a.example", 5)
    bench.settle()
    assert len(bench.delivered) == 2 and holding(bench) == ["tenant-rate"]


def test_a_limit_that_others_have_used_up_holds_mail_that_is_not_there_yet() -> None:
    """So it says; when it opens, it does not know."""
    bench = Bench({"acme": of_tenant("acme", "1/minute")})
    bench.add("acme@a.example", 1)
    bench.settle()
    assert reasons(bench)["tenant-rate"].awaits == "a token"


def test_a_lent_rate_of_which_no_token_is_here_does_not_hold_what_does_not_wait_for_it() -> None:
    """More come when mail needs them: nobody knows here whether they are used up. What waits for them is held."""
    bench = Bench({"acme": of_tenant("acme", "1/minute")}, rates=Lent())
    bench.add("acme@a.example", 1)
    bench.settle()
    reason = reasons(bench)["tenant-rate"]
    assert (reason.is_holding, reason.value, reason.limit) == (False, "", "1/minute")
    bench.add("acme@a.example", 1)
    bench.settle()
    assert reasons(bench)["tenant-rate"].is_holding


@pytest.mark.parametrize(("action", "gate"), [(Action.SUSPEND, "suspension"), (Action.BOUNCE, "bounce")])
def test_a_directive_says_whose_it_is(action: Action, gate: str) -> None:
    """With its reason and its id."""
    bench = Bench()
    bench.scheduler.pause("spool", "the disk is full", bench.wall)
    identity = bench.suspend(action=action, tenant="acme", seconds=60.0)
    bench.add("acme@a.example", 5)
    assert holding(bench) == [gate, "spool"]
    reason = reasons(bench)[gate]
    assert "maintenance" in reason.text and reason.origin == f"directive {identity}"
    assert (reason.since, reason.until) == (BEGIN, BEGIN + 60.0)
    assert reasons(bench)["spool"].text == "the disk is full"


def test_paths_and_sources_say_why_they_hold() -> None:
    """Each by its own gate, all of them at once."""
    bench = Bench(path=PathConfig(max_message_rate=parse_rate("1/minute")))
    bench.add("acme@a.example", 3)
    bench.settle()
    assert holding(bench) == ["path-rate"]
    assert reasons(bench)["path-rate"].until == BEGIN + 60.0
    bench.suspend(action=Action.SUSPEND_SOURCE, subject="unspecified")
    bench.suspend(action=Action.SUSPEND_PATH, subject="unspecified->mx.example@smtp_client")
    assert holding(bench) == ["source", "path", "path-rate"]


def test_a_dead_site_and_a_route_that_is_not_known() -> None:
    """Until the next attempt; or until there is an answer."""
    bench = Bench()
    bench.dead = {"mx.example"}
    bench.add("acme@a.example")
    assert holding(bench) == ["route"] and reasons(bench)["route"].awaits == "an answer"
    bench.settle()
    assert holding(bench) == ["connection"]
    assert reasons(bench)["connection"].until == BEGIN + 1.0


def test_all_connections_at_work_is_a_reason_too() -> None:
    """Held by nothing else."""
    bench = Bench(path=PathConfig(connection_limit=1))
    bench.add("acme@a.example", 2)
    scheduler = bench.scheduler
    effect = scheduler.take_effects()[0]
    assert isinstance(effect, Resolve)
    bench.found(effect.hop)
    scheduler.tick(bench.wall)
    path = scheduler.paths["mx.example"]
    scheduler.connected(path, bench.wall)
    row = scheduler.pull(path, bench.wall)
    assert row >= 0 and holding(bench) == ["connection"]
    due = scheduler.retry_at(row, bench.wall, 0.5)
    assert due is not None
    scheduler.deferred(path, row, due)
    scheduler.idle_began(path)
    found = row_reasons(bench, row)
    assert [reason.gate for reason in found.values() if reason.is_holding] == ["retry"]
    assert (found["retry"].value, found["retry"].limit, found["retry"].until) == ("1", "20m", due)
    assert (found["expiry"].value, found["expiry"].limit) == ("0s", "7d")


def test_the_senders_hours_and_end_are_reasons() -> None:
    """What the sender has set is said to be the sender's."""
    bench = Bench()
    begins = dt.datetime.fromtimestamp(BEGIN + 3600, dt.UTC).time()
    ends = dt.datetime.fromtimestamp(BEGIN + 7200, dt.UTC).time()
    schedule = Schedule(None, Window(frozenset(range(7)), "UTC", begins, ends), WallTime(BEGIN + 90_000.0))
    row = bench.scheduler.add(
        QueueName("a.example"), 1, 10, created=bench.wall, now=bench.wall, schedule=schedule
    )
    found = row_reasons(bench, row)
    assert [reason.gate for reason in found.values() if reason.is_holding] == ["schedule", "retry"]
    assert found["schedule"].until == BEGIN + 3600.0 == found["retry"].until
    assert (found["expiry"].limit, found["expiry"].origin) == ("1d 1h", "the sender's schedule")
    bench.scheduler.pause("spool", "full", bench.wall)
    bench.now += 3600.0
    assert not row_reasons(bench, row)["schedule"].is_holding


def test_mail_for_another_lane_says_which() -> None:
    """And why it does not get there."""
    bench = Bench(home=lambda domain, site: "7")
    bench.add("acme@a.example")
    bench.settle()
    assert holding(bench) == ["lane"] and reasons(bench)["lane"].awaits == "lane 7"
    path = bench.scheduler.paths["mx.example"]
    bench.scheduler.leaving.hold(path, "7", "not reached", bench.wall, None)
    assert "not reached" in reasons(bench)["lane"].text


def test_what_is_configured_is_told_where_it_is() -> None:
    """Rates of tenants come with their own word."""
    limit = Limit("tenant-rate", "tenant:acme", parse_rate("1/h"), "queues.toml: tenant.'acme'")
    config = QueueConfig(
        overall=(limit,), max_age=Seconds(90.0), origins={"max_age": "queues.toml: queue.default"}
    )
    bench = Bench({"acme": config})
    bench.add("acme@a.example", 2)
    bench.settle()
    assert reasons(bench)["tenant-rate"].origin == "queues.toml: tenant.'acme'"
    assert row_reasons(bench, bench.scheduler.queues[QueueName("a.example", "acme")].ready_rows.head)[
        "expiry"
    ] == Reason(
        "expiry",
        False,
        "its time of 1m 30s is not over",
        "0s",
        "1m 30s",
        since=WallTime(BEGIN),
        origin="queues.toml: queue.default",
    )

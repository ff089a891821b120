"""Surveys of queued mail, held against a count of everything one by one."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.directive import Criteria
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import reply
from penstock.mail.survey import Group, Grouping, Survey
from penstock.queueing.scheduler import Scheduler
from penstock.queueing.surveys import Surveying
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

NOW = WallTime(1_763_668_800.0)
LATER = WallTime(NOW + 3600.0)


def made() -> Scheduler:
    """A scheduler without mail."""
    return Scheduler(lambda name: QueueConfig(), lambda site: PathConfig())


def route(site: str) -> Route:
    """A route to a site of one host."""
    return Route(site, (Exchange(10, site),), MonotonicTime(0.0))


def found(scheduler: Scheduler, domain: str) -> None:
    """The route of a domain is found, and its mail goes there."""
    scheduler.route_found(scheduler.hops[domain], route(f"mx.{domain}"), LATER, NOW)
    while scheduler.tick(NOW):
        pass


def add(scheduler: Scheduler, name: QueueName, *, size: int = 10, due: float = 0.0, age: float = 0.0) -> int:
    """A message comes in; its row."""
    return scheduler.add(
        name, 1, size, created=WallTime(NOW - age), now=NOW, due=WallTime(NOW + due) if due else None
    )


def whole(surveying: Surveying, budget: int = 500) -> Survey:
    """A survey, made in steps of that size."""
    for _ in range(100_000):
        if not surveying.step(budget):
            return surveying.result()
    raise AssertionError("the survey has no end")


names = st.builds(
    QueueName,
    st.sampled_from(["a.example", "b.example", "c.example"]),
    st.sampled_from([None, "t1", "t2", "t3"]),
    st.sampled_from([None, "spring"]),
    st.sampled_from([None, "hub.example"]),
)
mail = st.lists(
    st.tuples(
        names, st.integers(0, 1000), st.sampled_from([0.0, 60.0, 600.0]), st.sampled_from([0.0, 5.0, 5000.0])
    ),
    max_size=40,
)


def key_of(name: QueueName, by: Grouping) -> str:
    """What a queue's group is called."""
    return {
        Grouping.TENANT: name.tenant,
        Grouping.CAMPAIGN: name.campaign,
        Grouping.DOMAIN: name.domain,
        Grouping.ROUTING_DOMAIN: name.routing_domain,
        Grouping.QUEUE: str(name),
        Grouping.SITE: f"mx.{name.next_hop}",
    }[by] or ""


@settings(max_examples=150, deadline=None)
@given(mail, st.sampled_from(Grouping), st.integers(1, 5), st.integers(1, 7), st.integers(0, 8))
def test_a_survey_counts_what_is_there(
    messages: list[tuple[QueueName, int, float, float]], by: Grouping, limit: int, budget: int, taken: int
) -> None:
    """By whatever it goes, with groups for the largest and all the others together, in steps of any size."""
    scheduler = made()
    for name, size, due, age in messages:
        add(scheduler, name, size=size, due=due, age=age)
    for hop in list(scheduler.hops.values()):
        if not hop.is_resolving:
            continue
        found(scheduler, hop.name)
    for path in scheduler.paths.values():
        for _ in range(min(taken, path.connections)):
            scheduler.connected(path, NOW)
            scheduler.pull(path, NOW)
    survey = whole(scheduler.survey(Criteria(), by, limit), budget)
    expected: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, size, due, _ in messages:
        group = expected[key_of(name, by) if by is not Grouping.SITE or not due else _site(scheduler, name)]
        group["messages"] += 1
        group["octets"] += size
        group["waiting"] += bool(due)
    sizes = sorted((group["messages"] for group in expected.values()), reverse=True)
    assert [group.messages for group in survey.groups] == sizes[:limit]
    assert survey.total.messages == len(messages) == len(scheduler)
    assert survey.total.octets == sum(size for _, size, _, _ in messages)
    assert survey.total.queues == len({name for name, _, _, _ in messages})
    assert survey.total.in_flight == sum(path.in_flight for path in scheduler.paths.values())
    assert survey.total.ready == survey.total.messages - survey.total.waiting - survey.total.in_flight
    for shown in survey.groups:
        counted = expected[shown.name]
        assert (shown.messages, shown.octets, shown.waiting) == (
            counted["messages"],
            counted["octets"],
            counted["waiting"],
        )
    assert (survey.others.messages if survey.others is not None else 0) == sum(sizes[limit:])


def _site(scheduler: Scheduler, name: QueueName) -> str:
    """A site is known where ready mail has asked for it."""
    known = scheduler.queues[name].hop.route
    return known.site if known is not None else ""


@settings(max_examples=60, deadline=None)
@given(
    mail,
    st.sampled_from([None, "", "t1"]),
    st.sampled_from([None, "a.example"]),
    st.sampled_from([None, "", "hub.example"]),
)
def test_a_survey_counts_what_matches(
    messages: list[tuple[QueueName, int, float, float]],
    tenant: str | None,
    domain: str | None,
    routing_domain: str | None,
) -> None:
    """And nothing else; a queue that is given by name too."""
    scheduler = made()
    for name, size, due, age in messages:
        add(scheduler, name, size=size, due=due, age=age)
    criteria = Criteria(tenant=tenant, domain=domain, routing_domain=routing_domain)
    matching = [name for name, _, _, _ in messages if criteria.matches(name)]
    assert whole(scheduler.survey(criteria)).total.messages == len(matching)
    exact = Criteria(queue_names=frozenset([*matching[:2], QueueName("nowhere.example")]))
    assert whole(scheduler.survey(exact)).total.queues == len(exact.queue_names) - 1


def test_octets_are_counted_until_a_message_is_gone() -> None:
    """In flight too; a queue that has become empty is in no survey."""
    scheduler = made()
    name = QueueName("a.example", "t1")
    add(scheduler, name, size=700)
    found(scheduler, "a.example")
    path = scheduler.paths["mx.a.example"]
    scheduler.connected(path, NOW)
    row = scheduler.pull(path, NOW)
    in_flight = whole(scheduler.survey(Criteria())).total
    assert (in_flight.octets, in_flight.in_flight, in_flight.oldest) == (700, 1, None)
    scheduler.settled(path, row, NOW)
    assert scheduler.queues[name].octets == 0
    assert whole(scheduler.survey(Criteria(), Grouping.QUEUE)) == Survey(Group(""))


def test_the_oldest_message_is_told() -> None:
    """Of those that wait and those that are ready."""
    scheduler = made()
    add(scheduler, QueueName("a.example"), age=100.0)
    add(scheduler, QueueName("a.example"), age=10.0)
    add(scheduler, QueueName("b.example"), age=1000.0, due=60.0)
    survey = whole(scheduler.survey(Criteria(), Grouping.DOMAIN))
    assert survey.total.oldest == NOW - 1000.0
    assert {group.name: group.oldest for group in survey.groups} == {
        "a.example": NOW - 100.0,
        "b.example": NOW - 1000.0,
    }


def test_what_holds_ready_mail_is_told_and_how_much() -> None:
    """A route that is not found, a site that refuses; and the spool, which holds all that is ready."""
    scheduler = made()
    for domain in ("a.example", "a.example", "b.example", "c.example"):
        add(scheduler, QueueName(domain))
    add(scheduler, QueueName("a.example"), due=60.0)
    no_route = reply(451, "4.4.3", "Penstock internal: DNS lookup failed")
    scheduler.route_failed(scheduler.hops["a.example"], no_route, LATER, NOW, is_permanent=False)
    found(scheduler, "b.example")
    scheduler.connect_failed(scheduler.paths["mx.b.example"], "connection refused", NOW, 0.0)
    assert whole(scheduler.survey(Criteria())).total.held == {"route": 2, "connection": 1}
    assert whole(scheduler.survey(Criteria(domain="a.example"), Grouping.DOMAIN)).groups[0].held == {
        "route": 2
    }
    scheduler.pause("spool", "outcomes cannot be recorded", NOW)
    assert whole(scheduler.survey(Criteria())).total.held == {"spool": 4}


@pytest.mark.parametrize("by", list(Grouping))
def test_a_survey_goes_on_while_queues_come_and_go(by: Grouping) -> None:
    """Each queue that is there all the time is counted once."""
    scheduler = made()
    for index in range(50):
        add(scheduler, QueueName(f"d{index}.example", "t1"), due=60.0)
    gone = QueueName("gone.example", "t1")
    scheduler._places.new_queue(gone)
    surveying = scheduler.survey(Criteria(tenant="t1"), by, 100)
    for index in range(20):
        surveying.step(1)
        add(scheduler, QueueName(f"e{index}.example", "t1"), due=60.0)
    scheduler._places.forget_queue(scheduler.queues[gone])
    survey = whole(surveying, 3)
    assert survey.total.queues == 50
    assert survey.total.waiting == 50

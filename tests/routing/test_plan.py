"""From a domain's answers to its route, or to why it has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.records import INTERNAL
from penstock.routing.answer import (
    AddressResult,
    Exchange,
    LookupFailed,
    MxAnswer,
    MxResult,
    NoData,
    NoSuchDomain,
)
from penstock.routing.plan import (
    EXCHANGE_LIMIT,
    Route,
    Unroutable,
    confirm_route,
    literal_address,
    literal_route,
    plan_route,
)
from penstock.sim.resolver import addresses, mx

NOW = MonotonicTime(1000.0)

#: id: answer, hosts of the route in their order, its site, seconds for which it is believed
ROUTES: dict[str, tuple[MxResult, list[tuple[int, str]], str, float]] = {
    "RFC 5321 5.1: by preference": (
        mx("20 b.example", "10 c.example", "30 a.example", ttl=600),
        [(10, "c.example"), (20, "b.example"), (30, "a.example")],
        "(a|b|c).example",
        600,
    ),
    "RFC 5321 5.1: implicit MX": (NoData(Seconds(60.0)), [(0, "d.example")], "d.example", 60),
    "RFC 5321 5.1: implicit MX without an SOA": (NoData(), [(0, "d.example")], "d.example", 300),
    "RFC 7505 3: null MX beside others": (
        mx("0 .", "10 a.example", ttl=60),
        [(10, "a.example")],
        "a.example",
        60,
    ),
    "RFC 5321 5.1: an address is no host": (
        mx("5 192.0.2.1", "10 a.example", ttl=60),
        [(10, "a.example")],
        "a.example",
        60,
    ),
    "RFC 1035 3.3.9: preference 65535": (
        mx("65535 a.example", "0 b.example", ttl=60),
        [(0, "b.example"), (65535, "a.example")],
        "(a|b).example",
        60,
    ),
    "RFC 4343: case": (mx("1 MX.Example.", ttl=60), [(1, "mx.example")], "mx.example", 60),
    "a host twice": (
        mx("20 a.example", "10 A.example.", "30 a.example", ttl=60),
        [(10, "a.example")],
        "a.example",
        60,
    ),
    "hostile names": (
        mx("1 a\\032b.example", "2 a\nb.example", "3 " + "a." * 150, "9 ok.example", ttl=60),
        [(9, "ok.example")],
        "ok.example",
        60,
    ),
    "TTL 0": (mx("1 a.example", ttl=0), [(1, "a.example")], "a.example", 5),
    "TTL of a month": (mx("1 a.example", ttl=2_592_000), [(1, "a.example")], "a.example", 86_400),
}


@pytest.mark.parametrize(("answer", "hosts", "site", "kept"), ROUTES.values(), ids=ROUTES.keys())
def test_an_mx_answer_gives_a_route(
    answer: MxResult, hosts: list[tuple[int, str]], site: str, kept: float
) -> None:
    """The hosts in the order of preference, the site that they make, and the answer's lifetime."""
    exchanges = tuple(Exchange(preference, host) for preference, host in hosts)
    assert plan_route("d.example", answer, NOW) == Route(site, exchanges, MonotonicTime(NOW + kept))


#: id: answer, reply, seconds for which it is believed
REFUSALS: dict[str, tuple[MxResult, str, float]] = {
    "RFC 7505 4: null MX": (mx("0 .", ttl=600), "556 5.1.10 domain accepts no mail (null MX)", 600),
    "RFC 3463 X.1.2: NXDOMAIN": (NoSuchDomain(Seconds(60.0)), "550 5.1.2 domain does not exist", 60),
    "RFC 2308 5: NXDOMAIN without an SOA": (NoSuchDomain(), "550 5.1.2 domain does not exist", 300),
    "RFC 2308 5: NXDOMAIN for a day": (
        NoSuchDomain(Seconds(86_400.0)),
        "550 5.1.2 domain does not exist",
        300,
    ),
    "RFC 5321 5.1: SERVFAIL": (
        LookupFailed("SERVFAIL"),
        "451 4.4.3 DNS lookup failed: MX records of d.example: SERVFAIL",
        30,
    ),
    "RFC 5321 5.1: REFUSED": (
        LookupFailed("REFUSED"),
        "451 4.4.3 DNS lookup failed: MX records of d.example: REFUSED",
        30,
    ),
    "RFC 5321 5.1: timeout": (
        LookupFailed("timeout"),
        "451 4.4.3 DNS lookup failed: MX records of d.example: timeout",
        30,
    ),
    "only addresses": (
        mx("10 192.0.2.1", "20 2001:db8::1", ttl=600),
        "451 4.4.4 no MX host of d.example has a valid name",
        300,
    ),
    "no records at all": (mx(ttl=60), "451 4.4.4 no MX host of d.example has a valid name", 60),
    "only hostile names": (
        mx("0 .", "10 x\x00y.example", ttl=60),
        "451 4.4.4 no MX host of d.example has a valid name",
        60,
    ),
}


@pytest.mark.parametrize(("answer", "expected", "kept"), REFUSALS.values(), ids=REFUSALS.keys())
def test_an_mx_answer_gives_a_reason_why_there_is_no_route(
    answer: MxResult, expected: str, kept: float
) -> None:
    """Permanent only where the domain itself says so; the text is ours and says so."""
    decision = plan_route("d.example", answer, NOW)
    assert isinstance(decision, Unroutable)
    assert decision.reply.text.startswith(INTERNAL)
    assert str(decision.reply).replace(INTERNAL, "") == expected
    assert decision.is_permanent == decision.reply.is_permanent == expected.startswith("5")
    assert decision.until == NOW + kept


def test_failures_in_a_row_are_asked_about_less_and_less_often() -> None:
    """30 seconds, then twice as long each time, five minutes at most."""
    waits = []
    failures = 0
    for _ in range(7):
        decision = plan_route("d.example", LookupFailed("timeout"), NOW, failures)
        assert isinstance(decision, Unroutable)
        failures = decision.failures
        waits.append(decision.until - NOW)
    assert waits == [30, 60, 120, 240, 300, 300, 300]


ROUTE = Route(
    "(a|b).example", (Exchange(10, "a.example"), Exchange(20, "b.example")), MonotonicTime(NOW + 600)
)
FOUND = addresses("192.0.2.1")

#: id: addresses by host, reply or None for the route itself, seconds for which a refusal is believed
CONFIRMATIONS: dict[str, tuple[dict[str, AddressResult], str | None, float]] = {
    "all known": ({"a.example": FOUND, "b.example": FOUND}, None, 0),
    "best known": ({"a.example": FOUND}, None, 0),
    "backup known, best gone": ({"a.example": NoSuchDomain(), "b.example": FOUND}, None, 0),
    "backup known, best unknown": ({"a.example": LookupFailed("timeout"), "b.example": FOUND}, None, 0),
    "no MX host has an address": (
        {"a.example": NoSuchDomain(Seconds(60.0)), "b.example": NoData(Seconds(20.0))},
        "451 4.4.4 no MX host of d.example has an address",
        20,
    ),
    "one unknown": (
        {"a.example": NoSuchDomain(), "b.example": LookupFailed("SERVFAIL")},
        "451 4.4.3 DNS lookup failed: addresses of b.example: SERVFAIL",
        30,
    ),
    "one late": (
        {"b.example": NoData()},
        "451 4.4.3 DNS lookup failed: addresses of a.example: timeout",
        30,
    ),
}


@pytest.mark.parametrize(("known", "expected", "kept"), CONFIRMATIONS.values(), ids=CONFIRMATIONS.keys())
def test_a_route_stands_if_any_host_has_an_address(
    known: dict[str, AddressResult], expected: str | None, kept: float
) -> None:
    """One address is enough; without any, it is temporary whatever the reason."""
    decision = confirm_route("d.example", ROUTE, known, NOW)
    if expected is None:
        assert decision is ROUTE
    else:
        assert isinstance(decision, Unroutable)
        assert str(decision.reply).replace(INTERNAL, "") == expected
        assert not decision.is_permanent
        assert decision.until == NOW + kept


def test_a_domain_with_a_thousand_exchanges_keeps_the_best_of_them() -> None:
    """The plan is bounded, and the same hosts are kept whatever order they came in."""
    records = [f"{1000 - number} mx{number}.example" for number in range(1000)]
    decision = plan_route("d.example", mx(*records), NOW)
    assert isinstance(decision, Route)
    assert len(decision.exchanges) == EXCHANGE_LIMIT
    assert decision.exchanges[0] == Exchange(1, "mx999.example")
    assert plan_route("d.example", mx(*reversed(records)), NOW) == decision


@pytest.mark.parametrize(
    ("literal", "address"),
    [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1"), ("example.com", None)],
    ids=["RFC 5321 4.1.3: IPv4", "RFC 5321 4.1.3: IPv6", "a name"],
)
def test_an_address_literal_is_its_own_route(literal: str, address: str | None) -> None:
    """The address in the brackets is where mail goes; nothing is looked up, and the literal is its own site."""
    found = literal_address(literal)
    assert (None if found is None else str(found)) == address
    route = literal_route(literal, NOW)
    assert (route.site, route.exchanges) == (literal, (Exchange(0, literal),))


@given(st.lists(st.tuples(st.integers(0, 65535), st.text(max_size=40)), max_size=60))
def test_any_mx_answer_at_all_is_decided(records: list[tuple[int, str]]) -> None:
    """Whatever names come, there is a bounded plan in order of preference, or a refusal."""
    answer = MxAnswer(tuple(Exchange(*record) for record in records), Seconds(60.0))
    decision = plan_route("d.example", answer, NOW)
    if isinstance(decision, Route):
        assert list(decision.exchanges) == sorted(decision.exchanges)
        assert len({exchange.host for exchange in decision.exchanges}) == len(decision.exchanges)

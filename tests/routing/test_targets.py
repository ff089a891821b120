"""From a route to the addresses to connect to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.configuration import PROHIBITED_HOSTS, Network
from penstock.mail.duration import MonotonicTime
from penstock.mail.records import INTERNAL
from penstock.routing.answer import AddressResult, Exchange, IPAddress, LookupFailed, NoData, NoSuchDomain
from penstock.routing.plan import Route, Unroutable, literal_route
from penstock.routing.targets import (
    ADDRESSES_PER_HOST,
    TARGET_LIMIT,
    Target,
    connection_plan,
    shuffled,
    unwrapped,
)
from penstock.sim.draw import fixed_draw, seeded_draw
from penstock.sim.resolver import addresses

NOW = MonotonicTime(1000.0)
PORT = 25
#: With this draw a shuffle changes nothing: every element is swapped with itself.
LAST = fixed_draw(0.999999)


def ours(*texts: str, port: int = PORT) -> frozenset[tuple[IPAddress, int]]:
    """Addresses and ports that are ours."""
    return frozenset((ip_address(text), port) for text in texts)


def route(*records: str) -> Route:
    """A route with these exchanges, in order."""
    pairs = (record.split(" ") for record in records)
    return Route(
        "site", tuple(Exchange(int(number), host) for number, host in pairs), MonotonicTime(NOW + 600)
    )


def plan(
    to: Route,
    known: Mapping[str, AddressResult],
    prohibited: tuple[Network, ...] = PROHIBITED_HOSTS,
    own: frozenset[tuple[IPAddress, int]] = frozenset(),
    port: int = PORT,
    draw: float | None = None,
) -> tuple[Target, ...] | Unroutable:
    """The connection plan, in the order that the answers have unless ``draw`` says otherwise."""
    return connection_plan(
        to,
        known,
        prohibited=prohibited,
        is_ourselves=lambda address, at: (address, at) in own,
        port=port,
        draw=LAST if draw is None else fixed_draw(draw),
        now=NOW,
    )


def order(decision: tuple[Target, ...] | Unroutable) -> list[str]:
    """The addresses of a plan."""
    assert not isinstance(decision, Unroutable), decision
    return [target.address for target in decision]


def refusal(decision: tuple[Target, ...] | Unroutable) -> str:
    """The reply of a refusal, without the prefix of our own ones."""
    assert isinstance(decision, Unroutable), decision
    assert decision.reply.text.startswith(INTERNAL)
    assert decision.is_permanent == decision.reply.is_permanent
    assert decision.until > NOW
    return str(decision.reply).replace(INTERNAL, "")


def test_hosts_are_tried_in_the_order_of_preference() -> None:
    """RFC 5321 5.1: lower numbers first."""
    known = {"a": addresses("192.0.2.1"), "b": addresses("192.0.2.2")}
    assert order(plan(route("10 a", "20 b"), known)) == ["192.0.2.1", "192.0.2.2"]
    assert order(plan(route("10 b", "20 a"), known)) == ["192.0.2.2", "192.0.2.1"]


def test_the_families_of_a_host_take_turns() -> None:
    """RFC 8305 4: IPv6 first, then one of each, so that neither family can crowd out the other."""
    many = [f"2001:db8::{n}" for n in range(1, 8)]
    decision = plan(route("10 a"), {"a": addresses(*many, "192.0.2.1", "192.0.2.2")})
    assert order(decision) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]


def test_equal_preferences_are_shuffled_and_others_are_not() -> None:
    """RFC 5321 5.1: a draw decides among equals; a draw of 0 brings the first to the end."""
    known = {name: addresses(f"192.0.2.{n}") for n, name in enumerate("abcd", 1)}
    to = route("10 a", "10 b", "10 c", "20 d")
    assert order(plan(to, known)) == ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
    assert order(plan(to, known, draw=0.0)) == ["192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.4"]


def test_each_order_of_equals_is_as_likely_as_any_other() -> None:
    """Fisher-Yates: all six orders of three, each about a sixth of the time."""
    draw = seeded_draw(1)
    seen = Counter("".join(shuffled("abc", draw)) for _ in range(6000))
    assert len(seen) == 6
    assert all(abs(count - 1000) < 150 for count in seen.values())


def test_a_target_names_its_host_address_and_port() -> None:
    """What a session needs to know, in one value."""
    assert plan(route("10 a"), {"a": addresses("2001:db8::1")}, port=2525) == (
        Target("a", "2001:db8::1", 2525),
    )


def test_an_address_literal_is_its_own_target() -> None:
    """RFC 5321 4.1.3: no answer is needed for it."""
    assert plan(literal_route("[192.0.2.7]", NOW), {}) == (Target("[192.0.2.7]", "192.0.2.7", 25),)
    assert order(plan(literal_route("[IPv6:2001:db8::7]", NOW), {})) == ["2001:db8::7"]


def test_a_thousand_exchanges_with_fifty_addresses_are_capped() -> None:
    """A hostile zone costs twenty connections at the most, five of one host."""
    names = [f"mx{n}" for n in range(1000)]
    known = {
        name: addresses(*(f"10.{n // 250}.{n % 250}.{k}" for k in range(1, 51)))
        for n, name in enumerate(names)
    }
    decision = plan(route(*(f"{n} {name}" for n, name in enumerate(names))), known)
    assert len(order(decision)) == TARGET_LIMIT
    assert isinstance(decision, tuple)
    assert set(Counter(target.host for target in decision).values()) == {ADDRESSES_PER_HOST}


def test_one_address_under_two_names_is_tried_once() -> None:
    """The second name brings nothing new, not even spelled as a mapped address."""
    known = {"a": addresses("192.0.2.1"), "b": addresses("::ffff:192.0.2.1", "192.0.2.2")}
    assert order(plan(route("10 a", "20 b"), known)) == ["192.0.2.1", "192.0.2.2"]


WHOLE_LIST = (
    "10.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.0/4", "255.255.255.255/32", "fe80::/10", "fc00::/7",
)  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "10.1.2.3",
        "::ffff:10.1.2.3", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "fe80::1", "fc00::1",
    ],
)  # fmt: skip
def test_a_prohibited_address_is_never_a_target(address: str) -> None:
    """Alone it makes the mail fail (550 5.4.4); beside another it is left out; mapped addresses are what they map."""
    prohibited = PROHIBITED_HOSTS + tuple(ip_network(text) for text in WHOLE_LIST)
    alone = plan(route("10 a"), {"a": addresses(address)}, prohibited)
    assert refusal(alone) == "550 5.4.4 all addresses of site are in prohibited_hosts"
    beside = plan(route("10 a"), {"a": addresses(address, "192.0.2.1")}, prohibited)
    assert order(beside) == ["192.0.2.1"]


def test_an_empty_prohibited_list_allows_loopback() -> None:
    """``prohibited_hosts = []`` is how a test or a trial run delivers to itself."""
    assert order(plan(route("10 a"), {"a": addresses("127.0.0.1")}, ())) == ["127.0.0.1"]


def test_a_prohibited_literal_is_refused_like_any_other_address() -> None:
    """A literal is no way around the list."""
    assert refusal(plan(literal_route("[127.0.0.1]", NOW), {})).startswith("550 5.4.4 ")
    assert refusal(plan(literal_route("[IPv6:::ffff:7f00:1]", NOW), {})).startswith("550 5.4.4 ")


GONE: dict[str, AddressResult] = {"a": NoSuchDomain(), "b": NoData()}
NOT_FOUND: dict[str, tuple[dict[str, AddressResult], str]] = {
    "none has an address": ({**GONE}, "451 4.4.4 no MX host of site has an address"),
    "one unknown": (
        {**GONE, "b": LookupFailed("SERVFAIL")},
        "451 4.4.3 DNS lookup failed: addresses of b: SERVFAIL",
    ),
    "one late": ({"a": NoData()}, "451 4.4.3 DNS lookup failed: addresses of b: timeout"),
    "one prohibited, one unknown": (
        {"a": addresses("127.0.0.1"), "b": LookupFailed("timeout")},
        "451 4.4.3 DNS lookup failed: addresses of b: timeout",
    ),
    "one prohibited, one without": (
        {"a": addresses("127.0.0.1"), "b": NoData()},
        "550 5.4.4 all addresses of site are in prohibited_hosts",
    ),
}


@pytest.mark.parametrize(("known", "expected"), NOT_FOUND.values(), ids=NOT_FOUND.keys())
def test_what_is_not_known_for_sure_is_temporary(known: dict[str, AddressResult], expected: str) -> None:
    """Permanent only if every address there is is prohibited, and no host is unknown."""
    assert refusal(plan(route("10 a", "20 b"), known)) == expected


#: id: preferences of three hosts, which are ours, addresses left or the reply's beginning
LOOPS: dict[str, tuple[tuple[int, int, int], tuple[str, ...], list[str] | str]] = {
    "we are last": ((10, 20, 30), ("192.0.2.3",), ["192.0.2.1", "192.0.2.2"]),
    "we are in the middle": ((10, 20, 30), ("192.0.2.2",), ["192.0.2.1"]),
    "we are first": ((10, 20, 30), ("192.0.2.1",), "554 5.4.6 "),
    "we are one of equals": ((10, 10, 10), ("192.0.2.2",), "554 5.4.6 "),
    "we are equal to a backup": ((10, 20, 20), ("192.0.2.3",), ["192.0.2.1"]),
    "we are twice": ((10, 20, 30), ("192.0.2.2", "192.0.2.3"), ["192.0.2.1"]),
}


@pytest.mark.parametrize(("preferences", "own", "expected"), LOOPS.values(), ids=LOOPS.keys())
def test_mail_never_goes_to_ourselves_nor_behind_us(
    preferences: tuple[int, int, int], own: tuple[str, ...], expected: list[str] | str
) -> None:
    """RFC 5321 5.1: an exchange that is us, and all of equal or higher number, are left out; with none left it is a loop."""
    to = route(*(f"{number} {name}" for number, name in zip(preferences, "abc", strict=True)))
    known = {name: addresses(f"192.0.2.{n}") for n, name in enumerate("abc", 1)}
    decision = plan(to, known, own=ours(*own))
    if isinstance(expected, str):
        assert refusal(decision).startswith(expected)
    else:
        assert order(decision) == expected


def test_our_address_with_another_port_is_not_ourselves() -> None:
    """A sink beside us on the same address is a peer like any other: address and port make the loop."""
    known = {"a": addresses("127.0.0.1")}
    assert order(plan(route("10 a"), known, (), ours("127.0.0.1", port=2525), port=2526)) == ["127.0.0.1"]
    assert refusal(plan(route("10 a"), known, (), ours("127.0.0.1", port=2525), port=2525)).startswith(
        "554 5.4.6 "
    )


def test_a_loop_is_named_as_one_even_if_our_address_is_prohibited() -> None:
    """We are the MX host: 5.4.6, mapped or not, and for a literal too."""
    own = ours("127.0.0.1")
    assert refusal(plan(route("10 a"), {"a": addresses("::ffff:127.0.0.1")}, own=own)).startswith(
        "554 5.4.6 "
    )
    assert refusal(plan(literal_route("[127.0.0.1]", NOW), {}, own=own)).startswith("554 5.4.6 ")


def test_a_backup_for_a_domain_whose_best_host_has_no_address_waits() -> None:
    """As long as somebody is preferred to us, its absence is temporary: we are the backup, and this is what a backup is for."""
    decision = plan(
        route("10 a", "20 b"), {"a": NoData(), "b": addresses("192.0.2.2")}, own=ours("192.0.2.2")
    )
    assert refusal(decision).startswith("451 4.4.4 ")


ADDRESS = st.sampled_from(
    [
        *(f"192.0.2.{n}" for n in range(1, 10)), *(f"2001:db8::{n}" for n in range(1, 6)),
        "127.0.0.1", "::ffff:127.0.0.1", "::ffff:192.0.2.1", "::1", "0.0.0.0",
    ]
)  # fmt: skip
RESULT = st.one_of(
    st.lists(ADDRESS, min_size=1, max_size=8).map(lambda texts: addresses(*texts)),
    st.sampled_from([NoData(), NoSuchDomain(), LookupFailed("timeout")]),
)
EXCHANGES = st.lists(st.tuples(st.integers(0, 3), RESULT), min_size=1, max_size=8)


@given(EXCHANGES, st.frozensets(ADDRESS, max_size=3), st.integers(0, 99))
def test_invariants_of_every_plan(
    exchanges: list[tuple[int, AddressResult]], own: frozenset[str], seed: int
) -> None:
    """No target prohibited, ours, or not before us; each address once; preferences in order; every permitted one unless capped."""
    rows = sorted((preference, f"mx{n}", result) for n, (preference, result) in enumerate(exchanges))
    known = {host: result for _, host, result in rows}
    preference_of = {host: preference for preference, host, _ in rows}
    mine = {unwrapped(ip_address(text)) for text in own}
    found = {
        host: {unwrapped(address) for address in getattr(result, "addresses", ())}
        for host, result in known.items()
    }
    limit = min((preference_of[host] for host in known if found[host] & mine), default=99)
    permitted = {
        address
        for host in known
        if preference_of[host] < limit
        for address in found[host]
        if not any(address in network for network in PROHIBITED_HOSTS)
    }
    decision = connection_plan(
        Route("site", tuple(Exchange(preference, host) for preference, host, _ in rows), NOW),
        known,
        prohibited=PROHIBITED_HOSTS,
        is_ourselves=lambda address, _: address in mine,
        port=25,
        draw=seeded_draw(seed),
        now=NOW,
    )
    if isinstance(decision, Unroutable):
        assert not permitted
        return
    tried = [ip_address(target.address) for target in decision]
    assert len(set(tried)) == len(tried) <= TARGET_LIMIT
    assert set(tried) <= permitted
    assert all(ip_address(target.address) in found[target.host] for target in decision)
    numbers = [preference_of[target.host] for target in decision]
    assert numbers == sorted(numbers)
    if all(len(each) <= ADDRESSES_PER_HOST for each in found.values()) and len(permitted) <= TARGET_LIMIT:
        assert set(tried) == permitted

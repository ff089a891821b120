"""The router: what it asks, what it keeps, who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from penstock.mail.configuration import Endpoint, PathConfig
from penstock.mail.duration import Seconds
from penstock.mail.records import INTERNAL
from penstock.net import lookups
from penstock.net.lookups import Lookups
from penstock.net.router import DOMAINS_AT_ONCE, HOSTS_AT_ONCE, Router
from penstock.routing.answer import AddressResult, LookupFailed, MxResult, NoData, NoSuchDomain
from penstock.routing.plan import Route, Unroutable
from penstock.sim.clock import FakeClock
from penstock.sim.draw import fixed_draw
from penstock.sim.resolver import SILENCE, FakeResolver, addresses, mx

#: Long enough for whatever comes at once; only silence lasts longer.
SHORT = Seconds(0.05)
#: For what must come, however busy the machine.
LONG = Seconds(30.0)
OPEN = PathConfig(prohibited_hosts=())


@asynccontextmanager
async def routing(
    resolver: FakeResolver,
    clock: FakeClock | None = None,
    own: tuple[Endpoint, ...] = (),
    timeout: Seconds = LONG,
    grace: Seconds = LONG,
) -> AsyncIterator[Router]:
    """A router, closed at the end."""
    router = Router(
        resolver, clock or FakeClock(), fixed_draw(0.999999), own, lookup_timeout=timeout, grace=grace
    )
    try:
        yield router
    finally:
        await router.close()


def simple() -> FakeResolver:
    """A domain with two hosts, and another with the same."""
    return FakeResolver(
        mx={"d.example": mx("10 a.example", "20 b.example"), "e.example": mx("10 b.example", "20 a.example")},
        addresses={"a.example": addresses("192.0.2.1"), "b.example": addresses("192.0.2.2")},
    )


async def until_idle() -> None:
    """Let every task that can go on do so."""
    for _ in range(50):
        await asyncio.sleep(0)


def words(decision: object) -> str:
    """The reply of a refusal, without the prefix of our own ones."""
    assert isinstance(decision, Unroutable), decision
    return str(decision.reply).replace(INTERNAL, "")


def test_a_route_is_looked_up_once_and_then_cached() -> None:
    """The second caller costs no question, and the cache answers without waiting."""

    async def scene() -> None:
        resolver, clock = simple(), FakeClock()
        async with routing(resolver, clock) as router:
            assert router.route_cached("d.example", clock.monotonic()) is None
            route = await router.route("d.example")
            assert isinstance(route, Route)
            assert route.site == "(a|b).example"
            assert await router.route("d.example") is route
            assert router.route_cached("d.example", clock.monotonic()) is route
            await until_idle()
            assert set(resolver.questions.values()) == {1}

    asyncio.run(scene())


def test_a_route_is_asked_again_when_its_time_is_over() -> None:
    """TTL 300: known after 299 seconds, unknown after 300."""

    async def scene() -> None:
        resolver, clock = simple(), FakeClock()
        async with routing(resolver, clock) as router:
            await router.route("d.example")
            clock.advance(Seconds(299.0))
            assert router.route_cached("d.example", clock.monotonic()) is not None
            clock.advance(Seconds(1.0))
            assert router.route_cached("d.example", clock.monotonic()) is None
            await router.route("d.example")
            assert resolver.questions["mx", "d.example"] == 2

    asyncio.run(scene())


def test_domains_of_the_same_hosts_share_a_site_and_its_addresses() -> None:
    """Whatever the order of preference; each host is asked for once."""

    async def scene() -> None:
        resolver = simple()
        async with routing(resolver) as router:
            one, other = await asyncio.gather(router.route("d.example"), router.route("e.example"))
            assert isinstance(one, Route)
            assert isinstance(other, Route)
            assert one.site == other.site
            assert one.exchanges != other.exchanges
            await router.targets(one, OPEN)
            assert resolver.questions["addresses", "a.example"] == 1
            assert resolver.questions["addresses", "b.example"] == 1

    asyncio.run(scene())


def test_callers_at_one_time_share_one_lookup() -> None:
    """A hundred at once are one question, and one who gives up takes nothing from the others."""

    async def scene() -> None:
        resolver = simple()
        resolver.hold()
        async with routing(resolver) as router:
            callers = [asyncio.create_task(router.route("d.example")) for _ in range(100)]
            await until_idle()
            assert router.lookups == 1
            callers[0].cancel()
            await until_idle()
            resolver.release()
            found = await asyncio.gather(*callers[1:])
            assert callers[0].cancelled()
            assert all(decision is found[0] for decision in found)
            assert resolver.questions["mx", "d.example"] == 1

    asyncio.run(scene())


def test_a_lookup_whose_only_caller_gave_up_is_still_kept() -> None:
    """Reception waits 250 ms at most; the answer that comes later is there for the queue."""

    async def scene() -> None:
        resolver, clock = simple(), FakeClock()
        resolver.hold()
        async with routing(resolver, clock) as router:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(router.route("d.example"), SHORT)
            resolver.release()
            await until_idle()
            assert router.route_cached("d.example", clock.monotonic()) is not None

    asyncio.run(scene())


def test_lookups_at_once_are_bounded() -> None:
    """10,000 domains are asked about 128 at a time, and all are answered."""

    async def scene() -> None:
        names = [f"d{n}.example" for n in range(10_000)]
        resolver = FakeResolver(
            mx={name: mx("10 mx.example") for name in names}, addresses={"mx.example": addresses("192.0.2.1")}
        )
        resolver.hold()
        async with routing(resolver) as router:
            callers = [asyncio.create_task(router.route(name)) for name in names]
            await until_idle()
            assert resolver.under_way == DOMAINS_AT_ONCE
            resolver.release()
            routes = await asyncio.gather(*callers)
            assert {route.site for route in routes if isinstance(route, Route)} == {"mx.example"}
            assert len(routes) == len(names)
            assert resolver.most_under_way <= DOMAINS_AT_ONCE + 1
            assert resolver.questions["addresses", "mx.example"] == 1

    asyncio.run(scene())


def test_the_hosts_of_one_domain_are_asked_about_a_few_at_a_time() -> None:
    """A domain of thirty silent hosts has no more than eight questions open."""

    async def scene() -> None:
        hosts = [f"mx{n}.example" for n in range(30)]
        resolver = FakeResolver(
            mx={"d.example": mx(*(f"{n} {host}" for n, host in enumerate(hosts)))},
            addresses=dict.fromkeys(hosts, SILENCE),
        )
        async with routing(resolver, timeout=SHORT) as router:
            assert words(await router.route("d.example")).startswith("451 4.4.3 ")
            assert resolver.questions.total() == 1 + HOSTS_AT_ONCE

    asyncio.run(scene())


def test_too_many_waiting_lookups_are_refused_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is past the bound is told to come again; nothing is cached of it."""
    monkeypatch.setattr(lookups, "WAITING_LIMIT", 3)

    async def scene() -> None:
        resolver, clock = simple(), FakeClock()
        resolver.hold()
        async with routing(resolver, clock) as router:
            callers = [asyncio.create_task(router.route(f"d{n}.example")) for n in range(3)]
            await until_idle()
            assert "too many lookups are waiting" in words(await router.route("d.example"))
            assert router.route_cached("d.example", clock.monotonic()) is None
            resolver.release()
            await asyncio.gather(*callers)
            await until_idle()
            assert isinstance(await router.route("d.example"), Route)

    asyncio.run(scene())


#: id: MX answer, addresses of mx.example, beginning of the reply
REFUSED: dict[str, tuple[MxResult, AddressResult, str]] = {
    "RFC 7505": (mx("0 ."), addresses("192.0.2.1"), "556 5.1.10 "),
    "NXDOMAIN": (NoSuchDomain(), NoSuchDomain(), "550 5.1.2 "),
    "SERVFAIL": (LookupFailed("SERVFAIL"), NoSuchDomain(), "451 4.4.3 "),
    "MX without an address": (mx("10 mx.example"), NoSuchDomain(), "451 4.4.4 "),
    "MX with a failing lookup": (mx("10 mx.example"), LookupFailed("REFUSED"), "451 4.4.3 "),
    "no MX and no address": (NoData(), NoData(), "451 4.4.4 "),
}


@pytest.mark.parametrize(("mx_answer", "host", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_is_cached_too(mx_answer: MxResult, host: AddressResult, expected: str) -> None:
    """A name that fails is not asked about at each message, and is asked again after five minutes at the latest."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": mx_answer}, addresses={"mx.example": host, "d.example": host}
        )
        clock = FakeClock()
        async with routing(resolver, clock) as router:
            decision = await router.route("d.example")
            assert words(decision).startswith(expected)
            assert await router.route("d.example") is decision
            assert resolver.questions["mx", "d.example"] == 1
            clock.advance(Seconds(300.0))
            assert router.route_cached("d.example", clock.monotonic()) is None

    asyncio.run(scene())


def test_a_null_mx_asks_for_no_address() -> None:
    """RFC 7505 4.1: the question ends with the MX answer."""

    async def scene() -> None:
        resolver = FakeResolver(mx={"d.example": mx("0 .")})
        async with routing(resolver) as router:
            await router.route("d.example")
            assert list(resolver.questions) == [("mx", "d.example")]

    asyncio.run(scene())


def test_failures_in_a_row_wait_longer_and_a_success_ends_them() -> None:
    """30 s, 60 s, then an answer; the next failure begins with 30 s again."""

    async def scene() -> None:
        failed = LookupFailed("SERVFAIL")
        resolver = FakeResolver(
            mx={"d.example": [failed, failed, mx("10 a.example", ttl=60), failed]},
            addresses={"a.example": addresses("192.0.2.1")},
        )
        clock = FakeClock()
        async with routing(resolver, clock) as router:
            for wait in (30, 60):
                decision = await router.route("d.example")
                assert isinstance(decision, Unroutable)
                assert decision.until - clock.monotonic() == wait
                clock.advance(Seconds(float(wait)))
            assert isinstance(await router.route("d.example"), Route)
            clock.advance(Seconds(60.0))
            decision = await router.route("d.example")
            assert isinstance(decision, Unroutable)
            assert decision.until - clock.monotonic() == 30

    asyncio.run(scene())


@pytest.mark.parametrize("silent", ["mx", "addresses"])
def test_silence_is_a_temporary_failure_within_the_timeout(silent: str) -> None:
    """Of the domain's nameservers or of its hosts'."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": SILENCE if silent == "mx" else mx("10 a.example")},
            addresses={"a.example": SILENCE},
        )
        async with routing(resolver, timeout=SHORT) as router:
            assert words(await router.route("d.example")).endswith(": timeout")

    asyncio.run(scene())


def test_a_route_does_not_wait_for_its_other_hosts() -> None:
    """One address is enough to know where mail goes."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": mx("10 a.example", "20 b.example")},
            addresses={"a.example": SILENCE, "b.example": addresses("192.0.2.2")},
        )
        async with routing(resolver) as router:
            assert isinstance(await router.route("d.example"), Route)

    asyncio.run(scene())


def test_targets_do_not_wait_long_for_a_backup() -> None:
    """Once a most preferred host is known, the others have a little time; what is still unknown is left out."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": mx("10 a.example", "20 b.example")},
            addresses={"a.example": addresses("192.0.2.1"), "b.example": SILENCE},
        )
        async with routing(resolver, grace=SHORT) as router:
            route = await router.route("d.example")
            assert isinstance(route, Route)
            targets = await router.targets(route, OPEN)
            assert not isinstance(targets, Unroutable)
            assert [target.address for target in targets] == ["192.0.2.1"]

    asyncio.run(scene())


def test_targets_wait_for_the_best_host_even_if_a_backup_is_known() -> None:
    """A backup that answers faster is no reason to pass over the host that the domain prefers."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": mx("10 a.example", "20 b.example")},
            addresses={"a.example": addresses("192.0.2.1"), "b.example": addresses("192.0.2.2")},
        )
        async with routing(resolver, grace=Seconds(0.0)) as router:
            resolver.hold("a.example")
            route = await router.route("d.example")
            assert isinstance(route, Route)
            asking = asyncio.create_task(router.targets(route, OPEN))
            await until_idle()
            assert not asking.done()
            resolver.release("a.example")
            targets = await asking
            assert not isinstance(targets, Unroutable)
            assert [target.address for target in targets] == ["192.0.2.1", "192.0.2.2"]

    asyncio.run(scene())


def test_targets_follow_the_paths_configuration() -> None:
    """Port and prohibited addresses are the path's; by default nothing goes to loopback."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": mx("10 a.example")}, addresses={"a.example": addresses("127.0.0.1")}
        )
        async with routing(resolver) as router:
            route = await router.route("d.example")
            assert isinstance(route, Route)
            assert words(await router.targets(route, PathConfig())).startswith("550 5.4.4 ")
            targets = await router.targets(route, PathConfig(smtp_port=2526, prohibited_hosts=()))
            assert not isinstance(targets, Unroutable)
            assert [(target.host, target.address, target.port) for target in targets] == [
                ("a.example", "127.0.0.1", 2526)
            ]

    asyncio.run(scene())


def test_our_own_listener_is_a_loop() -> None:
    """RFC 5321 5.1: address and port of ours, here a listener on all addresses."""

    async def scene() -> None:
        resolver = FakeResolver(
            mx={"d.example": mx("10 a.example")}, addresses={"a.example": addresses("127.0.0.1")}
        )
        async with routing(resolver, own=(Endpoint("0.0.0.0", 2525),)) as router:
            route = await router.route("d.example")
            assert isinstance(route, Route)
            loop = await router.targets(route, PathConfig(smtp_port=2525, prohibited_hosts=()))
            assert words(loop).startswith("554 5.4.6 ")
            beside = await router.targets(route, PathConfig(smtp_port=2526, prohibited_hosts=()))
            assert not isinstance(beside, Unroutable)

    asyncio.run(scene())


def test_an_address_literal_needs_no_question() -> None:
    """RFC 5321 4.1.3: route and target at once."""

    async def scene() -> None:
        resolver = FakeResolver()
        async with routing(resolver) as router:
            route = await router.route("[192.0.2.1]")
            assert isinstance(route, Route)
            targets = await router.targets(route, OPEN)
            assert not isinstance(targets, Unroutable)
            assert [target.address for target in targets] == ["192.0.2.1"]
            assert not resolver.questions

    asyncio.run(scene())


class Broken(FakeResolver):
    """A resolver with a bug."""

    async def mx(self, name: str) -> MxResult:
        """Break for one domain."""
        if name == "bug.example":
            raise RuntimeError("a bug")
        return await super().mx(name)

    async def addresses(self, name: str) -> AddressResult:
        """Break for one host."""
        if name == "bug-host.example":
            raise RuntimeError("another bug")
        return await super().addresses(name)


def test_a_fault_about_one_domain_makes_its_mail_wait(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, temporary, and nobody else's business."""

    async def scene() -> None:
        resolver = Broken(
            mx={"d.example": mx("10 bug-host.example"), "e.example": mx("10 a.example")},
            addresses={"a.example": addresses("192.0.2.1")},
        )
        async with routing(resolver) as router:
            assert "internal error" in words(await router.route("bug.example"))
            assert "internal error" in words(await router.route("d.example"))
            assert isinstance(await router.route("e.example"), Route)

    asyncio.run(scene())
    assert [record.getMessage() for record in caplog.records] == [
        "cannot decide the route of bug.example",
        "cannot look up the addresses of bug-host.example",
    ]


def test_closing_ends_every_lookup_and_answers_who_waits() -> None:
    """No task is left, and the waiting callers get a temporary refusal."""

    async def scene() -> None:
        resolver = FakeResolver(mx={"d.example": SILENCE})
        async with routing(resolver) as router:
            caller = asyncio.create_task(router.route("d.example"))
            await until_idle()
            await router.close()
            assert "shutting down" in words(await caller)
            assert router.lookups == 0

    asyncio.run(scene())


def test_a_lookup_that_never_began_can_be_closed() -> None:
    """Cancelled before its first step, a task still gives its place back."""

    async def scene() -> None:
        async def ask(_name: str) -> tuple[int, float]:
            raise AssertionError("never asked")

        pending: Lookups[int] = Lookups("test", ask, 1)  # type: ignore[arg-type]
        task = pending.start("a")
        assert task is not None
        assert pending.start("a") is task
        await pending.close()
        await until_idle()
        assert len(pending) == 0

    asyncio.run(scene())

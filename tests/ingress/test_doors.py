"""Shares of the door: only the client or the tenant over its limit is refused, here and with what is taken elsewhere."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.ingress.doors import Doors, Visit
from penstock.mail.configuration import QueuesConfig, TenantConfig
from penstock.mail.duration import ByteCount
from tests.ingress.room import Client, Room, in_room
from tests.ingress.test_policy_and_sessions import policy

#: Whoever connects from 192.0.2.N sends for tenant tN; 192.0.2.9 sends for nobody.
POLICY = (
    "from penstock.policy import inline\n@inline\ndef on_connect(session):\n    session.may_relay = True\n"
    "    number = session.peer_address.rpartition('.')[2]\n"
    "    session.tenant = None if number == '9' else 't' + number\n"
)
MAIL = b"MAIL FROM:<a@b.test>\r\n"
RCPT = b"RCPT TO:<c@d.test>\r\n"


def limit(room: Room, **options: int) -> None:
    """Tenant t1 may take so much, t2 what is usual."""
    limits = TenantConfig(**{name: ByteCount(value) for name, value in options.items()})
    room.desk.queues = QueuesConfig(tenants=frozenset({"t1", "t2"}), tenant_options={"t1": limits})


async def begun(room: Room, peer: str, octets: bytes) -> Client:
    """A client with a message under way of which so many octets have come."""
    client = await room.greeted(peer)
    assert (await client.say(MAIL)).startswith(b"250 ")
    assert (await client.say(RCPT)).startswith(b"250 ")
    assert (await client.say(b"DATA\r\n")).startswith(b"354 ")
    assert await client.say(octets) == b""
    return client


def lines(octets: int) -> bytes:
    """Mail data of about so many octets, without its end."""
    return b"x" * 78 + b"\r\n" + (b"y" * 78 + b"\r\n") * (octets // 80)


def test_a_tenant_with_too_many_connections(tmp_path: Path) -> None:
    """The one beyond is closed with 421 when it begins a message; other tenants, and mail of none, go on."""

    async def test(room: Room) -> None:
        limit(room, max_connections=2)
        held = [await room.greeted("192.0.2.1") for _ in range(2)]
        for client in held:
            assert (await client.say(MAIL)).startswith(b"250 ")
        late = await room.greeted("192.0.2.1")
        assert await late.say(MAIL) == b"421 4.7.0 too many connections of tenant t1; try again later\r\n"
        assert late.is_closed
        for peer in ("192.0.2.2", "192.0.2.9"):
            assert (await (await room.greeted(peer)).say(MAIL)).startswith(b"250 ")
        assert (await held[0].say(b"RSET\r\n" + MAIL)).endswith(b"250 2.1.0 sender ok\r\n")
        await held[0].say(b"QUIT\r\n")
        again = await room.greeted("192.0.2.1")
        assert (await again.say(MAIL)).startswith(b"250 ")

    in_room(test, policy(tmp_path, POLICY))


def test_connections_elsewhere_count(tmp_path: Path) -> None:
    """As the supervisor has told them, of tenants and of clients."""

    async def test(room: Room) -> None:
        limit(room, max_connections=3)
        room.desk.doors.tenant_connections.elsewhere = {"t1": 2}
        first = await room.greeted("192.0.2.1")
        assert (await first.say(MAIL)).startswith(b"250 ")
        second = await room.greeted("192.0.2.1")
        assert (await second.say(MAIL)).startswith(b"421 4.7.0 ")
        room.desk.doors.client_connections.elsewhere = {"192.0.2.2": 5}
        assert await room.client("192.0.2.2").heard() == (
            b"421 4.7.0 too many connections from your address; try again later\r\n"
        )

    in_room(test, policy(tmp_path, POLICY), max_connections_per_client=5)


def test_a_tenant_with_too_much_on_its_way_in(tmp_path: Path) -> None:
    """Mail beyond is refused 452, what is coming in on another connection is dropped; one message alone always comes in."""

    async def test(room: Room) -> None:
        limit(room, max_bytes_in_flight=100_000)
        first = await begun(room, "192.0.2.1", lines(90_000))
        second = await begun(room, "192.0.2.1", lines(60_000))
        third = await room.greeted("192.0.2.1")
        assert (await begun(room, "192.0.2.2", lines(100_000))).transport.written == b""
        assert (await second.say(b".\r\n")).startswith(b"452 4.3.1 ")
        await first.say(lines(60_000))
        assert (
            await third.say(MAIL)
            == b"452 4.3.1 too much mail of tenant t1 is on its way in; try again when it has come\r\n"
        )
        assert (await first.say(b".\r\n")).startswith(b"250 2.0.0 ")
        assert (await third.say(MAIL)).startswith(b"250 ")
        assert len(room.submitted) == 1

    in_room(test, policy(tmp_path, POLICY))


def test_a_client_with_too_much_on_its_way_in(tmp_path: Path) -> None:
    """Whoever's mail it is; those that are trusted are not counted."""

    async def test(room: Room) -> None:
        limit(room)
        await begun(room, "192.0.2.9", lines(110_000))
        second = await room.greeted("192.0.2.9")
        assert (await second.say(MAIL)).startswith(b"452 4.3.1 too much mail from your address")
        assert (await (await room.greeted("192.0.2.2")).say(MAIL)).startswith(b"250 ")
        await begun(room, "192.0.2.1", lines(110_000))
        assert (await (await room.greeted("192.0.2.1")).say(MAIL)).startswith(b"250 ")

    in_room(
        test,
        policy(tmp_path, POLICY),
        max_bytes_in_flight_per_client=100_000,
        relay_hosts=(ip_network("192.0.2.1"),),
    )


def test_a_tenant_with_full_queues(tmp_path: Path) -> None:
    """Refused at MAIL where it is known, at the end of the message where that names it; with what other lanes have queued."""

    async def test(room: Room) -> None:
        limit(room, max_queued_bytes=100_000)
        queued = {"t1": 60_000, None: 10**12}
        room.desk.doors._queued = lambda: queued
        client = await begun(room, "192.0.2.1", lines(30_000))
        room.desk.doors.queued_elsewhere = {"t1": 20_000}
        assert (
            await client.say(b".\r\n")
            == b"452 4.3.1 the queues of tenant t1 are full; try again when mail has been delivered\r\n"
        )
        client = await begun(room, "192.0.2.1", lines(10_000))
        assert (await client.say(b".\r\n")).startswith(b"250 2.0.0 ")
        room.desk.doors.queued_elsewhere = {"t1": 40_000}
        assert (await client.say(MAIL)).startswith(b"452 4.3.1 the queues of tenant t1 are full")
        for peer in ("192.0.2.2", "192.0.2.9"):
            other = await begun(room, peer, lines(10_000))
            assert (await other.say(b".\r\n")).startswith(b"250 2.0.0 ")

    in_room(test, policy(tmp_path, POLICY))


def test_a_tenant_that_the_message_names() -> None:
    """Without a policy: it is known at the end, and refused then."""

    async def test(room: Room) -> None:
        limit(room, max_queued_bytes=1_000_000)
        room.desk.queues = QueuesConfig(
            tenant_header="x-tenant",
            tenants=room.desk.queues.tenants,
            tenant_options=room.desk.queues.tenant_options,
        )
        room.desk.doors.queued_elsewhere = {"t1": 1_000_000}
        for tenant, answer in ((b"t1", b"452 4.3.1 "), (b"t2", b"250 2.0.0 ")):
            client = await begun(room, "192.0.2.1", b"X-Tenant: " + tenant + b"\r\n\r\nhello\r\n")
            assert (await client.say(b".\r\n")).startswith(answer)
        assert not room.desk.doors.tenant_octets.here()

    in_room(test, relay_hosts=(ip_network("192.0.2.0/24"),))


def test_what_is_counted_is_given_back(tmp_path: Path) -> None:
    """However a connection ends."""

    async def test(room: Room) -> None:
        limit(room)
        clients = [await begun(room, "192.0.2.1", lines(5_000)) for _ in range(3)]
        await clients[0].say(b".\r\nQUIT\r\n")
        clients[1].transport.abort()
        clients[2].connection.eof_received()
        await room.settle()
        doors = room.desk.doors
        for shares in (
            doors.client_connections, doors.client_octets, doors.tenant_connections, doors.tenant_octets,
        ):  # fmt: skip
            assert not shares.here()

    in_room(test, policy(tmp_path, POLICY))


ACTS = ["enter", "become", "bring", "hold", "leave"]
steps = st.tuples(
    st.integers(0, 3), st.sampled_from([None, "a", "b"]), st.integers(0, 50), st.sampled_from(ACTS)
)


@given(st.lists(steps))
def test_visits_are_counted_exactly(steps: list[tuple[int, str | None, int, str]]) -> None:
    """The sums are those of a naive count over all visits, whatever they do in which order."""
    doors = Doors()
    visits = [Visit(doors) for _ in range(4)]
    states: list[dict[str, object]] = [
        {"client": None, "tenant": None, "payer": None, "octets": 0} for _ in visits
    ]
    for place, tenant, octets, act in steps:
        visit, state = visits[place], states[place]
        if act == "enter" and state["client"] is None:
            visit.hold(0)
            state["octets"] = 0
            visit.enter("192.0.2.1")
            state["client"] = "192.0.2.1"
        elif act == "become":
            visit.become(tenant)
            state.update(tenant=tenant, payer=tenant)
        elif act == "bring":
            visit.bring(tenant)
            state.update(payer=tenant)
        elif act == "hold":
            visit.hold(octets)
            state.update(octets=octets)
        elif act == "leave":
            visit.leave()
            state.update(client=None, tenant=None, payer=None, octets=0)
    for name in ("a", "b"):
        assert doors.tenant_connections.of(name) == sum(state["tenant"] == name for state in states)
        assert doors.tenant_octets.of(name) == sum(
            int(str(state["octets"])) for state in states if state["payer"] == name
        )
    assert doors.client_connections.of("192.0.2.1") == sum(state["client"] is not None for state in states)


@pytest.mark.parametrize("tenant", ["t1", None])
def test_queued_octets_are_summed(tenant: str | None) -> None:
    """Ours and those of others."""
    doors = Doors(lambda: {tenant: 5})
    doors.queued_elsewhere = {"t1": 7}
    assert doors.queued("t1") == (12 if tenant else 7)

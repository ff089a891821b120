"""A hostile server: what its script says it does, and otherwise what a good one does."""

from __future__ import annotations

import asyncio

import pytest

from penstock.mail.duration import Seconds
from penstock.sim.clock import FakeClock
from penstock.sim.hostile import Act, Drip, Endless, HostilePeer, HostileServer, Manners, Move, Script
from penstock.sim.raw_client import RawClient

from .world import HELLO, run, until

GROUP = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nDATA\r\n"


def said(acts: list[Act]) -> bytes:
    """The octets among acts."""
    return b"".join(act for act in acts if isinstance(act, bytes))


def codes(acts: list[Act]) -> list[bytes]:
    """The codes of what was said."""
    return [line[:3] for line in said(acts).splitlines()]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_without_a_script_it_is_a_good_server(size: int) -> None:
    """However octets are cut; mail data is kept as it came."""
    peer = HostilePeer({})
    acts = peer.greet()
    stream = HELLO + GROUP + b"x\r\n..\r\n.\r\nRSET\r\nNOOP\r\nVRFY x\r\nQUIT\r\n"
    for start in range(0, len(stream), size):
        acts += peer.hear(stream[start : start + size])
    assert codes(acts) == [b"220", *[b"250"] * 9, b"354", b"250", b"250", b"250", b"500", b"221"]
    assert acts[-1] is Move.CLOSE
    assert peer.data == [b"x\r\n..\r\n"]
    assert peer.commands[0] == "EHLO client.test"


def test_moments_are_told_apart() -> None:
    """The second of a kind, all of a kind, nothing at all, and several acts in a row."""
    script: Script = {"RCPT 2": "550 no", "DATA": ("354 go", b"25"), "body": Move.DEAF, ".": ()}
    peer = HostilePeer(script)
    peer.hear(HELLO)
    acts = peer.hear(GROUP)
    assert said(acts) == b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 no\r\n354 go\r\n25"
    assert peer.hear(b"x") == [Move.DEAF]
    assert peer.hear(b"\r\n.\r\n") == []


def test_lmtp_has_a_reply_for_each_recipient_that_was_accepted() -> None:
    """RFC 2033 4.2."""
    peer = HostilePeer({"RCPT 1": "550 no"}, Manners(is_lmtp=True))
    peer.hear(b"LHLO x\r\n" + GROUP)
    assert codes(peer.hear(b".\r\n")) == [b"250"]
    peer.hear(GROUP)
    assert codes(peer.hear(b".\r\n")) == [b"250", b"250"]


def test_chunks_are_counted() -> None:
    """And joined; commands in them are none."""
    peer = HostilePeer({})
    assert codes(peer.hear(b"BDAT 6\r\nQUIT\r\nBDAT 2 LAST\r\n\r")) == [b"250"]
    assert codes(peer.hear(b"\n")) == [b"250"]
    assert peer.data == [b"QUIT\r\n\r\n"]


def test_tls_is_a_second_beginning() -> None:
    """Keywords of its own; what the script says of EHLO in clear does not hold there; a handshake nobody shakes is a moment."""
    peer = HostilePeer({"EHLO": "250 first", "tls MAIL": "450 no"}, Manners(tls_keywords=("AUTH PLAIN",)))
    acts = peer.hear(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<>\r\n")
    assert acts[-1] is Move.SECURE
    assert codes(acts) == [b"250", b"220"]
    peer.secured()
    assert said(peer.hear(b"EHLO x\r\n")) == b"250-d.example\r\n250 AUTH PLAIN\r\n"
    assert codes(peer.hear(b"MAIL FROM:<>\r\n")) == [b"450"]
    peer = HostilePeer({"STARTTLS": "220 go", "handshake": "250 ok"})
    assert codes(peer.hear(b"STARTTLS\r\n")) == [b"220"]
    assert codes(peer.hear(b"\x16\x03\x01")) == [b"250"]


def test_on_sockets_it_does_the_same() -> None:
    """Within TLS too; it notes whether the client has ended the session."""

    async def scene() -> None:
        async with HostileServer({}, manners=Manners(keywords=("STARTTLS",))) as server:
            async with RawClient(await server.start()) as client:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
                await client.ask(b"STARTTLS\r\n", b"220")
                await client.secure()
                await client.ask(HELLO, b"250")
                await client.ask(GROUP, b"250", b"250", b"250", b"354")
                await client.ask(b"x\r\n.\r\n", b"250")
            (session,) = server.sessions
            await until(lambda: session.is_over)
            assert session.has_client_ended
            assert (session.peer.is_secured, session.peer.data) == (True, [b"x\r\n"])

    run(scene())


@pytest.mark.parametrize("move", [Move.CLOSE, Move.RESET, Move.END_OUTPUT])
def test_it_ends_the_connection(move: Move) -> None:
    """After what was to be said before, in one segment."""

    async def scene() -> None:
        async with HostileServer({"MAIL": ("250 ok", b"25", move)}) as server:
            async with RawClient(await server.start()) as client:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
                await client.send(b"MAIL FROM:<>\r\nNOOP\r\n")
                ended = await client.until_closed()
                assert ended in (b"250 ok\r\n25", b"") if move is Move.RESET else ended == b"250 ok\r\n25"
            await until(lambda: server.sessions[0].is_over)
            assert server.sessions[0].has_client_ended is (move is Move.END_OUTPUT)

    run(scene())


def test_what_has_no_end_is_said_as_long_as_the_client_reads() -> None:
    """Up to its limit, and with no more than a window of it waiting."""

    async def scene() -> None:
        async with HostileServer({"banner": Endless(b"220-x\r\n", limit=3_000_000)}) as server:
            async with RawClient(await server.start()) as client:
                await until(lambda: bool(server.sessions))
                (session,) = server.sessions
                reading = asyncio.create_task(client.until_closed())
                await until(lambda: session.octets_said >= 3_000_000)
                session.end()
                assert len(await reading) < 3_200_000
            assert session.octets_said < 3_200_000

    run(scene())


def test_it_drips() -> None:
    """An octet each interval, by its clock."""
    clock = FakeClock()

    async def scene() -> None:
        async with (
            HostileServer({"banner": Drip(b"ab", Seconds(1.0))}, clock=clock) as server,
            RawClient(await server.start()) as client,
        ):
            await until(lambda: clock.next_timer() is not None)
            for _ in range(3):
                clock.advance(Seconds(1.0))
            server.sessions[0].end()
            assert await client.until_closed() in (b"abab", b"")

    run(scene())


def test_it_does_not_read_when_it_is_deaf() -> None:
    """The client's window fills."""

    async def scene() -> None:
        async with HostileServer({"NOOP": Move.DEAF}) as server:
            async with RawClient(await server.start()) as client:
                await client.ask(b"NOOP\r\n", b"220")
                client.within = 0.1
                with pytest.raises(TimeoutError):
                    while True:
                        await client.send(b"x" * 1_000_000)
            assert server.sessions[0].peer.commands == ["NOOP"]

    run(scene())


def test_later_sessions_may_go_otherwise() -> None:
    """By a script of their own."""

    async def scene() -> None:
        async with HostileServer({"banner": "421 no"}, again={}) as server:
            endpoint = await server.start()
            for code in (b"421", b"220", b"220"):
                async with RawClient(endpoint) as client:
                    await client.expect(code)

    run(scene())

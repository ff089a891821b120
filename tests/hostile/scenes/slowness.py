"""Clients that take their time: an octet now and then in every state, which no activity may excuse; and too many connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from penstock.mail.duration import ByteCount, Seconds
from tests.hostile.case import Proxy, Setup
from tests.hostile.scene import Play, Scene, unless
from tests.hostile.server import serving
from tests.hostile.wire import Wire

_PATIENCE: Final = Seconds(0.2)
#: Between two octets: far below the patience, so that only the whole takes too long.
_PACE: Final = 0.02
#: How many octets a slow client would send, if it were let.
_OCTETS: Final = 150
_HELLO: Final = b"EHLO client.test\r\n"
_ENVELOPE: Final = _HELLO + b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\n"


def _slow(
    before: bytes,
    replies: int,
    octets: bytes,
    setup: Setup | None = None,
    *,
    is_told: bool = True,
    **options: object,
) -> Play:
    """``before`` at once, then ``octets`` one at a time, over and over: the server must end it long before the client has done."""

    async def play(place: Path) -> list[str]:
        changes: dict[str, Any] = {
            "client_timeout": _PATIENCE,
            "min_data_rate": ByteCount(10_000),
            **options,
        }
        async with serving(place, setup or Setup(), **changes) as server, Wire(server.endpoint) as wire:
            if not octets and not before:
                return [*unless(b"421 4.4.2" in await wire.until_closed(), "no 421")]
            await wire.send(before)
            await wire.replies(replies)
            drip = asyncio.create_task(_drip(wire, octets))
            said = await wire.until_closed()
            drip.cancel()
            sent = (await asyncio.gather(drip, return_exceptions=True))[0]
            return [
                *unless(not isinstance(sent, int), "it was let finish"),
                *unless(not is_told or b"421 4.4.2" in said or wire.was_reset, f"it was told {said!r}"),
                *unless(server.received == 0, "something was stored"),
            ]

    return play


async def _drip(wire: Wire, octets: bytes) -> int:
    for number in range(_OCTETS):
        place = number % max(1, len(octets))
        await wire.send_clear(octets[place : place + 1])
        await asyncio.sleep(_PACE)
    return _OCTETS


async def _connections(place: Path) -> list[str]:
    """One client may have three connections; one of another address, and one in relay_hosts, is not counted with it."""
    async with serving(place, Setup(may_relay=False), max_connections_per_client=3) as server:
        wires = [Wire(server.endpoint) for _ in range(5)]
        banners = []
        for wire in wires:
            await wire.__aenter__()
            banners.append(await wire.replies(1))
        for wire in wires:
            await wire.__aexit__(None, None, None)
        return unless(
            [banner[:3] for banner in banners] == [b"220"] * 3 + [b"421"] * 2, f"the banners were {banners}"
        )


async def _idle_strangers(place: Path) -> list[str]:
    """A hundred idle connections of a stranger, who may have that many: our own client is served."""
    async with serving(place, Setup(), max_connections=110) as server:
        wires = [Wire(server.endpoint) for _ in range(100)]
        for wire in wires:
            await wire.__aenter__()
            await wire.replies(1)
        async with Wire(server.endpoint) as wire:
            await wire.replies(1)
            await wire.send(_ENVELOPE + b"BDAT 3 LAST\r\nx\r\n")
            said = await wire.replies(4)
        for wire in wires:
            await wire.__aexit__(None, None, None)
        return unless(said.count(b"250 ") == 4, f"the next client was told {said!r}")


_AUTH: Final = Setup(may_relay=False, has_auth=True, allow_auth_without_tls=True)
_CLIENT_HELLO: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
_ROWS: Final[dict[str, tuple[str, Callable[[], Play]]]] = {
    "silent": ("nothing at all behind the banner", lambda: _slow(b"", 1, b"")),
    "command": ("a command that comes an octet at a time", lambda: _slow(b"", 1, b"NOOP xxxxxxxx")),
    "command-later": (
        "a command in a transaction, an octet at a time",
        lambda: _slow(_ENVELOPE, 4, b"RSET xxxxxxx"),
    ),
    "data": ("mail data that comes an octet at a time", lambda: _slow(_ENVELOPE + b"DATA\r\n", 5, b"x")),
    "data-lines": (
        "mail data in short lines, an octet at a time",
        lambda: _slow(_ENVELOPE + b"DATA\r\n", 5, b"x\r\n"),
    ),
    "data-dots": (
        "mail data of dots and line ends",
        lambda: _slow(_ENVELOPE + b"DATA\r\n", 5, b"\r\n..\r\n"),
    ),
    "chunk": (
        "a chunk that comes an octet at a time",
        lambda: _slow(_ENVELOPE + b"BDAT 1000 LAST\r\n", 4, b"x"),
    ),
    "chunks-tiny": (
        "chunks of no octets, on and on",
        lambda: _slow(_ENVELOPE, 4, b"BDAT 0\r\n", session_timeout=Seconds(0.4)),
    ),
    "handshake": (
        "a ClientHello that comes an octet at a time",
        lambda: _slow(_HELLO + b"STARTTLS\r\n", 3, _CLIENT_HELLO, is_told=False),
    ),
    "auth": (
        "a response to AUTH that comes an octet at a time",
        lambda: _slow(_HELLO + b"AUTH PLAIN\r\n", 3, b"AAAA", _AUTH),
    ),
    "proxy": (
        "a PROXY header that comes an octet at a time",
        lambda: _slow(b"PROXY UNKN", 0, b"x", Setup(proxy=Proxy.REQUIRED), is_told=False),
    ),
    "busy": (
        "a command now and then, but never a message",
        lambda: _slow(_HELLO, 2, b"NOOP\r\n", session_timeout=Seconds(0.4), client_timeout=Seconds(5.0)),
    ),
    "busy-transactions": (
        "a transaction now and then, but never mail data",
        lambda: _slow(
            _HELLO, 2, b"RSET\r\nMAIL FROM:<>\r\n", session_timeout=Seconds(0.4), client_timeout=Seconds(5.0)
        ),
    ),
}

SCENES: Final = (
    *(Scene(f"E6-slow-{name}", what, make()) for name, (what, make) in _ROWS.items()),
    Scene("E6-connections", "more connections from one address than it may have", _connections),
    Scene("E6-idle", "a hundred idle connections", _idle_strangers),
)

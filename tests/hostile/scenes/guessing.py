"""Guessing passwords: limits for one address and for one user, and the wait before a failure is answered."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Final

from penstock.mail.duration import Seconds
from penstock.mail.rate import Rate
from tests.hostile.case import PASSWORD, USER, Proxy, Setup
from tests.hostile.scene import Scene, unless
from tests.hostile.server import Server, serving
from tests.hostile.wire import Wire

_SETUP: Final = Setup(may_relay=False, has_auth=True, allow_auth_without_tls=True, proxy=Proxy.REQUIRED)
_THREE: Final = Rate(3, Seconds(3600.0), 3)


def _auth(user: str, password: str) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n"


async def _codes(server: Server, address: str, *attempts: tuple[str, str]) -> list[bytes]:
    """What a client at this address is told, one attempt after the other on one connection."""
    async with Wire(server.endpoint) as wire:
        await wire.send(f"PROXY TCP4 {address} 127.0.0.1 4711 25\r\n".encode())
        banner = await wire.replies(1)
        if not banner.startswith(b"220"):
            return [banner[:3]]
        await wire.send(b"EHLO client.test\r\n")
        await wire.replies(1)
        codes = []
        for attempt in attempts:
            await wire.send(_auth(*attempt))
            codes.append((await wire.replies(1))[:3])
        return codes


_GOOD: Final = (USER, PASSWORD)


async def _one_address(place: Path) -> list[str]:
    """After three failures, an address is not even listened to with the right password; another is."""
    async with serving(place, _SETUP, max_auth_failures=_THREE) as server:
        failed = await _codes(server, "192.0.2.1", ("a", "x"), ("b", "x"), ("c", "x"))
        then = await _codes(server, "192.0.2.1", _GOOD)
        other = await _codes(server, "192.0.2.2", _GOOD)
        return [
            *unless(failed == [b"535"] * 3, f"failures were told {failed}"),
            *unless(then in ([b"454"], [b"421"], [b"535"]), f"then the right password was told {then}"),
            *unless(other == [b"235"], f"another address was told {other}"),
        ]


async def _one_user(place: Path) -> list[str]:
    """Failures for one user count wherever they come from; another user gets in."""
    async with serving(place, _SETUP, max_auth_failures=_THREE) as server:
        failed = [await _codes(server, f"192.0.2.{number}", (USER, "x")) for number in range(1, 4)]
        then = await _codes(server, "192.0.2.9", _GOOD)
        other = await _codes(server, "192.0.2.10", ("somebody", "x"))
        return [
            *unless(failed == [[b"535"]] * 3, f"failures were told {failed}"),
            *unless(then in ([b"454"], [b"421"]), f"then the right password was told {then}"),
            *unless(other == [b"535"], f"another user was told {other}"),
        ]


async def _one_network(place: Path) -> list[str]:
    """Addresses of one IPv6 /64 are one client."""
    async with serving(place, _SETUP, max_auth_failures=_THREE) as server:
        for number in range(1, 4):
            async with Wire(server.endpoint) as wire:
                await wire.send(f"PROXY TCP6 2001:db8::{number} ::1 4711 25\r\n".encode())
                await wire.replies(1)
                await wire.send(b"EHLO x\r\n" + _auth(f"u{number}", "x"))
                await wire.replies(2)
        async with Wire(server.endpoint) as wire:
            await wire.send(b"PROXY TCP6 2001:db8::ffff ::1 4711 25\r\n")
            await wire.replies(1)
            await wire.send(b"EHLO x\r\n" + _auth(*_GOOD))
            said = await wire.replies(2)
            return unless(b"\r\n454 " in said or b"\r\n421 " in said, f"told {said[-80:]!r}")


async def _a_wait(place: Path) -> list[str]:
    """A failure is answered after a while, a success at once; an unknown user and a wrong password take the same."""
    delay = 0.3
    loop = asyncio.get_running_loop()
    took = []
    async with serving(place, _SETUP, auth_failure_delay=Seconds(delay)) as server:
        for attempt in (("nobody", "x"), (USER, "x"), _GOOD):
            began = loop.time()
            await _codes(server, "192.0.2.1", attempt)
            took.append(loop.time() - began)
    return [
        *unless(min(took[:2]) >= delay, f"failures took {took[:2]} seconds"),
        *unless(took[2] < delay, f"a success took {took[2]} seconds"),
    ]


async def _many_refusals(place: Path) -> list[str]:
    """An address that was refused too often is sent away, and turned away when it comes again; another is served."""
    setup = Setup(may_relay=False, proxy=Proxy.REQUIRED)
    header = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 25\r\n"
    async with serving(place, setup, max_failures_per_client=Rate(5, Seconds(3600.0), 5)) as server:
        async with Wire(server.endpoint) as wire:
            await wire.send(header)
            await wire.replies(1)
            await wire.send(b"EHLO x\r\n" + b"XYZZY\r\n" * 10)
            said = await wire.until_closed()
        async with Wire(server.endpoint) as wire:
            await wire.send(header)
            again = await wire.until_closed()
        async with Wire(server.endpoint) as wire:
            await wire.send(header.replace(b"192.0.2.1", b"192.0.2.2"))
            other = await wire.replies(1)
    return [
        *unless(b"421 4.7.0" in said, f"told {said[-80:]!r}"),
        *unless(again.startswith(b"421"), f"then told {again!r}"),
        *unless(other.startswith(b"220"), f"another address was told {other!r}"),
    ]


SCENES: Final = (
    Scene("D2-limit-per-address", "brute force from one address", _one_address),
    Scene("D2-limit-per-network", "brute force from one IPv6 network", _one_network),
    Scene("D2-limit-per-user", "brute force against one user from many addresses", _one_user),
    Scene("D2-delay", "failures are answered late, and all the same", _a_wait),
    Scene(
        "E5-failures-per-address", "refused commands of one address, over several connections", _many_refusals
    ),
)

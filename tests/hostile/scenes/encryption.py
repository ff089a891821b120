"""What can be done to TLS itself: garbage for a handshake, clear text behind close_notify, another protocol's name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from penstock.mail.configuration import TlsMode
from tests.hostile.case import PLAIN, Setup
from tests.hostile.scene import Play, Scene, unless
from tests.hostile.server import Server, serving
from tests.hostile.wire import Wire, any_certificate

_EHLO: Final = b"EHLO client.test\r\n"
_ENVELOPE: Final = b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\n"


async def _asked(wire: Wire) -> None:
    """Up to the 220 of STARTTLS."""
    await wire.replies(1)
    await wire.send(_EHLO + b"STARTTLS\r\n")
    await wire.replies(2)


async def _secure(wire: Wire) -> None:
    await _asked(wire)
    assert await wire.shake_hands()
    await wire.send(_EHLO)
    await wire.replies(1)


def _garbage(octets: bytes) -> Play:
    """Send ``octets`` where a handshake is to come: the connection ends, and nothing is said in clear text."""

    async def play(place: Path) -> list[str]:
        async with serving(place, PLAIN) as server, Wire(server.endpoint) as wire:
            await _asked(wire)
            await wire.send_clear(octets)
            wire.end_output()
            said = await wire.until_closed()
            return [
                *unless(
                    not said or said[:1] == b"\x15", f"{said[:80]!r} was said where a handshake was to come"
                ),
                *await _still_good(server),
            ]

    return play


async def _still_good(server: Server) -> list[str]:
    """Whether the server takes the next client's message, in TLS."""
    async with Wire(server.endpoint) as wire:
        await _secure(wire)
        await wire.send(_ENVELOPE + b"BDAT 3 LAST\r\nx\r\n")
        said = await wire.replies(3)
        return unless(said.count(b"250 ") == 3, f"the next client was told {said!r}")


def _behind_close_notify(clear: bytes, *, before: bytes = b"", replies: int = 0) -> Play:
    """CVE-2026-45185: a chunk is begun within TLS, TLS is ended, and octets come in clear text. ``replies`` come to what is sent before."""

    async def play(place: Path) -> list[str]:
        async with serving(place, PLAIN) as server:
            async with Wire(server.endpoint) as wire:
                await _secure(wire)
                if before:
                    await wire.send(_ENVELOPE)
                    await wire.replies(2)
                    await wire.send(before)
                    await wire.replies(replies)
                await wire.close_notify()
                await wire.send_clear(clear)
                said = await wire.until_closed()
            return [
                *unless(b"250" not in said and b"354" not in said, f"{said!r} was said behind close_notify"),
                *unless(server.received == 0, "something was stored"),
                *await _still_good(server),
            ]

    return play


async def _application_protocols(place: Path) -> list[str]:
    faults = []
    async with serving(place, Setup(tls=TlsMode.IMPLICIT)) as server:
        for offered, chosen in (
            (("smtp",), "smtp"),
            (("h2", "http/1.1"), None),
            (("smtp", "h2"), "smtp"),
            ((), None),
        ):
            async with Wire(server.endpoint, any_certificate(protocols=offered)) as wire:
                is_there = await wire.shake_hands()
                selected = wire.tls.selected_alpn_protocol() if wire.tls is not None else None
                faults += unless(selected == chosen, f"of {offered}, {selected} was chosen")
                faults += unless(is_there or chosen is None, f"{offered}: no handshake")
    return faults


async def _old_versions(place: Path) -> list[str]:
    """A ClientHello whose highest version is TLS 1.1, written by hand: today's libraries do not write any."""
    hello = bytes.fromhex("0302") + bytes(32) + b"\x00" + bytes.fromhex("0004c013c014") + b"\x01\x00"
    handshake = b"\x01" + len(hello).to_bytes(3, "big") + hello
    record = b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake
    async with serving(place, PLAIN) as server, Wire(server.endpoint) as wire:
        await _asked(wire)
        await wire.send_clear(record)
        said = await wire.until_closed()
        return unless(not said or said[:1] == b"\x15", f"TLS 1.1 was answered {said[:20]!r}")


SCENES: Final = (
    Scene("C2-garbage-noop", "NOOP in clear text where a handshake is to come", _garbage(b"NOOP\r\n")),
    Scene(
        "C2-garbage-mail",
        "a transaction in clear text where a handshake is to come",
        _garbage(_ENVELOPE + b"DATA\r\n"),
    ),
    Scene("C2-garbage-octets", "four thousand octets that are no TLS", _garbage(bytes(range(256)) * 16)),
    Scene(
        "C2-garbage-record",
        "a TLS record that holds no handshake",
        _garbage(b"\x16\x03\x03\x00\x04\xff\xff\xff\xff"),
    ),
    Scene(
        "C2-garbage-data",
        "a TLS record of application data before any key",
        _garbage(b"\x17\x03\x03\x00\x06NOOP\r\n"),
    ),
    Scene("C2-garbage-nothing", "the end of input where a handshake is to come", _garbage(b"")),
    Scene(
        "C2-garbage-half",
        "half a ClientHello, and the end of input",
        _garbage(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ),
    Scene("C2-old-version", "a handshake with TLS 1.1", _old_versions),
    Scene(
        "C5-dead-letter",
        "ten of a chunk's hundred octets, close_notify, one octet in clear text",
        _behind_close_notify(b"\n", before=b"BDAT 100\r\n0123456789"),
    ),
    Scene(
        "C5-rest-of-chunk",
        "the rest of a chunk in clear text behind close_notify",
        _behind_close_notify(b"x" * 90 + _ENVELOPE, before=b"BDAT 100 LAST\r\n0123456789"),
    ),
    Scene("C5-command", "a command in clear text behind close_notify", _behind_close_notify(b"NOOP\r\n")),
    Scene(
        "C5-end-of-data",
        "the end of mail data in clear text behind close_notify",
        _behind_close_notify(b"\r\n.\r\n", before=b"DATA\r\n", replies=1),
    ),
    Scene("C6-alpn", "of the names of protocols, smtp alone is agreed on", _application_protocols),
)

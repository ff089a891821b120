"""Connections that end where no protocol ends: half-closed, reset, or talking before the banner, in each state of a session."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.hostile.case import Setup
from tests.hostile.scene import Play, Scene, unless
from tests.hostile.server import Server, serving
from tests.hostile.wire import Wire
from tests.system.harness import until

_HELLO: Final = b"EHLO client.test\r\n"
_ENVELOPE: Final = _HELLO + b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\n"
#: What has been sent, and how many replies have been read, when the connection ends.
_STATES: Final[dict[str, tuple[bytes, int]]] = {
    "banner": (b"", 0),
    "greeted": (b"", 1),
    "half-command": (b"EH", 1),
    "introduced": (_HELLO, 2),
    "mail": (_HELLO + b"MAIL FROM:<a@from.test>\r\n", 3),
    "half-rcpt": (_HELLO + b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@", 3),
    "rcpt": (_ENVELOPE, 4),
    "data-asked": (_ENVELOPE + b"DATA\r\n", 5),
    "half-chunk": (_ENVELOPE + b"BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", 4),
    "between-chunks": (_ENVELOPE + b"BDAT 3\r\nx\r\n", 5),
    "starttls": (_HELLO + b"STARTTLS\r\n", 3),
    "auth": (_HELLO + b"AUTH LOGIN\r\n", 3),
}
_LATER: Final[dict[str, bytes]] = {
    "mail-data": b"Subject: x\r\n\r\nhalf a mess",
    "dot": b"Subject: x\r\n\r\n.\r",
    "line-feed": b"Subject: x\r\n\r\n.\n",
}
_SETUP: Final = Setup(has_auth=True, allow_auth_without_tls=True)


def _ends(sent: bytes, replies: int, later: bytes, *, is_reset: bool) -> Play:
    async def play(place: Path) -> list[str]:
        async with serving(place, _SETUP) as server:
            async with Wire(server.endpoint) as wire:
                await wire.send(sent)
                await wire.replies(replies)
                await wire.send(later)
                if is_reset:
                    wire.reset()
                else:
                    wire.end_output()
                    await wire.until_closed()
            return await _nothing_left(server)

    return play


async def _nothing_left(server: Server) -> list[str]:
    """No connection, no memory and no message is left of it, and the next client is served."""
    listener = server.worker.listeners[0]
    await until(lambda: not len(listener), "the connection is gone")
    async with Wire(server.endpoint) as wire:
        await wire.replies(1)
        await wire.send(b"NOOP\r\n")
        said = await wire.replies(1)
    return [
        *unless(server.received == 0, "something was stored"),
        *unless(
            server.worker.desk.budget.used == 0, f"{server.worker.desk.budget.used} octets are still counted"
        ),
        *unless(said.startswith(b"250"), f"the next client was told {said!r}"),
    ]


def _all_endings() -> list[Scene]:
    states = {state: (sent, replies, b"") for state, (sent, replies) in _STATES.items()}
    states |= {state: (_ENVELOPE + b"DATA\r\n", 5, later) for state, later in _LATER.items()}
    return [
        Scene(
            f"E6-{how}-{state}",
            f"the client {what} in state {state}",
            _ends(sent, replies, later, is_reset=how == "reset"),
        )
        for how, what in {"fin": "sends no more", "reset": "resets the connection"}.items()
        for state, (sent, replies, later) in states.items()
    ]


async def _before_the_banner(place: Path) -> list[str]:
    """The banner comes at once, so nobody can say whether a client has waited for it; what it says is answered in order, or refused."""
    async with serving(place, Setup()) as server, Wire(server.endpoint) as wire:
        await wire.send(_ENVELOPE)
        wire.end_output()
        said = await wire.until_closed()
        codes = [line[:3] for line in said.split(b"\r\n") if line[3:4] == b" "]
        return [
            *unless(codes in ([b"220", b"250", b"250", b"250"], [b"554"]), f"told {codes}"),
            *unless(server.received == 0, "something was stored"),
        ]


async def _never_reads(place: Path) -> list[str]:
    """A million NOOPs from a client that reads no reply: it is not read from for long, and others are served."""
    async with serving(place, Setup()) as server, Wire(server.endpoint) as flood:
        flood.read_slowly(4096)
        sent = await flood.send_until_stuck(b"NOOP\r\n" * 10_000, 1000)
        async with Wire(server.endpoint) as wire:
            await wire.replies(1)
            await wire.send(_ENVELOPE + b"BDAT 3 LAST\r\nx\r\n")
            said = await wire.replies(4)
        return [
            *unless(sent < 1000, "sixty megabytes of commands went in"),
            *unless(server.worker.desk.budget.used < 1_000_000, "their memory grows"),
            *unless(said.count(b"250 ") == 4, f"the next client was told {said!r}"),
        ]


SCENES: Final = (
    *_all_endings(),
    Scene("A7-before-banner", "a client that does not wait for the banner", _before_the_banner),
    Scene("E5-never-reads", "a flood of commands whose replies are never read", _never_reads),
)

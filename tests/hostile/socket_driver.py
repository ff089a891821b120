"""Plays rows on a running server over loopback: whole, with real TLS, one after the other on one listener for all rows of a setup.

Also looks at what a next hop got of every message that was stored, and at every line of the event log.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from penstock.mail.configuration import TlsMode
from penstock.sim.sink.message import SinkMessage
from tests.hostile.case import Case, Proxy, Setup, Step, Turn, faults_of, replies_in
from tests.hostile.outgoing import with_crlf
from tests.hostile.server import Server, serving
from tests.hostile.wire import Wire

_QUIT: Final = Turn(b"QUIT\r\n", ("221",), closes=True)
#: Its reply shows that everything before it has been answered.
_MARK: Final = b"HELP\r\n"


class Dialogue:
    """A row being played on a connection."""

    def __init__(self, case: Case, wire: Wire) -> None:
        self._case = case
        self._wire = wire
        self.said = b""
        self.faults: list[str] = []

    async def play(self) -> None:
        """All of it."""
        case, wire = self._case, self._wire
        if case.setup.proxy is Proxy.NONE and case.setup.tls is not TlsMode.IMPLICIT:
            await self._banner()
        for number, step in enumerate(case.steps):
            if wire.is_closed or self.faults:
                return
            await self._take_step(step, is_last=number == len(case.steps) - 1 and not case.has_quit)
        if case.has_quit and not wire.is_closed and not self.faults:
            await self._turn(_QUIT, is_last=False)

    async def _banner(self) -> None:
        banner = await self._wire.replies(1)
        self.said += banner
        if not banner.startswith(b"220 "):
            self.faults.append(f"the banner is {banner!r}")

    async def _take_step(self, step: Step, *, is_last: bool) -> None:
        if isinstance(step, Turn):
            await self._turn(step, is_last=is_last)
        elif not await self._wire.shake_hands():
            if not self._wire.is_closed:
                self.faults.append("the handshake failed")
        elif self._case.setup.tls is TlsMode.IMPLICIT:
            await self._banner()

    async def _turn(self, turn: Turn, *, is_last: bool) -> None:
        wire = self._wire
        needs_mark = turn.answers is None and turn.closes is False and not is_last
        sending = asyncio.create_task(wire.send(turn.sent + _MARK * needs_mark, is_last=is_last))
        try:
            said = await self._answer(turn, is_last=is_last)
            if not wire.is_closed:
                await sending
        except TimeoutError:
            self.faults.append(f"no answer, but {wire.received[:80]!r}; to {turn.sent[:60]!r}")
            return
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        self.said += said
        if wire.was_reset and turn.closes is not False and not replies_in(said)[1]:
            return  # the end overtook the words before it
        is_closed = wire.is_closed if not is_last else turn.closes is True
        self.faults += faults_of(turn, said, is_closed=is_closed)

    async def _answer(self, turn: Turn, *, is_last: bool) -> bytes:
        wire = self._wire
        if turn.closes or is_last:
            return await wire.until_closed()
        if turn.answers is not None:
            return await wire.replies(len(turn.answers))
        return await (wire.replies(1) if turn.closes is None else wire.until_reply(b"214"))


async def play(server: Server, case: Case) -> list[str]:
    """Everything that went wrong with a row; empty if nothing did."""
    before = server.received
    async with Wire(server.endpoint) as wire:
        dialogue = Dialogue(case, wire)
        await dialogue.play()
        faults = dialogue.faults
    faults = faults or list(replies_in(dialogue.said)[1])
    stored = server.received - before
    if case.stores is not None and stored != len(case.stores):
        faults.append(f"{stored} messages were stored")
    await server.settled()
    faults += _delivered(case, server.take_delivered())
    faults += [f"{text!r} was said" for text in (*case.absent, *case.secrets) if text in dialogue.said]
    return faults


def _delivered(case: Case, got: Sequence[SinkMessage]) -> list[str]:
    """What is wrong with what the next hop got."""
    faults = [
        f"what left has {fault}"
        for message in got
        for fault in message.irregularities
        if fault not in ("NUL", "8-bit data not declared")
    ]
    if case.stores is not None:
        contents = [_without_trace(message.content) for message in got]
        expected = [_ended(with_crlf(content)) for content in case.stores]
        if contents != expected:
            faults.append(f"delivered: {[content[:60] for content in contents]}")
    return faults


def _without_trace(content: bytes) -> bytes:
    """Without the one field that Penstock adds, at the top."""
    return content.partition(b" +0000\r\n")[2]


def _ended(content: bytes) -> bytes:
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


@asynccontextmanager
async def stage(place: Path, setup: Setup) -> AsyncIterator[Server]:
    """A server set up so. What is wrong with its records is found when it is left: AssertionError."""
    async with serving(place, setup) as server:
        yield server
        assert not (faults := record_faults(server)), faults


#: Characters of one value of an event, of any that a stranger had a say in.
_VALUE_LIMIT: Final = 2100
# C0 and C1 controls, separators that end lines, and surrogates
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def record_faults(server: Server, secrets: Sequence[bytes] = ()) -> list[str]:
    """What is wrong with the event log: lines that are no object, characters that drive a terminal, values without a bound, secrets."""
    faults: list[str] = []
    server.told.read()
    for line in server.told.lines:
        faults += [f"{secret!r} is in an event" for secret in secrets if secret in line]
        faults += event_faults(line)
    return faults


def event_faults(line: bytes) -> list[str]:
    """What is wrong with one line of the event log."""
    try:
        text = line.decode("utf-8")
        event = json.loads(text)
    except ValueError as error:
        return [f"no event: {line[:100]!r}: {error}"]
    if not isinstance(event, dict) or event.get("type") not in KINDS:
        return [f"an event of no kind: {line[:100]!r}"]
    values = [value for value in _texts(event) if len(value) > _VALUE_LIMIT or _UNFIT.search(value)]
    return [f"not fit for a log: {value[:80]!r}" for value in values]


#: The events that rows lead to, and the one that opens a file.
KINDS: Final = frozenset(
    {"Reception", "Delivery", "Rejection", "Bounce", "TransientFailure", "PolicyError", "Totals"}
)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []

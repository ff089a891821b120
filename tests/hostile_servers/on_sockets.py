"""Cases through a whole server on loopback: mail in by SMTP, a hostile server for each case, verdicts from the event log.

All cases of a battery run at once, each with a domain, a site and an address of its own, so that they also show that none is in another's way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from penstock.mail.configuration import Endpoint, PathConfig
from penstock.sim.hostile import HostileServer
from tests.events.told import Told
from tests.hostile_servers.cases import RECIPIENTS, Case
from tests.hostile_servers.contents import CONTENTS, faults
from tests.hostile_servers.on_core import is_right
from tests.system.harness import DESCRIPTORS, World, until, world

#: Seconds of every deadline of the client, for cases that only a deadline ends.
DEADLINE = 0.25
#: Cases under way at once.
_AT_ONCE = 64
_LETTERS = {"Delivery": "A", "Bounce": "F"}
_DEADLINES = (
    "banner_timeout", "ehlo_timeout", "starttls_timeout", "auth_timeout", "mail_from_timeout", "rcpt_to_timeout", "data_timeout",
    "data_dot_timeout", "rset_timeout",
)  # fmt: skip
_CONTENTS = {case.code for case in CONTENTS}


class Seen(msgspec.Struct):
    """What came of a case: a word of verdicts for each message, what else was wrong, and the seconds from first message to last verdict."""

    verdicts: list[str]
    faults: list[str]
    seconds: float

    def is_right(self, case: Case) -> bool:
        """Whether it is what the table says."""
        return is_right(self.verdicts, case.verdicts_on_sockets) and not self.faults


async def run_on_sockets(place: Path, cases: Sequence[Case]) -> dict[str, Seen]:
    """Run the cases, all at once; what came of each, by its code. Nothing may be lost: what is not settled is in the spool."""
    async with battery(place, cases) as (here, servers):
        turn = asyncio.Semaphore(_AT_ONCE)
        outcomes = Outcomes(here)

        async def one(case: Case) -> Seen:
            async with turn:
                return await _Run(here, outcomes, case, servers[case.code]).seen()

        results = dict(zip(servers, await asyncio.gather(*map(one, cases)), strict=True))
        unsettled = sum(set(word) - set("AF") != set() for seen in results.values() for word in seen.verdicts)
        await until(lambda: len(here.worker.spool) <= unsettled, "what is settled has left the spool")
        assert len(here.worker.spool) == unsettled, "a message was lost"
        return results


@asynccontextmanager
async def battery(
    place: Path, cases: Sequence[Case], *, dns: str = "", descriptors: int = DESCRIPTORS
) -> AsyncIterator[tuple[World, dict[str, HostileServer]]]:
    """A server, and a hostile one for each case. ``dns`` are further lines of static DNS; ``descriptors`` those that the server may use."""
    async with AsyncExitStack() as stack:
        servers: dict[str, HostileServer] = {}
        port = 0
        lines = [dns]
        for number, case in enumerate(cases):
            server = HostileServer(case.script, manners=case.manners, again=case.again)
            servers[case.code] = await stack.enter_async_context(server)
            address = f"127.1.{number // 250}.{number % 250 + 1}"
            port = (await server.start(Endpoint(address, port))).port
            lines.append(f'"{case.domain}" = {{ mx = ["mx.{case.domain}"] }}')
            lines.append(f'"mx.{case.domain}" = {{ a = ["{address}"] }}')
        here = await stack.enter_async_context(
            world(
                place, dns="\n".join(lines), port=port, descriptors=descriptors,
                listener='invalid_line_endings = "Fix"\nmax_message_size = "100MiB"',
            )
        )  # fmt: skip
        _configure(here, cases)
        yield here, servers


def _configure(here: World, cases: Sequence[Case]) -> None:
    """Give each case's site the options of its path."""
    configuration = here.worker.configuration
    default = configuration.shaping.default
    paths = {f"mx.{case.domain}": _path(default, case) for case in cases}
    here.worker.lane.reconfigure(
        {configuration.node.hostname},
        configuration.queues.resolve,
        lambda site: paths.get(site, default),
    )


def _path(default: PathConfig, case: Case) -> PathConfig:
    deadlines = dict.fromkeys(_DEADLINES, DEADLINE) if case.needs_deadline else {}
    return msgspec.structs.replace(default, **deadlines, **case.path)


class _Run:
    def __init__(self, here: World, outcomes: Outcomes, case: Case, server: HostileServer) -> None:
        self._here = here
        self._outcomes = outcomes
        self._case = case
        self._server = server

    async def seen(self) -> Seen:
        began = time.monotonic()
        verdicts = []
        for number in range(len(self._case.verdicts)):
            content = self._case.content
            # the harness doubles the dots behind line ends
            doubled = b"." + content if content.startswith(b".") else content
            reply = await self._here.send(self._recipients(number), doubled)
            assert reply.startswith("250"), reply
            word = await self._verdicts(number)
            verdicts.append(word)
        seconds = time.monotonic() - began
        found = await self._faults()
        return Seen(verdicts, found, seconds)

    async def _verdicts(self, number: int) -> str:
        """The verdicts of a message, once they have all come; ``???`` if they do not."""
        try:
            await until(lambda: self._word(number), "there are verdicts")
        except AssertionError:
            return "???"
        return self._word(number)

    def _recipients(self, number: int) -> list[str]:
        return [f"{name}-{number}@{self._case.domain}" for name in RECIPIENTS]

    def _word(self, number: int) -> str:
        """The verdicts of a message, "" as long as they have not all come."""
        word = "".join(map(self._outcomes.letter, self._recipients(number)))
        if len(word) == len(RECIPIENTS):
            return word
        path = self._here.worker.lane.scheduler.paths.get(f"mx.{self._case.domain}")
        return "HHH" if not word and path is not None and path.hold is not None else ""

    def _has_left(self) -> bool:
        """Whether the server has no connection to the case's site."""
        site = f"mx.{self._case.domain}"
        return not any(connection.path.site == site for connection in self._here.worker.lane.connections)

    async def _faults(self) -> list[str]:
        case, sessions = self._case, self._server.sessions
        if not sessions:
            return ["nobody came"]
        first, found = sessions[0], []
        if case.is_over:
            try:
                await until(
                    lambda: first.is_over or (first.is_deaf and self._has_left()), "the session is over"
                )
            except AssertionError:
                found.append("the session was not ended")
        elif first.is_over and "QUIT" not in first.peer.commands:
            found.append("the session was ended for no reason")
        for session in sessions:
            commands = session.peer.commands
            for word in case.never:
                plain = word.removeprefix("clear ")
                if (plain == word or not session.peer.is_secured) and any(plain in line for line in commands):
                    found.append(f"{word} was said")
        if case.code in _CONTENTS:
            found += faults(first.peer.data[0], case.content, is_chunk="-bdat" in case.code)
        for number in range(len(case.verdicts)):
            texts = [self._outcomes.texts.get(recipient, "") for recipient in self._recipients(number)]
            if not all(text.isprintable() for text in texts):
                found.append("a reply's text is not fit for a log")
        return found


class _Response(msgspec.Struct, frozen=True):
    content: str


class _Event(msgspec.Struct, frozen=True):
    type: str
    recipient: str | list[str] = ""
    response: _Response = _Response("")
    is_uncertain: bool = False


class Outcomes:
    """The outcomes in an event log, read as it grows: the letter and the reply's text of each recipient."""

    def __init__(self, here: World) -> None:
        self._told = Told(here.worker.spool)
        self._decoder = msgspec.json.Decoder(_Event)
        self._next = 0.0
        self._letters: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def letter(self, recipient: str) -> str:
        """The verdict on a recipient; "" if there is none yet."""
        self._read()
        return self._letters.get(recipient, "")

    def _read(self) -> None:
        # many ask; once for all of them is enough
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.01
        for line in self._told.read():
            self._take(self._decoder.decode(line))

    def _take(self, event: _Event) -> None:
        if event.type in ("Delivery", "Bounce", "TransientFailure") and isinstance(event.recipient, str):
            self._letters[event.recipient] = _LETTERS.get(event.type) or ("U" if event.is_uncertain else "D")
            self.texts[event.recipient] = event.response.content

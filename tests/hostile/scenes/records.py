"""What is written down: replies of next hops, names in certificates, and what is in the source that should not be."""

from __future__ import annotations

import ast
import re
import ssl
from pathlib import Path
from typing import Final

from penstock.sim.certificates import Authority
from penstock.sim.sink.behaviour import Action, Kind, Stage
from penstock.sim.sink.rules import Rule
from penstock.sim.sink.script import Script
from tests.hostile.case import PLAIN, Setup
from tests.hostile.scene import Scene, unless
from tests.hostile.server import serving
from tests.hostile.socket_driver import record_faults
from tests.hostile.table.logs import TEXTS
from tests.hostile.wire import Wire, any_certificate
from tests.system.harness import until

_SOURCE: Final = Path(__file__).parents[3] / "src" / "penstock"


async def _send(server_wire: Wire, recipient: bytes = b"c@a.test") -> bytes:
    await server_wire.replies(1)
    await server_wire.send(
        b"EHLO client.test\r\nMAIL FROM:<a@from.test>\r\nRCPT TO:<%b>\r\nBDAT 3 LAST\r\nx\r\n" % recipient
    )
    return await server_wire.replies(4)


async def _replies_of_next_hops(place: Path) -> list[str]:
    """Each text as the reply to RCPT: what comes into the events is one bounded printable line each."""
    rules = [
        Rule(
            Action(Kind.RAW, Stage.RCPT, octets=b"550 5.1.1 " + text.encode("utf-8", "replace") + b"\r\n"),
            recipient=(f"{name}@*",),
        )
        for name, text in TEXTS.items()
    ]
    async with serving(place, PLAIN, script=Script(rules=tuple(rules))) as server:
        for number, name in enumerate(TEXTS, 1):
            async with Wire(server.endpoint) as wire:
                await _send(wire, f"{name}@a.test".encode())
            await server.tried(number)
        outcomes = [event for kind in ("Bounce", "TransientFailure") for event in server.events_of(kind)]
        return [*unless(len(outcomes) >= len(rules), f"{len(outcomes)} outcomes"), *record_faults(server)]


async def _certificate_names(place: Path) -> list[str]:
    """A client's certificate whose names would break a log that trusts them."""
    faults = []
    authority = Authority()
    (place / "ca.pem").write_bytes(authority.pem)
    names = [text[:60] for text in TEXTS.values() if text.isascii()]
    async with serving(place, Setup(), tls_required_client_ca=str(place / "ca.pem")) as server:
        for name in names:
            context = any_certificate()
            try:
                authority.issue(name).load_into(context)
            except (ValueError, ssl.SSLError):
                continue  # not even a certificate can be made of it
            async with Wire(server.endpoint, context) as wire:
                await wire.replies(1)
                await wire.send(b"EHLO client.test\r\nSTARTTLS\r\n")
                await wire.replies(2)
                if await wire.shake_hands():
                    await wire.send(b"EHLO client.test\r\nXYZZY\r\n")
                    await wire.replies(2)
        faults += record_faults(server)
    return faults


async def _many_refusals(place: Path) -> list[str]:
    """Two thousand refusals in one segment: an event for each, one a line, and no line that is none."""
    refused = 2000
    async with serving(place, PLAIN) as server:
        async with Wire(server.endpoint) as wire:
            await wire.replies(1)
            await wire.send(b"EHLO client.test\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<a..b@a.test>\r\n" * refused)
            await wire.replies(2 + refused)
        total = server.worker.tally.total
        await until(lambda: total.rejected >= refused, "every refusal is noted")
        await until(
            lambda: (server.told.read(), len(server.told.lines))[1] >= refused,
            "every event is written",
        )
        faults = record_faults(server)
        found = len(server.events_of("Rejection")) if not faults else refused
        return [*faults, *unless(found == refused, f"{found} events of {refused} refusals")]


#: What reads data as code, and what runs a shell.
_BANNED: Final = {"eval", "exec", "pickle", "marshal", "shelve", "yaml", "system", "popen"}
_WORTH_A_LOOK: Final = re.compile(rf"\b({'|'.join(sorted(_BANNED))}|shell)\b")
#: The policy file is code, and is meant to be run.
_MEANT: Final = {("policy/loading.py", "exec")}


async def _supply(place: Path) -> list[str]:
    """No pickle, eval, exec, YAML or shell anywhere in the source."""
    return [
        f"{file.relative_to(_SOURCE)} uses {name}"
        for file in sorted(_SOURCE.rglob("*.py"))
        if _WORTH_A_LOOK.search(text := file.read_text())
        for name in _names(ast.parse(text))
        if name in _BANNED and (str(file.relative_to(_SOURCE)), name) not in _MEANT
    ]


def _names(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                found.add(function.id)
            elif isinstance(function, ast.Attribute) and function.attr in ("system", "popen"):
                found.add(function.attr)
            if any(word.arg == "shell" for word in node.keywords):
                found.add("system")
    return found


SCENES: Final = (
    Scene("M1-many-refusals", "two thousand refusals at once, in the event log", _many_refusals),
    Scene("M1-remote-replies", "replies of a next hop with texts that break a log", _replies_of_next_hops),
    Scene("M1-certificate-names", "a client's certificate with names that break a log", _certificate_names),
    Scene("M4-supply", "nothing in the source reads data as code or runs a shell", _supply),
)

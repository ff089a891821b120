"""``penstock policy``: try a policy on a message, with nothing sent and no server."""

from __future__ import annotations

import asyncio
import difflib
import getpass
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter

from penstock.cli.checking import complain
from penstock.mail.address import AddressError, parse_address
from penstock.mail.duration import QuantityError, Seconds, parse_duration
from penstock.mail.message import header_end
from penstock.mail.problem import ConfigError
from penstock.mail.records import MetaValue
from penstock.mail.reply import Reply, reply
from penstock.policy import (
    Credentials,
    Extensions,
    Granted,
    Message,
    Policy,
    PolicyRunner,
    Recipient,
    Session,
    SessionFacts,
    TlsFacts,
    Transaction,
    Verdict,
    load,
)

app = App(name="policy", help="Try a policy.")

_EXTENSIONS: Final = ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "SIZE", "CHUNKING", "DSN")
_TLS: Final = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
_FAILED: Final = reply(535, "5.7.8", "authentication failed")
#: Where ``--auth`` finds the password; asked for on a terminal otherwise.
_VARIABLE: Final = "PENSTOCK_AUTH_PASSWORD"


class Tried(msgspec.Struct, frozen=True):
    """What one hook did. ``about`` is the recipient in ``on_rcpt``; ``reply`` is None where it let the client go on."""

    hook: str
    about: str
    reply: str | None
    milliseconds: float
    fault: str = ""


class Trial(msgspec.Struct):
    """What came of a message. From ``tenant`` on it is as the policy left it; ``header`` is a diff, a line of the header in each."""

    hooks: list[Tried]
    is_accepted: bool = False
    tenant: str | None = None
    campaign: str | None = None
    reverse_path: str = ""
    recipients: list[str] = []
    meta: dict[str, MetaValue] = {}
    options: dict[str, str] = {}
    header: list[str] = []


class _Given(msgspec.Struct, frozen=True):
    """The scene: who sends what to whom."""

    facts: SessionFacts
    ehlo: str
    sender: str
    recipients: tuple[str, ...]
    credentials: Credentials | None
    may_relay: bool
    content: bytes


@app.command(name="test")
def try_message(
    file: Path,
    message: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    sender: str = "sender@example.com",
    recipient: Annotated[tuple[str, ...], Parameter(negative="")] = ("recipient@example.net",),
    peer: str = "127.0.0.1",
    ehlo: str = "client.example.com",
    listener: str = "127.0.0.1:25",
    auth: str | None = None,
    tls: Annotated[bool, Parameter(negative="")] = False,
    may_relay: bool = True,
    timeout: str = "5s",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Take a message through a policy, from on_connect to on_message, and show what it decides. Nothing is sent.

    Exit codes: 0 the message would be accepted; 1 it would be refused or deferred; 2 the command or the policy is wrong.

    Parameters
    ----------
    file
        The policy, a Python file.
    message
        The message, a file with lines that end in LF or CRLF; - is standard input.
    sender
        The reverse-path; "" for the null reverse-path.
    recipient
        A forward-path; may be given more than once.
    peer
        The client's IP address.
    ehlo
        The name that the client gives with EHLO.
    listener
        Our address and port.
    auth
        The client authenticates as this user; the password is in $PENSTOCK_AUTH_PASSWORD, or asked for.
    tls
        The connection is encrypted.
    may_relay
        The client may send to any domain.
    timeout
        How long a hook may take.
    json
        Show the result as JSON.
    """
    try:
        policy = load(file)
        given = _Given(
            _facts(peer, listener, tls),
            ehlo,
            str(parse_address(sender)) if sender else "",
            tuple(str(parse_address(address)) for address in recipient),
            Credentials("PLAIN", auth, _password()) if auth is not None else None,
            may_relay,
            _content(message),
        )
        deadline = parse_duration(timeout)
    except ConfigError as error:
        complain(error)
        return 2
    except (AddressError, QuantityError, OSError, ValueError) as error:
        print(f"penstock policy test: {error}", file=sys.stderr)
        return 2
    trial = asyncio.run(_try(policy, given, deadline))
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(trial), indent=2).decode() + "\n")
    else:
        print("\n".join(_lines(trial)))
    return 0 if trial.is_accepted else 1


def _facts(peer: str, listener: str, tls: bool) -> SessionFacts:
    address, _, port = listener.rpartition(":")
    if not address or not port.isascii() or not port.isdigit():
        raise ValueError(f"a listener is written 127.0.0.1:25 or [::1]:25, not {listener!r}")
    return SessionFacts(
        peer_address=peer,
        peer_port=50_000,
        local_address=address.strip("[]"),
        local_port=int(port),
        listener=listener,
        tls=_TLS if tls else None,
    )


def _password() -> str:
    given = os.environ.get(_VARIABLE)
    if given is None and sys.stdin.isatty():
        given = getpass.getpass()
    return given or ""


def _content(message: Path) -> bytes:
    """The message as a client would send it: lines that end with CRLF."""
    octets = sys.stdin.buffer.read() if str(message) == "-" else message.read_bytes()
    lines = octets.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    return b"\r\n".join(lines) + b"\r\n"


class _Trier:
    """Asks the hooks that the policy has, and notes what each did."""

    def __init__(self, runner: PolicyRunner, session: Session) -> None:
        self._runner = runner
        self._session = session
        self.tried: list[Tried] = []

    async def ask(self, hook: str, *arguments: object, about: str = "") -> Verdict:
        """The verdict of a hook; one that the policy does not have lets everything pass."""
        if not self._runner.has(hook):
            return Verdict()
        answered: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._runner.ask(hook, arguments, answered.set_result)
        verdict = await answered
        took = round((time.perf_counter() - began) * 1000, 3)
        refusal = _FAILED if hook == "on_auth" and verdict.value is False else verdict.refusal
        self.tried.append(
            Tried(hook, about, str(refusal) if refusal is not None else None, took, verdict.fault)
        )
        if refusal is not None and self._runner.has("on_reply"):
            changed = await self.ask("on_reply", self._session, refusal, about=about)
            if isinstance(changed.value, Reply):
                self.tried[-1] = msgspec.structs.replace(self.tried[-1], reply=str(changed.value))
        return verdict


async def _try(policy: Policy, given: _Given, deadline: Seconds) -> Trial:
    runner = PolicyRunner(policy, deadline)
    session = Session(given.facts, may_relay=given.may_relay)
    trier = _Trier(runner, session)
    trial = Trial(trier.tried)
    try:
        message = await _transaction(trier, session, given)
    finally:
        await runner.close()
    trial.options = {name: str(value) for name, value in session.overrides.items()}
    trial.tenant = session.tenant
    if message is not None:
        decision = message.decision()
        trial.is_accepted = True
        trial.tenant, trial.campaign = decision.tenant, decision.campaign
        trial.reverse_path = str(decision.reverse_path or "")
        trial.recipients = [str(address) for address, _ in decision.recipients]
        trial.meta = decision.meta
        trial.header = _difference(given.content, decision.content)
    return trial


async def _transaction(trier: _Trier, session: Session, given: _Given) -> Message | None:
    """The message as far as it came; None if there was none in the end."""
    if (await trier.ask("on_connect", session)).refusal is not None:
        return None
    session.facts = msgspec.structs.replace(session.facts, ehlo_name=given.ehlo, is_extended=True)
    if (await trier.ask("on_ehlo", session, Extensions(_EXTENSIONS))).refusal is not None:
        return None
    if given.credentials is not None and not await _authenticate(trier, session, given.credentials):
        return None
    reverse_path = parse_address(given.sender) if given.sender else None
    transaction = Transaction(session, reverse_path, size=len(given.content))
    if (await trier.ask("on_mail", session, transaction)).refusal is not None:
        return None
    for address in given.recipients:
        recipient = Recipient(address)
        verdict = await trier.ask("on_rcpt", session, transaction, recipient, about=address)
        if verdict.is_final:
            return None
        if verdict.refusal is None and not session.may_relay:
            trier.tried.append(Tried("", address, "550 5.7.1 relaying not permitted", 0.0))
        elif verdict.refusal is None:
            transaction.accept(recipient)
    if not transaction.recipients:
        return None
    message = Message(transaction, given.content)
    verdict = await trier.ask("on_message", message)
    return message if verdict.refusal is None else None


async def _authenticate(trier: _Trier, session: Session, credentials: Credentials) -> bool:
    verdict = await trier.ask("on_auth", session, credentials)
    if verdict == Verdict():
        trier.tried.append(Tried("on_auth", "", "the policy has no such hook, so AUTH is not offered", 0.0))
    if not isinstance(verdict.value, Granted):
        return False
    name = credentials.authentication_id
    session.facts = msgspec.structs.replace(
        session.facts, authentication_id=name, authorization_id=verdict.value.authorization_id or name
    )
    session.may_relay = True
    if verdict.value.tenant is not None:
        session.tenant = verdict.value.tenant
    return True


def _difference(before: bytes, after: bytes) -> list[str]:
    """The lines of the header that went (``-``) and came (``+``)."""
    old, new = (
        content[: header_end(content)].decode("utf-8", "replace").splitlines() for content in (before, after)
    )
    return [
        line
        for line in difflib.unified_diff(old, new, n=0, lineterm="")
        if line[:3] not in ("---", "+++", "@@ ")
    ]


def _lines(trial: Trial) -> Iterator[str]:
    for tried in trial.hooks:
        about = f" {tried.about}" if tried.about else ""
        yield f"{tried.hook + about:<44} {tried.milliseconds:>9.3f} ms  {tried.reply or 'go on'}"
        yield from (f"    {line}" for line in tried.fault.splitlines())
    yield f"the message would be {'accepted' if trial.is_accepted else 'refused'}"
    yield f"tenant: {trial.tenant or '-'}   campaign: {trial.campaign or '-'}"
    if trial.recipients:
        yield f"from: <{trial.reverse_path}>   to: {', '.join(trial.recipients)}"
    for name, value in (*trial.meta.items(), *trial.options.items()):
        yield f"{'option' if name in trial.options else 'meta'} {name}: {value!r}"
    if trial.header:
        yield "header:"
        yield from (f"    {line}" for line in trial.header)

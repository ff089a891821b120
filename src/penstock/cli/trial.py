"""A trial: one message through a policy as the server would take it, with nothing stored and nobody connected."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from penstock.cli.queue_config import Resolved, asked, resolve
from penstock.ingress.acceptance import queue_of, relaying_denied
from penstock.ingress.assignment import Authority, assign, unknown_tenant, untimely
from penstock.ingress.authentication import judged
from penstock.ingress.terms import Terms, overridden, terms
from penstock.mail.address import parse_address
from penstock.mail.configuration import Endpoint, QueuesConfig, SmtpListenerConfig
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.message import header_end
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MetaValue
from penstock.mail.reply import Reply, reply
from penstock.net.zones import zone_of
from penstock.policy import (
    Credentials,
    Decision,
    Extensions,
    Message,
    Policy,
    PolicyRunner,
    Recipient,
    Session,
    SessionFacts,
    Transaction,
    Verdict,
)
from penstock.smtp import auth, extension

#: Limits and options are those that a listener has by default.
_LISTENER: Final = SmtpListenerConfig((Endpoint("127.0.0.1", 25),), "mx.example.com")
#: In the place of a hook, where the server itself refuses.
_SERVER: Final = "(the server)"
_NO_AUTH: Final = reply(502, "5.5.1", "AUTH is not offered: the policy has no on_auth")


class Scene(msgspec.Struct, frozen=True):
    """Who sends what to whom. ``tenant``, ``may_relay`` and ``meta`` are the session's at its beginning.

    ``queues`` has the tenants that exist; None: any does.
    """

    facts: SessionFacts
    ehlo: str
    sender: str
    recipients: tuple[str, ...]
    credentials: Credentials | None
    may_relay: bool
    tenant: str | None
    meta: dict[str, MetaValue]
    queues: QueuesConfig | None
    content: bytes


class Tried(msgspec.Struct, frozen=True):
    """What one hook did. ``about`` is the recipient in ``on_rcpt``; ``reply`` is None where it let the client go on."""

    hook: str
    about: str
    reply: str | None
    milliseconds: float
    fault: str = ""


class Trial(msgspec.Struct):
    """What came of a message: "deferred" is a 4yz reply, after which the client would come again.

    From ``tenant`` on it is as the policy left it; ``header`` is a diff, a line of the header in each. ``schedule`` is when it may be delivered, and
    ``queues`` are those that it would come into, with what holds of them.
    """

    hooks: list[Tried]
    outcome: Literal["accepted", "deferred", "refused"]
    tenant: str | None = None
    campaign: str | None = None
    reverse_path: str = ""
    recipients: list[str] = []
    meta: dict[str, MetaValue] = {}
    options: dict[str, str] = {}
    header: list[str] = []
    schedule: str | None = None
    queues: list[Resolved] = []


async def try_policy(policy: Policy, scene: Scene, deadline: Seconds) -> Trial:
    """Take a message through ``policy``, each of whose hooks has ``deadline`` seconds. ValueError where the scene itself cannot be."""
    runner = PolicyRunner(policy, deadline)
    try:
        trying = _Trying(runner, scene)
        ending = await trying.transaction()
        queues = [] if isinstance(ending, Reply) else await _queues(runner, scene.queues, ending)
    finally:
        await runner.close()
    session = trying.session
    options = {name: str(value) for name, value in session.overrides.items()}
    if isinstance(ending, Reply):
        outcome: Literal["deferred", "refused"] = "deferred" if ending.is_temporary else "refused"
        return Trial(trying.tried, outcome, session.tenant, options=options)
    return Trial(
        trying.tried,
        "accepted",
        ending.tenant,
        ending.campaign,
        str(ending.reverse_path or ""),
        [str(address) for address, _ in ending.recipients],
        ending.meta,
        options,
        _difference(scene.content, ending.content),
        msgspec.json.encode(ending.schedule).decode() if ending.schedule is not None else None,
        queues,
    )


async def _queues(runner: PolicyRunner, queues: QueuesConfig | None, decision: Decision) -> list[Resolved]:
    """The queues of a message's parts."""
    known = queues or QueuesConfig()
    resolved = []
    for name in _names(decision, known):
        answer, fault = await asked(runner, name)
        resolved.append(resolve(known, name, answer, fault))
    return resolved


def _names(decision: Decision, queues: QueuesConfig) -> list[QueueName]:
    return [
        queue_of(domain, decision.tenant, decision.campaign, decision.routing_domain, queues.layers)
        for domain in dict.fromkeys(address.domain for address, _ in decision.recipients)
    ]


class _Trying:
    """One trial under way: asks the hooks that the policy has, and notes what each did."""

    def __init__(self, runner: PolicyRunner, scene: Scene) -> None:
        self._runner = runner
        self._scene = scene
        self._terms = _terms(runner, scene.facts.peer_address)
        self.session = Session(
            scene.facts,
            tenant=scene.tenant,
            may_relay=scene.may_relay,
            meta=scene.meta,
            override=self._override,
        )
        self.tried: list[Tried] = []

    def _override(self, options: Mapping[str, object]) -> None:
        self._terms = overridden(self._terms, options)

    async def _ask(self, hook: str, *arguments: object, about: str = "") -> tuple[Verdict, Reply | None]:
        """What a hook says, and what the client is told if it is refused; a hook that the policy does not have lets everything pass."""
        if not self._runner.has(hook):
            return Verdict(), None
        verdict, took = await self._answer(hook, arguments)
        refusal = auth.FAILED if hook == "on_auth" and verdict.value is False else verdict.refusal
        self.tried.append(Tried(hook, about, _text(refusal), took, verdict.fault))
        return verdict, await self._said(refusal, about) if refusal is not None else None

    async def _answer(self, hook: str, arguments: tuple[object, ...]) -> tuple[Verdict, float]:
        """A hook's verdict, and how many milliseconds it took."""
        answered: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        self._runner.ask(hook, arguments, answered.set_result)
        verdict = await answered
        return verdict, round((time.perf_counter() - began) * 1000, 3)

    async def _said(self, refusal: Reply, about: str) -> Reply:
        """A refusal as the client hears it."""
        if not self._runner.has("on_reply"):
            return refusal
        verdict, took = await self._answer("on_reply", (self.session, refusal))
        said = verdict.value if isinstance(verdict.value, Reply) else refusal
        self.tried.append(Tried("on_reply", about, str(said), took, verdict.fault))
        return said

    async def _refuse(self, refusal: Reply, about: str = "") -> Reply:
        """Refuse what no hook has."""
        self.tried.append(Tried(_SERVER, about, str(refusal), 0.0))
        return await self._said(refusal, about)

    # -- the way of a message

    async def transaction(self) -> Decision | Reply:
        """What the policy has decided about the message, or the reply that ended its way."""
        session, scene = self.session, self._scene
        if (refusal := await self._introduction()) is not None:
            return refusal
        reverse_path = parse_address(scene.sender) if scene.sender else None
        transaction = Transaction(session, reverse_path, size=len(scene.content))
        _, refusal = await self._ask("on_mail", session, transaction)
        if refusal is not None:
            return refusal
        refusal = await self._recipients(transaction)
        return await self._message(transaction) if refusal is None else refusal

    async def _introduction(self) -> Reply | None:
        """From the connection to MAIL; the reply that keeps the client from it."""
        session, scene = self.session, self._scene
        _, refusal = await self._ask("on_connect", session)
        if refusal is not None:
            return refusal
        session.facts = msgspec.structs.replace(session.facts, ehlo_name=scene.ehlo, is_extended=True)
        offered = self._terms.limits.extensions - ({extension.STARTTLS} if scene.facts.tls else set())
        keywords = Extensions(name for name in extension.ORDER if name in offered)
        _, refusal = await self._ask("on_ehlo", session, keywords)
        if refusal is not None or scene.credentials is None:
            return refusal
        return await self._authenticate(scene.credentials)

    async def _authenticate(self, credentials: Credentials) -> Reply | None:
        session, name = self.session, credentials.authentication_id
        if not self._runner.has("on_auth"):
            return await self._refuse(_NO_AUTH)
        verdict, refusal = await self._ask("on_auth", session, credentials)
        if refusal is not None:
            return refusal
        given = auth.Credentials(
            credentials.mechanism, credentials.authorization_id, name, credentials.password
        )
        granted = judged(given, verdict.value)
        if granted is None:
            return await self._refuse(auth.FAILED)
        session.facts = msgspec.structs.replace(
            session.facts, authentication_id=name, authorization_id=granted.authorization_id or name
        )
        session.may_relay = True
        if granted.tenant is not None:
            session.tenant = granted.tenant
        return None

    async def _recipients(self, transaction: Transaction) -> Reply | None:
        """Have the recipients taken; the reply that leaves none: a temporary one, if one of them had that."""
        session, ending = self.session, None
        for address in self._scene.recipients:
            recipient = Recipient(address)
            verdict, refusal = await self._ask("on_rcpt", session, transaction, recipient, about=address)
            if refusal is not None and verdict.is_final:
                return refusal
            if refusal is None and not session.may_relay:
                is_known = bool(session.authentication_id)
                denied = relaying_denied(self._terms.limits.extensions, is_known=is_known)
                refusal = await self._refuse(denied, address)
            if refusal is None:
                transaction.accept(recipient)
            elif ending is None or refusal.is_temporary:
                ending = refusal
        return None if transaction.recipients else ending

    async def _message(self, transaction: Transaction) -> Decision | Reply:
        queues = self._scene.queues
        authority = Authority(self._scene.may_relay, transaction.tenant, self.session.facts.authorization_id)
        limit = self._terms.config.max_received_fields
        assigned = assign(self._scene.content, queues or QueuesConfig(), authority, limit)
        if isinstance(assigned, Reply):
            return await self._refuse(assigned)
        message = Message(
            transaction,
            assigned.content,
            tenant=assigned.tenant,
            campaign=assigned.campaign if assigned.campaign is not None else transaction.campaign,
            schedule=assigned.schedule,
            zone_of=zone_of,
        )
        _, refusal = await self._ask("on_message", message)
        if refusal is not None:
            return refusal
        decision = message.decision()
        if queues is not None and (unknown := unknown_tenant(decision.tenant, queues)) is not None:
            return await self._refuse(unknown)
        refusal = self._untimely(decision, queues or QueuesConfig())
        return decision if refusal is None else await self._refuse(refusal)

    def _untimely(self, decision: Decision, queues: QueuesConfig) -> Reply | None:
        names = _names(decision, queues)
        now, has_hook = WallTime(time.time()), self._runner.has("queue_config")
        return untimely(decision.schedule, names, queues, now, is_max_age_known=not has_hook)


def _terms(runner: PolicyRunner, peer: str) -> Terms:
    return terms(
        _LISTENER,
        peer,
        has_auth=runner.has("on_auth"),
        reviews_replies=runner.has("on_reply"),
        is_proxy=False,
    )


def _text(refusal: Reply | None) -> str | None:
    return None if refusal is None else str(refusal)


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

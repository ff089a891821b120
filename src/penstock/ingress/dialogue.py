"""Answers what a client asks for: what the listener's terms say, what the policy says, and what the spool has stored.

Each event of the session is answered here, at once or when the policy or the spool has; until then nothing further is read. Octets, TLS and
deadlines are the connection's.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.ingress import admission
from penstock.ingress.acceptance import Envelope, decided, envelope, in_lines, relaying_denied
from penstock.ingress.assignment import Authority, assign
from penstock.ingress.authentication import judged
from penstock.ingress.client import Client
from penstock.ingress.clients import AUTH_CLOSED
from penstock.ingress.desk import Desk
from penstock.ingress.doors import Visit
from penstock.ingress.policy_view import PolicyView
from penstock.ingress.questions import Questions
from penstock.ingress.storing import Storing
from penstock.ingress.terms import Terms
from penstock.mail.dsn import NOTHING_ASKED
from penstock.mail.reply import Reply, reply
from penstock.mail.tls import TlsFacts
from penstock.net.tls import TlsError
from penstock.net.zones import zone_of
from penstock.policy import (
    NO_RECIPIENT,
    Credentials,
    Extensions,
    Message,
    Recipient,
    Transaction,
    Verdict,
)
from penstock.smtp import auth
from penstock.smtp.server import ServerSession
from penstock.smtp.server_events import (
    AuthGiven,
    DataAsked,
    Hello,
    MailGiven,
    MessageGiven,
    RecipientGiven,
    Replying,
    ServerEvent,
    TlsAsked,
    XclientGiven,
)

LOG = logging.getLogger(__name__)

_NEW_POLICY: Final = reply(451, "4.3.2", "a policy came into force within this transaction; try again")
_NO_TLS: Final = reply(454, "4.7.0", "TLS is not available now; try again later")

#: The terms of a client at one address that connected to another.
TermsFor = Callable[[str, str], Terms]


class Dialogue:
    """The answers to one client.

    ``resume`` is called when an event has been answered later than at once, ``hang_up`` when one can have no answer and the connection must end
    without; ``terms_for`` is asked with local and peer address. ``visit`` is what the connection takes.
    """

    __slots__ = (
        "_client",
        "_delay",
        "_desk",
        "_questions",
        "_resume",
        "_storing",
        "_terms_for",
        "_view",
        "_visit",
        "context",
        "session",
    )

    def __init__(
        self,
        desk: Desk,
        client: Client,
        session: ServerSession,
        visit: Visit,
        terms_for: TermsFor,
        resume: Callable[[], None],
        hang_up: Callable[[], None],
    ) -> None:
        self.session = session
        #: what the handshake is to be made with, once STARTTLS was accepted
        self.context: ssl.SSLContext | None = None
        self._storing = Storing(desk, client, session, visit, resume, hang_up)
        self._desk = desk
        self._client = client
        self._visit = visit
        self._terms_for = terms_for
        self._resume = resume
        self._questions = Questions(desk, client, session, resume)
        self._view = PolicyView(client, session)
        self._delay: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Ask whether the client is welcome, and greet it."""
        self._ask_whether_welcome(self.session.greet)

    def _ask_whether_welcome(self, then: Callable[[], None]) -> None:
        def go_on(_: object) -> None:
            self._view.keep()
            then()

        self._questions.ask("on_connect", lambda: (self._view.session(),), go_on)

    def secured(self, facts: TlsFacts) -> None:
        """The handshake after STARTTLS is done: nothing that the client said before counts any more (RFC 3207 4.2)."""
        self._client.forget()
        self._client.tls = facts
        self._view.forget()
        self.session.secured()

    def note_refusals(self) -> int:
        """Write down what was refused since the last call; how many."""
        return self._storing.note_refusals(self._view.tenant)

    def end(self) -> None:
        """The connection is over: nobody waits for an answer any more."""
        self._questions.end()
        if self._delay is not None:
            self._delay.cancel()

    def answer(self, event: ServerEvent) -> None:  # hot: throughput
        """Answer an event, now or later."""
        if isinstance(event, MessageGiven):
            self._on_message(event)
        elif isinstance(event, RecipientGiven):
            self._on_recipient(event)
        elif isinstance(event, MailGiven):
            self._on_mail(event)
        elif isinstance(event, DataAsked):
            self.session.accept()
        elif isinstance(event, Replying):
            self._on_reply(event)
        elif isinstance(event, Hello):
            self._on_hello(event)
        elif isinstance(event, AuthGiven):
            self._on_auth(event.credentials)
        elif isinstance(event, XclientGiven):
            self._on_xclient(event)
        else:
            self._on_starttls(event)

    # -- the session

    def _on_starttls(self, _: TlsAsked) -> None:
        try:
            self.context = self._desk.contexts.context_for(self._client.terms.config)
        except TlsError as error:
            LOG.error("no TLS on %s: %s", self._client.listener, error)
            self.session.refuse(_NO_TLS)
        else:
            self.session.accept()

    def _on_hello(self, event: Hello) -> None:
        self._client.introduced(event.name, is_extended=event.is_extended)
        if not self._desk.asks("on_ehlo"):
            self.session.accept()
            return
        extensions = Extensions(event.offered)
        self._questions.ask(
            "on_ehlo",
            lambda: (self._view.session(), extensions),
            lambda _: self.session.accept_as(msgspec.structs.replace(event, offered=tuple(extensions))),
        )

    def _on_reply(self, event: Replying) -> None:
        """Say it as the policy wants it. A hook that fails changes nothing: the reply may be about mail that is stored."""
        self._questions.ask(
            "on_reply",
            lambda: (self._view.session(), event.reply),
            lambda changed: self.session.say(changed if isinstance(changed, Reply) else event.reply),
        )

    def _on_xclient(self, event: XclientGiven) -> None:
        """It is another client from here on; whether that one is welcome is asked again."""
        client = self._client
        client.becomes(event.client)
        client.terms = self._terms_for(client.local_address, client.peer_address)
        self._view.begin_anew()
        self._ask_whether_welcome(self.session.accept)

    # -- AUTH

    def _on_auth(self, given: auth.Credentials | None) -> None:
        desk, client = self._desk, self._client
        user = given.authentication_id if given is not None else ""
        rate = client.terms.config.max_auth_failures
        if not desk.clients.may_authenticate(client.peer_address, user, rate):
            self.session.refuse(AUTH_CLOSED)
        elif given is None:
            self._auth_failed("", auth.FAILED)
        else:
            credentials = Credentials(given.mechanism, user, given.password, given.authorization_id)
            self._questions.ask(
                "on_auth",
                lambda: (self._view.session(), credentials),
                lambda value: self._authenticated(given, value),
                lambda verdict, refusal: self._auth_refused(user, verdict, refusal),
            )

    def _authenticated(self, given: auth.Credentials, value: object) -> None:
        granted = judged(given, value)
        user = given.authentication_id
        if granted is None:
            self._auth_failed(user, auth.FAILED)
            return
        self._client.authenticated(user, granted.authorization_id or user)
        known = self._view.session()
        known.may_relay = True
        if granted.tenant is not None:
            known.tenant = granted.tenant
        self.session.accept()

    def _auth_refused(self, user: str, verdict: Verdict, refusal: Reply) -> None:
        """A hook that refuses for good has found the credentials wrong in its own words."""
        if refusal.is_permanent and not verdict.is_final:
            self._auth_failed(user, refusal)
        else:
            self.session.refuse(refusal, is_final=verdict.is_final)

    def _auth_failed(self, user: str, refusal: Reply) -> None:
        """Say so after a while: whoever guesses passwords is to wait for each."""
        desk, client = self._desk, self._client
        config = client.terms.config
        desk.clients.auth_failed(client.peer_address, user, config.max_auth_failures)
        desk.auth_failures += 1
        LOG.info("authentication failed: %s from %s", user or "nobody's name", client.peer_address)

        def refuse() -> None:
            self._delay = None
            if self.session.is_waiting:
                self.session.refuse(refusal)
                self._resume()

        if config.auth_failure_delay:
            self._delay = asyncio.get_running_loop().call_later(config.auth_failure_delay, refuse)
        else:
            self.session.refuse(refusal)

    # -- mail

    def _on_mail(self, event: MailGiven) -> None:
        desk, view = self._desk, self._view
        view.transaction = None
        refusal = desk.fullness()
        if refusal is not None:
            self.session.refuse(refusal)
            return
        if desk.policy is None:
            self._accept_mail()
            return
        mail = event.command
        transaction = view.transaction = Transaction(
            view.session(),
            mail.reverse_path,
            size=mail.size,
            eight_bit=mail.eight_bit,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envelope_id=mail.envelope_id,
        )
        self._questions.ask(
            "on_mail", lambda: (transaction.session, transaction), lambda _: self._accept_mail()
        )

    def _accept_mail(self) -> None:
        """Let a message begin, unless its sender has too much already."""
        refusal = admission.mail_refusal(self._desk, self._client, self._visit, self._view.tenant)
        if refusal is not None:
            self.session.refuse(refusal)
        else:
            self.session.accept()

    def _on_recipient(self, event: RecipientGiven) -> None:
        transaction = self._view.transaction
        if transaction is None:
            if self._desk.policy is not None:
                self.session.refuse(_NEW_POLICY)
            elif self._view.may_relay:
                self._expect(event.forward_path.domain)
                self.session.accept()
            else:
                self._refuse_relaying()
            return
        recipient = Recipient(event.forward_path, event.dsn or NOTHING_ASKED)

        def take(_: object) -> None:
            if not self._view.may_relay:
                self._refuse_relaying()
                return
            transaction.accept(recipient)
            self._expect(recipient.address.domain)
            self.session.accept_as(RecipientGiven(recipient.address, event.dsn))

        self._questions.ask("on_rcpt", lambda: (transaction.session, transaction, recipient), take)

    def _expect(self, domain: str) -> None:
        """Have it found out where mail to a domain goes, as far as its tenant is known by now."""
        queues = self._desk.queues
        tenant = self._view.tenant or queues.default_tenant
        self._desk.committer.expect(queues.layers.routing_domain_of(domain, tenant, None) or domain)

    def _refuse_relaying(self) -> None:
        is_known = bool(self._client.authentication_id)
        self.session.refuse(relaying_denied(self._client.terms.limits.extensions, is_known=is_known))

    def _on_message(self, event: MessageGiven) -> None:  # hot: throughput
        desk, terms = self._desk, self._client.terms
        transaction = self._view.transaction
        if transaction is None and desk.policy is not None:
            self.session.refuse(_NEW_POLICY)
            return
        authority = Authority(
            terms.is_trusted,
            transaction.tenant if transaction is not None else None,
            self._client.authorization_id,
        )
        assignment = assign(in_lines(event), desk.queues, authority, terms.config.max_received_fields)
        if isinstance(assignment, Reply):
            self.session.refuse(assignment)
            return
        whole = envelope(event, assignment)
        if transaction is None:
            self._storing.store(whole)
            return
        message = Message(
            transaction,
            whole.content,
            tenant=whole.tenant,
            campaign=whole.campaign if whole.campaign is not None else transaction.campaign,
            schedule=whole.schedule,
            zone_of=zone_of,
        )
        self._questions.ask("on_message", lambda: (message,), lambda _: self._decide(whole, message))

    def _decide(self, whole: Envelope, message: Message) -> None:
        whole = decided(whole, message.decision())
        if whole.recipients:
            self._storing.store(whole)
        else:
            self.session.refuse(NO_RECIPIENT)

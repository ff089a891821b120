"""Answers what a client asks for: checks what the listener allows, asks the policy, and stores what is accepted.

Each event of the session is answered here, at once or when the policy or the spool has; until then nothing further is read. Octets, TLS and
deadlines are the connection's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from penstock.ingress.acceptance import (
    NEEDS_AUTH,
    RELAYING_DENIED,
    Authority,
    Envelope,
    accepted,
    assign,
    decided,
    envelope,
    messages,
    unknown_tenant,
)
from penstock.ingress.budget import OVER_LIMIT
from penstock.ingress.client import Client
from penstock.ingress.clients import AUTH_CLOSED
from penstock.ingress.desk import Desk
from penstock.ingress.questions import Questions
from penstock.ingress.terms import Terms, overridden
from penstock.mail.dsn import NOTHING_ASKED
from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord, MetaValue, RejectionRecord
from penstock.mail.reply import Reply, reply
from penstock.mail.tls import TlsFacts
from penstock.net.tls import TlsError
from penstock.policy import (
    Credentials,
    Extensions,
    Granted,
    Message,
    Recipient,
    Session,
    Transaction,
)
from penstock.policy.message import NO_RECIPIENT
from penstock.smtp import auth, extension
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

_NOT_STORED: Final = reply(451, "4.3.0", "the message could not be stored; try again later")
_NO_TLS: Final = reply(454, "4.7.0", "TLS is not available now; try again later")

#: The terms of a client at one address that connected to another.
TermsFor = Callable[[str, str], Terms]


class Dialogue:
    """The answers to one client.

    ``resume`` is called when an event has been answered later than at once; ``terms_for`` is asked with local and peer address.
    """

    __slots__ = (
        "_client",
        "_decided",
        "_delay",
        "_desk",
        "_person",
        "_questions",
        "_resume",
        "_terms_for",
        "_transaction",
        "context",
        "session",
    )

    def __init__(
        self,
        desk: Desk,
        client: Client,
        session: ServerSession,
        terms_for: TermsFor,
        resume: Callable[[], None],
    ) -> None:
        self.session = session
        #: what the handshake is to be made with, once STARTTLS was accepted
        self.context: ssl.SSLContext | None = None
        self._desk = desk
        self._client = client
        self._terms_for = terms_for
        self._resume = resume
        self._questions = Questions(desk, client, session, resume)
        self._person: Session | None = None
        self._transaction: Transaction | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._decided: tuple[str | None, bool, dict[str, MetaValue]] = (None, client.terms.is_trusted, {})

    # -- the policy

    def _session_facts(self) -> Session:
        """The client as the policy knows it, with what is known now."""
        client = self._client
        if self._person is None:
            config = client.terms.config
            self._person = Session(
                client.facts(),
                may_relay=client.terms.is_trusted,
                meta=config.meta,
                override=self._override,
            )
        else:
            self._person.facts = client.facts()
        return self._person

    def _override(self, options: Mapping[str, object]) -> None:
        """Other limits for this client, by the policy; ValueError if one cannot be so."""
        client = self._client
        client.terms = overridden(client.terms, options)
        self.session.use(client.terms.limits)

    def end(self) -> None:
        """The connection is over: nobody waits for an answer any more."""
        self._questions.end()
        if self._delay is not None:
            self._delay.cancel()

    # -- the session

    def begin(self) -> None:
        """Ask whether the client is welcome, and greet it."""
        self._questions.ask(
            "on_connect", lambda: (self._session_facts(),), lambda _: self._welcome(self.session.greet)
        )

    def _welcome(self, then: Callable[[], None]) -> None:
        """What the policy has decided up to here is about the connection, and outlives STARTTLS."""
        person = self._person
        if person is not None:
            self._decided = (person.tenant, person.may_relay, dict(person.meta))
        then()

    def secured(self, facts: TlsFacts) -> None:
        """The handshake after STARTTLS is done: nothing that the client said before counts any more (RFC 3207 4.2)."""
        client = self._client
        client.forget()
        client.tls = facts
        if self._person is not None:
            tenant, may_relay, meta = self._decided
            self._person = Session(
                client.facts(), tenant=tenant, may_relay=may_relay, meta=meta, override=self._override
            )
        self._transaction = None
        self.session.secured()

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
        else:
            self._on_session(event)

    def _on_session(self, event: TlsAsked | AuthGiven | XclientGiven) -> None:
        if isinstance(event, AuthGiven):
            self._on_auth(event.credentials)
        elif isinstance(event, XclientGiven):
            self._on_xclient(event)
        else:
            try:
                self.context = self._desk.contexts.context_for(self._client.terms.config)
            except TlsError:
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
            lambda: (self._session_facts(), extensions),
            lambda _: self.session.accept_hello(tuple(extensions)),
        )

    def _on_reply(self, event: Replying) -> None:
        """Say it as the policy wants it. A hook that fails changes nothing: the reply may be about mail that is stored."""
        self._questions.ask(
            "on_reply",
            lambda: (self._session_facts(), event.reply),
            lambda changed: self.session.say(changed if isinstance(changed, Reply) else event.reply),
        )

    def _on_xclient(self, event: XclientGiven) -> None:
        client, given = self._client, event.client
        client.proxy_address = client.proxy_address or client.peer_address
        client.peer_address = given.address or client.peer_address
        client.peer_port = given.port or client.peer_port
        client.local_address = given.destination_address or client.local_address
        client.local_port = given.destination_port or client.local_port
        client.terms = self._terms_for(client.local_address, client.peer_address)
        client.forget()
        self._person = None
        self.session.use(client.terms.limits)
        self._questions.ask(
            "on_connect", lambda: (self._session_facts(),), lambda _: self._welcome(self.session.accept)
        )

    # -- AUTH

    def _on_auth(self, given: auth.Credentials | None) -> None:
        desk, client = self._desk, self._client
        user = given.authentication_id if given is not None else ""
        if not desk.clients.may_authenticate(
            client.peer_address, user, client.terms.config.max_auth_failures
        ):
            self.session.refuse(AUTH_CLOSED)
        elif given is None:
            self._auth_failed("")
        else:
            credentials = Credentials(given.mechanism, user, given.password, given.authorization_id)
            self._questions.ask(
                "on_auth",
                lambda: (self._session_facts(), credentials),
                lambda value: self._judged(given, value),
            )

    def _judged(self, given: auth.Credentials, value: object) -> None:
        """The policy has looked at the credentials. Whom a client acts for is what the policy says, never what the client asks for."""
        granted = value if isinstance(value, Granted) else Granted() if value is True else None
        if granted is None or (
            granted.authorization_id is None and given.authorization_id not in ("", given.authentication_id)
        ):
            self._auth_failed(given.authentication_id)
            return
        user = given.authentication_id
        self._client.authenticated(user, granted.authorization_id or user)
        person = self._session_facts()
        person.may_relay = True
        if granted.tenant is not None:
            person.tenant = granted.tenant
        self.session.accept()

    def _auth_failed(self, user: str) -> None:
        """Say so after a while: whoever guesses passwords is to wait for each."""
        desk, client = self._desk, self._client
        config = client.terms.config
        desk.clients.auth_failed(client.peer_address, user, config.max_auth_failures)

        def refuse() -> None:
            self._delay = None
            if self.session.is_waiting:
                self.session.refuse(auth.FAILED)
                self._resume()

        if config.auth_failure_delay:
            self._delay = asyncio.get_running_loop().call_later(config.auth_failure_delay, refuse)
        else:
            self.session.refuse(auth.FAILED)

    # -- mail

    def _on_mail(self, event: MailGiven) -> None:
        desk = self._desk
        if not desk.budget.has_room():
            self.session.refuse(OVER_LIMIT)
            return
        if desk.policy is None:
            self.session.accept()
            return
        mail = event.command
        transaction = self._transaction = Transaction(
            self._session_facts(),
            mail.reverse_path,
            size=mail.size,
            eight_bit=mail.eight_bit,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envelope_id=mail.envelope_id,
        )
        self._questions.ask(
            "on_mail", lambda: (transaction.session, transaction), lambda _: self.session.accept()
        )

    def _on_recipient(self, event: RecipientGiven) -> None:
        transaction = self._transaction
        if transaction is None or self._desk.policy is None:
            if self._may_relay():
                self.session.accept()
            else:
                self._refuse_relaying()
            return
        recipient = Recipient(event.forward_path, event.dsn or NOTHING_ASKED)

        def take(_: object) -> None:
            if not self._may_relay():
                self._refuse_relaying()
                return
            transaction.accept(recipient)
            self.session.accept_as(RecipientGiven(recipient.address, event.dsn))

        self._questions.ask("on_rcpt", lambda: (transaction.session, transaction, recipient), take)

    def _may_relay(self) -> bool:
        person = self._person
        return person.may_relay if person is not None else self._client.terms.is_trusted

    def _refuse_relaying(self) -> None:
        could_authenticate = (
            extension.AUTH in self._client.terms.limits.extensions and not self._client.authentication_id
        )
        self.session.refuse(NEEDS_AUTH if could_authenticate else RELAYING_DENIED)

    def _on_message(self, event: MessageGiven) -> None:  # hot: throughput
        desk, terms = self._desk, self._client.terms
        transaction = self._transaction
        authority = Authority(terms.is_trusted, transaction.tenant if transaction is not None else None)
        assignment = assign(event.content, desk.queues, authority, terms.config.max_received_fields)
        if isinstance(assignment, Reply):
            self.session.refuse(assignment)
            return
        whole = envelope(event, assignment)
        if transaction is None or desk.policy is None:
            self._deposit(whole)
            return
        message = Message(
            transaction,
            whole.content,
            tenant=whole.tenant,
            campaign=whole.campaign if whole.campaign is not None else transaction.campaign,
        )
        self._questions.ask("on_message", lambda: (message,), lambda _: self._decide(whole, message))

    def _decide(self, whole: Envelope, message: Message) -> None:
        whole = decided(whole, message.decision())
        if whole.recipients:
            self._deposit(whole)
        else:
            self.session.refuse(NO_RECIPIENT)

    def _deposit(self, whole: Envelope) -> None:  # hot: throughput
        desk = self._desk
        refusal = unknown_tenant(whole.tenant, desk.queues)
        if refusal is not None:
            self.session.refuse(refusal)
            return
        records = messages(whole, self._client.reception(), desk.ids, desk.clock.wall())
        spool = desk.spool
        try:
            stored = [(spool.append(record), record) for record in records]
            spool.commit(lambda fault: self._stored(stored, fault))
        except SpoolError:
            self.session.refuse(_NOT_STORED)

    def _stored(self, stored: Sequence[tuple[int, MessageRecord]], fault: SpoolError | None) -> None:
        """The spool has, or has not. What it has is delivered even if the client is gone and cannot be told."""
        if fault is None:
            self._desk.lane.submit(stored)
        if not self.session.is_waiting:
            return
        if fault is None:
            self.session.accept(accepted([record for _, record in stored]))
        else:
            self.session.refuse(_NOT_STORED)
        self._resume()

    def note_refusals(self) -> int:
        """Write down what the session has refused since the last call; how many."""
        desk = self._desk
        refusals = self.session.take_refusals()
        now = desk.clock.wall()
        reception = self._client.reception()
        for refused in refusals:
            self._desk.spool.note(
                RejectionRecord(
                    id=desk.ids.next(now),
                    time=now,
                    reception=reception,
                    reply=refused.reply,
                    command=refused.command,
                    reverse_path=refused.reverse_path,
                    recipient=refused.recipient,
                )
            )
        return len(refusals)

"""Plays a row on a server session, with no sockets and no TLS: the one module here that knows ``ServerSession``.

It stands where the shell stands: it answers every event by a policy that is plain to see, and hands octets on as the shell does, those of
a PROXY header to its reader, those after a handshake to the session as plain text. What a client sends in clear where a handshake is to
come would fail the handshake: here it ends the session.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from penstock.mail.configuration import TlsMode
from penstock.mail.reply import Reply, reply
from penstock.smtp import extension
from penstock.smtp.proxy import ProxyError, ProxyReader
from penstock.smtp.server import (
    AuthGiven,
    MessageGiven,
    RecipientGiven,
    ServerEvent,
    ServerLimits,
    ServerSession,
    TlsAsked,
    XclientGiven,
)
from tests.hostile.case import PASSWORD, USER, Case, Handshake, Proxy, Setup, Turn, faults_of, replies_in
from tests.hostile.cutting import Cutting
from tests.hostile.outgoing import sent_for, wire_faults

_QUIT: Final = Turn(b"QUIT\r\n", ("221",), closes=True)
_NOT_YOU: Final = reply(535, "5.7.8", "authentication failed")
_NO_RELAY: Final = reply(550, "5.7.1", "relaying not permitted")
_UNKNOWN_TENANT: Final = reply(550, "5.7.1", "unknown tenant nobody")


def limits_of(setup: Setup) -> ServerLimits:
    """What a listener set up so allows a session."""
    extensions = set(extension.STANDARD)
    if setup.tls is TlsMode.STARTTLS:
        extensions.add(extension.STARTTLS)
    if setup.has_auth:
        extensions.add(extension.AUTH)
    if setup.may_xclient:
        extensions.add(extension.XCLIENT)
    return ServerLimits(
        hostname="mta.test",
        banner="Penstock ESMTP",
        max_message_size=setup.max_message_size,
        max_messages_per_connection=setup.max_messages_per_connection,
        max_recipients_per_message=setup.max_recipients_per_message,
        line_length_hard_limit=setup.line_length_hard_limit,
        invalid_line_endings=setup.invalid_line_endings,
        extensions=frozenset(extensions - set(setup.discard_ehlo_keywords)),
        auth_needs_tls=not setup.allow_auth_without_tls,
    )


class CoreDriver:
    """One session on a listener set up so, from its banner on."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.session = ServerSession(limits_of(setup), is_secure=setup.tls is TlsMode.IMPLICIT)
        self._proxy = ProxyReader() if setup.proxy is not Proxy.NONE else None
        self._is_cut = False
        self._address = "127.0.0.1"
        self._is_authenticated = False
        self.events: list[ServerEvent] = []
        self.messages: list[MessageGiven] = []
        self.held = 0

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return self._is_cut or self.session.is_closed

    def begin(self) -> bytes:
        """The connection is there; what is said to it."""
        if self._proxy is not None or self._setup.tls is TlsMode.IMPLICIT:
            return b""
        self.session.greet()
        return self._work()

    def shake_hands(self) -> tuple[bytes, list[str]]:
        """A handshake that succeeds: what is said behind it, and what is wrong if none was to come."""
        session = self.session
        if session.is_secure and not self.events:
            session.greet()
        elif session.is_starting_tls:
            session.secured()
        else:
            return b"", ["no handshake was to come"]
        self._is_authenticated = False
        return self._work(), []

    def feed(self, octets: bytes) -> bytes:
        """Octets from the client; what is said to them."""
        session = self.session
        if self.is_closed:
            return b""
        if session.is_starting_tls:
            self._is_cut = True
            return b""
        if self._proxy is not None:
            return self._introduce(self._proxy, octets)
        session.feed(octets)
        return self._work()

    def _introduce(self, reader: ProxyReader, octets: bytes) -> bytes:
        try:
            header = reader.feed(octets)
        except ProxyError:
            self._is_cut = True
            return b""
        if header is None:
            return b""
        self._proxy = None
        self._address = header.source_address or self._address
        if reader.rest:
            self.session.feed(reader.rest)
        self.session.greet()
        return self._work()

    def _work(self) -> bytes:
        session = self.session
        while True:
            event = session.next_event()
            if event is not None:
                self._answer(event)
            elif not session.has_work:
                break
        self.held = max(self.held, session.buffered)
        return session.take_output()

    def _answer(self, event: ServerEvent) -> None:
        self.events.append(event)
        refusal = self._decide(event)
        if refusal is not None:
            self.session.refuse(refusal)
            return
        if isinstance(event, MessageGiven):
            self.messages.append(event)
            self.session.accept(reply(250, "2.0.0", f"OK ids={len(self.messages)}"))
            return
        self.session.accept()
        if isinstance(event, AuthGiven):
            self._is_authenticated = True
        elif isinstance(event, XclientGiven):
            self._is_authenticated = False
            self._address = event.client.address or self._address
        elif isinstance(event, TlsAsked):
            self._is_authenticated = False

    def _decide(self, event: ServerEvent) -> Reply | None:
        if isinstance(event, RecipientGiven):
            is_ours = self._setup.may_relay and ip_address(self._address).is_loopback
            return None if is_ours or self._is_authenticated else _NO_RELAY
        if isinstance(event, AuthGiven):
            given = event.credentials
            is_user = given is not None and (given.authentication_id, given.password) == (USER, PASSWORD)
            is_self = given is not None and given.authorization_id in ("", given.authentication_id)
            return None if is_user and is_self else _NOT_YOU
        if isinstance(event, MessageGiven) and b"X-Tenant: nobody" in event.content:
            return _UNKNOWN_TENANT
        return None


def play(case: Case, cutting: Cutting) -> list[str]:
    """Everything that went wrong with a row, its octets arriving so; empty if nothing did."""
    driver = CoreDriver(case.setup)
    banner = driver.begin()
    said = [banner]
    faults = [] if banner.startswith(b"220 ") or not banner else [f"the banner is {banner!r}"]
    for number, step in enumerate(case.steps):
        if isinstance(step, Handshake):
            octets, wrong = driver.shake_hands()
            is_greeting = octets.startswith(b"220 ") and octets.count(b"\r\n") == 1 and len(said) == 1
            faults += wrong if is_greeting or not octets else [*wrong, f"{octets!r} was said to a handshake"]
        else:
            octets = b"".join([driver.feed(segment) for segment in cutting.get(number, [step.sent])])
            faults += faults_of(step, octets, is_closed=driver.is_closed)
        said.append(octets)
        if driver.is_closed or faults:
            break
    if case.has_quit and not driver.is_closed and not faults:
        faults += faults_of(_QUIT, driver.feed(_QUIT.sent), is_closed=driver.is_closed)
    return faults or _aftermath(case, driver, b"".join(said))


def _aftermath(case: Case, driver: CoreDriver, said: bytes) -> list[str]:
    faults = list(replies_in(said)[1])
    stored = tuple([message.content for message in driver.messages])
    if case.stores is not None and stored != case.stores:
        faults.append(f"stored: {[content[:60] for content in stored]}")
    for message in driver.messages:
        faults += wire_faults(sent_for(message), message.content)
    if case.absent or case.secrets:
        asked = repr([event for event in driver.events if not isinstance(event, MessageGiven)]).encode()
        records = repr((driver.events, driver.session.refusals, driver.session)).encode()
        faults += [f"{text!r} was seen" for text in case.absent if text in said or text in asked]
        faults += [f"{text!r} is in a record" for text in case.secrets if text in said or text in records]
    if case.held is not None and driver.held > case.held:
        faults.append(f"{driver.held} octets were held")
    return faults

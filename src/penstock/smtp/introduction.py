"""The beginning of a client session, up to where mail may go: banner, EHLO, STARTTLS and EHLO again, AUTH.

The order is fixed, one command at a time. STARTTLS is asked for where it is offered and ``enable_tls`` wants it; after the handshake everything
that the peer had offered in clear is forgotten (RFC 3207 4.2). AUTH comes last, on what the connection has become by then. What the options
insist on and the peer does not give ends the session: it never goes on with less.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.configuration import EnableTls
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.mail.tls import TlsFacts
from penstock.smtp.capabilities import Capabilities, capabilities
from penstock.smtp.client_auth import AuthExchange, cannot_authenticate
from penstock.smtp.client_dialogue import Dialogue
from penstock.smtp.client_events import ClientEvent, Introduced, SessionRefused, Stage, TlsGranted
from penstock.smtp.client_options import SessionOptions
from penstock.smtp.reply_reader import ProtocolViolation

#: EHLO is not known: the peer is asked in the old way (RFC 5321 3.2).
_NO_EHLO: Final = frozenset({500, 502, 504})
# X.7.10 is "Encryption Needed" (RFC 5248, RFC 7293)
_NOT_OFFERED: Final = reply(
    454, "4.7.10", INTERNAL + "TLS is required, and the next hop does not offer STARTTLS"
)
_NOT_VERIFIED: Final = reply(
    454, "4.7.10", INTERNAL + "a valid certificate is required, and the next hop's was not verified"
)


class Introduction:
    """One introduction on a dialogue. ``peer`` is what is offered, as far as is known; ``greeting`` the name in the banner; ``tls`` None in clear."""

    __slots__ = (
        "_auth",
        "_dialogue",
        "_is_authenticated",
        "_is_extended",
        "_options",
        "greeting",
        "peer",
        "tls",
    )

    def __init__(self, dialogue: Dialogue, options: SessionOptions) -> None:
        self._dialogue = dialogue
        self._options = options
        self._auth: AuthExchange | None = None
        self._is_authenticated = False
        self._is_extended = False
        self.peer = Capabilities()
        self.greeting = ""
        self.tls: TlsFacts | None = None

    @property
    def protocol(self) -> str:
        """LMTP, ESMTP, or SMTP where EHLO is not known; the first two with S for TLS and A for AUTH (RFC 3848)."""
        if not self._is_extended:
            return "SMTP"
        name = "LMTP" if self._options.is_lmtp else "ESMTP"
        return f"{name}{'S' if self.tls is not None else ''}{'A' if self._is_authenticated else ''}"

    def on_reply(self, stage: Stage, answer: Reply) -> ClientEvent | None:
        """Take the reply to ``stage``; the event that it makes, if any. ProtocolViolation if it is none that this stage can have."""
        if stage is Stage.AUTH:
            return self._on_auth(answer)
        if stage is Stage.BANNER and answer.code == 220:
            self.greeting = answer.text.partition("\n")[0].partition(" ")[0]
            self._say_hello()
        elif stage is Stage.EHLO and answer.code in _NO_EHLO:
            self._ask(b"HELO", Stage.HELO)
        elif stage is Stage.STARTTLS and answer.code == 220:
            self._dialogue.begin_handshake()
            return TlsGranted()
        elif stage in (Stage.EHLO, Stage.LHLO, Stage.HELO) and answer.code == 250:
            self._is_extended = stage is not Stage.HELO
            if self._is_extended:
                self.peer = capabilities(answer, enable_pipelining=self._options.enable_pipelining)
            return self._go_on(stage)
        elif stage is Stage.TLS:
            raise ProtocolViolation("octets in clear behind the reply to STARTTLS")
        else:
            return self._refuse(stage, answer)
        return None

    def secured(self, facts: TlsFacts) -> ClientEvent | None:
        """The handshake is done: begin again. An event if that is not enough."""
        self._dialogue.end_handshake()
        self.peer = Capabilities()
        self.tls = facts
        if self._options.enable_tls.is_verified and not facts.is_verified:
            return self._refuse(Stage.TLS, _NOT_VERIFIED)
        self._say_hello()
        return None

    def _say_hello(self) -> None:
        if self._options.is_lmtp:
            self._ask(b"LHLO", Stage.LHLO)
        else:
            self._ask(b"EHLO", Stage.EHLO)

    def _ask(self, verb: bytes, stage: Stage) -> None:
        self._dialogue.ask(b"%b %b\r\n" % (verb, self._options.ehlo_name.encode("ascii")), stage)

    def _go_on(self, stage: Stage) -> ClientEvent | None:
        """What the peer offers is known."""
        options = self._options
        if self.tls is None and options.enable_tls is not EnableTls.DISABLED:
            if self.peer.starttls:
                self._dialogue.ask(b"STARTTLS\r\n", Stage.STARTTLS)
                return None
            if options.enable_tls.is_required:
                return self._refuse(stage, _NOT_OFFERED)
        return self._authenticate(stage)

    def _authenticate(self, stage: Stage) -> ClientEvent | None:
        options, tls = self._options, self.tls
        if options.credentials is None:
            return Introduced()
        refusal = cannot_authenticate(
            options.credentials,
            self.peer,
            is_secure=tls is not None,
            is_verified=tls is not None and tls.is_verified,
            allow_without_tls=options.allow_auth_without_tls,
            allow_without_valid_certificate=options.allow_auth_without_valid_certificate,
        )
        if refusal is not None:
            return self._refuse(stage, refusal)
        self._auth = AuthExchange(options.credentials, self.peer)
        self._dialogue.ask(self._auth.first, Stage.AUTH)
        return None

    def _on_auth(self, answer: Reply) -> ClientEvent | None:
        exchange = self._auth
        assert exchange is not None  # noqa: S101 -- AUTH was asked by it
        line = exchange.next(answer)
        if line is not None:
            self._dialogue.ask(line, Stage.AUTH)
            return None
        self._auth = None
        if answer.is_positive:
            self._is_authenticated = True
            return Introduced()
        return self._refuse(Stage.AUTH, exchange.without_secrets(answer))

    def _refuse(self, stage: Stage, answer: Reply) -> SessionRefused:
        self._dialogue.close()
        return SessionRefused(stage, answer)

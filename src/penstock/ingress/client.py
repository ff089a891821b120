"""Who is at the other end of a connection, as far as it is known, and how records say it."""

from __future__ import annotations

from penstock.ingress.terms import Terms
from penstock.mail.configuration import Endpoint
from penstock.mail.ids import SessionId
from penstock.mail.records import Reception
from penstock.mail.tls import TlsFacts
from penstock.policy import SessionFacts
from penstock.smtp.xclient import Xclient


class Client:
    """One client. Addresses are those that a trusted proxy gave, where there is one: ``proxy_address`` is then its own."""

    __slots__ = (
        "_reception",
        "authentication_id",
        "authorization_id",
        "ehlo_name",
        "is_extended",
        "listener",
        "local_address",
        "local_port",
        "peer_address",
        "peer_port",
        "proxy_address",
        "session_id",
        "terms",
        "tls",
    )

    def __init__(
        self,
        peer: tuple[str, int],
        local: tuple[str, int],
        listener: Endpoint,
        session_id: SessionId,
        terms: Terms,
    ) -> None:
        self.peer_address, self.peer_port = peer
        self.local_address, self.local_port = local
        #: our end of the connection, whatever a proxy says
        self.listener = str(listener)
        self.session_id = session_id
        self.terms = terms
        self.proxy_address = ""
        self.tls: TlsFacts | None = None
        self.forget()

    def forget(self) -> None:
        """Nothing of what the client said of itself counts any more."""
        self.ehlo_name = self.authentication_id = self.authorization_id = ""
        self.is_extended = False
        self._reception: Reception | None = None

    def becomes(self, given: Xclient) -> None:
        """A trusted proxy speaks for somebody else from here on."""
        self.forget()
        self.proxy_address = self.proxy_address or self.peer_address
        # "" is nobody's address: whom the proxy does not know has no right that an address gives
        self.peer_address, self.peer_port = given.address, given.port
        self.local_address = given.destination_address or self.local_address
        self.local_port = given.destination_port or self.local_port

    def introduced(self, name: str, *, is_extended: bool) -> None:
        """It has said EHLO or HELO."""
        self.ehlo_name, self.is_extended = name, is_extended
        self._reception = None

    def authenticated(self, authentication_id: str, authorization_id: str) -> None:
        """It has shown who it is."""
        self.authentication_id, self.authorization_id = authentication_id, authorization_id
        self._reception = None

    def reception(self) -> Reception:  # hot: throughput
        """How a message that comes in now came in."""
        if self._reception is None:
            self._reception = Reception(
                self._protocol(),
                self.peer_address,
                self.peer_port,
                self.ehlo_name,
                self.listener,
                self.terms.config.hostname,
                self.session_id,
                self.tls,
                self.authentication_id,
                self.authorization_id,
                self.proxy_address,
            )
        return self._reception

    def _protocol(self) -> str:
        """RFC 3848: ESMTP with S for TLS and A for AUTH."""
        if not self.is_extended:
            return "SMTP"
        return f"ESMTP{'S' if self.tls is not None else ''}{'A' if self.authentication_id else ''}"

    def facts(self) -> SessionFacts:
        """What a policy may know."""
        return SessionFacts(
            peer_address=self.peer_address,
            peer_port=self.peer_port,
            local_address=self.local_address,
            local_port=self.local_port,
            listener=self.listener,
            ehlo_name=self.ehlo_name,
            is_extended=self.is_extended,
            tls=self.tls,
            authentication_id=self.authentication_id,
            authorization_id=self.authorization_id,
            proxy_address=self.proxy_address,
        )

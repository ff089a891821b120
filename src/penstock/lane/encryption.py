"""TLS of one connection towards a host: which name is asked for, which session is resumed, and what is kept for the next."""

from __future__ import annotations

from penstock.net.tls import ClientContexts, SessionKey, TlsChannel
from penstock.routing.targets import Target


class Encryption:
    """A channel to ``target``, its handshake begun. ``is_verified``: the certificate has to be valid for the host's name.

    TlsError: TLS cannot begin with such a name.
    """

    __slots__ = ("_contexts", "_key", "channel")

    def __init__(self, contexts: ClientContexts, target: Target, *, is_verified: bool) -> None:
        # the name of the host as the MX record has it (RFC 3207 4.1); an address literal is its own name
        name = target.address if target.host.startswith("[") else target.host
        self._contexts = contexts
        self._key = SessionKey(name, target.address, target.port, is_verified)
        self.channel = TlsChannel(
            contexts.context(is_verified),
            server_side=False,
            server_name=name,
            session=contexts.recall(self._key),
        )

    def end(self) -> None:
        """The connection is done with: another may resume its session."""
        self._contexts.remember(self._key, self.channel)

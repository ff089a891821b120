"""The client as the policy knows it: one object that hooks read and set, kept in step with what is known of the client.

What hooks decide before STARTTLS is about the connection as far as ``on_connect`` has decided it, and about what the client said of itself in
the clear from there on; only the first outlives the handshake (RFC 3207 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.ingress.client import Client
from penstock.ingress.terms import Terms, overridden
from penstock.mail.records import MetaValue
from penstock.policy import Session, Transaction
from penstock.smtp.server import ServerSession


class _Kept(msgspec.Struct, frozen=True):
    """What holds of a connection, whoever is at its end."""

    terms: Terms
    tenant: str | None
    may_relay: bool
    meta: dict[str, MetaValue]


class PolicyView:
    """What the policy sees and sets of ``client``. Made when a hook is first asked; until then, the terms alone hold."""

    __slots__ = ("_client", "_kept", "_server", "_session", "transaction")

    def __init__(self, client: Client, server: ServerSession) -> None:
        self._client = client
        self._server = server
        self._session: Session | None = None
        self._kept = _of_terms(client.terms)
        #: the open transaction as the policy knows it; None where there is no policy
        self.transaction: Transaction | None = None

    def session(self) -> Session:
        """The client with what is known of it now."""
        session = self._session
        if session is None:
            kept = self._kept
            session = self._session = Session(
                self._client.facts(),
                tenant=kept.tenant,
                may_relay=kept.may_relay,
                meta=kept.meta,
                override=self._override,
            )
        else:
            session.facts = self._client.facts()
        return session

    def _override(self, options: Mapping[str, object]) -> None:
        """Other limits for this client; ValueError if one cannot be so."""
        self._use(overridden(self._client.terms, options))

    def _use(self, terms: Terms) -> None:
        self._client.terms = terms
        self._server.use(terms.limits)

    @property
    def may_relay(self) -> bool:
        """Whether the client may send mail to everywhere."""
        session = self._session
        return session.may_relay if session is not None else self._kept.may_relay

    @property
    def tenant(self) -> str | None:
        """Whose mail this is, as far as it is settled."""
        if self.transaction is not None:
            return self.transaction.tenant
        return self._session.tenant if self._session is not None else self._kept.tenant

    def keep(self) -> None:
        """``on_connect`` has decided: this holds of the connection from here on."""
        session = self._session
        if session is not None:
            self._kept = _Kept(self._client.terms, session.tenant, session.may_relay, dict(session.meta))

    def forget(self) -> None:
        """What the client said of itself does not count any more."""
        self._session = self.transaction = None
        self._use(self._kept.terms)

    def begin_anew(self) -> None:
        """It is another client, by the terms that it has now."""
        self._session = self.transaction = None
        self._kept = _of_terms(self._client.terms)
        self._use(self._kept.terms)


def _of_terms(terms: Terms) -> _Kept:
    return _Kept(terms, None, terms.is_trusted, dict(terms.config.meta))

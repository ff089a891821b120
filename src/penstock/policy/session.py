"""A client's session as a policy sees it: who is there, and what the policy has decided about it."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from penstock.mail.queue_name import is_label
from penstock.mail.records import MetaValue
from penstock.mail.tls import TlsFacts
from penstock.policy.meta import Meta

#: Applies listener options to one session; ValueError says which cannot be applied, and why.
Override = Callable[[Mapping[str, object]], None]


class SessionFacts(msgspec.Struct, frozen=True):
    """What is known of a client. Fields are those of ``Session``; the server puts a new one in place when it learns more."""

    peer_address: str = "127.0.0.1"
    peer_port: int = 0
    local_address: str = "127.0.0.1"
    local_port: int = 25
    listener: str = "127.0.0.1:25"
    ehlo_name: str = ""
    is_extended: bool = False
    tls: TlsFacts | None = None
    authentication_id: str = ""
    authorization_id: str = ""
    proxy_address: str = ""


def checked_label(value: object, what: str) -> str | None:
    """``value`` as the name of a tenant or campaign, None for no name; ValueError if it can be none."""
    if value is None:
        return None
    if not isinstance(value, str) or not is_label(value):
        raise ValueError(
            f"a {what} is None, or 1 to 128 printable ASCII characters without spaces and : @ !, not {value!r:.80}"
        )
    return value


class Session:
    """One connection of a client, from its beginning to its end.

    Made by the server; in a test of a policy by ``Session(SessionFacts(peer_address="192.0.2.1"))``. ``may_relay`` is given by the
    listener (``relay_hosts``, or authenticated). ``override`` is what applies listener options, None to only remember them.
    """

    __slots__ = ("_may_relay", "_meta", "_override", "_tenant", "facts", "overrides")

    def __init__(
        self,
        facts: SessionFacts | None = None,
        *,
        tenant: str | None = None,
        may_relay: bool = False,
        meta: Mapping[str, MetaValue] | None = None,
        override: Override | None = None,
    ) -> None:
        #: for the server, which replaces it
        self.facts = facts or SessionFacts()
        self._meta = Meta(meta)
        #: every option that ``override`` was given so far
        self.overrides: dict[str, object] = {}
        self._tenant = checked_label(tenant, "tenant")
        self._may_relay = may_relay
        self._override = override

    @property
    def meta(self) -> Meta:
        """The policy's own, copied to every transaction; begins with the listener's ``meta``."""
        return self._meta

    @property
    def peer_address(self) -> str:
        """The client's IP address; behind a proxy that is trusted, the address that it gave."""
        return self.facts.peer_address

    @property
    def peer_port(self) -> int:
        """The client's port."""
        return self.facts.peer_port

    @property
    def local_address(self) -> str:
        """Our address on this connection."""
        return self.facts.local_address

    @property
    def local_port(self) -> int:
        """Our port on this connection."""
        return self.facts.local_port

    @property
    def listener(self) -> str:
        """The listener, as ``address:port``."""
        return self.facts.listener

    @property
    def ehlo_name(self) -> str:
        """The name that the client gave with EHLO or HELO, as it came; "" before that."""
        return self.facts.ehlo_name

    @property
    def is_extended(self) -> bool:
        """Whether the client said EHLO, not HELO."""
        return self.facts.is_extended

    @property
    def tls(self) -> TlsFacts | None:
        """The connection's TLS, None for plain text."""
        return self.facts.tls

    @property
    def authentication_id(self) -> str:
        """Who the client has proved to be (RFC 4954); "" without AUTH."""
        return self.facts.authentication_id

    @property
    def authorization_id(self) -> str:
        """Whom the client acts for, usually the same; "" without AUTH."""
        return self.facts.authorization_id

    @property
    def proxy_address(self) -> str:
        """The address of the host that passed the connection on (PROXY, XCLIENT), "" for none."""
        return self.facts.proxy_address

    @property
    def tenant(self) -> str | None:
        """Whose mail this session's is; None while nothing was decided. Settable: ValueError for what can be no tenant's name."""
        return self._tenant

    @tenant.setter
    def tenant(self, value: str | None) -> None:
        self._tenant = checked_label(value, "tenant")

    @property
    def may_relay(self) -> bool:
        """Whether mail is taken for any domain. Settable, with True or False."""
        return self._may_relay

    @may_relay.setter
    def may_relay(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise ValueError(f"may_relay is True or False, not {value!r:.80}")
        self._may_relay = value

    def override(self, **options: object) -> None:
        """Give listener options another value for this session, by their names in ``via`` and ``peer``; ValueError if one cannot be so."""
        if self._override is not None:
            self._override(options)
        self.overrides.update(options)

    def __repr__(self) -> str:
        return f"<Session of {self.peer_address} tenant={self._tenant!r}>"


class Extensions:
    """The keywords that EHLO is about to offer, upper case. They can be looked at and taken away."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = dict.fromkeys(name.upper() for name in names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def discard(self, *names: str) -> None:
        """Do not offer these; those that were not to be offered anyway are no error."""
        for name in names:
            self._names.pop(name.upper(), None)

    def __repr__(self) -> str:
        return f"Extensions({list(self._names)!r})"


class Credentials(msgspec.Struct, frozen=True):
    """What a client gave with AUTH: ``mechanism`` is ``PLAIN`` or ``LOGIN``, ``authorization_id`` "" where it gave none.

    The password is in no ``repr``, so that no log has it by accident.
    """

    mechanism: str
    authentication_id: str
    password: str
    authorization_id: str = ""

    def is_password(self, secret: str) -> bool:
        """Whether the password is ``secret``, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(
            self.password.encode("utf-8", "replace"), secret.encode("utf-8", "replace")
        )

    def __repr__(self) -> str:
        return f"Credentials({self.mechanism!r}, {self.authentication_id!r}, password=...)"


class Granted(msgspec.Struct, frozen=True):
    """``on_auth`` says: let in. ``tenant`` is then the session's tenant, ``authorization_id`` whom the client acts for.

    None: for itself; a client that asked to act for somebody else is then refused (535, RFC 4616 2).
    """

    tenant: str | None = None
    authorization_id: str | None = None

    def __post_init__(self) -> None:
        checked_label(self.tenant, "tenant")

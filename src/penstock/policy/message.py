"""A message as a policy sees it, before it is split by domain: what may be changed in it, and what was decided in the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

import msgspec

from penstock.mail.address import Address, ReversePath, parse_domain
from penstock.mail.dsn import RecipientDsn
from penstock.mail.records import MetaValue
from penstock.mail.reply import reply
from penstock.mail.schedule import Schedule, ZoneOf, parse_schedule
from penstock.policy.headers import Headers
from penstock.policy.meta import Meta
from penstock.policy.mime import Part, parse
from penstock.policy.session import Session, checked_label
from penstock.policy.transaction import Recipient, Recipients, Transaction, checked_address

#: What a message is refused with that a policy has left no recipient: to accept it and drop it would lose it without a word.
NO_RECIPIENT = reply(550, "5.7.1", "the policy leaves the message no recipient")


def _any_zone(name: str) -> dt.tzinfo | None:
    return dt.UTC


class Decision(msgspec.Struct, frozen=True):
    """What the policy has made of a transaction. ``content`` is the very object that came where no header field was edited."""

    reverse_path: ReversePath
    recipients: tuple[tuple[Address, RecipientDsn], ...]
    tenant: str | None
    campaign: str | None
    meta: dict[str, MetaValue]
    content: bytes
    schedule: Schedule | None = None
    routing_domain: str | None = None


class Message:
    """One message of a transaction, whole, with all its recipients.

    ``content`` is as the client sent it, without transparency (RFC 5321 4.5.2), its lines ending with CRLF. ``tenant`` and ``campaign``
    are as the transaction has them unless given. ``zone_of`` knows time zones; without one, every name is taken for one.
    """

    __slots__ = (
        "_campaign",
        "_content",
        "_headers",
        "_mime",
        "_recipients",
        "_reverse_path",
        "_routing_domain",
        "_schedule",
        "_tenant",
        "_zone_of",
        "transaction",
    )

    def __init__(
        self,
        transaction: Transaction,
        content: bytes,
        recipients: Iterable[Recipient] | None = None,
        *,
        tenant: str | None = None,
        campaign: str | None = None,
        schedule: Schedule | None = None,
        zone_of: ZoneOf = _any_zone,
    ) -> None:
        self.transaction = transaction
        self._recipients = Recipients(transaction.recipients if recipients is None else recipients)
        self._content = content
        self._reverse_path = transaction.reverse_path
        self._tenant = checked_label(tenant, "tenant") if tenant is not None else transaction.tenant
        self._campaign = checked_label(campaign, "campaign") if campaign is not None else transaction.campaign
        self._schedule = schedule
        self._zone_of = zone_of
        self._routing_domain: str | None = None
        self._headers: Headers | None = None
        self._mime: Part | None = None

    @property
    def session(self) -> Session:
        """The client's session."""
        return self.transaction.session

    @property
    def recipients(self) -> Recipients:
        """Where it goes: can be added to, removed from and replaced."""
        return self._recipients

    @property
    def meta(self) -> Meta:
        """The policy's own values, stored with the message."""
        return self.transaction.meta

    @property
    def content(self) -> bytes:
        """The whole message as it came."""
        return self._content

    @property
    def size(self) -> int:
        """Octets of it as it came."""
        return len(self._content)

    @property
    def reverse_path(self) -> ReversePath:
        """Where notifications go, None for nowhere. Settable, with text, an Address or None; ValueError for what is no address."""
        return self._reverse_path

    @reverse_path.setter
    def reverse_path(self, value: Address | str | None) -> None:
        self._reverse_path = checked_address(value) if value is not None and value != "" else None

    @property
    def tenant(self) -> str | None:
        """Whose mail it is. Settable, with a name or None; ValueError for what can be no tenant's name."""
        return self._tenant

    @tenant.setter
    def tenant(self, value: str | None) -> None:
        self._tenant = checked_label(value, "tenant")

    @property
    def campaign(self) -> str | None:
        """The campaign. Settable, with a name or None."""
        return self._campaign

    @campaign.setter
    def campaign(self, value: str | None) -> None:
        self._campaign = checked_label(value, "campaign")

    @property
    def schedule(self) -> Schedule | None:
        """When it may be delivered. Settable, with a dict or JSON as ``scheduling_header`` takes it, or None; ValueError for what is no schedule."""
        return self._schedule

    @schedule.setter
    def schedule(self, value: Schedule | Mapping[str, object] | str | None) -> None:
        if value is None or isinstance(value, Schedule):
            self._schedule = value
            return
        if isinstance(value, Mapping):
            try:
                value = msgspec.json.encode(dict(value)).decode()
            except TypeError as error:
                raise ValueError(f"a schedule has texts and datetimes: {error}") from None
        if not isinstance(value, str):
            raise ValueError(f"a schedule is a dict, JSON or None, and no {type(value).__name__}")
        self._schedule = parse_schedule(value, self._zone_of)

    @property
    def routing_domain(self) -> str | None:
        """What it is routed by instead of each recipient's domain, None for what ``queues.toml`` says. Settable; ValueError for what is no domain."""
        return self._routing_domain

    @routing_domain.setter
    def routing_domain(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise ValueError(f"a routing domain is a text or None, and no {type(value).__name__}")
        self._routing_domain = parse_domain(value) if value is not None else None

    @property
    def headers(self) -> Headers:
        """The header section; LimitExceeded if it is too long to be looked into."""
        if self._headers is None:
            self._headers = Headers(self._content, utf8=self.transaction.smtputf8)
        return self._headers

    @property
    def mime(self) -> Part:
        """The message by its parts, as it came; found when first asked for. LimitExceeded if there is too much of it."""
        if self._mime is None:
            self._mime = parse(self._content)
        return self._mime

    def decision(self) -> Decision:
        """For the server: what is to become of the message."""
        content = self._content
        if self._headers is not None and self._headers.is_edited:
            content = self._headers.content()
        return Decision(
            self._reverse_path,
            tuple((recipient.address, recipient.dsn) for recipient in self.recipients),
            self._tenant,
            self._campaign,
            self.meta.values_now(),
            content,
            self._schedule,
            self._routing_domain,
        )

    def __repr__(self) -> str:
        return f"<Message of {self.size} octets from <{self._reverse_path or ''}> tenant={self._tenant!r}>"

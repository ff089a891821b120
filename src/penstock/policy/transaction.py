"""A transaction as a policy sees it: the reverse-path, what MAIL said, and its recipients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from penstock.mail.address import Address, AddressError, ReversePath, parse_address
from penstock.mail.dsn import NOTHING_ASKED, RecipientDsn
from penstock.policy.meta import Meta
from penstock.policy.session import Session, checked_label

#: A policy may add recipients, to about as many as a client may (``max_recipients_per_message`` at its usual heights).
RECIPIENT_LIMIT: Final = 10_000


def checked_address(value: object) -> Address:
    """``value`` as an address, from text if need be; ValueError if it is none."""
    if isinstance(value, Address):
        value = str(value)  # one that was put together from parts may be no address at all
    if not isinstance(value, str):
        raise ValueError(f"an address is text or an Address, not {type(value).__name__}")
    try:
        return parse_address(value)
    except AddressError as error:
        raise ValueError(f"{value!r:.300} is no address: {error}") from error


class Recipient:
    """One recipient: ``address`` may be set to another, ``given`` is as the client had it."""

    __slots__ = ("_address", "dsn", "given")

    def __init__(self, address: Address | str, dsn: RecipientDsn = NOTHING_ASKED) -> None:
        self._address = address if isinstance(address, Address) else checked_address(address)
        self.given = self._address
        self.dsn = dsn

    @property
    def address(self) -> Address:
        """Where the message goes. Settable, with text or an Address; ValueError for what is no address."""
        return self._address

    @address.setter
    def address(self, value: Address | str) -> None:
        self._address = checked_address(value)

    @property
    def notify(self) -> tuple[str, ...]:
        """NOTIFY of RFC 3461: ``()`` where not given."""
        return self.dsn.notify

    @property
    def original(self) -> str:
        """ORCPT of RFC 3461, as on the wire; "" where not given."""
        return self.dsn.original

    def __repr__(self) -> str:
        return f"<Recipient {self._address}>"


class Transaction:
    """One mail transaction, from MAIL on. ``ret`` and ``envelope_id`` are of RFC 3461, "" where not given; ``size`` is 0 where not announced."""

    __slots__ = (
        "_campaign",
        "_meta",
        "_recipients",
        "_reverse_path",
        "_tenant",
        "eight_bit",
        "envelope_id",
        "ret",
        "session",
        "size",
        "smtputf8",
    )

    def __init__(
        self,
        session: Session,
        reverse_path: ReversePath,
        *,
        size: int = 0,
        eight_bit: bool = False,
        smtputf8: bool = False,
        ret: str = "",
        envelope_id: str = "",
    ) -> None:
        self.session = session
        self._reverse_path = reverse_path
        self.size = size
        self.eight_bit = eight_bit
        self.smtputf8 = smtputf8
        self.ret = ret
        self.envelope_id = envelope_id
        self._meta = Meta(session.meta)
        self._recipients: list[Recipient] = []
        self._tenant: str | None = None
        self._campaign: str | None = None

    @property
    def reverse_path(self) -> ReversePath:
        """Where notifications go, None for nowhere. Settable, with text, an Address or None; ValueError for what is no address."""
        return self._reverse_path

    @reverse_path.setter
    def reverse_path(self, value: Address | str | None) -> None:
        self._reverse_path = checked_address(value) if value is not None and value != "" else None

    @property
    def meta(self) -> Meta:
        """Kept with the messages; begins as a copy of the session's."""
        return self._meta

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """Those accepted so far, in their order."""
        return tuple(self._recipients)

    def accept(self, recipient: Recipient) -> None:
        """For the server: ``recipient`` was accepted."""
        self._recipients.append(recipient)

    @property
    def tenant(self) -> str | None:
        """Whose mail this is; the session's tenant unless set. Settable, with a name or None."""
        return self._tenant if self._tenant is not None else self.session.tenant

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


class Recipients:
    """The recipients of a message, in order. No address is in it twice, by whichever way it came."""

    __slots__ = ("_recipients",)

    def __init__(self, recipients: Iterable[Recipient] = ()) -> None:
        self._recipients = list(recipients)

    def _by_address(self) -> dict[Address, Recipient]:
        """The first of each address as they are now: a hook may have set one."""
        found: dict[Address, Recipient] = {}
        for recipient in self._recipients:
            found.setdefault(recipient.address, recipient)
        return found

    def __iter__(self) -> Iterator[Recipient]:
        return iter(tuple(self._by_address().values()))

    def __len__(self) -> int:
        return len(self._by_address())

    def __contains__(self, address: object) -> bool:
        try:
            return checked_address(address) in self._by_address()
        except ValueError:
            return False

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Their addresses, in order."""
        return tuple(self._by_address())

    def add(self, *addresses: Address | str) -> None:
        """Send the message there too, if it does not go there already. ValueError for what is no address."""
        found = self._by_address()
        for address in map(checked_address, addresses):
            if address not in found:
                found[address] = Recipient(address)
        self._keep(found)

    def remove(self, *addresses: Address | str) -> None:
        """Do not send it there. ValueError if it was not to go there. A message that loses its last recipient is refused 550 5.7.1."""
        found = self._by_address()
        for address in map(checked_address, addresses):
            if found.pop(address, None) is None:
                raise ValueError(f"{address} is no recipient of the message")
        self._keep(found)

    def replace(self, *addresses: Address | str) -> None:
        """Send it to these alone. What a client asked about notifications of one that stays is kept."""
        found = self._by_address()
        checked = dict.fromkeys(map(checked_address, addresses))
        self._keep({address: found.get(address) or Recipient(address) for address in checked})

    def _keep(self, recipients: dict[Address, Recipient]) -> None:
        if len(recipients) > RECIPIENT_LIMIT:
            raise ValueError(f"a message has at most {RECIPIENT_LIMIT} recipients")
        self._recipients = list(recipients.values())

    def __repr__(self) -> str:
        shown = ", ".join(str(recipient.address) for recipient in self._recipients[:5])
        return f"<Recipients {shown}{', ...' if len(self._recipients) > 5 else ''}>"

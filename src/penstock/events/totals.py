"""The sums of events: recipients by what became of them, over all and by tenant.

They are carried from file to file, so that ``accepted + generated + moved_in = delivered + bounced + expired + suppressed + dropped +
moved_out + quarantined + queued`` can be computed although old files are gone. ``queued`` is what the other numbers leave. A message that an order
has put into a queue of another tenant has moved out of the one and into the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

from penstock.events.event import Counts, Response, TenantCounts, TotalsEvent
from penstock.events.note import bare
from penstock.events.record import encode
from penstock.mail.duration import WallTime
from penstock.mail.status import OTHER

#: Tenants with sums of their own, the first that come; the others share those of OTHER. As many as fit into a line that readers take
#: (``penstock.events.tail.LINE_LIMIT``), each with the longest name and numbers of twelve digits.
TENANT_LIMIT: Final = 2000
#: What types of events count as. A Reception counts its recipients, a Quarantine says how many it is about, the others are of one. An AdminRebind
#: says how many it is about too: what it counts as, is up to the tenants.
COUNTED_AS: Final = {
    "Reception": "accepted",
    "Delivery": "delivered",
    "Bounce": "bounced",
    "Expiration": "expired",
    "AdminBounce": "dropped",
    "AdminDelete": "dropped",
    "Quarantine": "quarantined",
}
_OF_ONE: Final = frozenset({"Delivery", "Bounce", "Expiration", "AdminBounce", "AdminDelete"})
_REBIND: Final = "AdminRebind"
#: Which sums come in; all others but ``queued`` go out.
INCOMING: Final = ("accepted", "generated", "moved_in")
OUTGOING: Final = ("delivered", "bounced", "expired", "suppressed", "dropped", "moved_out", "quarantined")
_NEW_LIMIT: Final = 1000


class Countable(Protocol):
    """What of an event is counted: of one that is made, and of one that is read."""

    @property
    def type(self) -> str:
        """Its type, as in the log."""

    @property
    def tenant(self) -> str | None:
        """Its tenant."""

    @property
    def recipient(self) -> str | Sequence[str]:
        """The recipient, or all of a Reception."""

    @property
    def num_recipients(self) -> int:
        """How many a Quarantine or an AdminRebind is about."""

    @property
    def previous_tenant(self) -> str | None:
        """Whose an AdminRebind's message was before."""


class CountedLine(msgspec.Struct, gc=False):
    """The fields of a line of the log that are counted, and its id."""

    type: str = ""
    event_id: str = ""
    tenant: str | None = None
    recipient: str | list[str] = ""
    num_recipients: int = 0
    previous_tenant: str | None = None


_decode = msgspec.json.Decoder(CountedLine).decode


def counted_line(line: bytes) -> CountedLine | None:
    """What is counted of a line; None if there is no event on it."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Totals:
    """Sums of events. ``limit`` tenants have sums of their own."""

    __slots__ = ("_limit", "_new", "_tenants", "_total")

    def __init__(
        self, total: Counts | None = None, tenants: Iterable[TenantCounts] = (), limit: int = TENANT_LIMIT
    ) -> None:
        self._limit = limit
        self._total = msgspec.structs.replace(total) if total is not None else Counts()
        self._tenants = {counts.tenant: msgspec.structs.replace(counts) for counts in tenants}
        #: not in the sums yet: by sum and tenant
        self._new: dict[tuple[str, str | None], int] = {}

    def add(self, events: Iterable[Countable]) -> None:  # hot: benchmarks/events_encode.py
        """Count events."""
        new = self._new
        for event in events:
            kind = event.type
            if kind in _OF_ONE:  # most are; a call of recipients_of would double what this takes
                number = 1
            elif kind in COUNTED_AS:
                number = recipients_of(event)
            elif kind == _REBIND:
                self._rebound(event, event.num_recipients)
                continue
            else:
                continue
            key = (COUNTED_AS[kind], event.tenant)
            new[key] = new.get(key, 0) + number
        if len(new) > _NEW_LIMIT:
            self._sum_up()

    def add_unlogged(self, events: Iterable[Countable]) -> None:
        """Count events that are not in the log: they are made of orders."""
        events = list(events)
        self.add(events)
        for event in events:
            if event.type in _OF_ONE:
                self._later("unlogged", event.tenant, 1)
            elif event.type == _REBIND:
                self._later("unlogged", event.previous_tenant, event.num_recipients)
                self._later("unlogged", event.tenant, -event.num_recipients)

    def _rebound(self, event: Countable, number: int) -> None:
        """So many recipients have gone from tenant to tenant."""
        if event.tenant != event.previous_tenant:
            self._later("moved_out", event.previous_tenant, number)
            self._later("moved_in", event.tenant, number)

    def _later(self, name: str, tenant: str | None, number: int) -> None:
        self._new[name, tenant] = self._new.get((name, tenant), 0) + number

    def without(self, lines: Iterable[bytes]) -> Totals:
        """The sums as they were before these lines were counted."""
        self._sum_up()
        before = Totals(self._total, self._tenants.values(), self._limit)
        for line in lines:
            event = counted_line(line)
            if event is None:
                continue
            if event.type in COUNTED_AS:
                before._count(COUNTED_AS[event.type], event.tenant, -recipients_of(event))
            elif event.type == _REBIND:
                before._rebound(event, -event.num_recipients)
        before._sum_up()
        return before

    @property
    def total(self) -> Counts:
        """The sums over all."""
        self._sum_up()
        return self._total

    @property
    def tenants(self) -> tuple[TenantCounts, ...]:
        """The sums of each tenant, in the order in which they came."""
        self._sum_up()
        return tuple(self._tenants.values())

    def unlogged_of(self, tenant: str | None) -> int:
        """How many fewer recipients of a tenant are queued than could be counted by events."""
        self._sum_up()
        counts = self._tenants.get(tenant)
        return counts.unlogged if counts is not None else 0

    def name_of(self, tenant: str | None) -> str | None:
        """Under which name a tenant is counted; it is from now on."""
        return self._tenant(tenant).tenant

    def _sum_up(self) -> None:
        for (name, tenant), number in self._new.items():
            self._count(name, tenant, number)
        self._new.clear()

    def _count(self, name: str, tenant: str | None, number: int) -> None:
        for counts in (self._total, self._tenant(tenant)):
            setattr(counts, name, getattr(counts, name) + number)
            if name != "unlogged":
                counts.queued += number if name in INCOMING else -number

    def _tenant(self, tenant: str | None) -> TenantCounts:
        counts = self._tenants.get(tenant)
        if counts is None:
            name = tenant if len(self._tenants) < self._limit else OTHER
            counts = self._tenants.setdefault(name, TenantCounts(tenant=name))
        return counts


def recipients_of(event: Countable) -> int:
    """How many recipients an event is about."""
    if event.type == "Reception":
        to = event.recipient
        return 1 if isinstance(to, str) else len(to)
    return event.num_recipients if event.type == "Quarantine" else 1


def opening_line(totals: Totals, name: str, begun: WallTime, node: str, epoch: int) -> bytes:
    """The first line of the file called ``name``, or a later line of sums: an event of its own, with the fields that every event has."""
    event = bare("Totals", "", begun, Response(0, None, "", None), node, epoch)
    fields = {field: getattr(event, field) for field in event.__struct_fields__}
    fields["event_id"] = f"{name}-Totals"
    return encode([TotalsEvent(**fields, totals=totals.total, tenant_totals=totals.tenants)])

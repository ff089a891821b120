"""What an event is: the fields of one line of the event log, in the order they are written.

Names and meaning are those of KumoMTA's log records where it has them, then come ours; ``docs/events.md`` says what each is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from penstock.mail.records import MetaValue
from penstock.mail.reply import EnhancedCode

EventType = Literal[
    "Reception",
    "Delivery",
    "TransientFailure",
    "Bounce",
    "Expiration",
    "AdminBounce",
    "AdminDelete",
    "AdminRebind",
    "AdminFlush",
    "Directive",
    "Rejection",
    "PolicyError",
    "Quarantine",
    "SpoolHealth",
    "Totals",
]


class Response(msgspec.Struct, frozen=True, gc=False):
    """What was answered, and to which command; ``command`` None where nothing was asked."""

    code: int
    enhanced_code: EnhancedCode | None
    content: str
    command: str | None


class PeerAddress(msgspec.Struct, frozen=True, gc=False):
    """The other side: the name it gave when it sent to us, or that of the MX host when we sent; and its address without the port."""

    name: str
    addr: str


class SourceAddress(msgspec.Struct, frozen=True, gc=False):
    """Our own address on a connection that we made."""

    address: str


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One event. Fields without a default are always there, null where they do not apply; the last ones are left out instead."""

    type: EventType
    id: str
    sender: str
    recipient: str | tuple[str, ...]
    queue: str
    site: str
    size: int
    response: Response
    peer_address: PeerAddress | None
    timestamp: int
    event_time: str
    created: int
    created_time: str
    num_attempts: int
    bounce_classification: str
    egress_pool: str | None
    egress_source: str | None
    source_address: SourceAddress | None
    feedback_report: None
    meta: dict[str, MetaValue]
    headers: dict[str, str]
    delivery_protocol: str | None
    reception_protocol: str
    nodeid: str
    tenant: str | None
    campaign: str | None
    event_id: str
    config_epoch: int
    sequence: int
    session_id: str | None = None
    is_uncertain: bool = False
    tls_cipher: str | None = None
    tls_protocol_version: str | None = None
    tls_peer_subject_name: str | None = None
    authentication_id: str = ""
    authorization_id: str = ""
    proxy_address: str = ""
    num_recipients: int = 0
    order_id: str = ""
    author: str = ""
    previous_queue: str = ""
    previous_tenant: str | None = None


class UnloggedEvent(Event, frozen=True, gc=False):
    """An event that is counted, and never written: whoever gave the order did not want it in the log."""


class Counts(msgspec.Struct):
    """Recipients by what became of them since the first event; ``queued`` are the others, so that both sides of the identity are equal.

    ``unlogged``: by how many fewer are queued than could be counted by events, because of orders whose events were not wanted.
    """

    accepted: int = 0
    generated: int = 0
    moved_in: int = 0
    delivered: int = 0
    bounced: int = 0
    expired: int = 0
    suppressed: int = 0
    dropped: int = 0
    moved_out: int = 0
    quarantined: int = 0
    queued: int = 0
    unlogged: int = 0


class TenantCounts(Counts, omit_defaults=True, kw_only=True):
    """The counts of one tenant, what is 0 left out; ``tenant`` None is mail without one, OTHER are those past the limit."""

    tenant: str | None


class TotalsEvent(Event, frozen=True, gc=False, kw_only=True):
    """The first event of a file: what all events before it add up to, over all and by tenant."""

    totals: Counts
    tenant_totals: tuple[TenantCounts, ...]

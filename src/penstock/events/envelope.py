"""What all events of a message say of the message itself."""

from __future__ import annotations

import msgspec

from penstock.events.field import moment_of, path_of
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, MetaValue


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What the events of a message say of the message itself; the same in all of them."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    queue: str
    tenant: str | None
    campaign: str | None
    size: int
    created: int
    created_time: str
    meta: dict[str, MetaValue]
    protocol: str


def envelope_of(record: MessageRecord, size: int) -> Envelope:
    """What events say of a message of so many octets."""
    created, created_time = moment_of(record.created)
    queue = record.queue
    return Envelope(
        record.id,
        path_of(record.reverse_path),
        tuple([path_of(address) for address in record.recipients]),
        str(queue),
        queue.tenant,
        queue.campaign,
        size,
        created,
        created_time,
        record.meta,
        record.reception.protocol,
    )


def in_queue(envelope: Envelope, queue: QueueName) -> Envelope:
    """A message in another queue than its own."""
    return msgspec.structs.replace(envelope, queue=str(queue), tenant=queue.tenant, campaign=queue.campaign)

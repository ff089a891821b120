"""What all events of a message say of the message itself."""

from __future__ import annotations

import msgspec

from penstock.events.event import Event, EventType, Response
from penstock.events.field import NOTHING, UNCATEGORIZED, moment_of, path_of
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


def unconnected(
    kind: EventType,
    envelope: Envelope,
    time: float,
    attempts: int,
    response: Response,
    node: str,
    epoch: int,
) -> Event:
    """An event of all recipients that no connection has brought about; its site, id and sequence number are still to be filled in."""
    second, moment = moment_of(time)
    recipients = envelope.recipients
    return Event(
        type=kind,
        id=envelope.id,
        sender=envelope.sender,
        recipient=recipients[0] if len(recipients) == 1 else recipients,
        queue=envelope.queue,
        site="",
        size=envelope.size,
        response=response,
        peer_address=None,
        timestamp=second,
        event_time=moment,
        created=envelope.created,
        created_time=envelope.created_time,
        num_attempts=attempts,
        bounce_classification=UNCATEGORIZED,
        egress_pool=None,
        egress_source=None,
        source_address=None,
        feedback_report=None,
        meta=envelope.meta,
        headers=NOTHING,
        delivery_protocol=None,
        reception_protocol=envelope.protocol,
        nodeid=node,
        tenant=envelope.tenant,
        campaign=envelope.campaign,
        event_id="",
        config_epoch=epoch,
        sequence=0,
    )

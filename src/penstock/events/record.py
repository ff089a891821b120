"""Events made of spool records: the one module that translates to the words of the outside world.

Inside, a recipient's outcome is Accepted, Deferred or Failed, and a message waits for a path of a source to a site; outside, the events
are ``Delivery``, ``TransientFailure`` and ``Bounce``, and ``site`` is the ready queue's name ``source->site_name@smtp_client``.

Events are derived from spool records and from nothing else: derived again, they have the same ids and times, and the same octets for the
same epoch. Events of what is no message are in ``penstock.events.note``.

- ``event_id`` is ``<message id>-<recipient>-<attempts>-<type>``, the recipient by its place in the message, ``all`` where an event is of
  the whole message. Only a TransientFailure can happen twice to one recipient with the same number of attempts spent (a failure before
  any transaction spends none): its id ends in the time of the record, in microseconds.
- ``sequence`` orders the events of one message: 0 for its Reception; for n recipients ``2 * attempts * n + recipient + 1`` for an
  outcome, n more for an expiration. Numbers are left out, so a gap says nothing. Two failures that spent no attempt share a number;
  ``event_time`` orders those.

Reception and the outcomes, which every message has, are built by position: with keywords they take 1.3 to 1.8 times as long (measured: 5.3
against 3.5 microseconds for a Reception). The tests hold every field of theirs against its name.

Everything that a peer had a say in is made printable and cut to a length: see ``penstock.events.text``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from penstock.events import note
from penstock.events.event import Event, EventType, PeerAddress, Response, SourceAddress
from penstock.events.field import (
    NAME_LIMIT,
    NOTHING,
    PLAIN,
    SITE_LIMIT,
    UNCATEGORIZED,
    identity_of,
    moment_of,
    path_of,
    response_of,
    site_of,
    tls_of,
)
from penstock.events.text import clean
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    MovedRecord,
    SpoolRecord,
    Verdict,
)

#: The pool of every source until pools can be configured.
_POOL: Final = "unspecified"
_EVENT_TYPES: Final[dict[Verdict, EventType]] = {
    Verdict.ACCEPTED: "Delivery",
    Verdict.DEFERRED: "TransientFailure",
    Verdict.FAILED: "Bounce",
}
_RECEIVED: Final = Response(250, None, "", None)
_encode_lines = msgspec.json.Encoder().encode_lines


def derive(record: SpoolRecord, *, node: str, epoch: int) -> list[Event]:  # hot: benchmarks/events_encode.py
    """The events of a record: one Reception per message, one event per recipient of an attempt or an expiry, one event per
    note or quarantined message; none of a message that moved from one of our lanes to another.

    ``node`` names this server and ``epoch`` the configuration in force. The same arguments give equal events.
    """
    if isinstance(record, AttemptRecord):
        return _attempt(record, node, epoch)
    if isinstance(record, MessageRecord):
        return [_reception(record, node, epoch)]
    if isinstance(record, ExpirationRecord):
        return _expiration(record, node, epoch)
    if isinstance(record, MovedRecord):
        return []
    return [note.event_of(record, node, epoch)]


def encode(events: Iterable[Event]) -> bytes:
    """Events as JSON lines, each ended by a newline; no other octet in them could end a line."""
    return _encode_lines(events)


def _reception(record: MessageRecord, node: str, epoch: int) -> Event:
    second, moment = moment_of(record.created)
    recipients = record.recipients
    reception = record.reception
    queue = record.queue
    identifier = record.id
    return Event(
        "Reception",
        identifier,
        path_of(record.reverse_path),
        path_of(recipients[0])
        if len(recipients) == 1
        else tuple([path_of(address) for address in recipients]),
        str(queue),
        "",
        len(record.added_header) + len(record.content),
        _RECEIVED,
        PeerAddress(clean(reception.ehlo_domain, NAME_LIMIT), reception.peer_address),
        second,
        moment,
        second,
        moment,
        0,
        UNCATEGORIZED,
        None,
        None,
        None,
        None,
        record.meta,
        NOTHING,
        None,
        reception.protocol,
        node,
        queue.tenant,
        queue.campaign,
        identifier + "-all-0-Reception",
        epoch,
        0,
        reception.session_id,
        False,
        *tls_of(reception.tls),
        *identity_of(reception),
    )


def _attempt(record: AttemptRecord, node: str, epoch: int) -> list[Event]:
    message = record.message
    second, moment = moment_of(record.time)
    created, created_moment = moment_of(message.created)
    peer = record.peer
    if peer is None:
        peer_address = source_address = protocol = session = None
        tls = PLAIN
    else:
        tls = tls_of(peer.tls)
        peer_address = PeerAddress(clean(peer.name, NAME_LIMIT), peer.address)
        source_address = SourceAddress(peer.source_address)
        protocol = peer.protocol
        session = peer.session_id
    source = record.source or None
    identifier = message.id
    sender = path_of(message.reverse_path)
    queue = message.queue
    queue_name = str(queue)
    site = site_of(record.source, record.site)
    size = len(message.added_header) + len(message.content)
    attempts = record.attempts
    first = 2 * attempts * len(message.recipients) + 1
    events = []
    for outcome in record.outcomes:
        place = outcome.recipient
        kind = _EVENT_TYPES[outcome.verdict]
        event_id = f"{identifier}-{place}-{attempts}-{kind}"
        if kind == "TransientFailure":
            event_id = f"{event_id}-{int(record.time * 1_000_000)}"
        events.append(
            Event(
                kind,
                identifier,
                sender,
                path_of(message.recipients[place]),
                queue_name,
                site,
                size,
                response_of(outcome.reply, outcome.command),
                peer_address,
                second,
                moment,
                created,
                created_moment,
                attempts,
                UNCATEGORIZED,
                _POOL if source else None,
                source,
                source_address,
                None,
                message.meta,
                NOTHING,
                protocol,
                message.reception.protocol,
                node,
                queue.tenant,
                queue.campaign,
                event_id,
                epoch,
                first + place,
                session,
                outcome.is_uncertain,
                *tls,
            )
        )
    return events


def _expiration(record: ExpirationRecord, node: str, epoch: int) -> list[Event]:
    message = record.message
    second, moment = moment_of(record.time)
    created, created_moment = moment_of(message.created)
    response = response_of(record.reply, None)
    first = (2 * record.attempts + 1) * len(message.recipients) + 1
    return [
        Event(
            type="Expiration",
            id=message.id,
            sender=path_of(message.reverse_path),
            recipient=path_of(message.recipients[place]),
            queue=str(message.queue),
            site=clean(record.site, SITE_LIMIT),
            size=message.size,
            response=response,
            peer_address=None,
            timestamp=second,
            event_time=moment,
            created=created,
            created_time=created_moment,
            num_attempts=record.attempts,
            bounce_classification=UNCATEGORIZED,
            egress_pool=None,
            egress_source=None,
            source_address=None,
            feedback_report=None,
            meta=message.meta,
            headers=NOTHING,
            delivery_protocol=None,
            reception_protocol=message.reception.protocol,
            nodeid=node,
            tenant=message.queue.tenant,
            campaign=message.queue.campaign,
            event_id=f"{message.id}-{place}-{record.attempts}-Expiration",
            config_epoch=epoch,
            sequence=first + place,
        )
        for place in record.recipients
    ]

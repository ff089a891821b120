"""Events made of spool records: the one module that translates to the words of the outside world.

Inside, a recipient's outcome is Accepted, Deferred or Failed, and a message waits for a path of a source to a site; outside, the events
are ``Delivery``, ``TransientFailure`` and ``Bounce``, and ``site`` is the ready queue's name ``source->site_name@smtp_client``.

Events are derived from spool records and from nothing else: derived again, they have the same ids and times, and the same octets for the
same epoch. Events of what is no message are in ``penstock.events.note``, those of orders in ``penstock.events.order``.

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

from penstock.events import note, order
from penstock.events.envelope import Envelope, envelope_of, unconnected
from penstock.events.event import Event, EventType, PeerAddress, Response, SourceAddress
from penstock.events.field import (
    NAME_LIMIT,
    NOTHING,
    PLAIN,
    SITE_LIMIT,
    UNCATEGORIZED,
    identity_of,
    moment_of,
    response_of,
    site_of,
    tls_of,
)
from penstock.events.text import clean
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    MovedRecord,
    OrderRecord,
    Peer,
    RebindRecord,
    Reception,
    RemovalRecord,
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


class Client(msgspec.Struct, frozen=True, gc=False):
    """What a Reception says of the session that it came in; the same for all messages of the session."""

    peer_address: PeerAddress
    protocol: str
    session_id: str
    tls: tuple[str | None, str | None, str | None]
    identity: tuple[str, str, str]


class Connection(msgspec.Struct, frozen=True, gc=False):
    """What the events of an attempt say of the connection that it was made on; without one all is None."""

    peer_address: PeerAddress | None = None
    source_address: SourceAddress | None = None
    protocol: str | None = None
    session_id: str | None = None
    tls: tuple[str | None, str | None, str | None] = PLAIN


NO_CONNECTION: Final = Connection()


#: What became of one recipient, by its place in the message: the verdict, the reply, and whether the peer may have taken it all the same.
Result = tuple[int, Verdict, Response, bool]


def derive(record: SpoolRecord, *, node: str, epoch: int) -> list[Event]:
    """The events of a record: one Reception per message, one event per recipient of an attempt, an expiry or a removal, one event per message that an
    order has put elsewhere, per note or quarantined message; none of a message that moved from one of our lanes to another.

    ``node`` names this server and ``epoch`` the configuration in force. The same arguments give equal events.
    """
    if isinstance(record, AttemptRecord):
        envelope = envelope_of(record.message, record.message.size)
        connection = connection_of(record.peer) if record.peer is not None else NO_CONNECTION
        results = [
            (item.recipient, item.verdict, response_of(item.reply, item.command), item.is_uncertain)
            for item in record.outcomes
        ]
        about = (record.time, record.attempts, record.site, record.source)
        return attempt_events(envelope, connection, *about, results, node, epoch)
    if isinstance(record, MessageRecord):
        return [reception_event(envelope_of(record, record.size), client_of(record.reception), node, epoch)]
    if isinstance(record, ExpirationRecord):
        envelope = envelope_of(record.message, record.message.size)
        response = response_of(record.reply, None)
        about_end = (record.time, record.attempts, record.site, record.recipients)
        return expiration_events(envelope, *about_end, response, node, epoch)
    if isinstance(record, RemovalRecord | RebindRecord | FlushRecord):
        return _of_order(record, node, epoch)
    if isinstance(record, MovedRecord):
        return []
    return [note.event_of(record, node, epoch)]


def _of_order(record: OrderRecord, node: str, epoch: int) -> list[Event]:
    envelope = envelope_of(record.message, record.message.size)
    time, attempts, given = record.time, record.attempts, record.order
    match record:
        case RemovalRecord():
            response = response_of(record.reply, None)
            return order.removal_events(
                envelope, time, attempts, record.site, record.recipients, response, given, node, epoch
            )
        case RebindRecord():
            count = len(record.recipients)
            return [order.rebind_event(envelope, time, attempts, count, record.queue, given, node, epoch)]
        case FlushRecord():
            count = len(record.recipients)
            return [order.flush_event(envelope, time, attempts, count, given, node, epoch)]


def encode(events: Iterable[Event]) -> bytes:
    """Events as JSON lines, each ended by a newline; no other octet in them could end a line."""
    return _encode_lines(events)


def client_of(reception: Reception) -> Client:
    """What events say of a client's session."""
    return Client(
        PeerAddress(clean(reception.ehlo_domain, NAME_LIMIT), reception.peer_address),
        reception.protocol,
        reception.session_id,
        tls_of(reception.tls),
        identity_of(reception),
    )


def connection_of(peer: Peer) -> Connection:
    """What events say of a session to a peer."""
    return Connection(
        PeerAddress(clean(peer.name, NAME_LIMIT), peer.address),
        SourceAddress(peer.source_address),
        peer.protocol,
        peer.session_id,
        tls_of(peer.tls),
    )


def reception_event(
    envelope: Envelope, client: Client, node: str, epoch: int
) -> Event:  # hot: benchmarks/events_encode.py
    """The Reception of a message."""
    recipients = envelope.recipients
    return Event(
        "Reception",
        envelope.id,
        envelope.sender,
        recipients[0] if len(recipients) == 1 else recipients,
        envelope.queue,
        "",
        envelope.size,
        _RECEIVED,
        client.peer_address,
        envelope.created,
        envelope.created_time,
        envelope.created,
        envelope.created_time,
        0,
        UNCATEGORIZED,
        None,
        None,
        None,
        None,
        envelope.meta,
        NOTHING,
        None,
        client.protocol,
        node,
        envelope.tenant,
        envelope.campaign,
        envelope.id + "-all-0-Reception",
        epoch,
        0,
        client.session_id,
        False,
        *client.tls,
        *client.identity,
    )


def attempt_events(
    envelope: Envelope,
    connection: Connection,
    time: float,
    attempts: int,
    site: str,
    source: str,
    results: Iterable[Result],
    node: str,
    epoch: int,
) -> list[Event]:  # hot: benchmarks/events_encode.py
    """One event for each recipient of an attempt; ``site`` and ``source`` are "" where there were none. IndexError for a recipient that is none."""
    second, moment = moment_of(time)
    recipients = envelope.recipients
    path = site_of(source, site)
    pool = _POOL if source else None
    identifier = envelope.id
    first = 2 * attempts * len(recipients) + 1
    events = []
    for place, verdict, response, is_uncertain in results:
        kind = _EVENT_TYPES[verdict]
        event_id = f"{identifier}-{place}-{attempts}-{kind}"
        if kind == "TransientFailure":
            event_id = f"{event_id}-{int(time * 1_000_000)}"
        events.append(
            Event(
                kind,
                identifier,
                envelope.sender,
                recipients[place],
                envelope.queue,
                path,
                envelope.size,
                response,
                connection.peer_address,
                second,
                moment,
                envelope.created,
                envelope.created_time,
                attempts,
                UNCATEGORIZED,
                pool,
                source or None,
                connection.source_address,
                None,
                envelope.meta,
                NOTHING,
                connection.protocol,
                envelope.protocol,
                node,
                envelope.tenant,
                envelope.campaign,
                event_id,
                epoch,
                first + place,
                connection.session_id,
                is_uncertain,
                *connection.tls,
            )
        )
    return events


def expiration_events(
    envelope: Envelope,
    time: float,
    attempts: int,
    site: str,
    places: Iterable[int],
    response: Response,
    node: str,
    epoch: int,
) -> list[Event]:
    """One event for each recipient that was given up."""
    event = unconnected("Expiration", envelope, time, attempts, response, node, epoch)
    first = (2 * attempts + 1) * len(envelope.recipients) + 1
    return [
        msgspec.structs.replace(
            event,
            recipient=envelope.recipients[place],
            site=clean(site, SITE_LIMIT),
            event_id=f"{envelope.id}-{place}-{attempts}-Expiration",
            sequence=first + place,
        )
        for place in places
    ]

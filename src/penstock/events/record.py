"""Events made of spool records: the one module that translates to the words of the outside world.

Inside, a recipient's outcome is Accepted, Deferred or Failed, and a message waits for a path of a source to a site; outside, the events
are ``Delivery``, ``TransientFailure`` and ``Bounce``, and ``site`` is the ready queue's name ``source->site_name@smtp_client``.

Events are derived from spool records and from nothing else, so deriving them again gives the same octets: same ids, same times.

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

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from penstock.events.event import Event, EventType, PeerAddress, Response, SourceAddress
from penstock.events.text import clean
from penstock.mail.address import Address
from penstock.mail.records import (
    POLICY_ERROR_LIMIT,
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    MetaValue,
    NoteRecord,
    PolicyErrorRecord,
    Reception,
    RejectionRecord,
    SpoolRecord,
    Verdict,
)
from penstock.mail.reply import Reply
from penstock.mail.tls import TlsFacts

#: The most characters of text that came from a peer. RFC 5321 4.5.3.1: a path has 256 octets, a domain 255, a command line 512.
CONTENT_LIMIT: Final = 2048
_PATH_LIMIT: Final = 320
_NAME_LIMIT: Final = 255
_COMMAND_LIMIT: Final = 512
_SITE_LIMIT: Final = 1024
_SUBJECT_LIMIT: Final = 512

#: The pool of every source until pools can be configured.
_POOL: Final = "unspecified"
_EVENT_TYPES: Final[dict[Verdict, EventType]] = {
    Verdict.ACCEPTED: "Delivery",
    Verdict.DEFERRED: "TransientFailure",
    Verdict.FAILED: "Bounce",
}
_RECEIVED: Final = Response(250, None, "", None)
_NO_META: Final[dict[str, MetaValue]] = {}
_NOTHING: Final[dict[str, str]] = {}
_PLAIN: Final[tuple[str | None, str | None, str | None]] = (None, None, None)
_NOBODY: Final = ("", "", "")
_UNCATEGORIZED: Final = "Uncategorized"
_encode_lines = msgspec.json.Encoder().encode_lines


def derive(record: SpoolRecord, *, node: str, epoch: int) -> list[Event]:  # hot: benchmarks/events_encode.py
    """The events of a record: one Reception per message, one event per recipient of an attempt or an expiry, one Rejection per note.

    ``node`` names this server and ``epoch`` the configuration in force. The same arguments give equal events.
    """
    if isinstance(record, AttemptRecord):
        return _attempt(record, node, epoch)
    if isinstance(record, MessageRecord):
        return [_reception(record, node, epoch)]
    if isinstance(record, ExpirationRecord):
        return _expiration(record, node, epoch)
    if isinstance(record, PolicyErrorRecord):
        return [_policy_error(record, node, epoch)]
    return [_rejection(record, node, epoch)]


def encode(events: Iterable[Event]) -> bytes:
    """Events as JSON lines, each ended by a newline; no other octet in them could end a line."""
    return _encode_lines(events)


def _reception(record: MessageRecord, node: str, epoch: int) -> Event:
    second, moment = _moment(record.created)
    recipients = record.recipients
    reception = record.reception
    queue = record.queue
    identifier = record.id
    return Event(
        "Reception",
        identifier,
        _path(record.reverse_path),
        _path(recipients[0]) if len(recipients) == 1 else tuple([_path(address) for address in recipients]),
        str(queue),
        "",
        len(record.added_header) + len(record.content),
        _RECEIVED,
        PeerAddress(clean(reception.ehlo_domain, _NAME_LIMIT), reception.peer_address),
        second,
        moment,
        second,
        moment,
        0,
        _UNCATEGORIZED,
        None,
        None,
        None,
        None,
        record.meta,
        _NOTHING,
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
        *_tls(reception.tls),
        *_identity(reception),
    )


def _attempt(record: AttemptRecord, node: str, epoch: int) -> list[Event]:
    message = record.message
    second, moment = _moment(record.time)
    created, created_moment = _moment(message.created)
    peer = record.peer
    if peer is None:
        peer_address = source_address = protocol = session = None
        tls = _PLAIN
    else:
        tls = _tls(peer.tls)
        peer_address = PeerAddress(clean(peer.name, _NAME_LIMIT), peer.address)
        source_address = SourceAddress(peer.source_address)
        protocol = peer.protocol
        session = peer.session_id
    source = record.source or None
    identifier = message.id
    sender = _path(message.reverse_path)
    queue = message.queue
    queue_name = str(queue)
    site = _site(record.source, record.site)
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
                _path(message.recipients[place]),
                queue_name,
                site,
                size,
                _response(outcome.reply, outcome.command),
                peer_address,
                second,
                moment,
                created,
                created_moment,
                attempts,
                _UNCATEGORIZED,
                _POOL if source else None,
                source,
                source_address,
                None,
                message.meta,
                _NOTHING,
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
    second, moment = _moment(record.time)
    created, created_moment = _moment(message.created)
    response = _response(record.reply, None)
    first = (2 * record.attempts + 1) * len(message.recipients) + 1
    return [
        Event(
            type="Expiration",
            id=message.id,
            sender=_path(message.reverse_path),
            recipient=_path(message.recipients[place]),
            queue=str(message.queue),
            site=clean(record.site, _SITE_LIMIT),
            size=message.size,
            response=response,
            peer_address=None,
            timestamp=second,
            event_time=moment,
            created=created,
            created_time=created_moment,
            num_attempts=record.attempts,
            bounce_classification=_UNCATEGORIZED,
            egress_pool=None,
            egress_source=None,
            source_address=None,
            feedback_report=None,
            meta=message.meta,
            headers=_NOTHING,
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


def _rejection(record: RejectionRecord, node: str, epoch: int) -> Event:
    return _note(
        "Rejection",
        record,
        node,
        epoch,
        sender=clean(record.reverse_path, _PATH_LIMIT),
        recipient=clean(record.recipient, _PATH_LIMIT),
        response=_response(record.reply, record.command),
    )


def _policy_error(record: PolicyErrorRecord, node: str, epoch: int) -> Event:
    """``command`` is the hook, ``content`` its error: the traceback, if there is one. The code is what the client was told, 0 for nothing."""
    code, enhanced = (record.reply.code, record.reply.enhanced) if record.reply is not None else (0, None)
    response = Response(code, enhanced, clean(record.error, POLICY_ERROR_LIMIT), record.hook)
    return _note("PolicyError", record, node, epoch, sender="", recipient="", response=response)


def _note(
    kind: EventType,
    record: NoteRecord,
    node: str,
    epoch: int,
    *,
    sender: str,
    recipient: str,
    response: Response,
) -> Event:
    """The event of what is no message."""
    second, moment = _moment(record.time)
    reception = record.reception
    cipher, version, subject = _tls(reception.tls)
    authentication_id, authorization_id, proxy_address = _identity(reception)
    return Event(
        type=kind,
        id=record.id,
        sender=sender,
        recipient=recipient,
        queue="",
        site="",
        size=0,
        response=response,
        peer_address=PeerAddress(clean(reception.ehlo_domain, _NAME_LIMIT), reception.peer_address),
        timestamp=second,
        event_time=moment,
        created=second,
        created_time=moment,
        num_attempts=0,
        bounce_classification=_UNCATEGORIZED,
        egress_pool=None,
        egress_source=None,
        source_address=None,
        feedback_report=None,
        meta=_NO_META,
        headers=_NOTHING,
        delivery_protocol=None,
        reception_protocol=reception.protocol,
        nodeid=node,
        tenant=None,
        campaign=None,
        event_id=f"{record.id}-all-0-{kind}",
        config_epoch=epoch,
        sequence=0,
        session_id=reception.session_id,
        tls_cipher=cipher,
        tls_protocol_version=version,
        tls_peer_subject_name=subject,
        authentication_id=authentication_id,
        authorization_id=authorization_id,
        proxy_address=proxy_address,
    )


def _tls(facts: TlsFacts | None) -> tuple[str | None, str | None, str | None]:
    """Cipher, version and the peer's subject."""
    if facts is None:
        return _PLAIN
    subject = clean(facts.peer_subject, _SUBJECT_LIMIT) if facts.peer_subject else None
    return facts.cipher, facts.version, subject


def _identity(reception: Reception) -> tuple[str, str, str]:
    """Who authenticated, whom they act for, and the proxy that passed them on."""
    if not reception.authentication_id:
        return ("", "", reception.proxy_address) if reception.proxy_address else _NOBODY
    return (
        clean(reception.authentication_id, _NAME_LIMIT),
        clean(reception.authorization_id, _NAME_LIMIT),
        reception.proxy_address,
    )


def _response(reply: Reply, command: str | None) -> Response:
    return Response(
        reply.code,
        reply.enhanced,
        clean(reply.text, CONTENT_LIMIT),
        command and clean(command, _COMMAND_LIMIT),
    )


def _path(address: Address | None) -> str:
    return "" if address is None else clean(f"{address.local_part}@{address.domain}", _PATH_LIMIT)


def _site(source: str, site: str) -> str:
    return clean(f"{source}->{site}@smtp_client", _SITE_LIMIT) if site else ""


def _moment(moment: float) -> tuple[int, str]:
    """A time as unix seconds, and as RFC 3339 in UTC with microseconds."""
    second, fraction = divmod(int(moment * 1_000_000), 1_000_000)
    return second, f"{_second(second)}.{fraction:06d}Z"


@lru_cache(maxsize=512)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))

"""Events of what is no message: a rejection, an error of the policy, the spool's health, a directive; and of a message that cannot be read any more.

Their ids are of the record itself, and name the event for good.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.events.event import Event, EventType, PeerAddress, Response
from penstock.events.field import (
    CONTENT_LIMIT,
    NAME_LIMIT,
    NOTHING,
    PATH_LIMIT,
    UNCATEGORIZED,
    identity_of,
    moment_of,
    response_of,
    tls_of,
)
from penstock.events.text import clean
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.records import (
    NO_SESSION,
    POLICY_ERROR_LIMIT,
    DirectiveRecord,
    MetaValue,
    NoteRecord,
    PolicyErrorRecord,
    QuarantineRecord,
    Reception,
    RejectionRecord,
    SpoolHealthRecord,
)

_NO_META: Final[dict[str, MetaValue]] = {}


def event_of(record: NoteRecord | QuarantineRecord, node: str, epoch: int) -> Event:
    """The one event of such a record; see ``penstock.events.record.derive``."""
    if isinstance(record, RejectionRecord):
        return _rejection(record, node, epoch)
    if isinstance(record, PolicyErrorRecord):
        return _policy_error(record, node, epoch)
    if isinstance(record, SpoolHealthRecord):
        return _spool_health(record, node, epoch)
    if isinstance(record, DirectiveRecord):
        return _directive(record, node, epoch)
    return _quarantine(record, node, epoch)


def _rejection(record: RejectionRecord, node: str, epoch: int) -> Event:
    response = response_of(record.reply, record.command)
    event = _of_client("Rejection", record.id, record.time, record.reception, response, node, epoch)
    return msgspec.structs.replace(
        event,
        sender=clean(record.reverse_path, PATH_LIMIT),
        recipient=clean(record.recipient, PATH_LIMIT),
        tenant=record.tenant,
    )


def _policy_error(record: PolicyErrorRecord, node: str, epoch: int) -> Event:
    """``command`` is the hook, ``content`` its error: the traceback, if there is one. The code is what the client was told, 0 for nothing."""
    code, enhanced = (record.reply.code, record.reply.enhanced) if record.reply is not None else (0, None)
    response = Response(code, enhanced, clean(record.error, POLICY_ERROR_LIMIT), record.hook)
    if record.reception == NO_SESSION:
        return bare("PolicyError", record.id, record.time, response, node, epoch)
    return _of_client("PolicyError", record.id, record.time, record.reception, response, node, epoch)


def _of_client(
    kind: EventType,
    identifier: MessageId,
    time: WallTime,
    reception: Reception,
    response: Response,
    node: str,
    epoch: int,
) -> Event:
    """The event of what happened in a client's session."""
    cipher, version, subject = tls_of(reception.tls)
    authentication_id, authorization_id, proxy_address = identity_of(reception)
    return msgspec.structs.replace(
        bare(kind, identifier, time, response, node, epoch),
        peer_address=PeerAddress(clean(reception.ehlo_domain, NAME_LIMIT), reception.peer_address),
        reception_protocol=reception.protocol,
        session_id=reception.session_id,
        tls_cipher=cipher,
        tls_protocol_version=version,
        tls_peer_subject_name=subject,
        authentication_id=authentication_id,
        authorization_id=authorization_id,
        proxy_address=proxy_address,
    )


def _spool_health(record: SpoolHealthRecord, node: str, epoch: int) -> Event:
    """``command`` says what the spool does not do any more, ``content`` why, or what was; the code is what clients are told, 250 for well."""
    refused = ["refusing mail"] if record.is_refusing else []
    paused = ["delivery paused"] if record.is_paused else []
    response = Response(
        452 if record.is_refusing else 250,
        None,
        clean(record.text, CONTENT_LIMIT),
        ", ".join(refused + paused) or "well",
    )
    return bare("SpoolHealth", record.id, record.time, response, node, epoch)


def _directive(record: DirectiveRecord, node: str, epoch: int) -> Event:
    """``command`` is what it does and what became of it, ``content`` what it is about and why; nobody was told anything, so the code is 0."""
    about = f"{record.about}; {record.messages} messages queued; until {moment_of(record.expires)[1]}"
    text = f"{about}: {record.reason}" if record.reason else about
    response = Response(0, None, clean(text, CONTENT_LIMIT), f"{record.action.value} {record.change.value}")
    return msgspec.structs.replace(
        bare("Directive", record.id, record.time, response, node, epoch),
        tenant=record.tenant or None,
        order_id=clean(record.directive, NAME_LIMIT),
        author=clean(record.author, NAME_LIMIT),
    )


def _quarantine(record: QuarantineRecord, node: str, epoch: int) -> Event:
    """``command`` is where the message was, ``content`` what is wrong with it; nobody was told anything, so the code is 0."""
    queue = record.queue
    response = Response(0, None, clean(record.reason, CONTENT_LIMIT), clean(record.place, PATH_LIMIT))
    return msgspec.structs.replace(
        bare("Quarantine", record.id, record.time, response, node, epoch),
        queue=str(queue),
        size=record.size,
        tenant=queue.tenant,
        campaign=queue.campaign,
        num_recipients=record.recipients,
    )


def bare(
    kind: EventType, identifier: str, time: WallTime, response: Response, node: str, epoch: int
) -> Event:
    """An event that is of no message and no session."""
    second, moment = moment_of(time)
    return Event(
        type=kind,
        id=identifier,
        sender="",
        recipient="",
        queue="",
        site="",
        size=0,
        response=response,
        peer_address=None,
        timestamp=second,
        event_time=moment,
        created=second,
        created_time=moment,
        num_attempts=0,
        bounce_classification=UNCATEGORIZED,
        egress_pool=None,
        egress_source=None,
        source_address=None,
        feedback_report=None,
        meta=_NO_META,
        headers=NOTHING,
        delivery_protocol=None,
        reception_protocol="",
        nodeid=node,
        tenant=None,
        campaign=None,
        event_id=f"{identifier}-all-0-{kind}",
        config_epoch=epoch,
        sequence=0,
    )

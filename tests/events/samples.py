"""Spool records to make events of, plain ones: a test says what is special about its own."""

from __future__ import annotations

import msgspec

from penstock.mail.address import Address, ReversePath
from penstock.mail.directive import Action, Order, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    DirectiveChange,
    DirectiveRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    Outcome,
    Peer,
    PolicyErrorRecord,
    QuarantineRecord,
    RebindRecord,
    Reception,
    RejectionRecord,
    RemovalRecord,
    SpoolHealthRecord,
    Verdict,
)
from penstock.mail.reply import Reply, reply

ID = MessageId("0193f5c0a1b27abc8abcdef000000001")
SENDER = Address("sender", "send.example")
CREATED = WallTime(1_763_668_800.25)


def reception(ehlo_domain: str = "client.example") -> Reception:
    """A session of a client at 192.0.2.10."""
    return Reception(
        "ESMTP",
        "192.0.2.10",
        43210,
        ehlo_domain,
        "192.0.2.1:2525",
        "mta.example",
        SessionId("session-in"),
    )


def message(
    *recipients: str,
    reverse_path: ReversePath = SENDER,
    tenant: str | None = "acme",
    campaign: str | None = "spring",
    came: Reception | None = None,
) -> MessageRecord:
    """A message of 5 octets to local parts at dest.example."""
    return MessageRecord(
        id=ID,
        queue=QueueName("dest.example", tenant, campaign),
        reverse_path=reverse_path,
        recipients=tuple(Address(name, "dest.example") for name in recipients or ("one",)),
        added_header=b"A:\r\n",
        content=b"B",
        created=CREATED,
        reception=came or reception(),
    )


def peer(name: str = "mx.dest.example") -> Peer:
    """A session to the destination's host."""
    return Peer(name, "198.51.100.7", 25, "192.0.2.1:50123", SessionId("session-out"))


def outcome(
    verdict: Verdict,
    recipient: int = 0,
    answer: Reply | None = None,
    command: str | None = ".",
    is_uncertain: bool = False,
) -> Outcome:
    """What became of one recipient, with a reply that goes with it."""
    replies = {
        Verdict.ACCEPTED: reply(250, "2.0.0", "OK queued"),
        Verdict.DEFERRED: reply(451, "4.7.1", "later"),
        Verdict.FAILED: reply(550, "5.1.1", "no such user"),
    }
    return Outcome(recipient, verdict, answer or replies[verdict], command, is_uncertain)


def attempt(
    *outcomes: Outcome,
    of: MessageRecord | None = None,
    attempts: int = 1,
    at: float = CREATED + 1,
    site: str = "mx.dest.example",
    source: str = "unspecified",
    to: Peer | None = None,
) -> AttemptRecord:
    """An attempt through a session, one second after the message came, unless said otherwise."""
    return AttemptRecord(
        message=of or message(),
        time=WallTime(at),
        attempts=attempts,
        site=site,
        source=source,
        peer=to,
        outcomes=outcomes,
    )


def expiration(*recipients: int, of: MessageRecord | None = None, attempts: int = 3) -> ExpirationRecord:
    """Recipients given up an hour after the message came."""
    return ExpirationRecord(
        message=of or message(),
        time=WallTime(CREATED + 3600),
        attempts=attempts,
        site="mx.dest.example",
        recipients=recipients or (0,),
        reply=reply(551, "5.4.7", "Penstock internal: the message expired"),
    )


def order(action: SweepAction, *, suppress_logging: bool = False) -> Order:
    """Somebody's."""
    return Order("d-17", action, "complaints", "ann", suppress_logging=suppress_logging)


def removal(
    *recipients: int,
    of: MessageRecord | None = None,
    attempts: int = 1,
    action: SweepAction = SweepAction.BOUNCE,
    suppress_logging: bool = False,
) -> RemovalRecord:
    """Recipients taken out by an order, a minute after the message came."""
    given = order(action, suppress_logging=suppress_logging)
    answer = reply(551, "5.7.1", "Penstock internal: bounced by an administrator: complaints")
    time = WallTime(CREATED + 60)
    return RemovalRecord(
        of or message(), time, attempts, "mx.dest.example", recipients or (0,), answer, given
    )


def rebind(
    *recipients: int,
    of: MessageRecord | None = None,
    to: str | None = "beta",
    attempts: int = 1,
    suppress_logging: bool = False,
) -> RebindRecord:
    """A message put into another tenant's queue, ten seconds after it came."""
    sent, time = of or message(), WallTime(CREATED + 10)
    queue = QueueName(sent.queue.domain, to)
    given = order(SweepAction.REBIND, suppress_logging=suppress_logging)
    return RebindRecord(sent, time, attempts, recipients or (0,), queue, time, given)


def flush(
    *recipients: int, of: MessageRecord | None = None, attempts: int = 1, suppress_logging: bool = False
) -> FlushRecord:
    """A message that is tried now, twenty seconds after it came."""
    time = WallTime(CREATED + 20)
    given = order(SweepAction.FLUSH, suppress_logging=suppress_logging)
    return FlushRecord(of or message(), time, attempts, recipients or (0,), time, given)


def in_queue(sent: MessageRecord, queue: QueueName) -> MessageRecord:
    """A message there."""
    return msgspec.structs.replace(sent, queue=queue)


def directive(change: DirectiveChange = DirectiveChange.GIVEN) -> DirectiveRecord:
    """A suspension of a tenant."""
    return DirectiveRecord(
        ID, CREATED, change, "d-18", Action.SUSPEND, "tenant acme", "complaints", "ann",
        WallTime(CREATED + 300), 1200, "acme",
    )  # fmt: skip


def policy_error(
    answer: Reply | None = None, error: str = "on_rcpt raised KeyError", came: Reception | None = None
) -> PolicyErrorRecord:
    """A hook that has failed, and what the client was told for it."""
    return PolicyErrorRecord(ID, CREATED, came or reception(), "on_rcpt", error, answer)


def rejection(
    answer: Reply | None = None,
    command: str = "RCPT",
    reverse_path: str = "sender@send.example",
    recipient: str = "one@dest.example",
    came: Reception | None = None,
    tenant: str | None = None,
) -> RejectionRecord:
    """A recipient refused."""
    return RejectionRecord(
        id=ID,
        time=CREATED,
        reception=came or reception(),
        reply=answer or reply(550, "5.7.1", "relaying not permitted"),
        command=command,
        reverse_path=reverse_path,
        recipient=recipient,
        tenant=tenant,
    )


def quarantine(recipients: int = 2, reason: str = "its checksum is not right") -> QuarantineRecord:
    """A message of acme that could not be read back."""
    return QuarantineRecord(
        ID,
        CREATED,
        QueueName("dest.example", "acme", "spring"),
        recipients,
        5,
        "segment 7, offset 4096",
        reason,
    )


def spool_health(
    is_refusing: bool = True, is_paused: bool = False, text: str = "no space left"
) -> SpoolHealthRecord:
    """The spool has fallen ill."""
    return SpoolHealthRecord(ID, CREATED, is_refusing, is_paused, text)

"""Spool records to make events of, plain ones: a test says what is special about its own."""

from __future__ import annotations

from penstock.mail.address import Address, ReversePath
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    Outcome,
    Peer,
    PolicyErrorRecord,
    QuarantineRecord,
    Reception,
    RejectionRecord,
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

"""What every spool must do (``penstock.mail.ports.Spool``), as functions of a fresh spool and of the records that it has shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.mail.address import Address
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.ports import Spool, SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    Outcome,
    Reception,
    RejectionRecord,
    SpoolRecord,
    Verdict,
)
from penstock.mail.reply import Reply

Check = Callable[[Spool, list[SpoolRecord]], None]
RECEPTION = Reception("ESMTP", "127.0.0.1", 1, "c.test", "127.0.0.1:25", "mta.test", SessionId("s"))
REPLY = Reply(250, None, "OK")


def message(number: int, recipients: int = 1) -> MessageRecord:
    """A message of its own."""
    return MessageRecord(
        MessageId(f"{number:032x}"),
        QueueName("a.test"),
        Address("s", "from.test"),
        tuple(Address(str(index), "a.test") for index in range(recipients)),
        b"Received: x\r\n",
        b"Subject: %d\r\n\r\nbody\r\n" % number,
        WallTime(1.0),
        RECEPTION,
    )


def attempt(record: MessageRecord, attempts: int, *verdicts: tuple[int, Verdict]) -> AttemptRecord:
    """An attempt with these verdicts by recipient."""
    outcomes = tuple(Outcome(recipient, item, REPLY, "DATA") for recipient, item in verdicts)
    return AttemptRecord(record, WallTime(2.0), attempts, "mx.a.test", "unspecified", None, outcomes)


def what_is_committed_can_be_read(spool: Spool, shown: list[SpoolRecord]) -> None:
    """Every message by its position, with nobody settled and no attempt spent; positions are not shared."""
    records = [message(number, recipients=number + 1) for number in range(5)]
    positions = [spool.append(record) for record in records]
    faults: list[SpoolError | None] = []
    spool.commit(faults.append)
    assert faults == [None]
    assert len(set(positions)) == len(positions) == len(spool)
    for position, record in zip(positions, records, strict=True):
        stored = spool.read(position)
        assert stored.record == record
        assert stored.waiting == tuple(range(len(record.recipients)))
        assert stored.attempts == 0
    assert shown == records


def recipients_are_settled_one_by_one(spool: Spool, shown: list[SpoolRecord]) -> None:
    """Accepted and Failed leave; Deferred waits, with the attempt counted; the last one frees the position."""
    record = message(1, recipients=3)
    position = spool.append(record)
    spool.commit(lambda fault: None)
    verdicts = ((0, Verdict.ACCEPTED), (1, Verdict.DEFERRED), (2, Verdict.FAILED))
    spool.record_attempt(position, attempt(record, 1, *verdicts))
    assert spool.read(position).waiting == (1,)
    assert spool.read(position).attempts == 1
    spool.record_attempt(position, attempt(record, 2, (1, Verdict.ACCEPTED)))
    assert len(spool) == 0
    with pytest.raises(SpoolError):
        spool.read(position)
    assert [type(item) for item in shown] == [MessageRecord, AttemptRecord, AttemptRecord]


def expiry_settles_too(spool: Spool, shown: list[SpoolRecord]) -> None:
    """The recipients that were given up are gone, the others are as they were."""
    record = message(1, recipients=2)
    position = spool.append(record)
    spool.commit(lambda fault: None)
    spool.record_expiration(position, ExpirationRecord(record, WallTime(3.0), 4, "", (0,), REPLY))
    assert spool.read(position).waiting == (1,)
    spool.record_expiration(position, ExpirationRecord(record, WallTime(3.0), 4, "", (1,), REPLY))
    assert len(spool) == 0


def notes_are_shown_and_not_kept(spool: Spool, shown: list[SpoolRecord]) -> None:
    """A rejection is no message."""
    note = RejectionRecord(
        MessageId("0" * 32), WallTime(1.0), RECEPTION, Reply(550, None, "no"), "RCPT", "", ""
    )
    spool.note(note)
    assert shown == [note]
    assert len(spool) == 0


def what_is_not_there_cannot_be_read(spool: Spool, shown: list[SpoolRecord]) -> None:
    """A position that was never given is a SpoolError, not somebody's mail."""
    with pytest.raises(SpoolError):
        spool.read(12345)


CHECKS: tuple[Check, ...] = (
    what_is_committed_can_be_read,
    recipients_are_settled_one_by_one,
    expiry_settles_too,
    notes_are_shown_and_not_kept,
    what_is_not_there_cannot_be_read,
)

"""What every spool must do (``penstock.mail.ports.Spool``), as coroutines of a fresh spool and of what it has shown.

``Trial`` holds both, and waits: a spool answers at once or later. Spools whose disk can fail are tried for that elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest

from penstock.mail.address import Address
from penstock.mail.directive import Order, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.ports import LogPosition, Spool, SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    Outcome,
    RebindRecord,
    Reception,
    RejectionRecord,
    RemovalRecord,
    SpoolRecord,
    StoredMessage,
    Verdict,
)
from penstock.mail.reply import Reply

RECEPTION = Reception("ESMTP", "127.0.0.1", 1, "c.test", "127.0.0.1:25", "mta.test", SessionId("s"))
REPLY = Reply(250, None, "OK")
ORDER = Order("d1", SweepAction.DELETE, "why not")


class Trial:
    """A spool on trial. ``make`` makes it, given its ``on_stored``."""

    def __init__(self, make: Callable[[Callable[[Sequence[SpoolRecord], LogPosition], None]], Spool]) -> None:
        self.shown: list[SpoolRecord] = []
        self.positions: list[LogPosition] = []
        self.spool = make(self._on_stored)

    def _on_stored(self, records: Sequence[SpoolRecord], position: LogPosition) -> None:
        self.shown += records
        self.positions.append(position)

    async def store(self, *records: MessageRecord) -> Sequence[int]:
        """Store the messages of a transaction; their positions."""
        answer: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()

        def done(positions: Sequence[int], fault: SpoolError | None) -> None:
            assert fault is None
            answer.set_result(positions)

        self.spool.store(records, done)
        return await answer

    async def fetch(self, position: int) -> StoredMessage | SpoolError:
        """What comes of a fetch; it must not come from inside the call."""
        answer: asyncio.Future[StoredMessage | SpoolError] = asyncio.get_running_loop().create_future()
        self.spool.fetch(position, answer.set_result)
        assert not answer.done()
        return await answer

    async def read(self, position: int) -> StoredMessage:
        """The message, as whoever delivers it has it: at once if it is in memory, and the same from the disk."""
        fetched = await self.fetch(position)
        assert isinstance(fetched, StoredMessage)
        assert self.spool.get(position) in (fetched, None)
        return fetched

    async def until_shown(self, count: int) -> list[SpoolRecord]:
        """All that was shown, once it is so much."""
        for _ in range(1000):
            if len(self.shown) >= count:
                break
            await asyncio.sleep(0)
        assert len(self.shown) == count
        assert self.positions == sorted(set(self.positions)), "places that do not ascend"
        return self.shown


Check = Callable[[Trial], Awaitable[None]]


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


async def what_is_stored_can_be_read(trial: Trial) -> None:
    """Every message by its position, with nobody settled and no attempt spent; positions are not shared."""
    records = [message(number, recipients=number + 1) for number in range(5)]
    positions = [position for record in records for position in await trial.store(record)]
    assert len(set(positions)) == len(positions) == len(trial.spool)
    for position, record in zip(positions, records, strict=True):
        stored = await trial.read(position)
        assert stored.record == record
        assert stored.waiting == tuple(range(len(record.recipients)))
        assert stored.attempts == 0
    assert await trial.until_shown(5) == records


async def a_transaction_is_stored_whole(trial: Trial) -> None:
    """Its messages have positions of their own, in their order, and are shown together."""
    content = b"Subject: x\r\n\r\n" + b"body\r\n" * 1000
    parts = [
        msgspec.structs.replace(message(number, recipients=2), content=content, queue=QueueName(domain))
        for number, domain in enumerate(("a.test", "b.test", "c.test"))
    ]
    positions = await trial.store(*parts)
    assert [(await trial.read(position)).record for position in positions] == parts
    assert await trial.until_shown(3) == parts
    assert len(trial.positions) == 1


async def recipients_are_settled_one_by_one(trial: Trial) -> None:
    """Accepted and Failed leave; Deferred waits, with the attempt counted; the last one frees the position."""
    spool, record = trial.spool, message(1, recipients=3)
    (position,) = await trial.store(record)
    verdicts = ((0, Verdict.ACCEPTED), (1, Verdict.DEFERRED), (2, Verdict.FAILED))
    spool.record_attempt(position, attempt(record, 1, *verdicts))
    stored = await trial.read(position)
    assert (stored.waiting, stored.attempts) == ((1,), 1)
    spool.record_attempt(position, attempt(record, 2, (1, Verdict.ACCEPTED)))
    assert len(spool) == 0
    await is_gone(trial, position)
    shown = await trial.until_shown(3)
    assert [type(item) for item in shown] == [MessageRecord, AttemptRecord, AttemptRecord]


async def expiry_settles_too(trial: Trial) -> None:
    """The recipients that were given up are gone, the others are as they were."""
    spool, record = trial.spool, message(1, recipients=2)
    (position,) = await trial.store(record)
    spool.record_expiration(position, ExpirationRecord(record, WallTime(3.0), 4, "", (0,), REPLY))
    assert (await trial.read(position)).waiting == (1,)
    spool.record_expiration(position, ExpirationRecord(record, WallTime(3.0), 4, "", (1,), REPLY))
    assert len(spool) == 0
    await is_gone(trial, position)


async def what_an_order_takes_out_is_settled(trial: Trial) -> None:
    """The recipients are gone, the others are as they were."""
    spool, record = trial.spool, message(1, recipients=2)
    (position,) = await trial.store(record)
    spool.record_removal(position, RemovalRecord(record, WallTime(3.0), 0, "", (1,), REPLY, ORDER))
    assert (await trial.read(position)).waiting == (0,)
    spool.record_removal(position, RemovalRecord(record, WallTime(3.0), 0, "", (0,), REPLY, ORDER))
    assert len(spool) == 0
    await is_gone(trial, position)
    await trial.until_shown(3)


async def a_message_is_read_with_the_queue_that_an_order_has_put_it_into(trial: Trial) -> None:
    """All else of it is as it was; that it is due is shown, and no more."""
    spool, record = trial.spool, message(1)
    (position,) = await trial.store(record)
    queue = QueueName("a.test", "shop", "spring", "b.test")
    rebind = RebindRecord(record, WallTime(3.0), 0, (0,), queue, None, ORDER)
    flush = FlushRecord(record, WallTime(4.0), 0, (0,), WallTime(4.0), ORDER)
    spool.record_rebind(position, rebind)
    spool.record_flush(position, flush)
    stored = await trial.read(position)
    assert stored == StoredMessage(msgspec.structs.replace(record, queue=queue), (0,), 0)
    assert await trial.until_shown(3) == [record, rebind, flush]


async def notes_are_shown_and_not_kept(trial: Trial) -> None:
    """A rejection is no message."""
    note = RejectionRecord(
        MessageId("0" * 32), WallTime(1.0), RECEPTION, Reply(550, None, "no"), "RCPT", "", ""
    )
    trial.spool.note(note)
    assert await trial.until_shown(1) == [note]
    assert len(trial.spool) == 0


async def what_is_not_there_cannot_be_read(trial: Trial) -> None:
    """A position that was never given is a SpoolError, not somebody's mail."""
    await is_gone(trial, 12345)


async def a_spool_that_is_well_says_so(trial: Trial) -> None:
    """There is room, and outcomes can be recorded; that being so, nobody is called."""
    calls: list[None] = []
    trial.spool.watch(lambda: calls.append(None))
    await trial.store(message(1))
    assert trial.spool.has_room()
    assert trial.spool.can_record()
    assert not calls


async def is_gone(trial: Trial, position: int) -> None:
    """Nothing is stored there: SpoolError, however it is asked for."""
    with pytest.raises(SpoolError):
        trial.spool.get(position)
    assert isinstance(await trial.fetch(position), SpoolError)


CHECKS: tuple[Check, ...] = (
    what_is_stored_can_be_read,
    a_transaction_is_stored_whole,
    recipients_are_settled_one_by_one,
    expiry_settles_too,
    what_an_order_takes_out_is_settled,
    a_message_is_read_with_the_queue_that_an_order_has_put_it_into,
    notes_are_shown_and_not_kept,
    what_is_not_there_cannot_be_read,
    a_spool_that_is_well_says_so,
)

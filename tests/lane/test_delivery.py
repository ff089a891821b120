"""One message on a connection: what each of its transactions is given."""

from __future__ import annotations

import pytest

from penstock.lane.delivery import RECIPIENTS_PER_TRANSACTION, Delivery
from penstock.mail.address import Address
from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, Reception, StoredMessage
from penstock.net.clock import SystemClock
from penstock.queueing.queues import Path
from penstock.queueing.rows import Rows
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route
from penstock.smtp.transmission import Transmission
from penstock.spool.memory import MemorySpool

RECEPTION = Reception("ESMTP", "192.0.2.1", 4711, "client.test", "127.0.0.1:25", "mta.test", SessionId("s"))


def transmissions(recipients: int, waiting: tuple[int, ...], dsn: EnvelopeDsn | None) -> list[Transmission]:
    """The transactions for those of so many recipients that still wait."""
    record = MessageRecord(
        MessageId("m"),
        QueueName("to.test"),
        None,
        tuple(Address(f"user{index}", "to.test") for index in range(recipients)),
        b"",
        b"x\r\n",
        WallTime(0.0),
        RECEPTION,
        dsn=dsn,
    )
    scheduler = Scheduler(lambda name: QueueConfig(), lambda site: PathConfig())
    row = scheduler.add(record.queue, 1, record.size, created=WallTime(0.0), now=WallTime(0.0))
    route = Route("mx.test", (Exchange(0, "mx.test"),), MonotonicTime(1.0))
    path = Path(Rows(), [], "unspecified", route, PathConfig())
    spool = MemorySpool(lambda records, position: None)
    delivery = Delivery(
        scheduler, spool, SystemClock(), lambda: 0.5, path, row, StoredMessage(record, waiting, 0)
    )
    found = []
    while (transmission := delivery.next_transmission()) is not None:
        found.append(transmission)
    return found


def asked(index: int) -> RecipientDsn:
    """What was asked for a recipient, by its number."""
    return RecipientDsn(("FAILURE",), f"rfc822;user{index}@to.test")


@pytest.mark.parametrize(
    ("recipients", "waiting"),
    [(3, (0, 1, 2)), (3, (0, 2)), (1, (0,)), (250, tuple(range(250))), (250, tuple(range(1, 250, 2)))],
)
def test_each_recipient_takes_what_was_asked_for_it(recipients: int, waiting: tuple[int, ...]) -> None:
    """Also where some have had their outcome, and where there are more than one transaction takes."""
    dsn = EnvelopeDsn("HDRS", "id", tuple(asked(index) for index in range(recipients)))
    seen: list[str] = []
    for transmission in transmissions(recipients, waiting, dsn):
        assert len(transmission.recipients) <= RECIPIENTS_PER_TRANSACTION
        assert transmission.dsn is not None
        assert (transmission.dsn.ret, transmission.dsn.envelope_id) == ("HDRS", "id")
        assert len(transmission.dsn.recipients) == len(transmission.recipients)
        for address, of_it in zip(transmission.recipients, transmission.dsn.recipients, strict=True):
            assert of_it.original == f"rfc822;{address}"
            seen.append(address.local_part)
    assert seen == [f"user{index}" for index in waiting]


@pytest.mark.parametrize("dsn", [None, EnvelopeDsn("FULL", "id")])
def test_what_was_asked_for_no_recipient_is_asked_for_none(dsn: EnvelopeDsn | None) -> None:
    """RET and ENVID alone are the message's."""
    for transmission in transmissions(150, tuple(range(0, 150, 2)), dsn):
        assert transmission.dsn == dsn

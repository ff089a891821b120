"""Questions about queued mail, and orders about one message, in a worker that a test has at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path

import pytest

from penstock.ipc.bus import BusFault
from penstock.ipc.order_words import (
    CONTENT_AT_ONCE,
    LaneExplained,
    LaneMessageExplain,
    LaneMessageOrder,
    LaneMessageShow,
    LaneMessageShown,
    LaneQueueExplain,
    LaneSurveyAsk,
)
from penstock.mail.directive import Criteria, Order, SweepAction
from penstock.mail.ids import MessageId
from penstock.mail.queue_name import QueueName
from penstock.mail.survey import Grouping
from penstock.queueing import sweeping
from penstock.worker.inquiries import Inquiries
from tests.system.harness import World, until, world

CONTENT = b"Subject: x\r\nX-Tenant: acme\r\n\r\nbody\r\n"
QUEUE = QueueName("dead.test", "acme")
NOBODY = MessageId("0" * 12 + "7" + "0" * 19)


def run(work: Coroutine[object, object, None]) -> None:
    """In a loop of its own."""
    asyncio.run(work)


async def queued(made: World, content: bytes = CONTENT) -> MessageId:
    """A message that nobody takes; its id."""
    reply = await made.send(["one@dead.test", "two@dead.test"], content)
    (identity,) = reply.rpartition("ids=")[2].split()[:1]
    return MessageId(identity.rstrip(","))


def test_a_message_is_found_by_its_id_among_others(tmp_path: Path) -> None:
    """Wherever it is: in memory, or after a restart on the disk alone. One that is not queued is not found."""

    async def look(made: World, ids: list[MessageId]) -> None:
        inquiries = Inquiries(lambda: made.worker)
        for identity in ids:
            shown = await inquiries.show(LaneMessageShow(identity))
            assert (shown.queue, shown.sender) == (str(QUEUE), "sender@from.test")
            assert shown.waiting == ("one@dead.test", "two@dead.test")
            assert (shown.recipients, shown.attempts, shown.state) == (2, 0, "due")
            assert shown.expires is not None and shown.expires > shown.created
        assert await inquiries.show(LaneMessageShow(NOBODY)) == LaneMessageShown()
        assert await inquiries.show(LaneMessageShow(MessageId(ids[0][:-1] + "f"))) == LaneMessageShown()

    async def scene() -> None:
        async with world(tmp_path) as made:
            ids = [await queued(made) for _ in range(5)]
            ids.append(await queued(made, CONTENT + b"0123456789abcdef\r\n" * 20_000))
            await look(made, ids)
        async with world(tmp_path) as made:
            await made.worker.recovered.wait()
            await look(made, ids)
            assert made.worker.spool.counts.fetches

    run(scene())


def test_a_message_is_read_in_pieces_as_it_would_be_sent(tmp_path: Path) -> None:
    """With what was added in front of it."""

    async def scene() -> None:
        async with world(tmp_path) as made:
            inquiries = Inquiries(lambda: made.worker)
            content = CONTENT + b"0123456789abcdef\r\n" * 250_000
            identity = await queued(made, content)
            pieces = [(await inquiries.show(LaneMessageShow(identity, 0))).content]
            assert len(pieces[0]) == CONTENT_AT_ONCE
            shown = await inquiries.show(LaneMessageShow(identity, CONTENT_AT_ONCE))
            whole = pieces[0] + shown.content
            assert len(whole) == shown.size
            assert whole.startswith(b"Received: ") and whole.endswith(content.partition(b"\r\n\r\n")[2])
            assert (await inquiries.show(LaneMessageShow(identity, shown.size))).content == b""

    run(scene())


def test_reasons_are_told_of_queues_and_messages(tmp_path: Path) -> None:
    """What holds is among them; a queue without mail has none."""

    async def scene() -> None:
        async with world(tmp_path) as made:
            inquiries = Inquiries(lambda: made.worker)
            identity = await queued(made)
            await until(lambda: not made.worker.lane.connections and _is_held(made), "the path is held")
            of_queue = inquiries.explain_queue(LaneQueueExplain(QUEUE))
            of_message = await inquiries.explain_message(LaneMessageExplain(identity))
            assert (of_queue.queue, of_queue.state) == (str(QUEUE), "1 due")
            assert (of_message.queue, of_message.state) == (str(QUEUE), "due")
            for explained in (of_queue, of_message):
                assert "connection" in [reason.gate for reason in explained.reasons if reason.is_holding]
            assert inquiries.explain_queue(LaneQueueExplain(QueueName("dead.test"))) == LaneExplained()
            assert await inquiries.explain_message(LaneMessageExplain(NOBODY)) == LaneExplained()

    run(scene())


def _is_held(made: World) -> bool:
    return any(path.hold is not None for path in made.worker.lane.scheduler.paths.values())


def test_an_order_about_one_message_is_about_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as it was before. Too many at a time are refused."""

    async def scene() -> None:
        async with world(tmp_path) as made:
            inquiries = Inquiries(lambda: made.worker)
            first, second = [await queued(made) for _ in range(2)]
            shown = await inquiries.order(
                LaneMessageOrder(first, Order("1", SweepAction.DELETE, "spam", "ann"))
            )
            assert shown.state == "due"
            await until(lambda: len(made.worker.lane.scheduler) == 1, "it is gone")
            assert await inquiries.show(LaneMessageShow(first)) == LaneMessageShown()
            assert (await inquiries.show(LaneMessageShow(second))).state == "due"
            await until(lambda: made.worker.tally.total.queued == 2, "that is counted")
            again = await inquiries.order(LaneMessageOrder(first, Order("2", SweepAction.DELETE, "")))
            assert again == LaneMessageShown()
            monkeypatch.setattr(sweeping, "SWEEPS_LIMIT", 0)
            with pytest.raises(BusFault, match="under way"):
                await inquiries.order(LaneMessageOrder(second, Order("3", SweepAction.DELETE, "")))

    run(scene())


def test_counts_have_rates_where_they_are_known(tmp_path: Path) -> None:
    """Of all mail and of tenants; not of anything narrower."""

    async def scene() -> None:
        async with world(tmp_path) as made:
            inquiries = Inquiries(lambda: made.worker)
            await queued(made)
            await until(lambda: made.worker.tenant_rate("acme") is not None, "a rate")
            counted = (await inquiries.survey(LaneSurveyAsk(Criteria(), Grouping.TENANT, 5))).survey
            (group,) = counted.groups
            assert (group.name, group.messages, group.rate, counted.total.rate) == ("acme", 1, 0.0, 0.0)
            narrow = Criteria(tenant="acme", domain="dead.test")
            counted = (await inquiries.survey(LaneSurveyAsk(narrow, Grouping.TENANT, 5))).survey
            assert (counted.total.messages, counted.total.rate) == (1, None)

    run(scene())

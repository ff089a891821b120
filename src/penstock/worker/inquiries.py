"""Questions about queued mail, and orders about single messages, answered by the lane that has it.

What concerns many queues or rows is done in steps, between which the loop does what else there is.

Nobody keeps a map of ids, nor of positions: the spool looks for a message by its id, and its row is looked for then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

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
    LaneSurveyed,
)
from penstock.mail.directive import Criteria
from penstock.mail.ids import MessageId
from penstock.mail.ports import SpoolError
from penstock.mail.records import StoredMessage
from penstock.mail.survey import Group, Grouping, Survey
from penstock.queueing.instants import time_of
from penstock.queueing.queues import ScheduledQueue
from penstock.queueing.rows import FREE, IN_FLIGHT, READY, WAITING

if TYPE_CHECKING:
    from penstock.worker.worker import Worker

#: Queues that are counted, and rows that are looked at, before anybody looks at the time; and how long the loop may be kept for it.
_QUEUES_AT_ONCE: Final = 250
_SLICE: Final = 0.003
_ROWS_AT_ONCE: Final = 20_000
_STATES: Final = {
    WAITING: "waiting for its time",
    READY: "due",
    IN_FLIGHT: "being delivered",
}


class _Found(NamedTuple):
    row: int
    stored: StoredMessage


class Inquiries:
    """See the module. ``running`` gives the worker, or raises BusFault."""

    def __init__(self, running: Callable[[], Worker]) -> None:
        self._running = running

    def handlers(self) -> dict[type, Callable[[Any], Any]]:
        """What is done about the words of the supervisor."""
        return {
            LaneSurveyAsk: self.survey,
            LaneQueueExplain: self.explain_queue,
            LaneMessageExplain: self.explain_message,
            LaneMessageShow: self.show,
            LaneMessageOrder: self.order,
        }

    # -- queues

    async def survey(self, word: LaneSurveyAsk) -> LaneSurveyed:
        """Count, and say how fast it goes where that is known."""
        worker = self._running()
        surveying = worker.lane.scheduler.survey(word.criteria, word.by, word.limit)
        begun = worker.clock.monotonic()
        while surveying.step(_QUEUES_AT_ONCE):
            if worker.clock.monotonic() - begun > _SLICE:
                await asyncio.sleep(0)
                begun = worker.clock.monotonic()
        return LaneSurveyed(_rated(worker, word, surveying.result()))

    def explain_queue(self, word: LaneQueueExplain) -> LaneExplained:
        """What the gates say of a queue; of one without mail nothing."""
        worker = self._running()
        scheduler = worker.lane.scheduler
        queue = scheduler.queues.get(word.name)
        if queue is None or not len(queue):
            return LaneExplained()
        reasons = scheduler.explain_queue(queue, worker.clock.wall())
        return LaneExplained(str(queue.name), _standing(queue), reasons)

    # -- messages

    async def explain_message(self, word: LaneMessageExplain) -> LaneExplained:
        """What the gates say of a message."""
        worker = self._running()
        found = await self._find(worker, word.id)
        if found is None:
            return LaneExplained()
        scheduler, row = worker.lane.scheduler, found.row
        reasons = scheduler.explain_row(row, worker.clock.wall())
        return LaneExplained(str(scheduler.queue_of(row).name), _state(worker, row), reasons)

    async def show(self, word: LaneMessageShow) -> LaneMessageShown:
        """A message, and part of its content."""
        worker = self._running()
        found = await self._find(worker, word.id)
        return LaneMessageShown() if found is None else _shown(worker, found, word.offset)

    async def order(self, word: LaneMessageOrder) -> LaneMessageShown:
        """Do something to a message; it as it was before. BusFault if too much is under way."""
        worker = self._running()
        found = await self._find(worker, word.id)
        if found is None:
            return LaneMessageShown()
        shown = _shown(worker, found, None)
        try:
            worker.lane.scheduler.order(found.row, word.order)
        except ValueError as error:
            raise BusFault(str(error)) from error
        worker.lane.work_done()
        return shown

    async def _find(self, worker: Worker, identity: MessageId) -> _Found | None:
        position = await _position(worker, identity)
        if position is None:
            return None
        looking = worker.lane.scheduler.find(position)
        while looking.step(_ROWS_AT_ONCE):  # noqa: ASYNC110  # it is work, not waiting
            await asyncio.sleep(0)
        row = looking.row
        if row is None:
            return None
        stored = await _read(worker, position)
        rows = worker.lane.scheduler.rows
        is_there = rows.state[row] != FREE and rows.position[row] == position
        # what was settled meanwhile may have left its position to another
        return (
            _Found(row, stored) if is_there and stored is not None and stored.record.id == identity else None
        )


async def _position(worker: Worker, identity: MessageId) -> int | None:
    """Where a message is in the spool; None if it is not queued. BusFault if nobody can say."""
    answer: asyncio.Future[int | SpoolError | None] = asyncio.get_running_loop().create_future()

    def done(found: int | SpoolError | None) -> None:
        if not answer.done():
            answer.set_result(found)

    worker.spool.find(identity, done)
    found = await answer
    if isinstance(found, SpoolError):
        raise BusFault(f"the spool cannot be read: {found}")
    return found


async def _read(worker: Worker, position: int) -> StoredMessage | None:
    """A message from memory, or from the disk; None if it is gone, or cannot be read."""
    try:
        stored = worker.spool.get(position)
    except SpoolError:
        return None
    if stored is not None:
        return stored
    answer: asyncio.Future[StoredMessage | SpoolError] = asyncio.get_running_loop().create_future()

    def done(found: StoredMessage | SpoolError) -> None:
        if not answer.done():
            answer.set_result(found)

    worker.spool.fetch(position, done)
    found = await answer
    return None if isinstance(found, SpoolError) else found


def _shown(worker: Worker, found: _Found, offset: int | None) -> LaneMessageShown:
    scheduler, row = worker.lane.scheduler, found.row
    rows, record = scheduler.rows, found.stored.record
    content = b""
    if offset is not None:
        content = (record.added_header + record.content)[offset : offset + CONTENT_AT_ONCE]
    return LaneMessageShown(
        str(scheduler.queue_of(row).name),
        str(record.reverse_path or ""),
        tuple([str(record.recipients[index]) for index in found.stored.waiting]),
        len(record.recipients),
        record.size,
        record.created,
        rows.attempts[row],
        _state(worker, row),
        time_of(rows.wake[row]) if rows.state[row] == WAITING else None,
        time_of(rows.expires[row]),
        dict(record.meta),
        content,
    )


def _state(worker: Worker, row: int) -> str:
    return _STATES.get(worker.lane.scheduler.rows.state[row], "about to be taken out, or changed")


def _standing(queue: ScheduledQueue) -> str:
    """How many messages of a queue stand how, in words."""
    waiting = f"waiting for {'its' if queue.waiting == 1 else 'their'} time"
    counts = ((queue.ready, "due"), (queue.waiting, waiting), (queue.in_flight, "in flight"))
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def _rated(worker: Worker, word: LaneSurveyAsk, found: Survey) -> Survey:
    """With the rates of tenants, if nothing narrows it further, and of the whole."""
    tenant = word.criteria.tenant
    if word.criteria != Criteria(tenant=tenant):
        return found
    rate = worker.rates().delivered if tenant is None else worker.tenant_rate(tenant or None)
    groups = found.groups
    if word.by is Grouping.TENANT:
        groups = tuple(_with(group, worker.tenant_rate(group.name or None)) for group in groups)
    return msgspec.structs.replace(found, total=_with(found.total, rate), groups=groups)


def _with(group: Group, rate: float | None) -> Group:
    return msgspec.structs.replace(group, rate=rate)

"""Mistakes about what orders do to mail, and about schedules."""

from __future__ import annotations

import math
from typing import Any, Final
from unittest import mock

import msgspec

from penstock.spool import queued as queued_module
from penstock.spool.frame import VERSION, FrameType
from penstock.spool.index import Index
from penstock.spool.log import SpoolLog
from penstock.spool.meaning import Meaning
from penstock.spool.orders import Removal
from penstock.spool.queued import Queued
from penstock.spool.reclaim import Reclaim
from penstock.spool.restart import Restart
from tests.spool.campaign.mutations.mutation import Mistakes, Patch, nothing, replaced

MISTAKES: Final = Mistakes()
STORY: Final = "orders about queued mail"


@MISTAKES.take("a message stays in its queue whatever an order says", STORY)
def _not_rebound() -> Patch:
    return mock.patch.object(Queued, "rebind", nothing)


@MISTAKES.take("a copy has the queue that its message was accepted for", STORY)
def _copied_back() -> Patch:
    return mock.patch.object(Reclaim, "_in_its_queue", lambda _self, _row, record: record)


@MISTAKES.take("a copy has no schedule", STORY)
def _copied_untimed() -> Patch:
    def without(original: Any, self: Any, row: int, record: Any) -> Any:
        return msgspec.structs.replace(original(self, row, record), schedule=None)

    return replaced(Reclaim, "_in_its_queue", without)


@MISTAKES.take("an outcome does not say in which queue its message was", STORY)
def _no_queue() -> Patch:
    def record(_original: Any, self: Any, row: int, record: Any, encode: Any) -> None:
        if self._queued.waiting[row]:
            self.record(row, record, encode)

    return replaced(SpoolLog, "_record", record)


@MISTAKES.take("a message that was flushed is due as before", STORY)
def _not_flushed() -> Patch:
    kept = queued_module._KEEP_DUE | {int(FrameType.FLUSH)}
    return mock.patch.object(queued_module, "_KEEP_DUE", kept)


@MISTAKES.take("a message that is rebound is due at once", STORY)
def _due_at_once() -> Patch:
    def change(original: Any, self: Any, row: int, kind: int, change: Any) -> None:
        original(self, row, kind, change)
        if kind == FrameType.REBIND and change.due is None:
            self.due[row] = math.nan

    return replaced(Queued, "change", change)


@MISTAKES.take("what an order has taken out is there again after a start", STORY)
def _not_removed() -> Patch:
    def meaning(original: Any, self: Any) -> Meaning:
        found: Meaning = original(self)
        assert found.change is not None
        return msgspec.structs.replace(found, change=found.change._replace(settled=()))

    return replaced(Removal, "meaning", meaning)


@MISTAKES.take("the schedules in an index are not looked at", STORY)
def _no_schedules() -> Patch:
    return mock.patch.object(Index, "schedules_of", return_value=[])


@MISTAKES.take("an index leaves out what few messages have", STORY)
def _first_version() -> Patch:
    return mock.patch.object(Index, "version", VERSION)


@MISTAKES.take("a schedule is told of the message that comes behind", STORY)
def _of_another() -> Patch:
    def schedules_of(original: Any, self: Any, first: int, last: int | None) -> Any:
        return [(row + 1, schedule) for row, schedule in original(self, first, last)]

    return replaced(Index, "schedules_of", schedules_of)


@MISTAKES.take("nobody is told of schedules", STORY)
def _untold() -> Patch:
    def message(original: Any, self: Any, row: int) -> Any:
        return msgspec.structs.replace(original(self, row), schedule=None)

    return replaced(Restart, "_message", message)

"""Mistakes while the spool is written: failures, storing, reclaim."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from unittest import mock

from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import MessageRecord, MovedRecord
from penstock.spool import appender as appender_module
from penstock.spool import reclaim as reclaim_module
from penstock.spool.appender import Appender
from penstock.spool.bodies import Bodies
from penstock.spool.codec import Body
from penstock.spool.creation import Creation
from penstock.spool.entry import Entry
from penstock.spool.files import File, FileError
from penstock.spool.frame import FrameType, Place
from penstock.spool.log import SpoolLog
from penstock.spool.meaning import State
from penstock.spool.queued import Queued
from penstock.spool.reclaim import Reclaim
from tests.spool.campaign.mutations.mutation import Mistakes, Patch, nothing, replaced

MISTAKES: Final = Mistakes()

# -- failures


@MISTAKES.take("a failed sync is tried again and believed", "a sync fails")
def _believed() -> Patch:
    def synced(
        original: Any, self: Any, writers: Any, marks: Any, names: Any, noted: Any, error: Any
    ) -> None:
        if error is None:
            original(self, writers, marks, names, noted, error)
            return
        again = [writer.file for writer in writers] + [self._folder]
        self._syncer.sync(again, lambda fault: synced(original, self, writers, marks, names, noted, fault))

    return replaced(Appender, "_synced", synced)


@MISTAKES.take("the next segment does not say how far a failed one counts", "a sync fails")
def _not_told() -> Patch:
    return mock.patch.object(Creation, "tell", nothing)


@MISTAKES.take("a refusal is told before it is on stable storage that nothing is stored", "a sync fails")
def _told_early() -> Patch:
    def mend(original: Any, self: Any) -> None:
        self._tell_lost(SpoolError("early"))
        original(self)

    return replaced(Appender, "_mend", mend)


@MISTAKES.take("nobody knows, and a refusal is told", "a sync fails")
def _never_uncertain() -> Patch:
    return mock.patch.object(appender_module, "SpoolUncertain", SpoolError)


@MISTAKES.take("outcomes of a failed sync are not repeated", "a sync fails")
def _not_repeated() -> Patch:
    def mend(original: Any, self: Any) -> None:
        self._kept.clear()
        original(self)

    return replaced(Appender, "_mend", mend)


@MISTAKES.take("repeated outcomes name the copy that was not stored", "a copy fails")
def _not_made_anew() -> Patch:
    return mock.patch.object(Appender, "_make_anew", nothing)


@MISTAKES.take("a message stays where its copy was not stored", "a copy fails")
def _not_moved_back() -> Patch:
    return mock.patch.object(Queued, "move_back", nothing)


@MISTAKES.take("history tells what was abandoned", "a sync fails")
def _history_of_the_abandoned() -> Patch:
    def failed(original: Any, self: Any, error: FileError) -> None:
        ends = [(segment, segment.end) for segment in self._shelf]
        original(self, error)
        for segment, end in ends:
            segment.end = end

    return replaced(Appender, "_write_failed", failed)


# -- storing


@MISTAKES.take("a new segment's name is not synced")
def _no_new_name() -> Patch:
    def roll(original: Any, self: Any) -> Any:
        before = self._has_new_names
        writer = original(self)
        self._has_new_names = before
        return writer

    return replaced(Appender, "_roll", roll)


@MISTAKES.take("a sealed segment is not synced")
def _sealed_not_synced() -> Patch:
    def roll(original: Any, self: Any) -> Any:
        writer = original(self)
        self._sealed.pop().file.close()
        return writer

    return replaced(Appender, "_roll", roll)


@MISTAKES.take("what is appended during a sync is taken for synced")
def _marks_too_far() -> Patch:
    def synced(
        original: Any, self: Any, writers: Any, marks: Any, names: Any, noted: Any, error: Any
    ) -> None:
        if error is None and self._waiting:
            writers[-1].flush()
            marks[-1] = writers[-1].written
            self._covered += self._waiting
            self._waiting = []
        original(self, writers, marks, names, noted, error)

    return replaced(Appender, "_synced", synced)


@MISTAKES.take("a transaction is written in several frames")
def _split() -> Patch:
    def append(
        original: Any,
        self: Any,
        records: Sequence[MessageRecord],
        body: Body | None,
        done: Callable[..., None],
    ) -> None:
        if len(records) == 1 or body is not None:
            original(self, records, body, done)
            return
        positions: list[int] = []

        def stored(rows: Sequence[int], fault: SpoolError | None) -> None:
            positions.extend(rows)
            if fault is not None or len(positions) == len(records):
                done([] if fault is not None else positions, fault)

        def told_once(rows: Sequence[int], fault: SpoolError | None) -> None:
            if len(positions) < len(records):
                stored(rows, fault)
                if fault is not None:
                    positions.extend([0] * len(records))

        for record in records:
            original(self, [record], None, told_once)

    return replaced(SpoolLog, "_append", append)


@MISTAKES.take("a body file is named before it is synced")
def _body_too_early() -> Patch:
    def finish(
        _original: Any, _self: Any, _name: str, file: File, body: Body, done: Callable[..., None]
    ) -> None:
        file.close()
        done(body)

    return replaced(Bodies, "finish", finish)


@MISTAKES.take("a body file is removed before its outcome is stored", "large contents")
def _body_gone_early() -> Patch:
    def settled(original: Any, self: Any, row: int, place: Place, entry: Entry) -> None:
        original(self, row, place, entry)
        if entry.after is not None:
            entry.after()
            entry.after = None
            self._bodies.remove_some()

    return replaced(SpoolLog, "_settled", settled)


@MISTAKES.take("the file of a body goes with the first of its messages")
def _body_gone_with_the_first() -> Patch:
    return mock.patch.object(Queued, "has_live", nothing)


@MISTAKES.take("a position is given twice")
def _position_twice() -> Patch:
    def settled(original: Any, self: Any, row: int, place: Place, entry: Entry) -> None:
        original(self, row, place, entry)
        self._queued._free.append(row)

    return replaced(SpoolLog, "_settled", settled)


@MISTAKES.take("attempts are not counted")
def _attempts() -> Patch:
    def change(original: Any, self: Any, row: int, kind: int, change: Any) -> None:
        original(self, row, kind, change._replace(attempts=0))

    return replaced(Queued, "change", change)


# -- reclaim


#: Segments that go by another rule, in a life: without end live mail would be copied from one to the next.
_REMOVED: Final = 4


def _removal(may_go: Callable[[Any, int, LogPosition], bool], *, any_segment: bool = False) -> Patch:
    """``Reclaim._remove`` with another rule of when a segment without live messages goes."""

    def remove(_original: Any, self: Any) -> None:
        for segment in list(self._shelf)[: None if any_segment else 1]:
            number = segment.identity.number
            rows = self._queued.segments.get(number)
            if not self._appender.is_settled(number) or (rows is not None and rows.live):
                continue
            needed = self._dead.setdefault(number, self._appender.position)
            if not self._is_removing and self.removed < _REMOVED and may_go(self, number, needed):
                self._files.remove(segment.path)
                self._shelf.remove(number)
                self._queued.forget_segment(number)
                self.removed += 1
                self._is_removing = True
                self._appender.sync_names(self._removed)

    return replaced(Reclaim, "_remove", remove)


@MISTAKES.take("a segment is removed before what was copied from it is stored")
def _before_copies() -> Patch:
    return _removal(lambda self, _number, _needed: True)


@MISTAKES.take("a segment is removed before its records are events")
def _before_events() -> Patch:
    return _removal(lambda self, _number, needed: self._appender.synced >= needed)


@MISTAKES.take("a segment is removed although its outcomes are not events")
def _before_outcomes() -> Patch:
    return _removal(
        lambda self, number, needed: self._events >= LogPosition(number + 1, 0) <= self._appender.synced
    )


@MISTAKES.take("segments are removed in any order", "a segment in the middle is dead")
def _any_order() -> Patch:
    return _removal(lambda self, _number, needed: self._events >= needed, any_segment=True)


@MISTAKES.take(
    "a segment is removed before the removal of the one before is on stable storage", "segments go in a row"
)
def _removal_not_synced() -> Patch:
    return replaced(Appender, "sync_names", lambda _original, _self, done: done())


@MISTAKES.take("a message is copied before its outcomes are stored", "a copy follows an outcome")
def _copied_early() -> Patch:
    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with mock.patch.object(Reclaim, "hold", nothing), mock.patch.object(Reclaim, "release", nothing):
            yield

    return both()


def _copied(changed: Callable[[State], State]) -> Patch:
    """Copies carry other states."""
    original = State

    def made(*args: Any) -> State:
        return changed(original(*args))

    return mock.patch("penstock.spool.reclaim.State", made)


@MISTAKES.take("a copy makes settled recipients wait", "a copy fails")
def _copy_waits() -> Patch:
    return _copied(lambda state: state._replace(waiting=tuple(range(5))))


@MISTAKES.take("a copy forgets when its message is due")
def _copy_due() -> Patch:
    return _copied(lambda state: state._replace(due=None))


@MISTAKES.take("a copy forgets the attempts")
def _copy_attempts() -> Patch:
    return _copied(lambda state: state._replace(attempts=0))


@MISTAKES.take("a copy does not take the place of its original")
def _copy_beside() -> Patch:
    return mock.patch.object(Queued, "replace", nothing)


# -- mail between lanes


@MISTAKES.take("mail of another lane is not held after a start", "mail of another lane")
def _not_held() -> Patch:
    def change(original: Any, self: Any, row: int, kind: int, change: Any) -> None:
        original(self, row, kind, change)
        if kind == FrameType.MOVED:
            self.held.pop(row, None)

    return replaced(Queued, "change", change)


@MISTAKES.take("mail of another lane is not held any more when it is copied", "mail of another lane")
def _copied_free() -> Patch:
    return mock.patch.object(reclaim_module, "State", lambda *args: State(*args[:5]))


@MISTAKES.take("what is released stays held", "mail of another lane")
def _never_released() -> Patch:
    def change(original: Any, self: Any, row: int, kind: int, change: Any) -> None:
        move = self.held.get(row)
        original(self, row, kind, change)
        if kind == FrameType.RELEASE and self.waiting[row]:
            self.held[row] = move

    return replaced(Queued, "change", change)


@MISTAKES.take("what has gone to another lane is queued again", "mail of another lane")
def _not_gone() -> Patch:
    def forget(
        original: Any, self: Any, row: int, record: Any, encode: Any, then: Any = None, **options: Any
    ) -> Any:
        if isinstance(record, MovedRecord) and not record.is_in:
            payload = encode(record, Place(0, 0, 0))
            encode_again = lambda made, _place: encode(made, Place(0, 0, 0))  # noqa: E731
            self._queued.change(row, payload.meaning.kind, payload.meaning.change)
            entry = Entry(payload, (record,), None, Place(0, 0, 0), encode_again)
            entry.after = then
            self._appender.append(entry, is_urgent=True)
            return entry
        return original(self, row, record, encode, then, **options)

    return replaced(SpoolLog, "record", forget)

"""Mistakes that the campaign must find: syncs that are left out, rules of order that are broken, checks that are not made.

Those of the disk are switches of the simulated file system; the others replace one function of the spool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from unittest import mock

import msgspec

from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import MessageRecord
from penstock.sim.file_system import Switches
from penstock.spool import appender as appender_module
from penstock.spool import reading as reading_module
from penstock.spool import recovery as recovery_module
from penstock.spool import scan as scan_module
from penstock.spool import segment as segment_module
from penstock.spool import times as times_module
from penstock.spool.appender import Appender
from penstock.spool.bodies import Bodies
from penstock.spool.codec import Body, encode_abandon
from penstock.spool.creation import Creation
from penstock.spool.decoding import Transaction
from penstock.spool.entry import Entry
from penstock.spool.files import File, FileError
from penstock.spool.frame import Place
from penstock.spool.log import SpoolLog
from penstock.spool.meaning import State
from penstock.spool.queued import Queued
from penstock.spool.reclaim import Reclaim
from penstock.spool.recovery import Recovery
from penstock.spool.restart import Restart
from penstock.spool.segment import SegmentReader
from penstock.spool.times import Times

Patch = contextlib.AbstractContextManager[object]


class Mutation(msgspec.Struct, frozen=True):
    """A mistake. ``patch`` makes it while its context lasts; with ``switches`` the disk makes it. ``story`` is the script that goes where it shows."""

    name: str
    story: str = ""
    patch: Callable[[], Patch] = contextlib.nullcontext
    switches: Switches = Switches()


MUTATIONS: Final[list[Mutation]] = [
    Mutation("segments are not synced", switches=Switches(ignores_sync_of=("segments/*",))),
    Mutation("body files are not synced", switches=Switches(ignores_sync_of=("bodies/*",))),
    Mutation("names of segments are not synced", switches=Switches(ignores_folder_sync_of=("segments",))),
    Mutation("names of body files are not synced", switches=Switches(ignores_folder_sync_of=("bodies",))),
    Mutation("names of the folders are not synced", switches=Switches(ignores_folder_sync_of=("",))),
    Mutation("answers before the sync", switches=Switches(answers_before_sync=True)),
    Mutation("syncs the first file only", switches=Switches(sync_only_first_file=True)),
    Mutation("syncs the last file only", switches=Switches(sync_only_last_file=True)),
    Mutation("hides failed syncs", "a sync fails", switches=Switches(hides_failed_sync=True)),
    Mutation("removes nothing for good", switches=Switches(ignores_remove=True)),
]


def mutation(name: str, story: str = "") -> Callable[[Callable[[], Patch]], Callable[[], Patch]]:
    """Take up a mistake of the spool's."""

    def take(patch: Callable[[], Patch]) -> Callable[[], Patch]:
        MUTATIONS.append(Mutation(name, story, patch))
        return patch

    return take


def _replaced(owner: object, name: str, made: Callable[..., Any]) -> Patch:
    """``made`` in place of a function; it is given the function first."""
    original = getattr(owner, name)

    def replacement(*args: Any, **options: Any) -> Any:
        return made(original, *args, **options)

    return mock.patch.object(owner, name, replacement)


def _nothing(*_args: object, **_options: object) -> None:
    """Done is nothing."""


# -- failures


@mutation("a failed sync is tried again and believed", "a sync fails")
def _believed() -> Patch:
    def synced(original: Any, self: Any, writers: Any, marks: Any, names: Any, noted: Any, error: Any) -> None:
        if error is None:
            original(self, writers, marks, names, noted, error)
            return
        again = [writer.file for writer in writers] + [self._folder]
        self._syncer.sync(again, lambda fault: synced(original, self, writers, marks, names, noted, fault))

    return _replaced(Appender, "_synced", synced)


@mutation("the next segment does not say how far a failed one counts", "a sync fails")
def _not_told() -> Patch:
    return mock.patch.object(Creation, "tell", _nothing)


@mutation("a refusal is told before it is on stable storage that nothing is stored", "a sync fails")
def _told_early() -> Patch:
    def mend(original: Any, self: Any) -> None:
        self._tell_lost(SpoolError("early"))
        original(self)

    return _replaced(Appender, "_mend", mend)


@mutation("nobody knows, and a refusal is told", "a sync fails")
def _never_uncertain() -> Patch:
    return mock.patch.object(appender_module, "SpoolUncertain", SpoolError)


@mutation("outcomes of a failed sync are not repeated", "a sync fails")
def _not_repeated() -> Patch:
    def mend(original: Any, self: Any) -> None:
        self._kept.clear()
        original(self)

    return _replaced(Appender, "_mend", mend)


@mutation("repeated outcomes name the copy that was not stored", "a copy fails")
def _not_made_anew() -> Patch:
    return mock.patch.object(Appender, "_make_anew", _nothing)


@mutation("a message stays where its copy was not stored", "a copy fails")
def _not_moved_back() -> Patch:
    return mock.patch.object(Queued, "move_back", _nothing)


@mutation("history tells what was abandoned", "a sync fails")
def _history_of_the_abandoned() -> Patch:
    def failed(original: Any, self: Any, error: FileError) -> None:
        ends = [(segment, segment.end) for segment in self._shelf]
        original(self, error)
        for segment, end in ends:
            segment.end = end

    return _replaced(Appender, "_write_failed", failed)


# -- storing


@mutation("a new segment's name is not synced")
def _no_new_name() -> Patch:
    def roll(original: Any, self: Any) -> Any:
        before = self._has_new_names
        writer = original(self)
        self._has_new_names = before
        return writer

    return _replaced(Appender, "_roll", roll)


@mutation("a sealed segment is not synced")
def _sealed_not_synced() -> Patch:
    def roll(original: Any, self: Any) -> Any:
        writer = original(self)
        self._sealed.pop().file.close()
        return writer

    return _replaced(Appender, "_roll", roll)


@mutation("what is appended during a sync is taken for synced")
def _marks_too_far() -> Patch:
    def synced(original: Any, self: Any, writers: Any, marks: Any, names: Any, noted: Any, error: Any) -> None:
        if error is None and self._waiting:
            writers[-1].flush()
            marks[-1] = writers[-1].written
            self._covered += self._waiting
            self._waiting = []
        original(self, writers, marks, names, noted, error)

    return _replaced(Appender, "_synced", synced)


@mutation("a transaction is written in several frames")
def _split() -> Patch:
    def append(
        original: Any, self: Any, records: Sequence[MessageRecord], body: Body | None, done: Callable[..., None]
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

    return _replaced(SpoolLog, "_append", append)


@mutation("a body file is named before it is synced")
def _body_too_early() -> Patch:
    def finish(_original: Any, _self: Any, _name: str, file: File, body: Body, done: Callable[..., None]) -> None:
        file.close()
        done(body)

    return _replaced(Bodies, "finish", finish)


@mutation("a body file is removed before its outcome is stored", "large contents")
def _body_gone_early() -> Patch:
    def settled(original: Any, self: Any, row: int, place: Place, entry: Entry) -> None:
        original(self, row, place, entry)
        if entry.after is not None:
            entry.after()
            entry.after = None
            self._bodies.remove_some()

    return _replaced(SpoolLog, "_settled", settled)


@mutation("the file of a body goes with the first of its messages")
def _body_gone_with_the_first() -> Patch:
    return mock.patch.object(Queued, "has_live", lambda *_: False)


@mutation("a position is given twice")
def _position_twice() -> Patch:
    def settled(original: Any, self: Any, row: int, place: Place, entry: Entry) -> None:
        original(self, row, place, entry)
        self._queued._free.append(row)

    return _replaced(SpoolLog, "_settled", settled)


@mutation("attempts are not counted")
def _attempts() -> Patch:
    def change(original: Any, self: Any, row: int, kind: int, change: Any) -> None:
        original(self, row, kind, change._replace(attempts=0))

    return _replaced(Queued, "change", change)


# -- reclaim


def _removal(may_go: Callable[[Any, int, LogPosition], bool], *, any_segment: bool = False) -> Patch:
    """``Reclaim._remove`` with another rule of when a segment without live messages goes."""

    def remove(original: Any, self: Any) -> None:
        oldest = self._shelf.oldest()
        for segment in self._shelf if any_segment else [oldest]:
            number = segment.identity.number
            rows = self._queued.segments.get(number)
            if not self._appender.is_settled(number) or (rows is not None and rows.live):
                continue
            needed = self._dead.setdefault(number, self._appender.position)
            if may_go(self, number, needed):
                with mock.patch.object(self, "_events", LogPosition(1 << 31, 0)), mock.patch.object(
                    self._shelf.__class__, "oldest", lambda _self, segment=segment: segment
                ):
                    original(self)
                return

    return _replaced(Reclaim, "_remove", remove)


@mutation("a segment is removed before what was copied from it is stored")
def _before_copies() -> Patch:
    return _removal(lambda self, _number, _needed: True)


@mutation("a segment is removed before its records are events")
def _before_events() -> Patch:
    return _removal(lambda self, _number, needed: self._appender.synced >= needed)


@mutation("a segment is removed although its outcomes are not events")
def _before_outcomes() -> Patch:
    return _removal(lambda self, number, needed: self._events >= LogPosition(number + 1, 0) <= self._appender.synced)


@mutation("segments are removed in any order", "a segment in the middle is dead")
def _any_order() -> Patch:
    return _removal(lambda self, _number, needed: self._events >= needed, any_segment=True)


@mutation("a segment is removed before the removal of the one before is on stable storage", "segments go in a row")
def _removal_not_synced() -> Patch:
    return _replaced(Appender, "sync_names", lambda _original, _self, done: done())


@mutation("a message is copied before its outcomes are stored", "a copy follows an outcome")
def _copied_early() -> Patch:
    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with mock.patch.object(Reclaim, "hold", _nothing), mock.patch.object(Reclaim, "release", _nothing):
            yield

    return both()


def _copied(changed: Callable[[State], State]) -> Patch:
    """Copies carry other states."""
    original = State

    def made(*args: Any) -> State:
        return changed(original(*args))

    return mock.patch("penstock.spool.reclaim.State", made)


@mutation("a copy makes settled recipients wait")
def _copy_waits() -> Patch:
    return _copied(lambda state: state._replace(waiting=tuple(range(5))))


@mutation("a copy forgets when its message is due")
def _copy_due() -> Patch:
    return _copied(lambda state: state._replace(due=None))


@mutation("a copy forgets the attempts")
def _copy_attempts() -> Patch:
    return _copied(lambda state: state._replace(attempts=0))


@mutation("a copy does not take the place of its original")
def _copy_beside() -> Patch:
    return mock.patch.object(Queued, "replace", _nothing)


# -- disks that go bad, clocks that jump


@mutation("the next segment says only once how far a failed one counts", "an octet is spoiled")
def _told_once() -> Patch:
    def tell(_original: Any, self: Any, writer: Any) -> None:
        for abandoned in self.abandoned:
            writer.append(encode_abandon(abandoned))

    return _replaced(Creation, "tell", tell)


@mutation("a damaged frame hides what the next one says of an abandoned segment", "an octet is spoiled")
def _second_word_unread() -> Patch:
    return _replaced(SegmentReader, "right_frames", lambda _original, self, _limit: self.frames())


@mutation("the octets of a body file are not checked", "an octet is spoiled")
def _body_unchecked() -> Patch:
    def message(original: Any, self: Any, part: int, content: bytes | None = None) -> MessageRecord:
        found: MessageRecord = original(self, part, content) if content is None else self.sized(part, content)
        return found

    return _replaced(Transaction, "message", message)


@mutation("the octets of a frame are not checked when it is read back", "an octet is spoiled")
def _frame_unchecked() -> Patch:
    @contextlib.contextmanager
    def everywhere() -> Iterator[None]:
        with mock.patch.object(reading_module, "check_payload", _nothing), mock.patch.object(
            segment_module, "check_payload", _nothing
        ):
            yield

    return everywhere()


@mutation("a jump of the clock is not noticed", "the clock jumps")
def _jump_unnoticed() -> Patch:
    return mock.patch.object(times_module, "LONGEST_PAUSE", 1e12)


@mutation("how far the clock has jumped is forgotten", "the clock jumps")
def _shift_forgotten() -> Patch:
    def note(original: Any, self: Any, now: Any) -> None:
        shifts, self._shifts = self._shifts, ()
        original(self, now)
        self._shifts = shifts

    return _replaced(Times, "note", note)


@mutation("the note of the time is not synced", "the clock jumps")
def _note_not_synced() -> Patch:
    def write(original: Any, self: Any, now: Any) -> Any:
        file = original(self, now)
        return mock.Mock(wraps=file, sync=_nothing)

    return _replaced(Times, "_write", write)


# -- the start


@mutation("what a killed process wrote is not synced at the start", "segments begin and no sync ends")
def _not_secured() -> Patch:
    return mock.patch.object(recovery_module, "secure", _nothing)


@mutation("what a failed sync has left is synced at the start, and believed", "a sync fails and the process is killed")
def _not_written_again() -> Patch:
    return mock.patch.object(recovery_module, "secure", lambda file, _identity, _limit: file.sync())


@mutation("an index is believed whose frames were not synced", "segments begin and no sync ends")
def _index_believed() -> Patch:
    def index(original: Any, self: Any, limit: int, *, is_sure: bool = True) -> Any:
        return original(self, limit, is_sure=True)

    def no_more(file: File, _identity: object, _limit: int) -> None:
        file.sync()

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with _replaced(SegmentReader, "index_in_steps", index), mock.patch.object(recovery_module, "secure", no_more):
            yield

    return both()


@mutation("an index says that all its frames were synced", "segments begin and no sync ends")
def _seal_lies() -> Patch:
    def write(original: Any, file: File, index: Any, identity: Any, offset: int, _synced: int) -> Any:
        return original(file, index, identity, offset, offset)

    return _replaced(segment_module, "write_seal", write)


@mutation("an old index is left where the new one will be", "segments begin and no sync ends")
def _old_index() -> Patch:
    def secure(original: Any, file: File, identity: Any, limit: int) -> None:
        with mock.patch.object(file.__class__, "truncate", _nothing):
            original(file, identity, limit)

    return _replaced(recovery_module, "secure", secure)


@mutation("a start does not know which segments were abandoned", "a sync fails")
def _abandons_unread() -> Patch:
    return mock.patch.object(Recovery, "_abandon", _nothing)


@mutation("the contents of frames are not checked", "segments begin and no sync ends")
def _payload_unchecked() -> Patch:
    @contextlib.contextmanager
    def everywhere() -> Iterator[None]:
        with mock.patch.object(scan_module, "check_payload", _nothing), mock.patch.object(
            segment_module, "check_payload", _nothing
        ):
            yield

    return everywhere()


@mutation("later records are not applied at the start")
def _changes_unread() -> Patch:
    def steps(original: Any, self: Any, index: Any) -> Iterator[None]:
        with mock.patch.object(Queued, "change", _nothing):
            yield from original(self, index)

    return _replaced(Recovery, "_apply", steps)


@mutation("numbers of segments are used again")
def _numbers_again() -> Patch:
    return _replaced(Recovery, "find", lambda original, self: max(1, original(self) - 1))


@mutation("a half-made segment is taken for damage")
def _half_made() -> Patch:
    def empty(original: Any, self: Any, file: File, path: str, scanned: Any, *, is_sure: bool) -> bool:
        return bool(original(self, file, path, scanned, is_sure=True))

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with _replaced(Recovery, "_is_empty", empty), mock.patch.object(Recovery, "remove_unfinished", _nothing):
            yield

    return both()


@mutation("body files that nobody names are left")
def _orphans_left() -> Patch:
    return mock.patch.object(Restart, "_clear_up", _nothing)


@mutation("a start removes the body files of its own process", "large contents")
def _own_bodies_removed() -> Patch:
    def clear(original: Any, self: Any, found: Any) -> None:
        prefix, self._bodies.prefix = self._bodies.prefix, "none-0"
        original(self, found)
        self._bodies.prefix = prefix

    return _replaced(Restart, "_clear_up", clear)

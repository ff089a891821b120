"""Mistakes of starts, of clocks that jump, and of disks that go bad."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

from penstock.mail.records import MessageRecord
from penstock.spool import reading as reading_module
from penstock.spool import recovery as recovery_module
from penstock.spool import scan as scan_module
from penstock.spool import segment as segment_module
from penstock.spool import times as times_module
from penstock.spool.codec import encode_abandon
from penstock.spool.creation import Creation
from penstock.spool.decoding import Transaction
from penstock.spool.files import File
from penstock.spool.recovery import Recovery
from penstock.spool.restart import Restart
from penstock.spool.segment import SegmentReader
from penstock.spool.times import Times
from tests.spool.campaign.mutations.mutation import Mistakes, Patch, nothing, replaced

MISTAKES: Final = Mistakes()

# -- disks that go bad, clocks that jump


@MISTAKES.take("the next segment says only once how far a failed one counts", "an octet is spoiled")
def _told_once() -> Patch:
    def tell(_original: Any, self: Any, writer: Any) -> None:
        for abandoned in self.abandoned:
            writer.append(encode_abandon(abandoned))

    return replaced(Creation, "tell", tell)


@MISTAKES.take("a damaged frame hides what the next one says of an abandoned segment", "an octet is spoiled")
def _second_word_unread() -> Patch:
    return replaced(SegmentReader, "right_frames", lambda _original, self, _limit: self.frames())


@MISTAKES.take("the octets of a body file are not checked", "an octet is spoiled")
def _body_unchecked() -> Patch:
    def message(original: Any, self: Any, part: int, content: bytes | None = None) -> MessageRecord:
        found: MessageRecord = original(self, part, content) if content is None else self.sized(part, content)
        return found

    return replaced(Transaction, "message", message)


@MISTAKES.take("the octets of a frame are not checked when it is read back", "an octet is spoiled")
def _frame_unchecked() -> Patch:
    @contextlib.contextmanager
    def everywhere() -> Iterator[None]:
        with (
            mock.patch.object(reading_module, "check_payload", nothing),
            mock.patch.object(segment_module, "check_payload", nothing),
        ):
            yield

    return everywhere()


@MISTAKES.take("a jump of the clock is not noticed", "the clock jumps")
def _jump_unnoticed() -> Patch:
    return mock.patch.object(times_module, "LONGEST_PAUSE", 1e12)


@MISTAKES.take("how far the clock has jumped is forgotten", "the clock jumps")
def _shift_forgotten() -> Patch:
    def note(original: Any, self: Any, now: Any) -> None:
        shifts, self._shifts = self._shifts, ()
        original(self, now)
        self._shifts = shifts

    return replaced(Times, "note", note)


@MISTAKES.take("the note of the time is not synced", "the clock jumps")
def _note_not_synced() -> Patch:
    def write(original: Any, self: Any, now: Any) -> Any:
        file = original(self, now)
        return mock.Mock(wraps=file, sync=nothing)

    return replaced(Times, "_write", write)


# -- the start


@MISTAKES.take("what a killed process wrote is not synced at the start", "segments begin and no sync ends")
def _not_secured() -> Patch:
    return mock.patch.object(recovery_module, "secure", nothing)


@MISTAKES.take(
    "what a failed sync has left is synced at the start, and believed",
    "a sync fails and the process is killed",
)
def _not_written_again() -> Patch:
    return mock.patch.object(recovery_module, "secure", lambda file, _identity, _limit: file.sync())


@MISTAKES.take("an index is believed whose frames were not synced", "segments begin and no sync ends")
def _index_believed() -> Patch:
    def index(original: Any, self: Any, limit: int, *, is_sure: bool = True) -> Any:
        return original(self, limit, is_sure=True)

    def no_more(file: File, _identity: object, _limit: int) -> None:
        file.sync()

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with (
            replaced(SegmentReader, "index_in_steps", index),
            mock.patch.object(recovery_module, "secure", no_more),
        ):
            yield

    return both()


@MISTAKES.take("an index says that all its frames were synced", "segments begin and no sync ends")
def _seal_lies() -> Patch:
    def write(original: Any, file: File, index: Any, identity: Any, offset: int, _synced: int) -> Any:
        return original(file, index, identity, offset, offset)

    return replaced(segment_module, "write_seal", write)


@MISTAKES.take("an old index is left where the new one will be", "segments begin and no sync ends")
def _old_index() -> Patch:
    def secure(original: Any, file: File, identity: Any, limit: int) -> None:
        original(mock.Mock(wraps=file, truncate=nothing), identity, limit)

    return replaced(recovery_module, "secure", secure)


@MISTAKES.take("a start does not know which segments were abandoned", "a sync fails")
def _abandons_unread() -> Patch:
    return mock.patch.object(Recovery, "_abandon", nothing)


@MISTAKES.take("the contents of frames are not checked", "segments begin and no sync ends")
def _payload_unchecked() -> Patch:
    @contextlib.contextmanager
    def everywhere() -> Iterator[None]:
        with (
            mock.patch.object(scan_module, "check_payload", nothing),
            mock.patch.object(segment_module, "check_payload", nothing),
        ):
            yield

    return everywhere()


@MISTAKES.take("later records are not applied at the start")
def _changes_unread() -> Patch:
    def apply(original: Any, self: Any, index: Any) -> Any:
        index.changes, index.copies = type(index.changes)(), type(index.copies)()
        return original(self, index)

    return replaced(Recovery, "_apply", apply)


@MISTAKES.take("numbers of segments are used again")
def _numbers_again() -> Patch:
    return replaced(Recovery, "find", lambda original, self: max(1, original(self) - 1))


@MISTAKES.take("a half-made segment is taken for damage")
def _half_made() -> Patch:
    def empty(original: Any, self: Any, file: File, path: str, scanned: Any, *, is_sure: bool) -> bool:
        return bool(original(self, file, path, scanned, is_sure=True))

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with (
            replaced(Recovery, "_is_empty", empty),
            mock.patch.object(Recovery, "remove_unfinished", nothing),
        ):
            yield

    return both()


@MISTAKES.take("body files that nobody names are left")
def _orphans_left() -> Patch:
    return mock.patch.object(Restart, "_clear_up", nothing)


@MISTAKES.take("a start removes the body files of its own process", "large contents")
def _own_bodies_removed() -> Patch:
    def clear(original: Any, self: Any, found: Any) -> None:
        prefix, self._bodies.prefix = self._bodies.prefix, "none-0"
        original(self, found)
        self._bodies.prefix = prefix

    return replaced(Restart, "_clear_up", clear)

"""What a spool holds when a process begins: every segment applied, in order, before anything is given out.

First it is found how far each segment counts: the newest word wins, since a segment that abandons others may itself be abandoned. What may not be on
stable storage is put there. Then sealed segments give their index, and others are scanned.
Times are taken as they are; nothing here knows what time it is.

Nothing is deleted, and nothing is written but what is there already, and copies of damaged records. Files that may go are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from penstock.spool.decoding import Abandon, decode
from penstock.spool.departures import ForgetPlaces
from penstock.spool.files import File, Files
from penstock.spool.frame import (
    FORMAT,
    OFFSET_LIMIT,
    SEGMENT_HEADER_SIZE,
    Damaged,
    Frame,
    FrameType,
    Identity,
    NewerFormat,
    parse_segment_header,
)
from penstock.spool.index import COPIES, Index
from penstock.spool.meaning import Abandoned
from penstock.spool.names import BODIES, SEGMENTS, body_name, body_path, segment_identity, segment_path
from penstock.spool.quarantine import Quarantined, save
from penstock.spool.queued import Queued
from penstock.spool.scan import Scan, scan, scan_in_steps
from penstock.spool.securing import secure
from penstock.spool.segment import SegmentReader

#: Messages, or later records, that are one step.
_ROWS_AT_ONCE: Final = 100


class RecoveredSegment(msgspec.Struct, frozen=True):
    """A segment that counts. ``end`` is behind its last whole frame, ``torn`` the octets of a torn tail behind that.

    ``abandoned_at``: frames from there on do not count. ``index``, of one that was not sealed, is what ``write_seal`` takes at ``end``.
    """

    identity: Identity
    path: str
    size: int
    end: int
    torn: int
    abandoned_at: int | None
    index: Index | None


class RecoveryCounts(msgspec.Struct):
    """What was read. ``stale``: changes of messages that are not there: gone with their segment, or damaged."""

    messages: int = 0
    changes: int = 0
    stale: int = 0
    notes: int = 0


class Recovered(msgspec.Struct, frozen=True):
    """A spool as it was left.

    ``segments`` are oldest first. ``bodies``: for every frame with a live message whose content is in a body file, by segment and offset, that
    file's name. ``unfinished`` are paths of segments whose creation did not come to an end, ``orphans`` of body files that no live
    message names: both may be removed. ``foreign`` are names that are none of ours. ``next_number`` was never used.
    ``forgets``: where it is said what has gone to other lanes.
    """

    queued: Queued
    segments: tuple[RecoveredSegment, ...]
    bodies: dict[tuple[int, int], str]
    quarantined: tuple[Quarantined, ...]
    unfinished: tuple[str, ...]
    orphans: tuple[str, ...]
    foreign: tuple[str, ...]
    next_number: int
    counts: RecoveryCounts
    forgets: ForgetPlaces


def prepare(files: Files) -> None:
    """Make the folders of a spool where they are missing, and put their names on stable storage. FileError."""
    for folder in (SEGMENTS, BODIES):
        files.make_folder(folder)
    files.sync_folder()


def recover(files: Files) -> Recovered:
    """Read the spool in ``files``, whose folders are there. NewerFormat names what is newer; FileError: what cannot be read is not left out."""
    recovery = Recovery(files, Queued())
    recovery.find()
    for _ in recovery.steps():
        pass
    return recovery.result()


def _no_shift(_segment: int) -> float:
    return 0.0


class Recovery:
    """A recovery in steps: ``find`` once, then ``steps``, to the end, then ``result``. New segments may be written meanwhile, to ``queued`` too.

    ``shift``: seconds that the times in a segment are to be counted later (``penstock.spool.times``).
    """

    __slots__ = (
        "_bodies", "_counts", "_files", "_first_unsure", "_foreign", "_forgets", "_found", "_last_number", "_limits",
        "_quarantined", "_queued", "_segments", "_shift", "_unfinished",
    )  # fmt: skip

    def __init__(self, files: Files, queued: Queued, shift: Callable[[int], float] = _no_shift) -> None:
        self._files = files
        self._queued = queued
        self._shift = shift
        self._found: list[tuple[Identity, str]] = []
        self._counts = RecoveryCounts()
        self._bodies: dict[tuple[int, int], str] = {}
        self._limits: dict[int, int] = {}
        self._segments: list[RecoveredSegment] = []
        self._quarantined: list[Quarantined] = []
        self._unfinished: list[str] = []
        self._foreign: list[str] = []
        self._forgets = ForgetPlaces()
        self._last_number = 0
        #: the oldest segment of which no newer one says that all of it was on stable storage
        self._first_unsure = 0

    def find(self) -> int:
        """Find the segments, how far each counts, and the number for a new one. What counts is put on stable storage. NewerFormat, FileError."""
        self._found = self._find()
        is_sure = False
        for identity, path in reversed(self._found):
            if not is_sure:
                self._first_unsure = identity.number
            is_sure = self._look_at(identity, path, is_sure=is_sure) or is_sure
        for identity, path in self._found:
            self._secure(identity, path)
        self._files.sync_folder(SEGMENTS)
        return self._last_number + 1

    def _is_sure(self, number: int) -> bool:
        """Whether a newer segment says that all of this one was on stable storage."""
        return number < self._first_unsure

    def _secure(self, identity: Identity, path: str) -> None:
        limit = self._limit(identity.number)
        if limit <= SEGMENT_HEADER_SIZE or self._is_sure(identity.number):
            return
        file = self._files.open(path, writable=True)
        try:
            secure(file, identity, limit)
        finally:
            file.close()

    def remove_unfinished(self) -> None:
        """Before a new segment: the newest may be some whose creation did not come to an end. FileError."""
        unfinished = [
            (identity, path)
            for identity, path in self._found
            if not self._is_sure(identity.number) and self._is_unfinished(identity, path)
        ]
        for item in unfinished:
            self._files.remove(item[1])
            self._found.remove(item)
        if unfinished:
            self._files.sync_folder(SEGMENTS)

    def _is_unfinished(self, identity: Identity, path: str) -> bool:
        if self._limit(identity.number) <= SEGMENT_HEADER_SIZE:
            return False
        file = self._files.open(path)
        try:
            return not (
                self._has_header(file, path)
                or scan(file, identity, path, min(file.size(), self._limit(identity.number))).has_frames
            )
        finally:
            file.close()

    @staticmethod
    def _has_header(file: File, path: str) -> bool:
        with suppress(Damaged):
            return segment_path(parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0)).identity) == path
        return False

    def steps(self) -> Iterator[None]:
        """Apply everything, in order. NewerFormat, FileError."""
        for identity, path in self._found:
            yield from self._take(identity, path)
            yield

    def result(self) -> Recovered:
        """What was found."""
        bodies = {frame: name for frame, name in self._bodies.items() if self._queued.has_live(*frame)}
        return Recovered(
            self._queued,
            tuple(self._segments),
            bodies,
            tuple(self._quarantined),
            tuple(self._unfinished),
            self._orphans(bodies),
            tuple(self._foreign),
            self._last_number + 1,
            self._counts,
            self._forgets,
        )

    def _find(self) -> list[tuple[Identity, str]]:
        """The segments, oldest first; those whose header tells of another format or place are dealt with here."""
        found: list[tuple[Identity, str]] = []
        for name in self._files.names(SEGMENTS):
            path = f"{SEGMENTS}/{name}"
            identity = segment_identity(name)
            if identity is None:
                self._foreign.append(path)
                continue
            self._last_number = max(self._last_number, identity.number)
            other = self._renamed_from(path, identity)
            if other is None:
                found.append((identity, path))
                continue
            self._last_number = max(self._last_number, other.number)
            called = segment_path(other)
            self._quarantine_file(
                path, f"it is {called} by what it holds, and can be read when it is called so"
            )
        return sorted(found)

    def _renamed_from(self, path: str, identity: Identity) -> Identity | None:
        """The segment whose header and first frame are in the file of another; None for a file that may be what it is called."""
        file = self._files.open(path)
        try:
            header = parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0))
            if header.format > FORMAT:
                raise NewerFormat(
                    f"{path} has format {header.format}, and this version of Penstock reads up to {FORMAT}; "
                    "run the newer version that wrote it"
                )
            if header.identity != identity:
                SegmentReader(file, header.identity, path).frame(SEGMENT_HEADER_SIZE)
                return header.identity
        except Damaged:  # by an accident, or left in these blocks by a segment that is gone
            pass
        finally:
            file.close()
        return None

    def _limit(self, number: int) -> int:
        return self._limits.get(number, OFFSET_LIMIT)

    def _look_at(self, identity: Identity, path: str, *, is_sure: bool) -> bool:
        """Take note of what a segment says about older ones, at its beginning, as far as it counts itself.

        Whether it says that they were on stable storage, which a frame does that was written when some of its own segment was. That is asked
        only if it is not ``is_sure`` already.
        """
        is_beginning = True
        file = self._files.open(path)
        try:
            limit = min(self._limit(identity.number), file.size())
            for frame in SegmentReader(file, identity, path).right_frames(limit):
                is_beginning = is_beginning and frame.type == FrameType.ABANDON
                is_sure = is_sure or frame.synced > 0
                if is_beginning:
                    self._hear(frame, identity.number)
                elif is_sure:
                    break
        finally:
            file.close()
        return is_sure

    def _hear(self, frame: Frame, speaker: int) -> None:
        with suppress(Damaged):  # reported when the segment is scanned
            decoded = decode(frame)
            if isinstance(decoded, Abandon) and decoded.abandoned.segment < speaker:
                self._abandon(decoded.abandoned)

    def _abandon(self, abandoned: Abandoned) -> None:
        number, offset = abandoned
        self._limits[number] = min(offset, self._limit(number))
        self._last_number = max(self._last_number, number)

    def _take(self, identity: Identity, path: str) -> Iterator[None]:
        """Apply a segment."""
        limit = self._limit(identity.number)
        abandoned_at = self._limits.get(identity.number)
        if limit <= SEGMENT_HEADER_SIZE:  # nothing in it counts, so nothing in it can be damaged
            self._segments.append(
                RecoveredSegment(identity, path, 0, SEGMENT_HEADER_SIZE, 0, abandoned_at, None)
            )
            return
        file = self._files.open(path, writable=True)
        try:
            size = file.size()
            is_sure = self._is_sure(identity.number)
            sealed = yield from SegmentReader(file, identity, path).index_in_steps(limit, is_sure=is_sure)
            if sealed is not None:
                index, end = sealed
                self._segments.append(RecoveredSegment(identity, path, size, end, 0, abandoned_at, None))
                yield from self._apply(index)
                return
            scanned = yield from scan_in_steps(file, identity, path, min(size, limit))
            if self._is_empty(file, path, scanned, is_sure=is_sure):
                return
            self._report(file, identity, path, scanned)
            torn = 0 if abandoned_at is not None else scanned.torn
            self._segments.append(
                RecoveredSegment(identity, path, size, scanned.end, torn, abandoned_at, scanned.index)
            )
            yield from self._apply(scanned.index)
        finally:
            file.close()

    def _is_empty(self, file: File, path: str, scanned: Scan, *, is_sure: bool) -> bool:
        """Whether a segment has neither header nor frames. If no newer one says otherwise it was being created."""
        try:
            header = parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0))
            if segment_path(header.identity) == path:
                return False
            fault = "the file begins with the header of another segment"
        except Damaged as damage:
            fault = str(damage)
        if scanned.has_frames:
            reason = f"{fault}; its frames can be read"
            was_stored = scanned.synced > 0
            self._quarantined.append(Quarantined(reason, path, 0, SEGMENT_HEADER_SIZE, was_stored))
            return False
        if not is_sure:
            self._unfinished.append(path)
        else:
            self._quarantine_file(path, f"{fault}, and it has no frames that can be read")
        return True

    def _quarantine_file(self, path: str, reason: str) -> None:
        file = self._files.open(path)
        try:
            self._quarantined.append(Quarantined(reason, path, 0, file.size(), was_stored=True))
        finally:
            file.close()

    def _report(self, file: File, identity: Identity, path: str, scanned: Scan) -> None:
        for damage in scanned.damages:
            saved = save(self._files, file, identity, damage.offset, damage.size)
            self._quarantined.append(
                Quarantined(damage.reason, path, damage.offset, damage.size, damage.was_stored, saved)
            )

    def _apply(self, index: Index) -> Iterator[None]:
        """A segment's messages, then what its later frames say, in their order."""
        queued, number = self._queued, index.number
        shift = self._shift(number)
        for first in range(0, len(index.messages), _ROWS_AT_ONCE):
            queued.add(index, first, first + _ROWS_AT_ONCE, shift)
            yield
        copies, rebound = iter(index.copies), index.rebound()
        for count, (offset, kind, change) in enumerate(index.changes, 1):
            if count % _ROWS_AT_ONCE == 0:
                yield
            if kind == FrameType.FORGET:
                self._forgets.add(number, offset)
            if shift and change.due is not None:
                change = change._replace(due=change.due + shift)
            replaced = next(copies)[1] if kind in COPIES else None
            queue = next(rebound) if kind == FrameType.REBIND else None
            row = queued.find(change.about)
            if row is None:
                self._counts.stale += 1
                continue
            queued.change(row, kind, change)
            if queue is not None:
                queued.rebind(row, queue)
            if replaced is not None:
                queued.replace(replaced, row)
        self._counts.messages += len(index.messages)
        self._counts.changes += len(index.changes)
        self._counts.notes += index.notes
        self._bodies.update({(number, offset): name for offset, name in index.bodies})

    def _orphans(self, bodies: dict[tuple[int, int], str]) -> tuple[str, ...]:
        """Body files that may go: none while something is damaged that may have named them."""
        used = set(bodies.values())
        orphans: list[str] = []
        for file_name in self._files.names(BODIES):
            name = body_name(file_name)
            if name is None:
                self._foreign.append(f"{BODIES}/{file_name}")
            elif name not in used and not self._quarantined:
                orphans.append(body_path(name))
        return tuple(orphans)

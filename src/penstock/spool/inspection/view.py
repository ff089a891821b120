"""What is in a spool right now, read beside whoever writes it, without a lock.

A server at work appends to its newest segment, seals it and begins another, copies live mail forward out of the oldest one and removes that.
So a look goes like this:

- Segments are read oldest first. If one is gone when its turn comes, its live mail was copied before, into one that is still to be read.
- At the end the folder is listed again, until there is nothing newer.
- Octets that are no frame although one is behind them are read again before that is believed: they may have been on their way.
- If a newer segment abandons one that was read already, everything is read again.

What comes of it is what a server that began now would find, less what it would find after the look. Nothing here knows what time it is.
"""

from __future__ import annotations

import errno
import math
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.ports import SpoolError
from penstock.spool.columns import ChangeColumns
from penstock.spool.decoding import Abandon, decode
from penstock.spool.files import File, FileError
from penstock.spool.frame import (
    FORMAT,
    OFFSET_LIMIT,
    SEGMENT_HEADER_SIZE,
    Damaged,
    FrameType,
    Identity,
    NewerFormat,
    Place,
    parse_segment_header,
)
from penstock.spool.index import COPIES, Index
from penstock.spool.inspection.read_only import Tree
from penstock.spool.meaning import NOWHERE, Change
from penstock.spool.names import SEGMENTS, segment_identity, segment_path
from penstock.spool.queued import Queued
from penstock.spool.scan import Damage, Scan, scan
from penstock.spool.segment import SegmentReader

#: Frames that name a message which is not there are remembered up to so many, for each segment that they name.
MISSES_LIMIT: Final = 100
#: How often everything is read again because the log was abandoned meanwhile; each time takes a failed sync.
_TRIES: Final = 5
#: How often there may be something newer at the end. Reading an index is far faster than filling a segment.
_ROUNDS: Final = 1000


class SeenSegment(msgspec.Struct, frozen=True):
    """A segment as it was seen. ``end`` is behind its last whole frame, ``torn`` the octets behind that which are no frame, not counting zeros.

    ``abandoned_at``: frames from there on do not count. ``fault`` is what is wrong with its header, None if nothing is.
    ``offsets`` are where its frames begin, but for notes.
    """

    identity: Identity
    path: str
    size: int
    end: int
    is_sealed: bool
    torn: int = 0
    abandoned_at: int | None = None
    fault: str | None = None
    damages: tuple[Damage, ...] = ()
    offsets: array[int] = array("I")


class Miss(msgspec.Struct, frozen=True):
    """The frame at ``offset`` of ``segment`` names a message that is not at ``place``. ``is_copy``: it is a copy of that."""

    segment: int
    offset: int
    place: Place
    is_copy: bool


class View(msgspec.Struct, frozen=True):
    """A spool as it was seen.

    ``segments`` are oldest first, ``gone`` the numbers of those that were removed meanwhile. ``bodies``: for every frame with a live message
    whose content is in a body file, by segment and offset, that file's name. ``moved``: rows of copies by the place of what they replace, where
    that has gone with its segment. ``misses`` are a few of the ``missed``, by the segment that they name. ``renamed`` are files with what they
    should be called, ``unusable`` with what is wrong, ``unfinished`` those whose creation did not come to an end; ``foreign`` are none of ours.
    """

    queued: Queued
    segments: tuple[SeenSegment, ...]
    gone: frozenset[int]
    bodies: dict[tuple[int, int], str]
    moved: dict[Place, int]
    misses: dict[int, list[Miss]]
    missed: dict[int, int]
    limits: dict[int, int]
    renamed: tuple[tuple[str, str], ...]
    unusable: tuple[tuple[str, str], ...]
    unfinished: tuple[str, ...]
    foreign: tuple[str, ...]

    def find(self, place: Place) -> int | None:
        """The row of the message at ``place``, or of what it was copied to; None if there is none any more."""
        row = self.queued.find(place)
        return self.moved.get(place) if row is None else row

    def segment(self, number: int) -> SeenSegment | None:
        """The segment of this number; None if it was not seen."""
        return next((item for item in self.segments if item.identity.number == number), None)


#: Told the path of each segment before it is read, how many were read, and how many are known of.
Progress = Callable[[str, int, int], None]


def _quietly(path: str, done: int, known: int) -> None:
    """No progress is shown."""


def look(tree: Tree, progress: Progress = _quietly) -> View:
    """Read what is queued in a spool, and how its segments are. NewerFormat names what is newer; FileError; SpoolError if it will not stand still."""
    for _ in range(_TRIES):
        view = _Look(tree, progress).run()
        if view is not None:
            return view
    raise SpoolError(
        "the server abandons its segments faster than they can be read: see to its disk first, then come again"
    )


class _Look:
    __slots__ = (
        "_bodies", "_foreign", "_gone", "_limits", "_missed", "_misses", "_moved", "_progress", "_queued", "_renamed", "_segments",
        "_tree", "_unfinished", "_unusable",
    )  # fmt: skip

    def __init__(self, tree: Tree, progress: Progress) -> None:
        self._tree = tree
        self._progress = progress
        self._queued = Queued()
        self._segments: list[SeenSegment] = []
        self._gone: set[int] = set()
        self._bodies: dict[tuple[int, int], str] = {}
        self._moved: dict[Place, int] = {}
        self._misses: dict[int, list[Miss]] = {}
        self._missed: dict[int, int] = {}
        self._limits: dict[int, int] = {}
        self._renamed: list[tuple[str, str]] = []
        self._unusable: list[tuple[str, str]] = []
        self._unfinished: list[str] = []
        self._foreign: set[str] = set()

    def run(self) -> View | None:
        """Everything, in order; None if it has to be done again."""
        taken = 0
        for _ in range(_ROUNDS):
            found = self._find(taken)
            if not found:
                return self._view()
            for identity, path in reversed(found):
                self._find_abandoned(identity, path)
            if any(item.abandoned_at != self._limits.get(item.identity.number) for item in self._segments):
                return None
            newest = found[-1][0]
            for done, (identity, path) in enumerate(found):
                self._progress(path, done, len(found))
                self._take(identity, path, is_newest=identity == newest)
            taken = newest.number
        return None

    def _view(self) -> View:
        queued = self._queued
        return View(
            queued,
            tuple(self._segments),
            frozenset(self._gone),
            {frame: name for frame, name in self._bodies.items() if queued.has_live(*frame)},
            self._moved,
            self._misses,
            self._missed,
            self._limits,
            tuple(self._renamed),
            tuple(self._unusable),
            tuple(self._unfinished),
            tuple(sorted(self._foreign)),
        )

    def _find(self, taken: int) -> list[tuple[Identity, str]]:
        """The segments behind number ``taken``, oldest first. What is called like one and is another is listed as such, once."""
        found: list[tuple[Identity, str]] = []
        renamed = {path for path, _ in self._renamed}
        for name in self._tree.names(SEGMENTS):
            path = f"{SEGMENTS}/{name}"
            identity = segment_identity(name)
            if identity is None:
                self._foreign.add(path)
            elif identity.number > taken and path not in renamed:
                other = self._renamed_from(path, identity)
                if other is None:
                    found.append((identity, path))
                else:
                    self._renamed.append((path, segment_path(other)))
        return sorted(found)

    def _open(self, identity: Identity, path: str) -> File | None:
        """A segment; None if it is gone."""
        try:
            return self._tree.open(path)
        except FileError as error:
            if error.errno != errno.ENOENT:
                raise
            self._gone.add(identity.number)
            return None

    def _renamed_from(self, path: str, identity: Identity) -> Identity | None:
        """The segment whose header and first frame are in the file of another; None for a file that may be what it is called."""
        file = self._open(identity, path)
        if file is None:
            return None
        try:
            header = parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0))
            if header.format > FORMAT:
                raise NewerFormat(
                    f"{path} has format {header.format}, and this version of Penstock reads up to {FORMAT}; "
                    "use the newer version that wrote it"
                )
            if header.identity != identity:
                SegmentReader(file, header.identity, path).frame(SEGMENT_HEADER_SIZE)
                return header.identity
        except Damaged:
            pass
        finally:
            file.close()
        return None

    def _find_abandoned(self, identity: Identity, path: str) -> None:
        """Take note of what a segment says about older ones, at its beginning, as far as it counts itself."""
        file = self._open(identity, path)
        if file is None:
            return
        try:
            limit = min(self._limit(identity.number), file.size())
            for frame in SegmentReader(file, identity, path).right_frames(limit):
                if frame.type != FrameType.ABANDON:
                    return
                with suppress(Damaged):  # reported when the segment is examined
                    self._hear(decode(frame), identity.number)
        finally:
            file.close()

    def _hear(self, said: object, speaker: int) -> None:
        if isinstance(said, Abandon) and said.abandoned.segment < speaker:
            number, offset = said.abandoned
            self._limits[number] = min(offset, self._limit(number))

    def _limit(self, number: int) -> int:
        return self._limits.get(number, OFFSET_LIMIT)

    def _take(self, identity: Identity, path: str, *, is_newest: bool) -> None:
        """Apply a segment."""
        file = self._open(identity, path)
        if file is None:
            return
        abandoned_at = self._limits.get(identity.number)
        limit = self._limit(identity.number)
        try:
            size = file.size()
            if limit <= SEGMENT_HEADER_SIZE:  # nothing in it counts, so nothing in it can be damaged
                seen = SeenSegment(
                    identity, path, size, SEGMENT_HEADER_SIZE, False, abandoned_at=abandoned_at
                )
                self._segments.append(seen)
                return
            sealed = SegmentReader(file, identity, path).index(limit)
            if sealed is not None:
                index, end = sealed
                fault = _header_fault(file, identity)
                seen = SeenSegment(
                    identity, path, size, end, True, 0, abandoned_at, fault, (), _offsets(index)
                )
            else:
                scanned = scan_beside_a_writer(file, identity, path, min(size, limit))
                fault = _header_fault(file, identity)
                if fault is not None and scanned.end == SEGMENT_HEADER_SIZE:
                    self._without_frames(path, fault, is_newest=is_newest)
                    return
                index, end = scanned.index, scanned.end
                torn = scanned.torn if abandoned_at is None else 0
                seen = SeenSegment(
                    identity, path, size, end, False, torn, abandoned_at, fault, scanned.damages, _offsets(index)
                )  # fmt: skip
        finally:
            file.close()
        self._segments.append(seen)
        self._apply(index)

    def _without_frames(self, path: str, fault: str, *, is_newest: bool) -> None:
        if is_newest:
            self._unfinished.append(path)
        else:
            self._unusable.append((path, f"{fault}, and it has no frames that can be read"))

    def _apply(self, index: Index) -> None:
        """A segment's messages, then what its later frames say, in their order."""
        queued, number = self._queued, index.number
        queued.add(index)
        copies, rebound = iter(index.copies), index.rebound()
        for offset, kind, change in _but_plain(queued, index.changes):
            replaced = next(copies)[1] if kind in COPIES else None
            queue = next(rebound) if kind == FrameType.REBIND else None
            row = queued.find(change.about)
            if row is None:
                row = self._moved.get(change.about)
            if row is None:
                if change.about == NOWHERE:
                    continue
                self._miss(Miss(number, offset, change.about, is_copy=False))
                continue
            queued.change(row, kind, change)
            if queue is not None:
                queued.rebind(row, queue)
            if replaced is None or replaced == NOWHERE:
                continue
            if queued.find(replaced) is None:
                self._moved[replaced] = row
                self._miss(Miss(number, offset, replaced, is_copy=True))
            else:
                queued.replace(replaced, row)
        self._bodies.update({(number, offset): name for offset, name in index.bodies})

    def _miss(self, miss: Miss) -> None:
        about = miss.place.segment
        self._missed[about] = self._missed.get(about, 0) + 1
        remembered = self._misses.setdefault(about, [])
        if len(remembered) < MISSES_LIMIT:
            remembered.append(miss)


def _but_plain(queued: Queued, changes: ChangeColumns) -> Iterator[tuple[int, int, Change]]:
    """The changes that take more than two numbers; the others are made here, each in its turn.

    Most are attempts that settled nobody, of messages that lie where they lay. As objects a million of them take seconds.
    """
    segments, places, keys = queued.segments, queued.segment, queued.key
    begin = 0
    for at, (kind, count, segment, offset, part) in enumerate(
        zip(changes.kind, changes.settled_count, changes.about_segment, changes.about_offset, changes.about_part, strict=True)
    ):  # fmt: skip
        if kind == FrameType.ATTEMPT and not count and (rows := segments.get(segment)) is not None:
            row = rows.find(offset, part)
            if row is not None and places[row] == segment and keys[row] == offset << 16 | part:
                queued.due[row] = changes.due[at]
                queued.attempts[row] = changes.attempts[at]
                continue
        due = changes.due[at]
        change = Change(
            Place(segment, offset, part),
            changes.attempts[at],
            None if math.isnan(due) else WallTime(due),
            tuple(changes.settled[begin : begin + count]),
        )
        yield changes.offset[at], kind, change
        begin += count


def scan_beside_a_writer(file: File, identity: Identity, path: str, limit: int) -> Scan:
    """As ``scan``, to its end, of a segment that may be written to meanwhile: damage is what is found twice. NewerFormat, FileError."""
    scanned = scan(file, identity, path, limit)
    if not scanned.damages:
        return scanned
    before = {damage.offset for damage in scanned.damages}
    again = scan(file, identity, path, limit)
    return msgspec.structs.replace(
        again, damages=tuple([damage for damage in again.damages if damage.offset in before])
    )


def _header_fault(file: File, identity: Identity) -> str | None:
    """What is wrong with a segment's header; None if nothing is."""
    try:
        header = parse_segment_header(file.read(SEGMENT_HEADER_SIZE, 0))
    except Damaged as damage:
        return str(damage)
    return None if header.identity == identity else "the file begins with the header of another segment"


def _offsets(index: Index) -> array[int]:
    return array("I", sorted({*index.messages.offset, *index.changes.offset}))

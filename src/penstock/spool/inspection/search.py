"""Messages looked for by their ids, and what became of their recipients: what no index has, and is read from frames.

Ids begin with the time, so the frames of about that time are looked at first; only then all others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from penstock.mail.directive import SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.records import Peer, Verdict
from penstock.mail.reply import Reply
from penstock.spool.decoding import Attempt, Expiration, Forget, Quarantine, decode
from penstock.spool.files import File, FileError
from penstock.spool.frame import Damaged, Place
from penstock.spool.index import COPIES, Index
from penstock.spool.inspection.read_only import Tree
from penstock.spool.inspection.stored import Gone, Stored, StoredReader
from penstock.spool.inspection.view import SeenSegment, View, scan_beside_a_writer
from penstock.spool.orders import Removal
from penstock.spool.queued import Queued
from penstock.spool.segment import SegmentReader

#: 48 bits of milliseconds, then the version (``penstock.mail.ids``).
_ID: Final = re.compile(r"([0-9a-f]{12})7[0-9a-f]{19}")
#: Seconds between the time in an id and that of the message; more where a clock was set back.
_NEAR: Final = 60.0
#: Frames between two words of progress.
_STEP: Final = 10_000


class Fate(msgspec.Struct, frozen=True):
    """What the spool knows of one recipient: ``state`` is ``waiting`` or ``settled``, the rest is of the last record about it.

    ``outcome`` is Accepted, Deferred, Failed, Expired, Bounced or Deleted (by an order), Quarantined or Moved, to ``lane``; None where no record is
    left, or none was ever made.
    """

    state: str
    outcome: str | None = None
    time: WallTime | None = None
    attempts: int | None = None
    site: str | None = None
    source: str | None = None
    peer: Peer | None = None
    reply: Reply | None = None
    command: str | None = None
    is_uncertain: bool = False
    lane: str | None = None


def find_id(
    reader: StoredReader, view: View, message_id: str, progress: Callable[[int], None]
) -> Place | None:
    """Where the message lies, queued or not; None if it is in no segment that was seen. Gone: one that was to be looked through is not there."""
    found: list[Place] = []
    match = _ID.fullmatch(message_id)
    looked: set[tuple[int, int]] = set()
    passes = [int(match[1], 16) / 1000, None] if match is not None else [None]
    for moment in passes:
        for segment, offset in _frames(view.queued, moment):
            if (segment, offset) in looked:
                continue
            if moment is not None:
                looked.add((segment, offset))
            progress(1)
            with suppress(Damaged):
                ids = reader.ids(segment, offset)
                found += [Place(segment, offset, part) for part, name in enumerate(ids) if name == message_id]
        if found:
            return found[-1]  # the newest copy: segments are gone through in the order of the log
    return None


def _frames(queued: Queued, moment: float | None) -> Iterator[tuple[int, int]]:
    """The frames with messages, each once; with a ``moment`` those with messages of about that time."""
    created = queued.created
    for number, rows in sorted(queued.segments.items()):
        last = -1
        for key, row in zip(rows.keys, rows.rows, strict=True):
            if key >> 16 != last and (moment is None or abs(created[row] - moment) <= _NEAR):
                last = key >> 16
                yield number, last


def fates(tree: Tree, reader: StoredReader, view: View, stored: Stored) -> list[Fate]:
    """What became of each recipient, in their order. NewerFormat, FileError; what is damaged, or gone, is left out."""
    places = _places(reader, view, stored)
    row = view.find(stored.place)
    waiting = set(view.queued.waiting_recipients(row)) if row is not None else set()
    known: dict[int, Fate] = {}
    oldest = min(places).segment
    for segment in view.segments:
        if segment.identity.number >= oldest:
            for frame in _about(tree, segment, places):
                _learn(known, frame, stored)
    fate: list[Fate] = []
    for recipient in range(len(stored.record.recipients)):
        state = "waiting" if recipient in waiting else "settled"
        last = known.get(recipient)
        fate.append(msgspec.structs.replace(last, state=state) if last is not None else Fate(state))
    return fate


def _places(reader: StoredReader, view: View, stored: Stored) -> set[Place]:
    """Where the message lies, and where it lay before it was copied, as far as that can still be read."""
    row = view.find(stored.place)
    places = {stored.place}
    with suppress(Gone, Damaged):
        if row is not None and view.queued.place(row) not in places:
            stored = reader.envelope(view.queued.place(row))
            places.add(stored.place)
        while stored.state is not None and stored.state.replaces < stored.place:
            places.add(stored.state.replaces)
            stored = reader.envelope(stored.state.replaces)
    return places


_About = Attempt | Expiration | Removal | Quarantine | Forget


def _about(tree: Tree, seen: SeenSegment, places: set[Place]) -> Iterator[_About]:
    """The records of a segment about the message at ``places``, in order."""
    try:
        file = tree.open(seen.path)
    except FileError:
        return
    try:
        reader = SegmentReader(file, seen.identity, seen.path)
        changes = _index(file, reader, seen).changes
        columns = zip(changes.about_segment, changes.about_offset, changes.about_part, strict=True)
        for change, about in enumerate(columns):
            if about in places and changes.kind[change] not in COPIES:
                with suppress(Damaged):
                    decoded = decode(reader.frame(changes.offset[change]))
                    if isinstance(decoded, _About):
                        yield decoded
    finally:
        file.close()


def _index(file: File, reader: SegmentReader, seen: SeenSegment) -> Index:
    sealed = reader.index(seen.end)
    return (
        sealed[0]
        if sealed is not None
        else scan_beside_a_writer(file, seen.identity, seen.path, seen.end).index
    )


def _learn(known: dict[int, Fate], frame: _About, stored: Stored) -> None:
    """Take down what a record says. A recipient that was settled stays as it is."""
    for recipient, fate in _told(frame, stored):
        before = known.get(recipient)
        if before is None or before.outcome == Verdict.DEFERRED.value:
            known[recipient] = fate


def _told(frame: _About, stored: Stored) -> list[tuple[int, Fate]]:
    if isinstance(frame, Attempt):
        attempt = frame.record(stored.record)
        return [
            (
                item.recipient,
                Fate(
                    "", item.verdict.value, attempt.time, attempt.attempts, attempt.site, attempt.source,
                    attempt.peer, item.reply, item.command, item.is_uncertain,
                ),
            )
            for item in attempt.outcomes
        ]  # fmt: skip
    change = frame.meaning().change
    recipients = change.settled if change is not None else ()
    if isinstance(frame, Expiration):
        gone = frame.record(stored.record)
        fate = Fate("", "Expired", gone.time, gone.attempts, gone.site, reply=gone.reply)
    elif isinstance(frame, Removal):
        taken = frame.record(stored.record)
        outcome = "Deleted" if taken.order.action is SweepAction.DELETE else "Bounced"
        fate = Fate("", outcome, taken.time, taken.attempts, taken.site, reply=taken.reply)
    elif isinstance(frame, Forget):
        moved = frame.record()
        fate = Fate("", "Moved", moved.time if moved is not None else None, lane=frame.move.lane)
    else:
        fate = Fate("", "Quarantined", frame.record().time)
    return [(recipient, fate) for recipient in recipients]

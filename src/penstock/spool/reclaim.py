"""Gives the disk back what settled messages took: live ones are copied from the oldest segment to the end of the log, then the segment goes.

Segments die strictly oldest first, each when the removal of the one before is on stable storage: so whatever a segment says of messages in
older ones is there as long as they are. A segment also waits until everything that was written before its last message was settled or
copied has become events, for until then its messages are read for them.

Copying is forced when the log takes more than twice what is live, and two segments, and goes on while nothing else is written and half of
the oldest segment is dead. Either way only so much of it is under way at once.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import MessageRecord
from penstock.spool.appender import Appender
from penstock.spool.bodies import Bodies
from penstock.spool.codec import encode_copy
from penstock.spool.decoding import Transaction
from penstock.spool.departures import Departures
from penstock.spool.entry import Entry
from penstock.spool.files import FileError, Files
from penstock.spool.frame import Damaged, Place
from penstock.spool.loop import Loop
from penstock.spool.meaning import State
from penstock.spool.queued import Queued, SegmentRows
from penstock.spool.reading import Content, Reading
from penstock.spool.shelf import Shelf

LOG = logging.getLogger(__name__)

#: Octets of copies that are not on stable storage yet.
_UNDER_WAY: Final = 4 * 1024 * 1024
#: Octets that are copied in a second while nothing else is written.
_IDLE_RATE: Final = 8 * 1024 * 1024
#: Octets that a message takes in a segment besides its own, about: 250 to 450 in its frame, 50 in the index.
_ENVELOPE: Final = 512
#: Messages that one step looks at.
_LOOKED_AT: Final = 500


class Owner(Protocol):
    """Who deals with what cannot be copied, and knows what has gone to other lanes."""

    @property
    def departures(self) -> Departures:
        """What has gone to other lanes."""

    def quarantine(self, row: int, damage: Exception) -> object:
        """A message is damaged for good: settle it."""


class Reclaim:
    """See the module. ``owner`` settles the live messages of a frame that is damaged. ``copied`` counts octets, ``removed`` segments."""

    def __init__(
        self,
        files: Files,
        loop: Loop,
        queued: Queued,
        shelf: Shelf,
        appender: Appender,
        reading: Reading,
        bodies: Bodies,
        segment_size: int,
        owner: Owner,
    ) -> None:
        self._files = files
        self._loop = loop
        self._queued = queued
        self._shelf = shelf
        self._appender = appender
        self._reading = reading
        self._bodies = bodies
        self._segment_size = segment_size
        self._owner = owner
        #: segments without live messages: everything before this position must have become events
        self._dead: dict[int, LogPosition] = {}
        #: where the original is of a copy that is not known to be stored
        self._originals: dict[Place, Place] = {}
        #: messages with outcomes that are not stored yet, and how many
        self._held: dict[int, int] = {}
        #: everything before has become events
        self.events = LogPosition(0, 0)
        self._segment = 0
        self._cursor = 0
        self._under_way = 0
        self._allowance = 0
        self._is_removing = False
        self._is_stepping = False
        self._is_started = False
        self._last_position = LogPosition(0, 0)
        self.copied = 0
        self.removed = 0

    def start(self) -> None:
        """The recovery has come to its end: every live message is known."""
        self._is_started = True
        self.consider()

    def original(self, place: Place) -> Place:
        """Where a message can be read: the place itself, or that of its original while the copy is on its way."""
        return self._originals.get(place, place) if self._originals else place

    def forget_failed(self) -> None:
        """All copies that had not been stored are known not to be, and nothing names their places any more. Outcomes were stored anew, further on."""
        self._originals.clear()
        self._dead.clear()

    def hold(self, row: int) -> None:
        """An outcome of a message is on its way. A copy would tell what came of it, and after a power cut be there without it."""
        self._held[row] = self._held.get(row, 0) + 1

    def release(self, row: int) -> None:
        """An outcome of a message is stored."""
        left = self._held.pop(row) - 1
        if left:
            self._held[row] = left

    def events_written(self, position: LogPosition) -> None:
        """Everything before the position has become events."""
        if position > self.events:
            self.events = position
            self.consider()

    def tick(self) -> None:
        """Once a second."""
        position = self._appender.position
        self._allowance = _IDLE_RATE if position == self._last_position or self._allowance < _IDLE_RATE else 0
        self.consider()
        self._last_position = self._appender.position

    def consider(self) -> None:
        """Remove what may go, and copy if that is wanted."""
        if not self._is_started or self._appender.is_broken:
            return
        # also while there is no room for a new segment: that is how there may be
        self._remove()
        if self._appender.fault is None and not self._is_stepping and self._wants():
            self._is_stepping = True
            self._loop.call_soon(self._step)

    # -- removing

    def _remove(self) -> None:
        if self._is_removing:
            return
        segment = self._shelf.oldest()
        number = segment.identity.number
        rows = self._queued.segments.get(number)
        if not self._appender.is_settled(number) or (rows is not None and rows.live):
            self._dead.pop(number, None)
            return
        needed = self._dead.setdefault(number, self._appender.position)
        if self.events < needed or not self._owner.departures.may_go(number):
            return
        try:
            self._files.remove(segment.path)
        except FileError as error:
            if error.errno != errno.ENOENT:
                LOG.error("spool: %s", error)
                return
        self._shelf.remove(number)
        self._queued.forget_segment(number)
        del self._dead[number]
        self.removed += 1
        self._is_removing = True
        self._appender.sync_names(self._removed)

    def _removed(self) -> None:
        self._is_removing = False
        self._appender.try_now()
        self.consider()

    # -- copying

    def _wants(self) -> bool:
        """Whether something of the oldest segment is to be copied now."""
        if self._under_way >= _UNDER_WAY:
            return False
        number = self._shelf.oldest().identity.number
        rows = self._queued.segments.get(number)
        if not self._appender.is_settled(number) or rows is None or not rows.live:
            return False
        if self._shelf.size > 2 * _taken(self._queued) + 2 * self._segment_size:
            return True
        return self._allowance > 0 and _taken(rows) < self._shelf.oldest().size // 2

    def _step(self) -> None:
        """Copy one frame, and go on with the next."""
        self._is_stepping = False
        if self._appender.fault is not None or not self._wants():
            return
        number = self._shelf.oldest().identity.number
        if number != self._segment:
            self._segment, self._cursor = number, 0
        offset, self._cursor = self._queued.next_live(number, self._cursor, _LOOKED_AT)
        if offset is None:
            if self._cursor >= len(self._queued.segments[number].keys):
                self._cursor = 0  # what came back since: a copy that failed
            self.consider()
            return
        self._copy(number, offset)

    def _copy(self, number: int, offset: int) -> None:
        rows = self._queued.live_at(number, offset)
        place = Place(number, offset, 0)
        self._is_stepping = True
        try:
            found = self._reading.now(place, self._queued.size[rows[0]])
        except (Damaged, FileError, KeyError) as error:
            self._fetched(place, error)
            return
        if found is None:
            self._reading.fetch(place, partial(self._fetched, place))
        else:
            self._fetched(place, found)

    def _fetched(self, place: Place, found: Transaction | Content | Exception) -> None:
        self._is_stepping = False
        rows = self._queued.live_at(place.segment, place.offset)
        if isinstance(found, Content):
            found = found.transaction
        if isinstance(found, Damaged):
            for row in rows:
                self._owner.quarantine(row, found)
        elif isinstance(found, Transaction):
            if not self._held.keys().isdisjoint(rows):
                self._cursor = 0  # once that is stored it is looked at again
                return
            if rows:
                try:
                    self._append(place, rows, found)
                except SpoolError as error:
                    LOG.error("spool: a segment could not be cleared: %s", error)
                    return
        else:
            LOG.error("spool: a segment could not be cleared: %s", found)
            return
        self.consider()

    def _append(self, place: Place, rows: Sequence[int], found: Transaction) -> None:
        queued, body = self._queued, found.body
        old = [queued.place(row) for row in rows]
        content = bytes(body.size) if body is not None else None
        records = [
            self._in_its_queue(
                row, found.message(item.part) if content is None else found.sized(item.part, content)
            )
            for row, item in zip(rows, old, strict=True)
        ]
        states = [
            State(
                item,
                queued.waiting_recipients(row),
                queued.attempts[row],
                queued.message(row).due,
                queued.created[row] - record.created,
                queued.held.get(row),
            )
            for row, item, record in zip(rows, old, records, strict=True)
        ]
        payload = encode_copy(records, states, body)
        copy = _Copy(place, rows, old)
        entry = Entry(payload, (), partial(self._stored, copy, payload.length))
        self._appender.append(entry, is_urgent=False)
        self._under_way += payload.length
        self._allowance -= payload.length
        self.copied += payload.length
        copy.place = Place(entry.segment, entry.offset, 0)
        for row, original, new in copy.moves():
            queued.move(row, new)
            self._originals[new] = original
        self._bodies.move(place[:2], copy.place[:2])

    def _in_its_queue(self, row: int, record: MessageRecord) -> MessageRecord:
        """A message with the queue that it is in, whatever queue it was accepted for."""
        if row not in self._queued.rebound:
            return record
        return msgspec.structs.replace(record, queue=self._queued.queue_name(row))

    def _stored(self, copy: _Copy, size: int, fault: SpoolError | None) -> None:
        """A copy is on stable storage; or it is not, and its messages are where they were, but for those that are settled."""
        self._under_way -= size
        queued = self._queued
        for row, original, new in copy.moves():
            if fault is None:
                self._originals.pop(new, None)
            elif queued.waiting[row] and queued.place(row) == new:
                queued.move_back(row, original)
        if fault is None:
            self.consider()
        else:
            self._bodies.move(copy.place[:2], copy.original[:2])


def _taken(live: Queued | SegmentRows) -> int:
    """About what live messages take in the log. Without their envelopes the log would be copied round and round if they are small."""
    return live.live_bytes + live.live * _ENVELOPE


class _Copy:
    """Messages of a frame that are on their way from ``original`` to ``place``."""

    __slots__ = ("_old", "_rows", "original", "place")

    def __init__(self, original: Place, rows: Sequence[int], old: Sequence[Place]) -> None:
        self.original = original
        self.place = original
        self._rows = rows
        self._old = old

    def moves(self) -> Iterator[tuple[int, Place, Place]]:
        """Rows, where they were, and where they are going."""
        for part, (row, old) in enumerate(zip(self._rows, self._old, strict=True)):
            yield row, old, self.place._replace(part=part)

"""Stored messages given back: from memory, from segments; and settled where they turn out to be damaged.

A message is known by its row, which stays the same when it is copied. While it is read from the disk it may be copied, or settled and its row be
another's, so what has been read counts only if it is still where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, Fetched, SpoolError, Unreadable
from penstock.mail.records import MessageRecord, QuarantineRecord, StoredMessage
from penstock.mail.status import SpoolCounts
from penstock.spool.arrivals import Arrivals
from penstock.spool.bodies import Bodies
from penstock.spool.codec import Payload, encode_quarantine
from penstock.spool.files import FileError
from penstock.spool.frame import Damaged, NewerFormat, Place
from penstock.spool.loop import Loop
from penstock.spool.queued import Queued
from penstock.spool.reading import Content, Reading
from penstock.spool.recent import Recent

LOG: Final = logging.getLogger(__name__)

#: Where a message can be read that is being copied to this place; the place itself for others.
Original = Callable[[Place], Place]


class Owner(Protocol):
    """The spool whose messages they are."""

    @property
    def arrivals(self) -> Arrivals:
        """Messages that come from other lanes."""

    def record(
        self, row: int, record: QuarantineRecord, encode: Callable[[QuarantineRecord, Place], Payload]
    ) -> object:
        """Write a record about a message, as often as it takes."""


class Retrieval:
    """See the module. ``damaged``: messages that were settled because they are, and why. Whoever still knows their positions must hear of it, so
    their rows never serve again; there are few, and they go with the process.
    """

    __slots__ = (
        "_bodies", "_clock", "_counts", "_ids", "_loop", "_original", "_owner", "_queued", "_reading", "_recent", "damaged",
    )  # fmt: skip

    def __init__(
        self,
        owner: Owner,
        queued: Queued,
        recent: Recent,
        reading: Reading,
        bodies: Bodies,
        loop: Loop,
        clock: Clock,
        ids: IdSource,
        original: Original,
        counts: SpoolCounts,
    ) -> None:
        self._owner = owner
        self._queued = queued
        self._recent = recent
        self._reading = reading
        self._bodies = bodies
        self._loop = loop
        self._clock = clock
        self._ids = ids
        self._original = original
        self._counts = counts
        self.damaged: dict[int, str] = {}

    def get(self, position: int) -> StoredMessage | None:  # hot: throughput
        """See Spool."""
        queued = self._queued
        if position >= len(queued) or not queued.waiting[position]:
            raise self._not_there(position)
        record = self._recent.get(position)
        if record is None:
            record = self._read(position)
            if record is None:
                return None
        return self._stored(position, record)

    def _stored(self, row: int, record: MessageRecord) -> StoredMessage:  # hot: throughput
        queued = self._queued
        if queued.rebound and row in queued.rebound:
            record = msgspec.structs.replace(record, queue=queued.queue_name(row))
        return StoredMessage(record, queued.waiting_recipients(row), queued.attempts[row])

    def _read(self, row: int) -> MessageRecord | None:
        place = self._original(self._queued.place(row))
        try:
            found = self._reading.now(place, self._queued.size[row])
            if found is None or found.body is not None:
                return None
            return found.message(place.part)
        except Damaged as damage:
            raise self.quarantine(row, damage) from damage
        except (FileError, NewerFormat, KeyError) as error:
            raise SpoolError(str(error)) from error

    def fetch(self, position: int, done: Fetched) -> None:
        """See Spool."""
        queued = self._queued
        if position >= len(queued) or not queued.waiting[position]:
            self._loop.call_soon(done, self._not_there(position))
            return
        self._counts.fetches += 1
        place = self._original(queued.place(position))
        self._reading.fetch(place, lambda found: self._fetched(position, place, found, done))

    def _fetched(self, row: int, place: Place, found: Content | Exception, done: Fetched) -> None:
        queued = self._queued
        if not queued.waiting[row]:
            done(self._not_there(row))
            return
        if self._original(queued.place(row)) != place:
            # it has been copied meanwhile, or the row is another message's: whoever asked for that one has gone
            self.fetch(row, done)
            return
        try:
            if isinstance(found, Exception):
                raise found
            record = found.transaction.message(place.part, found.body)
        except Damaged as damage:
            done(self.quarantine(row, damage))
        except (FileError, NewerFormat, KeyError) as error:
            done(SpoolError(str(error)))
        else:
            done(self._stored(row, record))

    def _not_there(self, position: int) -> SpoolError:
        damage = self.damaged.get(position)
        return (
            Unreadable(damage)
            if damage is not None
            else SpoolError(f"nothing is stored at position {position}")
        )

    def quarantine(self, row: int, damage: Exception) -> Unreadable:
        """A message is damaged for good: keep its octets aside, and settle it."""
        queued = self._queued
        if row in queued.held:
            # whoever has given it may have forgotten it: then it is ours that is lost
            self._owner.arrivals.release(row, _nothing)
        place = queued.place(row)
        waiting, attempts = queued.waiting_recipients(row), queued.attempts[row]
        at = self._original(place)
        kept = self._reading.save(at, queued.size[row], queued.next_offset(at))
        reason = f"{damage}{f'; its octets are in {kept}' if kept else ''}"
        where = f"segment {place.segment}, offset {place.offset}, part {place.part}"
        now = self._clock.wall()
        record = QuarantineRecord(
            self._ids.next(now), now, queued.queue_name(row), len(waiting), queued.size[row], where, reason
        )
        LOG.error("spool: a message of %s cannot be read: %s: %s", record.queue, where, reason)

        def encode(record: QuarantineRecord, place: Place) -> Payload:
            return encode_quarantine(record, place, attempts, waiting)

        # what is left of a large content stays
        self._bodies.names.pop(place[:2], None)
        self.damaged[row] = reason
        self._owner.record(row, record, encode)
        self._counts.quarantined += 1
        return Unreadable(reason)


def _nothing() -> None:
    """Nobody waits for it."""

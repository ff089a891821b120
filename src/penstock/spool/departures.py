"""Messages that have gone to other lanes, for as long as those may ask for them.

A FORGET on stable storage is what makes a message another lane's: that lane releases what was forgotten to it, and drops what was not. So a move is
remembered until the other lane has confirmed that it will not ask again. Each FORGET says before which place all are confirmed, so that a start reads
few of them; one that is not when its segment is to go is said again at the end of the log.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Protocol

from penstock.mail.ports import Clock, LogPosition, SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import Move, MovedRecord, SpoolRecord, StoredMessage
from penstock.spool.appender import Appender
from penstock.spool.arrivals import Arrival
from penstock.spool.codec import Payload, encode_forget
from penstock.spool.decoding import Forget, decode
from penstock.spool.entry import Entry
from penstock.spool.frame import Damaged, Place
from penstock.spool.meaning import NOWHERE
from penstock.spool.queued import Queued
from penstock.spool.shelf import Shelf

LOG = logging.getLogger(__name__)

#: Octets of a frame, about.
_FRAME: Final = 128
#: What is said again has no queue.
_NO_QUEUE: Final = QueueName("")


class ForgetPlaces:
    """Where the FORGET frames of a spool are, in the order of the log: eight octets each."""

    __slots__ = ("offsets", "segments")

    def __init__(self) -> None:
        self.segments = array("I")
        self.offsets = array("I")

    def add(self, segment: int, offset: int) -> None:
        """One more."""
        self.segments.append(segment)
        self.offsets.append(offset)

    def newest_first(self) -> Iterator[LogPosition]:
        """All of them."""
        return map(LogPosition, reversed(self.segments), reversed(self.offsets))


class Owner(Protocol):
    """The spool that they go from."""

    def record(
        self,
        row: int,
        record: SpoolRecord,
        encode: Callable[[Any, Place], Payload],
        then: Callable[[], None] | None,
        *,
        is_urgent: bool = False,
    ) -> Entry:
        """Write a record about a message, as often as it takes, and call ``then`` when it is on stable storage."""


class Departures:
    """See the module. Moves are known by their ids, for their messages are gone."""

    def __init__(
        self,
        owner: Owner,
        queued: Queued,
        shelf: Shelf,
        appender: Appender,
        clock: Clock,
        segment_size: int,
    ) -> None:
        self._owner = owner
        self._queued = queued
        self._shelf = shelf
        self._appender = appender
        self._clock = clock
        #: with more than these, a segment would be filled by saying again what the one before it was filled with
        self._most_said_again = segment_size // (4 * _FRAME)
        #: what is not confirmed, and where its FORGET is: in the order of the log, at the end what is said again
        self._unconfirmed: dict[Move, LogPosition] = {}
        #: segments that are to go, with how many of theirs are on their way to the end of the log
        self._leaving: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many are not confirmed."""
        return len(self._unconfirmed)

    def frame_of(self, position: int) -> tuple[int, int]:
        """Where a message lies: those of one frame have one content, and go together."""
        return self._queued.place(position)[:2]

    def offered(self, position: int, stored: StoredMessage, move: Move) -> Arrival:
        """A message as it is offered to another lane; ``move`` is by which it comes there."""
        message = self._queued.message(position)
        shift = message.created - stored.record.created
        return Arrival(stored.record, move, stored.waiting, stored.attempts, message.due, shift)

    def forget(self, position: int, move: Move, done: Callable[[], None]) -> None:
        """A message has gone by ``move``, whose lane is the one that has it. It is out of this spool; ``done`` once that is on stable storage.

        SpoolError if it is not in this spool: it was found damaged, and settled.
        """
        queued = self._queued
        if position >= len(queued) or not queued.waiting[position]:
            raise SpoolError(f"nothing is stored at position {position}")
        waiting, attempts = queued.waiting_recipients(position), queued.attempts[position]
        record = MovedRecord(queued.queue_name(position), self._clock.wall(), move, len(waiting), is_in=False)

        def encode(record: MovedRecord, place: Place) -> Payload:
            return encode_forget(record, place, attempts, waiting, self._mark())

        def stored() -> None:
            if move in self._unconfirmed:
                self._unconfirmed[move] = LogPosition(entry.segment, entry.offset)
            done()

        entry = self._owner.record(position, record, encode, stored, is_urgent=True)
        self._unconfirmed[move] = LogPosition(entry.segment, entry.offset)

    def confirm(self, move: Move) -> None:
        """The other lane will not ask for it any more."""
        self._unconfirmed.pop(move, None)

    def forgotten(self) -> list[Move]:
        """What is not confirmed. At the end of a start all of it is on stable storage."""
        return list(self._unconfirmed)

    def _mark(self) -> LogPosition:
        """All FORGET frames before this place are confirmed."""
        first = next(iter(self._unconfirmed.values()), self._appender.position)
        return min(first, LogPosition(min(self._leaving), 0)) if self._leaving else first

    def may_go(self, segment: int) -> bool:
        """Whether nobody needs the FORGET frames of the oldest segment. If somebody does they are said again, and it may go once that is stored; if
        they are very many it waits.
        """
        if segment in self._leaving:
            return False
        left = [move for move, position in self._unconfirmed.items() if position.segment == segment]
        if len(left) > self._most_said_again:
            return False
        if left:
            self._leaving[segment] = len(left)
        for move in left:
            self._say_again(segment, move)
        return not left

    def _say_again(self, segment: int, move: Move) -> None:
        record = MovedRecord(_NO_QUEUE, self._clock.wall(), move, 0, is_in=False)
        entry = Entry(encode_forget(record, NOWHERE, 0, (), self._mark()))
        entry.after = partial(self._said_again, segment, move, entry)
        self._appender.append(entry, is_urgent=False)
        del self._unconfirmed[move]
        self._unconfirmed[move] = LogPosition(entry.segment, entry.offset)

    def _said_again(self, segment: int, move: Move, entry: Entry) -> None:
        if move in self._unconfirmed:
            self._unconfirmed[move] = LogPosition(entry.segment, entry.offset)
        self._leaving[segment] -= 1
        if not self._leaving[segment]:
            del self._leaving[segment]

    # -- starts

    def find(self, places: ForgetPlaces) -> Iterator[None]:
        """At a start: read what is not confirmed, in small steps. FileError, NewerFormat."""
        found: list[tuple[Move, LogPosition]] = []
        mark: LogPosition | None = None
        for position in places.newest_first():
            if mark is not None and position < mark:
                break
            yield
            try:
                forget = decode(self._shelf.reader(position.segment).frame(position.offset))
            except Damaged as damage:
                LOG.error(
                    "spool: which message was moved to another lane cannot be read in segment %d at %d: %s",
                    *position, damage,
                )  # fmt: skip
                continue
            if isinstance(forget, Forget):
                mark = forget.confirmed if mark is None else mark
                found.append((forget.move, position))
        for move, position in reversed(found):
            self._unconfirmed.pop(move, None)
            self._unconfirmed[move] = position

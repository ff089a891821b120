"""Messages that come from other lanes: held until the other lane has forgotten them, then released; or dropped, if it keeps them.

A held message is on stable storage and is not delivered, for the other lane may still have it. Which of the two becomes of it only that lane
can say, after a crash of either side too; ``penstock.queueing.moving`` has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.ports import Clock, StoreDone
from penstock.mail.records import MessageRecord, Move, MovedRecord, QueuedMessage, SpoolRecord
from penstock.spool.codec import Body, Payload, encode_copy, encode_release
from penstock.spool.frame import Damaged, FrameType, Place
from penstock.spool.loop import Loop
from penstock.spool.meaning import NOWHERE, Change, Meaning, State
from penstock.spool.queued import Queued
from penstock.spool.shelf import Shelf

#: Of a held message that is damaged: nobody knows how it came.
_UNKNOWN: Final = Move("", MessageId(""), 0)


class Arrival(NamedTuple):
    """A message as the other lane has it: the move by which it comes, recipients waiting, attempts spent, when it is due.

    ``shift``: seconds that it was created later than the record says, as clocks have jumped since.
    """

    record: MessageRecord
    move: Move
    waiting: tuple[int, ...]
    attempts: int
    due: WallTime | None
    shift: float = 0.0

    @property
    def state(self) -> State:
        """Its state, as its frame has it."""
        return State(NOWHERE, self.waiting, self.attempts, self.due, self.shift, self.move)


class Owner(Protocol):
    """The spool that they come to."""

    def store_as(
        self,
        records: Sequence[MessageRecord],
        encode: Callable[[Sequence[MessageRecord], Body | None], Payload],
        done: StoreDone,
    ) -> None:
        """Store messages of one content in a frame that ``encode`` makes; otherwise as ``Spool.store``."""

    def record(
        self,
        row: int,
        record: SpoolRecord,
        encode: Callable[[Any, Place], Payload],
        then: Callable[[], None] | None,
        *,
        is_urgent: bool = False,
    ) -> object:
        """Write a record about a message, as often as it takes, and call ``then`` when it is on stable storage."""

    def quarantine(self, row: int, damage: Exception) -> object:
        """A message is damaged for good: settle it."""


class Arrivals:
    """See the module. Messages are known by their positions, as everywhere."""

    def __init__(self, owner: Owner, queued: Queued, shelf: Shelf, clock: Clock, loop: Loop) -> None:
        self._owner = owner
        self._queued = queued
        self._shelf = shelf
        self._clock = clock
        self._loop = loop

    def __len__(self) -> int:
        """How many are held."""
        return len(self._queued.held)

    def hold(self, arrivals: Sequence[Arrival], done: StoreDone) -> None:
        """Store messages of one transaction, all or none, and hold them. ``done``, and what is raised, as of ``Spool.store``."""
        states = [item.state for item in arrivals]
        self._owner.store_as(
            [item.record for item in arrivals],
            lambda records, body: encode_copy(records, states, body),
            done,
        )

    def stored(self, rows: Sequence[int], number: int, offset: int, meaning: Meaning) -> None:
        """Rows of a frame that was just appended: they are in the states that it says, and held."""
        queued = self._queued
        for part, (row, state) in enumerate(zip(rows, meaning.states, strict=True)):
            waiting = set(state.waiting)
            settled = tuple([item for item in range(queued.recipients[row]) if item not in waiting])
            change = Change(Place(number, offset, part), state.attempts, state.due, settled)
            queued.change(row, FrameType.MOVED, change)
            queued.held[row] = state.held
        for part, schedule in meaning.schedules:
            queued.schedules[rows[part]] = schedule

    def release(self, position: int, done: Callable[[], None]) -> None:
        """It is ours from now on, and may be delivered; ``done`` once that is on stable storage. Nothing, if it is not held any more."""
        self._decide(position, done, is_dropped=False)

    def drop(self, position: int, done: Callable[[], None]) -> None:
        """It is the other lane's after all, and gone from here; ``done`` once that is on stable storage. Nothing, if it is not held any more."""
        self._decide(position, done, is_dropped=True)

    def _decide(self, row: int, done: Callable[[], None], *, is_dropped: bool) -> None:
        queued = self._queued
        if row not in queued.held:
            self._loop.call_soon(done)
            return
        waiting = queued.waiting_recipients(row)
        record = MovedRecord(
            queued.queue_name(row),
            self._clock.wall(),
            queued.held[row] or _UNKNOWN,
            0 if is_dropped else len(waiting),
            is_in=True,
        )
        encode = partial(_encoded, attempts=queued.attempts[row], waiting=waiting, is_dropped=is_dropped)
        self._owner.record(row, record, encode, done)

    def message(self, position: int) -> QueuedMessage:
        """What the scheduler needs of a message that was held and is released; it is told once."""
        message = self._queued.message(position)
        return QueuedMessage(
            position,
            message.queue,
            message.created,
            message.size,
            len(message.waiting),
            message.attempts,
            message.due,
            message.is_held,
            self._queued.schedules.pop(position, None),
        )

    def is_held(self, position: int) -> bool:
        """Whether it is still to be released or dropped."""
        return position in self._queued.held

    def held(self) -> list[tuple[int, Move]]:
        """The positions of those that are held, each with the move by which it came."""
        return [(row, move) for row, move in self._queued.held.items() if move is not None]

    def find_moves(self) -> Iterator[None]:
        """At a start: read by which moves they came, in small steps. Those that are damaged are settled. FileError, NewerFormat."""
        queued = self._queued
        for row in [row for row, move in queued.held.items() if move is None]:
            yield
            if row not in queued.held:
                continue
            place = queued.place(row)
            try:
                transaction = self._shelf.reader(place.segment).transaction(place.offset)
                move = transaction.states[place.part].held if place.part < len(transaction.states) else None
                if move is None:
                    raise Damaged(f"the message at {place} did not come from another lane")
            except Damaged as damage:
                self._owner.quarantine(row, damage)
            else:
                queued.held[row] = move


def _encoded(
    record: MovedRecord, place: Place, *, attempts: int, waiting: tuple[int, ...], is_dropped: bool
) -> Payload:
    return encode_release(record, place, attempts, waiting, is_dropped=is_dropped)

"""What is queued, in columns: for every message its place and its state, for every segment the way from places to messages.

A message is a row. Its number stays the same when it is copied forward within a running spool, so it can be what the rest of the program
knows a message by. 68 octets a message, whatever becomes of it; one of more than 64 recipients costs a bit more for each. Rows of settled
messages serve again; while a spool is being recovered they do not, for later records still name the places of those messages.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.records import Move
from penstock.mail.schedule import Schedule
from penstock.spool.frame import FrameType, Place
from penstock.spool.index import Index
from penstock.spool.meaning import Change, Listed

#: Recipients that a row's bits stand for; those of larger messages are kept beside the columns.
_BITS: Final = 64
#: Frames that leave it as it is when a message is due.
_KEEP_DUE: Final = frozenset(
    map(
        int,
        (
            FrameType.EXPIRATION, FrameType.QUARANTINE, FrameType.FORGET, FrameType.RELEASE, FrameType.REMOVAL,
        ),
    )
)  # fmt: skip


class QueuedRow(msgspec.Struct, frozen=True):
    """A live message. ``waiting`` are the indices of recipients not settled; ``due`` None: as soon as may be.

    ``is_held``: another lane may still have it, and it is not to be delivered.
    """

    row: int
    place: Place
    queue: QueueName
    created: WallTime
    size: int
    waiting: tuple[int, ...]
    attempts: int
    due: WallTime | None
    is_held: bool


class SegmentRows:
    """The messages of one segment in the order of their places, as ``offset * 65536 + part``, with their rows.

    ``live`` and ``live_bytes`` count those with a recipient waiting that have not been copied elsewhere.
    """

    __slots__ = ("keys", "live", "live_bytes", "rows")

    def __init__(self) -> None:
        self.keys = array("Q")
        self.rows = array("I")
        self.live = 0
        self.live_bytes = 0

    def find(self, offset: int, part: int) -> int | None:
        """The row of a message; None if none is there."""
        key = offset << 16 | part
        at = bisect_left(self.keys, key)
        return self.rows[at] if at < len(self.keys) and self.keys[at] == key else None


class Queued:
    """The messages. ``live`` counts those with a recipient waiting, ``live_bytes`` their octets."""

    __slots__ = (
        "_free", "_free_queues", "_large", "_queues", "_users", "attempts", "created", "due", "held", "key", "live", "live_bytes",
        "queue", "queue_names", "rebound", "recipients", "schedules", "segment", "segments", "size", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.segment = array("I")
        self.key = array("Q")
        self.created = array("d")
        #: NaN is none
        self.due = array("d")
        self.size = array("Q")
        self.recipients = array("I")
        self.attempts = array("I")
        #: index of ``queue_names``
        self.queue = array("I")
        #: a bit for each recipient that waits; of a large message 1 while any does
        self.waiting = array("Q")
        self.segments: dict[int, SegmentRows] = {}
        #: None where no row has such a name any more
        self.queue_names: list[QueueName | None] = []
        self.live = 0
        #: octets of live messages
        self.live_bytes = 0
        #: live messages that have come from another lane and are not released, by row, with their moves; None where that is still to be read
        self.held: dict[int, Move | None] = {}
        #: live messages that an order has put into another queue than the one in their frame, or in one that they have been copied from
        self.rebound: set[int] = set()
        #: schedules of live messages of which nobody has been told
        self.schedules: dict[int, Schedule] = {}
        self._queues: dict[QueueName, int] = {}
        self._users = array("I")
        self._large: dict[int, int] = {}
        self._free = array("I")
        self._free_queues: list[int] = []

    def __len__(self) -> int:
        """How many rows there are, live, settled or free."""
        return len(self.segment)

    def __iter__(self) -> Iterator[int]:
        """The rows of live messages."""
        return (row for row, bits in enumerate(self.waiting) if bits)

    def place(self, row: int) -> Place:
        """Where a message lies now."""
        key = self.key[row]
        return Place(self.segment[row], key >> 16, key & 0xFFFF)

    def find(self, place: Place) -> int | None:
        """While recovering: the row of the message at ``place``, or of what it was copied to since; None if there is none."""
        while True:
            rows = self.segments.get(place.segment)
            row = rows.find(place.offset, place.part) if rows is not None else None
            if row is None or self.place(row) == place:
                return row
            place = self.place(row)

    def live_at(self, segment: int, offset: int) -> list[int]:
        """The rows of the live messages of the frame at ``offset``; those that were copied from there are not."""
        rows = self.segments.get(segment)
        if rows is None:
            return []
        found: list[int] = []
        at = bisect_left(rows.keys, offset << 16)
        while at < len(rows.keys) and rows.keys[at] >> 16 == offset:
            row = rows.rows[at]
            if self.waiting[row] and self.segment[row] == segment and self.key[row] == rows.keys[at]:
                found.append(row)
            at += 1
        return found

    def has_live(self, segment: int, offset: int) -> bool:
        """Whether a live message lies in the frame at ``offset``; one that was copied from there does not."""
        return bool(self.live_at(segment, offset))

    def next_live(self, segment: int, start: int, limit: int) -> tuple[int | None, int]:
        """From the ``start``-th message of a segment on, looking at ``limit`` of them: the offset of the first frame with a live one, None if
        none is among them; and which message to go on with.
        """
        rows = self.segments[segment]
        end = min(len(rows.keys), start + limit)
        for at in range(start, end):
            row = rows.rows[at]
            if self.waiting[row] and self.segment[row] == segment and self.key[row] == rows.keys[at]:
                offset = rows.keys[at] >> 16
                return offset, bisect_left(rows.keys, (offset + 1) << 16)
        return None, end

    def next_offset(self, place: Place) -> int | None:
        """Where the frame behind a message's begins, as far as it is known: that of the next message of the segment; None if there is none."""
        rows = self.segments.get(place.segment)
        if rows is None:
            return None
        at = bisect_left(rows.keys, (place.offset + 1) << 16)
        return rows.keys[at] >> 16 if at < len(rows.keys) else None

    def waiting_recipients(self, row: int) -> tuple[int, ...]:  # hot: throughput
        """The indices of recipients not settled."""
        recipients = self.recipients[row]
        if recipients == 1:
            return (0,) if self.waiting[row] else ()
        bits = self._bits(row)
        return tuple([recipient for recipient in range(recipients) if bits >> recipient & 1])

    def message(self, row: int) -> QueuedRow:
        """All that is known of a message without reading it."""
        due = self.due[row]
        return QueuedRow(
            row,
            self.place(row),
            self.queue_name(row),
            WallTime(self.created[row]),
            self.size[row],
            self.waiting_recipients(row),
            self.attempts[row],
            None if math.isnan(due) else WallTime(due),
            row in self.held,
        )

    def queue_name(self, row: int) -> QueueName:
        """The queue of a message."""
        name = self.queue_names[self.queue[row]]
        assert name is not None  # noqa: S101 -- it is counted as long as a row has it
        return name

    # -- what is written

    def put(self, segment: int, offset: int, messages: Sequence[Listed]) -> list[int]:  # hot: throughput
        """Rows for the messages of a frame, all their recipients waiting."""
        rows = self.segments.get(segment)
        if rows is None:
            rows = self.segments[segment] = SegmentRows()
        new: list[int] = []
        for part, (created, size, recipients, name) in enumerate(messages):
            queue = self._queues.get(name)
            if queue is None:
                queue = self._new_queue(name)
            self._users[queue] += 1
            row = self._free.pop() if self._free else self._grow()
            key = offset << 16 | part
            self.segment[row] = segment
            self.key[row] = key
            self.created[row] = created
            self.due[row] = math.nan
            self.size[row] = size
            self.recipients[row] = recipients
            self.attempts[row] = 0
            self.queue[row] = queue
            if recipients <= _BITS:
                self.waiting[row] = (1 << recipients) - 1
            else:
                self.waiting[row] = 1
                self._large[row] = (1 << recipients) - 1
            rows.keys.append(key)
            rows.rows.append(row)
            rows.live += 1
            rows.live_bytes += size
            self.live_bytes += size
            new.append(row)
        self.live += len(new)
        return new

    def move(self, row: int, place: Place) -> None:
        """A live message lies elsewhere from now on; in its new segment places go up."""
        old = self.segments[self.segment[row]]
        old.live -= 1
        old.live_bytes -= self.size[row]
        new = self.segments.setdefault(place.segment, SegmentRows())
        key = place.offset << 16 | place.part
        self.segment[row], self.key[row] = place.segment, key
        new.keys.append(key)
        new.rows.append(row)
        new.live += 1
        new.live_bytes += self.size[row]

    def move_back(self, row: int, place: Place) -> None:
        """A live message was not copied after all: it lies where it was before ``move``."""
        new = self.segments.get(self.segment[row])
        if new is not None:
            new.live -= 1
            new.live_bytes -= self.size[row]
        self.segment[row], self.key[row] = place.segment, place.offset << 16 | place.part
        old = self.segments[place.segment]
        old.live += 1
        old.live_bytes += self.size[row]

    def drop(self, row: int) -> None:
        """A message was not stored after all."""
        self._set(row, 0)
        self.free(row)

    def free(self, row: int) -> None:  # hot: throughput
        """Let a settled message's row serve again; nothing asks for its place any more."""
        self._leave_queue(self.queue[row])
        self._free.append(row)

    def _leave_queue(self, queue: int) -> None:  # hot: throughput
        self._users[queue] -= 1
        if not self._users[queue]:
            name = self.queue_names[queue]
            if name is not None:
                del self._queues[name]
            self.queue_names[queue] = None
            self._free_queues.append(queue)

    def rebind(self, row: int, name: QueueName) -> None:
        """A live message is in this queue from now on."""
        queue = self._queues.get(name)
        if queue is None:
            queue = self._new_queue(name)
        self._users[queue] += 1
        self._leave_queue(self.queue[row])
        self.queue[row] = queue
        if self.waiting[row]:
            self.rebound.add(row)

    def forget_segment(self, segment: int) -> None:
        """A segment is gone; no live message lies in it."""
        self.segments.pop(segment, None)

    def change(self, row: int, kind: int, change: Change) -> None:  # hot: throughput
        """Apply what a later frame says of a message. Recipients that it does not have are passed over."""
        if kind not in _KEEP_DUE and (change.due is not None or kind != FrameType.REBIND):
            self.due[row] = math.nan if change.due is None else change.due
            if kind == FrameType.MOVED:
                self.held[row] = None
        elif kind == FrameType.RELEASE:
            self.held.pop(row, None)
        self.attempts[row] = change.attempts
        if change.settled:
            bits = 0
            for recipient in change.settled:
                if recipient < self.recipients[row]:
                    bits |= 1 << recipient
            self._set(row, self._bits(row) & ~bits)

    # -- what is recovered

    def add(self, index: Index, first: int = 0, last: int | None = None, shift: float = 0.0) -> None:
        """The messages of a segment, all their recipients waiting; its changes are not applied. Those from ``first`` up to ``last``.

        ``shift`` is added to when they were created.
        """
        messages, part = index.messages, slice(first, last)
        begin = len(self.segment)
        keys = array(
            "Q",
            [
                offset << 16 | number
                for offset, number in zip(messages.offset[part], messages.part[part], strict=True)
            ],
        )
        count = len(keys)
        self.segment.extend([index.number] * count)
        self.key.extend(keys)
        created = messages.created[part]
        self.created.extend([moment + shift for moment in created] if shift else created)
        self.due.extend([math.nan] * count)
        self.size.extend(messages.size[part])
        recipients = messages.recipients[part]
        self.recipients.extend(recipients)
        self.attempts.frombytes(bytes(self.attempts.itemsize * count))
        self._add_queues(index, part)
        for row, schedule in index.schedules_of(first, last):
            self.schedules[begin + row - first] = schedule
        self.waiting.extend([(1 << number) - 1 if number <= _BITS else 1 for number in recipients])
        rows = self.segments.setdefault(index.number, SegmentRows())
        rows.keys.extend(keys)
        rows.rows.extend(range(begin, begin + count))
        size = sum(messages.size[part])
        rows.live_bytes += size
        self.live_bytes += size
        for row, number in enumerate(recipients, begin):
            rows.live += number > 0
            self.live += number > 0
            if number > _BITS:
                self._large[row] = (1 << number) - 1

    def _add_queues(self, index: Index, part: slice) -> None:
        known: dict[int, int] = {}
        names, users = index.queue_names, self._users
        for number in index.messages.queue[part]:
            queue = known.get(number)
            if queue is None:
                name = names[number]
                found = self._queues.get(name)
                queue = known[number] = self._new_queue(name) if found is None else found
            users[queue] += 1
            self.queue.append(queue)

    def replace(self, place: Place, row: int) -> None:
        """The message at ``place`` was copied to ``row``: what is settled of it stays so, and what names ``place`` means ``row`` from now on."""
        old = self.find(place)
        if old is None or old == row:
            return
        self._set(row, self._bits(row) & self._bits(old))
        self._set(old, 0)
        self.segment[old], self.key[old] = self.segment[row], self.key[row]

    # -- columns

    def _grow(self) -> int:
        row = len(self.segment)
        for column in (
            self.segment, self.key, self.created, self.due, self.size, self.recipients, self.attempts, self.queue,
            self.waiting,
        ):  # fmt: skip
            column.append(0)
        return row

    def _new_queue(self, name: QueueName) -> int:
        if self._free_queues:
            number = self._free_queues.pop()
            self.queue_names[number] = name
        else:
            number = len(self.queue_names)
            self.queue_names.append(name)
            self._users.append(0)
        self._queues[name] = number
        return number

    def _bits(self, row: int) -> int:
        return self._large[row] if row in self._large else self.waiting[row]

    def _set(self, row: int, bits: int) -> None:
        before = self.waiting[row]
        if row in self._large:
            self._large[row] = bits
            bits = 1 if bits else 0
        self.waiting[row] = bits
        if before and not bits:
            self.live -= 1
            self.live_bytes -= self.size[row]
            self._large.pop(row, None)
            self.held.pop(row, None)
            if self.schedules:
                self.schedules.pop(row, None)
            if self.rebound:
                self.rebound.discard(row)
            rows = self.segments.get(self.segment[row])
            if rows is not None:
                rows.live -= 1
                rows.live_bytes -= self.size[row]

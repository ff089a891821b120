"""What is queued, in columns: for every message its place and its state, for every segment the way from places to messages.

A message is a row. Its number stays the same when it is copied forward within a running spool, so it can be what the rest of the program
knows a message by. 68 octets a message, whatever becomes of it; one of more than 64 recipients costs a bit more for each.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.spool.frame import FrameType, Place
from penstock.spool.index import Index
from penstock.spool.meaning import Change

#: Recipients that a row's bits stand for; those of larger messages are kept beside the columns.
_BITS: Final = 64


class QueuedMessage(msgspec.Struct, frozen=True):
    """A live message. ``waiting`` are the indices of recipients not settled; ``due`` None: as soon as may be."""

    row: int
    place: Place
    queue: QueueName
    created: WallTime
    size: int
    waiting: tuple[int, ...]
    attempts: int
    due: WallTime | None


class SegmentRows:
    """The messages of one segment in the order of their places, as ``offset * 65536 + part``, with their rows."""

    __slots__ = ("keys", "rows")

    def __init__(self) -> None:
        self.keys = array("Q")
        self.rows = array("I")

    def find(self, offset: int, part: int) -> int | None:
        """The row of a message; None if none is there."""
        key = offset << 16 | part
        at = bisect_left(self.keys, key)
        return self.rows[at] if at < len(self.keys) and self.keys[at] == key else None


class Queued:
    """The messages. ``live`` counts those with a recipient waiting; a settled one keeps its row."""

    __slots__ = (
        "_large", "_queues", "attempts", "created", "due", "key", "live", "queue", "queue_names", "recipients", "segment",
        "segments", "size", "waiting",
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
        self.queue_names: list[QueueName] = []
        self.live = 0
        self._queues: dict[QueueName, int] = {}
        self._large: dict[int, int] = {}

    def __len__(self) -> int:
        """How many rows there are, live or settled."""
        return len(self.segment)

    def __iter__(self) -> Iterator[int]:
        """The rows of live messages, in the order of their first places."""
        return (row for row, bits in enumerate(self.waiting) if bits)

    def place(self, row: int) -> Place:
        """Where a message lies now."""
        key = self.key[row]
        return Place(self.segment[row], key >> 16, key & 0xFFFF)

    def find(self, place: Place) -> int | None:
        """The row of the message at ``place``, or of what it was copied to since; None if there is none."""
        while True:
            rows = self.segments.get(place.segment)
            row = rows.find(place.offset, place.part) if rows is not None else None
            if row is None or self.place(row) == place:
                return row
            place = self.place(row)

    def has_live(self, segment: int, offset: int) -> bool:
        """Whether a live message lies in the frame at ``offset``; one that was copied from there does not."""
        rows = self.segments.get(segment)
        if rows is None:
            return False
        at = bisect_left(rows.keys, offset << 16)
        while at < len(rows.keys) and rows.keys[at] >> 16 == offset:
            row = rows.rows[at]
            if self.waiting[row] and self.segment[row] == segment and self.key[row] == rows.keys[at]:
                return True
            at += 1
        return False

    def waiting_recipients(self, row: int) -> tuple[int, ...]:
        """The indices of recipients not settled."""
        bits = self._bits(row)
        return tuple([recipient for recipient in range(self.recipients[row]) if bits >> recipient & 1])

    def message(self, row: int) -> QueuedMessage:
        """All that is known of a message without reading it."""
        due = self.due[row]
        return QueuedMessage(
            row,
            self.place(row),
            self.queue_names[self.queue[row]],
            WallTime(self.created[row]),
            self.size[row],
            self.waiting_recipients(row),
            self.attempts[row],
            None if math.isnan(due) else WallTime(due),
        )

    def add(self, index: Index) -> None:
        """The messages of a segment, all their recipients waiting; its changes are not applied."""
        messages = index.messages
        first, count = len(self.segment), len(messages)
        self.segment.extend([index.number] * count)
        keys = array(
            "Q", [offset << 16 | part for offset, part in zip(messages.offset, messages.part, strict=True)]
        )
        self.key.extend(keys)
        self.created.extend(messages.created)
        self.due.extend([math.nan] * count)
        self.size.extend(messages.size)
        self.recipients.extend(messages.recipients)
        self.attempts.frombytes(bytes(self.attempts.itemsize * count))
        queues = [self._queue(name) for name in index.queue_names]
        self.queue.extend([queues[queue] for queue in messages.queue])
        self.waiting.extend(
            [(1 << recipients) - 1 if recipients <= _BITS else 1 for recipients in messages.recipients]
        )
        for row, recipients in enumerate(messages.recipients, first):
            self.live += recipients > 0
            if recipients > _BITS:
                self._large[row] = (1 << recipients) - 1
        rows = self.segments.setdefault(index.number, SegmentRows())
        rows.keys.extend(keys)
        rows.rows.extend(range(first, first + count))

    def _queue(self, name: QueueName) -> int:
        number = self._queues.get(name)
        if number is None:
            number = self._queues[name] = len(self.queue_names)
            self.queue_names.append(name)
        return number

    def change(self, row: int, kind: int, change: Change) -> None:
        """Apply what a later frame says of a message. Recipients that it does not have are passed over."""
        if kind != FrameType.EXPIRATION:
            self.due[row] = math.nan if change.due is None else change.due
        self.attempts[row] = change.attempts
        if change.settled:
            bits = 0
            for recipient in change.settled:
                if recipient < self.recipients[row]:
                    bits |= 1 << recipient
            self._set(row, self._bits(row) & ~bits)

    def replace(self, place: Place, row: int) -> None:
        """The message at ``place`` was copied to ``row``: what is settled of it stays so, and what names ``place`` means ``row`` from now on."""
        old = self.find(place)
        if old is None or old == row:
            return
        self._set(row, self._bits(row) & self._bits(old))
        self._set(old, 0)
        self.segment[old], self.key[old] = self.segment[row], self.key[row]

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
            self._large.pop(row, None)

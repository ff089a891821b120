"""Queued messages as rows of typed arrays: 68 octets a message, nothing for the garbage collector to walk.

A row is an index. Instants are whole microseconds since 1970 (``instants``). A row stands in at most one list of its scheduled queue, chained by
``next`` and ``previous``, and in at most one of the calendar's, chained by ``later`` and ``sooner`` (``calendar`` owns those, ``wake`` and
``level``). ``NONE`` ends a chain. Free rows are chained by ``next``. Columns grow in pieces and never shrink: what a burst has taken, the
next one uses.
"""

from __future__ import annotations

from array import array
from typing import Final

import msgspec

#: No row. Also the largest number of rows, minus one.
NONE: Final = 0xFFFFFFFF

FREE: Final = 0
#: Waits for its due time, in its queue's ``waiting_rows``.
WAITING: Final = 1
#: Due, in its queue's ``ready_rows``.
READY: Final = 2
#: With a connection; in no list.
IN_FLIGHT: Final = 3
#: Over, without a connection; in no list, until that is recorded.
ENDING: Final = 4

#: Rows that the columns grow by at a time.
_PIECE: Final = 1024


class Rows:
    """The columns, each indexed by row.

    ``order`` counts the rows that have become READY: the lower of two came first. ``created`` and ``size`` are for whoever must say how old or
    how large queued mail is without reading it from the spool.
    """

    __slots__ = (
        "_free",
        "_unused",
        "attempts",
        "created",
        "expires",
        "later",
        "level",
        "live",
        "next",
        "order",
        "position",
        "previous",
        "queue",
        "size",
        "sooner",
        "state",
        "wake",
    )

    def __init__(self) -> None:
        self.state = array("B")
        self.level = array("B")
        self.attempts = array("H")
        self.size = array("I")
        self.queue = array("I")
        self.next = array("I")
        self.previous = array("I")
        self.later = array("I")
        self.sooner = array("I")
        self.created = array("q")
        self.expires = array("q")
        self.wake = array("q")
        self.position = array("Q")
        self.order = array("Q")
        self._free = NONE
        #: the first row that never was one
        self._unused = 0
        self.live = 0

    def new(self, queue: int, position: int, size: int, created: int, expires: int, attempts: int) -> int:
        """A row for a message; its state, its order and its lists are the caller's to set."""
        row = self._free
        if row != NONE:
            self._free = self.next[row]
        else:
            row = self._unused
            if row == len(self.state):
                self._grow()
            self._unused = row + 1
        self.live += 1
        self.created[row] = created
        self.expires[row] = expires
        self.position[row] = position
        self.size[row] = size
        self.attempts[row] = attempts
        self.queue[row] = queue
        return row

    def _grow(self) -> None:
        for column in (
            self.state, self.level, self.attempts, self.size, self.queue, self.next, self.previous,
            self.later, self.sooner, self.created, self.expires, self.wake, self.position, self.order,
        ):  # fmt: skip
            column.frombytes(bytes(column.itemsize * _PIECE))

    def free(self, row: int) -> None:
        """Give a row back; it stands in no list."""
        self.state[row] = FREE
        self.next[row] = self._free
        self._free = row
        self.live -= 1


class RowList(msgspec.Struct, gc=False):
    """A chain of rows: first in, first out, with a way back in where a row belongs and a way out anywhere.

    Two numbers, so the garbage collector need not know of it: there are two of these for each queue.
    """

    head: int = NONE
    tail: int = NONE

    def append(self, rows: Rows, row: int) -> None:  # hot: micro_queueing
        """Put a row at the end."""
        tail = self.tail
        rows.next[row] = NONE
        rows.previous[row] = tail
        if tail == NONE:
            self.head = row
        else:
            rows.next[tail] = row
        self.tail = row

    def restore(self, rows: Rows, row: int) -> None:
        """Put a row back where its order says: before the first row that came later. Looks at the rows before that place."""
        order = rows.order
        before, after = NONE, self.head
        while after != NONE and order[after] < order[row]:
            before, after = after, rows.next[after]
        rows.next[row] = after
        rows.previous[row] = before
        if before == NONE:
            self.head = row
        else:
            rows.next[before] = row
        if after == NONE:
            self.tail = row
        else:
            rows.previous[after] = row

    def pop(self, rows: Rows) -> int:  # hot: micro_queueing
        """Take the first row; NONE if there is none."""
        row = self.head
        if row != NONE:
            head = self.head = rows.next[row]
            if head == NONE:
                self.tail = NONE
            else:
                rows.previous[head] = NONE
        return row

    def remove(self, rows: Rows, row: int) -> None:
        """Take out a row that stands in this list."""
        before, after = rows.previous[row], rows.next[row]
        if before == NONE:
            self.head = after
        else:
            rows.next[before] = after
        if after == NONE:
            self.tail = before
        else:
            rows.previous[after] = before

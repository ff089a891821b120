"""Queued messages as rows of typed arrays: about fifty octets a message and nothing for the garbage collector to walk.

A row is an index. ``wake`` is the instant of the one thing that time will do to it: become due, or expire. Instants are whole microseconds
since 1970, so that they compare exactly. A due row stands in one list, chained by ``next`` and ``previous`` (``NONE`` ends a chain):
the list of path number ``path``, or, with ``NONE`` there, the parked list of its queue. Free rows are chained by ``next``.
"""

from __future__ import annotations

from array import array
from typing import Final

#: No row. Also the largest number of rows, minus one.
NONE: Final = 0xFFFFFFFF

FREE: Final = 0
#: Waits for its due time, in its scheduled queue.
WAITING: Final = 1
#: Due; waits for a route, or for its turn on a path.
READY: Final = 2
#: With a connection.
IN_FLIGHT: Final = 3


class Rows:
    """The columns, each indexed by row."""

    __slots__ = (
        "_free",
        "attempts",
        "created",
        "expires",
        "live",
        "next",
        "path",
        "position",
        "previous",
        "queue",
        "size",
        "state",
        "wake",
    )

    def __init__(self) -> None:
        self.state = array("B")
        self.wake = array("q")
        self.created = array("q")
        self.expires = array("q")
        self.position = array("Q")
        self.size = array("I")
        self.attempts = array("H")
        self.queue = array("I")
        self.path = array("I")
        self.next = array("I")
        self.previous = array("I")
        self._free = NONE
        self.live = 0

    def new(self, queue: int, position: int, size: int, created: int, expires: int, attempts: int) -> int:
        """A row for a message; its state and its wake are the caller's to set."""
        self.live += 1
        row = self._free
        if row == NONE:
            row = len(self.state)
            self.state.append(FREE)
            self.wake.append(0)
            self.created.append(created)
            self.expires.append(expires)
            self.position.append(position)
            self.size.append(size)
            self.attempts.append(attempts)
            self.queue.append(queue)
            self.path.append(NONE)
            self.next.append(NONE)
            self.previous.append(NONE)
            return row
        self._free = self.next[row]
        self.created[row] = created
        self.expires[row] = expires
        self.position[row] = position
        self.size[row] = size
        self.attempts[row] = attempts
        self.queue[row] = queue
        self.path[row] = NONE
        self.next[row] = NONE
        return row

    def free(self, row: int) -> None:
        """Give a row back; it stands in no list."""
        self.state[row] = FREE
        self.wake[row] = 0
        self.next[row] = self._free
        self._free = row
        self.live -= 1


class RowList:
    """A chain of rows: first in, first out, with a way back in at the front and a way out anywhere."""

    __slots__ = ("head", "tail")

    def __init__(self) -> None:
        self.head = NONE
        self.tail = NONE

    def append(self, rows: Rows, row: int) -> None:  # hot: throughput
        """Put a row at the end."""
        tail = self.tail
        rows.next[row] = NONE
        rows.previous[row] = tail
        if tail == NONE:
            self.head = row
        else:
            rows.next[tail] = row
        self.tail = row

    def prepend(self, rows: Rows, row: int) -> None:
        """Put a row back in front."""
        head = self.head
        rows.next[row] = head
        rows.previous[row] = NONE
        if head == NONE:
            self.tail = row
        else:
            rows.previous[head] = row
        self.head = row

    def pop(self, rows: Rows) -> int:  # hot: throughput
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

"""Which row time does something to next: every row that waits for an instant, in buckets that are looked into only when they come near.

Buckets are of three levels: FAR ones hold the rows of 67 s, NEAR ones those of 66 ms, EXACT ones those of one microsecond, in the order in
which they came. A row goes into the widest bucket that has not been opened yet. When the first instant of a bucket comes, its rows move to
narrower ones, and from EXACT ones they are taken. So a row costs no object, is entered and removed at once wherever it stands, and moves twice
at most before it is due; what the calendar itself needs is one bucket for each minute that has mail.

A bucket knows its earliest instant, so that ``next`` is exact without opening it. Where that row has been removed, a small bucket is looked
through again; a large one may say an instant too early, never too late. Large buckets are opened ahead of their time, for their rows move in
slices (``open``).

Rows whose instant has come, and for which nothing can be done yet, are set ASIDE, in a bucket without a time.
"""

from __future__ import annotations

import heapq
from typing import Final

import msgspec

from penstock.queueing.rows import NONE, Rows

#: Levels of a row (``rows.level``): in no bucket, or in one of these.
NOWHERE: Final = 0
EXACT: Final = 1
NEAR: Final = 2
FAR: Final = 3
ASIDE: Final = 4

#: An instant's bucket is its instant without this many low bits, by level: all of them for those ASIDE.
_SHIFTS: Final = (0, 0, 16, 26, 63)
#: A bucket with more rows than this is opened ahead: its rows take milliseconds to move.
_LARGE: Final = 500
#: How far ahead, in microseconds, by level: room for a million rows among other work.
_AHEAD: Final = (0, 0, 1 << 16, 1 << 24)
#: A bucket up to this size is looked through for its earliest instant; in a larger one the loss would be noticed, the gain not.
_SMALL: Final = 32


class Bucket(msgspec.Struct, gc=False):
    """Rows with nearby instants, chained by ``later`` and ``sooner``. ``earliest`` is after none of them, and the first of them if ``is_exact``.

    Numbers only, so the garbage collector need not know of it.
    """

    head: int = NONE
    tail: int = NONE
    size: int = 0
    earliest: int = 0
    is_exact: bool = True


class Calendar:
    """Rows by the instant of their wake, each in it once at most."""

    __slots__ = ("_buckets", "_far_floor", "_keys", "_near_floor", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        #: by level: buckets by key, and a heap of the keys. A bucket that has become empty stays until its key comes up
        self._buckets: tuple[dict[int, Bucket], ...] = ({}, {}, {}, {}, {})
        self._keys: tuple[list[int], ...] = ([], [], [], [], [])
        #: instants from here on go into FAR buckets; those before, from here on, into NEAR ones
        self._far_floor = 0
        self._near_floor = 0

    def insert(self, row: int, instant: int) -> None:  # hot: micro_queueing
        """Have ``row``, which is not in the calendar, come up at ``instant``."""
        self._rows.wake[row] = instant
        if instant >= self._far_floor:
            self._enter(row, instant, FAR)
        else:
            self._enter(row, instant, NEAR if instant >= self._near_floor else EXACT)

    def _enter(self, row: int, instant: int, level: int) -> None:  # hot: micro_queueing
        rows = self._rows
        key = instant >> _SHIFTS[level]
        bucket = self._buckets[level].get(key)
        if bucket is None:
            bucket = self._buckets[level][key] = Bucket()
            heapq.heappush(self._keys[level], key)
        tail = bucket.tail
        rows.level[row] = level
        rows.later[row] = NONE
        rows.sooner[row] = tail
        bucket.tail = row
        bucket.size += 1
        if tail == NONE:
            bucket.head = row
            bucket.earliest = instant
            bucket.is_exact = True
            return
        rows.later[tail] = row
        if instant <= bucket.earliest:
            bucket.earliest = instant
            bucket.is_exact = True

    def remove(self, row: int) -> None:  # hot: micro_queueing
        """Have ``row``, which is in the calendar, not come up."""
        rows = self._rows
        instant, level = rows.wake[row], rows.level[row]
        bucket = self._buckets[level][instant >> _SHIFTS[level]]
        before, after = rows.sooner[row], rows.later[row]
        if before == NONE:
            bucket.head = after
        else:
            rows.later[before] = after
        if after == NONE:
            bucket.tail = before
        else:
            rows.sooner[after] = before
        bucket.size -= 1
        rows.level[row] = NOWHERE
        if instant == bucket.earliest:
            bucket.is_exact = False

    # -- aside

    def set_aside(self, row: int) -> None:
        """Keep ``row``, whose instant came and which is not in the calendar, until ``pop_aside``."""
        self._enter(row, self._rows.wake[row], ASIDE)

    @property
    def has_aside(self) -> bool:
        """Whether any row is set aside."""
        return bool(self._keys[ASIDE]) and self._first(ASIDE) is not None

    def pop_aside(self) -> int:
        """Take out the row that was set aside first; NONE if there is none."""
        bucket = self._first(ASIDE)
        if bucket is None:
            return NONE
        row = bucket.head
        self.remove(row)
        return row

    # -- time

    def next(self) -> int:
        """When ``open`` and ``pop`` are to be called next; 0 for never."""
        first = 0
        if self._first(EXACT) is not None:
            first = self._keys[EXACT][0]
        for level in (NEAR, FAR):
            bucket = self._first(level)
            if bucket is not None:
                instant = self._opening(level, bucket)
                if not first or instant < first:
                    first = instant
        return first

    def open(self, now: int, budget: int) -> int:
        """Move rows whose instant is near to where ``pop`` finds them, as many as ``budget``; how many it were."""
        moved = 0
        for level in (FAR, NEAR):
            while moved < budget:
                bucket = self._first(level)
                if bucket is None or self._opening(level, bucket) > now:
                    break
                moved += self._move(level, bucket, budget - moved)
        return moved

    def pop(self, now: int) -> int:
        """Take out a row whose instant has come; NONE if there is none but what ``open`` has yet to move."""
        bucket = self._first(EXACT)
        if bucket is None or self._keys[EXACT][0] > now:
            return NONE
        row = bucket.head
        self.remove(row)
        return row

    def _move(self, level: int, bucket: Bucket, budget: int) -> int:
        """Move up to ``budget`` rows of the first bucket of a level to narrower ones; what comes for its time goes there from now on."""
        is_large = bucket.size > _LARGE
        end = self._keys[level][0] + 1 << _SHIFTS[level]
        if level == FAR:
            self._far_floor = max(self._far_floor, end)
        else:
            self._near_floor = max(self._near_floor, end)
        rows = self._rows
        moved = min(budget, bucket.size)
        for _ in range(moved):
            row = bucket.head
            instant = rows.wake[row]
            self.remove(row)
            self._enter(row, instant, NEAR if is_large and instant >= self._near_floor else EXACT)
        return moved

    def _first(self, level: int) -> Bucket | None:
        """The first bucket of a level that has rows; those before it are forgotten."""
        keys, buckets = self._keys[level], self._buckets[level]
        while keys:
            bucket = buckets[keys[0]]
            if bucket.size:
                return bucket
            del buckets[heapq.heappop(keys)]
        return None

    def _opening(self, level: int, bucket: Bucket) -> int:
        """When a NEAR or FAR bucket, which has rows, must be opened."""
        if not bucket.is_exact and bucket.size <= _SMALL:
            rows = self._rows
            row, earliest = bucket.head, rows.wake[bucket.head]
            while row != NONE:
                earliest = min(earliest, rows.wake[row])
                row = rows.later[row]
            bucket.earliest = earliest
            bucket.is_exact = True
        return bucket.earliest - _AHEAD[level] if bucket.size > _LARGE else bucket.earliest

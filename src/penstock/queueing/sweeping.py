"""Orders about queued mail carried out: messages are found in slices, taken out of their places, and recorded by the lane as ends.

What a ``Run`` is about it counts, then goes through the queues that match, and through the rows of each; what was accepted up to the instant at which
the sweep was given becomes an end, as far as there is room. Then it looks for what is in no place, with a connection or ending otherwise, and waits
for that: what comes back gets the order then. It is over when nothing is left and all that it took has been recorded.

Queues and rows go on moving meanwhile. A list is gone through from its first row again if the row where the last slice ended has moved. Mail that
comes in, or into a queue by another order, is looked at where it stands. So no message is missed that was queued when the sweep was given; what is
delivered before the run comes to it is none of its business.

Of rebinds that are under way together the later one has the last word on each message: none takes out what a later one has put in, or two of
them would have it go to and fro.

Mail that is being tried is flushed already, and so is mail that has been ready since: nothing is flushed twice by one sweep. What its sender wants
at certain hours is not flushed at others, and is put into another queue with its hours.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Mapping
from typing import Final

from penstock.mail.directive import Criteria, Order, Progress, Sweep, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.schedule import may_go_at
from penstock.queueing.effects import Drop, End, Flush, Rebind, removal_reply
from penstock.queueing.instants import instant_of, time_of
from penstock.queueing.places import Places
from penstock.queueing.postings import Walk
from penstock.queueing.queues import ScheduledQueue
from penstock.queueing.rows import ENDING, FREE, IN_FLIGHT, NONE, READY, WAITING
from penstock.queueing.runs import Known, Run

#: Sweeps that may be under way at a time.
SWEEPS_LIMIT: Final = 1000
#: Sweeps that are over and are remembered.
_REMEMBERED: Final = 1000
#: What is done in the time in which other work does one row, 4 us: queues that are counted, or gone to, rows that came later, and rows that are
#: looked through for some state. A row that it is about is as much as three.
_QUEUES_FOR_ONE: Final = 4
_PASSED_FOR_ONE: Final = 8
_SCANNED_FOR_ONE: Final = 1024
_TAKEN: Final = 3 * _PASSED_FOR_ONE
#: Rows that came back, one by one; of more, their queues are gone through again.
_ROWS_LIMIT: Final = 1000


class Sweeping:
    """The sweeps of one lane. ``runs`` are those under way, by id, in the order in which they were given."""

    __slots__ = (
        "_awaited",
        "_not_yet",
        "_numbers",
        "_over",
        "_places",
        "_put_off",
        "_rebound",
        "_serial",
        "_taken",
        "_turns",
        "is_filling",
        "runs",
    )

    def __init__(self, places: Places) -> None:
        self._places = places
        self.runs: dict[str, Run] = {}
        #: those that are over, the last ones
        self._over: dict[str, Progress] = {}
        #: the numbers that those had
        self._numbers: dict[str, int] = {}
        #: those that have something to do
        self._turns: deque[Run] = deque()
        #: rows that are ending by an order, and by which
        self._taken: dict[int, Run] = {}
        #: rows in flight, or ending otherwise, and who waits for them
        self._awaited: dict[int, list[Run]] = {}
        #: a heap of rows that cannot be recorded before some instant
        self._put_off: list[tuple[int, int, Known, Run]] = []
        #: what is put off, and by which run: a walk that comes to it again passes it by
        self._not_yet: set[tuple[Known, Run]] = set()
        self._serial = 0
        #: by row, the number of the rebind that has put it into its queue, as far as that matters: only later ones take it out again
        self._rebound = array("I")
        #: mail from before the start is still being added
        self.is_filling = False

    # -- orders

    def begin(self, sweep: Sweep) -> None:
        """Begin a sweep; one that is under way goes on as it is. ValueError for one too many."""
        if sweep.order.id not in self.runs:
            run = self._new_run(sweep.order, sweep.criteria, instant_of(sweep.given))
            run.counting = self._places.postings.walk(sweep.criteria)
            self._list(run)

    def begin_one(self, row: int, order: Order) -> None:
        """Begin an order about one message, as above."""
        if order.id not in self.runs:
            run = self._new_run(order, None, 0)
            run.matched = 1
            run.rows.append((row, self._places.rows.position[row]))
            self._list(run)

    def _new_run(self, order: Order, criteria: Criteria | None, given: int) -> Run:
        if len(self.runs) == SWEEPS_LIMIT:
            raise ValueError(f"{SWEEPS_LIMIT} sweeps are under way; cancel some, or wait until they are over")
        self._over.pop(order.id, None)
        run = self.runs[order.id] = Run(order, criteria, given, self._places.order)
        # one that is given once more is as old as it was, and takes nothing from those that came after it
        number = self._numbers.pop(order.id, 0)
        if not number:
            number = self._serial = self._serial + 1
        run.number = number
        return run

    def cancel(self, identity: str) -> bool:
        """Stop a sweep: what it has taken is still recorded, and nothing else; then it is over. False if none of this id is under way."""
        run = self.runs.get(identity)
        if run is None:
            return False
        run.stop()
        for row, awaiting in list(self._awaited.items()):
            if run in awaiting:
                awaiting.remove(run)
                run.pending -= 1
                if not awaiting:
                    del self._awaited[row]
        others = [entry for entry in self._put_off if entry[3] is not run]
        run.pending -= len(self._put_off) - len(others)
        heapq.heapify(others)
        self._not_yet = {(known, other) for _, _, known, other in others}
        self._put_off = others
        self._review(run)
        return True

    @property
    def progress(self) -> Mapping[str, Progress]:
        """How far each is, by id: those that are over, of the last ones, and those under way."""
        return {**self._over, **{identity: run.progress for identity, run in self.runs.items()}}

    def _end(self, run: Run) -> None:
        """It is over."""
        del self.runs[run.order.id]
        if not self.runs:
            self._rebound = array("I")
        self._over[run.order.id] = Progress(run.done, run.done, is_over=True)
        self._numbers[run.order.id] = run.number
        if len(self._over) > _REMEMBERED:
            first = next(iter(self._over))
            del self._over[first], self._numbers[first]

    def _review(self, run: Run) -> None:
        """Something has become of a run's mail: it has more to do, or is over."""
        if run.has_work:
            self._list(run)
        elif not run.pending and not self.is_filling and self.runs.get(run.order.id) is run:
            self._end(run)

    def filled(self) -> None:
        """Mail from before the start is all here."""
        self.is_filling = False
        for run in list(self.runs.values()):
            self._review(run)

    def _list(self, run: Run) -> None:
        if not run.is_listed:
            run.is_listed = True
            self._turns.append(run)

    # -- what becomes of mail meanwhile

    def came(self, row: int) -> None:
        """A message is new in its queue. Called only while there are runs."""
        if row < len(self._rebound):
            self._rebound[row] = 0
        queue, created = self._places.queue_of(row), self._places.rows.created[row]
        for run in self.runs.values():
            if run.covers(queue.name, created):
                run.matched += 1
                self._find_again(run, queue, row)

    def came_back(self, row: int) -> None:
        """A message that was in flight, or was to end, is in a place again. Called only while there are runs."""
        places = self._places
        queue, created = places.queue_of(row), places.rows.created[row]
        awaiting = self._awaited.pop(row, ())
        for run in awaiting:
            run.pending -= 1
            self._find_again(run, queue, row)
        for run in self.runs.values():
            if run not in awaiting and not run.is_flush and run.covers(queue.name, created):
                self._find_again(run, queue, row)

    def _find_again(self, run: Run, queue: ScheduledQueue, row: int) -> None:
        if len(run.rows) < _ROWS_LIMIT or run.criteria is None:
            run.rows.append((row, self._places.rows.position[row]))
        else:
            run.again[queue.name] = None
        self._review(run)

    def gone(self, row: int) -> None:
        """A message that was in flight, or was ending, is queued no more. Called only while there are runs."""
        for run in self._awaited.pop(row, ()):
            run.pending -= 1
            self._review(run)

    def recorded(self, end: End) -> None:
        """What an order wanted of a message is recorded; or the message is lost."""
        run = self._taken.pop(end.row, None)
        if run is not None:
            run.pending -= 1
        elif isinstance(end, Drop):
            # by the directive that the sweep is a part of
            run = self.runs.get(end.order.id)
        if run is not None:
            if isinstance(end, Rebind):
                self._mark(run, end.row)
            run.done += 1
            self._review(run)

    def _mark(self, run: Run, row: int) -> None:
        """A message is in another queue, by this run: earlier ones that are under way leave it there."""
        if any(other.is_rebind and other.number < run.number for other in self.runs.values()):
            missing = len(self._places.rows.state) - len(self._rebound)
            self._rebound.frombytes(bytes(self._rebound.itemsize * max(0, missing)))
        if row < len(self._rebound):
            self._rebound[row] = run.number

    def put_off(self, end: End, until: int) -> None:
        """It cannot be recorded before then."""
        run = self._taken.pop(end.row, None)
        if run is not None:
            self._serial += 1
            known = (end.row, end.position)
            heapq.heappush(self._put_off, (until, self._serial, known, run))
            self._not_yet.add((known, run))

    # -- slices

    @property
    def is_behind(self) -> bool:
        """Whether a slice would do something."""
        return bool(self._turns) and self._places.ends_room > 0

    def next_wake(self) -> int:
        """When ``wake`` has something to do; 0 for never."""
        return self._put_off[0][0] if self._put_off else 0

    def wake(self, now: int, size: int) -> int:
        """What was put off until now is tried again; how many it were, ``size`` at most."""
        for done in range(size):
            if not self._put_off or self._put_off[0][0] > now:
                return done
            _, _, known, run = heapq.heappop(self._put_off)
            self._not_yet.discard((known, run))
            run.pending -= 1
            run.rows.append(known)
            self._review(run)
        return size

    def take_turn(self, now: int, size: int) -> int:
        """Do about as much as ``size`` rows are, for the run whose turn it is; how much it was."""
        if not self.is_behind:
            return 0
        run = self._turns.popleft()
        run.is_listed = False
        left = size
        while left > 0 and run.has_work and self._places.ends_room:
            left -= self._go_on(run, now, left)
        self._review(run)
        return max(1, size - left)

    def _go_on(self, run: Run, now: int, size: int) -> int:
        """Do the next thing that a run has to do, as far as ``size`` goes; how much it was."""
        if run.rows:
            return self._look_at(run, now, *run.rows.popleft())
        if run.counting is not None:
            return self._count(run, run.counting, size)
        if run.queues:
            return self._go_through(run, run.queues[0], now, size)
        if run.walk is not None:
            return self._fetch_queues(run, run.walk, size)
        if not run.again:
            return self._look_for_absent(run, size)
        queue = self._places.queues.get(run.again.popitem()[0])
        run.queues.extend((queue,) if queue is not None else ())
        # what is there may go before it is come to
        run.is_away, run.scanned = not run.is_flush, 0
        return 1

    def _count(self, run: Run, walk: Walk, size: int) -> int:
        """How many messages a run may be about."""
        for queue in walk.take(size * _QUEUES_FOR_ONE):
            if run.changes(queue.name):
                run.matched += queue.waiting if run.is_flush else len(queue)
        if walk.is_over and run.criteria is not None:
            run.counting, run.walk = None, self._places.postings.walk(run.criteria)
        return size

    def _fetch_queues(self, run: Run, walk: Walk, size: int) -> int:
        found = walk.take(size * _QUEUES_FOR_ONE)
        run.queues.extend([queue for queue in found if len(queue) and run.changes(queue.name)])
        if walk.is_over:
            run.walk = None
        return 1 + len(found) // _QUEUES_FOR_ONE

    def _go_through(self, run: Run, queue: ScheduledQueue, now: int, size: int) -> int:
        """Take the rows of a queue that it is about: those that wait, for they may become ready meanwhile, then those that are."""
        places, rows = self._places, self._places.rows
        if not run.mark:
            run.returns = places.returns
        state, row = self._resume(run, queue)
        left = size * _PASSED_FOR_ONE
        while left > 0 and places.ends_room:
            if row == NONE:
                if state == READY or run.is_flush:
                    run.queues.popleft()
                    run.mark = ()
                    if run.returns != places.returns:
                        run.again[queue.name] = None
                    return max(1, size - left // _PASSED_FOR_ONE)
                state, row = READY, queue.ready_rows.head
                continue
            following = rows.next[row]
            if rows.created[row] <= run.given:
                self._take(run, queue, row, now)
                left -= _TAKEN
            else:
                left -= 1
            row = following
        run.mark = (state, row, *self._marks(state, row)) if row != NONE else (state, row)
        return max(1, size - left // _PASSED_FOR_ONE)

    def _resume(self, run: Run, queue: ScheduledQueue) -> tuple[int, int]:
        """Which list it is at, and the row it has come to."""
        if not run.mark:
            return WAITING, queue.waiting_rows.head
        state, row, *marks = run.mark
        rows = self._places.rows
        if not marks:
            return state, NONE
        if (
            rows.state[row] == state
            and rows.queue[row] == queue.index
            and [*self._marks(state, row)] == marks
        ):
            return state, row
        return state, (queue.waiting_rows if state == WAITING else queue.ready_rows).head

    def _marks(self, state: int, row: int) -> tuple[int, int]:
        """What changes if a row leaves its list and comes into it again elsewhere."""
        rows = self._places.rows
        return rows.position[row], (rows.wake if state == WAITING else rows.order)[row]

    def _look_at(self, run: Run, now: int, row: int, position: int) -> int:
        """Take a single row if it is still that message's, and the run is about it; or wait for it."""
        rows = self._places.rows
        if rows.state[row] == FREE or rows.position[row] != position:
            return 1
        queue = self._places.queue_of(row)
        is_meant = run.criteria is None or run.covers(queue.name, rows.created[row])
        if not is_meant or not run.changes(queue.name):
            return 1
        if rows.state[row] in (WAITING, READY):
            self._take(run, queue, row, now)
        else:
            self._await(run, row)
        return 1

    def _look_for_absent(self, run: Run, size: int) -> int:
        """Wait for those of its messages that are in no place: with a connection, or ending otherwise."""
        rows = self._places.rows
        begin, run.scanned = run.scanned, run.scanned + size * _SCANNED_FOR_ONE
        states = rows.state[begin : run.scanned].tobytes()
        for state in (IN_FLIGHT, ENDING):
            at = states.find(state)
            while at >= 0:
                row = begin + at
                if run.covers(self._places.queue_of(row).name, rows.created[row]):
                    self._await(run, row)
                at = states.find(state, at + 1)
        run.is_away = bool(states)
        return size

    def _await(self, run: Run, row: int) -> None:
        awaiting = self._awaited.setdefault(row, [])
        # mail that is being tried now is flushed already
        if self._taken.get(row) is not run and run not in awaiting and not run.is_flush:
            awaiting.append(run)
            run.pending += 1
        elif not awaiting:
            del self._awaited[row]

    def _take(self, run: Run, queue: ScheduledQueue, row: int, now: int) -> None:
        """Take a row out of its place, to be recorded, if there is anything to be done to it. There is room."""
        places, rows = self._places, self._places.rows
        if run.is_rebind and row < len(self._rebound) and self._rebound[row] > run.number:
            return
        if self._not_yet and ((row, rows.position[row]), run) in self._not_yet:
            return
        waits = rows.state[row] == WAITING
        if run.is_flush and (not waits or rows.wake[row] <= now or rows.order[row] > run.began):
            return
        due = self._due(row, now) if waits else now
        if run.is_flush and due > now:
            return
        places.calendar.remove(row)
        if waits:
            queue.remove_waiting(rows, row)
            site = places.last_site(queue)
        else:
            site = places.take_out(queue, row)
        places.end(queue, row, self._end_of(run.order, queue, row, site, time_of(due) if waits else None))
        self._taken[row] = run
        run.pending += 1

    def _due(self, row: int, now: int) -> int:
        """When a row may be tried at the earliest: now, if it is within the hours that its sender wants."""
        schedules = self._places.schedules
        schedule = schedules.get(row) if schedules else None
        return (
            now if schedule is None else instant_of(may_go_at(schedule, time_of(now), self._places.zone_of))
        )

    def _end_of(self, order: Order, queue: ScheduledQueue, row: int, site: str, due: WallTime | None) -> End:
        """What is to be recorded; ``due`` is when the row, if it waits, may be tried."""
        position, attempts = self._places.rows.position[row], self._places.rows.attempts[row]
        if order.action is SweepAction.REBIND:
            return Rebind(queue, row, position, attempts, site, order.rebinding.of(queue.name), due, order)
        if order.action is SweepAction.FLUSH and due is not None:
            return Flush(queue, row, position, attempts, site, due, order)
        return Drop(queue, row, position, attempts, site, removal_reply(order), order)

"""What goes next, one message at a time, and who goes on when a gate opens.

At the pull the queue whose turn it is shows its first message. If that may not go its queue parks, or the message waits, and the next tenant has its
turn: so a queue that is held costs the others of its path one look. A token that is left by one that has no use for it (its site may be dead) goes to
the next that waits, a little later.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.configuration import ShareBy
from penstock.mail.schedule import may_go_at
from penstock.queueing.instants import instant_of, time_of
from penstock.queueing.parking import Parking
from penstock.queueing.places import Places
from penstock.queueing.queues import Path, ScheduledQueue
from penstock.queueing.rows import NONE

#: Rows that one pull looks at which then cannot go; those behind them are left to the next.
_STEPPED_OVER: Final = 16
#: Queues that are let go at once when what they wait for has come. As many as there are tokens, and if tokens are left over, twice as many each
#: time: mail of a dead site, say, has no use for them. After a tenth of a second one that is connected has taken its own.
_LET_GO: Final = 256
_LEFT_OVER_AFTER: Final = 100_000


class Turnstile:
    """See the module."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        self._places = places

    # -- gates open

    def review(self, queue: ScheduledQueue, now: int) -> None:
        """See whether what is in force now holds a queue, or still does."""
        gates = self._places.gates
        if not queue.ready or queue.generation == gates.generation:
            return
        if queue.parking is not None:
            self.release(queue, now)
        elif not self._places.is_held(queue, now):
            self._places.has_more(queue, now)

    def release(self, queue: ScheduledQueue, now: int) -> None:
        """Take a queue out of its parking, and have it go on, or park for what holds it now."""
        self._places.gates.unpark(queue)
        queue.hop.enlist(queue)
        self._places.admit(queue, now)

    def opened(self, key: str, now: int) -> None:
        """A limit that has refused somebody may have a token."""
        path = self._places.gates.limited_path(key)
        if path is not None:
            self._places.gates.test(path, now)
            self._places.supply.serve(path, now)
        parking = self._places.gates.parkings.get(key)
        if parking is not None:
            self.let_go(parking, now)

    def let_go(self, parking: Parking[ScheduledQueue], now: int) -> None:
        """Let queues that are parked for a limit go on, if it has tokens; and see later whether any are left over."""
        if not self._is_by_now(parking, now):
            return
        limit = parking.limit
        room = self._places.gates.has_room(limit, now) if limit is not None else 0
        if not room:
            return
        count = max(room, parking.step)
        parking.step *= 2
        self._let_go(parking, min(count, _LET_GO), now)
        if parking.first is not None:
            self._places.timers.set(parking, now + _LEFT_OVER_AFTER)

    def _is_by_now(self, parking: Parking[ScheduledQueue], now: int) -> bool:
        """Whether somebody is parked there, the first by the limit as it is: it is not to be asked by what it was before a reload."""
        for _ in range(_LET_GO):
            queue = parking.first
            if queue is None or (queue.epoch == self._places.epoch and parking.limit in queue.limits):
                return queue is not None
            self.release(queue, now)
        return False  # the limit is gone, and whoever looks at all queues comes to the others

    def _let_go(self, parking: Parking[ScheduledQueue], count: int, now: int) -> None:
        for _ in range(count):
            queue = parking.first
            if queue is None:
                return
            self.release(queue, now)
            if queue.parking is not None and queue.parking.key == parking.key:
                return

    def _used(self, queue: ScheduledQueue, path: Path, row: int, now: int) -> None:
        """Tokens were used for a row: see what the limits let through now, and have others go on if there are more."""
        gates = self._places.gates
        self._places.rows.wake[row] = now
        if queue.path is not None and queue.limits:
            gates.measure(queue, now)
        for limit in queue.limits:
            parking = gates.parkings.get(limit.key)
            if parking is not None:
                parking.step = 1
                if gates.has_room(limit, now):
                    self._let_go(parking, 1, now)
        if path.limits:
            gates.measure_path(path, now)

    # -- pulls

    def take_next(self, path: Path, now: int, *, is_leaving: bool = False) -> int:  # hot: micro_queueing
        """The next row of a path that no gate holds, IN_FLIGHT and counted so; NONE if there is none, or too many were stepped over.

        ``is_leaving``: for another lane, where limits and the sender's hours are looked at.
        """
        places = self._places
        gates, rows = places.gates, places.rows
        for _ in range(_STEPPED_OVER):
            queue = path.sharing.next()
            if queue is None:
                break
            row = queue.ready_rows.head
            if rows.expires[row] <= now:
                places.expire(queue, places.take_off(path, queue), path.site)
                continue
            if queue.generation != gates.generation and places.is_held(queue, now):
                path.sharing.yield_turn(queue.tenant)
                continue
            limits = not is_leaving and (queue.limits or path.limits)
            if not is_leaving and places.schedules and self._is_out_of_hours(path, queue, row, now):
                continue
            if limits and not gates.charge(queue, path, now):
                if path.gate is not None:
                    break
                path.sharing.yield_turn(queue.tenant)
                continue
            cost = 1.0 if path.config.share_by is not ShareBy.BYTES else float(rows.size[row])
            places.take_off(path, queue, cost)
            queue.in_flight += 1
            path.in_flight += 1
            if limits:
                self._used(queue, path, row, now)
            return row
        return NONE

    def _is_out_of_hours(self, path: Path, queue: ScheduledQueue, row: int, now: int) -> bool:
        """Whether the sender's hours of a queue's first row are over: then it waits for the next."""
        schedule = self._places.schedules.get(row)
        if schedule is None:
            return False
        opens = instant_of(may_go_at(schedule, time_of(now), self._places.zone_of))
        if opens <= now:
            return False
        self._places.returns += 1
        self._places.wait(queue, self._places.take_off(path, queue), opens)
        return True

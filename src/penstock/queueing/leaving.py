"""Ready mail whose home is another lane: taken off its path one by one, while somebody moves it there.

A path whose site has its home elsewhere (``Path.lane``) is asked to be moved by the effect ``Move``, once while there is mail. Whoever moves it takes
``next`` until there is none, and says of each what became of it; in between it is in flight. A path that cannot be moved is held, with a reason.
Homes may change at any time: what is said for a lane that is not the path's any more changes nothing.
"""

from __future__ import annotations

from penstock.mail.duration import WallTime
from penstock.queueing.instants import instant_of
from penstock.queueing.places import Places
from penstock.queueing.queues import Path
from penstock.queueing.rows import NONE
from penstock.queueing.sweeping import Sweeping
from penstock.queueing.turnstile import Turnstile


class Leaving:
    """See the module. Rows are those of the scheduler."""

    __slots__ = ("_places", "_sweeping", "_turnstile")

    def __init__(self, places: Places, turnstile: Turnstile, sweeping: Sweeping) -> None:
        self._places = places
        self._turnstile = turnstile
        self._sweeping = sweeping

    def next(self, path: Path, lane: str, now: WallTime) -> int:
        """The next message of a path to be moved to ``lane``, now IN_FLIGHT; -1 if there is none: then it is over, until it is asked for again."""
        places = self._places
        if path.lane != lane:
            return -1
        if path.hold is None and path.gate is None and places.supply.hold is None:
            row = self._turnstile.take_next(path, instant_of(now), is_leaving=True)
            if row != NONE:
                return row
        path.is_moving = False
        places.supply.serve(path, instant_of(now))
        places.drop_if_unused(path)
        return -1

    def moved(self, path: Path, row: int, now: WallTime) -> None:
        """A message is another lane's, or gone."""
        queue = self._places.queue_of(row)
        self._landed(path, row)
        self._places.forget(queue, row, instant_of(now))
        self._places.drop_if_unused(path)
        if self._sweeping.runs:
            self._sweeping.gone(row)

    def put_back(self, path: Path, row: int, now: WallTime) -> None:
        """A message stays: it is ready again, in its old place."""
        queue = self._places.queue_of(row)
        self._landed(path, row)
        self._places.make_ready_again(queue, row, path, instant_of(now))
        self._places.drop_if_unused(path)
        if self._sweeping.runs:
            self._sweeping.came_back(row)

    def put_off(self, path: Path, row: int, until: WallTime) -> None:
        """A message is not moved before then: it waits, and has spent nothing."""
        queue = self._places.queue_of(row)
        self._landed(path, row)
        self._places.wait(queue, row, instant_of(until))
        self._places.drop_if_unused(path)
        if self._sweeping.runs:
            self._sweeping.came_back(row)

    def _landed(self, path: Path, row: int) -> None:
        self._places.queue_of(row).in_flight -= 1
        path.in_flight -= 1

    def hold(self, path: Path, lane: str, reason: str, now: WallTime, until: WallTime | None) -> None:
        """A path's mail cannot be moved to ``lane``. Until then, when it is asked for again; or until ``release``, and it goes on (None)."""
        if path.lane == lane:
            path.is_moving = until is None
            release = instant_of(until) if until is not None else 0
            self._places.supply.hold_moving(path, reason, instant_of(now), release)

    def release(self, path: Path, lane: str) -> None:
        """A path's mail can be moved to ``lane`` again."""
        if path.lane == lane:
            self._places.supply.go_on_moving(path)

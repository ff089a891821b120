"""Where messages to be moved come from: the ready mail of paths whose home is another lane, or all of a spool that nobody delivers from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, Protocol

from penstock.mail.duration import Seconds, WallTime
from penstock.mail.ports import Clock
from penstock.queueing.queues import Path
from penstock.queueing.scheduler import Scheduler
from penstock.spool.loop import Loop

#: Seconds until what was refused is offered again: doubled with each refusal, up to the last.
_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 60.0


class Leaver(NamedTuple):
    """A message to be moved. The rest is its source's own."""

    position: int
    path: Path | None = None
    row: int = -1


class Source(Protocol):
    """Gives messages to be moved to one lane, one by one, and hears of each what became of it."""

    def next(self) -> Leaver | None:
        """The next message; None if there is none for now."""

    def moved(self, leaver: Leaver) -> None:
        """It is gone from here."""

    def put_back(self, leaver: Leaver) -> None:
        """It stays here, for now: it is given again."""

    def put_off(self, leaver: Leaver, seconds: Seconds) -> None:
        """It is not given again before then."""

    def refused(self, reason: str) -> None:
        """The lane does not take what it is offered: give nothing for a while."""

    def accepted(self) -> None:
        """The lane takes what it is offered."""

    def went_away(self, reason: str) -> None:
        """The lane is not there: say so to whoever asks why mail does not move."""

    def came_back(self) -> None:
        """It is there."""


class ScheduledSource:
    """Ready mail of the paths that the scheduler asked to be moved to ``lane``, the paths by turns.

    ``changed`` is told of all that may give the scheduler something to do, or another instant to wake at.
    """

    def __init__(self, scheduler: Scheduler, lane: str, clock: Clock, changed: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._changed = changed
        self._leaving = scheduler.leaving
        self._lane = lane
        self._clock = clock
        self._paths: dict[Path, None] = {}
        self._away: str | None = f"lane {lane} has not been reached yet"
        #: what was said when the lane last refused something, and until when nothing is given for it
        self._reason = ""
        self._closed_until = WallTime(0.0)
        self._pause = _FIRST_PAUSE

    def add(self, path: Path) -> None:
        """The scheduler asks for a path."""
        now = self._clock.wall()
        if self._away is None and now < self._closed_until:
            self._leaving.hold(path, self._lane, self._reason, now, self._closed_until)
            return
        self._paths[path] = None
        if self._away is not None:
            self._leaving.hold(path, self._lane, self._away, now, None)

    def next(self) -> Leaver | None:
        """See Source."""
        paths, now = self._paths, self._clock.wall()
        while paths:
            path = next(iter(paths))
            del paths[path]
            row = self._leaving.next(path, self._lane, now)
            if row >= 0:
                paths[path] = None
                return Leaver(self._scheduler.rows.position[row], path, row)
            self._changed()
        return None

    def moved(self, leaver: Leaver) -> None:
        """See Source."""
        path = leaver.path
        if path is not None:
            self._leaving.moved(path, leaver.row, self._clock.wall())
            self._changed()

    def put_back(self, leaver: Leaver) -> None:
        """See Source."""
        if leaver.path is not None:
            self._leaving.put_back(leaver.path, leaver.row, self._clock.wall())
            self._changed()

    def put_off(self, leaver: Leaver, seconds: Seconds) -> None:
        """See Source."""
        if leaver.path is not None:
            until = WallTime(self._clock.wall() + seconds)
            self._leaving.put_off(leaver.path, leaver.row, until)
            self._changed()

    def refused(self, reason: str) -> None:
        """See Source."""
        now = self._clock.wall()
        if now >= self._closed_until:
            self._closed_until = WallTime(now + self._pause)
            self._pause = min(self._pause * 2, _LAST_PAUSE)
        self._reason = f"lane {self._lane} does not take it: {reason}"
        paths, self._paths = self._paths, {}
        for path in paths:
            self._leaving.hold(path, self._lane, self._reason, now, self._closed_until)
        self._changed()

    def accepted(self) -> None:
        """See Source."""
        self._pause = _FIRST_PAUSE

    def went_away(self, reason: str) -> None:
        """See Source."""
        self._away = reason
        for path in list(self._paths):
            self._leaving.hold(path, self._lane, reason, self._clock.wall(), None)
        self._changed()

    def came_back(self) -> None:
        """See Source."""
        self._away = None
        for path in self._paths:
            self._leaving.release(path, self._lane)
        self._changed()


class StoredSource:
    """Messages of a spool that nobody schedules: all that it has is moved, whenever it is due. ``wake`` is told that there are more."""

    def __init__(self, loop: Loop, wake: Callable[[], None]) -> None:
        self._loop = loop
        self._wake = wake
        self._positions: deque[int] = deque()
        self._pause = _FIRST_PAUSE
        self._is_pausing = False

    def add(self, positions: Iterable[int]) -> None:
        """There are these."""
        self._positions.extend(positions)
        self._wake()

    def next(self) -> Leaver | None:
        """See Source."""
        if self._is_pausing or not self._positions:
            return None
        return Leaver(self._positions.popleft())

    def moved(self, leaver: Leaver) -> None:
        """See Source."""

    def put_back(self, leaver: Leaver) -> None:
        """See Source."""
        self._positions.appendleft(leaver.position)

    def put_off(self, leaver: Leaver, seconds: Seconds) -> None:
        """See Source."""
        self._loop.call_later(seconds, self.add, (leaver.position,))

    def refused(self, reason: str) -> None:
        """See Source."""
        if not self._is_pausing:
            self._is_pausing = True
            self._loop.call_later(self._pause, self._go_on)
            self._pause = min(self._pause * 2, _LAST_PAUSE)

    def _go_on(self) -> None:
        self._is_pausing = False
        self._wake()

    def accepted(self) -> None:
        """See Source."""
        self._pause = _FIRST_PAUSE

    def went_away(self, reason: str) -> None:
        """See Source."""

    def came_back(self) -> None:
        """See Source."""

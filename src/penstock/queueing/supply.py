"""Connections for the mail that is ready on a path: when idle ones are offered it, when new ones are asked for, and how a dead site is probed.

Each ready message that may go needs a connection on its way to it: one that is opening, or idle and offered mail. Those at work come by themselves.
New ones are asked for up to what the path's configuration wants for so much mail, and never beyond its limit.

After a failed attempt the path is held, for a second at first, twice as long each time, five minutes at most; then one attempt is made, for all. A
connection lifts the hold, and others are asked for by need again. While connections of the path live, its site is not dead: when the last of
them ends during a hold, the hold is cut to a second.

A path whose home is another lane gets no connection: its mail is to be moved, which is asked for once while there is any, and not while it is held.

Everything may be held at once (``Supply.hold``): then nothing is offered or asked for on any path, and whoever lifts the hold serves them all.
"""

from __future__ import annotations

from penstock.queueing.effects import Connect, Effect, Move, Offer
from penstock.queueing.holds import Hold
from penstock.queueing.instants import instant_of
from penstock.queueing.parking import Parking
from penstock.queueing.queues import Hop, Path, ScheduledQueue
from penstock.queueing.timers import Timers
from penstock.shaping.connections import connections_wanted, reconnect_delay

AnyTimers = Timers[ScheduledQueue | Hop | Path | Parking[ScheduledQueue]]


class Supply:
    """Keeps the counts of every path's connections, and asks for more. Effects go to ``effects``; holds end by ``timers``."""

    __slots__ = ("_timers", "effects", "hold")

    def __init__(self, timers: AnyTimers) -> None:
        self._timers = timers
        #: what holds everything, None for nothing
        self.hold: Hold | None = None
        self.effects: list[Effect] = []

    def serve(self, path: Path, now: int) -> None:  # hot: micro_queueing
        """See that connections come to the mail that is ready, or that it goes to its home."""
        if self.hold is not None or path.gate is not None:
            return
        if path.lane is not None:
            if path.ready and not path.is_moving and path.hold is None:
                path.is_moving = True
                self.effects.append(Move(path))
            return
        if path.offered < path.idle:
            self._offer(path)
        limit = path.config.connection_limit
        if path.connections >= limit:
            return
        ready = path.ready - path.excess
        if ready > path.allowance:
            ready = path.allowance
        missing = ready - path.offered - path.opening
        if missing <= 0 or path.doom is not None or (path.hold is not None and now < path.hold.until):
            return
        wanted = connections_wanted(limit, ready + path.in_flight) - (path.connections - path.closing)
        count = min(wanted, missing, limit - path.connections)
        if path.failures:
            count = min(count, 1 - path.opening)
        for _ in range(count):
            path.connections += 1
            path.opening += 1
            self.effects.append(Connect(path))

    def _offer(self, path: Path) -> None:  # hot: micro_queueing
        """Offer mail to idle connections, as far as there is mail and the limit lets so many work."""
        if self.hold is not None or path.lane is not None or path.gate is not None:
            return
        count = min(
            path.idle - path.offered,
            path.ready - path.excess - path.offered,
            path.allowance - path.offered,
            path.config.connection_limit - (path.connections - path.idle) - path.offered,
        )
        for _ in range(count):
            path.offered += 1
            self.effects.append(Offer(path))

    def connected(self, path: Path, now: int) -> None:
        """A connection is there."""
        path.opening -= 1
        if path.failures:
            self._lift(path)
            self.serve(path, now)

    def _lift(self, path: Path) -> None:
        path.failures = 0
        path.hold = None
        self._timers.cancel(path)

    def failed(self, path: Path, reason: str, now: int, draw: float) -> None:
        """A connection could not be made. Those asked for together fail together: they are one failure."""
        path.connections -= 1
        path.opening -= 1
        hold = path.hold
        if hold is None or now >= hold.until:
            path.failures += 1
            self._hold(path, reason, now, now + instant_of(reconnect_delay(path.failures, draw)))
        if path.offered < path.idle:
            self._offer(path)

    def use_lane(self, path: Path, lane: str | None, now: int) -> None:
        """The path has its home in this lane from now on; None is here. What held it back does not any more."""
        if lane != path.lane:
            path.lane = lane
            path.is_moving = False
            self._lift(path)
            self.serve(path, now)

    def hold_moving(self, path: Path, reason: str, now: int, until: int) -> None:
        """Its mail cannot be moved; until then, or until it is told that it can (0)."""
        since = path.hold.since if path.hold is not None else now
        path.hold = Hold("lane", reason, since, until)
        if until:
            self._timers.set(path, until)
        else:
            self._timers.cancel(path)

    def go_on_moving(self, path: Path) -> None:
        """Its mail can be moved again."""
        path.hold = None
        self._timers.cancel(path)

    def try_again(self, path: Path, now: int) -> None:
        """What the path is held for may be mended: one attempt is made, now."""
        if path.hold is not None:
            self._hold(path, path.hold.reason, now, now)

    def _hold(self, path: Path, reason: str, now: int, until: int) -> None:
        path.hold = Hold("connection", reason, path.hold.since if path.hold is not None else now, until)
        self._timers.set(path, until)

    def refused(self, path: Path) -> None:
        """A connection will not be made, because none of its mail can ever be delivered."""
        path.connections -= 1
        path.opening -= 1
        self._lift(path)

    def closed(self, path: Path, now: int, *, was_closing: bool) -> None:
        """A connection has ended."""
        path.connections -= 1
        path.closing -= was_closing
        hold = path.hold
        if hold is not None and path.connections == path.opening:
            path.failures = 1
            soon = now + instant_of(reconnect_delay(1, 0.0))
            if soon < hold.until:
                self._hold(path, hold.reason, now, soon)
        if path.ready:
            self.serve(path, now)

    def idle_began(self, path: Path) -> None:
        """A connection has found nothing to pull; if it could not look at everything, it is to come again."""
        path.idle += 1
        if path.ready:
            self._offer(path)

    def idle_ended(self, path: Path) -> None:
        """An idle connection pulls, or is closed."""
        path.idle -= 1
        if path.offered:
            path.offered -= 1

    def closing_began(self, path: Path, now: int) -> None:
        """An idle connection is being closed."""
        self.idle_ended(path)
        path.closing += 1
        if path.ready:
            self.serve(path, now)

    def released(self, path: Path, now: int) -> None:
        """The hold is over: one attempt, if mail waits for it."""
        if path.lane is not None:
            path.hold = None
        self.serve(path, now)
        if not path.opening:
            path.hold = None

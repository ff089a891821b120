"""A scheduler driven as a lane drives it, in time that only the check moves: exact, and the same at every run.

Routes are known, connections are made at once, and each takes the messages that it pulls one after the other, for as long as ``seconds_of`` says.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.queue_name import QueueName
from penstock.queueing.effects import Connect, Effect, Offer, Resolve
from penstock.queueing.queues import Path
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route
from penstock.shaping.own import OwnRates

#: When it begins, in seconds since 1970.
BEGIN: Final = 1_763_668_800.0
_FAR: Final = WallTime(BEGIN + 10 * 365 * 86_400.0)
_SITE: Final = "mx.dest.test"


class Start(NamedTuple):
    """A message has gone to a connection: seconds since the beginning, of which queue, and its octets."""

    time: float
    queue: QueueName
    size: int


class VirtualLane:
    """All domains are of one site, so all mail goes by one path. ``starts`` are the messages that went to a connection, in order."""

    def __init__(
        self,
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: PathConfig,
        *,
        weight_of: Callable[[str | None], float] = lambda tenant: 1.0,
        seconds_of: Callable[[int], float] = lambda size: 0.01,
    ) -> None:
        self.now = 0.0
        self.starts: list[Start] = []
        self.rates = OwnRates()
        self.scheduler = Scheduler(
            queue_config, lambda site: path_config, weight_of=weight_of, rates=self.rates
        )
        self.is_blocked = False
        self._seconds_of = seconds_of
        self._positions = itertools.count()
        self._ends: list[tuple[float, int, Path, int]] = []
        self._idle: list[Path] = []

    @property
    def wall(self) -> WallTime:
        """The time of day."""
        return WallTime(BEGIN + self.now)

    def add(self, names: Iterable[QueueName], size: int = 10_240) -> None:
        """Take in a message for each of these queues."""
        for name in names:
            self.scheduler.add(name, next(self._positions), size, created=self.wall, now=self.wall)
        self.settle()

    def run(self, until: float, *, starts: int | None = None) -> None:
        """Let time go on to ``until``, or until so many messages have gone to a connection in all."""
        self.settle()
        while starts is None or len(self.starts) < starts:
            coming = [instant for instant in (self._next(), until) if instant is not None]
            self.now = max(self.now, min(coming))
            if self.now >= until:
                break
            self._pass()
            self.settle()
        if starts is None:
            self.now = until
            self._pass()
            self.settle()

    def block(self, is_blocked: bool) -> None:
        """Whether connections that ask for mail now have to wait with that."""
        self.is_blocked = is_blocked
        if not is_blocked:
            idle, self._idle = self._idle, []
            for path in idle:
                self.scheduler.idle_ended(path)
                self._pull(path)
            self.settle()

    def settle(self) -> None:
        """Do all that is to be done now."""
        scheduler = self.scheduler
        while scheduler.has_effects or scheduler.is_behind:
            for effect in scheduler.take_effects():
                self._do(effect)
            scheduler.tick(self.wall)

    def _next(self) -> float | None:
        wake = self.scheduler.next_wake()
        instants = [self.rates.next_wake() - BEGIN]
        if wake is not None:
            instants.append(wake - BEGIN)
        if self._ends:
            instants.append(self._ends[0][0])
        return min(instants)

    def _pass(self) -> None:
        self.rates.wake(self.wall)
        opened, self.rates.opened[:] = list(self.rates.opened), []
        for key in opened:
            self.scheduler.opened(key, self.wall)
        while self._ends and self._ends[0][0] <= self.now:
            _, _, path, row = heapq.heappop(self._ends)
            self.scheduler.settled(path, row, self.wall)
            self._pull(path)
        self.scheduler.tick(self.wall)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Resolve(hop=hop):
                exchange = Exchange(10, _SITE)
                self.scheduler.route_found(
                    hop, Route(_SITE, (exchange,), MonotonicTime(1e12)), _FAR, self.wall
                )
            case Connect(path=path):
                self.scheduler.connected(path, self.wall)
                self._pull(path)
            case Offer(path=path):
                if self.is_blocked:
                    return
                self._idle.remove(path)
                self.scheduler.idle_ended(path)
                self._pull(path)

    def _pull(self, path: Path) -> None:
        row = -1 if self.is_blocked else self.scheduler.pull(path, self.wall)
        if row < 0:
            self.scheduler.idle_began(path)
            self._idle.append(path)
            return
        size = self.scheduler.rows.size[row]
        self.starts.append(Start(self.now, self.scheduler.queue_of(row).name, size))
        heapq.heappush(self._ends, (self.now + self._seconds_of(size), len(self.starts), path, row))

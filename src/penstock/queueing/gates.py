"""What holds ready mail back beside its path: directives, and limits. Tested when mail becomes ready, and finally at the pull, where tokens are used.

A queue that is refused parks (``parking``): it leaves its path and its hop's list, so nobody looks at it, and nothing is asked for on its behalf,
until what it waits for comes. A limit says so by its key (``shaping.ports.Rates``), a directive by its end. A path that is refused stays where it is,
with a ``gate``, and its mail with it.

What a limit still lets through counts for how many connections are asked for: a queue of ten thousand messages that has one token left wants one.
Tokens are asked about in the scheduler's own time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from penstock.mail.configuration import Limit, PathConfig, QueueConfig
from penstock.mail.directive import Action, Directive
from penstock.mail.queue_name import QueueName
from penstock.queueing.directives import Directives
from penstock.queueing.holds import Hold, until
from penstock.queueing.instants import instant_of, time_of
from penstock.queueing.parking import Parking
from penstock.queueing.queues import EVERYTHING, Path, ScheduledQueue
from penstock.shaping.ports import Held, Rates
from penstock.shaping.tokens import is_slow

_GATES: Final = {Action.BOUNCE: "bounce", Action.SUSPEND: "suspension"}


def limits_of(name: QueueName, config: QueueConfig) -> tuple[Limit, ...]:
    """The limits of a queue, in the order in which they are tested: its own, its campaign's, its tenant's.

    A queue is in one lane, which has its rate, but for the moment in which its mail goes from one to another. A rate so slow that a second burst then
    would matter is asked for as those that lanes share.
    """
    rate = config.max_message_rate
    if rate is None:
        return config.overall
    origin = config.origins.get("max_message_rate", "")
    own = Limit("queue-rate", f"queue:{name}", rate, origin, is_here=not is_slow(rate))
    return (own, *config.overall)


def limits_of_path(name: str, config: PathConfig) -> tuple[Limit, ...]:
    """The limits of a path, which no other lane has: its own."""
    rate = config.max_message_rate
    if rate is None:
        return ()
    origin = config.origins.get("max_message_rate", "")
    return (Limit("path-rate", f"path:{name}", rate, origin, is_here=True),)


class Gates:
    """See the module. ``generation`` goes up with every directive and configuration: whoever has seen the same need not be looked at again."""

    __slots__ = (
        "_cancel",
        "_limited_paths",
        "_place",
        "directives",
        "dropping",
        "generation",
        "parkings",
        "rates",
        "refused",
        "releasing",
    )

    def __init__(self, rates: Rates, cancel: Callable[[Parking[ScheduledQueue]], None]) -> None:
        self.rates = rates
        #: how often a limit had no token, by gate
        self.refused: dict[str, int] = {}
        self.generation = 0
        self.directives = Directives()
        #: those with queues, by their keys
        self.parkings: dict[str, Parking[ScheduledQueue]] = {}
        #: those of directives that are over
        self.releasing: deque[Parking[ScheduledQueue]] = deque()
        #: those of directives that end mail
        self.dropping: deque[Parking[ScheduledQueue]] = deque()
        self._cancel = cancel
        self._limited_paths: dict[str, Path] = {}
        self._place = 0

    # -- parking

    def _park(self, queue: ScheduledQueue, parking: Parking[ScheduledQueue], now: int) -> None:
        """Have a listed queue stand aside."""
        path = queue.path
        if path is not None:
            path.leave(queue)
        queue.hop.delist(queue)
        if not queue.place:
            self._place += 1
            queue.place = self._place
            queue.parked = now
        parking.enter(queue)
        queue.parking = parking

    def unpark(self, queue: ScheduledQueue) -> None:
        """Take a queue out of its parking; it stands nowhere then."""
        parking, queue.parking = queue.parking, None
        assert parking is not None  # noqa: S101  # or nobody would ask
        parking.leave(queue)
        if parking.directive is not None:
            # what has held it may hold it again
            queue.generation = -1
        if parking.first is None:
            self._cancel(parking)
            if self.parkings.get(parking.key) is parking:
                del self.parkings[parking.key]

    # -- directives

    def find(self, name: QueueName, now: int) -> Directive | None:
        """The directive that a queue is under, the one that counts."""
        directives, time = self.directives, time_of(now)
        if not len(directives):
            return None
        return directives.of_queue(Action.BOUNCE, name, time) or directives.of_queue(
            Action.SUSPEND, name, time
        )

    def is_under_directive(self, queue: ScheduledQueue, now: int) -> bool:
        """Whether a directive holds a listed queue, which then is parked."""
        queue.generation = self.generation
        directive = self.find(queue.name, now)
        if directive is None:
            return False
        key = f"directive:{directive.id}"
        parking = self.parkings.get(key)
        if parking is None:
            parking = self.parkings[key] = Parking(key, _GATES[directive.action], None, directive)
        self._park(queue, parking, now)
        if directive.action is Action.BOUNCE and not parking.is_behind:
            parking.is_behind = True
            self.dropping.append(parking)
        return True

    def lift(self, directive: Directive) -> None:
        """A directive is over: its queues are let go, by turns."""
        self.generation += 1
        parking = self.parkings.pop(f"directive:{directive.id}", None)
        if parking is not None:
            if parking.is_behind:
                self.dropping.remove(parking)
            parking.is_behind = True
            self.releasing.append(parking)

    # -- limits of queues

    def is_limited(self, queue: ScheduledQueue, now: int) -> bool:
        """Whether a limit holds a listed queue, which then is parked; nothing is charged."""
        refused = self.rates.check(queue.limits, time_of(now))
        if refused is not None:
            self._park_for(queue, *refused, now)
        return refused is not None

    def _park_for(self, queue: ScheduledQueue, place: int, held: Held, now: int) -> None:
        limit = queue.limits[place]
        parking = self.parkings.get(limit.key)
        if parking is None:
            parking = self.parkings[limit.key] = Parking(limit.key, limit.gate, limit, None)
        parking.limit = limit
        parking.held = held
        self.refused[limit.gate] = self.refused.get(limit.gate, 0) + 1
        self._park(queue, parking, now)

    def charge(self, queue: ScheduledQueue, path: Path, now: int) -> bool:
        """Use a token of each limit for the first message of a queue. If there is not one of each none is used, and the queue is parked, or the
        path held.
        """
        limits = queue.limits + path.limits if path.limits else queue.limits
        refused = self.rates.take_all(limits, time_of(now))
        if refused is None:
            queue.place = 0
            return True
        place, held = refused
        if place < len(queue.limits):
            self._park_for(queue, place, held, now)
        else:
            self._hold(path, held, now)
        return False

    def give_back(self, queue: ScheduledQueue, path: Path, taken: int, now: int) -> None:
        """What was charged for a message at ``taken`` has not been used."""
        for limit in queue.limits + path.limits:
            self.rates.give_back(limit, time_of(taken), time_of(now))

    def measure(self, queue: ScheduledQueue, now: int) -> None:
        """See how many messages of a queue that stands on a path its limits let through; it is parked if that is none."""
        time, room, path = time_of(now), EVERYTHING, queue.path
        for limit in queue.limits:
            room = min(room, self.rates.room(limit, time))
        if (room <= 0 and self.is_limited(queue, now)) or path is None:
            return
        excess = max(0, queue.ready - max(1, room))
        path.excess += excess - queue.excess
        queue.excess = excess

    def has_room(self, limit: Limit, now: int) -> int:
        """How many tokens a limit has; if none, whoever is parked for it will be told."""
        time = time_of(now)
        room = self.rates.room(limit, time)
        if room <= 0 and self.rates.check((limit,), time) is None:
            return 1
        return max(0, room)

    # -- paths

    def test(self, path: Path, now: int) -> None:
        """See what holds a path, by what is in force."""
        path.generation = self.generation
        directive = self.find_for(path, now)
        if directive is not None:
            gate = "path" if directive.action is Action.SUSPEND_PATH else "source"
            given, expires = instant_of(directive.given), instant_of(directive.expires)
            why = f"suspended: {directive.reason}" if directive.reason else "suspended"
            path.gate = Hold(gate, why, given, expires)
            return
        path.gate = None
        self.measure_path(path, now)

    def find_for(self, path: Path, now: int) -> Directive | None:
        """The directive that a path is under."""
        directives, time = self.directives, time_of(now)
        if not len(directives):
            return None
        return directives.of_subject(Action.SUSPEND_PATH, path.name, time) or directives.of_subject(
            Action.SUSPEND_SOURCE, path.source, time
        )

    def measure_path(self, path: Path, now: int) -> None:
        """See how many messages the path's own rate lets through; it is held if that is none."""
        room = EVERYTHING
        for limit in path.limits if path.lane is None else ():
            room = self.rates.room(limit, time_of(now))
            if room <= 0:
                refused = self.rates.check(path.limits, time_of(now))
                if refused is not None:
                    self._hold(path, refused[1], now)
                    return
        path.allowance = max(1, room)

    def _hold(self, path: Path, held: Held, now: int) -> None:
        limit = path.limits[0]
        self._limited_paths[limit.key] = path
        self.refused[limit.gate] = self.refused.get(limit.gate, 0) + 1
        path.gate = Hold("path-rate", f"{limit.rate} is used up", now, until(held))

    def limited_path(self, key: str) -> Path | None:
        """The path that waits for a limit of its own, which has opened."""
        path = self._limited_paths.pop(key, None)
        return path if path is not None and not path.is_dropped else None

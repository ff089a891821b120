"""The world with directives and limits: what a naive account says of them, held against what the scheduler lets go, holds and wakes for.

Where a held queue stands, and which of several goes next, is the scheduler's business; the account is told. It says whether that may be: nothing goes
that a directive or a limit holds, in any window of time; nothing is held without one; what is released goes at that instant; all of it is woken by
somebody. Limits are counted from the list of all that has happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.mail.configuration import Limit, PathConfig, QueueConfig
from penstock.mail.directive import Action, Criteria, Directive
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import Rate, parse_rate
from penstock.queueing.effects import Drop, Effect, End, Resolve
from penstock.queueing.queues import Hop, ScheduledQueue
from penstock.queueing.rows import READY
from penstock.queueing.scheduler import Scheduler
from penstock.shaping.own import OwnRates
from tests.queueing.world import (
    EXPIRED_IN_A_PULL,
    NOBODY,
    PATIENCE,
    Message,
    PathAccount,
    World,
    instant,
    wall,
)

#: Seconds that sums of times may be off.
ROUNDED = 3e-6


@dataclass
class Limits:
    """What queues and paths are limited to: of each queue by its name, of each tenant, of each site."""

    queues: dict[str, str] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=dict)
    sites: dict[str, str] = field(default_factory=dict)


NONE = Limits()
SOME = Limits({"a.example": "2/minute,max_burst=1"}, {"t1": "3/minute"}, {"mx2.example": "4/minute"})
MORE = Limits(
    {"a.example": "5/s", "spring:t2@a.example": "1/minute"}, {"t1": "1/h", "t2": "3/2s,max_burst=2"}, {}
)


class GatedWorld(World):
    """See the module. ``uses`` are the instants at which something happened that counts for a limit, by its key."""

    def __init__(self, make: Callable[..., Scheduler] = Scheduler) -> None:
        self.rates = OwnRates()
        self.limits = NONE
        self.directives: dict[str, Directive] = {}
        self.uses: dict[str, list[int]] = {}
        self.taken: dict[int, tuple[int, list[str]]] = {}
        super().__init__(lambda *args, **options: make(*args, rates=self.rates, **options))
        self.reconfigure(self.limit, 7200.0)

    # -- limits and directives, naively

    def _config(self, name: QueueName) -> QueueConfig:
        own, shared = self.limits.queues.get(str(name)), self.limits.tenants.get(name.tenant or "")
        return QueueConfig(
            self.queue_config.retry_interval,
            self.queue_config.max_retry_interval,
            self.queue_config.max_age,
            parse_rate(own) if own else None,
            (Limit("tenant-rate", f"tenant:{name.tenant}", parse_rate(shared)),) if shared else (),
        )

    def _path_config(self, site: str) -> PathConfig:
        rate = self.limits.sites.get(site)
        return PathConfig(connection_limit=self.limit, max_message_rate=parse_rate(rate) if rate else None)

    def limits_of(self, name: QueueName, site: str) -> dict[str, Rate]:
        """All that a message counts for."""
        found: dict[str, Rate] = {}
        for key, text in (
            (f"queue:{name}", self.limits.queues.get(str(name))),
            (f"tenant:{name.tenant}", self.limits.tenants.get(name.tenant or "")),
            (f"path:unspecified->{site}@smtp_client", self.limits.sites.get(site)),
        ):
            if text:
                found[key] = parse_rate(text)
        return found

    def opens(self, key: str, rate: Rate) -> float:
        """From when on one more may happen, in microseconds, by all that has happened."""
        interval = rate.period / rate.count * 1e6
        arrival = -math.inf
        for use in self.uses.get(key, ()):
            arrival = max(arrival, use) + interval
        return arrival - (rate.burst - 1) * interval

    def is_open(self, key: str, rate: Rate) -> bool:
        """Whether one more may happen now."""
        return self.opens(key, rate) <= self.now + 1e6 * ROUNDED

    def room(self, key: str, rate: Rate) -> int:
        """How many more may happen now."""
        interval = rate.period / rate.count * 1e6
        ahead = max(0.0, self.opens(key, rate) + (rate.burst - 1) * interval - self.now)
        return max(0, math.floor(rate.burst - ahead / interval + 1e-3))

    def held_by(self, name: QueueName, *actions: Action) -> bool:
        """Whether a directive holds a queue."""
        return any(
            directive.action in actions and directive.criteria.matches(name)
            for directive in self.directives.values()
            if instant(directive.expires) > self.now
        )

    def path_held_by(self, site: str) -> bool:
        """Whether a directive holds a path."""
        subjects = {
            (Action.SUSPEND_PATH, f"unspecified->{site}@smtp_client"),
            (Action.SUSPEND_SOURCE, "unspecified"),
        }
        return any(
            (item.action, item.subject) in subjects
            for item in self.directives.values()
            if instant(item.expires) > self.now
        )

    def direct(self, directive: Directive) -> None:
        """One is given."""
        for other in list(self.directives.values()):
            if (other.action, other.criteria, other.subject) == (
                directive.action,
                directive.criteria,
                directive.subject,
            ):
                del self.directives[other.id]
        self.directives[directive.id] = directive
        self.scheduler.direct(directive, wall(self.now))
        self.settle_down()

    def cancel(self, identity: str) -> None:
        """One is over."""
        del self.directives[identity]
        assert self.scheduler.cancel(identity, wall(self.now)) is not None
        self.settle_down()

    def use(self, limits: Limits) -> None:
        """Other limits hold from now on. What has happened under another rate of the same key counts by neither."""
        before, self.limits = self.limits, limits
        for old, new in (
            (before.queues, limits.queues),
            (before.tenants, limits.tenants),
            (before.sites, limits.sites),
        ):
            for name in old.keys() | new.keys():
                if old.get(name) != new.get(name):
                    self._forget_uses(name)
        self.reconfigure(self.limit, self.queue_config.max_age)

    def _forget_uses(self, name: str) -> None:
        keys = (f"queue:{name}", f"tenant:{name}", f"path:unspecified->{name}@smtp_client")
        for key in keys:
            self.uses.pop(key, None)
            self.rates._buckets.pop(key, None)
            self.rates._awaited.pop(key, None)

    def reconfigure(self, limit: int, max_age: float) -> None:
        """As of World; options of queues by name."""
        self.limit = limit
        self.queue_config = QueueConfig(Seconds(600.0), Seconds(2000.0), Seconds(max_age))
        for path in self.paths.values():
            path.limit = limit
        self.scheduler.reconfigure(self._config, self._path_config, wall(self.now))
        self.settle_down()

    # -- what the account is told, instead of foretelling it

    def queue(self, name: QueueName) -> ScheduledQueue | None:
        """The scheduler's queue."""
        return self.scheduler.queues.get(name)

    def is_parked(self, name: QueueName) -> bool:
        """Whether a queue stands aside."""
        queue = self.queue(name)
        return queue is not None and queue.parking is not None

    def _enter(self, name: QueueName, site: str) -> None:
        """Told by ``_learn``."""

    def _ask(self, name: str) -> None:
        """Told by ``_take``."""

    def _tidy(self) -> None:
        self._learn()

    def _learn(self) -> None:
        scheduler = self.scheduler
        for name, account in self.queues.items():
            queue = self.queue(name)
            account.site = queue.path.site if queue is not None and queue.path is not None else ""
        for name, hop in self.hops.items():
            known = scheduler.hops.get(name)
            hop.release = known.hold.until if known is not None and known.hold is not None else 0
        for site in scheduler.paths.keys() - self.paths.keys():
            self.paths[site] = PathAccount(self.limit)
        for site in self.paths.keys() - scheduler.paths.keys():
            path = self.paths[site]
            assert not path.connections and not path.is_timed and not self.ready(site), "a path that is gone"
            del self.paths[site]

    def _collect(self) -> None:
        self._learn()
        super()._collect()
        self._learn()

    def _take(self, effect: Effect) -> None:
        if isinstance(effect, Resolve):
            hop = self.hops[effect.hop.name]
            assert self.now >= hop.until and self.now >= hop.release, "a route asked for without need"
            hop.is_resolving = True
            assert effect.hop not in self.resolves, "asked twice for one route"
            self.resolves.append(effect.hop)
            return
        assert not self.path_held_by(effect.path.site), "something is asked for on a suspended path"
        if effect.path.site not in self.paths:
            self.paths[effect.path.site] = PathAccount(self.limit)
        super()._take(effect)

    def _take_end(self, end: End) -> None:
        message = self.messages[end.position]
        if isinstance(end, Drop):
            assert self.held_by(message.queue, Action.BOUNCE), "bounced without a directive"
            assert message.place == "ready", "bounced in another place"
            message.place, message.wake, message.site = "ending", 0, end.site
            self._expected[("end", end.position, message.attempts, end.reply)] += 1
        super()._take_end(end)

    def never_found(self, hop: Hop) -> None:
        """As of World; mail that stands aside is not looked at."""
        parked = {name for name in self.queues if self.is_parked(name)}
        away = {
            message.position: message
            for message in self.messages.values()
            if message.queue in parked and message.place == "ready"
        }
        for position in away:
            del self.messages[position]
        self.resolves.remove(hop)
        known = self.hops.get(hop.name)
        if known is not None and hop is self.scheduler.hops.get(hop.name):
            known.is_resolving, known.release, known.site, known.until = False, 0, "", 0
            for message in list(self.messages.values()):
                if message.queue.next_hop == hop.name and message.place == "ready":
                    self._over(message, self.queues[message.queue].site, NOBODY)
        self.messages.update(away)
        self.scheduler.route_failed(hop, NOBODY, wall(self.now), wall(self.now), is_permanent=True)
        self.settle_down()

    # -- pulls

    def _check_pulled(self, row: int, ready: list[Message], site: str) -> None:
        state = self.scheduler.rows.state
        taken = [message for message in ready if message.row == row]
        over = [message for message in ready if message.row != row and state[message.row] != READY]
        assert len(taken) == (row >= 0), f"pulled row {row}, which is not ready here"
        assert all(message.expires <= self.now for message in over), "ended before its time"
        assert len(over) <= EXPIRED_IN_A_PULL, "one pull ends too many"
        for message in taken:
            self._take_message(message, ready, over, site)
        if row < 0 and len(over) < EXPIRED_IN_A_PULL:
            left = [message for message in ready if message not in over]
            is_gated = self.scheduler.paths[site].gate is not None if site in self.scheduler.paths else False
            assert is_gated or all(self.is_parked(message.queue) for message in left), (
                "nothing was pulled, and there was mail"
            )
        self._learn()
        for message in over:
            self._over(message, site)

    def _take_message(self, message: Message, ready: list[Message], over: list[Message], site: str) -> None:
        earlier = [item for item in ready if item.queue == message.queue and item.order < message.order]
        assert all(item in over for item in earlier), "a message overtook another of its queue"
        assert message.expires > self.now, "pulled past its time"
        assert not self.held_by(message.queue, Action.SUSPEND, Action.BOUNCE), "a held message begins"
        assert not self.path_held_by(site), "a message begins on a suspended path"
        limits = self.limits_of(message.queue, site)
        for key, rate in limits.items():
            assert self.is_open(key, rate), f"more than {rate} of {key}"
            self.uses.setdefault(key, []).append(self.now)
        self.taken[message.position] = (self.now, list(limits))
        message.place, message.wake = "in flight", 0

    def finish(
        self, site: str, row: int, what: str, *, then_closed: bool, draw: float = 0.5, late: int = 0
    ) -> None:
        """As of World; what is put back has used nothing."""
        message = next(item for item in self.messages.values() if item.row == row)
        taken, keys = self.taken.pop(message.position)
        if what == "put back":
            now = self.limits_of(message.queue, site)
            for key in keys:
                if key in now and taken in self.uses.get(key, ())[-32:]:
                    self.uses[key].remove(taken)
        super().finish(site, row, what, then_closed=then_closed, draw=draw, late=late)

    # -- time

    def next_wake(self) -> int:
        """As of World, with directives, and looks at what is left over."""
        wakes = [instant(directive.expires) for directive in self.directives.values()]
        wakes += [
            parking.timer for parking in self.scheduler._places.gates.parkings.values() if parking.timer
        ]
        if (first := super().next_wake()) != 0:
            wakes.append(first)
        return min(wakes, default=0)

    def _rates_wake(self) -> int:
        """When a limit opens for which somebody waits; 0 for none."""
        wake = self.rates.next_wake()
        return math.ceil(wake * 1e6) if wake < math.inf else 0

    def advance(self, to: int) -> None:
        """Time passes; the scheduler is called at each instant that it named, or a limit, and at no other."""
        for _ in range(PATIENCE):
            expected, opening = self.next_wake(), self._rates_wake()
            wake = self.scheduler.next_wake()
            assert (0 if wake is None else instant(wake)) == expected, "woken at another instant"
            first = min((each for each in (expected, opening) if each), default=0)
            if not first or first > to:
                break
            self.now = max(self.now, first)
            if opening and opening <= self.now:
                self._open()
            if expected and expected <= self.now:
                self._tick()
            self.settle_down()
        else:
            raise AssertionError("time does not pass")
        self.now = max(self.now, to)

    def _open(self) -> None:
        self.rates.wake(wall(self.now))
        opened, self.rates.opened = self.rates.opened, []
        for key in opened:
            before = self._parked_for(key)
            self.scheduler.opened(key, wall(self.now))
            assert not before or self._parked_for(key) < before, "a limit opens, and nobody goes on"
        self._collect()

    def _parked_for(self, key: str) -> int:
        parking = self.scheduler._places.gates.parkings.get(key)
        return parking.queues if parking is not None else 0

    def _tick(self) -> None:
        for directive in list(self.directives.values()):
            if instant(directive.expires) <= self.now:
                del self.directives[directive.id]
        super()._tick()

    def settle_down(self) -> None:
        """As of World; what has opened by itself, because something was given back, is told."""
        for _ in range(PATIENCE):
            if not (wake := self._rates_wake()) or wake > self.now:
                break
            self._open()
        super().settle_down()

    # -- what must be true

    def _check_hop(self, name: str) -> None:
        hop, known = self.scheduler.hops[name], self.hops[name]
        assert hop.users == sum(queue.next_hop == name for queue in self.queues), "a hop's users"
        assert hop.is_resolving == known.is_resolving

    def _check_queue(self, name: QueueName) -> None:
        queue = self.queue(name)
        assert queue is not None
        ready = len(self.of_queue(name, "ready"))
        assert queue.ready == ready and len(queue) == len(self.of_queue(name)), "a queue's counts"
        if not ready:
            assert queue.parking is None and queue.path is None, "an empty queue stands somewhere"
            return
        is_directed = self.held_by(name, Action.SUSPEND, Action.BOUNCE)
        parking = queue.parking
        if parking is None:
            assert not is_directed, "a queue that is not held"
            hop = self.hops[name.next_hop]
            assert queue.path is not None or hop.is_resolving or self.now < hop.release, "held without a gate"
            self._check_wanted(queue)
            return
        assert queue.path is None and queue.hold is not None
        assert (parking.directive is not None) == is_directed, "held by another gate than the first"
        if parking.directive is not None:
            assert parking.directive.id in self.directives, "held by a directive that is over"
            return
        self._check_limit(name, parking.key, parking.timer)

    def _check_wanted(self, queue: ScheduledQueue) -> None:
        """What a queue's own rate does not let through asks for no connection."""
        own = self.limits.queues.get(str(queue.name))
        if queue.path is not None and own:
            room = self.room(f"queue:{queue.name}", parse_rate(own))
            assert queue.ready - queue.excess <= max(1, room), "mail that may not go is counted in"

    def _check_limit(self, name: QueueName, key: str, timer: int) -> None:
        limits = self.limits_of(name, "")
        assert key in limits, "held by a limit that it has not"
        opens, awaited = self.opens(key, limits[key]), self.rates._awaited.get(key)
        if timer:
            return
        assert awaited is not None, "nobody wakes it"
        assert abs(awaited * 1e6 - max(opens, 0.0)) <= 5 or awaited * 1e6 <= self.now + 5, (
            "woken early or late"
        )

    def _check_path(self, site: str) -> None:
        path, known = self.scheduler.paths[site], self.paths[site]
        ready = len(self.ready(site))
        assert (path.ready, path.in_flight, path.connections) == (ready, len(known.rows), known.connections)
        assert (path.opening, path.idle, path.offered, path.closing) == (
            known.opening,
            known.idle,
            known.offered,
            known.closing,
        ), "a path's connections"
        standing = [queue for share in path.sharing for queue in share.queues]
        assert all(queue.path is path and queue.ready > queue.excess >= 0 for queue in standing)
        assert path.excess == sum(queue.excess for queue in standing), (
            "what the limits leave of a path's mail"
        )
        rates = {
            key: rate for key, rate in self.limits_of(QueueName(""), site).items() if key.startswith("path")
        }
        if path.gate is not None:
            is_used_up = any(self.opens(key, rate) >= self.now - 1e6 * ROUNDED for key, rate in rates.items())
            assert self.path_held_by(site) or is_used_up, "a path that is held without a gate"
            return
        assert not self.path_held_by(site), "a suspended path that is not held"
        may_go = min(ready - path.excess, path.allowance)
        if may_go <= 0 or self.is_paused or (self.now < known.release and known.is_timed):
            assert may_go > 0 or not ready, "mail that may not go, and is not held"
            return
        assert known.opening + known.offered + known.closing + len(known.rows), "mail that nobody comes for"


def directive(
    number: int, action: Action, now: int, span: int, criteria: dict[str, str], subject: str = ""
) -> Directive:
    """A directive that is given now."""
    expires = WallTime((now + span) / 1e6)
    return Directive(f"d{number}", action, "", wall(now), expires, Criteria(**criteria), subject)

"""A scheduler with a world around it, and a naive account of what must be true of both.

The world is what a lane and its peers are: it answers what the scheduler asks for, when a test says so, in any order. The account is a plain list
of messages and a few dictionaries; each event is entered there too, by the rules of the design, and after each everything is compared: which
messages ended and how, who is next on a path, every count, every instant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply, reply
from penstock.queueing.effects import Effect, End, Expire, Offer, Resolve
from penstock.queueing.queues import Hop, Path
from penstock.queueing.rows import ENDING, IN_FLIGHT, READY, WAITING
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

BEGIN = 1_763_668_800_000_000
SECOND = 1_000_000
REAP_AFTER = 600 * SECOND
#: Calls after which there must be an end.
PATIENCE = 500
#: Ends that wait to be taken: few, so that there are often too many.
ENDS_LIMIT = 3
#: Expired messages that one pull steps over.
EXPIRED_IN_A_PULL = 16
STATES = {"waiting": WAITING, "ready": READY, "in flight": IN_FLIGHT, "ending": ENDING}
NOBODY = reply(550, "5.1.2", "Penstock internal: domain does not exist")
PROHIBITED = reply(550, "5.4.4", "Penstock internal: all hosts are prohibited")
NO_ANSWER = reply(451, "4.4.3", "Penstock internal: DNS lookup failed")


def wall(instant: int) -> WallTime:
    """The time of an instant."""
    return WallTime(instant / 1e6)


def instant(time: float) -> int:
    """The instant of a time."""
    return round(time * 1e6)


def route(site: str) -> Route:
    """A route to a site of one host."""
    return Route(site, (Exchange(10, site),), MonotonicTime(0.0))


@dataclass
class Message:
    """A message in the account. ``place`` is "waiting", "ready", "in flight" or "ending"; ``wake`` when time does something to it, 0 for never."""

    position: int
    queue: QueueName
    expires: int
    attempts: int
    row: int = -1
    place: str = ""
    wake: int = 0
    order: int = 0
    entered: int = 0
    site: str = ""


def size_of(message: Message) -> int:
    """Its octets: different ones for different messages, and none for some."""
    return message.position % 7


@dataclass
class QueueAccount:
    """``site``: on whose path its ready messages stand, "" for none."""

    site: str = ""
    empty_since: int = 0


@dataclass
class HopAccount:
    """``until``: how long its route to ``site`` is believed. ``release``: when its hold ends, 0 for no hold."""

    site: str = ""
    until: int = 0
    is_resolving: bool = False
    release: int = 0


@dataclass
class PathAccount:
    """Connections by what they do. ``is_timed``: the end of the hold is still to come up."""

    limit: int
    opening: int = 0
    idle: int = 0
    offered: int = 0
    closing: int = 0
    rows: list[int] = field(default_factory=list)
    failures: int = 0
    release: int = 0
    is_timed: bool = False
    offers: int = 0

    @property
    def connections(self) -> int:
        return self.opening + self.idle + self.closing + len(self.rows)


class World:
    """The scheduler, the world, the account. ``make`` makes the scheduler."""

    def __init__(
        self, make: Callable[..., Scheduler] = Scheduler, *, limit: int = 3, max_age: float = 7200.0
    ) -> None:
        self.limit = limit
        self.queue_config = QueueConfig(Seconds(600.0), Seconds(2000.0), Seconds(max_age))
        self.scheduler = make(lambda name: self.queue_config, self._path_config, ends_limit=ENDS_LIMIT)
        self.now = BEGIN
        self.messages: dict[int, Message] = {}
        self.ended: Counter[int] = Counter()
        self.queues: dict[QueueName, QueueAccount] = {}
        self.hops: dict[str, HopAccount] = {}
        self.paths: dict[str, PathAccount] = {}
        self.resolves: list[Hop] = []
        self.is_paused = False
        #: what becomes of the next ends: None is put back, a number of microseconds put off; when it is empty, they are recorded
        self.plan: list[int | None] = []
        self._numbers: Iterator[int] = iter(range(1, 1 << 60))
        self._positions: Iterator[int] = iter(range(1, 1 << 60))
        #: effects of the kinds that the account foretells, since the last comparison
        self._expected: Counter[tuple[object, ...]] = Counter()
        self._told: Counter[tuple[object, ...]] = Counter()

    def _path_config(self, site: str) -> PathConfig:
        return PathConfig(connection_limit=self.limit)

    # -- mail

    def add(
        self,
        name: QueueName,
        *,
        due: int = 0,
        age: int = 0,
        attempts: int = 0,
    ) -> Message:
        """A message comes in, created ``age`` microseconds ago and due in ``due``."""
        created = wall(self.now - age)
        message = Message(next(self._positions), name, instant(created + self.queue_config.max_age), attempts)
        self.queues.setdefault(name, QueueAccount())
        self.hops.setdefault(name.next_hop, HopAccount())
        self.messages[message.position] = message
        if due or message.expires <= self.now:
            self._wait(message, self.now + due)
        else:
            self._make_ready(message)
        message.row = self.scheduler.add(
            name,
            message.position,
            size_of(message),
            created=created,
            now=wall(self.now),
            attempts=attempts,
            due=wall(self.now + due) if due else None,
        )
        self.settle_down()
        return message

    def _wait(self, message: Message, due: int) -> None:
        message.place = "waiting"
        message.wake = min(due, message.expires)
        message.entered = next(self._numbers)

    def _make_ready(self, message: Message) -> None:
        message.place = "ready"
        message.wake = message.expires
        message.order = message.entered = next(self._numbers)
        queue, hop = self.queues[message.queue], self.hops[message.queue.next_hop]
        if self.now >= hop.until:
            self._ask(message.queue.next_hop)
        elif not queue.site:
            self._enter(message.queue, hop.site)

    def _enter(self, name: QueueName, site: str) -> None:
        self.queues[name].site = site
        if site not in self.paths:
            self.paths[site] = PathAccount(self.limit)

    def _ask(self, name: str) -> None:
        hop = self.hops[name]
        if not hop.is_resolving and self.now >= hop.release:
            hop.is_resolving = True
            self._expected[("resolve", name)] += 1

    def ready(self, site: str) -> list[Message]:
        """The messages that stand on a path, in their order."""
        return sorted(
            (
                message
                for message in self.messages.values()
                if message.place == "ready" and self.queues[message.queue].site == site
            ),
            key=lambda message: message.order,
        )

    def of_queue(self, name: QueueName, place: str = "") -> list[Message]:
        """The messages of a queue, in one place or in all."""
        return [
            message
            for message in self.messages.values()
            if message.queue == name and (not place or message.place == place)
        ]

    def _over(self, message: Message, site: str, why: Reply | None = None) -> None:
        """A message ends without a connection: expired, or failed with a reply; it is gone when the lane has recorded that."""
        message.place, message.wake, message.site = "ending", 0, site
        self._expected[("end", message.position, message.attempts, why)] += 1
        self._tidy()

    def _end(self, message: Message) -> None:
        """A message is gone."""
        self.ended[message.position] += 1
        del self.messages[message.position]
        if not self.of_queue(message.queue):
            self.queues[message.queue].empty_since = self.now
        self._tidy()

    def _tidy(self) -> None:
        """What nothing keeps is gone: places of queues without ready mail, and paths."""
        for name, queue in self.queues.items():
            if queue.site and not self.of_queue(name, "ready"):
                queue.site = ""
        for site, path in list(self.paths.items()):
            if not path.connections and not path.is_timed and not self.ready(site):
                del self.paths[site]

    # -- routes

    def found(self, hop: Hop, site: str, seconds: float) -> None:
        """The world answers: the hop's mail goes to a site, for so long."""
        self.resolves.remove(hop)
        known = self.hops.get(hop.name)
        until = self.now + instant(seconds)
        if known is not None and hop is self.scheduler.hops.get(hop.name):
            known.is_resolving, known.release, known.site, known.until = (
                False,
                0,
                site,
                max(until, self.now + 1),
            )
            for name in self.queues:
                if name.next_hop == hop.name and self.of_queue(name, "ready"):
                    self._enter(name, site)
            self._tidy()
        self.scheduler.route_found(hop, route(site), wall(until), wall(self.now))
        self.settle_down()

    def not_found(self, hop: Hop, seconds: float) -> None:
        """The world answers: no route now; ask again then."""
        self.resolves.remove(hop)
        known = self.hops.get(hop.name)
        if known is not None and hop is self.scheduler.hops.get(hop.name):
            known.is_resolving = False
            known.release = max(self.now + instant(seconds), self.now + SECOND)
        self.scheduler.route_failed(
            hop, NO_ANSWER, wall(self.now + instant(seconds)), wall(self.now), is_permanent=False
        )
        self.settle_down()

    def never_found(self, hop: Hop) -> None:
        """The world answers: there is no such domain."""
        self.resolves.remove(hop)
        known = self.hops.get(hop.name)
        if known is not None and hop is self.scheduler.hops.get(hop.name):
            known.is_resolving, known.release, known.site, known.until = False, 0, "", 0
            for message in list(self.messages.values()):
                if message.queue.next_hop == hop.name and message.place == "ready":
                    self._over(message, self.queues[message.queue].site, NOBODY)
        self.scheduler.route_failed(hop, NOBODY, wall(self.now), wall(self.now), is_permanent=True)
        self.settle_down()

    # -- connections

    def path(self, site: str) -> Path:
        """The scheduler's path."""
        return self.scheduler.paths[site]

    def connect(self, site: str) -> None:
        """A connection that was asked for is made, and pulls."""
        path, known = self.path(site), self.paths[site]
        known.opening -= 1
        if known.failures:
            known.failures, known.release, known.is_timed = 0, 0, False
        known.rows.append(-1)
        self.scheduler.connected(path, wall(self.now))
        self._collect()
        self._pull(site)
        self.settle_down()

    def refuse(self, site: str, draw: float = 0.0, *, late: int = 0) -> None:
        """A connection that was asked for cannot be made. Time may be ``late``."""
        self.now += late
        path, known = self.path(site), self.paths[site]
        known.opening -= 1
        if not known.release or self.now >= known.release:
            known.failures += 1
            known.is_timed = True
            known.release = self.now + instant(min(2.0 ** (known.failures - 1), 300.0) * (1.0 - draw / 4.0))
        self.scheduler.connect_failed(path, "connection refused", wall(self.now), draw)
        self.settle_down()

    def prohibit(self, site: str) -> None:
        """A connection that was asked for will never be made."""
        path, known = self.path(site), self.paths[site]
        known.opening -= 1
        known.failures, known.release, known.is_timed = 0, 0, False
        for message in self.ready(site):
            self._over(message, site, PROHIBITED)
        self._tidy()
        self.scheduler.path_failed(path, PROHIBITED, wall(self.now))
        self.settle_down()

    def close(self, site: str) -> None:
        """A connection that was closing has ended."""
        self.paths[site].closing -= 1
        self._closed(site, was_closing=True)
        self.settle_down()

    def _closed(self, site: str, *, was_closing: bool = False) -> None:
        path, known = self.path(site), self.paths[site]
        if known.release and known.connections == known.opening:
            known.failures = 1
            if known.release > self.now + SECOND:
                known.release, known.is_timed = self.now + SECOND, True
        self._tidy()
        self.scheduler.connection_closed(path, wall(self.now), was_closing=was_closing)

    def leave(self, site: str) -> None:
        """An idle connection is being closed."""
        path, known = self.path(site), self.paths[site]
        known.idle -= 1
        known.offered -= bool(known.offered)
        known.closing += 1
        self.scheduler.closing_began(path, wall(self.now))
        self.settle_down()

    def take_offer(self, site: str) -> None:
        """The lane comes to an offer: an idle connection pulls, if there still is one."""
        path, known = self.path(site), self.paths[site]
        known.offers -= 1
        if known.idle:
            known.idle -= 1
            known.offered -= bool(known.offered)
            known.rows.append(-1)
            self.scheduler.idle_ended(path)
            self._pull(site)
        self.settle_down()

    def _pull(self, site: str) -> None:
        """The connection without a message takes the next one, or is idle."""
        path, known = self.path(site), self.paths[site]
        may_pull = known.connections - known.idle <= known.limit and not self.is_paused
        ready = self.ready(site) if may_pull else []
        row = self.scheduler.pull(path, wall(self.now))
        self._check_pulled(row, ready, site)
        known.rows.remove(-1)
        if row >= 0:
            known.rows.append(row)
            self._tidy()
        else:
            known.idle += 1
            self.scheduler.idle_began(path)
        self._collect()

    def _check_pulled(self, row: int, ready: list[Message], site: str) -> None:
        """The first message of some queue whose time is not over, those before it having ended for that; nothing only where there is none."""
        state = self.scheduler.rows.state
        taken = [message for message in ready if message.row == row]
        over = [message for message in ready if message.row != row and state[message.row] != READY]
        assert len(taken) == (row >= 0), f"pulled row {row}, which is not ready here"
        assert all(message.expires <= self.now for message in over), "ended before its time"
        assert len(over) <= EXPIRED_IN_A_PULL, "one pull ends too many"
        gone = {message.row for message in (*taken, *over)}
        for message in (*taken, *over):
            earlier = [item for item in ready if item.queue == message.queue and item.order < message.order]
            assert gone.issuperset(item.row for item in earlier), "a message overtook another of its queue"
        if row >= 0:
            assert taken[0].expires > self.now, "pulled past its time"
            taken[0].place, taken[0].wake = "in flight", 0
        elif len(over) < EXPIRED_IN_A_PULL:
            assert len(over) == len(ready), "nothing was pulled, and there was mail"
        for message in over:
            self._over(message, site)

    def finish(
        self, site: str, row: int, what: str, *, then_closed: bool, draw: float = 0.5, late: int = 0
    ) -> None:
        """What a connection does with its message: "settled", "deferred" or "put back"; then it pulls, or ends. Time may be ``late``."""
        self.now += late
        path, known, scheduler = self.path(site), self.paths[site], self.scheduler
        message = next(item for item in self.messages.values() if item.row == row)
        known.rows.remove(row)
        known.rows.append(-1)
        due = scheduler.retry_at(row, wall(self.now), draw) if what == "deferred" else None
        if what == "deferred":
            self._check_retry(message, due, draw)
        if what == "put back":
            is_listed = bool(self.of_queue(message.queue, "ready"))
            message.place, message.wake = "ready", message.expires
            message.entered = next(self._numbers)
            if not is_listed:
                self._enter(message.queue, self.hops[message.queue.next_hop].site or site)
            scheduler.put_back(path, row, wall(self.now))
        elif due is not None:
            message.attempts += 1
            self._wait(message, instant(due))
            scheduler.deferred(path, row, due)
        else:
            self._end(message)
            scheduler.settled(path, row, wall(self.now))
        self._collect()
        if then_closed:
            known.rows.remove(-1)
            self._closed(site)
        else:
            self._pull(site)
        self.settle_down()

    def _check_retry(self, message: Message, due: WallTime | None, draw: float) -> None:
        config = self.queue_config
        delay = config.retry_interval * 2.0**message.attempts
        if config.max_retry_interval is not None:
            delay = min(delay, config.max_retry_interval)
        delay += (2.0 * draw - 1.0) * min(config.retry_interval / 40.0, 30.0)
        expected = self.now + round(delay * 1e6)
        if due is None:
            assert expected >= message.expires - 1, "given up although there was time"
        else:
            assert abs(instant(due) - expected) <= 1, "a retry that is not by the formula"
            assert instant(due) < message.expires, "a retry after the message's time"

    # -- configuration

    def reconfigure(self, limit: int, max_age: float) -> None:
        """Another configuration."""
        self.limit = limit
        self.queue_config = QueueConfig(Seconds(600.0), Seconds(2000.0), Seconds(max_age))
        for path in self.paths.values():
            path.limit = limit
        self.scheduler.reconfigure(lambda name: self.queue_config, self._path_config, wall(self.now))
        self.settle_down()

    def pause(self) -> None:
        """Nothing may begin or end."""
        self.is_paused = True
        self.scheduler.pause("spool", "outcomes cannot be recorded", wall(self.now))
        self.settle_down()

    def resume(self) -> None:
        """It may again."""
        self.is_paused = False
        self.scheduler.resume(wall(self.now))
        self.settle_down()

    # -- time

    def next_wake(self) -> int:
        """When time does something, by the account; 0 for never."""
        wakes = [message.wake for message in self.messages.values() if message.wake and not self.is_paused]
        # a hold whose route is being asked for again has come to its end
        wakes += [hop.release for hop in self.hops.values() if hop.release and not hop.is_resolving]
        wakes += [path.release for path in self.paths.values() if path.is_timed]
        wakes += [
            queue.empty_since + REAP_AFTER for name, queue in self.queues.items() if not self.of_queue(name)
        ]
        return min(wakes, default=0)

    def advance(self, to: int) -> None:
        """Time passes; the scheduler is called at each instant that it named, and at no other."""
        for _ in range(PATIENCE):
            expected = self.next_wake()
            wake = self.scheduler.next_wake()
            assert (0 if wake is None else instant(wake)) == expected, (
                "woken at another instant than the next"
            )
            if not expected or expected > to:
                break
            self.now = max(self.now, expected)
            self._tick()
            self.check()
        else:
            raise AssertionError("time does not pass")
        self.now = max(self.now, to)

    def _tick_early(self) -> None:
        """The scheduler is called although nothing is due: nothing happens."""
        wake = self.scheduler.next_wake()
        assert not self.scheduler.tick(wall(self.now))
        assert not self.scheduler.has_effects, "something was done before its time"
        assert self.scheduler.next_wake() == wake

    def _tick(self) -> None:
        due = sorted(
            (
                message
                for message in self.messages.values()
                if message.wake and message.wake <= self.now and not self.is_paused
            ),
            key=lambda message: (message.wake, message.entered),
        )
        for message in due:
            self._wake(message)
        for name, queue in list(self.queues.items()):
            if not self.of_queue(name) and queue.empty_since + REAP_AFTER <= self.now:
                del self.queues[name]
                if not any(other.next_hop == name.next_hop for other in self.queues):
                    del self.hops[name.next_hop]
        for name, hop in self.hops.items():
            if hop.release and hop.release <= self.now and not hop.is_resolving:
                if any(self.of_queue(queue, "ready") for queue in self.queues if queue.next_hop == name):
                    self._ask(name)
                else:
                    hop.release = 0
        for site, path in list(self.paths.items()):
            if path.is_timed and path.release <= self.now:
                path.is_timed = False
                for message in self.ready(site):
                    if self.now >= self.hops[message.queue.next_hop].until:
                        self._ask(message.queue.next_hop)
        self._tidy()
        for _ in range(PATIENCE):
            is_unfinished = self.scheduler.tick(wall(self.now))
            self._collect()
            if not is_unfinished and not self.scheduler.is_behind:
                break
        else:
            raise AssertionError("there is always more to do")

    def _wake(self, message: Message) -> None:
        if message.place == "ready":
            self._over(message, self.queues[message.queue].site)
        elif message.expires <= self.now:
            self._over(message, self._last_site(message))
        else:
            self._make_ready(message)

    def _last_site(self, message: Message) -> str:
        """The site that a waiting message would have gone to, as far as the scheduler remembers; where it does is its own business."""
        path = self.scheduler.hops[message.queue.next_hop].path
        return path.site if path is not None else ""

    def settle_down(self) -> None:
        """The lane has a free moment: it takes the effects, and calls the scheduler if that has something to do at once."""
        self._collect()
        for _ in range(PATIENCE):
            wake = self.scheduler.next_wake()
            if not self.scheduler.is_behind and (wake is None or instant(wake) > self.now):
                break
            self._tick()
        else:
            raise AssertionError("there is always something to do at once")
        self.check()
        self._tick_early()

    # -- effects

    def _collect(self) -> None:
        """The lane takes what the scheduler asks for; answers come later, by the methods above."""
        for effect in self.scheduler.take_effects():
            self._take(effect)
        assert len(self.scheduler._places.ends) <= ENDS_LIMIT, "more ends than may wait"
        while (end := self.scheduler.take_end()) is not None:
            self._take_end(end)
        for path in self.paths.values():
            if not path.is_timed and not path.opening:
                path.release = 0

    def _take(self, effect: Effect) -> None:
        if isinstance(effect, Resolve):
            assert effect.hop not in self.resolves, "asked twice for one route"
            self.resolves.append(effect.hop)
            self._told[("resolve", effect.hop.name)] += 1
        elif isinstance(effect, Offer):
            assert not self.is_paused, "an offer while paused"
            known = self.paths[effect.path.site]
            known.offers += 1
            known.offered += 1
            assert known.offered <= known.idle, "more offers than idle connections"
            assert known.connections - known.idle + known.offered <= known.limit, "an offer beyond the limit"
        else:
            assert not self.is_paused, "a connection while paused"
            known = self.paths[effect.path.site]
            known.opening += 1
            assert known.connections <= known.limit, "a connection beyond the limit"
            assert self.now >= known.release, "a connection during a hold"
            assert not known.failures or known.opening == 1, "more than one probe"

    def _take_end(self, end: End) -> None:
        """The lane records an end, or it cannot."""
        assert not self.is_paused, "an end while paused"
        plan: int | None = self.plan.pop() if self.plan else 0
        if plan is None:
            self.scheduler.end_put_back(end)
            assert self.scheduler.take_end() is end, "an end that was put back is not the next"
            plan = 0
        message = self.messages[end.position]
        reply = None if isinstance(end, Expire) else end.reply
        assert end.row == message.row
        assert end.site == message.site or (reply is None and end.site == self._last_site(message))
        self._told[("end", end.position, end.attempts, reply)] += 1
        if plan:
            self.scheduler.end_put_off(end, wall(self.now + plan))
            message.place, message.wake, message.entered = "waiting", self.now + plan, next(self._numbers)
        else:
            self.scheduler.end_recorded(end, wall(self.now))
            self._end(message)

    # -- what must be true

    def check(self) -> None:
        """Compare everything."""
        assert self._told == self._expected, "effects that were due and effects that were not"
        self._told.clear()
        self._expected.clear()
        assert all(times == 1 for times in self.ended.values()), "a message that ended twice"
        scheduler = self.scheduler
        assert len(scheduler) == len(self.messages), "messages lost, or not forgotten"
        for message in self.messages.values():
            self._check_message(message)
        octets: Counter[str | None] = Counter()
        for message in self.messages.values():
            octets[message.queue.tenant] += size_of(message)
        assert scheduler.octets == +octets, "octets of a tenant that it has not, or has no more"
        assert scheduler.queues.keys() == self.queues.keys(), "queues that are not used, or were forgotten"
        for name in self.queues:
            self._check_queue(name)
        assert scheduler.hops.keys() == self.hops.keys(), "hops that are not used, or were forgotten"
        for name in self.hops:
            self._check_hop(name)
        assert scheduler.paths.keys() == self.paths.keys(), "paths that are not used, or were forgotten"
        for site in self.paths:
            self._check_path(site)
        wake = scheduler.next_wake()
        assert (0 if wake is None else instant(wake)) == self.next_wake(), (
            "woken at another instant than the next"
        )
        timers = scheduler._places.timers
        assert len(timers._heap) <= 2 * len(timers) + 70, "timers pile up"

    def _check_message(self, message: Message) -> None:
        rows = self.scheduler.rows
        assert rows.position[message.row] == message.position
        assert rows.state[message.row] == STATES[message.place], "a message in another place"
        assert rows.attempts[message.row] == message.attempts, (
            "attempts that are not counted, or were not made"
        )
        assert rows.expires[message.row] == message.expires, "another expiry"

    def _check_queue(self, name: QueueName) -> None:
        queue, known = self.scheduler.queues[name], self.queues[name]
        counts = Counter(message.place for message in self.of_queue(name))
        assert (queue.waiting, queue.ready, queue.in_flight) == (
            counts["waiting"],
            counts["ready"],
            counts["in flight"] + counts["ending"],
        ), "a queue's counts"
        assert (queue.path.site if queue.path is not None else "") == known.site, "a queue on another path"
        hop = self.hops[name.next_hop]
        if counts["ready"] and not known.site:
            assert hop.is_resolving or self.now < hop.release, "mail that is held without a gate"
            held = self.scheduler.hops[name.next_hop].hold
            assert queue.hold is held

    def _check_hop(self, name: str) -> None:
        hop, known = self.scheduler.hops[name], self.hops[name]
        assert hop.users == sum(queue.next_hop == name for queue in self.queues), "a hop's users"
        assert hop.is_resolving == known.is_resolving
        assert (hop.hold.until if hop.hold is not None else 0) == known.release, "a hop's hold"

    def _check_path(self, site: str) -> None:
        path, known = self.scheduler.paths[site], self.paths[site]
        ready = len(self.ready(site))
        assert (path.ready, path.in_flight, path.connections) == (
            ready,
            len(known.rows),
            known.connections,
        ), "a path's counts"
        assert (path.opening, path.idle, path.offered, path.closing) == (
            known.opening,
            known.idle,
            known.offered,
            known.closing,
        ), "a path's connections"
        assert path.failures == known.failures
        assert (path.hold.until if path.hold is not None else 0) == known.release, "a path's hold"
        standing = [queue for share in path.sharing for queue in share.queues]
        assert len(standing) == path.queues, "queues that stand in the round"
        assert all(queue.path is path and queue.ready for queue in standing), "a queue without its turn"
        if not ready or self.is_paused or (self.now < known.release and known.is_timed):
            return
        assert known.opening + known.offered + known.closing + len(known.rows), "mail that nobody comes for"
        assert known.offers >= known.offered
        wanted = min(known.limit, math.ceil(known.limit * (1 - math.exp(-0.023 * (ready + len(known.rows))))))
        assert (
            known.opening + known.offered >= ready
            or known.connections >= known.limit
            or (known.failures and known.opening)
            or known.connections - known.closing >= min(wanted, ready + len(known.rows))
        ), "mail that wants more connections"

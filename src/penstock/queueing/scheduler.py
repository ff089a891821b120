"""What the lane tells about the world, and what that means for queued mail: the scheduler's public face.

Nothing is polled: ``next_wake`` is the earliest instant at which time does something, to a message, to a hold, or to a queue that has been empty.
Time is given, as are random draws; what the world must do is left in ``take_effects``. Being held back (no route, no connection) spends no
attempt and changes no due time. Where messages stand, and how they move, is in ``places``.

What may concern a million messages is done in slices: ``tick`` does some, by turns, and says that there is more. So mail goes to its path or to
another, fails because its domain or its path is dead for good, and comes due or expires where that is for many at once.

Directives and limits hold mail beside its path (``gates``): nothing is asked for on its behalf, and it wakes when its gate opens. Directives end by
themselves; limits say by their keys when they may be asked again (``opened``).

A route is asked for again when it is no longer believed and there is new mail for it, or its path is dead. Mail that stands on a path stays there
meanwhile, and also if no answer comes; it moves if the answer is another site, and fails if there can be none.

While all is held (``pause``) no message begins or ends, none comes due, and no connection is asked for; what is overdue afterwards is done in slices.
What is in flight ends as ever, and routes and holds go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from penstock.mail.configuration import PathConfig, QueueConfig, ShareBy
from penstock.mail.directive import Criteria
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply
from penstock.mail.schedule import Schedule, ZoneOf, may_go_at
from penstock.queueing.backlog import TURN
from penstock.queueing.effects import Effect, End, Flush, Rebind
from penstock.queueing.holds import Hold
from penstock.queueing.instants import instant_of, time_of
from penstock.queueing.leaving import Leaving
from penstock.queueing.orders import Orders
from penstock.queueing.parking import Parking
from penstock.queueing.places import ATTEMPTS_LIMIT, Places
from penstock.queueing.queues import Hop, Path, ScheduledQueue
from penstock.queueing.retry import retry_delay
from penstock.queueing.routes import Routes
from penstock.queueing.rows import NONE, READY
from penstock.routing.plan import Route
from penstock.shaping.own import OwnRates
from penstock.shaping.ports import Rates

#: Messages that have ended and are not taken: what a lane records within some turns of the loop.
ENDS_LIMIT: Final = 1000
#: Queues of a dead path whose routes are asked for again at each attempt to connect.
_REVIEWED: Final = 64


def _here(_domain: str, _site: str) -> None:
    """Every site has its home here."""


def _unknown(_zone: str) -> None:
    """No zone is known."""


def _equal(_tenant: str | None) -> float:
    """All tenants weigh the same."""
    return 1.0


class Scheduler(Orders):
    """The mail of one lane.

    ``queue_config`` gives the configuration of a queue by its name, ``path_config`` that of a path by its site; both are asked once for each
    queue or path, and again after ``reconfigure``. ``ends_limit`` bounds the ends that wait to be taken. ``home`` gives the other lane that a site
    has its home in, None for this one, by a domain that is routed to it ("": none is at hand) and the site; it may answer otherwise after ``rehome``.
    ``weight_of`` gives a tenant's weight, above 0; ``zone_of`` a zone by its name. ``rates`` are asked in the scheduler's own time, which only goes
    forward; whoever gives them calls ``opened`` with a key that may be asked again. None is rates that nobody wakes: where there are no limits.
    """

    def __init__(
        self,
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
        source: str = "unspecified",
        *,
        ends_limit: int = ENDS_LIMIT,
        home: Callable[[str, str], str | None] = _here,
        weight_of: Callable[[str | None], float] = _equal,
        rates: Rates | None = None,
        zone_of: ZoneOf = _unknown,
    ) -> None:
        places = Places(
            queue_config,
            path_config,
            source,
            ends_limit,
            home,
            weight_of,
            OwnRates() if rates is None else rates,
            zone_of,
        )
        super().__init__(places)
        self._supply = places.supply
        self._routes = Routes(places, self._backlog)
        #: mail that goes to other lanes
        self.leaving = Leaving(places, self._turnstile, self._sweeping)
        self.source = source
        self.rows = places.rows
        #: what exists, by site, next-hop domain and name; not to be changed
        self.paths = places.paths
        self.hops = places.hops
        self.queues = places.queues

    def __len__(self) -> int:
        return self.rows.live

    @property
    def octets(self) -> Mapping[str | None, int]:
        """How many octets of messages each tenant has here; not to be changed."""
        return self._places.octets

    def queue_of(self, row: int) -> ScheduledQueue:
        """The scheduled queue of a live row."""
        return self._places.queue_of(row)

    def take_effects(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._supply.effects = self._supply.effects, []
        return effects

    @property
    def has_effects(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self._supply.effects)

    # -- all together

    @property
    def hold(self) -> Hold | None:
        """What holds all mail; None for nothing."""
        return self._supply.hold

    @property
    def refused(self) -> Mapping[str, int]:
        """How often a limit had no token for mail that was due, by gate; not to be changed."""
        return self._places.gates.refused

    def pause(self, gate: str, reason: str, now: WallTime) -> None:
        """Hold everything, until ``resume``."""
        hold = self._supply.hold
        self._supply.hold = Hold(gate, reason, hold.since if hold is not None else instant_of(now), 0)

    def resume(self, now: WallTime) -> None:
        """Go on where it was paused; many paths, as ``tick`` comes to them."""
        self._supply.hold = None
        self._backlog.look_at(list(self.paths.values()), instant_of(now), TURN)

    def reconfigure(
        self,
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
        now: WallTime,
    ) -> None:
        """Work with another configuration from now on; many paths, as ``tick`` comes to them. Mail keeps its due time and its expiry.

        Connections beyond a lower limit get no mail any more; they end when they have been idle for their time.
        """
        places = self._places
        places.queue_config = queue_config
        places.path_config = path_config
        places.epoch += 1
        places.gates.generation += 1
        self._backlog.look_at(list(self.paths.values()), instant_of(now), TURN)
        self._backlog.review(Criteria())

    def rehome(self, home: Callable[[str, str], str | None], now: WallTime) -> None:
        """Sites have their homes as this says from now on; many paths, as ``tick`` comes to them."""
        self._places.home = home
        self._backlog.look_at(list(self.paths.values()), instant_of(now), TURN)

    # -- gates

    def may_begin(self, path: Path, row: int, now: WallTime) -> bool:
        """Whether a pulled message may still begin, which has been fetched meanwhile: its time is not over, and no directive holds it."""
        places, instant = self._places, instant_of(now)
        if self.rows.expires[row] <= instant:
            return False
        gates = places.gates
        return (
            gates.find(places.queue_of(row).name, instant) is None and gates.find_for(path, instant) is None
        )

    def opened(self, key: str, now: WallTime) -> None:
        """A limit that refused somebody may have a token: those who wait for it go on, as many as it has."""
        self._turnstile.opened(key, instant_of(now))

    def reread(self, name: QueueName, now: WallTime) -> None:
        """The configuration of one queue is another."""
        queue = self.queues.get(name)
        if queue is not None:
            queue.epoch = queue.generation = -1
            self._turnstile.review(queue, instant_of(now))

    # -- mail in

    def add(
        self,
        name: QueueName,
        position: int,
        size: int,
        *,
        created: WallTime,
        now: WallTime,
        attempts: int = 0,
        due: WallTime | None = None,
        schedule: Schedule | None = None,
    ) -> int:  # hot: micro_queueing
        """Take a message that is stored at ``position``; its row. ``due`` None, or past, is at once; with its time over it only expires.

        ``schedule`` is the sender's: it is due when that allows it, and its own end counts instead of the queue's ``max_age``.
        """
        places, instant = self._places, instant_of(now)
        queue = places.queues.get(name)
        if queue is None:
            queue = places.new_queue(name)
        size = min(size, NONE)
        if size:
            queue.octets += size
            places.octets[name.tenant] = places.octets.get(name.tenant, 0) + size
        since = instant_of(created) if created != now else instant
        expires = instant_of(created + places.config_of(queue).max_age)
        if schedule is not None:
            due = may_go_at(schedule, now if due is None else max(due, now), places.zone_of)
            if schedule.expires is not None:
                expires = instant_of(schedule.expires)
        row = self.rows.new(queue.index, position, size, since, expires, min(attempts, ATTEMPTS_LIMIT))
        if schedule is not None:
            places.schedules[row] = schedule
        if due is not None and instant_of(due) > instant:
            self.rows.order[row] = 0
            places.wait(queue, row, instant_of(due))
        elif expires <= instant:
            places.wait(queue, row, expires)
        else:
            places.make_ready(queue, row, instant)
        if self._sweeping.runs:
            self._sweeping.came(row)
        return row

    # -- routes

    def route_found(self, hop: Hop, route: Route, until: WallTime, now: WallTime) -> None:
        """The hop's mail goes by ``route``; that is known until ``until``. ``tick`` puts its queues on the path (see ``routes``)."""
        self._routes.found(hop, route, instant_of(until), instant_of(now))

    def route_failed(
        self, hop: Hop, reply: Reply, until: WallTime, now: WallTime, *, is_permanent: bool
    ) -> None:
        """The hop has no route, ever or until ``until``: its mail fails with ``reply``, or is held until then where it stands on no path."""
        self._routes.failed(hop, reply, instant_of(until), instant_of(now), is_permanent=is_permanent)

    # -- connections

    def connected(self, path: Path, now: WallTime) -> None:
        """A connection that was asked for is there; it may ``pull``."""
        self._supply.connected(path, instant_of(now))

    def connect_failed(self, path: Path, reason: str, now: WallTime, draw: float) -> None:
        """A connection that was asked for could not be made, to none of the site's hosts. It counts no more; new ones wait a while."""
        self._supply.failed(path, reason, instant_of(now), draw)

    def path_failed(self, path: Path, reply: Reply, now: WallTime) -> None:
        """No mail of this path can ever be delivered (all its hosts are prohibited, say): it fails. The connection asked for counts no more."""
        self._supply.refused(path)
        path.doom = reply
        self._backlog.add(path)

    def connection_closed(self, path: Path, now: WallTime, *, was_closing: bool = False) -> None:
        """A connection has ended; it was neither idle nor with a message when it did (``closing_began``, ``put_back`` or an outcome came first).

        ``was_closing`` says that it was ``closing_began``.
        """
        self._supply.closed(path, instant_of(now), was_closing=was_closing)
        self._places.drop_if_unused(path)

    def idle_began(self, path: Path) -> None:
        """A connection found nothing to pull and waits to be offered mail."""
        self._supply.idle_began(path)

    def idle_ended(self, path: Path) -> None:
        """An idle connection will pull."""
        self._supply.idle_ended(path)

    def closing_began(self, path: Path, now: WallTime) -> None:
        """An idle connection is being closed: it will not pull, but counts until ``connection_closed``, which is to be told."""
        self._supply.closing_began(path, instant_of(now))

    # -- mail out

    def pull(self, path: Path, now: WallTime) -> int:  # hot: micro_queueing
        """The next message of a path, now IN_FLIGHT: the first of the queue whose turn it is. -1 if there is none for this connection."""
        if path.connections - path.idle > path.config.connection_limit or self._supply.hold is not None:
            return -1
        instant = instant_of(now)
        if path.generation != self._places.gates.generation:
            self._places.gates.test(path, instant)
        if path.lane is not None or path.gate is not None:
            return -1
        row = self._turnstile.take_next(path, instant)
        return row if row != NONE else -1

    def fetched(self, path: Path, row: int, recipients: int) -> None:  # hot: throughput
        """A pulled message is read, and goes to so many recipients: where turns are shared by them, its tenant is charged for all but the first."""
        if path.config.share_by is ShareBy.RECIPIENTS and recipients > 1:
            self._places.costs[row] = float(recipients)
            path.sharing.charge_more(self._places.queue_of(row).tenant, recipients - 1.0)

    def put_back(self, path: Path, row: int, now: WallTime, *, has_begun: bool = False) -> None:
        """A pulled message is ready again, in its old place. It has spent no attempt; and no token, if no transaction of it ``has_begun``."""
        places, queue, instant = self._places, self._places.queue_of(row), instant_of(now)
        queue.in_flight -= 1
        path.in_flight -= 1
        if not has_begun and (queue.limits or path.limits):
            places.gates.give_back(queue, path, self.rows.wake[row], instant)
        places.make_ready_again(queue, row, path, instant)
        if self._sweeping.runs:
            self._sweeping.came_back(row)

    def settled(self, path: Path, row: int, now: WallTime) -> None:  # hot: micro_queueing
        """A pulled message is over: every recipient has been accepted, or failed, or given up."""
        queue = self._places.queue_of(row)
        queue.in_flight -= 1
        path.in_flight -= 1
        if self._places.costs:
            self._places.costs.pop(row, None)
        self._places.forget(queue, row, instant_of(now))
        if self._sweeping.runs:
            self._sweeping.gone(row)

    def retry_at(self, row: int, now: WallTime, draw: float) -> WallTime | None:
        """When a pulled message would be tried again if its attempt, which began and is not counted yet, leaves it deferred.

        None if its time is over before that: it is to be given up.
        """
        config = self._places.config_of(self._places.queue_of(row))
        due = WallTime(now + retry_delay(config, self.rows.attempts[row] + 1, draw))
        schedule = self._places.schedules.get(row)
        if schedule is not None:
            due = may_go_at(schedule, due, self._places.zone_of)
        return due if instant_of(due) < self.rows.expires[row] else None

    def deferred(self, path: Path, row: int, due: WallTime) -> None:
        """A pulled message has recipients that were deferred: it has spent an attempt, and waits until ``due`` (from ``retry_at``)."""
        rows, queue = self.rows, self._places.queue_of(row)
        queue.in_flight -= 1
        path.in_flight -= 1
        if self._places.costs:
            self._places.costs.pop(row, None)
        rows.attempts[row] = min(rows.attempts[row] + 1, ATTEMPTS_LIMIT)
        self._places.wait(queue, row, instant_of(due))
        if self._sweeping.runs:
            self._sweeping.came_back(row)

    # -- what ends without a connection

    @property
    def has_ends(self) -> bool:
        """Whether ``take_end`` has one."""
        return bool(self._places.ends) and self._supply.hold is None

    def take_end(self) -> End | None:
        """The next message to be recorded as over, to be told of by one of the following; None if there is none, or all is held."""
        return self._places.ends.popleft() if self.has_ends else None

    def end_recorded(self, end: End, now: WallTime) -> None:
        """It is recorded: the message is gone; or in another queue, or due, if that is what was to be recorded."""
        instant = instant_of(now)
        if isinstance(end, Rebind | Flush):
            if isinstance(end, Rebind):
                self._places.rebind(end, instant)
            else:
                self._places.flush(end, instant)
            self._sweeping.recorded(end)
            if self._sweeping.runs:
                self._sweeping.came_back(end.row)
        else:
            self.end_lost(end, now)

    def end_lost(self, end: End, now: WallTime) -> None:
        """The message is gone, whatever was to be recorded of it."""
        end.queue.in_flight -= 1
        self._places.forget(end.queue, end.row, instant_of(now))
        if self._sweeping.runs:
            self._sweeping.recorded(end)
            self._sweeping.gone(end.row)

    def end_put_back(self, end: End) -> None:
        """Nothing was recorded, for that is not to be now: it is the next to be taken."""
        self._places.ends.appendleft(end)

    def end_put_off(self, end: End, until: WallTime) -> None:
        """It cannot be recorded before ``until``: then what time or the route say of the message is asked again."""
        self._places.put_off(end, instant_of(until))
        if self._sweeping.runs:
            self._sweeping.put_off(end, instant_of(until))
            self._sweeping.came_back(end.row)

    # -- time

    def next_wake(self) -> WallTime | None:
        """When ``tick`` is to be called next; None for not before something else happens. While it ``is_behind``, it is to be called at once."""
        instant = self._places.calendar.next() if self._supply.hold is None else 0
        expiry = self.directives.next_expiry()
        timers = (self._places.next_timer(), self._sweeping.next_wake(), instant_of(expiry or 0.0))
        for timer in timers:
            if timer and (not instant or timer < instant):
                instant = timer
        return time_of(instant) if instant else None

    @property
    def is_busy(self) -> bool:  # hot: throughput
        """Whether there may be anything to be done at once: a quick look at effects, ends, and whether it ``is_behind``."""
        return bool(self._supply.effects or self._places.ends) or self.is_behind

    @property
    def is_behind(self) -> bool:
        """Whether ``tick`` has work that waits for no time."""
        return (
            bool(self._backlog)
            or self._sweeping.is_behind
            or (self._places.calendar.has_aside and self._places.ends_room > 0)
        )

    def tick(self, now: WallTime, budget: int = 500) -> bool:
        """Do what time brings, for about ``budget`` rows; whether there is more to do at once."""
        instant = instant_of(now)
        for directive in self.directives.expire(time_of(instant)):
            self.over(directive, instant)
        is_held = self._supply.hold is not None
        while budget > 0:
            done = (
                self._backlog.take_turn(instant, TURN)
                + self._sweeping.wake(instant, TURN)
                + self._sweeping.take_turn(instant, min(TURN, budget))
                + (0 if is_held else self._expire_aside() + self._wake_rows(instant))
                + self._wake_owner(instant)
            )
            if not done:
                return False
            budget -= done
        wake = self.next_wake()
        return self.is_behind or (wake is not None and instant_of(wake) <= instant)

    def _expire_aside(self) -> int:
        """A turn for rows that wait aside; how many it were."""
        done = 0
        while done < TURN and self._places.expire_aside():
            done += 1
        return done

    def _wake_rows(self, now: int) -> int:
        """A turn for rows whose instant has come, or is near; how many it were."""
        places, rows = self._places, self.rows
        done = places.calendar.open(now, TURN)
        for _ in range(TURN):
            row = places.calendar.pop(now)
            if row == NONE:
                break
            done += 1
            queue = places.queue_of(row)
            if rows.state[row] == READY:
                places.expire(queue, row, places.take_out(queue, row))
                continue
            queue.remove_waiting(rows, row)
            if rows.expires[row] > now:
                places.make_ready(queue, row, now)
            else:
                places.expire(queue, row, places.last_site(queue))
        return done

    def _wake_owner(self, now: int) -> int:
        """A turn for a queue, hop or path whose timer has come; 1 if there was one."""
        places = self._places
        if not 0 < places.next_timer() <= now:
            return 0
        owner = places.timers.pop(now)
        if isinstance(owner, ScheduledQueue):
            places.forget_queue(owner)
        elif isinstance(owner, Parking):
            self._turnstile.let_go(owner, now)
        elif isinstance(owner, Path):
            self._supply.released(owner, now)
            for hop in owner.review(_REVIEWED):
                if now >= hop.until:
                    places.ask_route(hop, now)
            places.drop_if_unused(owner)
        elif isinstance(owner, Hop):
            if owner.first is None:
                owner.hold = None
            else:
                places.ask_route(owner, now)
        return 1

"""Moves queued messages between the places they can be, as time and the world allow.

The state of waiting mail. A row is WAITING in its scheduled queue until it is due; then READY, parked at its queue while the route of its
hop is unknown, or in the list of a path; then IN_FLIGHT with a connection, from where it ends, or is WAITING again with one attempt more.
Being held back (no route, no connection) spends no attempt and changes no due time.

Nothing is polled. Each queue, hop and path with a reason to be looked at again has that instant in the one timer structure; ``next_wake``
is the earliest. Time is given, as are random draws; what the world must do is left in ``take_effects``. Work that may concern a million rows
(all mail of a domain that does not exist) is done in slices: ``tick`` does some and says that there is more.

Expiry holds in every state but IN_FLIGHT, whose outcome comes first: a row's wake is its due time while it waits (always before its
expiry), and its expiry once it is ready.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply
from penstock.queueing.effects import Connect, Effect, Expire, Fail, Offer, Resolve
from penstock.queueing.queues import Hold, Hop, Path, ScheduledQueue
from penstock.queueing.retry import retry_delay
from penstock.queueing.rows import IN_FLIGHT, NONE, READY, WAITING, Rows
from penstock.queueing.timers import Timers
from penstock.routing.plan import Route
from penstock.shaping.connections import connections_wanted, reconnect_delay

_MICRO = 1_000_000
#: An empty scheduled queue is forgotten after this (formats: ``reap_interval``).
_REAP_AFTER = 600 * _MICRO


def _micro(time: float) -> int:
    return int(time * _MICRO)


class Scheduler:
    """The mail of one lane.

    ``queue_config`` gives the configuration of a queue by its name, ``path_config`` that of a path by its site; both are asked once for each
    queue or path, and again after ``reconfigure``.
    """

    def __init__(
        self,
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
        source: str = "unspecified",
    ) -> None:
        self._queue_config = queue_config
        self._path_config = path_config
        self.source = source
        self.rows = Rows()
        self.paths: dict[str, Path] = {}
        self.hops: dict[str, Hop] = {}
        self._by_name: dict[QueueName, ScheduledQueue] = {}
        self._queues: list[ScheduledQueue | None] = []
        self._free_queues: list[int] = []
        self._timers: Timers[ScheduledQueue | Hop | Path] = Timers()
        self._effects: list[Effect] = []
        self._path_numbers: list[Path | None] = []
        self._free_paths: list[int] = []
        #: what concerns many rows and is done in slices: doomed hops and paths, and hops whose parked mail has a path now
        self._backlog: deque[Hop | Path] = deque()

    def __len__(self) -> int:
        return self.rows.live

    @property
    def queues(self) -> dict[QueueName, ScheduledQueue]:
        """The scheduled queues that exist, by name; not to be changed."""
        return self._by_name

    def take_effects(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def has_effects(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self._effects)

    def reconfigure(
        self,
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
        now: WallTime,
    ) -> None:
        """Work with another configuration from now on. Mail that is queued keeps its due time and its expiry."""
        self._queue_config = queue_config
        self._path_config = path_config
        for queue in self._by_name.values():
            queue.config = queue_config(queue.name)
        for path in self.paths.values():
            path.config = path_config(path.site)
            self._open_connections(path, _micro(now))

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
    ) -> int:  # hot: throughput
        """Take a message that is stored at ``position``; its row. ``due`` None is at once."""
        instant = _micro(now)
        queue = self._by_name.get(name) or self._new_queue(name)
        expires = _micro(created + queue.config.max_age)
        row = self.rows.new(
            queue.index, position, min(size, NONE), _micro(created), expires, min(attempts, 65535)
        )
        if due is not None and due > now:
            self.rows.state[row] = WAITING
            queue.waiting += 1
            self._set_wake(queue, row, min(_micro(due), expires))
        else:
            self._make_ready(queue, row, instant)
        return row

    def _new_queue(self, name: QueueName) -> ScheduledQueue:
        hop = self.hops.get(name.next_hop)
        if hop is None:
            hop = self.hops[name.next_hop] = Hop(name.next_hop)
        hop.users += 1
        index = self._free_queues.pop() if self._free_queues else len(self._queues)
        queue = ScheduledQueue(index, name, self._queue_config(name), hop)
        if index == len(self._queues):
            self._queues.append(queue)
        else:
            self._queues[index] = queue
        self._by_name[name] = queue
        return queue

    def _set_wake(self, queue: ScheduledQueue, row: int, instant: int) -> None:
        queue.set_wake(self.rows, row, instant)
        if queue.timer == 0 or instant < queue.timer:
            self._timers.at_latest(queue, instant)

    def _make_ready(self, queue: ScheduledQueue, row: int, now: int) -> None:  # hot: throughput
        rows = self.rows
        rows.state[row] = READY
        queue.ready += 1
        self._set_wake(queue, row, rows.expires[row])
        hop = queue.hop
        path = hop.path
        if path is not None and now < hop.until and queue.parked.head == NONE:
            self._put_on_path(self._path_of(hop) if path.is_dropped else path, row, now)
            return
        if not queue.is_parked:
            queue.is_parked = True
            hop.parked.append(queue)
        rows.path[row] = NONE
        queue.parked.append(rows, row)
        if not hop.is_moving:
            self._ask_route(hop, now)

    def _put_on_path(self, path: Path, row: int, now: int) -> None:  # hot: throughput
        rows = self.rows
        rows.path[row] = path.index
        path.rows.append(rows, row)
        path.ready += 1
        if path.idle:
            self._effects.append(Offer(path))
        else:
            self._open_connections(path, now)

    def _path(self, route: Route) -> Path:
        site = route.site
        path = self.paths.get(site)
        if path is None:
            index = self._free_paths.pop() if self._free_paths else len(self._path_numbers)
            path = self.paths[site] = Path(index, self.source, route, self._path_config(site))
            if index == len(self._path_numbers):
                self._path_numbers.append(path)
            else:
                self._path_numbers[index] = path
        return path

    # -- routes

    def _ask_route(self, hop: Hop, now: int) -> None:
        if hop.is_resolving or hop.doom is not None or (hop.hold is not None and now < hop.hold.until):
            return
        hop.is_resolving = True
        self._effects.append(Resolve(hop))

    def route_found(self, hop: Hop, route: Route, until: WallTime, now: WallTime) -> None:
        """The hop's mail goes by ``route``; that is known until ``until``. Mail that waited for it is put on the path."""
        hop.is_resolving = False
        hop.hold = None
        hop.path = self._path(route)
        hop.path.route = route
        hop.until = max(_micro(until), _micro(now) + 1)
        if hop.parked and not hop.is_moving:
            hop.is_moving = True
            self._backlog.append(hop)
        elif not hop.path.connections and not hop.path.ready:
            self._drop_path(hop.path)

    def route_failed(
        self, hop: Hop, reply: Reply, until: WallTime, now: WallTime, *, is_permanent: bool
    ) -> None:
        """The hop has no route, ever or until ``until``: its mail fails with ``reply``, or is held until then."""
        hop.is_resolving = False
        hop.path = None
        instant = _micro(now)
        if is_permanent:
            if hop.parked and hop.doom is None:
                hop.doom = reply
                self._backlog.append(hop)
            return
        release = max(_micro(until), instant + _MICRO)
        hop.hold = Hold("route", str(reply), hop.hold.since if hop.hold else instant, release)
        self._timers.at_latest(hop, release)

    # -- connections

    def _open_connections(self, path: Path, now: int) -> None:
        if path.hold is not None and now < path.hold.until:
            return
        limit = path.config.connection_limit if not path.failures else 1  # one probes for all
        wanted = connections_wanted(limit, path.ready + path.in_flight)
        while path.connections < wanted and path.connections - path.in_flight < path.ready + path.idle:
            path.connections += 1
            self._effects.append(Connect(path))

    def connected(self, path: Path, now: WallTime) -> None:
        """A connection that was asked for is there; it may ``pull``."""
        if path.failures:
            path.failures = 0
            path.hold = None
            self._open_connections(path, _micro(now))

    def connect_failed(self, path: Path, reason: str, now: WallTime, draw: float) -> None:
        """A connection that was asked for could not be made, to none of the site's hosts. It counts no more; new ones wait a while."""
        instant = _micro(now)
        path.connections -= 1
        if path.hold is not None and instant < path.hold.until:
            return  # they were asked for together, and failed together
        path.failures += 1
        release = instant + _micro(reconnect_delay(path.failures, draw))
        path.hold = Hold("connection", reason, path.hold.since if path.hold else instant, release)
        self._timers.at_latest(path, release)

    def connection_closed(self, path: Path, now: WallTime) -> None:
        """A connection has ended; it was neither idle nor with a message when it did (``idle_ended``, ``put_back`` or an outcome came first)."""
        path.connections -= 1
        if path.ready:
            self._open_connections(path, _micro(now))
        elif not path.connections:
            self._drop_path(path)

    def idle_began(self, path: Path) -> None:
        """A connection found nothing to pull and waits to be offered mail."""
        path.idle += 1

    def idle_ended(self, path: Path) -> None:
        """An idle connection will pull, or is being closed."""
        path.idle -= 1

    def path_failed(self, path: Path, reply: Reply, now: WallTime) -> None:
        """No mail of this path can ever be delivered (all its hosts are prohibited, say): it fails. The connection asked for counts no more."""
        path.connections -= 1
        if path.doom is None:
            path.doom = reply
            self._backlog.append(path)

    def _drop_path(self, path: Path) -> None:
        if path.rows.head == NONE and path.hold is None and not path.in_flight and not path.is_dropped:
            self._timers.cancel(path)
            path.is_dropped = True
            del self.paths[path.site]
            self._path_numbers[path.index] = None
            self._free_paths.append(path.index)

    # -- mail out

    def pull(self, path: Path, now: WallTime) -> int:  # hot: throughput
        """The next message of a path, now IN_FLIGHT; -1 if there is none. First in, first out."""
        rows = self.rows
        state = rows.state
        instant = _micro(now)
        while (row := path.rows.pop(rows)) != NONE:
            queue = self._queue_of(row)
            path.ready -= 1
            queue.ready -= 1
            if rows.expires[row] <= instant:
                self._expire(queue, row, path.site)
                continue
            state[row] = IN_FLIGHT
            queue.in_flight += 1
            path.in_flight += 1
            return row
        return -1

    def _queue_of(self, row: int) -> ScheduledQueue:
        queue = self._queues[self.rows.queue[row]]
        assert queue is not None  # noqa: S101 -- a queue with a row is never forgotten
        return queue

    def queue_of(self, row: int) -> ScheduledQueue:
        """The scheduled queue of a live row."""
        return self._queue_of(row)

    def put_back(self, path: Path, row: int, now: WallTime) -> None:
        """A pulled message whose transaction never began: it is ready again, first of its path, and has spent nothing."""
        queue = self._queue_of(row)
        queue.in_flight -= 1
        path.in_flight -= 1
        queue.ready += 1
        path.ready += 1
        self.rows.state[row] = READY
        self.rows.path[row] = path.index
        path.rows.prepend(self.rows, row)
        self._set_wake(queue, row, self.rows.expires[row])

    def settled(self, path: Path, row: int, now: WallTime) -> None:  # hot: throughput
        """A pulled message is over: every recipient has been accepted, or failed, or given up."""
        queue = self._queue_of(row)
        queue.in_flight -= 1
        path.in_flight -= 1
        self.rows.free(row)
        if not len(queue):
            self._rest(queue, _micro(now))

    def retry_at(self, row: int, now: WallTime, draw: float) -> WallTime | None:
        """When a pulled message would be tried again if its attempt, which began and is not counted yet, leaves it deferred.

        None if its time is over before that: it is to be given up.
        """
        queue = self._queue_of(row)
        due = WallTime(now + retry_delay(queue.config, self.rows.attempts[row] + 1, draw))
        return due if _micro(due) < self.rows.expires[row] else None

    def deferred(self, path: Path, row: int, due: WallTime) -> None:
        """A pulled message has recipients that were deferred: it has spent an attempt, and waits until ``due`` (from ``retry_at``)."""
        queue = self._queue_of(row)
        rows = self.rows
        queue.in_flight -= 1
        path.in_flight -= 1
        queue.waiting += 1
        rows.attempts[row] = min(rows.attempts[row] + 1, 65535)
        rows.state[row] = WAITING
        self._set_wake(queue, row, _micro(due))

    # -- time

    def next_wake(self) -> WallTime | None:
        """When ``tick`` is to be called next; None for not before something else happens."""
        instant = self._timers.next()
        return WallTime(instant / _MICRO) if instant else None

    @property
    def is_behind(self) -> bool:
        """Whether ``tick`` has work that waits for no time."""
        return bool(self._backlog)

    def tick(self, now: WallTime, budget: int = 500) -> bool:
        """Do what time brings, for about ``budget`` rows; whether there is more to do at once."""
        # a timer set for now / 10**6 may come a rounding early
        instant = math.ceil(now * _MICRO)
        while budget > 0 and self._backlog:
            budget -= self._work_off(self._backlog[0], instant, budget)
        while budget > 0:
            owner = self._timers.pop_due(instant)
            if owner is None:
                break
            budget -= 1
            if isinstance(owner, ScheduledQueue):
                budget -= self._wake_queue(owner, instant, budget)
            elif isinstance(owner, Path):
                self._release(owner, instant)
            elif owner.parked:
                self._ask_route(owner, instant)
        due = self._timers.next()
        return bool(self._backlog) or (due != 0 and due <= instant)

    def _wake_queue(self, queue: ScheduledQueue, now: int, budget: int) -> int:
        rows = self.rows
        done = 0
        while done < budget and (row := queue.pop_wake(rows, now)) >= 0:
            done += 1
            if rows.expires[row] <= now:
                self._expire_listed(queue, row)
            else:
                queue.waiting -= 1
                self._make_ready(queue, row, now)
        upcoming = queue.next_wake(rows)
        if upcoming:
            self._timers.at_latest(queue, upcoming)
        elif not len(queue):
            self._reap(queue, now)
        return done

    def _expire_listed(self, queue: ScheduledQueue, row: int) -> None:
        """Expire a row wherever it stands."""
        rows = self.rows
        path = queue.hop.path
        if rows.state[row] == WAITING:
            queue.waiting -= 1
        else:
            queue.ready -= 1
            path = self._take_out(queue, row)
        self._expire(queue, row, path.site if path is not None else "")

    def _take_out(self, queue: ScheduledQueue, row: int) -> Path | None:
        """Take a READY row out of its list; the path that it was on, None if it was parked."""
        number = self.rows.path[row]
        if number == NONE:
            queue.parked.remove(self.rows, row)
            return None
        path = self._path_numbers[number]
        assert path is not None  # noqa: S101 -- a path with rows is never dropped
        path.rows.remove(self.rows, row)
        path.ready -= 1
        return path

    def _expire(self, queue: ScheduledQueue, row: int, site: str) -> None:
        rows = self.rows
        self._effects.append(Expire(queue, rows.position[row], rows.attempts[row], site))
        expired = rows.expires[row]
        rows.free(row)
        if not len(queue):
            self._rest(queue, expired)

    def _release(self, path: Path, now: int) -> None:
        if path.hold is not None and path.hold.until <= now:
            if path.ready:
                self._open_connections(path, now)
            else:
                path.hold = None
                path.failures = 0
                if not path.connections:
                    self._drop_path(path)

    def _rest(self, queue: ScheduledQueue, now: int) -> None:
        queue.empty_since = now
        self._timers.at_latest(queue, now + _REAP_AFTER)

    def _reap(self, queue: ScheduledQueue, now: int) -> None:
        """Forget an empty queue that has been so for long enough; else look again when it will have."""
        if now - queue.empty_since < _REAP_AFTER:
            self._timers.at_latest(queue, queue.empty_since + _REAP_AFTER)
            return
        del self._by_name[queue.name]
        self._queues[queue.index] = None
        self._free_queues.append(queue.index)
        queue.hop.users -= 1
        if not queue.hop.users:
            self._timers.cancel(queue.hop)
            del self.hops[queue.hop.name]

    # -- what concerns many

    def _work_off(self, owner: Hop | Path, now: int, budget: int) -> int:
        """Up to ``budget`` rows of the backlog's first owner; how many it were, at least one for the look."""
        for done in range(budget):
            row = self._next_of_backlog(owner)
            if row == NONE:
                self._backlog.popleft()
                owner.doom = None
                if isinstance(owner, Hop):
                    self._moved(owner, now)
                elif not owner.connections:
                    self._drop_path(owner)
                return done + 1
            if owner.doom is not None:
                self._fail(row, owner.site if isinstance(owner, Path) else "", owner.doom, now)
            elif isinstance(owner, Hop):
                self._put_on_path(self._path_of(owner), row, now)
        return budget

    def _next_of_backlog(self, owner: Hop | Path) -> int:
        if isinstance(owner, Path):
            row = owner.rows.pop(self.rows) if owner.doom is not None else NONE
            owner.ready -= row != NONE
            return row
        return self._pop_parked(owner) if owner.doom is not None or owner.path is not None else NONE

    def _path_of(self, hop: Hop) -> Path:
        path = hop.path
        assert path is not None  # noqa: S101 -- checked before a row was taken
        if path.is_dropped:
            path = hop.path = self._path(path.route)
        return path

    def _pop_parked(self, hop: Hop) -> int:
        while hop.parked:
            row = hop.parked[0].parked.pop(self.rows)
            if row != NONE:
                return row
            hop.parked.popleft().is_parked = False
        return NONE

    def _fail(self, row: int, site: str, reply: Reply, now: int) -> None:
        rows = self.rows
        queue = self._queue_of(row)
        queue.ready -= 1
        self._effects.append(Fail(queue, rows.position[row], rows.attempts[row], site, reply))
        rows.free(row)
        if not len(queue):
            self._rest(queue, now)

    def _moved(self, hop: Hop, now: int) -> None:
        hop.is_moving = False
        if hop.parked and hop.path is None:
            self._ask_route(hop, now)

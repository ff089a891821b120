"""Where queued mail stands, and every move from one place to another; ``scheduler`` says when, and ``gates`` whether it may.

A row is WAITING in its scheduled queue until it is due; then READY, in its queue's order: the queue is listed at its hop, and stands on a path as
soon as the hop's route is known, or is parked while a gate holds it; then IN_FLIGHT with a connection, from where it ends, or is WAITING again with
one attempt more. Without a connection it ends by way of ``ends``: ENDING until that is recorded. Ends that nobody has taken are limited in number;
what has expired beyond waits aside, and what is doomed stays where it is.

A row's instant is in the ``calendar``: its due time while it waits (never past its expiry), its expiry while it is ready. In flight it has none:
the outcome comes first. Queues, hops and paths are made when mail needs them: a path is dropped when it has no ready mail, no connection and no
hold, a queue when it has been empty for ten minutes, a hop with its last queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from penstock.mail.configuration import PathConfig, QueueConfig, ShareBy
from penstock.mail.directive import Directive, Order, SweepAction
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply
from penstock.mail.schedule import Schedule, ZoneOf
from penstock.queueing.calendar import Calendar
from penstock.queueing.effects import Drop, End, Expire, Fail, Flush, Rebind, Resolve, removal_reply
from penstock.queueing.gates import Gates, limits_of, limits_of_path
from penstock.queueing.instants import instant_of
from penstock.queueing.parking import Parking
from penstock.queueing.postings import Postings
from penstock.queueing.queues import Hop, Path, ScheduledQueue
from penstock.queueing.rows import ENDING, IN_FLIGHT, NONE, READY, WAITING, Rows
from penstock.queueing.sharing import Sharing
from penstock.queueing.supply import Supply
from penstock.queueing.timers import Timers
from penstock.shaping.ports import Rates

#: What a tenant gets of a path's turns at a time, for each unit of its weight: a message of common size.
_QUANTA: Final = {ShareBy.MESSAGES: 1.0, ShareBy.RECIPIENTS: 1.0, ShareBy.BYTES: 16_384.0}
#: What the column has room for.
ATTEMPTS_LIMIT: Final = 65_535


class Places:
    """The rows of one lane, and the queues, hops and paths that exist. Configurations are asked for as ``Scheduler`` says."""

    __slots__ = (
        "_by_index",
        "_ends_limit",
        "_free_indices",
        "calendar",
        "costs",
        "ends",
        "epoch",
        "gates",
        "home",
        "hops",
        "octets",
        "order",
        "path_config",
        "paths",
        "postings",
        "queue_config",
        "queues",
        "returns",
        "rows",
        "schedules",
        "source",
        "supply",
        "timers",
        "weight_of",
        "zone_of",
    )

    def __init__(
        self,
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
        source: str,
        ends_limit: int,
        home: Callable[[str, str], str | None],
        weight_of: Callable[[str | None], float],
        rates: Rates,
        zone_of: ZoneOf,
    ) -> None:
        self.queue_config = queue_config
        self.weight_of = weight_of
        self.path_config = path_config
        self.home = home
        #: counts configurations; a queue takes up the latest when it is next asked for its own
        self.epoch = 0
        self.source = source
        self.rows = Rows()
        self.calendar = Calendar(self.rows)
        #: the sender's hours, of the rows that have some
        self.schedules: dict[int, Schedule] = {}
        self.zone_of = zone_of
        #: what a row in flight costs, where that came out later
        self.costs: dict[int, float] = {}
        self.timers: Timers[ScheduledQueue | Hop | Path | Parking[ScheduledQueue]] = Timers()
        self.supply = Supply(self.timers)
        self.gates = Gates(rates, self.timers.cancel)
        self.paths: dict[str, Path] = {}
        self.hops: dict[str, Hop] = {}
        self.queues: dict[QueueName, ScheduledQueue] = {}
        #: of messages, by tenant
        self.octets: dict[str | None, int] = {}
        #: what is over and has not been taken, in order
        self.ends: deque[End] = deque()
        self._ends_limit = ends_limit
        self._by_index: list[ScheduledQueue | None] = []
        #: the queues by what criteria name
        self.postings = Postings(self.queues, self._by_index)
        self._free_indices: list[int] = []
        #: how many times a row that was READY waits again, without an attempt
        self.returns = 0
        #: how many times a row has become READY
        self.order = 0

    # -- queues

    def new_queue(self, name: QueueName) -> ScheduledQueue:
        """A scheduled queue of that name; there is none."""
        hop = self.hops.get(name.next_hop)
        if hop is None:
            hop = self.hops[name.next_hop] = Hop(name.next_hop)
        hop.users += 1
        index = self._free_indices.pop() if self._free_indices else len(self._by_index)
        queue = ScheduledQueue(index, name, self.queue_config(name), self.epoch, hop)
        queue.limits = limits_of(name, queue.config)
        if index == len(self._by_index):
            self._by_index.append(queue)
        else:
            self._by_index[index] = queue
        self.queues[name] = queue
        self.postings.add(queue)
        return queue

    def queue_of(self, row: int) -> ScheduledQueue:  # hot: micro_queueing
        """The scheduled queue of a live row."""
        queue = self._by_index[self.rows.queue[row]]
        assert queue is not None  # noqa: S101 -- a queue with a row is never forgotten
        return queue

    def config_of(self, queue: ScheduledQueue) -> QueueConfig:  # hot: micro_queueing
        """The latest configuration of a queue."""
        if queue.epoch != self.epoch:
            queue.epoch = self.epoch
            queue.config = self.queue_config(queue.name)
            queue.limits = limits_of(queue.name, queue.config)
        return queue.config

    def forget_queue(self, queue: ScheduledQueue) -> None:
        """Drop an empty queue, and its hop with the last one."""
        self.postings.remove(queue)
        del self.queues[queue.name]
        self._by_index[queue.index] = None
        self._free_indices.append(queue.index)
        hop = queue.hop
        hop.users -= 1
        if not hop.users:
            self.timers.cancel(hop)
            del self.hops[hop.name]

    def next_timer(self) -> int:
        """The instant of the next timer that has something to do, 0 for none.

        An empty queue's timer stays as it is while mail comes and goes; here it is brought to where it belongs.
        """
        timers = self.timers
        while (owner := timers.first()) is not None:
            if isinstance(owner, ScheduledQueue):
                end = owner.empty_since + instant_of(owner.config.reap_interval)
                if len(owner):
                    timers.cancel(owner)
                    continue
                if end != owner.timer:
                    timers.set(owner, end)
                    continue
            return owner.timer
        return 0

    # -- paths

    def path_of(self, hop: Hop, now: int) -> Path:  # hot: micro_queueing
        """The path of a hop's route, which it has, made if there is none."""
        route, path = hop.route, hop.path
        assert route is not None  # noqa: S101 -- asked only where there is one
        if path is None or path.is_dropped or path.site != route.site:
            path = self.paths.get(route.site)
            if path is None:
                config = self.path_config(route.site)
                lane = self.home(hop.name, route.site)
                sharing = Sharing[ScheduledQueue](self.weight_of)
                path = self.paths[route.site] = Path(self.rows, sharing, self.source, route, config, lane)
                self.configure(path, config, now)
            hop.path = path
        return path

    def configure(self, path: Path, config: PathConfig, now: int) -> None:
        """Have a path go by this configuration, and by what is in force."""
        path.config = config
        path.limits = limits_of_path(path.name, config)
        path.sharing.count_in(_QUANTA[config.share_by])
        path.sharing.reweigh()
        self.gates.test(path, now)

    def drop_if_unused(self, path: Path) -> None:
        """Forget a path that nothing keeps."""
        if not (path.ready or path.connections or path.timer or path.in_flight or path.is_dropped):
            path.is_dropped = True
            del self.paths[path.site]

    def ask_route(self, hop: Hop, now: int) -> None:
        """Have the hop's route found, unless that is being done, or may not be done yet."""
        if hop.is_resolving or hop.doom is not None or (hop.hold is not None and now < hop.hold.until):
            return
        hop.is_resolving = True
        self.supply.effects.append(Resolve(hop))

    def move(self, queue: ScheduledQueue, now: int) -> None:
        """Put a listed queue on the path of its hop's route."""
        target, path = self.path_of(queue.hop, now), queue.path
        if path is target or self._is_held_by_now(queue, now):
            return
        if path is not None:
            path.leave(queue)
            self.drop_if_unused(path)
        self._enter(queue, target, now)

    # -- gates

    def admit(self, queue: ScheduledQueue, now: int) -> None:
        """Have a listed queue that stands nowhere go to its path, if nothing holds it and the route is known."""
        if self._is_held_by_now(queue, now):
            return
        if now >= queue.hop.until:
            self.ask_route(queue.hop, now)
        else:
            self._enter(queue, self.path_of(queue.hop, now), now)

    def _enter(self, queue: ScheduledQueue, path: Path, now: int) -> None:
        """Put a listed queue that stands nowhere on a path, unless a limit holds it."""
        if queue.limits and path.lane is None and self.gates.is_limited(queue, now):
            self.drop_if_unused(path)
            return
        path.enter(queue)
        if queue.limits and path.lane is None and queue.ready > 1:
            self.gates.measure(queue, now)
        self.supply.serve(path, now)

    def is_held(self, queue: ScheduledQueue, now: int) -> bool:
        """Whether a directive holds a listed queue, by what is in force now: then it is parked."""
        self.config_of(queue)
        path = queue.path
        if not self.gates.is_under_directive(queue, now):
            return False
        if path is not None:
            self.drop_if_unused(path)
        return True

    # -- rows

    def wait(self, queue: ScheduledQueue, row: int, due: int) -> None:
        """Have a row wait until ``due``, or until its time is over."""
        rows = self.rows
        rows.state[row] = WAITING
        queue.add_waiting(rows, row)
        self.calendar.insert(row, min(due, rows.expires[row]))

    def make_ready(self, queue: ScheduledQueue, row: int, now: int) -> None:  # hot: micro_queueing
        """A row is due: it goes to its queue's end, and the queue to its path, if the route is known and no gate holds it."""
        rows = self.rows
        self.order += 1
        rows.order[row] = self.order
        rows.state[row] = READY
        queue.add_ready(rows, row)
        self.calendar.insert(row, rows.expires[row])
        hop = queue.hop
        if queue.path is None:
            if queue.parking is None:
                self.admit(queue, now)
            return
        if now >= hop.until:
            self.ask_route(hop, now)
        if queue.limits:
            self.has_more(queue, now)
        elif queue.path is not None:
            self.supply.serve(queue.path, now)

    def has_more(self, queue: ScheduledQueue, now: int) -> None:
        """A queue that stands on a path has another row, or other limits."""
        path = queue.path
        if path is not None and path.lane is None:
            self.gates.measure(queue, now)
        if path is not None:
            self.supply.serve(path, now)

    def make_ready_again(self, queue: ScheduledQueue, row: int, path: Path, now: int) -> None:
        """A row comes back from ``path`` to its old place. A queue that is not listed goes where its hop leads, or else there."""
        rows, hop = self.rows, queue.hop
        rows.state[row] = READY
        path.sharing.refund(queue.tenant, self._cost(path, row))
        queue.add_ready(rows, row)
        self.calendar.insert(row, rows.expires[row])
        if queue.path is not None:
            self.has_more(queue, now)
        elif queue.ready > 1 or queue.parking is not None or hop.doom is not None:
            return
        elif not self._is_held_by_now(queue, now):
            self._enter(queue, self.path_of(hop, now) if hop.route is not None else path, now)

    def _is_held_by_now(self, queue: ScheduledQueue, now: int) -> bool:
        return queue.generation != self.gates.generation and self.is_held(queue, now)

    def _cost(self, path: Path, row: int) -> float:
        """What a row in flight has cost its tenant of the path's turns."""
        if path.config.share_by is ShareBy.BYTES:
            return float(self.rows.size[row])
        return self.costs.pop(row, 1.0)

    def take_off(self, path: Path, queue: ScheduledQueue, cost: float = 0.0) -> int:  # hot: micro_queueing
        """Take the first row of a queue that stands on a path out of its place, IN_FLIGHT."""
        row = path.pop(queue, cost)
        self.calendar.remove(row)
        self.rows.state[row] = IN_FLIGHT
        return row

    def take_out(self, queue: ScheduledQueue, row: int) -> str:
        """Take a READY row, which is in the calendar no more, out of its place; the site that it waited for, "" if none was known."""
        path = queue.remove_ready(self.rows, row)
        if not queue.ready and queue.parking is not None:
            self.gates.unpark(queue)
            queue.place = 0
        if path is None:
            return ""
        self.drop_if_unused(path)
        return path.site

    @property
    def ends_room(self) -> int:
        """How many more may end; none while all is held."""
        return 0 if self.supply.hold is not None else max(0, self._ends_limit - len(self.ends))

    def expire(self, queue: ScheduledQueue, row: int, site: str) -> None:
        """End a row that is in no place, because its time is over; or have it wait aside until there is room for that."""
        rows = self.rows
        if self.ends_room:
            self.end(queue, row, Expire(queue, row, rows.position[row], rows.attempts[row], site))
            return
        rows.state[row] = WAITING
        queue.add_waiting(rows, row)
        self.calendar.set_aside(row)

    def expire_aside(self) -> bool:
        """End a row that waited aside; whether there was one, and room for it."""
        if not self.ends_room or (row := self.calendar.pop_aside()) == NONE:
            return False
        queue = self.queue_of(row)
        queue.remove_waiting(self.rows, row)
        self.expire(queue, row, self.last_site(queue))
        return True

    def last_site(self, queue: ScheduledQueue) -> str:
        """The site that a queue's mail was last on the way to, "" if none is known."""
        path = queue.hop.path
        return path.site if path is not None else ""

    def fail(self, queue: ScheduledQueue, row: int, site: str, reply: Reply) -> None:
        """End a row that is in no place, because it can never be delivered. There is room."""
        rows = self.rows
        self.end(queue, row, Fail(queue, row, rows.position[row], rows.attempts[row], site, reply))

    def end(self, queue: ScheduledQueue, row: int, end: End) -> None:
        """A row that is in no place is ENDING. There is room."""
        self.rows.state[row] = ENDING
        queue.in_flight += 1
        self.ends.append(end)

    def drop(self, queue: ScheduledQueue, directive: Directive, now: int) -> None:
        """End the first row of a parked queue, because of a directive, or because its time is over. There is room."""
        rows, row = self.rows, queue.ready_rows.head
        self.calendar.remove(row)
        self.take_out(queue, row)
        if rows.expires[row] <= now:
            self.expire(queue, row, "")
            return
        order = Order(
            directive.id,
            SweepAction.BOUNCE,
            directive.reason,
            directive.author,
            suppress_logging=directive.suppress_logging,
        )
        site, reply = self.last_site(queue), removal_reply(order)
        self.end(queue, row, Drop(queue, row, rows.position[row], rows.attempts[row], site, reply, order))

    def put_off(self, end: End, until: int) -> None:
        """A row that is ENDING waits until then, past its expiry if need be, to end again."""
        rows, queue, row = self.rows, end.queue, end.row
        queue.in_flight -= 1
        rows.state[row] = WAITING
        queue.add_waiting(rows, row)
        self.calendar.insert(row, until)

    def forget(self, queue: ScheduledQueue, row: int, now: int) -> None:  # hot: micro_queueing
        """End a row that is in no place."""
        rows = self.rows
        rows.free(row)
        if self.schedules:
            self.schedules.pop(row, None)
        octets, tenant = self.octets, queue.name.tenant
        size = rows.size[row]
        queue.octets -= size
        left = octets.get(tenant, 0) - size
        if left:
            octets[tenant] = left
        else:
            octets.pop(tenant, None)
        self._review(queue, now)

    def _review(self, queue: ScheduledQueue, now: int) -> None:  # hot: micro_queueing
        """A row has left a queue: one that is empty is forgotten some time later."""
        if not len(queue):
            queue.empty_since = now
            if not queue.timer:
                self.timers.set(queue, now + instant_of(queue.config.reap_interval))

    def flush(self, end: Flush, now: int) -> None:
        """A row that is ENDING is due."""
        end.queue.in_flight -= 1
        self._go_on(end.queue, end.row, now, now)

    def rebind(self, end: Rebind, now: int) -> None:
        """A row that is ENDING goes into another queue, made if there is none; what is left of its time goes by that one's configuration."""
        rows, row, left, name = self.rows, end.row, end.queue, end.name
        queue = self.queues.get(name)
        if queue is None:
            queue = self.new_queue(name)
        left.in_flight -= 1
        rows.queue[row] = queue.index
        schedule = self.schedules.get(row)
        if schedule is None or schedule.expires is None:
            rows.expires[row] = rows.created[row] + instant_of(self.config_of(queue).max_age)
        self._move_octets(rows.size[row], left, queue)
        self._review(left, now)
        self._go_on(queue, row, instant_of(end.due) if end.due is not None else now, now)

    def _move_octets(self, size: int, left: ScheduledQueue, queue: ScheduledQueue) -> None:
        left.octets -= size
        queue.octets += size
        if left.tenant != queue.tenant and size:
            octets = self.octets
            octets[queue.tenant] = octets.get(queue.tenant, 0) + size
            octets[left.tenant] -= size
            if not octets[left.tenant]:
                del octets[left.tenant]

    def _go_on(self, queue: ScheduledQueue, row: int, due: int, now: int) -> None:
        """A row that is in no place waits until ``due``, is ready, or expires."""
        if due <= now and self.rows.expires[row] > now:
            self.make_ready(queue, row, now)
        else:
            self.wait(queue, row, due)

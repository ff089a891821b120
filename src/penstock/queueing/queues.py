"""What messages stand in: the scheduled queue of a campaign, tenant and destination; the hop that says where that is; the path that leads there.

A scheduled queue belongs to the hop of its next-hop domain, which many queues share, and holds its rows itself, in the order in which they became
ready. While it has ready rows it is *listed* at its hop; once the hop's route is known it stands on a path too. So a route that is found or
changes moves queues, never messages. A path shares its turns among tenants, and a tenant's among its queues (``sharing``).
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Final

from penstock.mail.configuration import Limit, PathConfig, QueueConfig
from penstock.mail.path_name import path_name
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply
from penstock.queueing.holds import Hold
from penstock.queueing.parking import Parkable, Parking
from penstock.queueing.rows import NONE, RowList, Rows
from penstock.queueing.sharing import Sharing
from penstock.routing.plan import Route

#: More messages than there can be.
EVERYTHING: Final = 1 << 62
#: A queue's next retry is looked for among this many rows; they wait in the order of their deferrals, so it is among the first.
_LOOKED_AT: Final = 1000


class Path:
    """One source to one site: the queues with ready mail for it, its connections, and what holds new ones back.

    ``lane`` is where the site has its home, None for here: mail for it is moved there, and no connection is asked for. ``is_moving``: that was asked
    for, and has not come to its end.

    ``connections`` are all that were asked for and have not ended: ``opening``, ``idle`` (``offered`` of them have been offered mail and have not
    come for it yet), ``closing`` (no longer idle, never to pull again), and those at work. ``failures`` counts the attempts to connect that failed
    since one did not.

    ``gate`` is what keeps all mail here, connected or not; ``hold`` what keeps connections from being made. Of the ``ready`` mail ``excess`` messages
    are of queues whose limits do not let through so many, and its own rate lets through ``allowance`` in all.
    """

    __slots__ = (
        "_rows",
        "allowance",
        "closing",
        "config",
        "connections",
        "doom",
        "excess",
        "failures",
        "gate",
        "generation",
        "hold",
        "idle",
        "in_flight",
        "is_behind",
        "is_dropped",
        "is_moving",
        "lane",
        "limits",
        "offered",
        "opening",
        "queues",
        "ready",
        "reviewed",
        "route",
        "sharing",
        "site",
        "source",
        "timer",
    )

    def __init__(
        self,
        rows: Rows,
        sharing: Sharing[ScheduledQueue],
        source: str,
        route: Route,
        config: PathConfig,
        lane: str | None = None,
    ) -> None:
        self._rows = rows
        #: whose turn it is
        self.sharing = sharing
        self.source = source
        self.site = route.site
        #: the latest of the site's routes; its connections go by it
        self.route = route
        self.config = config
        self.lane = lane
        self.is_moving = False
        #: forgotten by the scheduler; a hop that still points here has it taken up again
        self.is_dropped = False
        #: stands in the scheduler's backlog
        self.is_behind = False
        self.queues = 0
        self.ready = 0
        self.excess = 0
        self.limits: tuple[Limit, ...] = ()
        self.allowance = EVERYTHING
        self.gate: Hold | None = None
        #: of the directives and configuration that it was last looked at by
        self.generation = -1
        self.in_flight = 0
        self.connections = 0
        self.opening = 0
        self.idle = 0
        self.offered = 0
        self.closing = 0
        self.failures = 0
        self.hold: Hold | None = None
        #: the reply with which all of its mail fails, while that is being done
        self.doom: Reply | None = None
        self.timer = 0
        #: where the next look for routes that may have changed begins
        self.reviewed = 0

    @property
    def name(self) -> str:
        """The path's name towards the outside, as a ready queue's."""
        return path_name(self.source, self.site)

    def enter(self, queue: ScheduledQueue) -> None:
        """Take in a listed queue that stands on no path."""
        queue.path = self
        self.queues += 1
        self.ready += queue.ready
        self.sharing.enter(queue)

    def leave(self, queue: ScheduledQueue) -> None:
        """Let a queue go, with all its rows."""
        queue.path = None
        self.queues -= 1
        self.ready -= queue.ready
        if queue.excess:
            self.excess -= queue.excess
            queue.excess = 0
        self.sharing.leave(queue)

    def pop(self, queue: ScheduledQueue, cost: float) -> int:  # hot: micro_queueing
        """Take the first row of a queue that stands here; its tenant is charged."""
        row = queue.ready_rows.pop(self._rows)
        queue.ready -= 1
        self.ready -= 1
        if queue.excess:
            queue.excess -= 1
            self.excess -= 1
        self.sharing.charge(queue, cost)
        if queue.ready_rows.head == NONE:
            self.leave(queue)
            queue.hop.delist(queue)
        return row

    def review(self, count: int) -> list[Hop]:
        """The hops of ``count`` queues that stand here, of others each time."""
        begin = self.reviewed if self.reviewed < self.queues else 0
        self.reviewed = begin + count
        queues = chain.from_iterable(share.queues for share in self.sharing)
        return list(dict.fromkeys(queue.hop for queue in islice(queues, begin, begin + count)))


class Hop:
    """A next-hop domain and what is known of its route. Its listed queues are chained by ``after`` and ``before``."""

    __slots__ = (
        "candidate",
        "confirm_at",
        "cursor",
        "doom",
        "first",
        "hold",
        "is_behind",
        "is_resolving",
        "last",
        "name",
        "path",
        "route",
        "timer",
        "until",
        "users",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.route: Route | None = None
        #: the route is good up to this instant
        self.until = 0
        #: a site in another lane that was answered since, and from when on that counts if it is answered again; "" for none
        self.candidate = ""
        self.confirm_at = 0
        #: the route's path, when a queue was last put on it
        self.path: Path | None = None
        self.is_resolving = False
        self.hold: Hold | None = None
        #: the reply with which all of its ready mail fails, while that is being done
        self.doom: Reply | None = None
        #: stands in the scheduler's backlog
        self.is_behind = False
        self.first: ScheduledQueue | None = None
        self.last: ScheduledQueue | None = None
        #: from this queue on, listed ones are still to be put on the route's path
        self.cursor: ScheduledQueue | None = None
        #: queues that exist, listed or not
        self.users = 0
        self.timer = 0

    def enlist(self, queue: ScheduledQueue) -> None:
        """A queue has its first ready row."""
        queue.before = self.last
        if self.last is None:
            self.first = queue
        else:
            self.last.after = queue
        self.last = queue

    def delist(self, queue: ScheduledQueue) -> None:
        """A queue has no ready row any more."""
        before, after = queue.before, queue.after
        if self.cursor is queue:
            self.cursor = after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        queue.before = queue.after = None


class ScheduledQueue(Parkable):
    """The mail of one ``campaign:tenant@domain!routing_domain``. ``epoch`` is that of its configuration, ``limits`` are by that.

    ``in_flight`` counts what is with a connection, or over and about to be recorded; ``excess`` is its part of the path's.
    """

    __slots__ = (
        "after",
        "before",
        "config",
        "empty_since",
        "epoch",
        "excess",
        "generation",
        "hop",
        "in_flight",
        "index",
        "limits",
        "name",
        "octets",
        "parking",
        "path",
        "ready",
        "ready_rows",
        "timer",
        "waiting",
        "waiting_rows",
    )

    def __init__(self, index: int, name: QueueName, config: QueueConfig, epoch: int, hop: Hop) -> None:
        super().__init__()
        self.index = index
        self.name = name
        self.config = config
        self.epoch = epoch
        self.limits: tuple[Limit, ...] = ()
        #: of the directives and configuration that it was last looked at by
        self.generation = 0
        self.excess = 0
        self.hop = hop
        #: where its ready rows stand in turn; None while they have no route, or there are none
        self.path: Path | None = None
        #: where it stands while a gate holds it; then it stands on no path, and is not listed
        self.parking: Parking[ScheduledQueue] | None = None
        self.before: ScheduledQueue | None = None
        self.after: ScheduledQueue | None = None
        self.ready_rows = RowList()
        self.waiting_rows = RowList()
        self.waiting = 0
        self.ready = 0
        self.in_flight = 0
        #: of its messages, in all places
        self.octets = 0
        self.empty_since = 0
        self.timer = 0

    @property
    def tenant(self) -> str | None:
        """Whose mail it is."""
        return self.name.tenant

    def __len__(self) -> int:
        return self.waiting + self.ready + self.in_flight

    def __bool__(self) -> bool:
        """A queue is one, however empty."""
        return True

    @property
    def hold(self) -> Hold | None:
        """What holds its ready mail back; None if nothing does, or if there is none."""
        if not self.ready:
            return None
        if self.parking is not None:
            return self.parking.hold(self)
        return self.path.gate or self.path.hold if self.path is not None else self.hop.hold

    def add_ready(self, rows: Rows, row: int) -> None:  # hot: micro_queueing
        """Take in a row that is READY, in its order."""
        rows_ready = self.ready_rows
        if rows_ready.tail == NONE or rows.order[rows_ready.tail] < rows.order[row]:
            rows_ready.append(rows, row)
        else:
            rows_ready.restore(rows, row)
        self.ready += 1
        if self.ready == 1:
            self.hop.enlist(self)
        if self.path is not None:
            self.path.ready += 1

    def remove_ready(self, rows: Rows, row: int) -> Path | None:
        """Let a READY row go, wherever it stands; the path on which the queue stood."""
        path = self.path
        self.ready_rows.remove(rows, row)
        self.ready -= 1
        if path is not None:
            path.ready -= 1
            if self.excess:
                self.excess -= 1
                path.excess -= 1
        if not self.ready and self.parking is None:
            if path is not None:
                path.leave(self)
            self.hop.delist(self)
        return path

    def add_waiting(self, rows: Rows, row: int) -> None:
        """Take in a row that is WAITING."""
        self.waiting_rows.append(rows, row)
        self.waiting += 1

    def remove_waiting(self, rows: Rows, row: int) -> None:
        """Let a WAITING row go."""
        self.waiting_rows.remove(rows, row)
        self.waiting -= 1

    def next_wake(self, rows: Rows) -> int:
        """The instant of the earliest retry among the first thousand waiting rows; 0 if none waits."""
        earliest = 0
        row = self.waiting_rows.head
        for _ in range(_LOOKED_AT):
            if row == NONE:
                break
            if not earliest or rows.wake[row] < earliest:
                earliest = rows.wake[row]
            row = rows.next[row]
        return earliest

"""What messages stand in: the scheduled queue of a campaign, tenant and destination; the hop that says where that is; the path that leads there.

A scheduled queue points to the hop of its next-hop domain, which many queues share; a hop points to a path as long as its route is fresh.
"""

from __future__ import annotations

import heapq
from collections import deque

import msgspec

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import Reply
from penstock.queueing.rows import READY, WAITING, RowList, Rows
from penstock.routing.plan import Route

_TIMED = (WAITING, READY)
_ROW_BITS = 32
_ROW_MASK = (1 << _ROW_BITS) - 1
#: Stale wakes are cleared when they outnumber the live ones by this many, so that the cost of clearing stays constant a message.
_STALE_GRACE = 64


class Hold(msgspec.Struct, frozen=True):
    """Why something does not move: a gate's name, its reason in words, since when and until when (microseconds; 0: not known)."""

    gate: str
    reason: str
    since: int
    until: int


class Path:
    """One source to one site: its due mail in order, its connections, and what holds new ones back."""

    __slots__ = (
        "config",
        "connections",
        "doom",
        "failures",
        "hold",
        "idle",
        "in_flight",
        "index",
        "is_dropped",
        "ready",
        "route",
        "rows",
        "site",
        "source",
        "timer",
    )

    def __init__(self, index: int, source: str, route: Route, config: PathConfig) -> None:
        self.index = index
        #: the latest of the site's routes; its connections go by it
        self.route = route
        #: forgotten by the scheduler; a hop that still points here has it taken up again
        self.is_dropped = False
        self.source = source
        self.site = route.site
        self.config = config
        self.rows = RowList()
        self.ready = 0
        self.in_flight = 0
        #: all of them: opening, busy and idle
        self.connections = 0
        self.idle = 0
        self.failures = 0
        self.hold: Hold | None = None
        #: the reply with which all of its mail fails, while that is being done
        self.doom: Reply | None = None
        self.timer = 0

    @property
    def name(self) -> str:
        """The path's name towards the outside, as a ready queue's."""
        return f"{self.source}->{self.site}@smtp_client"


class Hop:
    """A next-hop domain and what is known of its route."""

    __slots__ = (
        "doom",
        "hold",
        "is_moving",
        "is_resolving",
        "name",
        "parked",
        "path",
        "timer",
        "until",
        "users",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.path: Path | None = None
        #: the route is good up to this instant
        self.until = 0
        self.is_resolving = False
        #: parked mail is being put on the path
        self.is_moving = False
        self.hold: Hold | None = None
        self.doom: Reply | None = None
        #: queues with mail that waits for the route
        self.parked: deque[ScheduledQueue] = deque()
        self.users = 0
        self.timer = 0


class ScheduledQueue:
    """The mail of one ``campaign:tenant@domain!routing_domain``.

    ``wakes`` is a heap of (instant, row) in one integer each: an entry counts while its row is of this queue and has that wake. ``parked``
    are due rows without a route.
    """

    __slots__ = (
        "_wakes",
        "config",
        "empty_since",
        "hop",
        "in_flight",
        "index",
        "is_parked",
        "name",
        "parked",
        "ready",
        "timer",
        "waiting",
    )

    def __init__(self, index: int, name: QueueName, config: QueueConfig, hop: Hop) -> None:
        self.index = index
        self.name = name
        self.config = config
        self.hop = hop
        self.parked = RowList()
        #: stands among the hop's ``parked``
        self.is_parked = False
        self.waiting = 0
        self.ready = 0
        self.in_flight = 0
        self.empty_since = 0
        self.timer = 0
        self._wakes: list[int] = []

    def __len__(self) -> int:
        return self.waiting + self.ready + self.in_flight

    def set_wake(self, rows: Rows, row: int, instant: int) -> None:  # hot: throughput
        """Time will do something to ``row`` at ``instant``; what it was to do before is forgotten."""
        rows.wake[row] = instant
        wakes = self._wakes
        if len(wakes) > 2 * len(self) + _STALE_GRACE:
            self._clear_stale(rows)
            wakes = self._wakes
        heapq.heappush(wakes, instant << _ROW_BITS | row)

    def _is_live(self, rows: Rows, entry: int) -> bool:
        row = entry & _ROW_MASK
        state = rows.state[row]
        return rows.wake[row] == entry >> _ROW_BITS and rows.queue[row] == self.index and state in _TIMED

    def _clear_stale(self, rows: Rows) -> None:
        self._wakes = sorted({entry for entry in self._wakes if self._is_live(rows, entry)})

    def next_wake(self, rows: Rows) -> int:
        """The earliest instant at which time does something to a row; 0 for never."""
        wakes = self._wakes
        while wakes and not self._is_live(rows, wakes[0]):
            heapq.heappop(wakes)
        return wakes[0] >> _ROW_BITS if wakes else 0

    def pop_wake(self, rows: Rows, now: int) -> int:
        """A row whose wake has come, or -1."""
        instant = self.next_wake(rows)
        if not instant or instant > now:
            return -1
        return heapq.heappop(self._wakes) & _ROW_MASK

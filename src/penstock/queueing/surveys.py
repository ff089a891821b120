"""Queued mail counted: queue by queue, in steps, for a lane that has other things to do.

What is counted is a moving picture: each queue as it is when the survey comes to it. ``octets`` are those of messages that are here, in flight
too. ``held`` counts mail that is ready, by what holds it; what waits for its own time is ``waiting``. ``oldest`` is of the first message of each
queue that waits and the first that is ready: the oldest, while mail moves in the order in which it came; else one not much younger.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.survey import GROUPS_SHOWN, Group, Grouping, Survey
from penstock.queueing.instants import time_of
from penstock.queueing.postings import Walk
from penstock.queueing.queues import ScheduledQueue
from penstock.queueing.rows import NONE, Rows
from penstock.queueing.supply import Supply

#: What a group is known by until it is shown.
_Key = str | QueueName | None
#: Later than all messages.
_NEVER: Final = (1 << 63) - 1


class _Count(msgspec.Struct, gc=False):
    """The sums of a group. ``held`` is None until there is one: most groups have none.

    There may be as many as there are queues; the garbage collector need not know of them.
    """

    key: _Key
    queues: int = 0
    octets: int = 0
    ready: int = 0
    waiting: int = 0
    in_flight: int = 0
    oldest: int = _NEVER
    held: dict[str, int] | None = None

    @property
    def messages(self) -> int:
        return self.ready + self.waiting + self.in_flight

    def hold(self, gate: str, messages: int) -> None:
        if self.held is None:
            self.held = {}
        self.held[gate] = self.held.get(gate, 0) + messages

    def add(self, other: _Count) -> None:
        self.queues += other.queues
        self.octets += other.octets
        self.ready += other.ready
        self.waiting += other.waiting
        self.in_flight += other.in_flight
        if other.held is not None:
            for gate, messages in other.held.items():
                self.hold(gate, messages)
        if other.oldest < self.oldest:
            self.oldest = other.oldest

    def group(self) -> Group:
        oldest: WallTime | None = time_of(self.oldest) if self.oldest != _NEVER else None
        return Group(
            str(self.key or ""), self.queues, self.messages, self.octets, self.ready, self.waiting,
            self.in_flight, self.held or {}, oldest,
        )  # fmt: skip


def _site_of(queue: ScheduledQueue) -> str:
    """The site that its mail goes to, "" while that is not known."""
    if queue.path is not None:
        return queue.path.site
    return queue.hop.route.site if queue.hop.route is not None else ""


_KEYS: Final[dict[Grouping | None, Callable[[ScheduledQueue], _Key]]] = {
    None: lambda queue: None,
    Grouping.TENANT: lambda queue: queue.name.tenant,
    Grouping.CAMPAIGN: lambda queue: queue.name.campaign,
    Grouping.DOMAIN: lambda queue: queue.name.domain,
    Grouping.ROUTING_DOMAIN: lambda queue: queue.name.routing_domain,
    Grouping.SITE: _site_of,
    Grouping.QUEUE: lambda queue: queue.name,
}


class Surveying:
    """A survey being made. ``step`` until it says that there is no more; then there is a ``result``."""

    __slots__ = (
        "_by",
        "_counts",
        "_largest",
        "_limit",
        "_others",
        "_placed",
        "_rows",
        "_sorted",
        "_supply",
        "_walk",
    )

    def __init__(
        self, walk: Walk, rows: Rows, supply: Supply, by: Grouping | None, limit: int = GROUPS_SHOWN
    ) -> None:
        self._walk = walk
        self._rows = rows
        self._supply = supply
        self._by = by
        #: groups that are shown
        self._limit = max(1, limit) if by is not None else 0
        self._counts: dict[_Key, _Count] = {}
        #: the groups, once all are there, as far as they have not been put in order
        self._sorted: Iterator[_Count] | None = None
        #: a heap of the largest: of two with as much mail, the one that was found first is the larger
        self._largest: list[tuple[int, int, _Count]] = []
        self._others = _Count(None)
        self._placed = 0

    def step(self, budget: int = 500) -> bool:
        """Count about ``budget`` queues; whether there is more to do. 500 take about a millisecond."""
        if self._sorted is not None:
            batch = list(islice(self._sorted, budget))
            self._place(batch)
            return bool(batch)
        queues = self._walk.take(budget)
        if self._by is Grouping.QUEUE:
            self._sort_out(queues)
        else:
            self._count(queues, self._by, self._counts)
        if self._walk.is_over:
            self._sorted = iter(self._counts.values())
        return True

    def _sort_out(self, queues: list[ScheduledQueue]) -> None:
        """Each queue is a group, and whole: only those get a count of their own that may be shown."""
        smallest = self._largest[0][0] if len(self._largest) == self._limit else 0
        large = [queue for queue in queues if len(queue) > smallest]
        small = [queue for queue in queues if len(queue) <= smallest] if smallest else []
        self._count(small, None, {None: self._others})
        counts: dict[_Key, _Count] = {}
        self._count(large, Grouping.QUEUE, counts)
        self._place(counts.values())

    def _count(self, queues: list[ScheduledQueue], by: Grouping | None, counts: dict[_Key, _Count]) -> None:
        # one function, for it is run for each of 50,000 queues
        key_of, created = _KEYS[by], self._rows.created
        holds_all = self._supply.hold
        for queue in queues:
            ready, waiting, in_flight = queue.ready, queue.waiting, queue.in_flight
            if not (ready or waiting or in_flight):
                continue
            key = key_of(queue)
            count = counts.get(key)
            if count is None:
                count = counts[key] = _Count(key)
            count.queues += 1
            count.octets += queue.octets
            count.in_flight += in_flight
            waits = goes = NONE
            if waiting:
                count.waiting += waiting
                waits = queue.waiting_rows.head
            if ready:
                count.ready += ready
                goes = queue.ready_rows.head
                hold = holds_all or queue.hold
                if hold is not None:
                    count.hold(hold.gate, ready)
            if waits != NONE and created[waits] < count.oldest:
                count.oldest = created[waits]
            if goes != NONE and created[goes] < count.oldest:
                count.oldest = created[goes]

    def _place(self, counts: Iterable[_Count]) -> None:
        """Keep the largest groups, and add up the others."""
        largest, others, limit = self._largest, self._others, self._limit
        for count in counts:
            self._placed += 1
            entry = (count.messages, -self._placed, count)
            if len(largest) < limit:
                heapq.heappush(largest, entry)
            elif limit and entry > largest[0]:
                others.add(heapq.heapreplace(largest, entry)[2])
            else:
                others.add(count)

    def result(self) -> Survey:
        """What was counted; the groups by their size, the largest first."""
        shown = [count for _, _, count in sorted(self._largest, reverse=True)]
        total = _Count(None)
        for count in (self._others, *shown):
            total.add(count)
        others = self._others.group() if self._limit and self._others.queues else None
        return Survey(total.group(), tuple([count.group() for count in shown]), others)

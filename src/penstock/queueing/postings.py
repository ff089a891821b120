"""Which queues there are of a tenant, a campaign, a domain, a routing domain: who asks for some of them looks at no others.

The queues of each value are chained by their indices, in typed arrays: 48 octets a queue, and one entry for each value. A newcomer goes to the front,
so that a ``Walk`` which has begun meets each queue that was there once and no later one, however long it takes and whatever comes and goes meanwhile.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final
from weakref import WeakSet

from penstock.mail.directive import Criteria, values_of
from penstock.mail.queue_name import QueueName
from penstock.queueing.queues import ScheduledQueue
from penstock.queueing.rows import NONE

#: Queues that the columns grow by at a time.
_PIECE: Final = 256


class _Chains:
    """The queues by one of the things that criteria name: ``heads`` is the first of each value, and ``size`` of it how many there are."""

    __slots__ = ("_previous", "heads", "next", "size")

    def __init__(self) -> None:
        self.heads: dict[str, int] = {}
        self.next = array("I")
        self._previous = array("I")
        #: of the first of a value
        self.size = array("I")

    def add(self, index: int, value: str) -> None:
        for column in (self.next, self._previous, self.size) if index >= len(self.next) else ():
            column.frombytes(bytes(column.itemsize * _PIECE))
        head = self.heads.get(value, NONE)
        self.next[index] = head
        self._previous[index] = NONE
        self.size[index] = 1
        if head != NONE:
            self._previous[head] = index
            self.size[index] += self.size[head]
        self.heads[value] = index

    def remove(self, index: int, value: str) -> None:
        before, after = self._previous[index], self.next[index]
        if after != NONE:
            self._previous[after] = before
        if before != NONE:
            self.next[before] = after
            self.size[self.heads[value]] -= 1
        elif after != NONE:
            self.size[after] = self.size[index] - 1
            self.heads[value] = after
        else:
            del self.heads[value]


class Postings:
    """See the module. ``by_name`` and ``by_index`` are the queues that exist, kept by the owner; None is an index without a queue."""

    __slots__ = ("_walks", "by_index", "by_name", "chains")

    def __init__(
        self, by_name: Mapping[QueueName, ScheduledQueue], by_index: Sequence[ScheduledQueue | None]
    ) -> None:
        self.by_name = by_name
        self.by_index = by_index
        #: in the order of ``values_of``
        self.chains = tuple([_Chains() for _ in Criteria().values()])
        self._walks: WeakSet[Walk] = WeakSet()

    def add(self, queue: ScheduledQueue) -> None:
        """There is a new queue; its index is below the number of those that ever were, or that number."""
        for chains, value in zip(self.chains, values_of(queue.name), strict=True):
            chains.add(queue.index, value)

    def remove(self, queue: ScheduledQueue) -> None:
        """A queue goes."""
        for walk in self._walks:
            walk.step_over(queue.index)
        for chains, value in zip(self.chains, values_of(queue.name), strict=True):
            chains.remove(queue.index, value)

    def walk(self, criteria: Criteria) -> Walk:
        """A look at all queues that match."""
        walk = Walk(self, criteria)
        if walk.chains is not None:
            self._walks.add(walk)
        return walk


class Walk:
    """A look at the queues that match, some at a time. It goes along the shortest chain that has them all, or through all queues if nothing is given.

    ``left`` is about how many it has still to look at.
    """

    __slots__ = ("__weakref__", "_at", "_names", "_others", "_postings", "chains", "left")

    def __init__(self, postings: Postings, criteria: Criteria) -> None:
        self._postings = postings
        #: the next queue's index, or place among the names
        self._at = 0
        self._names = list(criteria.queue_names)
        #: what it goes along; None for names, and for all queues
        self.chains: _Chains | None = None
        #: what the chain does not say of its queues
        self._others: list[tuple[int, str]] = []
        self.left = len(self._names) or len(postings.by_index)
        if not self._names:
            self._choose(criteria)

    def _choose(self, criteria: Criteria) -> None:
        given = [(place, value) for place, value in enumerate(criteria.values()) if value is not None]
        chosen = -1
        for place, value in given:
            chains = self._postings.chains[place]
            head = chains.heads.get(value, NONE)
            size = chains.size[head] if head != NONE else 0
            if chosen < 0 or size < self.left:
                self.left, self._at, self.chains, chosen = size, head, chains, place
        self._others = [(place, value) for place, value in given if place != chosen]

    @property
    def is_over(self) -> bool:
        """Whether it has come to the end."""
        if self.chains is not None:
            return self._at == NONE
        return self._at >= (len(self._names) or len(self._postings.by_index))

    def take(self, count: int) -> list[ScheduledQueue]:
        """Look at the next ``count`` queues; those that match. More may do so, unless it ``is_over``."""
        self.left = max(0, self.left - count)
        if self.chains is None:
            begin, self._at = self._at, self._at + count
            if not self._names:
                return [queue for queue in self._postings.by_index[begin : self._at] if queue is not None]
            found = map(self._postings.by_name.get, self._names[begin : self._at])
            return [queue for queue in found if queue is not None]
        queues: list[ScheduledQueue] = []
        at, following, by_index, others = self._at, self.chains.next, self._postings.by_index, self._others
        for _ in range(count):
            if at == NONE:
                break
            queue = by_index[at]
            at = following[at]
            assert queue is not None  # noqa: S101 -- one that goes leaves its chains first
            if not others or self._agrees(queue):
                queues.append(queue)
        self._at = at
        return queues

    def _agrees(self, queue: ScheduledQueue) -> bool:
        values = values_of(queue.name)
        return all(values[place] == value for place, value in self._others)

    def step_over(self, index: int) -> None:
        """A queue goes: if it is the next, the one behind it is."""
        if self.chains is not None and self._at == index:
            self._at = self.chains.next[index]

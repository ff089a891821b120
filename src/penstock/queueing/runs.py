"""An order being carried out: what it has still to look at, and how far it is. ``sweeping`` does the work."""

from __future__ import annotations

from collections import deque

from penstock.mail.directive import Criteria, Order, Progress, SweepAction
from penstock.mail.queue_name import QueueName
from penstock.queueing.postings import Walk
from penstock.queueing.queues import ScheduledQueue

#: A row and the position of the message that was there.
Known = tuple[int, int]


class Run:
    """A sweep under way, or an order about one message (``criteria`` None).

    ``pending`` counts what was taken and is not recorded, what could not be recorded and is put off, and what is waited for.
    """

    __slots__ = (
        "again",
        "began",
        "counting",
        "criteria",
        "done",
        "given",
        "is_away",
        "is_flush",
        "is_listed",
        "is_rebind",
        "mark",
        "matched",
        "number",
        "order",
        "pending",
        "queues",
        "returns",
        "rows",
        "scanned",
        "walk",
    )

    def __init__(self, order: Order, criteria: Criteria | None, given: int, began: int) -> None:
        self.order = order
        #: runs are numbered in the order in which they were given
        self.number = 0
        self.is_rebind = order.action is SweepAction.REBIND
        self.is_flush = order.action is SweepAction.FLUSH
        self.criteria = criteria
        #: messages that were accepted later are left alone
        self.given = given
        #: how many times mail had become ready
        self.began = began
        self.matched = 0
        self.done = 0
        self.pending = 0
        #: what is being counted; then the queues that are gone through. None: not, or not any more
        self.counting: Walk | None = None
        self.walk: Walk | None = None
        #: of the walk, in order; the first is being gone through
        self.queues: deque[ScheduledQueue] = deque()
        #: where that has come to in the first queue
        self.mark: tuple[int, ...] = ()
        #: how many rows had gone back to waiting when that began
        self.returns = 0
        #: queues to go through once more
        self.again: dict[QueueName, None] = {}
        #: single rows to be looked at
        self.rows: deque[Known] = deque()
        #: messages of its queues may be in no place; up to this row that was looked into
        self.is_away = criteria is not None and not self.is_flush
        self.scanned = 0
        #: stands in the round of those that have something to do
        self.is_listed = False

    @property
    def has_work(self) -> bool:
        """Whether there is anything that a slice could do."""
        return bool(self.rows or self.queues or self.again or self.walk or self.counting or self.is_away)

    def stop(self) -> None:
        """Find nothing more."""
        self.criteria = self.walk = self.counting = None
        self.is_away = False
        for found in (self.rows, self.queues, self.again):
            found.clear()

    def covers(self, name: QueueName, created: int) -> bool:
        """Whether it is about a message of that queue; one that would stay in its queue is not to be put into another."""
        return (
            self.criteria is not None
            and created <= self.given
            and self.criteria.matches(name)
            and self.changes(name)
        )

    def changes(self, name: QueueName) -> bool:
        """Whether the order does anything to mail of that queue."""
        order = self.order
        return order.action is not SweepAction.REBIND or order.rebinding.of(name) != name

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(max(self.matched, self.done + self.pending), self.done)

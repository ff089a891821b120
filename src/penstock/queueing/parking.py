"""Queues that stand aside, each for one thing that holds it: the next token of a limit, or the end of a directive.

A queue that is refused leaves its path and *parks* here, so that the round goes on without it. Those that wait for the same thing wait in the order
in which they were first refused: a queue that was let go and came back unused has its old place. So what releases them need not wake all of them.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from penstock.mail.configuration import Limit
from penstock.mail.directive import Action, Directive
from penstock.queueing.holds import Hold, until
from penstock.queueing.instants import instant_of
from penstock.queueing.rounds import Round
from penstock.queueing.sharing import Sharer
from penstock.shaping.ports import Held, HeldBy


class Parkable(Sharer):
    """A queue: it stands in its tenant's round, or in a parking, or in neither.

    ``place`` is the number by which it waits, 0 while it has none; ``parked`` the instant from which it has waited.
    """

    __slots__ = ("parked", "place")

    def __init__(self) -> None:
        super().__init__()
        self.place = 0
        self.parked = 0


Q = TypeVar("Q", bound=Parkable)


class Parking(Generic[Q]):
    """Where queues wait for one thing. ``key`` is a limit's, or made of a directive's id; one of ``limit`` and ``directive`` is there.

    ``held`` is the limit's last answer. ``step`` is how many are let go when that is next possible, at least. ``is_behind``: all are being let go.
    """

    __slots__ = (
        "_latest", "directive", "gate", "held", "is_behind", "key", "limit", "queues", "round", "step", "timer"
    )  # fmt: skip

    def __init__(self, key: str, gate: str, limit: Limit | None, directive: Directive | None) -> None:
        self.key = key
        self.gate = gate
        self.limit = limit
        self.directive = directive
        self.held: Held | None = None
        self.round: Round[Q] = Round()
        self.queues = 0
        self.step = 1
        self.timer = 0
        self.is_behind = False
        #: the queue that came back last: the place of the next to do so is often behind it
        self._latest: Q | None = None

    @property
    def first(self) -> Q | None:
        """The queue that has waited longest."""
        return self.round.first

    def hold(self, queue: Q) -> Hold:
        """What holds one of its queues."""
        directive, held = self.directive, self.held
        if directive is not None:
            return Hold(self.gate, self.reason, queue.parked, instant_of(directive.expires))
        return Hold(self.gate, self.reason, queue.parked, until(held) if held is not None else 0)

    @property
    def reason(self) -> str:
        """What its queues wait for, in words."""
        if self.directive is not None:
            verb = "bounced" if self.directive.action is Action.BOUNCE else "suspended"
            return f"{verb}: {self.directive.reason}" if self.directive.reason else verb
        rate = self.limit.rate if self.limit is not None else ""
        if self.limit is not None and not self.limit.rate.count:
            return self.limit.origin
        if self.held is not None and self.held.by is HeldBy.BROKER:
            return f"{rate} is shared with other lanes, and the broker is away"
        return f"{rate} is used up"

    def enter(self, queue: Q) -> None:
        """Take a queue in, by its place."""
        self.queues += 1
        first, latest = self.round.first, self._latest
        if first is None or queue.place > self._place_of_last(first):
            self.round.add(queue)
            return
        behind = latest if latest is not None and latest.place < queue.place else first
        while behind.place < queue.place:
            behind = behind.right  # type: ignore[assignment]  # who stands in a round has neighbours of its kind
        self.round.insert(queue, behind)
        self._latest = queue

    @staticmethod
    def _place_of_last(first: Q) -> int:
        last = first.left
        return last.place if isinstance(last, Parkable) else 0

    def leave(self, queue: Q) -> None:
        """Let a queue go."""
        self.queues -= 1
        if self._latest is queue:
            self._latest = None
        self.round.remove(queue)

"""A sender and a lane, what is on its way between them, and what the lane's disk really has.

Everything that may happen is a method: octets arrive or are lost with a connection, either side dies, a sync ends well, badly, or nobody knows
how. What the sender says to those who wait is held against the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from penstock.mail.duration import MonotonicTime
from penstock.queueing.handover import (
    ANSWER_WITHIN,
    COMMIT_WITHIN,
    Credit,
    Fate,
    Incoming,
    Outgoing,
    may_begin,
)

CREDIT = Credit(octets=100, messages=5)
#: How late a timer of the sender may be.
LAG = 0.5


class Link:
    """One connection: frames under way in both directions, and what the lane holds of it."""

    def __init__(self) -> None:
        self.to_lane: deque[tuple[int, int, int, int, float]] = deque()
        self.to_sender: deque[tuple[int, Fate]] = deque()
        self.incoming = Incoming(CREDIT)
        self.is_cut = False


class Commit:
    """A transaction that the lane has begun to store."""

    def __init__(self, link: Link, number: int, item: int) -> None:
        self.link = link
        self.number = number
        self.item = item


class World:
    """``make`` makes the sender's side; the other arguments are mistakes of the lane's."""

    def __init__(
        self,
        make: Callable[[], Outgoing[int]] = Outgoing,
        *,
        answers_before_the_sync: bool = False,
        looks_at_no_deadline: bool = False,
        says_no_when_nobody_knows: bool = False,
    ) -> None:
        self.now = MonotonicTime(1000.0)
        self.outgoing = make()
        self.link: Link | None = None
        #: connections that the sender has ended, and the lane not noticed yet
        self.old: list[Link] = []
        self.commits: list[Commit] = []
        self.disk: set[int] = set()
        self.offered: dict[int, MonotonicTime] = {}
        self.fates: dict[int, Fate] = {}
        self._answers_before_the_sync = answers_before_the_sync
        self._looks_at_no_deadline = looks_at_no_deadline
        self._says_no_when_nobody_knows = says_no_when_nobody_knows

    # -- the sender

    def connect(self) -> None:
        if self.link is None:
            self.link = Link()
            self.outgoing.opened(CREDIT)
            self._send()

    def offer(self, octets: int, messages: int) -> bool:
        item = len(self.offered)
        if not self.outgoing.offer(item, octets, messages, self.now):
            return False
        self.offered[item] = self.now
        self._send()
        return True

    def _send(self) -> None:
        link = self.link
        while (sending := self.outgoing.next(self.now)) is not None:
            assert link is not None, "sent without a connection"
            assert self.now <= self.offered[sending.item] + 1.0, "sent after it should have gone elsewhere"
            link.to_lane.append(
                (sending.number, sending.item, sending.octets, sending.messages, sending.commit_by)
            )
        self._take_decided()

    def _take_decided(self) -> None:
        decided, self.outgoing.decided = self.outgoing.decided, []
        for item, fate in decided:
            assert item in self.offered
            assert item not in self.fates, "told twice"
            assert self.now <= self.offered[item] + ANSWER_WITHIN + LAG, "told late"
            if fate is Fate.STORED:
                assert item in self.disk, "told that it is stored, and it is not"
            elif fate is not Fate.UNCERTAIN:
                assert item not in self.disk, "told that it is not stored, and it is"
            self.fates[item] = fate

    def pass_time(self, seconds: float, lag: float) -> None:
        """The sender's timer goes off ``lag`` late at most; all that is due within ``seconds`` happens."""
        end = self.now + seconds
        while (wake := self.outgoing.wake()) is not None and wake < end:
            self.now = MonotonicTime(max(self.now, wake) + lag + 1e-6)
            is_over = self.outgoing.look(self.now)
            self._take_decided()
            if is_over:
                self.give_up()
            self._send()
        self.now = MonotonicTime(max(self.now, end))

    def give_up(self) -> None:
        """The sender ends the connection; what the kernel has been given may still arrive."""
        if self.link is not None:
            self.old.append(self.link)
            self.link.is_cut = True
            self.link = None
            self.outgoing.closed()
            self._take_decided()

    # -- between them

    def arrive_at_lane(self, link: Link) -> None:
        if not link.to_lane:
            return
        number, item, octets, messages, commit_by = link.to_lane.popleft()
        link.incoming.begin(number, octets, messages)
        if not self._looks_at_no_deadline and not may_begin(commit_by, self.now):
            self._answer(link, number, Fate.NOT_STORED)
            return
        assert self.now <= self.offered[item] + COMMIT_WITHIN, "begun after its deadline"
        self.commits.append(Commit(link, number, item))
        if self._answers_before_the_sync:
            link.to_sender.append((number, Fate.STORED))

    def arrive_at_sender(self, *, is_doubled: bool) -> None:
        if self.link is None or not self.link.to_sender:
            return
        number, fate = self.link.to_sender.popleft()
        for _ in range(1 + is_doubled):
            self.outgoing.answered(number, fate)
        self._send()

    # -- the lane

    def _answer(self, link: Link, number: int, fate: Fate) -> None:
        link.incoming.settled(number)
        if not link.is_cut and not self._answers_before_the_sync:
            link.to_sender.append((number, fate))

    def _put(self, item: int) -> None:
        assert self.fates.get(item) not in (Fate.NOT_STORED, Fate.UNSENT), "stored after it was denied"
        self.disk.add(item)

    def sync(self, how: str, *, is_there: bool) -> None:
        """A sync of all that the lane is storing ends. Where nobody knows, ``is_there`` is the truth."""
        commits, self.commits = self.commits, []
        for commit in commits:
            if how == "ends well" or (how == "nobody knows" and is_there):
                self._put(commit.item)
            fate = {"ends well": Fate.STORED, "fails": Fate.NOT_STORED}.get(how, Fate.UNCERTAIN)
            if self._says_no_when_nobody_knows and fate is Fate.UNCERTAIN:
                fate = Fate.NOT_STORED
            self._answer(commit.link, commit.number, fate)

    def lane_dies(self, there: int, *, is_answer_lost: bool) -> None:
        """Of what it was storing the first ``there`` are on the disk. Answers that the kernel has may still arrive."""
        for commit in self.commits[:there]:
            self._put(commit.item)
        self.commits = []
        self.old = []
        link = self.link
        if link is not None:
            while link.to_sender and not is_answer_lost:
                self.arrive_at_sender(is_doubled=False)
            self.link = None
            self.outgoing.closed()
            self._take_decided()

    # -- the end

    def settle(self) -> None:
        """Time goes on and nothing else happens: everybody has an answer."""
        self.pass_time(ANSWER_WITHIN + 2 * LAG, 0.0)
        for link in [*self.old, *([self.link] if self.link else [])]:
            while link.to_lane:
                self.arrive_at_lane(link)
        self.sync("ends well", is_there=True)
        assert set(self.fates) == set(self.offered), "somebody has no answer"

    def check(self, **_: Any) -> None:
        """At any time."""
        undecided = len(self.offered) - len(self.fates)
        assert len(self.outgoing) == undecided
        if not undecided:
            assert self.outgoing.octets == 0
            assert self.outgoing.wake() is None

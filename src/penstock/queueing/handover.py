"""Handing transactions over to another lane, the protocol of both sides. No I/O: a shell sends what is to be sent, and says what has come.

A transaction is offered, sent, and answered. The sender has one answer for whoever waits for it, and has it in time:

    UNSENT      it never left: it may be stored elsewhere, or refused
    NOT_STORED  the lane says that it is not stored and never will be: the same
    STORED      the lane has it on stable storage
    UNCERTAIN   it was sent, and the connection or the time ended before the answer came: neither may be said

    offered ── sent ── answered: STORED, NOT_STORED, UNCERTAIN
       │         ├──── the connection ends: UNCERTAIN
       │         └──── ``ANSWER_WITHIN`` passes: UNCERTAIN, and the connection is ended
       ├────────────── the connection ends: UNSENT
       └────────────── ``SEND_WITHIN`` passes: UNSENT

With the transaction goes the instant after which the lane may not begin to store it, ``COMMIT_WITHIN`` from the offer on: a lane that was
stopped for a while does not store what has long been answered otherwise. Instants are of the machine's monotonic clock, the same for all processes.

The lane bounds what it has not answered, in octets and messages, by a credit for each sender. What is over it waits with the sender. A
transaction larger than the whole credit goes alone.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final, Generic, TypeVar

import msgspec

from penstock.mail.duration import MonotonicTime, Seconds

T = TypeVar("T")

#: A transaction that finds no credit for so long is stored elsewhere: syncs take some milliseconds, and a lane that is away longer is ill.
SEND_WITHIN: Final = Seconds(1.0)
#: As long as a worker's loop may stand still before the worker is replaced.
COMMIT_WITHIN: Final = Seconds(10.0)
#: A disk may take long for a sync; clients wait for minutes (RFC 5321 4.5.3.2.6 has them wait for ten).
ANSWER_WITHIN: Final = Seconds(60.0)
#: Nothing more is offered to a lane that has not answered for so long.
STALLED: Final = Seconds(2.0)


class Fate(Enum):
    """What became of a transaction that was offered; see the module."""

    STORED = "stored"
    NOT_STORED = "not stored"
    UNCERTAIN = "uncertain"
    UNSENT = "unsent"


class Credit(msgspec.Struct, frozen=True):
    """How much of a sender's a lane has unanswered, at most."""

    octets: int
    messages: int

    def allows(self, used_octets: int, used_messages: int, octets: int, messages: int) -> bool:
        """Whether so much more may come, on top of what is used."""
        return not used_messages or (
            used_octets + octets <= self.octets and used_messages + messages <= self.messages
        )


class Violation(Exception):
    """The other side said what it may not say. The connection is to be ended."""


class Sending(Generic[T]):
    """A transaction on its way. ``octets`` are those of its frame and its body file, ``offered`` is when it was."""

    __slots__ = ("item", "messages", "number", "octets", "offered")

    def __init__(self, item: T, number: int, octets: int, messages: int, offered: MonotonicTime) -> None:
        self.item = item
        self.number = number
        self.octets = octets
        self.messages = messages
        self.offered = offered

    @property
    def send_by(self) -> MonotonicTime:
        """Until when it may wait for credit."""
        return MonotonicTime(self.offered + SEND_WITHIN)

    @property
    def commit_by(self) -> MonotonicTime:
        """Until when the lane may begin to store it."""
        return MonotonicTime(self.offered + COMMIT_WITHIN)

    @property
    def answer_by(self) -> MonotonicTime:
        """Until when the answer is waited for."""
        return MonotonicTime(self.offered + ANSWER_WITHIN)


class Outgoing(Generic[T]):
    """The sender's side towards one lane, over all connections to it. What is decided is put into ``decided``, for the shell to take."""

    __slots__ = (
        "_credit",
        "_last",
        "_sent",
        "_used_messages",
        "_used_octets",
        "_waiting",
        "_waiting_octets",
        "decided",
    )

    def __init__(self) -> None:
        self._credit: Credit | None = None
        self._last = 0
        #: not sent yet, oldest first
        self._waiting: deque[Sending[T]] = deque()
        self._waiting_octets = 0
        #: sent and not answered, by number, oldest first
        self._sent: dict[int, Sending[T]] = {}
        self._used_octets = 0
        self._used_messages = 0
        self.decided: list[tuple[T, Fate]] = []

    @property
    def is_open(self) -> bool:
        """Whether there is a connection on which the lane has given a credit."""
        return self._credit is not None

    @property
    def octets(self) -> int:
        """Of all that is not decided."""
        return self._used_octets + self._waiting_octets

    def __len__(self) -> int:
        """How many are not answered."""
        return len(self._waiting) + len(self._sent)

    def opened(self, credit: Credit) -> None:
        """The lane has given a credit on a new connection. Violation if there is one already."""
        if self._credit is not None:
            raise Violation("the lane gave a credit twice")
        if credit.octets < 1 or credit.messages < 1:
            raise Violation("the lane gave a credit of nothing")
        self._credit = credit

    def closed(self) -> None:
        """The connection has ended."""
        self._credit = None
        decided = self.decided
        decided += [(each.item, Fate.UNCERTAIN) for each in self._sent.values()]
        decided += [(each.item, Fate.UNSENT) for each in self._waiting]
        self._sent.clear()
        self._waiting.clear()
        self._used_octets = self._used_messages = self._waiting_octets = 0

    def offer(self, item: T, octets: int, messages: int, now: MonotonicTime) -> bool:  # hot: micro_handover
        """Hand ``item`` over; whether it is taken. It is not while the lane is away or stalled, or as much waits as it has credit for."""
        credit = self._credit
        if credit is None or self._is_stalled(now):
            return False
        if self._waiting and self._waiting_octets + octets > credit.octets:
            return False
        self._last += 1
        self._waiting.append(Sending(item, self._last, octets, messages, now))
        self._waiting_octets += octets
        return True

    def _is_stalled(self, now: MonotonicTime) -> bool:
        oldest = next(iter(self._sent.values()), None)
        return oldest is not None and now > oldest.offered + STALLED

    def next(self, now: MonotonicTime) -> Sending[T] | None:  # hot: micro_handover
        """What is to be sent next, and counts as sent from now on; None if there is nothing, or no credit for it."""
        if not self._waiting or self._credit is None:
            return None
        first = self._waiting[0]
        if now > first.send_by or not self._credit.allows(
            self._used_octets, self._used_messages, first.octets, first.messages
        ):
            return None
        self._waiting.popleft()
        self._waiting_octets -= first.octets
        self._used_octets += first.octets
        self._used_messages += first.messages
        self._sent[first.number] = first
        return first

    def answered(self, number: int, fate: Fate) -> None:  # hot: micro_handover
        """The lane has answered. A second answer changes nothing; Violation if it is about what has not been sent."""
        sent = self._sent.pop(number, None)
        if sent is None:
            # what waits has the highest numbers
            if not 0 < number <= self._last - len(self._waiting):
                raise Violation("the lane answered what it was not sent")
            return
        self._used_octets -= sent.octets
        self._used_messages -= sent.messages
        self.decided.append((sent.item, fate))

    def look(self, now: MonotonicTime) -> bool:
        """Decide what is not to wait any longer; whether the connection is to be ended, for the lane has left something unanswered."""
        while self._waiting and now > self._waiting[0].send_by:
            late = self._waiting.popleft()
            self._waiting_octets -= late.octets
            self.decided.append((late.item, Fate.UNSENT))
        oldest = next(iter(self._sent.values()), None)
        return oldest is not None and now > oldest.answer_by

    def wake(self) -> MonotonicTime | None:
        """The instant after which ``look`` has something to say; None if nothing waits."""
        oldest = next(iter(self._sent.values()), None)
        if oldest is None:
            return self._waiting[0].send_by if self._waiting else None
        return min(self._waiting[0].send_by, oldest.answer_by) if self._waiting else oldest.answer_by


class Incoming:
    """The lane's side towards one sender, for one connection.

    ``begin`` comes before any transaction is stored, ``settled`` when it is answered.
    """

    __slots__ = ("_credit", "_last", "_messages", "_octets", "_open")

    def __init__(self, credit: Credit) -> None:
        self._credit = credit
        self._last = 0
        self._octets = 0
        self._messages = 0
        self._open: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        """How many are not answered."""
        return len(self._open)

    def begin(self, number: int, octets: int, messages: int) -> None:  # hot: micro_handover
        """A transaction has come. Violation if it is over the credit, or its number not above all before."""
        if number <= self._last:
            raise Violation("a transaction came twice, or out of order")
        if octets < 0 or messages < 1:
            raise Violation("a transaction of nothing came")
        if not self._credit.allows(self._octets, self._messages, octets, messages):
            raise Violation("a transaction came for which there was no credit")
        self._last = number
        self._octets += octets
        self._messages += messages
        self._open[number] = (octets, messages)

    def settled(self, number: int) -> None:  # hot: micro_handover
        """It is answered, one way or another."""
        octets, messages = self._open.pop(number)
        self._octets -= octets
        self._messages -= messages


def may_begin(commit_by: float, now: MonotonicTime) -> bool:
    """Whether a transaction may still be stored: if not, or if ``commit_by`` is no instant that a sender of ours names, it is NOT_STORED."""
    return now <= commit_by <= now + COMMIT_WITHIN

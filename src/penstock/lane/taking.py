"""The taking side of a move: messages that come from another lane, held until it has forgotten them.

The protocol is ``queueing.moving``; here messages are stored, and those that are released are given to the lane. What a giving lane may have under
way is its own to bound; what it says is checked, and one that breaks the rules loses its connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from penstock.ipc.frames import Frame, ProtocolError
from penstock.ipc.lane_words import LANE, TakerOfferHold
from penstock.lane import parcels
from penstock.lane.giving import Link, Place
from penstock.mail.ids import MessageId
from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord, QueuedMessage
from penstock.queueing.moving import (
    Discard,
    Free,
    Part,
    TakerPartsDrop,
    TakerPartsRelease,
    Taking,
    Violation,
    Word,
)
from penstock.spool import passing
from penstock.spool.decoding import Transaction

LOG = logging.getLogger(__name__)

#: Octets of a reason that travels.
_REASON_LIMIT = 500

Action = Free[int] | Discard[int] | Word
#: Takes over messages that are this lane's from now on.
Deliver = Callable[[Sequence[QueuedMessage]], None]


class Taker:
    """What comes from ``lane``, over all its connections. ``taken`` counts messages that are ours."""

    def __init__(self, place: Place, lane: str, deliver: Deliver) -> None:
        self.lane = lane
        self._place = place
        self._spool = place.spool
        self._deliver = deliver
        self._taking: Taking[int] = Taking()
        self._link: Link | None = None
        self.taken = 0

    def __len__(self) -> int:
        """How many messages are held, or being released; and offers that are being stored."""
        return len(self._taking)

    def restore(self, held: Mapping[Part, int]) -> None:
        """At a start: these are held, at these positions."""
        self._taking.restore(dict(held))

    def forget_lane(self) -> None:
        """The lane and its spool are gone, and all that it had forgotten was confirmed: what is held was not forgotten."""
        self._act(self._taking.abandon())

    # -- the connection

    def connected(self, link: Link) -> None:
        """The lane has come; a connection that there was is over."""
        if self._link is not None:
            self._link.abort()
            self.ended(self._link)
        self._link = link
        self._act(self._taking.opened())

    def ended(self, link: Link) -> None:
        """A connection has ended."""
        if link is self._link:
            self._link = None
            self._taking.closed()

    def received(self, link: Link, frame: Frame) -> None:
        """The lane has said something. ProtocolError if it may not say that."""
        if link is not self._link:
            return
        word = LANE.decode(frame.kind, frame.head)
        try:
            if isinstance(word, TakerOfferHold):
                self._offered(word, frame.tail)
            else:
                self._act(self._heard(word))
        except Violation as violation:
            raise ProtocolError(f"lane {self.lane}: {violation}") from violation

    def _heard(self, word: msgspec.Struct) -> Sequence[Action]:
        match word:
            case TakerPartsRelease(parts):
                return self._taking.released(parts)
            case TakerPartsDrop(parts):
                return self._taking.dropped(parts)
        raise Violation(f"it said {type(word).__name__} of a move")

    # -- storing

    def _offered(self, word: TakerOfferHold, octets: bytes | memoryview) -> None:
        offer = word.offer
        self._taking.offered(offer)
        try:
            transaction = passing.offered(octets, word.version, self.lane, offer)
            body = transaction.body
            if (
                len(transaction) != word.messages
                or (body.size if body is not None else 0) != word.body_octets
            ):
                raise SpoolError("it is not what its frame says")
            if body is not None:
                unpack = partial(parcels.unpack, self._place.parcels, transaction)
                self._place.background.submit(unpack, partial(self._unpacked, offer, transaction))
                return
            records = [transaction.message(part) for part in range(len(transaction))]
            self._hold(offer, transaction, records)
        except SpoolError as fault:
            self._settle(offer, (), fault)

    def _unpacked(
        self, offer: MessageId, transaction: Transaction, found: list[MessageRecord] | Exception
    ) -> None:
        try:
            if isinstance(found, Exception):
                raise SpoolError(str(found)) from found
            self._hold(offer, transaction, found)
        except SpoolError as fault:
            self._settle(offer, (), fault)

    def _hold(self, offer: MessageId, transaction: Transaction, records: Sequence[MessageRecord]) -> None:
        arrivals = passing.arrivals(transaction, records)
        self._spool.arrivals.hold(arrivals, partial(self._settle, offer))
        for record in records:
            self._place.wanderers.came(record.id)

    def _settle(self, offer: MessageId, positions: Sequence[int], fault: SpoolError | None) -> None:
        """An offer is held, or it is not, or nobody knows: then it is not taken, and found at the next start, if it is there."""
        if fault is None:
            self._act(self._taking.has_stored(offer, positions))
            return
        LOG.warning("what lane %s offers is not taken: %s", self.lane, fault)
        self._act(self._taking.has_not_stored(offer, str(fault)[:_REASON_LIMIT]))

    # -- what the protocol wants done

    def _act(self, actions: Sequence[Action]) -> None:
        ours: list[QueuedMessage] = []
        for action in actions:
            if isinstance(action, Free):
                self._free(action.part, action.item, ours)
            elif isinstance(action, Discard):
                self._spool.arrivals.drop(action.item, _nothing)
            elif self._link is not None:
                kind, head = LANE.encode(action)
                self._link.send(kind, 0, head)
        if ours:
            self.taken += len(ours)
            self._deliver(ours)

    def _free(self, part: Part, position: int, ours: list[QueuedMessage]) -> None:
        arrivals = self._spool.arrivals
        # one that was found damaged meanwhile is settled
        is_there = arrivals.is_held(position)
        arrivals.release(position, lambda: self._act(self._taking.has_freed(part)))
        if is_there:
            ours.append(arrivals.message(position))


def _nothing() -> None:
    """Nobody waits for it."""

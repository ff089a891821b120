"""The receiving side of a hand-over: transactions that other lanes took in, and whose home is here.

Each is read and checked, put into the log as it was encoded, given to the lane once it is on stable storage, and answered then: many at a time, in
whatever order they are done. What a sender may have unanswered is bounded by its credit, and by nothing else, so it is never slowed down behind
another. A sender that breaks the rules loses its connection; of one that dies, what has come is stored and delivered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from penstock.ipc.channel import Channel
from penstock.ipc.frames import Frame, ProtocolError
from penstock.ipc.lane_words import (
    LANE,
    LaneTransactionStore,
    SenderCreditGrant,
    SenderIntakeChange,
    SenderLeave,
    SenderTransactionsConfirm,
    SenderTransactionSettle,
)
from penstock.lane import parcels
from penstock.mail.ports import Clock, Spool, SpoolError, SpoolUncertain
from penstock.mail.records import MessageRecord
from penstock.queueing.handover import Credit, Fate, Incoming, Violation, may_begin
from penstock.spool import passing
from penstock.spool.decoding import Transaction

LOG = logging.getLogger(__name__)

#: For each sender: at 10 KB a message, what arrives within a second at 800 a second.
CREDIT: Final = Credit(octets=8 * 1024 * 1024, messages=4096)
_LATE: Final = "it came after its deadline"
#: Octets of a reason that travels.
_REASON_LIMIT: Final = 500

#: Takes over messages that are stored, with their positions.
Deliver = Callable[[Sequence[tuple[int, MessageRecord]]], None]


class Intake:
    """What the connections of all senders share. ``parcels`` is the folder of large contents."""

    def __init__(
        self, spool: Spool, deliver: Deliver, clock: Clock, parcels: Path, credit: Credit = CREDIT
    ) -> None:
        self.spool = spool
        self.deliver = deliver
        self.clock = clock
        self.parcels = parcels
        self.credit = credit
        self.senders: set[TakingOver] = set()
        #: transactions stored, and refused, since the start
        self.stored = 0
        self.refused = 0
        spool.watch(self._tell)

    def session(self, channel: Channel, sender: str) -> TakingOver:
        """A sender has come."""
        return TakingOver(self, channel, sender)

    def _tell(self) -> None:
        kind, head = LANE.encode(SenderIntakeChange(self.spool.has_room()))
        for sender in self.senders:
            sender.channel.send(kind, 0, head)


class TakingOver:
    """One sender's connection."""

    def __init__(self, intake: Intake, channel: Channel, sender: str) -> None:
        self.channel = channel
        self._sender = sender
        self._intake = intake
        self._incoming = Incoming(intake.credit)
        #: stored, and to be said so
        self._confirmed: list[int] = []
        self._reading: set[asyncio.Future[list[MessageRecord]]] = set()
        intake.senders.add(self)
        credit = intake.credit
        kind, head = LANE.encode(SenderCreditGrant(credit.octets, credit.messages, intake.spool.has_room()))
        channel.send(kind, 0, head)

    def received(self, frame: Frame) -> None:  # hot: micro_handover
        """A transaction has come. ProtocolError if it is none, or may not."""
        word = LANE.decode(frame.kind, frame.head)
        if not isinstance(word, LaneTransactionStore):
            raise ProtocolError(f"lane {self._sender} said {type(word).__name__} while it hands over")
        number = frame.number
        try:
            self._incoming.begin(number, len(frame.tail) + word.body_octets, word.messages)
        except Violation as violation:
            raise ProtocolError(f"lane {self._sender}: {violation}") from violation
        try:
            self._take(number, word, frame.tail)
        except SpoolError as fault:
            self._settle(number, fault)

    def _take(
        self, number: int, word: LaneTransactionStore, octets: bytes | memoryview
    ) -> None:  # hot: micro_handover
        transaction = passing.taken_over(octets, word.version)
        body = transaction.body
        if len(transaction) != word.messages or (body.size if body is not None else 0) != word.body_octets:
            raise SpoolError("it is not what its frame says")
        if body is not None:
            self._unpack(number, word.commit_by, transaction)
            return
        records = passing.messages(transaction)
        self._store(number, word.commit_by, records, octets if isinstance(octets, bytes) else bytes(octets))

    def _unpack(self, number: int, commit_by: float, transaction: Transaction) -> None:
        """Have a large content read by a thread."""
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, parcels.unpack, self._intake.parcels, transaction)
        self._reading.add(reading)
        reading.add_done_callback(partial(self._unpacked, number, commit_by))

    def _unpacked(self, number: int, commit_by: float, reading: asyncio.Future[list[MessageRecord]]) -> None:
        self._reading.discard(reading)
        if reading.cancelled():
            return
        try:
            self._store(number, commit_by, reading.result(), None)
        except SpoolError as fault:
            self._settle(number, fault)

    def _store(
        self, number: int, commit_by: float, records: list[MessageRecord], octets: bytes | None
    ) -> None:  # hot: micro_handover
        intake = self._intake
        if not may_begin(commit_by, intake.clock.monotonic()):
            raise SpoolError(_LATE)
        intake.spool.store(records, partial(self._stored, number, records), octets)

    def _stored(
        self,
        number: int,
        records: Sequence[MessageRecord],
        positions: Sequence[int],
        fault: SpoolError | None,
    ) -> None:  # hot: micro_handover
        """The spool has, or has not. What it has is delivered even if the sender is gone and cannot be told."""
        if fault is None:
            self._intake.deliver(list(zip(positions, records, strict=True)))
        self._settle(number, fault)

    def _settle(self, number: int, fault: SpoolError | None) -> None:  # hot: micro_handover
        self._incoming.settled(number)
        if fault is None:
            self._intake.stored += 1
            if not self._confirmed:
                # once for all that this turn of the loop brings: a sync answers many
                asyncio.get_running_loop().call_soon(self._confirm)
            self._confirmed.append(number)
            return
        self._intake.refused += 1
        LOG.warning("a transaction that lane %s took in is not stored: %s", self._sender, fault)
        fate = Fate.UNCERTAIN if isinstance(fault, SpoolUncertain) else Fate.NOT_STORED
        kind, head = LANE.encode(SenderTransactionSettle(fate, str(fault)[:_REASON_LIMIT]))
        self.channel.send(kind, number, head)

    def _confirm(self) -> None:
        kind, head = LANE.encode(SenderTransactionsConfirm(tuple(self._confirmed)))
        self._confirmed.clear()
        self.channel.send(kind, 0, head)

    def leave(self) -> None:
        """This lane is about to end: the sender is to go when it has its answers."""
        kind, head = LANE.encode(SenderLeave())
        self.channel.send(kind, 0, head)

    def ended(self) -> None:
        """The connection is over."""
        self._intake.senders.discard(self)

"""The sending side of a hand-over: other lanes as this one sees them, each with one connection that is made anew whenever it ends.

The protocol is ``queueing.handover``; here are octets, timers, and who is told. While a lane is away, ill or standing still, nothing is offered
to it: what it would have got is stored elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.ipc.channel import Channel, ChannelError, connect
from penstock.ipc.frames import TAIL_LIMIT, Frame, ProtocolError
from penstock.ipc.lane_words import (
    HAND_OVER,
    LANE,
    LaneSessionOpen,
    LaneTransactionStore,
    SenderCreditGrant,
    SenderIntakeChange,
    SenderLeave,
    SenderTransactionsConfirm,
    SenderTransactionSettle,
)
from penstock.mail.ports import Clock
from penstock.queueing.handover import Credit, Fate, Outgoing, Violation
from penstock.spool.frame import VERSION

LOG = logging.getLogger(__name__)

#: Seconds between two tries to connect, doubled up to the last: trying costs next to nothing, and a lane that is back has its mail again.
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 0.2

#: Told what became of a transaction, and why where it is not stored.
Told = Callable[[Fate], None]


class Transfer(msgspec.Struct, frozen=True):
    """A transaction to be handed over: its payload in pieces, how many messages it has, octets of its body file, who waits, its version."""

    pieces: Sequence[bytes]
    messages: int
    body_octets: int
    told: Told
    version: int = VERSION


class Neighbour:
    """Another lane, at ``path``. ``own`` is our lane's name. ``pause`` waits between two tries to connect."""

    def __init__(
        self,
        own: str,
        path: Path,
        clock: Clock,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._own = own
        self._path = path
        self._clock = clock
        self._pause = pause
        self._outgoing = Outgoing[Transfer]()
        self._channel: Channel | None = None
        self._is_taking = False
        self._is_leaving = False
        self._was_welcome = False
        #: why the last connection ended: what is so again each time is said once
        self._last_reason: str | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._is_telling = False
        #: transactions by what became of them, since the start
        self.fates = dict.fromkeys(Fate, 0)

    @property
    def is_taking(self) -> bool:
        """Whether it is there, and takes new mail."""
        return self._is_taking

    @property
    def octets(self) -> int:
        """Of what is under way to it."""
        return self._outgoing.octets

    # -- the connection

    def start(self) -> None:
        """Connect, and again whenever the connection ends, until ``close``."""
        self._connecting = asyncio.get_running_loop().create_task(
            self._stay_connected(), name=f"connect to {self._path.name}"
        )

    async def _stay_connected(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._over.clear()
            channel = self.new_channel()
            try:
                await connect(self._path, channel)
            except ChannelError as error:
                LOG.debug("%s", error)
            else:
                self.connected(channel)
                await self._over.wait()
                pause = _FIRST_PAUSE if self._was_welcome else pause
            await self._pause(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    def new_channel(self) -> Channel:
        """A channel to be connected to the lane."""
        channel = Channel(
            lambda frame: self._received(channel, frame), lambda reason: self._ended(channel, reason)
        )
        self._was_welcome = False
        return channel

    def connected(self, channel: Channel) -> None:
        """It is; say who we are."""
        if not channel.is_open:
            self._over.set()
            return
        self._channel = channel
        kind, head = LANE.encode(LaneSessionOpen(self._own, HAND_OVER))
        channel.send(kind, 0, head)

    def _ended(self, channel: Channel, reason: str | None) -> None:
        if channel is not self._channel:
            return
        if reason is not None and reason != self._last_reason:
            LOG.warning("the connection to %s has ended: %s", self._path.name, reason)
        self._last_reason = reason
        self._disconnect()

    def _disconnect(self) -> None:
        self._channel = None
        self._is_taking = self._is_leaving = False
        self._outgoing.closed()
        self._over.set()
        self._tell()

    def end(self) -> None:
        """End the connection; those who wait are told what may be said."""
        if self._channel is not None:
            self._channel.abort()
            self._disconnect()

    async def close(self) -> None:
        """End it for good."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        self.end()
        if self._timer is not None:
            self._timer.cancel()

    # -- what it says

    def _received(self, channel: Channel, frame: Frame) -> None:  # hot: micro_handover
        if channel is not self._channel:
            return
        word = LANE.decode(frame.kind, frame.head)
        try:
            if isinstance(word, SenderTransactionsConfirm):
                for number in word.numbers:
                    self._outgoing.answered(number, Fate.STORED)
            elif isinstance(word, SenderTransactionSettle):
                self._settled(frame.number, word)
            elif isinstance(word, SenderCreditGrant):
                self._outgoing.opened(Credit(word.octets, word.messages))
                self._was_welcome = True
                LOG.info("connected to %s", self._path.name)
                self._is_taking = word.is_taking
            elif isinstance(word, SenderIntakeChange) and self._outgoing.is_open:
                self._is_taking = word.is_taking and not self._is_leaving
            elif isinstance(word, SenderLeave):
                self._is_leaving = True
                self._is_taking = False
            else:
                raise Violation(f"it said {type(word).__name__}")
        except Violation as violation:
            raise ProtocolError(f"{self._path.name}: {violation}") from violation
        self._pump()

    def _settled(self, number: int, word: SenderTransactionSettle) -> None:
        if word.fate is Fate.UNSENT or word.fate is Fate.STORED:
            raise Violation(f"it says of a transaction that it is {word.fate.value}")
        self._outgoing.answered(number, word.fate)

    # -- handing over

    def hand_over(self, transfer: Transfer) -> bool:  # hot: micro_handover
        """Offer a transaction; whether it is taken. ``told`` is called once then, later or from inside."""
        if not self._is_taking:
            return False
        octets = sum(map(len, transfer.pieces))
        if octets > TAIL_LIMIT:
            return False
        if not self._outgoing.offer(
            transfer, octets + transfer.body_octets, transfer.messages, self._clock.monotonic()
        ):
            return False
        self._pump()
        return True

    def _pump(self) -> None:  # hot: micro_handover
        """Send what may be sent, and tell what is decided."""
        outgoing, channel = self._outgoing, self._channel
        now = self._clock.monotonic()
        while channel is not None and (sending := outgoing.next(now)) is not None:
            transfer = sending.item
            kind, head = LANE.encode(
                LaneTransactionStore(
                    sending.commit_by, transfer.messages, transfer.version, transfer.body_octets
                )
            )
            channel.send(kind, sending.number, head, transfer.pieces)
        if outgoing.decided:
            self._tell()
        if self._is_leaving and not len(outgoing):
            self.end()
        if self._timer is None and len(outgoing):
            self._arm()

    def _tell(self) -> None:  # hot: micro_handover
        if self._is_telling:
            return  # by somebody who was told: whoever told them goes on
        self._is_telling = True
        try:
            while self._outgoing.decided:
                decided, self._outgoing.decided = self._outgoing.decided, []
                for transfer, fate in decided:
                    self.fates[fate] += 1
                    _tell(transfer, fate)
        finally:
            self._is_telling = False

    # -- time

    def _arm(self) -> None:
        wake = self._outgoing.wake()
        if wake is not None:
            delay = max(0.0, wake - self._clock.monotonic()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.look()

    def look(self) -> None:
        """Decide what must not wait any longer."""
        if self._outgoing.look(self._clock.monotonic()):
            LOG.error("%s has left a transaction unanswered", self._path.name)
            self.end()
        self._pump()


def _tell(transfer: Transfer, fate: Fate) -> None:
    """Tell one; whatever it raises, the others are told too."""
    try:
        transfer.told(fate)
    except Exception:
        LOG.exception("who handed a transaction over cannot be told that it is %s", fate.value)

"""Queued messages that move between this lane and the others: all of one spool's.

A connection is for one direction, and the lane that gives makes it; it stays connected also while it has nothing to give, for the other asks over it
what is to become of what it holds. Nothing is said before the spool is recovered: until then nobody knows what was forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from penstock.ipc.channel import Channel
from penstock.ipc.frames import Frame
from penstock.ipc.lane_words import socket_of
from penstock.lane.giving import Giver, Place
from penstock.lane.leaving import Source
from penstock.lane.staying import Staying
from penstock.lane.taking import Deliver, Taker
from penstock.mail.records import Move
from penstock.queueing.moving import Part

#: Seconds between two looks whether all has come to its end.
_LOOK: Final = 0.02


class Stay(Protocol):
    """Keeps up a connection (``lane.staying``)."""

    def start(self) -> None:
        """Connect, and again whenever the connection ends, until ``close``."""

    async def close(self) -> None:
        """End it, and try no more."""


class Moves:
    """See the module. ``run`` is the folder of the lanes' sockets; ``source`` makes what gives messages to a lane, ``stay`` the connections."""

    def __init__(
        self,
        place: Place,
        run: Path,
        source: Callable[[str], Source],
        deliver: Deliver,
        stay: Callable[[Path, Giver], Stay] = Staying,
    ) -> None:
        self._place = place
        self._run = run
        self._source = source
        self._deliver = deliver
        self._stay = stay
        self._givers: dict[str, Giver] = {}
        self._takers: dict[str, Taker] = {}
        self._staying: dict[str, Stay] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._lanes: frozenset[str] = frozenset()
        self._is_started = False

    def __len__(self) -> int:
        """How many messages are on their way in either direction, unconfirmed ones too."""
        return sum(map(len, self._givers.values())) + sum(map(len, self._takers.values()))

    @property
    def given(self) -> int:
        """Messages that have gone to other lanes since the start."""
        return sum(giver.given for giver in self._givers.values())

    @property
    def taken(self) -> int:
        """Messages that have come from other lanes since the start."""
        return sum(taker.taken for taker in self._takers.values())

    def giver(self, lane: str) -> Giver:
        """What goes to a lane."""
        giver = self._givers.get(lane)
        if giver is None:
            giver = self._givers[lane] = Giver(self._place, lane, self._source(lane))
        return giver

    def taker(self, lane: str) -> Taker:
        """What comes from a lane."""
        taker = self._takers.get(lane)
        if taker is None:
            taker = self._takers[lane] = Taker(self._place, lane, self._deliver)
        return taker

    # -- the beginning and the end

    def recovered(self) -> None:
        """The spool has been read: what it holds of others, and what it has forgotten, is known. Go to the other lanes."""
        held: dict[str, dict[Part, int]] = {}
        for position, move in self._place.spool.arrivals.held():
            held.setdefault(move.lane, {})[_part(move)] = position
        for lane, parts in held.items():
            self.taker(lane).restore(parts)
        forgotten: dict[str, list[Part]] = {}
        for move in self._place.spool.departures.forgotten():
            forgotten.setdefault(move.lane, []).append(_part(move))
        for lane, gone in forgotten.items():
            self.giver(lane).restore(gone)
        self._is_started = True
        self.use(self._lanes)

    def use(self, lanes: Iterable[str]) -> None:
        """Be connected to these, but for our own, and besides to those only that have been given something and have not confirmed it."""
        self._lanes = frozenset(lanes) - {self._place.own}
        if not self._is_started:
            return
        wanted = self._lanes | {lane for lane, giver in self._givers.items() if len(giver)}
        for lane in sorted(self._staying.keys() - wanted):
            self._leave(lane)
        for lane in sorted(wanted - self._staying.keys()):
            self._go_to(lane)

    def gone(self, lane: str) -> None:
        """A lane's spool is gone after it was emptied: nobody asks, and nobody answers."""
        for side in (self._givers.get(lane), self._takers.get(lane)):
            if side is not None:
                side.forget_lane()

    def strangers(self) -> frozenset[str]:
        """Lanes that we have something to settle with, and are not told to be connected to."""
        open_with = {lane for lane, giver in self._givers.items() if len(giver)}
        open_with |= {lane for lane, taker in self._takers.items() if len(taker)}
        return frozenset(open_with) - self._lanes

    async def finish(self, grace: float) -> None:
        """Offer nothing more, and let what is under way come to its end, within ``grace`` seconds; what does not, the next start settles."""
        for giver in self._givers.values():
            giver.leave()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        while len(self) and loop.time() < end:  # noqa: ASYNC110  # what is under way is of many kinds, and it is for a moment
            await asyncio.sleep(_LOOK)

    async def close(self) -> None:
        """Leave all lanes."""
        for lane in list(self._staying):
            self._leave(lane)
        if self._closing:
            await asyncio.wait(tuple(self._closing))

    # -- connections that we make, to give

    def _go_to(self, lane: str) -> None:
        staying = self._stay(socket_of(self._run, lane), self.giver(lane))
        self._staying[lane] = staying
        staying.start()

    def _leave(self, lane: str) -> None:
        staying = self._staying.pop(lane)
        task = asyncio.get_running_loop().create_task(staying.close(), name=f"leave lane {lane}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- connections that others make, to give to us

    def session(self, channel: Channel, lane: str) -> Session:
        """A lane has come to give. Before the recovery it is told to come again."""
        if not self._is_started:
            channel.close()
            return Session(channel, None)
        taker = self.taker(lane)
        taker.connected(channel)
        return Session(channel, taker)


class Session:
    """A connection that a giving lane has made; ``taker`` None: it is closed."""

    def __init__(self, channel: Channel, taker: Taker | None) -> None:
        self._channel = channel
        self._taker = taker

    def received(self, frame: Frame) -> None:
        """A frame has come. ProtocolError if it may not say that."""
        if self._taker is not None:
            self._taker.received(self._channel, frame)

    def leave(self) -> None:
        """This process is about to end: what is not answered, the other side takes back."""
        self._channel.close()

    def ended(self) -> None:
        """The connection is over."""
        if self._taker is not None:
            self._taker.ended(self._channel)


def _part(move: Move) -> Part:
    return Part(move.id, move.part)

"""The spool of a lane that there is no more, adopted by a lane that there is: all of its mail is moved there, then it is removed.

The worker speaks for the orphan as another process would: it listens where the orphan listened, and gives what the spool has to the adopting lane, by
the protocol that all moves go by. So whatever ends when, no message is deliverable twice. The folder goes when nothing is queued in it, nobody is
left who might ask for what it gave, and all that happened in it has become events.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Final, Protocol

from penstock.ipc.channel import ChannelError
from penstock.ipc.lane_words import MOVE, socket_of
from penstock.lane import parcels
from penstock.lane.doorway import Doorway
from penstock.lane.giving import Place
from penstock.lane.leaving import Source, StoredSource
from penstock.lane.moves import Moves
from penstock.lane.wandering import Wanderers
from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, LogPosition, SpoolError
from penstock.mail.records import QueuedMessage, SpoolRecord
from penstock.mail.status import Tally
from penstock.spool.durable import DurableSpool
from penstock.spool.entry import Entry
from penstock.spool.files import FileError
from penstock.spool.log import SpoolLog, SpoolOptions
from penstock.spool.places import is_in_use, is_there, remove, spool_of
from penstock.spool.reading import Threads

LOG = logging.getLogger(__name__)

#: Seconds between two looks whether it is empty, or in somebody's hands.
_LOOK: Final = 0.5
#: Seconds until a spool is tried again that could not be had.
_AGAIN: Final = 30.0
_GRACE: Final = Seconds(5.0)


class Teller(Protocol):
    """Tells of what happens in the spool, so that events are made of it."""

    def on_stored(self, entries: Sequence[Entry], position: LogPosition) -> None:
        """See ``spool.entry.Follower``."""

    def start(self) -> None:
        """The spool has been recovered."""

    async def close(self) -> None:
        """The spool is closed."""

    async def forget(self) -> None:
        """The spool is closed and empty, all of it has become events, and it is about to be removed."""


class Adoption:
    """One orphan, adopted by the lane ``adopter``. ``tally`` counts its mail with the adopter's."""

    def __init__(
        self,
        orphan: str,
        adopter: str,
        data_dir: Path,
        clock: Clock,
        ids: IdSource,
        options: SpoolOptions,
        tally: Tally,
        teller: Callable[[str, SpoolLog, Path], Teller],
    ) -> None:
        self.orphan = orphan
        self._adopter = adopter
        self._data_dir = data_dir
        self._root = spool_of(data_dir, orphan)
        self._run = data_dir / "run"
        self._clock = clock
        self._ids = ids
        self._options = options
        self._tally = tally
        self._new_teller = teller
        self._lanes: tuple[str, ...] = ()
        self._moves: Moves | None = None
        self._source: StoredSource | None = None
        #: messages that wait in it; None before it has been read
        self.left: int | None = None

    def use(self, lanes: Iterable[str]) -> None:
        """These are the lanes that there are."""
        self._lanes = tuple(lanes)
        if self._moves is not None:
            self._moves.use(self._lanes)

    async def run(self) -> None:
        """Until it is empty, and removed."""
        while not await self._try():  # noqa: ASYNC110  # nobody tells when a disk is well again
            await asyncio.sleep(_AGAIN)

    async def _try(self) -> bool:
        while is_in_use(self._root):  # noqa: ASYNC110  # flock(2) tells nobody
            await asyncio.sleep(_LOOK)
        if not is_there(self._root):
            return True  # an earlier life of this worker was done with it
        try:
            durable = DurableSpool(self._root, self._clock, self._ids, self._count, self._options)
            durable.open()
        except (FileError, SpoolError) as error:
            LOG.error("the spool of lane %s, which there is no more, cannot be had: %s", self.orphan, error)
            return False
        teller = self._new_teller(self.orphan, durable.log, self._root)
        durable.log.follower = teller
        is_empty = False
        try:
            is_empty = await self._empty(durable.log, teller)
        except (FileError, SpoolError, ChannelError, OSError) as error:
            LOG.error("the mail of lane %s, which there is no more, stays in it: %s", self.orphan, error)
        finally:
            self._moves = None
            await durable.close(_GRACE)
            if is_empty:
                # before the scribe forgets it: from a spool that it does not know it would make all events once more
                await asyncio.to_thread(remove, self._root)
                await teller.forget()
            else:
                await teller.close()
        if is_empty:
            LOG.info("lane %s, which there is no more, is empty, and its spool is removed", self.orphan)
        return is_empty

    def _count(self, records: Sequence[SpoolRecord], _: LogPosition) -> None:
        for record in records:
            self._tally.add(record)

    async def _empty(self, spool: SpoolLog, teller: Teller) -> bool:
        """Have all of it moved."""
        positions: list[int] = []

        def restored(messages: Sequence[QueuedMessage]) -> None:
            for message in messages:
                if not message.is_held:
                    self._tally.restore(message.queue.tenant, message.recipients)
                    positions.append(message.position)

        await spool.recover(restored)
        teller.start()
        LOG.info("%d messages of lane %s, which there is no more, move to lane %s", len(positions), self.orphan, self._adopter)  # fmt: skip
        background = Threads()
        moves = self._moves = Moves(self._place(spool, background), self._run, self._new_source, self._ours)
        doorway = Doorway(socket_of(self._run, self.orphan), {MOVE: moves.session})
        giver = moves.giver(self._adopter)
        assert self._source is not None  # noqa: S101 -- made with the giver
        self._source.add(positions)
        try:
            parcels.clear(self._run / "parcels", self.orphan)
            await doorway.open()
            moves.use(self._lanes)
            moves.recovered()
            giver.wake()
            while not self._is_over(spool, moves):
                self.left = len(spool)
                await asyncio.sleep(_LOOK)
            return True
        finally:
            await moves.close()
            await doorway.close(0.0)
            background.close()

    def _is_over(self, spool: SpoolLog, moves: Moves) -> bool:
        is_empty = not (len(spool) or len(spool.departures) or len(moves))
        return is_empty and spool.has_all_events

    def _place(self, spool: SpoolLog, background: Threads) -> Place:
        return Place(
            self.orphan, spool, self._clock, self._ids, asyncio.get_running_loop(), background,
            Wanderers(self._clock), self._run / "parcels", secrets.randbits(32), count(1),
        )  # fmt: skip

    def _new_source(self, lane: str) -> Source:
        """All goes to the adopter: to others nothing but what they ask."""
        loop, moves = asyncio.get_running_loop(), self._moves
        source = StoredSource(loop, lambda: moves.giver(lane).wake() if moves is not None else None)
        if lane == self._adopter:
            self._source = source
        return source

    def _ours(self, messages: Sequence[QueuedMessage]) -> None:
        """Mail that another lane had given to the orphan is the orphan's, and goes on."""
        if self._source is not None:
            self._source.add([message.position for message in messages])

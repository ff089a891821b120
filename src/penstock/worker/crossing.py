"""The parts of a worker by which mail crosses to other lanes and comes from them: wired, opened, and ended in order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

from penstock.ipc.channel import ChannelError
from penstock.ipc.lane_words import HAND_OVER, MOVE, socket_of
from penstock.lane import parcels
from penstock.lane.doorway import Doorway
from penstock.lane.giving import Place
from penstock.lane.lane import Lane
from penstock.lane.leaving import ScheduledSource
from penstock.lane.moves import Moves
from penstock.lane.neighbours import Neighbours
from penstock.lane.taking_over import Intake
from penstock.lane.wandering import Wanderers
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock
from penstock.queueing.queues import Path as DeliveryPath
from penstock.routing.placement import Homes, Placement
from penstock.spool.log import SpoolLog
from penstock.spool.places import spools
from penstock.spool.reading import Threads
from penstock.worker.committing import Committer, Routes

#: Seconds that moves which are under way have at the end: a sync of either side, and a lane that is being stopped too.
_LAST_MOVES: Final = 1.0
#: Seconds between two looks whether lanes are gone with which something is to be settled.
_LOOK: Final = 5.0


class Crossing:
    """``own`` is the worker's lane; ``found`` as of Homes.

    A worker that is alone neither listens nor connects, unless it has ``orphans`` to adopt.
    """

    def __init__(
        self,
        own: str,
        placement: Placement,
        data_dir: Path,
        spool: SpoolLog,
        lane: Lane,
        routes: Routes,
        clock: Clock,
        ids: IdSource,
        orphans: tuple[str, ...] = (),
        found: Callable[[str, str], None] = lambda site, lane: None,
    ) -> None:
        run = data_dir / "run"
        self._data_dir = data_dir
        self._lane = lane
        self._clock = clock
        self._has_orphans = bool(orphans)
        self._loop = asyncio.get_running_loop()
        self._background = Threads()
        self._sources: dict[str, ScheduledSource] = {}
        self._look: asyncio.TimerHandle | None = None
        self._parcels = run / "parcels"
        self.homes = Homes(placement, own, found)
        self.neighbours = Neighbours(own, run, clock)
        self.committer = Committer(
            spool=spool,
            deliver=lane.submit,
            homes=self.homes,
            routes=routes,
            neighbours=self.neighbours,
            clock=clock,
            folder=self._parcels,
            life=secrets.randbits(32),
        )
        self.intake = Intake(spool, lane.submit, clock, self._parcels)
        place = Place(
            own, spool, clock, ids, self._loop, self._background, Wanderers(clock), self._parcels,
            secrets.randbits(32), count(1),
        )  # fmt: skip
        self.moves = Moves(place, run, self._new_source, lane.restore)
        lane.use_homes(self.homes.routed, self._move)
        #: where other lanes come to this one
        self.doorway = Doorway(
            socket_of(run, own), {HAND_OVER: self.intake.session, MOVE: self.moves.session}
        )

    async def open(self) -> None:
        """Let others in, and go to them. OSError if that cannot be."""
        if self.homes.is_alone and not self._has_orphans:
            return
        parcels.clear(self._parcels, self.homes.own)
        try:
            await self.doorway.open()
        except ChannelError as error:
            raise OSError(str(error)) from error
        self.committer.use_placement()

    def use(self, placement: Placement) -> None:
        """Go by another placement; lanes neither come nor go by it."""
        self.homes.use(placement)
        self.committer.use_placement()
        self._lane.use_homes(self.homes.routed, self._move)
        self.moves.use(self.lanes())

    async def close(self, grace: float) -> None:
        """Nothing comes in here any more: let what others have sent be answered within ``grace`` seconds, and leave them."""
        if self._look is not None:
            self._look.cancel()
        await self.moves.finish(min(grace, _LAST_MOVES))
        await self.doorway.close(grace)
        await self.committer.close()
        await self.moves.close()
        self._background.close()

    # -- queued mail

    def recovered(self) -> None:
        """The spool has been read: mail that is queued may move."""
        self.moves.use(self.lanes())
        self.moves.recovered()
        self._look_around()

    def lanes(self) -> tuple[str, ...]:
        """All lanes that there are."""
        placement = self.homes.placement
        return (*placement.general, *placement.dedicated)

    def _new_source(self, lane: str) -> ScheduledSource:
        delivering = self._lane
        source = ScheduledSource(delivering.scheduler, lane, self._clock, delivering.work_done)
        self._sources[lane] = source
        return source

    def _move(self, path: DeliveryPath) -> None:
        if path.lane is not None:
            giver = self.moves.giver(path.lane)
            self._sources[path.lane].add(path)
            giver.wake()

    def _look_around(self) -> None:
        """Settle with lanes that are gone: one that had no spool any more had been emptied."""
        strangers = self.moves.strangers()
        if strangers:
            for lane in strangers - spools(self._data_dir).keys():
                self.moves.gone(lane)
            self._look = self._loop.call_later(_LOOK, self._look_around)

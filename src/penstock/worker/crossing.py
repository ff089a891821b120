"""The parts of a worker by which mail crosses to other lanes and comes from them: wired, opened, and ended in order."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from penstock.ipc.channel import ChannelError
from penstock.ipc.lane_words import HAND_OVER, socket_of
from penstock.lane import parcels
from penstock.lane.doorway import Doorway
from penstock.lane.neighbours import Neighbours
from penstock.lane.taking_over import Intake
from penstock.mail.ports import Clock, Spool
from penstock.routing.placement import Homes, Placement
from penstock.worker.committing import Committer, Deliver, Routes


class Crossing:
    """``own`` is the worker's lane; ``found`` as of Homes. A worker that is alone neither listens nor connects."""

    def __init__(
        self,
        own: str,
        placement: Placement,
        data_dir: Path,
        spool: Spool,
        deliver: Deliver,
        routes: Routes,
        clock: Clock,
        found: Callable[[str, str], None] = lambda site, lane: None,
    ) -> None:
        run = data_dir / "run"
        self._parcels = run / "parcels"
        self.homes = Homes(placement, own, found)
        self.neighbours = Neighbours(own, run, clock)
        self.committer = Committer(
            spool=spool,
            deliver=deliver,
            homes=self.homes,
            routes=routes,
            neighbours=self.neighbours,
            clock=clock,
            folder=self._parcels,
            life=secrets.randbits(32),
        )
        self.intake = Intake(spool, deliver, clock, self._parcels)
        #: where other lanes come to this one
        self.doorway = Doorway(socket_of(run, own), {HAND_OVER: self.intake.session})

    async def open(self) -> None:
        """Let others in, and go to them. OSError if that cannot be."""
        if self.homes.is_alone:
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

    async def close(self, grace: float) -> None:
        """Nothing comes in here any more: let what others have sent be answered within ``grace`` seconds, and leave them."""
        await self.doorway.close(grace)
        await self.committer.close()

"""A server of one lane, as sessions see it."""

from __future__ import annotations

from pathlib import Path

from penstock.lane.neighbours import Neighbours
from penstock.mail.ports import Clock, Spool
from penstock.net.router import Router
from penstock.routing.placement import ALONE, Homes
from penstock.sim.resolver import FakeResolver
from penstock.worker.committing import Committer, Deliver


def alone(spool: Spool, deliver: Deliver, clock: Clock) -> Committer:
    """Everything is stored here. Made on a running loop."""
    nowhere = Path("/nonexistent")
    return Committer(
        spool=spool,
        deliver=deliver,
        homes=Homes(ALONE, "0"),
        routes=Router(FakeResolver({}, {}), clock, lambda: 0.5),
        neighbours=Neighbours("0", nowhere, clock),
        clock=clock,
        folder=nowhere,
        life=0,
    )

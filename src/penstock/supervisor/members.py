"""What is run, and what is known of each lane's process."""

from __future__ import annotations

import msgspec

from penstock.ipc.bus import Bus
from penstock.mail.status import Status
from penstock.routing.placement import rendezvous
from penstock.supervisor.process import ChildProcess


class SupervisorError(Exception):
    """The server cannot start; ``str()`` of it says which lane cannot, and why."""


class Plan(msgspec.Struct, frozen=True):
    """What is run: the configuration's root file, the lanes, and what a child is told on its command line besides."""

    root: str
    general: tuple[str, ...]
    dedicated: tuple[str, ...] = ()
    #: lanes that there are no more, and whose spools are still there
    orphans: tuple[str, ...] = ()
    #: dedicated lanes that come by themselves
    standalone: frozenset[str] = frozenset()
    options: tuple[str, ...] = ()

    def adopted_by(self, lane: str) -> tuple[str, ...]:
        """The orphans whose mail this lane takes over."""
        return tuple(orphan for orphan in self.orphans if rendezvous(self.general, orphan) == lane)

    @property
    def started(self) -> tuple[str, ...]:
        """The lanes whose processes are started here."""
        return tuple(lane for lane in self.general + self.dedicated if lane not in self.standalone)


class Member:
    """The process of one lane, as far as it is known here."""

    __slots__ = (
        "bus",
        "fault",
        "has_begun",
        "lane",
        "left",
        "pid",
        "process",
        "reason",
        "recovered",
        "status",
    )

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.process: ChildProcess | None = None
        self.pid: int | None = None
        self.bus: Bus | None = None
        self.has_begun = False
        #: why it takes no mail
        self.fault: str | None = "not running"
        #: what it has said that keeps it from going on
        self.reason: str | None = None
        #: messages from before its start, once it knows
        self.recovered: int | None = None
        #: messages in its spool, once it has ended in order
        self.left: int | None = None
        self.status: Status | None = None

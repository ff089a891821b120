"""How the whole server is: every lane is asked, and those that do not answer are named."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter

import msgspec

import penstock
from penstock.ipc.scribe_words import ScribeCounts
from penstock.ipc.words import WorkerTellSnapshot, WorkerTellStatus
from penstock.mail.control import Listing
from penstock.mail.duration import ByteCount, Seconds, WallTime
from penstock.mail.status import (
    EventLogCounts,
    LaneStatus,
    MailCounts,
    ProcessNumbers,
    Rates,
    Snapshot,
    SpoolCounts,
    Status,
)
from penstock.supervisor.asking import ask_lanes
from penstock.supervisor.members import Member
from penstock.supervisor.merging import merge_snapshots, merge_statuses
from penstock.supervisor.scribe import SCRIBE, ScribeProcess
from penstock.supervisor.supervisor import Supervisor

LOG = logging.getLogger(__name__)


class Report:
    """Speaks for a supervisor's lanes."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._last: dict[str, Snapshot] = {}
        #: who writes the events
        self.scribe: ScribeProcess | None = None
        #: when an upgrade was last refused, and why
        self.upgrade_refused: tuple[WallTime, str] | None = None

    def fault(self) -> str | None:
        """Why the server takes no mail; None while it does."""
        return self._supervisor.fault()

    def refuse_upgrade(self, reason: str) -> None:
        """An upgrade comes to nothing: say so in the log, and to whoever asks."""
        LOG.error("not upgraded: %s", reason)
        self.upgrade_refused = (self._supervisor.clock.wall(), reason)

    async def status(self) -> Status:
        """The state now, within 2 s."""
        supervisor = self._supervisor
        parts, scribe = await asyncio.gather(
            ask_lanes(self._supervisor.members, WorkerTellStatus(), Status), self._ask_scribe()
        )
        for lane, part in parts.items():
            supervisor.members[lane].status = part
        merged = merge_statuses(parts) if parts else self._empty()
        listing = supervisor.desk.orders()
        return msgspec.structs.replace(
            merged,
            event_log=_events(merged.event_log, scribe),
            memory=ByteCount(merged.memory + (scribe.memory if scribe is not None else 0)),
            pid=os.getpid(),
            started=supervisor.started,
            now=supervisor.clock.wall(),
            epoch=supervisor.agreement.kept,
            fault=supervisor.fault(),
            lanes=tuple(self._lane(member, member.lane in parts) for member in supervisor.members.values()),
            homes=supervisor.homes.table,
            upgrade_refused=self.upgrade_refused,
            directives=len(listing.directives),
            sweeps=_under_way(listing),
            silent=tuple(lane for lane in supervisor.members if lane not in parts),
        )

    async def snapshot(self) -> Snapshot:
        """The numbers now, within 2 s. Those of a lane that is silent, or not there, are the last it has told: counters do not go back."""
        parts, scribe = await asyncio.gather(
            ask_lanes(self._supervisor.members, WorkerTellSnapshot(), Snapshot), self._ask_scribe()
        )
        self._last.update(parts)
        supervisor = self._supervisor
        epoch = supervisor.agreement.kept
        listing = supervisor.desk.orders()
        directives = Counter(item.action.value for item in listing.directives)
        if not self._last:
            events = _events(EventLogCounts(), scribe)
            return Snapshot(
                supervisor.started, epoch, MailCounts(), {}, events, SpoolCounts(), directives=directives
            )
        processes = {
            lane: ProcessNumbers(last.loop_lag, last.memory, last.epoch, lane not in parts)
            for lane, last in self._last.items()
        }
        merged = merge_snapshots(list(self._last.values()))
        memory = merged.memory
        if scribe is not None:
            processes[SCRIBE] = ProcessNumbers(scribe.loop_lag, scribe.memory, epoch)
            memory = ByteCount(memory + scribe.memory)
        return msgspec.structs.replace(
            merged,
            started=supervisor.started,
            epoch=epoch,
            event_log=_events(merged.event_log, scribe),
            memory=memory,
            processes=processes,
            directives=directives,
            sweeps=_under_way(listing),
        )

    async def _ask_scribe(self) -> ScribeCounts | None:
        return await self.scribe.counts() if self.scribe is not None else None

    def _empty(self) -> Status:
        supervisor = self._supervisor
        return Status(
            version=penstock.__version__,
            pid=os.getpid(),
            node=supervisor.configuration.node.hostname,
            started=supervisor.started,
            now=supervisor.clock.wall(),
            epoch=supervisor.agreement.kept,
            spool=SpoolCounts(durability=supervisor.configuration.spool.durability),
            mail=MailCounts(),
            rates=Rates(),
            event_log=EventLogCounts(),
        )

    def _lane(self, member: Member, has_answered: bool) -> LaneStatus:
        supervisor = self._supervisor
        child = supervisor.roster.children.get(member.lane)
        phase = (
            child.phase.value if child is not None else "ready" if member.bus is not None else "not running"
        )
        told = member.status
        is_silent = member.has_begun and member.bus is not None and not has_answered
        domains = next(
            (lane.domains for lane in supervisor.configuration.lanes if lane.name == member.lane), ()
        )
        known = LaneStatus(
            member.lane,
            "silent" if is_silent else phase,
            member.pid,
            child.starts if child is not None else 0,
            fault=member.reason or member.fault,
            domains=domains,
        )
        if told is None:
            return known
        syncs = sum(told.spool.syncs.counts)
        return msgspec.structs.replace(
            known,
            fault=known.fault or told.spool.fault or told.spool.refusing,
            epoch=told.epoch,
            messages=told.messages,
            rates=told.rates,
            sync=Seconds(told.spool.syncs.sum / syncs) if syncs else None,
            loop_lag=told.loop_lag,
            memory=told.memory,
            connections_in=told.connections_in,
            connections_out=told.connections_out,
        )


def _under_way(listing: Listing) -> int:
    return sum(state.finished is None for state in listing.sweeps)


def _events(lanes: EventLogCounts, scribe: ScribeCounts | None) -> EventLogCounts:
    """What the scribe has done; it is behind if any lane has stored more than it has events of on stable storage."""
    if scribe is None:
        return EventLogCounts(is_behind=True)
    is_behind = lanes.is_behind or scribe.event_log.is_behind
    return msgspec.structs.replace(scribe.event_log, is_behind=is_behind)

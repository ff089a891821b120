"""What a worker does because the supervisor says so: it is told who it is, prepares an epoch, begins with its commit, and drains.

The bus to the supervisor is the worker's life. When it ends, the process ends at once: whatever is stored is safe, and two workers of one lane
never meet. Only when the supervisor has said that it becomes another program, the worker goes on without it, until it is told to end by SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from penstock import policy
from penstock.config import load_whole
from penstock.config.refusal import refused
from penstock.ipc.broker_words import LaneTokensGrant, LaneTokensWait, LaneUnitsGrant
from penstock.ipc.bus import Bus, BusFault
from penstock.ipc.door_words import LaneDoorsTell
from penstock.ipc.order_words import (
    LaneDirectiveGive,
    LaneOrdersCancel,
    LaneOrdersNote,
    LaneOrdersUse,
    LaneSweepGive,
)
from penstock.ipc.words import (
    BUS,
    SupervisorEnded,
    SupervisorEnding,
    SupervisorFailed,
    SupervisorFoundHome,
    SupervisorJoin,
    SupervisorReady,
    SupervisorTick,
    WorkerAssign,
    WorkerCommitEpoch,
    WorkerDrain,
    WorkerOutlive,
    WorkerPreparedEpoch,
    WorkerPrepareEpoch,
    WorkerTellSnapshot,
    WorkerTellStatus,
    WorkerUseTable,
)
from penstock.mail.configuration import Configuration
from penstock.mail.duration import Seconds, to_next_second
from penstock.mail.lanes import Assignment
from penstock.mail.ports import Clock, SpoolError
from penstock.mail.problem import ConfigError
from penstock.mail.status import Snapshot, Status
from penstock.routing.placement import Placement
from penstock.spool.files import FileError
from penstock.spool.places import is_in_use, spool_of
from penstock.worker.inquiries import Inquiries
from penstock.worker.orders import LaneOrders
from penstock.worker.quotas import Quotas
from penstock.worker.worker import Worker

LOG = logging.getLogger(__name__)

#: How long a spool may be in the hands of a worker before us, which is being ended.
_SPOOL_PATIENCE: Final = 10.0
_POLL: Final = 0.02
_PARTING: Final = 5.0
#: What is under way has so long if somebody other than the supervisor ends the worker.
OWN_GRACE: Final = Seconds(30.0)


class _Epoch(msgspec.Struct):
    """An epoch that was read, and can be gone by."""

    configuration: Configuration
    policy: policy.Policy | None


class Duty:
    """The worker's end of the bus. ``die`` ends the process at once. Made on a running loop; ``bus.channel`` is to be connected."""

    def __init__(self, clock: Clock, descriptors: int, die: Callable[[str], None]) -> None:
        self._clock = clock
        self._descriptors = descriptors
        self._die = die
        self._loop = asyncio.get_running_loop()
        #: what it goes by from its first delivery on
        self._orders = LaneOrders(clock, lambda word: self.bus.tell(word))
        self.bus = Bus(
            BUS,
            {
                WorkerAssign: self._assign,
                WorkerPrepareEpoch: self._prepare,
                WorkerCommitEpoch: self._commit,
                WorkerDrain: self._drain,
                WorkerTellStatus: self._status,
                WorkerTellSnapshot: self._snapshot,
                WorkerOutlive: self._outlive,
                WorkerUseTable: self._use_table,
                LaneDoorsTell: lambda word: self._running().doors.hear(word),
                LaneOrdersUse: self._orders.use,
                LaneDirectiveGive: self._orders.give,
                LaneSweepGive: self._orders.give_sweep,
                LaneOrdersCancel: self._orders.cancel,
                LaneOrdersNote: lambda word: self._running().spool.note(word.record),
                **Inquiries(self._running).handlers(),
                **dict.fromkeys((LaneTokensGrant, LaneTokensWait, LaneUnitsGrant), self._hear_broker),
            },
            self._bus_ended,
        )
        self._assigned: WorkerAssign | None = None
        self._prepared: _Epoch | None = None
        self._worker: Worker | None = None
        self._quotas: Quotas | None = None
        self._grace = OWN_GRACE
        self._failure: str | None = None
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_parting = False
        self._parted = asyncio.Event()
        self._outlives = False
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what it is told

    def _assign(self, word: WorkerAssign) -> None:
        self._assigned = word
        for descriptor in word.unused:
            os.close(descriptor)
        self._keep(self._ticking(), "ticks")

    async def _prepare(self, word: WorkerPrepareEpoch) -> WorkerPreparedEpoch:
        assigned = self._assigned
        if assigned is None:
            raise BusFault("it is not known yet which lane this is")
        try:
            self._prepared = await asyncio.to_thread(_read, assigned.config, word)
        except ConfigError as error:
            return WorkerPreparedEpoch(error.problems)
        return WorkerPreparedEpoch()

    async def _commit(self, word: WorkerCommitEpoch) -> None:
        prepared = self._prepared
        if prepared is None or prepared.configuration.epoch != word.number:
            raise BusFault(f"epoch {word.number} was not prepared")
        if self._worker is not None:
            await self._worker.reconfigure(prepared.configuration, prepared.policy)
            return
        try:
            await self._begin(prepared)
        except (FileError, SpoolError, OSError) as error:
            self._fail(str(error))
            raise BusFault(str(error)) from error

    async def _begin(self, epoch: _Epoch) -> None:
        assert self._assigned is not None  # noqa: S101  # see _prepare
        assignment = self._assigned.assignment
        root = spool_of(epoch.configuration.node.data_dir, assignment.lane)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SPOOL_PATIENCE):
                while is_in_use(root):  # noqa: ASYNC110  # flock(2) tells nobody
                    await asyncio.sleep(_POLL)
        sockets = [[socket.socket(fileno=each) for each in group] for group in self._assigned.listeners]
        worker = Worker(
            epoch.configuration,
            sockets,
            self._clock,
            self._descriptors,
            epoch.policy,
            assignment.lane,
            _placement(epoch.configuration, assignment),
            lambda site, lane: self.bus.tell(SupervisorFoundHome(site, lane)),
            assignment.orphans,
            self.bus.tell,
        )
        self._quotas = worker.quotas
        self._orders.begin(worker.lane.scheduler, worker.lane.work_done)
        await worker.start()
        self._worker = worker
        self._keep(self._watch_recovery(worker), "recovery")
        self._keep(self._watch_failure(worker), "failure")

    def _hear_broker(self, word: LaneTokensGrant | LaneTokensWait | LaneUnitsGrant) -> None:
        if self._quotas is not None:
            self._quotas.handlers()[type(word)](word)

    def _drain(self, word: WorkerDrain) -> None:
        if self._ending.is_set():
            self._hurry.set()
        self._grace = word.grace
        self._ending.set()

    def _use_table(self, word: WorkerUseTable) -> None:
        if self._assigned is None:
            raise BusFault("it is not known yet which lane this is")
        assignment = msgspec.structs.replace(self._assigned.assignment, table=word.table)
        self._assigned = msgspec.structs.replace(self._assigned, assignment=assignment)
        if self._worker is not None:
            self._worker.crossing.use(_placement(self._worker.configuration, assignment))

    async def _status(self, _: WorkerTellStatus) -> Status:
        return await self._running().status()

    async def _snapshot(self, _: WorkerTellSnapshot) -> Snapshot:
        return await self._running().snapshot()

    def _running(self) -> Worker:
        if self._worker is None:
            raise BusFault("it has not begun yet")
        return self._worker

    # -- what it says by itself

    def end(self) -> None:
        """Drain, told by somebody who is not the supervisor; the second time, at once."""
        if self._ending.is_set():
            self._hurry.set()
            return
        self.bus.tell(SupervisorEnding(self._grace))
        self._ending.set()

    async def run(self) -> int:
        """Until the worker is to end, and has; the exit code."""
        await self._ending.wait()
        worker = self._worker
        left = None
        if worker is not None:
            left = await self._stop(worker)
            if worker.spool.counts.is_recovering:
                left = None
        for task in self._tasks:
            task.cancel()
        self._is_parting = True
        if self._failure is not None:
            self.bus.tell(SupervisorFailed(self._failure))
        else:
            self.bus.tell(SupervisorEnded(left))
        if self.bus.is_open:
            self.bus.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PARTING):
                    await self._parted.wait()
        return 1 if self._failure is not None else 0

    async def _stop(self, worker: Worker) -> int:
        grace = 0.0 if self._failure is not None else self._grace
        stopping = asyncio.create_task(worker.stop(grace), name="stop")
        hurried = asyncio.create_task(self._hurry.wait(), name="hurry")
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not stopping.done():
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping
            return await worker.stop(0.0)
        return await stopping

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._ending.set()

    def _keep(self, work: asyncio._CoroutineLike[None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ticking(self) -> None:
        while True:
            self.bus.tell(SupervisorTick(self._worker.fault() if self._worker is not None else "starting"))
            await asyncio.sleep(to_next_second(self._clock.monotonic()))

    async def _watch_recovery(self, worker: Worker) -> None:
        await worker.recovered.wait()
        self.bus.tell(SupervisorReady(worker.recovered_messages))

    async def _watch_failure(self, worker: Worker) -> None:
        await worker.failed.wait()
        self._fail(worker.fault() or "internal error")

    # -- the bus

    def _outlive(self, _: WorkerOutlive) -> None:
        self._outlives = True

    def _bus_ended(self, reason: str | None) -> None:
        self._parted.set()
        if self._quotas is not None:
            self._quotas.disconnected()
        if not self._is_parting and not self._outlives:
            self._die(reason or "the supervisor is gone")

    async def join(self, lane: str) -> None:
        """Say which lane has come by itself. BusFault if it is not wanted; BusEnded, TimeoutError."""
        await self.bus.ask(SupervisorJoin(lane, os.getpid()), _PARTING)


def _placement(configuration: Configuration, assignment: Assignment) -> Placement:
    """Where all paths live, as the configuration and the supervisor's table have it."""
    pins = {domain: lane.name for lane in configuration.lanes for domain in lane.domains}
    return Placement(assignment.general, assignment.dedicated, pins, assignment.table)


def _read(root: str, word: WorkerPrepareEpoch) -> _Epoch:
    """An epoch from its octets alone; ConfigError."""

    def read(path: Path) -> bytes:
        octets = word.files.get(str(path))
        if octets is None:
            raise refused("is not part of the epoch")
        return octets

    configuration = load_whole(root, read=read).configuration
    name = configuration.node.policy
    loaded = None
    if name is not None:
        loaded = policy.load(name, named_by="node.policy", source=word.files.get(name))
    return _Epoch(msgspec.structs.replace(configuration, epoch=word.number), loaded)

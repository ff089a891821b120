"""Carries out what ``roster`` and ``agreement`` decide: processes, their buses, sockets, timers, and words to the log."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import msgspec

import penstock
from penstock.config import Loaded
from penstock.config.changes import unchangeable
from penstock.ipc.bus import Bus, BusEnded, BusFault, Handler
from penstock.ipc.channel import over
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
    WorkerUseTable,
)
from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.lanes import Assignment
from penstock.mail.ports import Clock
from penstock.mail.problem import ConfigError, Problem
from penstock.net.listening import portions
from penstock.supervisor import agreement as epochs
from penstock.supervisor import roster as children
from penstock.supervisor.agreement import Agreement
from penstock.supervisor.desk import Desk, count_messages
from penstock.supervisor.homes import SettledHomes
from penstock.supervisor.members import Member, Plan, SupervisorError
from penstock.supervisor.nursery import Born, Nursery
from penstock.supervisor.orders import Orders
from penstock.supervisor.process import ChildProcess
from penstock.supervisor.roster import Phase, Roster
from penstock.supervisor.sharing import Sharing
from penstock.supervisor.state import State, StateError, StoredEpoch

LOG = logging.getLogger(__name__)

#: A worker that has begun is asked this long; the machine that decides has given up before.
_ANSWER: Final = epochs.PATIENCE + 5.0
_STOPPING: Final = "shutting down"
#: Seconds that lanes which came by themselves have beyond their grace.
_PARTING: Final = 5.0


class Supervisor:
    """One server's processes. Made on a running loop.

    ``loaded`` is the configuration that ``epoch`` was made of; ``doors`` has for each SMTP listener and each of its addresses the sockets;
    ``read`` reads the configuration again, or raises ConfigError.
    """

    def __init__(
        self,
        plan: Plan,
        loaded: Loaded,
        epoch: StoredEpoch,
        state: State,
        doors: Sequence[Sequence[Sequence[socket.socket]]],
        clock: Clock,
        read: Callable[[], Loaded],
    ) -> None:
        self.plan = plan
        self.configuration = loaded.configuration
        self.clock = clock
        self.started = clock.wall()
        self.members = {lane: Member(lane) for lane in plan.general + plan.dedicated}
        self.roster = Roster(plan.started, clock.monotonic())
        self.agreement = Agreement(epoch.number)
        self._loop = asyncio.get_running_loop()
        self._state = state
        self._disk = ThreadPoolExecutor(1, "state")
        self._sharing = Sharing(state, self._disk, clock)
        ids = IdSource(secrets.randbits(42))
        self._orders = Orders(
            state, self._disk, clock, self.members, ids, partial(count_messages, self.members)
        )
        #: where people ask about queued mail
        self.desk = Desk(self.members, self._orders, clock, ids, lambda: self.configuration.queues.tenants)
        self._doors = [[list(group) for group in listener] for listener in doors]
        self._read = read
        self._files = {epoch.number: epoch.files}
        self._last_number = epoch.number
        self._fault: str | None = "starting"
        self._nursery = Nursery(plan.options)
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._over = asyncio.Event()
        #: lanes that came by themselves, and were there when the server was told to stop
        self._visiting: list[Member] = []
        self._visitor_left = asyncio.Event()
        self._change: asyncio.Future[tuple[Problem, ...]] | None = None
        self._changing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_told_recovery = False
        self.homes = SettledHomes(state, frozenset(plan.dedicated), self._aside, self._tell_table)

    # -- the life of the server

    async def start(self) -> None:
        """Start every lane; returns when all of them take mail, or deliver. ConfigError, SupervisorError if one of them cannot."""
        try:
            await self._sharing.open()
            await self._orders.open()
        except StateError as error:
            raise SupervisorError(str(error)) from error
        self._look()
        self._see_whether_all_have_begun()
        try:
            await self._begun
        except BaseException:
            await self.stop(Seconds(0.0))
            raise
        self._fault = None

    async def stop(self, grace: Seconds) -> int | None:
        """Take no more mail, let what is under way end within ``grace`` seconds; how many messages are in the spools, None if some have not
        been read to the end. Called again meanwhile, it shortens the grace.
        """
        if self._fault != _STOPPING:
            self._fault = _STOPPING
            visitors = [self.members[lane] for lane in self.plan.standalone]
            self._visiting = [member for member in visitors if member.bus is not None]
        self._nursery.close()
        for each in self._sockets():
            each.close()
        self._doors = []
        self._carry_out(self.roster.stop(self.clock.monotonic(), grace))
        for member in self._visiting:
            if member.bus is not None:
                member.bus.tell(WorkerDrain(grace))
        self._look()
        await self._over.wait()
        await self._visitors_end(grace)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self.homes.close()
        await self._sharing.close()
        await self._orders.close()
        self._disk.shutdown()
        left = [self.members[lane].left for lane in self.plan.started]
        left += [member.left for member in self._visiting]
        return None if None in left else sum(cast("list[int]", left))

    async def _visitors_end(self, grace: Seconds) -> None:
        """Wait until the lanes that came by themselves, which were told to drain with the others, have gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace + _PARTING):
                while any(member.bus is not None for member in self._visiting):
                    self._visitor_left.clear()
                    await self._visitor_left.wait()

    async def reload(self) -> tuple[Problem, ...]:
        """Go over to another epoch, of the files as they are now; what is wrong with it, and then nothing has changed."""
        async with self._changing:
            try:
                loaded = await asyncio.to_thread(self._read)
            except ConfigError as error:
                return error.problems
            if problems := unchangeable(self.configuration, loaded.configuration, self.plan.root):
                return tuple(problems)
            self._last_number += 1
            number = self._last_number
            self._files[number] = loaded.files
            self._change = self._loop.create_future()
            self._agree(self.agreement.propose(number, self.clock.monotonic()))
            refused = await self._change
            if not refused:
                self.configuration = msgspec.structs.replace(loaded.configuration, epoch=number)
            self._files = {self.agreement.kept: self._files[self.agreement.kept]}
            return refused

    def adopt(self, children: Mapping[str, int], grace: Seconds) -> None:
        """Before the start: these processes, by lane, are there and at work, of an earlier program; they are replaced, one after the other."""
        for lane, pid in children.items():
            if lane not in self.roster.children:
                # a lane that there is no more
                ChildProcess(pid, lambda how: None).terminate()
                continue
            member = self.members[lane]
            member.process = ChildProcess(pid, partial(self._ended, member))
            member.pid, member.fault, member.has_begun, member.recovered = pid, None, True, 0
            self._orders.unguided(lane)
            self.roster.adopted(lane, grace)

    async def leave(self) -> dict[str, int]:
        """Let go of the processes, for another program to adopt: they go on without a bus. Their ids by lane."""
        if self._timer is not None:
            self._timer.cancel()
        self._nursery.close()
        for member in self.members.values():
            if member.bus is not None and member.process is not None:
                member.bus.tell(WorkerOutlive())
                # nobody is told of its end: it is meant
                bus, member.bus = member.bus, None
                while bus.channel.backlog:  # noqa: ASYNC110  # the kernel takes it at once, or never
                    await asyncio.sleep(0.001)
        await self.homes.close()
        await self._orders.close()
        there = {lane: self.members[lane] for lane in self.plan.started}
        return {lane: member.pid for lane, member in there.items() if member.pid is not None}

    def join(self, bus: Bus, word: SupervisorJoin) -> Member:
        """A lane of a service of its own has come over this bus. BusFault if it is not wanted."""
        member = self.members.get(word.lane)
        if member is None or word.lane not in self.plan.standalone:
            raise BusFault(f"no [[lane]] with standalone = true is called {word.lane}")
        if member.bus is not None:
            raise BusFault(f"lane {word.lane} is process {member.pid} already")
        member.bus, member.pid, member.fault, member.reason = bus, word.pid, "starting", None
        LOG.info("lane %s: process %d has come", word.lane, word.pid)
        self._welcome(member, bus, tuple(() for _ in self._doors))
        return member

    @property
    def is_settled(self) -> bool:
        """Whether every process that is to be there is at work, and none is of an earlier program."""
        return self.roster.are_all_ready and not any(
            child.is_outdated for child in self.roster.children.values()
        )

    def replace(self, grace: Seconds) -> None:
        """Replace every process that was started here by a new one, one after the other."""
        self.roster.replace(grace)
        self._look()

    @property
    def epoch(self) -> tuple[int, Mapping[str, bytes]]:
        """The number and the files of the epoch in force."""
        kept = self.agreement.kept
        return kept, self._files[kept]

    def fault(self) -> str | None:
        """Why the server takes no mail; None while any lane does."""
        if self._fault is not None:
            return self._fault
        faults = [self.members[lane].fault for lane in self.plan.general]
        return None if None in faults else next(filter(None, faults), "no lane is there")

    def _sockets(self) -> Iterable[socket.socket]:
        return (each for listener in self._doors for group in listener for each in group)

    def _tell_table(self, table: dict[str, str]) -> None:
        for member in self.members.values():
            if member.bus is not None:
                member.bus.tell(WorkerUseTable(table))

    async def _aside(self, call: Callable[[], None]) -> None:
        await self._loop.run_in_executor(self._disk, call)

    # -- what is to be done, by the clock

    def _look(self) -> None:
        now = self.clock.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        self._carry_out(self.roster.due(now))
        self._agree(self.agreement.due(now))
        if self.roster.is_over:
            self._over.set()
            return
        if self.is_settled and not self.roster.is_stopping:
            self._nursery.prepare((each.fileno() for each in self._sockets()), now)
        self._timer = self._loop.call_later(max(0.0, self.roster.next_wake() - now), self._look)

    def _carry_out(self, effects: Iterable[children.Effect]) -> None:
        for effect in effects:
            member = self.members[effect.name]
            match effect:
                case children.Start():
                    self._start(member)
                case children.Drain(grace=grace):
                    if member.bus is not None and member.bus.is_open:
                        member.bus.tell(WorkerDrain(grace))
                    elif member.process is not None:
                        member.process.terminate()
                case children.Kill(reason=reason):
                    self._kill(member, reason)

    def _kill(self, member: Member, reason: str) -> None:
        if member.process is not None:
            LOG.error("lane %s: killed, for %s", member.lane, reason)
            member.process.kill()
        elif member.bus is not None:
            # a lane of its own service: it ends with its bus, and is started again by that
            LOG.error("lane %s: sent away, for %s", member.lane, reason)
            member.bus.channel.abort()

    # -- children

    def _start(self, member: Member) -> None:
        lane = member.lane
        member.fault, member.reason, member.recovered, member.left = "starting", None, None, None
        listeners = self._listeners(lane)
        try:
            born = self._nursery.take(
                (each for group in listeners for each in group), partial(self._ended, member)
            )
        except OSError as error:
            LOG.error("lane %s: cannot be started: %s", lane, error)
            self._loop.call_soon(self._gone, member)
            return
        member.process, member.pid = born.process, born.process.pid
        bus = member.bus = self._bus_of(member)
        self.keep(self._introduce(member, bus, born, listeners))

    def _listeners(self, lane: str) -> tuple[tuple[int, ...], ...]:
        """The descriptors that a lane has of each listener: general lanes share them, dedicated ones have none."""
        if lane not in self.plan.general:
            return tuple(() for _ in self._doors)
        place, count = self.plan.general.index(lane), len(self.plan.general)
        return tuple(
            tuple(each.fileno() for group in listener for each in portions(group, count)[place])
            for listener in self._doors
        )

    async def _introduce(
        self, member: Member, bus: Bus, born: Born, listeners: tuple[tuple[int, ...], ...]
    ) -> None:
        await over(born.bus, bus.channel)
        self._welcome(member, bus, listeners, born.unused)

    def _welcome(
        self, member: Member, bus: Bus, listeners: tuple[tuple[int, ...], ...], unused: tuple[int, ...] = ()
    ) -> None:
        """A lane's process is there: it is told who it is, and given the epoch in force."""
        plan, lane = self.plan, member.lane
        table = self.homes.table
        assignment = Assignment(lane, plan.general, plan.dedicated, table, plan.adopted_by(lane))
        self._sharing.join(lane, bus.tell)
        bus.tell(WorkerAssign(assignment, self.plan.root, listeners, unused))
        self._orders.join(lane, bus)
        self._agree(self.agreement.joined(member.lane, self.clock.monotonic()))

    def _bus_of(self, member: Member) -> Bus:
        """Our end of a bus to this lane's process, which was started here."""
        bus = Bus(BUS, self.handlers(lambda: member), lambda reason: self.bus_ended(member, bus, reason))
        return bus

    def handlers(self, whose: Callable[[], Member]) -> dict[type, Handler]:
        """What is done about the words of a lane's process; ``whose`` says which lane's, or raises BusFault."""
        return {
            SupervisorTick: lambda word: self._ticked(whose(), word),
            SupervisorReady: lambda word: self._ready(whose(), word),
            SupervisorEnding: lambda word: self._ending(whose(), word),
            SupervisorEnded: lambda word: setattr(whose(), "left", word.left),
            SupervisorFailed: lambda word: self._failed(whose(), word.reason),
            SupervisorFoundHome: lambda word: self.homes.found(word.site, word.lane),
            **self._sharing.handlers(lambda: whose().lane),
            **self._orders.handlers(lambda: whose().lane),
        }

    def _ticked(self, member: Member, word: SupervisorTick) -> None:
        member.fault = word.fault
        if member.lane in self.roster.children:
            self.roster.heard(member.lane, self.clock.monotonic())

    def _ready(self, member: Member, word: SupervisorReady) -> None:
        member.recovered = word.recovered
        member.fault = None
        if member.lane in self.roster.children:
            self.roster.ready(member.lane, self.clock.monotonic())
            self._look()
        else:
            LOG.info("lane %s: process %s is ready", member.lane, member.pid)
        counts = [self.members[lane].recovered for lane in self.plan.started]
        if not self._has_told_recovery and None not in counts:
            self._has_told_recovery = True
            if len(counts) > 1:
                total = sum(cast("list[int]", counts))
                LOG.info("recovered: %d messages from before the start are queued", total)

    def _ending(self, member: Member, word: SupervisorEnding) -> None:
        LOG.info("lane %s: ends, for a signal has told it to", member.lane)
        if member.lane in self.roster.children:
            self.roster.ends(member.lane, self.clock.monotonic(), word.grace)

    def _failed(self, member: Member, reason: str) -> None:
        member.reason = reason
        if not self._begun.done():
            self._begun.set_exception(SupervisorError(self._told(member, reason)))

    def _told(self, member: Member, reason: str) -> str:
        return reason if len(self.members) == 1 else f"lane {member.lane}: {reason}"

    def bus_ended(self, member: Member, bus: Bus, reason: str | None) -> None:
        """There is nobody at the other end any more."""
        if member.bus is not bus:
            return
        member.bus = None
        self._sharing.leave(member.lane)
        self._orders.bus_ended(member.lane)
        if reason is not None:
            LOG.error("lane %s: its bus broke: %s", member.lane, reason)
        if member.process is None:
            self._gone(member)
            self._visitor_left.set()
        elif self.roster.children[member.lane].phase is not Phase.ENDING and member.reason is None:
            # it would end by itself; this is for one that cannot
            member.process.kill()

    def _ended(self, member: Member, how: str) -> None:
        is_expected = self.roster.children[member.lane].phase is Phase.ENDING
        if not is_expected or member.reason is not None:
            LOG.error("lane %s: process %s has ended: %s", member.lane, member.pid, member.reason or how)
        # what it has said last may still be on its way
        self._loop.call_soon(self._gone, member)

    def _gone(self, member: Member) -> None:
        if member.bus is not None:
            bus, member.bus = member.bus, None
            bus.channel.abort()
            self._sharing.leave(member.lane)
        self._orders.left(member.lane)
        member.process = member.pid = None
        member.has_begun = False
        member.fault = "not running"
        self._agree(self.agreement.left(member.lane))
        if member.lane in self.roster.children:
            self.roster.ended(member.lane, self.clock.monotonic())
            self._look()

    # -- epochs

    def _agree(self, effects: Iterable[epochs.Effect]) -> None:
        for effect in effects:
            match effect:
                case epochs.Prepare(worker=worker, number=number):
                    self.keep(self._prepare(self.members[worker], number))
                case epochs.Commit(worker=worker, number=number):
                    self.keep(self._commit(self.members[worker], number))
                case epochs.Keep(number=number):
                    self.keep(self._store(number))
                case epochs.Expel(worker=worker, reason=reason):
                    self._kill(self.members[worker], reason)
                case epochs.Committed():
                    self._settle(())
                case epochs.Refused(problems=problems):
                    self._settle(problems)

    def _settle(self, problems: tuple[Problem, ...]) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(problems)

    async def _prepare(self, member: Member, number: int) -> None:
        bus = member.bus
        if bus is None:
            return
        try:
            answer = await bus.ask(WorkerPrepareEpoch(number, self._files[number]), _ANSWER)
        except (BusEnded, TimeoutError):
            return
        except BusFault as fault:
            problems: tuple[Problem, ...] = (Problem(self.plan.root, "", str(fault), ""),)
        else:
            problems = answer.problems if isinstance(answer, WorkerPreparedEpoch) else ()
        if problems and not self._begun.done():
            self._begun.set_exception(ConfigError(problems))
        if member.bus is bus:
            self._agree(self.agreement.prepared(member.lane, number, problems))

    async def _commit(self, member: Member, number: int) -> None:
        bus = member.bus
        if bus is None:
            return
        self._orders.begins(member.lane)
        try:
            await bus.ask(WorkerCommitEpoch(number), _ANSWER)
        except (BusEnded, TimeoutError):
            return
        except BusFault as fault:
            self._failed(member, str(fault))
            self._kill(member, str(fault))
            return
        if member.bus is not bus:
            return
        if not member.has_begun:
            # it takes mail from now on, and says so itself with its next tick only
            member.has_begun, member.fault = True, None
            self._orders.begun(member.lane)
        self._agree(self.agreement.committed(member.lane, number, self.clock.monotonic()))
        self._see_whether_all_have_begun()

    def _see_whether_all_have_begun(self) -> None:
        if not self._begun.done() and all(self.members[lane].has_begun for lane in self.plan.started):
            self._begun.set_result(None)

    async def _store(self, number: int) -> None:
        epoch = StoredEpoch(number, self._files[number])
        try:
            await self._aside(lambda: self._state.keep_epoch(epoch, self.clock.wall(), penstock.__version__))
        except StateError as error:
            self._agree(self.agreement.not_kept(Problem(str(self._state.path), "", str(error), "")))
        else:
            self._agree(self.agreement.kept_it(self.clock.monotonic()))

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Let this be done; it is cancelled at the end."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

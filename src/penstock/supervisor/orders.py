"""The shell of ``order_book``: orders are kept on the disk, then told to all lanes, then answered.

An answer waits until every lane that may start mail goes by what was given, PATIENCE at most; those that are late are named in it. What a lane is
to write into its log about a directive waits until there is a lane that has begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from penstock.ipc.bus import BusEnded, BusFault
from penstock.ipc.order_words import (
    LaneDirectiveGive,
    LaneOrdersCancel,
    LaneOrdersNote,
    LaneOrdersUse,
    LaneSweepGive,
    SupervisorSweepsTell,
)
from penstock.mail.control import ControlMissing, Given, Listing, SweepState
from penstock.mail.directive import Action, Directive, Sweep
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock
from penstock.mail.records import DirectiveChange, DirectiveRecord
from penstock.supervisor.asking import PATIENCE
from penstock.supervisor.broker import Timer
from penstock.supervisor.order_book import OrderBook, kept
from penstock.supervisor.order_state import OrderState
from penstock.supervisor.state import State, StateError

LOG = logging.getLogger(__name__)

#: Seconds within which what lanes tell of sweeps is written together.
_WRITING_DELAY: Final = 1.0
#: Notes that wait for a lane; of more, the oldest go.
_NOTES_LIMIT: Final = 1000
#: Timers are set anew at least so often: ``call_later`` has a limit far below a century.
_LONGEST_SLEEP: Final = 86400.0

CallLater = Callable[[float, Callable[[], None]], Timer]
Count = Callable[[Directive], Awaitable[int]]


class LaneBus(Protocol):
    """What is used of a bus to a lane."""

    async def ask(self, request: msgspec.Struct, timeout: float) -> msgspec.Struct:
        """As of ``Bus``."""

    def tell(self, note: msgspec.Struct) -> None:
        """As of ``Bus``."""


class Orders:
    """See the module. ``disk`` is the one thread that uses ``state``. Made on a running loop; lanes may join when it is open.

    ``count`` says how many queued messages a directive is about.
    """

    def __init__(
        self,
        state: State,
        disk: Executor,
        clock: Clock,
        lanes: Iterable[str],
        ids: IdSource,
        count: Count,
        call_later: CallLater | None = None,
    ) -> None:
        self._state = OrderState(state.connection)
        self._disk = disk
        self._clock = clock
        self._ids = ids
        self._count = count
        self._lanes = tuple(lanes)
        self._loop = asyncio.get_running_loop()
        self._call_later: CallLater = call_later or self._loop.call_later
        self.book = OrderBook(self._lanes)
        self._unguided: set[str] = set()
        self._buses: dict[str, LaneBus] = {}
        #: lanes that can write a note
        self._begun: dict[str, None] = {}
        #: what became of directives, to be written down; of those that are named the messages are still to be counted
        self._changes: deque[tuple[Directive | None, DirectiveRecord]] = deque()
        self._counting: asyncio.Task[None] | None = None
        self._notes: deque[DirectiveRecord] = deque()
        self._changing = asyncio.Lock()
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        #: sweeps whose progress is to be written
        self._stale: set[str] = set()
        self._writing: Timer | None = None

    async def open(self) -> None:
        """Read what was kept. StateError if that cannot be."""
        found = await self._aside(self._state.begin)
        self.book = OrderBook(self._lanes, found.directives, found.sweeps)
        for lane in self._unguided:
            self.book.unguided(lane)
        if found.directives or found.sweeps:
            LOG.info(
                "%d directives are in force, %d sweeps are kept", len(found.directives), len(found.sweeps)
            )
        self._wake()

    async def close(self) -> None:
        """Keep what is not kept yet, and end."""
        for timer in (self._timer, self._writing):
            if timer is not None:
                timer.cancel()
        self._timer = self._writing = None
        async with self._changing:
            await self._write()
        for task in tuple(self._tasks):
            task.cancel()

    # -- what people do

    def listing(self) -> Listing:
        """What there is."""
        return self.book.listing(self._clock.wall())

    async def give(self, directive: Directive | None, sweep: Sweep | None) -> Given:
        """Put a directive in force, with the sweep that it begins with, or begin a sweep. ControlRefused; StateError: nothing has changed."""
        # a bounce is counted before there is nothing left to count
        is_bounce = directive is not None and directive.action is Action.BOUNCE
        messages = await self._count(directive) if directive is not None and is_bounce else None
        async with self._changing:
            self.book.check(directive, sweep)
            same = self.book.directives.same(directive) if directive is not None else None
            replaced = same.id if same is not None else None
            state = SweepState(sweep, {}) if sweep is not None else None
            await self._aside(self._state.give, directive, state, replaced)
            self.book.give(directive, sweep)
            if replaced is not None and sweep is not None:
                self._tell(LaneOrdersCancel(sweeps=(replaced,)))
            if directive is not None:
                self._tell(LaneDirectiveGive(self._offset(), directive, sweep))
            elif sweep is not None:
                self._tell(LaneSweepGive(self._offset(), sweep))
            version = self.book.version
            self._look()
        if directive is not None:
            self._write_down(directive, DirectiveChange.GIVEN, directive.author, messages)
        identity = directive.id if directive is not None else sweep.order.id if sweep is not None else ""
        expires = directive.expires if directive is not None else None
        return Given(identity, expires, replaced, await self._settled(version))

    async def cancel(self, identity: str, author: str) -> Given:
        """Undo what has this id: its directive is no more, its sweep goes no further. ControlMissing; StateError: nothing has changed."""
        async with self._changing:
            if not self.book.has(identity):
                raise ControlMissing(
                    f"no directive in force, and no sweep that is not finished, has the id {identity[:64]}; see penstock directives"
                )
            await self._aside(self._state.remove, [identity])
            directive = self.book.cancel(identity)
            self._tell(LaneOrdersCancel((identity,), (identity,)))
            version = self.book.version
            self._look()
        if directive is not None:
            self._write_down(directive, DirectiveChange.CANCELLED, author)
        return Given(identity, silent=await self._settled(version))

    # -- lanes

    def handlers(self, lane: Callable[[], str]) -> Mapping[type, Callable[[Any], None]]:
        """What is done about the words of a lane's process; ``lane`` says which."""
        return {SupervisorSweepsTell: lambda word: self._progressed(lane(), word)}

    def join(self, lane: str, bus: LaneBus) -> None:
        """The process of a lane is there, and starts no mail yet: it is told all."""
        self._buses[lane] = bus
        self.book.joined(lane)
        bus.tell(LaneOrdersUse(self._offset(), *self.book.given()))

    def unguided(self, lane: str) -> None:
        """The process of a lane is there, and starts mail, and has no bus."""
        self._unguided.add(lane)
        self.book.unguided(lane)

    def begins(self, lane: str) -> None:
        """The process of a lane is told to begin, after all that it was told so far."""
        self.book.begins(lane)

    def begun(self, lane: str) -> None:
        """It has."""
        if lane in self._buses:
            self._begun[lane] = None
            self._tell_notes()

    def bus_ended(self, lane: str) -> None:
        """There is no bus to the process of a lane any more; it is about to end, and has not yet."""
        self._buses.pop(lane, None)
        self._begun.pop(lane, None)

    def left(self, lane: str) -> None:
        """The process of a lane is gone."""
        self.bus_ended(lane)
        self._unguided.discard(lane)
        self.book.left(lane)
        self._see()

    def _offset(self) -> float:
        return self._clock.wall() - self._clock.monotonic()

    def _tell(self, word: msgspec.Struct) -> None:
        """Tell all lanes that are there of a change that was just made."""
        version = self.book.version
        for lane, bus in self._buses.items():
            self._keep(self._ask(lane, bus, word, version))

    async def _ask(self, lane: str, bus: LaneBus, word: msgspec.Struct, version: int) -> None:
        try:
            await bus.ask(word, PATIENCE)
        except (BusEnded, TimeoutError):
            return
        except BusFault as fault:
            LOG.error("lane %s: %s was not done: %s", lane, type(word).__name__, fault)
            return
        if self._buses.get(lane) is bus:
            self.book.applied(lane, version)
            self._see()

    async def _settled(self, version: int) -> tuple[str, ...]:
        """Wait until all lanes go by this version; those that do not in time."""
        if self.book.lacking(version):
            settled: asyncio.Future[None] = self._loop.create_future()
            self._waiting[settled] = version
            timer = self._call_later(PATIENCE, partial(_settle, settled))
            try:
                await settled
            finally:
                timer.cancel()
                del self._waiting[settled]
        if late := self.book.lacking(version):
            LOG.warning("lane %s may not go by it yet", ", ".join(late))
        return late

    def _see(self) -> None:
        for settled, version in self._waiting.items():
            if not self.book.lacking(version):
                _settle(settled)

    # -- notes

    def _write_down(
        self, directive: Directive, change: DirectiveChange, author: str, messages: int | None = None
    ) -> None:
        """Have an event made; ``messages`` None: they are counted first."""
        what = directive.subject or str(directive.criteria)
        by = f" by {author}" if author else ""
        LOG.info("directive %s: %s %s: %s%s", directive.id, directive.action.value, what, change.value, by)
        if directive.suppress_logging:
            return
        if len(self._changes) + len(self._notes) >= _NOTES_LIMIT:
            LOG.warning(
                "directive %s: no event is made of this, for %d wait already", directive.id, _NOTES_LIMIT
            )
            return
        record = self._record(directive, change, author, messages or 0)
        self._changes.append((directive if messages is None else None, record))
        if self._counting is None:
            self._counting = self._keep(self._count_messages())

    def _record(
        self, directive: Directive, change: DirectiveChange, author: str, messages: int
    ) -> DirectiveRecord:
        now = self._clock.wall()
        return DirectiveRecord(
            self._ids.next(now),
            now,
            change,
            directive.id,
            directive.action,
            directive.subject or str(directive.criteria),
            directive.reason,
            author,
            directive.expires,
            messages,
            directive.criteria.tenant,
        )

    async def _count_messages(self) -> None:
        try:
            while self._changes:
                directive, record = self._changes[0]
                try:
                    if directive is not None:
                        record = msgspec.structs.replace(record, messages=await self._count(directive))
                finally:
                    self._changes.popleft()
                    self._notes.append(record)
                    self._tell_notes()
        finally:
            self._counting = None

    def _tell_notes(self) -> None:
        for lane in self._begun:
            while self._notes:
                self._buses[lane].tell(LaneOrdersNote(self._notes.popleft()))
            return

    # -- sweeps

    def _progressed(self, lane: str, word: SupervisorSweepsTell) -> None:
        if lane not in self._buses:
            return
        for identity in self.book.progressed(lane, word.progress, self._clock.wall()):
            state = self.book.sweep(identity)
            assert state is not None  # noqa: S101  # it has just been finished
            LOG.info("sweep %s: finished, %d messages", identity, state.done)
            # at once: a lane that comes next is not given what is over
            self._wake()
        self._stale |= word.progress.keys()
        if self._writing is None:
            self._writing = self._call_later(_WRITING_DELAY, self._write_soon)

    def _write_soon(self) -> None:
        self._writing = None
        self._keep(self._write_locked())

    async def _write_locked(self) -> None:
        async with self._changing:
            await self._write()

    async def _write(self) -> None:
        stale, self._stale = self._stale, set()
        states = [kept(state) for identity in stale if (state := self.book.sweep(identity)) is not None]
        if not states:
            return
        try:
            await self._aside(self._state.keep_progress, states)
        except StateError as error:
            LOG.error("how far sweeps are is not kept: %s", error)

    # -- time

    def _look(self) -> None:
        """Have the timer go off when something is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake = self.book.next_wake()
        if wake is not None:
            delay = min(max(0.0, wake - self._clock.wall()), _LONGEST_SLEEP)
            self._timer = self._call_later(delay, self._wake)

    def _wake(self) -> None:
        over, again, ended, forgotten = self.book.expire(self._clock.wall())
        for sweep in again:
            self._tell(LaneSweepGive(self._offset(), sweep))
        if ended:
            self._tell(LaneOrdersCancel(sweeps=tuple(ended)))
        for directive in over:
            self._write_down(directive, DirectiveChange.EXPIRED, "")
        if over or forgotten:
            self._keep(self._forget([directive.id for directive in over], forgotten))
        self._look()

    async def _forget(self, directives: list[str], sweeps: list[str]) -> None:
        async with self._changing:
            try:
                await self._aside(self._state.remove_directives, directives)
                await self._aside(self._state.remove, sweeps)
            except StateError as error:
                # they are over by their time, and go with the next start
                LOG.error("directives that are over are not forgotten: %s", error)

    # -- threads and tasks

    async def _aside(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await self._loop.run_in_executor(self._disk, partial(call, *arguments))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name="orders")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            LOG.error("what was to be done about orders failed", exc_info=fault)


def _settle(settled: asyncio.Future[None]) -> None:
    if not settled.done():
        settled.set_result(None)

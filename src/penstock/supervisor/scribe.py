"""The scribe's process: started before the lanes, ended after them, and started again whenever it dies.

It takes no part in the agreement about epochs: what events name is what the lanes tell. A new scribe gets the epoch in force.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from penstock.ipc.bus import Bus, BusEnded, BusFault
from penstock.ipc.channel import over
from penstock.ipc.scribe_words import (
    SCRIBE_BUS,
    ScribeBegin,
    ScribeCounts,
    ScribeDrain,
    ScribeServerFault,
    ScribeTellCounts,
    SupervisorScribeFailed,
    SupervisorScribeTick,
    SupervisorTellNumbers,
)
from penstock.mail.duration import Seconds
from penstock.mail.ports import Clock
from penstock.mail.status import Snapshot
from penstock.supervisor.members import SupervisorError
from penstock.supervisor.process import CHILD, ChildProcess
from penstock.supervisor.roster import Drain, Effect, Kill, Phase, Roster, Start

LOG = logging.getLogger(__name__)

#: What it is called in the roster, and in metrics; no lane can be.
SCRIBE: Final = "scribe"
#: A large event log without a checkpoint is looked through in the background: beginning takes no time but that of a slow disk.
_BEGINNING: Final = 30.0
_COUNTS: Final = 1.0


class ScribeProcess:
    """One server's scribe. Made on a running loop.

    ``epoch`` gives the number and the files of the epoch in force; ``listeners`` are the sockets of each HTTP listener. ``fault`` and
    ``numbers`` say how the server is. ``start`` once, ``stop`` once.
    """

    def __init__(
        self,
        options: Sequence[str],
        root: str,
        epoch: Callable[[], tuple[int, Mapping[str, bytes]]],
        listeners: Sequence[Sequence[socket.socket]],
        clock: Clock,
        fault: Callable[[], str | None],
        numbers: Callable[[], Awaitable[Snapshot]],
    ) -> None:
        self._options = options
        self._root = root
        self._epoch = epoch
        self._listeners = [list(group) for group in listeners]
        self._clock = clock
        self._fault = fault
        self._numbers = numbers
        self._loop = asyncio.get_running_loop()
        self._roster = Roster([SCRIBE], clock.monotonic())
        self._process: ChildProcess | None = None
        self._bus: Bus | None = None
        self._reason: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: ScribeCounts | None = None

    @property
    def pid(self) -> int | None:
        """Its process, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def starts(self) -> int:
        """How often it was started."""
        return self._roster.children[SCRIBE].starts

    async def start(self) -> None:
        """Start it; returns when it takes events. SupervisorError if it cannot."""
        self._look()
        try:
            await self._begun
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let it write down what it was told, and end. Who connects to its listeners then waits."""
        self._carry_out(self._roster.stop(self._clock.monotonic(), Seconds(0.0)))
        self._look()
        await self._over.wait()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def tell_fault(self) -> None:
        """Let it know now how the server is, which it is told within a second besides."""
        if self._bus is not None:
            with suppress(BusEnded, BusFault, TimeoutError):
                await self._bus.ask(ScribeServerFault(self._fault()), _COUNTS)

    async def counts(self) -> ScribeCounts | None:
        """How it is; what it said last, if it does not answer; None if it never has."""
        if self._bus is not None:
            with suppress(BusEnded, BusFault, TimeoutError):
                answer = await self._bus.ask(ScribeTellCounts(), _COUNTS)
                if isinstance(answer, ScribeCounts):
                    self._last = answer
        return self._last

    # -- what is to be done, by the clock

    def _look(self) -> None:
        now = self._clock.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        self._carry_out(self._roster.due(now))
        if self._roster.is_over:
            self._over.set()
            return
        self._tell_fault()
        self._timer = self._loop.call_later(max(0.0, self._roster.next_wake() - now), self._look)

    def _tell_fault(self) -> None:
        """Let the scribe know how the server is. It takes our silence for our absence, so it is told when nothing has changed too."""
        if self._bus is not None and self._bus.is_open:
            self._bus.tell(ScribeServerFault(self._fault()))

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    self._start()
                case Drain():
                    if self._bus is not None and self._bus.is_open:
                        self._bus.tell(ScribeDrain())
                    elif self._process is not None:
                        self._process.kill()
                case Kill(reason=reason):
                    LOG.error("scribe: killed, for %s", reason)
                    if self._process is not None:
                        self._process.kill()

    # -- the process

    def _start(self) -> None:
        self._reason = None
        ours, theirs = socket.socketpair()
        listeners = tuple(tuple(each.fileno() for each in group) for group in self._listeners)
        try:
            passed = [theirs.fileno(), *(each for group in listeners for each in group)]
            command = [*CHILD, "scribe", *self._options, "--fd", str(theirs.fileno())]
            self._process = ChildProcess.start(command, passed, self._ended)
        except OSError as error:
            ours.close()
            LOG.error("scribe: cannot be started: %s", error)
            self._loop.call_soon(self._gone)
            return
        finally:
            theirs.close()
        bus = self._bus = Bus(
            SCRIBE_BUS,
            {
                SupervisorScribeTick: self._ticked,
                SupervisorScribeFailed: self._failed,
                SupervisorTellNumbers: self._tell_numbers,
            },
            lambda reason: self._bus_ended(bus, reason),
        )
        self._keep(self._introduce(bus, ours, listeners))

    async def _introduce(self, bus: Bus, ours: socket.socket, listeners: tuple[tuple[int, ...], ...]) -> None:
        number, files = self._epoch()
        await over(ours, bus.channel)
        try:
            await bus.ask(ScribeBegin(number, self._root, files, listeners), _BEGINNING)
        except BusEnded:
            return  # it is told how the process has ended
        except (BusFault, TimeoutError) as error:
            self._failed(SupervisorScribeFailed(str(error) or "it does not begin"))
            bus.channel.abort()
            return
        self._roster.ready(SCRIBE, self._clock.monotonic())
        self._tell_fault()
        if not self._begun.done():
            self._begun.set_result(None)

    def _ticked(self, _: SupervisorScribeTick) -> None:
        self._roster.heard(SCRIBE, self._clock.monotonic())

    async def _tell_numbers(self, _: SupervisorTellNumbers) -> Snapshot:
        return await self._numbers()

    def _failed(self, word: SupervisorScribeFailed) -> None:
        if self._reason is None:
            self._reason = word.reason
            LOG.error("scribe: %s", word.reason)
        if not self._begun.done():
            self._begun.set_exception(SupervisorError(word.reason))

    def _bus_ended(self, bus: Bus, reason: str | None) -> None:
        if self._bus is not bus:
            return
        self._bus = None
        if reason is not None:
            LOG.error("scribe: its bus broke: %s", reason)
        if self._process is not None and self._roster.children[SCRIBE].phase is not Phase.ENDING:
            # it would end by itself; this is for one that cannot
            self._process.kill()

    def _ended(self, how: str) -> None:
        if self._roster.children[SCRIBE].phase is not Phase.ENDING and self._reason is None:
            LOG.error("scribe: process %s has ended: %s", self.pid, how)
        self._process = None
        # what it has said last may still be on its way
        self._loop.call_soon(self._gone)

    def _gone(self) -> None:
        if self._bus is not None:
            bus, self._bus = self._bus, None
            bus.channel.abort()
        self._roster.ended(SCRIBE, self._clock.monotonic())
        self._look()

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

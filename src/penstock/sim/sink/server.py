"""The sink as a server: its listening sockets, its sweep of idle sessions, its beginning and its end."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from penstock.mail.configuration import Endpoint
from penstock.mail.duration import Seconds
from penstock.sim.clock import LoopClock, TimedClock, Timer
from penstock.sim.draw import seeded_draw
from penstock.sim.sink.judge import Judge
from penstock.sim.sink.message import SinkMessage
from penstock.sim.sink.options import SinkOptions
from penstock.sim.sink.record import Recorder
from penstock.sim.sink.script import Script
from penstock.sim.sink.session import SinkSession
from penstock.sim.sink.state import SinkState
from penstock.sim.sink.statistics import SinkReport

_BACKLOG = 4096
_LOOPBACK = Endpoint("127.0.0.1", 0)


class Sink:
    """An SMTP server that takes mail and does with it what its script says.

    ``on_message`` is called with every message whose mail data came to its end, before it is answered (``reply`` says how it will be);
    it must not raise.
    ``record``, ``dump`` and ``sync`` are those of ``Recorder``. ``start`` and ``stop`` are called once each, in one event loop.
    """

    def __init__(
        self,
        options: SinkOptions | None = None,
        *,
        script: Script | None = None,
        on_message: Callable[[SinkMessage], None] | None = None,
        record: Path | None = None,
        dump: Path | None = None,
        sync: bool = False,
        clock: TimedClock | None = None,
    ) -> None:
        script = script or Script()
        self.seed = random.getrandbits(32) if script.seed is None else script.seed
        self._clock = clock or LoopClock()
        keeps = record is not None or dump is not None
        self._recorder = Recorder(record, dump, sync=sync) if keeps else None
        self._full = asyncio.Event()
        self._state = SinkState(
            options or SinkOptions(),
            Judge(script, seeded_draw(self.seed)),
            self._clock,
            self._recorder,
            on_message,
            self._full.set,
        )
        self._servers: list[asyncio.Server] = []
        self._sweep: Timer | None = None

    async def start(self, listen: Sequence[Endpoint] = (_LOOPBACK,)) -> list[Endpoint]:
        """Listen on each of ``listen`` and return where that is: port 0 has become a real one. OSError if one cannot be had; none is then."""
        loop = asyncio.get_running_loop()
        endpoints = []
        try:
            for wanted in listen:
                listener = _bind(wanted)
                self._servers.append(
                    await loop.create_server(
                        lambda: SinkSession(self._state), sock=listener, backlog=_BACKLOG
                    )
                )
                address, port = listener.getsockname()[:2]
                endpoints.append(Endpoint(address, port))
        except OSError:
            await self.stop()
            raise
        self._schedule_sweep()
        return endpoints

    async def stop(self) -> None:
        """Stop listening, end every session (messages being written down are answered first) and close the files."""
        self._state.stopping = True
        if self._sweep is not None:
            self._sweep.cancel()
        for server in self._servers:
            server.close()
        if self._recorder is not None:
            await self._recorder.settle()
        for session in list(self._state.sessions):
            session.transport.close()
        # Closed transports tell their sessions in the next round of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
        for session in list(self._state.sessions):
            session.transport.abort()
        if self._recorder is not None:
            await self._recorder.close()

    async def wait_full(self) -> None:
        """Return once ``SinkOptions.count`` messages have been accepted; never if that is 0."""
        await self._full.wait()

    @property
    def statistics(self) -> SinkReport:
        """What the sink has seen so far."""
        return self._state.statistics.report()

    @property
    def connections(self) -> int:
        """Sessions open at this moment."""
        return len(self._state.sessions)

    async def __aenter__(self) -> Sink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _schedule_sweep(self) -> None:
        timeout = self._state.options.idle_timeout
        self._sweep = self._clock.call_later(Seconds(max(timeout / 4, 0.05)), self._sweep_idle)

    def _sweep_idle(self) -> None:
        oldest = self._clock.monotonic() - self._state.options.idle_timeout
        for session in list(self._state.sessions):
            if session.last_heard <= oldest:
                session.end_for_idleness()
        self._schedule_sweep()


def _bind(wanted: Endpoint) -> socket.socket:
    """A bound socket that no other process shares: SO_REUSEADDR only, so that a port in use is an error."""
    family = socket.AF_INET6 if ":" in wanted.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind((wanted.address, wanted.port))
    except OSError:
        listener.close()
        raise
    return listener

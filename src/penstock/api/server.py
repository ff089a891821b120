"""Serves an application on sockets that are bound already, inside the event loop that runs.

uvicorn does it, without its own ways: no signal is captured, nothing is polled (its main loop wakes ten times a second; ours waits),
nothing is logged but errors, no header of a proxy is believed, and no request can outlast the limits of ``connection``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator, Sequence
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from penstock.api.connection import ConnectionLimits, bounded

_KEEP_ALIVE_SECONDS: Final = 5


class _Uvicorn(uvicorn.Server):
    """uvicorn's server as part of a program that has a main loop of its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()
        self.is_over = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve the sockets, then say so."""
        await super().startup(sockets)
        self.is_ready.set()

    async def main_loop(self) -> None:
        """Wait to be stopped."""
        await self.is_over.wait()

    def abort(self) -> None:
        """End every connection, whatever it was doing."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class HttpServer:
    """An application on some sockets. ``start`` once, ``stop`` once."""

    def __init__(
        self, app: ASGIApp, sockets: Sequence[socket.socket], limits: ConnectionLimits | None = None
    ) -> None:
        self._app = app
        self._sockets = list(sockets)
        self._limits = limits or ConnectionLimits()
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections) if self._server is not None else 0

    async def start(self) -> None:
        """Serve; returns when connections are accepted. The sockets belong to the server from now on. Raises what made it impossible."""
        config = uvicorn.Config(
            self._app,
            loop="none",
            http=bounded(self._limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        server = self._server = _Uvicorn(config)
        task = self._task = asyncio.create_task(server.serve(self._sockets), name="http server")
        ready = asyncio.create_task(server.is_ready.wait(), name="http server start")
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if task.done():
            await task

    async def stop(self, deadline: float) -> None:
        """Accept nothing more, let answers be finished for ``deadline`` seconds, then end what is left. The sockets are closed."""
        if self._server is None or self._task is None:
            return
        self._server.is_over.set()
        done, _ = await asyncio.wait({self._task}, timeout=deadline)
        if not done:
            self._server.abort()
            self._server.force_exit = True
        await self._task

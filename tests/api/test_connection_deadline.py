"""Deadlines of one HTTP connection, on a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from penstock.api.connection import BoundedConnection, ConnectionLimits, bounded
from penstock.mail.duration import Seconds
from penstock.sim.clock import FakeClock, Timer

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class ClockLoop:
    """What a connection asks of its loop: tasks of the real one, timers of the clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def create_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self._clock.call_later(Seconds(delay), callback)


class FakeTransport:
    """A transport to a client that has taken all but ``unread`` octets."""

    def __init__(self) -> None:
        self.unread = 0
        self.end = ""

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return bool(self.end)

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers at once."""
    begin: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    await send(begin)
    await send({"type": "http.response.body", "body": b"ok"})


class World:
    """A connection whose request has 10 seconds, and is kept idle for 5."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.transport = FakeTransport()
        config = uvicorn.Config(
            answer, loop="none", ws="none", lifespan="off", log_config=None, interface="asgi3"
        )
        self.connection: BoundedConnection = bounded(ConnectionLimits(deadline=10.0))(
            config, ServerState(), {}, cast("asyncio.AbstractEventLoop", ClockLoop(self.clock))
        )
        self.connection.connection_made(cast("asyncio.Transport", self.transport))

    async def request(self) -> None:
        """A whole request, answered."""
        self.connection.data_received(REQUEST)
        await asyncio.gather(*self.connection.tasks)

    def end_after(self, seconds: float) -> str:
        """How the connection ended, if it did."""
        self.clock.advance(Seconds(seconds))
        return self.transport.end


def test_silent_client_is_ended_at_the_deadline() -> None:
    """From the moment it connects, and whatever little it sends."""

    async def run() -> None:
        world = World()
        assert world.end_after(9.9) == ""
        world.connection.data_received(b"GET")
        assert world.end_after(0.1) == "aborted"

    asyncio.run(run())


def test_idle_connection_is_closed_in_peace() -> None:
    """After an answer, uvicorn's own limit holds."""

    async def run() -> None:
        world = World()
        await world.request()
        assert world.end_after(4.9) == ""
        assert world.end_after(0.1) == "closed"

    asyncio.run(run())


def test_each_request_has_its_own_deadline() -> None:
    """A connection may live long if it is used."""

    async def run() -> None:
        world = World()
        for _ in range(5):
            await world.request()
            assert world.end_after(4.0) == ""
        world.connection.data_received(REQUEST[:5])
        assert world.end_after(9.9) == ""
        assert world.end_after(0.1) == "aborted"

    asyncio.run(run())


def test_client_that_does_not_read_its_answer_is_ended() -> None:
    """Closing would wait for it for ever: the deadline ends it."""

    async def run() -> None:
        world = World()
        world.transport.unread = 100_000
        await world.request()
        assert world.end_after(5.0) == "closed"
        assert world.end_after(5.0) == "aborted"

    asyncio.run(run())


def test_lost_connection_leaves_no_timer() -> None:
    """Nothing happens to what is gone."""

    async def run() -> None:
        world = World()
        world.connection.connection_lost(None)
        assert world.clock.next_timer() is None

    asyncio.run(run())

"""The process in reserve: the next lane that needs one has it, with what it needs."""

from __future__ import annotations

import asyncio
import socket
import sys

from penstock.mail.duration import MonotonicTime
from penstock.supervisor.nursery import Nursery

NOW = MonotonicTime(1000.0)
#: A child that says so when it is there, and waits to be told to end.
CHILD = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import socket, sys; bus = socket.socket(fileno=int(sys.argv[-1])); bus.send(b'here'); bus.recv(1)",
)


def test_the_reserve_is_taken_by_whoever_needs_a_process_and_others_are_started() -> None:
    """It is told which of the sockets that it has are not its own; its end is told to its taker; a dead reserve is not taken."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        nursery = Nursery((), CHILD)
        with socket.socket() as one, socket.socket() as other:
            nursery.prepare([one.fileno(), other.fileno()], NOW)
            nursery.prepare([one.fileno(), other.fileno()], NOW)
            ends: list[asyncio.Future[str]] = [loop.create_future() for _ in range(2)]
            first = nursery.take([one.fileno()], ends[0].set_result)
            assert first.unused == (other.fileno(),)
            second = nursery.take([other.fileno()], ends[1].set_result)
            assert (second.unused, second.process.pid != first.process.pid) == ((), True)
            for born, end in zip((first, second), ends, strict=True):
                born.bus.setblocking(False)
                assert await loop.sock_recv(born.bus, 4) == b"here"
                born.bus.close()
                assert await end == "exit code 0"

    asyncio.run(scenario())


def test_a_reserve_that_ends_by_itself_is_not_started_over_and_over() -> None:
    """The next one comes half a minute after it had begun."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        nursery = Nursery((), (sys.executable, "-I", "-S", "-c", "pass"))
        nursery.prepare([], NOW)
        while nursery.has_reserve:  # noqa: ASYNC110  # the end of a process is told to the nursery alone
            await asyncio.sleep(0.0)
        nursery.prepare([], MonotonicTime(NOW + 29.0))
        assert not nursery.has_reserve
        nursery.prepare([], MonotonicTime(NOW + 31.0))
        assert nursery.has_reserve
        while nursery.has_reserve:  # noqa: ASYNC110  # the end of a process is told to the nursery alone
            await asyncio.sleep(0.0)
        end = loop.create_future()
        born = nursery.take([], end.set_result)
        assert await end == "exit code 0"
        born.bus.close()

    asyncio.run(scenario())

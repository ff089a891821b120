"""What a message costs from the first octet in to the last reply out, without sockets: everything of ours, nothing of the kernel's.

Run: python -m benchmarks.micro_relay [--profile]. Prints microseconds of CPU per 10 KB message, the best and the median of some rounds.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

import uvloop

from penstock.ingress.budget import Budget
from penstock.ingress.connection import Connection
from penstock.ingress.desk import Desk
from penstock.ingress.listener import Listener
from penstock.lane.connection import LaneConnection
from penstock.lane.lane import Lane
from penstock.mail.configuration import (
    PathConfig,
    QueueConfig,
    QueuesConfig,
    SmtpListenerConfig,
)
from penstock.mail.duration import MonotonicTime
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.ports import LogPosition
from penstock.mail.records import SpoolRecord
from penstock.mail.status import Tally
from penstock.net.clock import SystemClock
from penstock.net.router import Router
from penstock.net.tls import ClientContexts, ServerContexts
from penstock.queueing.effects import Connect, Resolve
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route
from penstock.routing.targets import Target
from penstock.sim.resolver import FakeResolver
from penstock.smtp.client import SessionOptions
from penstock.spool.memory import MemorySpool
from tests.worker.alone import alone

MESSAGES = 3_000
ROUNDS = 7
BODY = (
    b"Subject: a message\r\n\r\n"
    + (b"La de da de da %04d.\r\n" * 1).ljust(78, b"x")
    + (b"y" * 78 + b"\r\n") * 127
)
ENVELOPE = (b"MAIL FROM:<sender@from.test>\r\n", b"RCPT TO:<recipient@to.test>\r\n", b"DATA\r\n")


class FakeTransport:
    """Takes what is written; a peer answers at once."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.written = 0

    def write(self, data: bytes) -> None:
        """Count, and let the peer answer."""
        self.written += len(data)
        if self.answer is not None:
            self.answer(data)

    def get_extra_info(self, name: str) -> tuple[str, int]:
        """Loopback, whatever is asked for."""
        return ("127.0.0.1", 4711)

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing is there to close."""

    pause_reading = resume_reading = abort = close


class Peer:
    """The other side of a delivery: a positive reply for every command, called back from the loop."""

    def __init__(self, connection: LaneConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop

    def answer(self, data: bytes) -> None:
        """The replies to a group of commands, or to mail data."""
        if data.startswith(b"MAIL"):
            self._say(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n")
        elif not data.startswith(b"QUIT"):
            self._say(b"250 2.0.0 Ok\r\n")

    def _say(self, replies: bytes) -> None:
        self._loop.call_soon(self._connection.data_received, replies)


async def _measure(profile: cProfile.Profile | None) -> list[float]:
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    tally = Tally()

    def count(records: Sequence[SpoolRecord], _: LogPosition) -> None:
        for record in records:
            tally.add(record)

    spool = MemorySpool(count)
    ids = IdSource(1)
    contexts = ClientContexts(None, clock)
    lane = Lane(
        spool=spool,
        router=Router(FakeResolver({}, {}), clock, lambda: 0.5),
        clock=clock,
        draw=lambda: 0.5,
        ids=ids,
        ehlo_name="mta.test",
        own_names=["mta.test"],
        queue_config=lambda name: QueueConfig(),
        path_config=lambda site: PathConfig(),
        connection_limit=10,
        contexts=contexts,
    )
    budget = Budget(2**40, lambda: 0)
    desk = Desk(
        spool,
        alone(spool, lane.submit, clock),
        ids,
        clock,
        budget,
        QueuesConfig(),
        ServerContexts(clock),
        None,
        10,
    )
    config = SmtpListenerConfig((), "mta.test", max_messages_per_connection=2**30)
    client = Listener(desk, config, []).protocol()
    assert isinstance(client, Connection)
    buffer = client.get_buffer(-1)
    client.connection_made(cast("asyncio.BaseTransport", FakeTransport()))
    route = Route("mx.to.test", (Exchange(10, "mx.to.test"),), MonotonicTime(clock.monotonic() + 10**6))

    def do(effect: Any) -> None:
        if isinstance(effect, Resolve):
            lane._routed(effect.hop, route)
        elif isinstance(effect, Connect):
            loop.call_soon(connect, effect.path)
        else:
            original(effect)

    def connect(path: Any) -> None:
        target = Target("mx.to.test", "127.0.0.1", 25)
        connection = LaneConnection(lane, path, target, SessionOptions("mta.test"), SessionId("s"), contexts)
        transport = FakeTransport()
        connection.connection_made(cast("asyncio.BaseTransport", transport))
        connection.data_received(b"220 peer ESMTP\r\n")
        connection.data_received(b"250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n")
        transport.answer = Peer(connection, loop).answer
        lane.connections.add(connection)
        lane.scheduler.connected(path, clock.wall())
        connection.pull()
        lane.work_done()

    original = lane._do
    lane._do = do  # type: ignore[method-assign]

    def feed(data: bytes) -> None:
        buffer[: len(data)] = data
        client.buffer_updated(len(data))

    async def one_round() -> float:
        before = time.process_time()
        for _ in range(MESSAGES):
            for line in ENVELOPE:
                feed(line)
            feed(BODY + b".\r\n")
            await asyncio.sleep(0)
        while len(spool):
            await asyncio.sleep(0)
        return (time.process_time() - before) / MESSAGES * 1e6

    feed(b"EHLO client.test\r\n")
    await one_round()
    if profile is not None:
        profile.enable()
    rounds = [await one_round() for _ in range(ROUNDS if profile is None else 1)]
    if profile is not None:
        profile.disable()
    await lane.stop(0.0)
    return rounds


def main() -> None:
    """Measure, and print."""
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    rounds = uvloop.run(_measure(profile))
    print(
        f"relay without sockets: {min(rounds):.1f} us/message at best, median {statistics.median(rounds):.1f}"
    )
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()

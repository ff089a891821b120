"""A listener without sockets, in a loop whose time moves only when told to: connections are given octets and asked what they wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from penstock.ingress.budget import Budget
from penstock.ingress.connection import Connection
from penstock.ingress.desk import Desk
from penstock.ingress.listener import Listener
from penstock.mail.configuration import Endpoint, QueuesConfig, SmtpListenerConfig
from penstock.mail.ids import IdSource
from penstock.mail.records import MessageRecord, NoteRecord, RejectionRecord, SpoolRecord
from penstock.net.tls import ServerContexts
from penstock.policy import PolicyRunner
from penstock.sim.clock import FakeClock
from tests.spool.told import ToldSpool
from tests.worker.alone import alone

EHLO = b"EHLO client.test\r\n"


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose time is a fake clock's."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        super().__init__()

    def time(self) -> float:
        """The fake clock's."""
        return self.clock.monotonic()


class FakeTransport(asyncio.Transport):
    """Keeps what is written; closing it ends the connection in the loop's next turn."""

    def __init__(self, peer: tuple[str, int] | None, local: tuple[str, int] | None) -> None:
        super().__init__({"peername": peer, "sockname": local})
        self.written = b""
        self.is_reading = True
        self.is_over = False
        self.was_aborted = False
        self.connection: Connection | None = None

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.is_over
        self.written += data

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        if not self.is_over:
            self.is_over = True
            assert self.connection is not None
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def abort(self) -> None:
        self.was_aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def get_write_buffer_size(self) -> int:
        return 0


class Client:
    """One client of the room."""

    def __init__(self, room: Room, peer: tuple[str, int] | None, local: tuple[str, int] | None) -> None:
        self.transport = FakeTransport(peer, local)
        self._room = room
        connection = room.listener.protocol()
        assert isinstance(connection, Connection)
        self.connection = connection
        self.transport.connection = connection
        connection.connection_made(self.transport)

    async def say(self, octets: bytes) -> bytes:
        """Send octets in one segment; what was written until nothing more happens."""
        assert self.transport.is_reading
        buffer = self.connection.get_buffer(-1)
        buffer[: len(octets)] = octets
        self.connection.buffer_updated(len(octets))
        return await self.heard()

    async def heard(self) -> bytes:
        """What was written since the last time, once nothing more happens."""
        await self._room.settle()
        written, self.transport.written = self.transport.written, b""
        return written

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed the connection."""
        return self.transport.is_over


class Room:
    """A listener and what it stores."""

    def __init__(
        self, clock: FakeClock, config: SmtpListenerConfig, policy: PolicyRunner | None = None
    ) -> None:
        self.clock = clock
        self.records: list[SpoolRecord] = []
        self.submitted: list[MessageRecord] = []
        self.spool = ToldSpool(lambda records, position: self.records.extend(records))
        self.desk = Desk(
            self.spool,
            alone(self.spool, self.submit, clock),
            IdSource(1),
            clock,
            Budget(1 << 30, lambda: 0),
            QueuesConfig(),
            ServerContexts(clock),
            policy,
            1000,
        )
        self.listener = Listener(self.desk, config, [])

    def submit(self, stored: Any) -> None:
        """Take over messages that the spool has."""
        self.submitted += [record for _, record in stored]

    def client(self, peer: str = "192.0.2.1", *, local: str = "198.51.100.25", known: bool = True) -> Client:
        """A client that has just connected; not ``known`` if it was reset before anybody looked."""
        if not known:
            return Client(self, None, None)
        return Client(self, (peer, 40000), (local, 25))

    async def greeted(self, peer: str = "192.0.2.1") -> Client:
        """A client that was greeted and has said EHLO."""
        client = self.client(peer)
        assert (await client.heard()).startswith(b"220 ")
        assert b"250 HELP\r\n" in await client.say(EHLO)
        return client

    async def settle(self) -> None:
        """Give everything its turn until nothing more happens."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)  # type: ignore[arg-type]  # Seconds
        await self.settle()

    @property
    def refusals(self) -> list[str]:
        """What was refused, as recorded."""
        return [str(record.reply) for record in self.records if isinstance(record, RejectionRecord)]

    @property
    def notes(self) -> list[NoteRecord]:
        """All notes."""
        return [record for record in self.records if not isinstance(record, MessageRecord)]  # type: ignore[misc]


def config(**options: Any) -> SmtpListenerConfig:
    """A listener's options; nobody is trusted unless they say so."""
    given = {"hostname": "mta.test", "relay_hosts": (), **options}
    return SmtpListenerConfig((Endpoint("198.51.100.25", 25),), **given)


def in_room(
    test: Callable[[Room], Coroutine[Any, Any, None]],
    policy: Callable[[], PolicyRunner] | None = None,
    **options: Any,
) -> None:
    """Run ``test`` in a room whose listener has these options."""

    async def run() -> None:
        loop = cast("FakeTimeLoop", asyncio.get_running_loop())
        room = Room(loop.clock, config(**options), policy() if policy is not None else None)
        try:
            await test(room)
        finally:
            if room.desk.policy is not None:
                await room.desk.policy.close()

    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        runner.run(run())

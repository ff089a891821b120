"""A lane without sockets, in a loop whose time moves only when told to: its peers are scripted, its spool answers when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from penstock.lane.connection import LaneConnection
from penstock.lane.lane import Lane
from penstock.mail.address import Address
from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.ids import IdSource, MessageId, SessionId
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    QueuedMessage,
    Reception,
    SpoolRecord,
)
from penstock.net.router import Router
from penstock.net.tls import ClientContexts
from penstock.queueing.rows import IN_FLIGHT
from penstock.shaping.own import OwnRates
from penstock.sim.resolver import FakeResolver, addresses, mx
from tests.ingress.room import FakeTimeLoop
from tests.spool.told import ToldSpool

RECEPTION = Reception("ESMTP", "192.0.2.1", 1, "client.test", "127.0.0.1:25", "mta.test", SessionId("s"))
DOMAINS = ("a.test", "b.test")


class Peer(asyncio.Transport):
    """A connection to a host that takes everything, one command at a time; ``accepted`` counts."""

    def __init__(self, loop: YardLoop, connection: LaneConnection, address: str) -> None:
        super().__init__({"sockname": ("192.0.2.99", 4711)})
        self.loop = loop
        self.connection = connection
        self.address = address
        self.accepted = 0
        self.is_over = False
        self.is_paused = False
        self.commands: list[str] = []
        self._rest = b""
        self._is_data = False

    def say(self, octets: bytes) -> None:
        """The peer's octets arrive, if the connection lives."""
        if not self.is_over:
            self.loop.call_soon(self._arrive, octets)

    def _arrive(self, octets: bytes) -> None:
        if not self.is_over:
            self.connection.data_received(octets)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._rest += data
        while not self.is_over:
            if self._is_data:
                _, end, rest = self._rest.partition(b"\r\n.\r\n")
                if not end:
                    return
                self._is_data, self._rest = False, rest
                if not self.loop.is_silent:
                    self.accepted += 1
                    self.say(b"250 2.0.0 taken\r\n")
                continue
            line, end, rest = self._rest.partition(b"\r\n")
            if not end:
                return
            self._rest = rest
            self._answer(line.decode())

    def _answer(self, line: str) -> None:
        self.commands.append(line)
        verb = line.partition(" ")[0]
        if verb == "EHLO":
            self.say(b"250-mx.test\r\n250 8BITMIME\r\n")
        elif verb == "DATA":
            self._is_data = True
            self.say(b"354 go\r\n")
        elif verb == "RCPT" and "later" in line:
            self.say(b"450 4.2.1 later\r\n")
        elif verb != "QUIT":
            self.say(b"250 2.0.0 ok\r\n")
        elif not self.loop.is_silent:
            self.say(b"221 2.0.0 bye\r\n")

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_over

    def close(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.loop.call_soon(self.connection.connection_lost, None)

    def abort(self) -> None:
        self.close()


class YardLoop(FakeTimeLoop):
    """Connects to peers: ``peers`` are all that there were. ``is_silent``: no message and no QUIT has a reply from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[Peer] = []
        self.is_silent = False

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:  # type: ignore[override]
        """A peer at once."""
        connection = protocol_factory()
        peer = Peer(self, connection, host)
        self.peers.append(peer)
        connection.connection_made(peer)
        peer.say(b"220 mx.test ESMTP\r\n")
        return peer, connection


class Yard:
    """The lane and what it did."""

    def __init__(
        self, loop: YardLoop, *, limit: int = 3, connections: int = 10, can_record: bool = True
    ) -> None:
        self.loop = loop
        self.clock = loop.clock
        self.records: list[SpoolRecord] = []
        self.spool = ToldSpool(lambda records, position: self.records.extend(records))
        if not can_record:
            self.spool.become(can_record=False)
        hosts = {f"mx.{domain}": addresses(f"192.0.2.{number}") for number, domain in enumerate(DOMAINS, 1)}
        routes = {domain: mx(f"10 mx.{domain}") for domain in DOMAINS}
        self.lane = Lane(
            spool=self.spool,
            router=Router(FakeResolver(routes, hosts), self.clock, lambda: 0.5),
            clock=self.clock,
            draw=lambda: 0.5,
            ids=IdSource(1),
            ehlo_name="mta.test",
            own_names=["mta.test"],
            queue_config=lambda name: QueueConfig(retry_interval=Seconds(600.0), max_age=Seconds(3600.0)),
            path_config=lambda site: PathConfig(connection_limit=limit),
            connection_limit=connections,
            contexts=ClientContexts(None, self.clock),
            weight_of=lambda tenant: 1.0,
            rates=OwnRates(),
        )
        self._number = 0

    # -- mail

    def message(self, domain: str = "a.test", recipients: tuple[str, ...] = ("to",)) -> MessageRecord:
        """A message received now."""
        self._number += 1
        return MessageRecord(
            MessageId(f"{self._number:032x}"),
            QueueName(domain),
            Address("from", "from.test"),
            tuple(Address(name, domain) for name in recipients),
            b"",
            b"Subject: %d\r\n\r\nbody\r\n" % self._number,
            self.clock.wall(),
            RECEPTION,
            is_canonical=True,
        )

    def store(self, *records: MessageRecord) -> list[int]:
        """Messages that the spool has; their positions."""
        found: list[int] = []
        self.spool.store(records, lambda positions, fault: found.extend(positions))
        return found

    def send(self, domain: str = "a.test", recipients: tuple[str, ...] = ("to",)) -> int:
        """A message comes in; its position."""
        record = self.message(domain, recipients)
        (position,) = self.store(record)
        self.lane.submit([(position, record)])
        return position

    def queued(self, domain: str = "a.test", *, age: float = 0.0, due: float | None = None) -> QueuedMessage:
        """A message from before the start, stored; due so many seconds from now."""
        record = self.message(domain)
        (position,) = self.store(record)
        now = self.clock.wall()
        return QueuedMessage(
            position,
            record.queue,
            WallTime(now - age),
            record.size,
            1,
            2 if due is not None else 0,
            None if due is None else WallTime(now + due),
        )

    # -- what happened

    @property
    def peers(self) -> list[Peer]:
        """The peers whose connections live."""
        return [peer for peer in self.loop.peers if not peer.is_over]

    @property
    def accepted(self) -> int:
        """Messages that peers took."""
        return sum(peer.accepted for peer in self.loop.peers)

    @property
    def attempts(self) -> list[AttemptRecord]:
        """Attempts as recorded."""
        return [record for record in self.records if isinstance(record, AttemptRecord)]

    @property
    def expirations(self) -> list[ExpirationRecord]:
        """Expirations as recorded."""
        return [record for record in self.records if isinstance(record, ExpirationRecord)]

    @property
    def in_flight(self) -> int:
        """Messages with a connection."""
        return list(self.lane.scheduler.rows.state).count(IN_FLIGHT)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing but time or a peer can make anything happen: nobody looks again and again."""
        return not self.loop._ready  # type: ignore[attr-defined]  # what asyncio runs next

    async def settle(self) -> None:
        """Give everything its turn until nothing more happens."""
        quiet = 0
        for _ in range(5000):
            await asyncio.sleep(0)
            quiet = quiet + 1 if self.is_quiet else 0
            if quiet == 5:  # a timer that is due is ready two turns later
                return
        raise AssertionError("there is no end to it")

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(Seconds(seconds))
        await self.settle()


def in_yard(test: Callable[[Yard], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run ``test`` in a yard; the lane is stopped behind it, and nothing may be left."""

    async def run() -> None:
        yard = Yard(cast("YardLoop", asyncio.get_running_loop()), **options)
        await test(yard)
        stopping = asyncio.ensure_future(yard.lane.stop(5.0))
        while not stopping.done():
            await yard.advance(1.0)
        assert not yard.peers
        assert not yard.in_flight

    with asyncio.Runner(loop_factory=YardLoop) as runner:
        runner.run(run())

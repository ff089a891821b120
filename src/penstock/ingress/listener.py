"""One SMTP listener: its sockets, its connections, and the limits that hold for them together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, cast

from penstock.ingress.acceptance import may_relay
from penstock.ingress.connection import Connection, Desk
from penstock.mail.configuration import SmtpListenerConfig
from penstock.mail.reply import reply
from penstock.net.listening import BACKLOG
from penstock.smtp.server import ServerLimits

_TOO_MANY: Final = reply(421, "4.3.2", "too many connections; try again later").to_bytes()
#: Client addresses whose right to relay is remembered.
_RELAY_CACHE: Final = 4096
#: Seconds for a client to take its 421 and go.
_GOODBYE: Final = 1.0


class Denied(asyncio.Protocol):
    """A connection over the limit: told so, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say 421 and close."""
        told = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        told.write(_TOO_MANY)
        told.close()


class Listener:
    """Accepts connections on ``sockets``, bound and listening, and keeps them."""

    def __init__(self, desk: Desk, config: SmtpListenerConfig, sockets: Sequence[socket.socket]) -> None:
        self._desk = desk
        self._sockets = list(sockets)
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        #: where it listens, as bound
        self.addresses = tuple(_written(sock) for sock in sockets)
        self.total = 0
        self.denied = 0
        self.configure(config)

    def __len__(self) -> int:
        return len(self._connections)

    def configure(self, config: SmtpListenerConfig) -> None:
        """Use these limits for connections that come from now on."""
        self.config = config
        self._limits = ServerLimits(
            hostname=config.hostname,
            banner=config.banner,
            max_message_size=config.max_message_size,
            max_messages_per_connection=config.max_messages_per_connection,
            max_recipients_per_message=config.max_recipients_per_message,
            line_length_hard_limit=config.line_length_hard_limit,
            invalid_line_endings=config.invalid_line_endings,
        )
        self._buffer = memoryview(bytearray(config.data_buffer_size))
        self._may_relay = lru_cache(_RELAY_CACHE)(lambda address: may_relay(address, config.relay_hosts))

    async def start(self) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._servers.append(await loop.create_server(self._accept, sock=sock, backlog=BACKLOG))

    def _accept(self) -> asyncio.BaseProtocol:
        desk = self._desk
        if len(self._connections) >= self.config.max_connections or desk.connections >= desk.connection_limit:
            self.denied += 1
            return Denied()
        desk.connections += 1
        connection = Connection(
            self._desk, self.config, self._limits, self._may_relay, self._buffer, self._ended
        )
        self._connections.add(connection)
        self._empty.clear()
        self.total += 1
        return connection

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._desk.connections -= 1
        if not self._connections:
            self._empty.set()

    async def stop(self, grace: float) -> None:
        """Accept no more; let transactions under way end within ``grace`` seconds, and say 421 to everybody else."""
        for server in self._servers:
            server.close()
        for farewell in (Connection.leave, Connection.dismiss, Connection.abort):
            for connection in tuple(self._connections):
                farewell(connection)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace if farewell is Connection.leave else _GOODBYE):
                    await self._empty.wait()


def _written(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

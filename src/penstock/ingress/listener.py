"""One SMTP listener: its sockets, its connections, and the limits that hold for them together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, cast

from penstock.ingress.connection import Connection
from penstock.ingress.desk import Desk
from penstock.ingress.terms import Terms, terms
from penstock.mail.configuration import SmtpListenerConfig, TlsMode
from penstock.mail.network import is_within
from penstock.mail.reply import reply
from penstock.net.listening import BACKLOG, endpoint_of

_TOO_MANY: Final = reply(421, "4.3.2", "too many connections; try again later").to_bytes()
#: Client addresses whose terms are remembered.
_TERMS_CACHE: Final = 4096
#: Seconds for a client to take its 421 and go.
_GOODBYE: Final = 1.0


class Denied(asyncio.Protocol):
    """A connection over the limit: told so, unless TLS would have to come first, and closed."""

    def __init__(self, farewell: bytes) -> None:
        self._farewell = farewell

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say 421 and close."""
        told = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        if self._farewell:
            told.write(self._farewell)
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
        self.addresses = tuple(str(endpoint_of(sock)) for sock in sockets)
        self.total = 0
        self.denied = 0
        self.configure(config)

    def __len__(self) -> int:
        return len(self._connections)

    def configure(self, config: SmtpListenerConfig) -> None:
        """Use these options, and the policy's hooks as they are now, for connections that come from now on."""
        self.config = config
        self._buffer = memoryview(bytearray(config.data_buffer_size))
        has_auth, reviews = self._desk.asks("on_auth"), self._desk.asks("on_reply")

        @lru_cache(_TERMS_CACHE)
        def known(local: str, peer: str, host: str) -> Terms:
            own = config.for_connection(local, peer)
            is_proxy = is_within(host, own.allow_xclient)
            return terms(own, peer, has_auth=has_auth, reviews_replies=reviews, is_proxy=is_proxy)

        self._known = known

    def terms(self, local: str, peer: str, *, host: str) -> Terms:
        """The terms of a client at ``peer`` that connected to ``local``, by a connection from ``host``."""
        return self._known(local, peer, host)

    def expects_proxy(self, host: str) -> bool | None:
        """Whether a connection from ``host`` begins with a PROXY header; None: it is not welcome, for it may send none."""
        if self.config.allow_proxy and is_within(host, self.config.allow_proxy):
            return True
        return None if self.config.require_proxy_protocol else False

    async def start(self) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._servers.append(await loop.create_server(self.protocol, sock=sock, backlog=BACKLOG))

    def protocol(self) -> asyncio.BaseProtocol:
        """The protocol of a connection that has just come."""
        desk = self._desk
        if len(self._connections) >= self.config.max_connections or desk.connections >= desk.connection_limit:
            self.denied += 1
            return Denied(b"" if self.config.tls is TlsMode.IMPLICIT else _TOO_MANY)
        desk.connections += 1
        connection = Connection(self._desk, self, self._buffer, self._ended)
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

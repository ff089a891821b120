"""A deliberately vulnerable SMTP server: the positive control of smuggling checks, and of nothing else.

It takes CR, LF and CRLF for the end of a line alike, in commands and in mail data, so eleven of the twenty sequences of
``penstock.sim.smuggling`` end its mail data early. A check that finds nothing wrong with this server is broken. Only tests and checks
start it; it listens on loopback only and delivers to a list.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, cast

from penstock.mail.configuration import Endpoint

#: Octets of one line, lines of one message, messages of one server: beyond, the connection is closed.
_LINE_LIMIT: Final = 65_536
_LINES_LIMIT: Final = 100_000
_MESSAGE_LIMIT: Final = 10_000


class VulnerableServer:
    """Stores what it takes for a message in ``messages``, its lines joined by LF."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.sessions: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Endpoint:
        """Listen on a free port of 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", 0)
        address, port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(address, port)

    async def stop(self) -> None:
        """Stop listening, and end every session."""
        if self._server is not None:
            self._server.close()
        for transport in list(self.sessions):
            transport.abort()
        await asyncio.sleep(0)

    async def __aenter__(self) -> VulnerableServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class _Session(asyncio.Protocol):
    def __init__(self, server: VulnerableServer) -> None:
        self._server = server
        self._line = bytearray()
        self._after_cr = False
        self._data: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.sessions.add(self._transport)
        self._transport.write(b"220 vulnerable.test ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.sessions.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        for octet in data:
            if octet == 0x0A and self._after_cr:
                self._after_cr = False
            elif octet in (0x0A, 0x0D):
                self._after_cr = octet == 0x0D
                line = bytes(self._line)
                self._line.clear()
                self._take_line(line)
            else:
                self._after_cr = False
                self._line.append(octet)
            if len(self._line) > _LINE_LIMIT or self._transport.is_closing():
                self._transport.close()
                return

    def _take_line(self, line: bytes) -> None:
        if self._data is None:
            self._transport.write(self._answer(line))
            if line[:4].upper() == b"QUIT":
                self._transport.close()
        elif line == b".":
            self._server.messages.append(b"\n".join(self._data))
            self._data = None
            self._transport.write(b"250 stored\r\n")
        else:
            self._data.append(line)
        if len(self._server.messages) > _MESSAGE_LIMIT or len(self._data or ()) > _LINES_LIMIT:
            self._transport.close()

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"DATA":
            self._data = []
            return b"354 go ahead\r\n"
        if verb == b"QUIT":
            return b"221 bye\r\n"
        return (
            b"250 ok\r\n"
            if verb in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET", b"NOOP")
            else b"500 what\r\n"
        )

"""One HTTP connection, within bounds that the client cannot move.

uvicorn bounds how long a kept connection may be idle, and nothing else: with httptools a header section may go on for ever, a request may
never end, and a client may never read its answer. So each connection has a limit for the octets of a header section, a deadline from
its first octet to the last one of the answer, and a limit on requests sent ahead; and there are only so many connections.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class ConnectionLimits(msgspec.Struct, frozen=True):
    """What one client may ask of a server, and all of them together.

    ``header_bytes`` a request may have up to its empty line, looked at after each read; ``deadline`` seconds may pass from a request's
    first octet until its answer has left; ``requests_ahead`` may be sent before an answer; ``connections`` may be open.
    """

    header_bytes: int = 16 * 1024
    deadline: float = 10.0
    requests_ahead: int = 16
    connections: int = 256


_TOO_LARGE_BODY: Final = b'{"error":"the header section is too large"}'
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY)
)


class BoundedConnection(HttpToolsProtocol):
    """A connection with the limits of its class; ``bounded`` makes a class with others."""

    limits: ConnectionLimits = ConnectionLimits()
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _is_in_header = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Take the connection, or end it at once if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        uid = peer_uid(transport)
        if uid is not None:
            self.app_state = {**self.app_state, "uid": uid}
        self._is_in_header = True
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and end the connection if a header section, or the requests ahead, are too many."""
        if self._timer is None:
            self._start_timer()
        self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._is_in_header:
            self._header_bytes = 0
        elif self._header_bytes > self.limits.header_bytes:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        if len(self.pipeline) > self.limits.requests_ahead:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_in_header = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its header section is complete."""
        self._is_in_header = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The answer is written; unless it waits for a client that does not read, the next request has its own deadline."""
        super().on_response_complete()
        if not self.pipeline and self.transport.get_write_buffer_size() == 0:
            self._stop_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.limits.deadline, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self.transport.abort()


def bounded(limits: ConnectionLimits) -> type[BoundedConnection]:
    """A class of connections with these limits."""
    return type("BoundedConnection", (BoundedConnection,), {"limits": limits})


_CREDENTIALS: Final = struct.Struct("3i")


def peer_uid(transport: asyncio.BaseTransport) -> int | None:
    """The user at the other end of a Unix socket when it was connected (unix(7), SO_PEERCRED); None on others."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)

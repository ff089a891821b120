"""A client that plays rows over a socket, with real TLS, and notices everything: it trusts neither the server nor a library's idea of SMTP.

Octets are sent while replies are read, so that a flood blocks nobody. Within TLS it can still write in clear text, and say close_notify
whenever it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from types import TracebackType
from typing import Final

from penstock.mail.configuration import Endpoint

#: Seconds that the server may take for anything a row waits for.
PATIENCE: Final = 10.0
# the last line of a reply (RFC 5321 4.2)
_LAST_LINE: Final = re.compile(rb"^[0-9]{3}(?: [^\n]*|\r)?\n", re.MULTILINE)
_READ: Final = 262_144
#: More octets than a reply with all its lines.
_REPLY: Final = 4096
#: Octets in one write: a row's segment is one, up to here.
_SEGMENT: Final = 4 * 1024 * 1024


def any_certificate(*, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A context that takes whatever the server has to show."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class Wire:
    """A connection to ``endpoint``. ``is_closed``: the server has ended it, by FIN, by RST or by close_notify; ``was_reset``: by RST."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None = None) -> None:
        self._endpoint = endpoint
        self._context = context
        self._socket = socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET)
        self._socket.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None
        self.received = b""
        self.is_closed = False
        self.was_reset = False

    async def __aenter__(self) -> Wire:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_connect(self._socket, (self._endpoint.address, self._endpoint.port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    # -- out

    async def send(self, octets: bytes, *, is_last: bool = False) -> None:
        """Send octets, within TLS once there is any; half-close if they are the last. A server that has gone is no error: what it said shows it."""
        if self.tls is not None and octets:
            self.tls.write(octets)
            octets = self._outgoing.read()
        await self.send_clear(octets)
        if is_last:
            self.end_output()

    async def send_clear(self, octets: bytes) -> None:
        """Send octets as they are."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                for start in range(0, len(octets), _SEGMENT):
                    await self._loop.sock_sendall(self._socket, octets[start : start + _SEGMENT])

    async def send_until_stuck(self, octets: bytes, times: int, patience: float = 0.3) -> int:
        """Send octets over and over; how often it could be done before the server took no more for so many seconds."""
        for number in range(times):
            try:
                async with asyncio.timeout(patience):
                    await self._loop.sock_sendall(self._socket, octets)
            except (TimeoutError, ConnectionError):
                return number
        return times

    async def close_notify(self) -> None:
        """Say that nothing more will come within TLS, and stay."""
        if self.tls is not None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.unwrap()
            await self.send_clear(self._outgoing.read())

    def end_output(self) -> None:
        """Half-close."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End it by RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def read_slowly(self, octets: int) -> None:
        """Have the kernel hold this many received octets at most."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)

    # -- in

    async def shake_hands(self) -> bool:
        """A handshake; False if it failed."""
        channel = (self._context or any_certificate()).wrap_bio(self._incoming, self._outgoing)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        channel.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        await self.send_clear(self._outgoing.read())
                        if not await self._take(decrypts=False):
                            return False
        except ssl.SSLError:
            await self.send_clear(self._outgoing.read())
            return False
        await self.send_clear(self._outgoing.read())
        self.tls = channel
        self._decrypt()
        return True

    async def replies(self, count: int) -> bytes:
        """The next ``count`` replies, or fewer if the server ends the connection before; TimeoutError if it does neither."""
        async with asyncio.timeout(PATIENCE):
            while True:
                ends = [match.end() for match in _LAST_LINE.finditer(self.received)]
                if len(ends) >= count or not await self._take():
                    break
        end = ends[count - 1] if 0 < count <= len(ends) else 0 if not count else len(self.received)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    async def until_reply(self, beginning: bytes) -> bytes:
        """Everything up to a reply that begins so, which is left out; or up to the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            seen = 0
            while (place := self._place_of(beginning, seen)) is None:
                seen = max(0, len(self.received) - _REPLY)
                if not await self._take():
                    taken, self.received = self.received, b""
                    return taken
        start, end = place
        taken, self.received = self.received[:start], self.received[end:]
        return taken

    def _place_of(self, beginning: bytes, start: int) -> tuple[int, int] | None:
        """Where a reply that begins so is, from ``start`` on."""
        reply = re.compile(rb"^" + re.escape(beginning) + rb"(?:-[^\n]*\n[0-9]{3})* [^\n]*\n", re.MULTILINE)
        match = reply.search(self.received, start)
        return match.span() if match is not None else None

    async def until_closed(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            while await self._take():
                pass
        taken, self.received = self.received, b""
        return taken

    async def _take(self, *, decrypts: bool = True) -> bool:
        """Wait for octets; False if the server has ended the connection."""
        if self.is_closed:
            return False
        try:
            octets = await self._loop.sock_recv(self._socket, _READ)
        except ConnectionError:
            octets, self.was_reset = b"", True
        if not octets:
            self.is_closed = True
            return False
        if self.tls is None and decrypts:
            self.received += octets
        else:
            self._incoming.write(octets)
        if self.tls is not None:
            self._decrypt()
        return True

    def _decrypt(self) -> None:
        assert self.tls is not None
        while True:
            try:
                octets = self.tls.read(_READ)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLError:  # an alert, or what is no TLS: nothing more can come
                octets = b""
            if not octets:
                self.is_closed = True
                return
            self.received += octets

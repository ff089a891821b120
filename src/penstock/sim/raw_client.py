"""A client that sends exactly the octets it is told to, for dialogues in tests: whole, octet by octet, or in two pieces.

It knows nothing of SMTP but where a reply ends. Every wait has a deadline. ``secure`` shakes hands; from there on all is within TLS.
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

#: Seconds that a peer on this machine may take for anything a test waits for.
PATIENCE: Final = 10.0
_REPLY_LIMIT: Final = 1_048_576
# Reply-line = Reply-code [ SP textstring ] CRLF; "-" instead of SP in all but the last (RFC 5321 4.2)
_LAST_LINE = re.compile(rb"(?:\A|\n)[0-9]{3}(?: [^\n]*|\r)?\n")


class UnexpectedReplyError(AssertionError):
    """The peer did not say what was expected of it; ``str()`` has both."""


class RawClient:
    """A connection to ``endpoint``, to be used as an asynchronous context manager.

    ``within`` is the patience of every wait, in seconds; TimeoutError once it is over.
    """

    def __init__(self, endpoint: Endpoint, *, within: float = PATIENCE) -> None:
        self.endpoint = endpoint
        self.within = within
        self._socket = socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET)
        self._socket.setblocking(False)
        self._received = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._channel: ssl.SSLObject | None = None
        self._has_ended = False  # the peer has said close_notify

    async def __aenter__(self) -> RawClient:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def connect(self) -> None:
        """Connect; OSError if nobody listens. Segments are sent as they are written (TCP_NODELAY)."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(self.within):
                address = (self.endpoint.address, self.endpoint.port)
                await asyncio.get_running_loop().sock_connect(self._socket, address)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection (FIN)."""
        self._socket.close()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def secure(
        self,
        context: ssl.SSLContext | None = None,
        *,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Shake hands; ssl.SSLError if that fails. ``context`` None takes any certificate. Octets that came before it are an AssertionError."""
        assert not self._received, f"{self._received!r} came before the handshake"  # noqa: S101 -- that is the test
        channel = (context or trusting_context()).wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name, session=session
        )
        while True:
            try:
                channel.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._send_pending()
                if not (octets := await self._receive_octets()):
                    raise ConnectionResetError("the connection ended within the handshake") from None
                self._incoming.write(octets)
            except ssl.SSLError:
                await self._send_pending()  # the alert
                raise
        await self._send_pending()
        self._channel = channel
        self._decrypt(channel)  # what came with the end of the handshake
        return channel

    async def _send_pending(self) -> None:
        if octets := self._outgoing.read():
            await self._send_octets(octets)

    async def close_notify(self) -> None:
        """Say that nothing more will be sent within TLS, and stay connected."""
        if self._channel is not None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._channel.unwrap()
            await self._send_pending()

    def end_output(self) -> None:
        """Say that nothing more will be sent (half-close), and stay to listen."""
        self._socket.shutdown(socket.SHUT_WR)

    async def send(self, octets: bytes) -> None:
        """Send ``octets`` in one write; within TLS, in one record of up to 16 KiB after the other."""
        if self._channel is None:
            await self._send_octets(octets)
        elif octets:
            self._channel.write(octets)
            await self._send_pending()

    async def send_plain(self, octets: bytes) -> None:
        """Send ``octets`` as they are, whether or not there is TLS."""
        await self._send_octets(octets)

    async def _send_octets(self, octets: bytes) -> None:
        async with asyncio.timeout(self.within):
            await asyncio.get_running_loop().sock_sendall(self._socket, octets)

    async def send_each_octet(self, octets: bytes) -> None:
        """Send ``octets`` one at a time. A server in the same event loop sees them one by one; any other, as fast as it reads."""
        async with asyncio.timeout(self.within):
            for octet in octets:
                await self.send(bytes((octet,)))
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    async def send_split(self, octets: bytes, offset: int) -> None:
        """Send ``octets`` in two writes, parted at ``offset``; a server in the same event loop reads the first before the second is sent."""
        await self.send(octets[:offset])
        for _ in range(4):
            await asyncio.sleep(0)
        await self.send(octets[offset:])

    async def reply(self) -> bytes:
        """The next reply with all its lines; ConnectionError if the peer ends the connection before one is whole."""
        async with asyncio.timeout(self.within):
            while (match := _LAST_LINE.search(self._received)) is None:
                if not await self._receive():
                    raise ConnectionResetError(f"the connection ended; before that came {self._received!r}")
            reply, self._received = self._received[: match.end()], self._received[match.end() :]
            return reply

    async def expect(self, *beginnings: bytes) -> list[bytes]:
        """The next replies, one for each of ``beginnings``, each of which it must begin with: ``expect(b"250", b"354")``."""
        replies: list[bytes] = []
        for beginning in beginnings:
            reply = await self.reply()
            if not reply.startswith(beginning):
                raise UnexpectedReplyError(f"{reply!r} came, not {beginning!r}; before it {replies!r}")
            replies.append(reply)
        return replies

    async def ask(self, octets: bytes, *beginnings: bytes) -> list[bytes]:
        """Send ``octets`` and expect these replies."""
        await self.send(octets)
        return await self.expect(*beginnings)

    async def until_closed(self) -> bytes:
        """Everything that comes until the peer ends the connection, by FIN or by RST; 64 MiB at most."""
        async with asyncio.timeout(self.within):
            while await self._receive(limit=64 * _REPLY_LIMIT):
                pass
        received, self._received = self._received, b""
        return received

    async def _receive(self, limit: int = _REPLY_LIMIT) -> bool:
        """Wait for more octets; False if the peer has ended the connection."""
        if len(self._received) > limit:
            raise UnexpectedReplyError(f"more than {limit} octets came without an end")
        if self._has_ended:
            return False
        octets = await self._receive_octets()
        if not octets or self._channel is None:
            self._received += octets
            return bool(octets)
        self._incoming.write(octets)
        return self._decrypt(self._channel)

    def _decrypt(self, channel: ssl.SSLObject) -> bool:
        """Take what can be decrypted; False if there was nothing any more but the peer's close_notify."""
        before = len(self._received)
        try:
            while plain := channel.read(65536):
                self._received += plain
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLZeroReturnError:
            pass
        self._has_ended = True
        return len(self._received) > before

    async def _receive_octets(self) -> bytes:
        """What has come; nothing if the peer has ended the connection."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        except ConnectionError:
            return b""


def trusting_context() -> ssl.SSLContext:
    """A context that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

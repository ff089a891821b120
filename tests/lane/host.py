"""A host on loopback for tests of connections: says what a script tells it, in clear and in TLS, and notes what it hears."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from penstock.net.tls import TlsChannel, TlsError

#: What a host says to a verb; behind a handshake, ``tls`` before the verb comes first: ``tls EHLO``. Behind STARTTLS and its 220, ``handshake``
#: is what it says in place of one, to whatever comes.
GOOD = {
    "": "220 mx.test ESMTP",
    "EHLO": "250-mx.test\r\n250-PIPELINING\r\n250 STARTTLS",
    "tls EHLO": "250-mx.test\r\n250 PIPELINING",
    "LHLO": "250-mx.test\r\n250 PIPELINING",
    "STARTTLS": "220 go",
    "AUTH": "235 yes",
    "QUIT": "221 bye",
}
#: In a script: the connection ends there without a word.
CLOSE = "close"
#: In a script: the connection ends within a reply, without a farewell.
CUT = "cut"
#: In a script: close_notify (RFC 8446 6.1), and nothing further; the connection stays.
FAREWELL = "farewell"
#: In a script: nothing is said.
SILENCE = "silence"


class Host:
    """Keeps what it heard of each connection, as ``clear`` or ``tls`` and a line, and how each ended."""

    def __init__(self, context: ssl.SSLContext, script: Mapping[str, str]) -> None:
        self.script = {**GOOD, **script}
        self.context = context
        self.heard: list[list[str]] = []
        #: for each connection in TLS that has ended: whether we were told so (close_notify)
        self.farewells: list[bool] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        session = _Session(self, writer)
        self.heard.append(session.heard)
        try:
            session.say("")
            while not writer.is_closing() and (data := await reader.read(65_536)):
                session.hear(data)
        except ConnectionError:
            pass
        finally:
            if session.channel is not None:
                self.farewells.append(session.channel.has_ended)
            writer.close()


class _Session:
    def __init__(self, host: Host, writer: asyncio.StreamWriter) -> None:
        self.heard: list[str] = []
        self.channel: TlsChannel | None = None
        self._host = host
        self._writer = writer
        self._rest = b""
        self._is_granted = False

    def hear(self, data: bytes) -> None:
        if self._is_granted and self.channel is None:
            self.say("handshake")
            return
        if self.channel is not None:
            try:
                data = self.channel.feed(data)
            except TlsError:
                data = b""
            self._writer.write(self.channel.take_output())
        self._rest += data
        while b"\r\n" in self._rest and not self._writer.is_closing():
            line, _, self._rest = self._rest.partition(b"\r\n")
            where = "clear" if self.channel is None else "tls"
            self.heard.append(f"{where} {line.decode()}")
            verb = line.decode().partition(" ")[0]
            self.say(verb)
            if verb == "QUIT":
                self._end()

    def say(self, verb: str) -> None:
        """What the script has for a verb, and what follows from it."""
        script = self._host.script
        words = script.get(verb, "500 what")
        if self.channel is not None:
            words = script.get(f"tls {verb}", words)
        if words == CLOSE:
            self._writer.transport.abort()
        elif words == CUT:
            self._write(b"250-mx.test\r\n250 PIPE")
            self._writer.close()
        elif words == FAREWELL and self.channel is not None:
            self.channel.close()
            self._writer.write(self.channel.take_output())
        elif words != SILENCE:
            self._write(words.encode() + b"\r\n")
            if verb == "STARTTLS" and words.startswith("220"):
                self._is_granted = True
                if "handshake" not in script:
                    self.channel = TlsChannel(self._host.context, server_side=True)

    def _write(self, octets: bytes) -> None:
        if self.channel is not None:
            self.channel.write(octets)
            octets = self.channel.take_output()
        self._writer.write(octets)

    def _end(self) -> None:
        if self.channel is None:
            self._writer.close()  # in TLS, the client's close_notify comes first


@asynccontextmanager
async def host(context: ssl.SSLContext, script: Mapping[str, str] | None = None) -> AsyncIterator[Host]:
    """A host that listens on a port of 127.0.0.1."""
    made = Host(context, script or {})
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made

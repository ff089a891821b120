"""A nameserver on loopback, UDP and TCP on one port, whose every answer is a function's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from penstock.mail.configuration import Endpoint

#: From a query, and whether it came by TCP, to the datagrams to answer with: none, or several.
Script = Callable[[dns.message.Message, bool], list[bytes]]

SOA = "ns.example. hostmaster.example. 1 7200 3600 1209600 {minimum}"


def answer(
    query: dns.message.Message,
    *records: str,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    authority: str | None = None,
    truncated: bool = False,
) -> bytes:
    """The answer to ``query``: ``records`` as zone files write them (``"example. 300 IN MX 10 mx.example."``), and one of the authority."""
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(rcode)
    response.answer = [_record(text) for text in records]
    if authority is not None:
        response.authority = [_record(authority)]
    if truncated:
        response.flags |= dns.flags.TC
    return response.to_wire(max_size=65535)


def _record(text: str) -> dns.rrset.RRset:
    name, ttl, _, kind, data = text.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), "IN", kind, data)


def question(query: dns.message.Message) -> tuple[str, str]:
    """The type and the name that ``query`` asks for."""
    kind, _, name = query.question[0].to_text().rpartition(" IN ")[::-1]
    return kind, name


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, script: Script) -> None:
        self._script = script

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio's
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        for reply in self._script(dns.message.from_wire(data), False):
            self._transport.sendto(reply, peer)


@contextlib.asynccontextmanager
async def nameserver(script: Script) -> AsyncIterator[Endpoint]:
    """A running nameserver, and where it is."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            query = dns.message.from_wire(await reader.readexactly(size))
            for reply in script(query, True):
                writer.write(len(reply).to_bytes(2, "big") + reply)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    udp, tcp = _pair_of_sockets()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(script), sock=udp)
    server = await asyncio.start_server(serve, sock=tcp)
    try:
        yield Endpoint("127.0.0.1", udp.getsockname()[1])
    finally:
        transport.close()
        server.close()
        await server.wait_closed()


def _pair_of_sockets() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket of loopback with the same port, whichever is free for both."""
    for _ in range(100):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp
    raise AssertionError("no port is free for both UDP and TCP")

"""The raw client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from penstock.mail.configuration import Endpoint
from penstock.sim.raw_client import RawClient, UnexpectedReplyError

from .world import run


@asynccontextmanager
async def saying(octets: bytes, *, closes: bool = False) -> AsyncIterator[Endpoint]:
    """A server that says this to everybody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        if not closes:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address, port = server.sockets[0].getsockname()
    yield Endpoint(address, port)
    server.close()


def test_replies_are_told_apart() -> None:
    """Several lines make one reply; several replies in one segment are several."""

    async def scene() -> None:
        async with saying(b"220-a\r\n220 b\r\n250 c\r\n250\r\n") as endpoint, RawClient(endpoint) as client:
            assert await client.reply() == b"220-a\r\n220 b\r\n"
            assert await client.expect(b"250", b"250") == [b"250 c\r\n", b"250\r\n"]

    run(scene())


def test_what_was_not_expected_is_shown() -> None:
    """With what came."""

    async def scene() -> None:
        async with saying(b"550 no\r\n") as endpoint, RawClient(endpoint) as client:
            with pytest.raises(UnexpectedReplyError, match="550 no"):
                await client.expect(b"250")

    run(scene())


def test_the_end_of_the_connection_is_an_error_where_a_reply_is_due() -> None:
    """And what came before it is shown."""

    async def scene() -> None:
        async with saying(b"250-half", closes=True) as endpoint, RawClient(endpoint) as client:
            with pytest.raises(ConnectionResetError, match="250-half"):
                await client.reply()

    run(scene())


def test_a_reply_that_does_not_come_is_not_waited_for_forever() -> None:
    """The deadline is the caller's."""

    async def scene() -> None:
        async with saying(b"") as endpoint, RawClient(endpoint, within=0.01) as client:
            with pytest.raises(TimeoutError):
                await client.reply()

    run(scene())


def test_an_endless_reply_is_given_up() -> None:
    """A megabyte without an end is no reply."""

    async def scene() -> None:
        async with saying(b"250-" + b"x" * 1_200_000) as endpoint, RawClient(endpoint) as client:
            with pytest.raises(UnexpectedReplyError, match="without an end"):
                await client.reply()

    run(scene())

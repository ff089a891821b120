"""The server in a running loop: real sockets on loopback, port 0, and clients that misbehave."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from penstock.api.app import control_app, public_app
from penstock.api.client import control_get
from penstock.api.connection import ConnectionLimits
from penstock.api.control import ControlError, ControlSocket, control_path
from penstock.api.server import HttpServer
from penstock.mail.configuration import LOOPBACK
from penstock.mail.status import Status

from .fake_server import FakeServer, status

LIVENESS = b"GET /api/check-liveness/v1 HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b'{"status":"ok"}'


@asynccontextmanager
async def serving(limits: ConnectionLimits | None = None) -> AsyncIterator[tuple[HttpServer, int]]:
    """The public application on a port of its own."""
    fake = FakeServer()
    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(public_app(fake, fake, LOOPBACK), [listening], limits)
    port = listening.getsockname()[1]
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(5.0)


async def exchange(port: int, octets: bytes) -> bytes:
    """What comes back for these octets until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(octets)
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_server_answers_and_stops() -> None:
    """It serves inside the loop that runs; after ``stop`` nobody answers."""

    async def run() -> int:
        async with serving() as (server, port):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/metrics") as answer,
            ):
                assert answer.status == 200
                assert "Server" not in answer.headers
            assert server.connections <= 1
        return port

    port = asyncio.run(run())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_signals_stay_the_programs() -> None:
    """The handlers of the program are the same before, while and after it serves."""

    async def run() -> None:
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        async with serving():
            assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before

    asyncio.run(run())


def test_forwarding_headers_are_not_believed() -> None:
    """``X-Forwarded-For`` from loopback changes nothing about who asks."""

    async def run() -> None:
        async with (
            serving() as (_, port),
            aiohttp.ClientSession(headers={"X-Forwarded-For": "203.0.113.9"}) as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            assert answer.status == 200

    asyncio.run(run())


def test_connection_is_kept_for_the_next_request() -> None:
    """HTTP/1.1 keeps connections; requests sent ahead are answered in order."""

    async def run() -> None:
        async with serving() as (_, port):
            last = LIVENESS.replace(b"Host", b"Connection: close\r\nHost")
            answer = await exchange(port, LIVENESS * 3 + last)
            assert answer.count(OK) == 4

    asyncio.run(run())


def test_endless_header_section_is_cut_off() -> None:
    """431 as soon as there are too many octets without an empty line, in one field or in many."""

    async def run() -> None:
        async with serving(ConnectionLimits(header_bytes=1000)) as (_, port):
            for fields in (b"A: " + b"x" * 2000, b"A: x\r\n" * 400, b""):
                answer = await exchange(
                    port, b"GET /" + (b"x" * 2000 if not fields else b"") + b" HTTP/1.1\r\n" + fields
                )
                assert answer.startswith(b"HTTP/1.1 431 ")
                head, _, body = answer.partition(b"\r\n\r\n")
                assert f"content-length: {len(body)}\r\n".encode() in head

    asyncio.run(run())


def test_too_many_requests_ahead_end_the_connection() -> None:
    """A client that never reads cannot make us keep its requests."""

    async def run() -> None:
        async with serving(ConnectionLimits(requests_ahead=4)) as (_, port):
            assert (await exchange(port, LIVENESS * 500)).count(OK) <= 5

    asyncio.run(run())


@pytest.mark.parametrize(
    "octets", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["silence", "line", "header"]
)
def test_unfinished_request_ends_at_its_deadline(octets: bytes) -> None:
    """A client that stops in the middle does not stay; here the deadline is over as soon as the loop looks at it."""

    async def run() -> None:
        async with serving(ConnectionLimits(deadline=0.0)) as (_, port):
            assert await exchange(port, octets) == b""

    asyncio.run(run())


def test_connections_are_bounded() -> None:
    """One too many is ended at once; the others go on."""

    async def run() -> None:
        async with serving(ConnectionLimits(connections=2)) as (_, port):
            kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for _, writer in kept:
                writer.write(LIVENESS)
            for reader, _ in kept:
                await reader.readuntil(OK)
            assert await exchange(port, LIVENESS) == b""
            for reader, writer in kept:
                writer.write(LIVENESS)
                await reader.readuntil(OK)
                writer.close()

    asyncio.run(run())


def test_no_http_is_answered_400() -> None:
    """An SMTP client at the wrong port."""

    async def run() -> None:
        async with serving() as (_, port):
            assert (await exchange(port, b"EHLO client.example\r\n")).startswith(b"HTTP/1.1 400 ")

    asyncio.run(run())


def test_stop_ends_a_request_that_hangs() -> None:
    """After the deadline of ``stop`` what is left is ended, whatever it was doing."""

    async def run() -> None:
        entered = asyncio.Event()

        async def hang(scope: Scope, receive: Receive, send: Send) -> None:
            entered.set()
            await asyncio.Event().wait()

        listening = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(hang, [listening])
        port = listening.getsockname()[1]
        await server.start()
        client = asyncio.create_task(exchange(port, LIVENESS))
        await entered.wait()
        await server.stop(0.0)
        assert await client == b""
        assert server.connections == 0

    asyncio.run(run())


def test_server_that_never_started_can_be_stopped() -> None:
    """Cleaning up needs no questions."""
    fake = FakeServer()
    asyncio.run(HttpServer(public_app(fake, fake, LOOPBACK), []).stop(1.0))


@asynccontextmanager
async def controlled(data_dir: Path) -> AsyncIterator[ControlSocket]:
    """The control application on the socket of a data directory."""
    control = ControlSocket(data_dir)
    server = HttpServer(control_app(FakeServer()), [control.socket])
    await server.start()
    try:
        yield control
    finally:
        await server.stop(5.0)
        control.remove()


def test_status_can_be_asked_over_the_control_socket(tmp_path: Path) -> None:
    """The socket is private, and gone after the end."""

    async def run() -> None:
        async with controlled(tmp_path) as control:
            assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
            assert stat.S_IMODE(control.path.parent.stat().st_mode) == 0o700
            answer = await control_get(tmp_path, "/control/status/v1")
            assert msgspec.json.decode(answer, type=Status) == status()
        assert not control.path.exists()

    asyncio.run(run())


def test_second_server_of_a_data_directory_is_refused(tmp_path: Path) -> None:
    """A socket that somebody answers is not touched."""

    async def run() -> None:
        async with controlled(tmp_path):
            with pytest.raises(ControlError, match="another server is running for data_dir"):
                ControlSocket(tmp_path)
            assert await control_get(tmp_path, "/control/status/v1")

    asyncio.run(run())


def test_server_that_is_too_busy_to_answer_is_still_one(tmp_path: Path) -> None:
    """Its queue of connections is full, so it is there."""
    path = control_path(tmp_path)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(ControlError, match="another server is running"):
            ControlSocket(tmp_path)


def test_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    """Nobody answers on it, so it is nobody's."""

    async def run() -> None:
        ControlSocket(tmp_path).socket.close()
        async with controlled(tmp_path):
            assert await control_get(tmp_path, "/control/status/v1")

    asyncio.run(run())


def test_socket_of_another_server_is_not_removed(tmp_path: Path) -> None:
    """The first server ends late; the second one's socket stays."""
    first = ControlSocket(tmp_path)
    first.socket.close()
    second = ControlSocket(tmp_path)
    first.remove()
    assert second.path.exists()
    second.remove()
    second.remove()
    assert not second.path.exists()
    second.socket.close()


def test_file_that_is_no_socket_is_not_touched(tmp_path: Path) -> None:
    """Whatever it is, it is not ours to delete."""
    path = control_path(tmp_path)
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ControlError, match="it is no socket"):
        ControlSocket(tmp_path)
    assert path.read_text() == "precious"


def test_run_that_is_no_directory_is_an_error_in_words(tmp_path: Path) -> None:
    """No traceback reaches an administrator."""
    (tmp_path / "run").write_text("")
    with pytest.raises(ControlError, match=r"control\.sock: "):
        ControlSocket(tmp_path)


def test_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    """unix(7): sun_path has 108 octets, the last one NUL."""
    with pytest.raises(ControlError, match="too long for a Unix socket"):
        control_path(tmp_path / ("x" * 108))


def ask_in_vain(data_dir: Path, path: str = "/control/status/v1", deadline: float = 5.0) -> str:
    """Why there was no answer."""
    with pytest.raises(ControlError) as caught:
        asyncio.run(control_get(data_dir, path, deadline=deadline))
    return str(caught.value)


def test_client_says_that_no_server_runs(tmp_path: Path) -> None:
    """With no socket, and with one that nobody answers."""
    assert ask_in_vain(tmp_path).startswith(f"no server is running for data_dir {tmp_path} (there is no ")
    control = ControlSocket(tmp_path)
    control.socket.close()
    assert ask_in_vain(tmp_path).startswith(
        f"no server is running for data_dir {tmp_path} (nobody answers on "
    )


def test_client_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A server that hangs is told from one that is not there."""
    control = ControlSocket(tmp_path)
    assert "did not answer within 0 s" in ask_in_vain(tmp_path, deadline=0.0)
    control.socket.close()


def test_client_says_that_the_server_refused(tmp_path: Path) -> None:
    """A path that this version does not know."""

    async def run() -> None:
        async with controlled(tmp_path):
            with pytest.raises(ControlError, match="refused /control/news: Not Found"):
                await control_get(tmp_path, "/control/news")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "broke off its answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "broke off its answer"),
        (b"220 mail.example ESMTP\r\n", "broke off its answer"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nabc", "HTTP status 500"),
    ],
    ids=["nothing", "half", "SMTP", "500"],
)
def test_client_says_that_the_answer_is_none(tmp_path: Path, answer: bytes, words: str) -> None:
    """Something else on the socket, or a server that died in the middle."""

    async def run() -> None:
        control = ControlSocket(tmp_path)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_unix_server(serve, sock=control.socket):
            with pytest.raises(ControlError, match=words):
                await control_get(tmp_path, "/control/status/v1")

    asyncio.run(run())

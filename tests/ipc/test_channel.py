"""Channels between two ends on a real socket: order, back-pressure, ends, and who may connect."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from penstock.ipc.channel import HIGH_MARK, Channel, ChannelError, connect, listen, may_talk, over
from penstock.ipc.frames import VERSION, Frame, ProtocolError

Run = Callable[[Awaitable[None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scene on either loop, within a deadline."""

    def go(scene: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await scene
            await asyncio.sleep(0.0)  # uvloop closes a socket a turn after it has said so

        request.param(bounded())

    return go


class End:
    """One end, and all that it was told."""

    def __init__(self, **limits: int) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.over: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.writable = asyncio.Event()
        self.channel = Channel(self.frames.put_nowait, self.over.set_result, self.writable.set, **limits)


@contextlib.asynccontextmanager
async def pair(**limits: int) -> AsyncIterator[tuple[End, End]]:
    """Two ends that are connected; the first has these limits."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    one, other = End(**limits), End()
    await over(ours, one.channel)
    await over(its, other.channel)
    try:
        yield one, other
    finally:
        one.channel.abort()
        other.channel.abort()
        await asyncio.gather(one.over, other.over)


@contextlib.asynccontextmanager
async def raw(**limits: int) -> AsyncIterator[tuple[End, socket.socket]]:
    """An end, and a socket that may say what it wants."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    end = End(**limits)
    await over(ours, end.channel)
    with its:
        its.setblocking(False)
        yield end, its
    end.channel.abort()
    await end.over


def test_frames_arrive_in_order_both_ways(run: Run) -> None:
    """Small ones and large ones, with tails of several pieces."""

    async def scene() -> None:
        async with pair() as (one, other):
            for number in range(200):
                one.channel.send(
                    1, number, b"head", (b"t" * number, b"x" * (70_000 if number % 50 == 0 else 0))
                )
                other.channel.send(2, number, b"", (b"back",))
            for number in range(200):
                frame = await other.frames.get()
                assert (frame.kind, frame.number, frame.head) == (1, number, b"head")
                assert bytes(frame.tail) == b"t" * number + b"x" * (70_000 if number % 50 == 0 else 0)
                assert (await one.frames.get()).number == number

    run(scene())


def test_a_side_that_does_not_read_makes_a_backlog(run: Run) -> None:
    """Sending does not wait; ``writable`` is called once it has been taken."""

    async def scene() -> None:
        async with pair() as (one, other):
            other.channel.pause()
            sent = 0
            while one.channel.backlog <= HIGH_MARK:
                one.channel.send(1, sent, b"", (bytes(50_000),))
                sent += 1
                await asyncio.sleep(0)
            assert not one.writable.is_set()
            other.channel.resume()
            await one.writable.wait()
            assert one.channel.backlog < HIGH_MARK
            assert [(await other.frames.get()).number for _ in range(sent)] == list(range(sent))

    run(scene())


def test_a_side_that_takes_nothing_is_given_up(run: Run) -> None:
    """What is kept for it has a bound."""

    async def scene() -> None:
        async with raw(backlog_limit=1_000_000) as (end, _):
            while end.channel.is_open:
                end.channel.send(1, 1, b"", (bytes(50_000),))
                assert end.channel.backlog < 1_100_000
            assert await end.over == "the other process has not taken 1000000 octets"

    run(scene())


def test_what_is_over_its_limits_is_not_sent(run: Run) -> None:
    """A mistake of the sender ends nothing."""

    async def scene() -> None:
        async with pair(head_limit=10, tail_limit=10) as (one, other):
            with pytest.raises(ValueError, match="over its limits"):
                one.channel.send(1, 1, b"h" * 11)
            one.channel.send(1, 2)
            assert (await other.frames.get()).number == 2

    run(scene())


def test_closing_lets_the_rest_be_taken(run: Run) -> None:
    """Both sides are told of an orderly end, once all was received; nothing can be sent after it."""

    async def scene() -> None:
        async with pair() as (one, other):
            other.channel.pause()
            for number in range(100):
                one.channel.send(1, number, b"", (bytes(20_000),))
            one.channel.close()
            assert not one.channel.is_open
            one.channel.send(1, 100)
            other.channel.resume()
            assert await other.over is None
            assert await one.over is None
            assert other.frames.qsize() == 100
            other.channel.send(1, 1)
            assert not other.channel.is_open

    run(scene())


def test_a_channel_closed_before_it_is_connected_ends_at_once(run: Run) -> None:
    """Whoever gave it up is not surprised by frames."""

    async def scene() -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        end = End()
        end.channel.close()
        await over(ours, end.channel)
        assert await end.over is None
        its.close()

    run(scene())


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "speaks version 47"),
        (struct.pack("!IBBQI", 4, VERSION + 1, 0, 0, 0), f"speaks version {VERSION + 1}"),
        (struct.pack("!IBBQI", 2**32 - 1, VERSION, 0, 0, 0), "over the limits"),
        (struct.pack("!IBBQI", 4, VERSION, 0, 0, 5), "over the limits"),
    ],
    ids=["http", "version", "length", "head"],
)
def test_a_hostile_process_is_cut_off(run: Run, octets: bytes, reason: str) -> None:
    """With what was wrong; whole frames before it count."""

    async def scene() -> None:
        async with raw() as (end, its):
            its.send(struct.pack("!IBBQI", 0, VERSION, 7, 8, 0) + octets)
            found = await end.over
            assert found is not None and reason in found
            assert (await end.frames.get())[:2] == (7, 8)
            assert end.frames.empty()
            assert its.recv(1) == b""

    run(scene())


def test_a_process_that_dies_in_a_frame_is_told_apart(run: Run) -> None:
    """From one that closes between two."""

    async def scene() -> None:
        async with raw() as (end, its):
            its.send(struct.pack("!IBBQI", 10, VERSION, 7, 8, 0) + b"half")
            its.close()
            assert await end.over == "the other process ended in the middle of a frame"
        async with raw() as (end, its):
            its.close()
            assert await end.over is None

    run(scene())


def test_a_frame_that_cannot_be_understood_ends_the_channel(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """By a ProtocolError with its text; a mistake of ours is logged. Nothing is received after either."""

    async def scene() -> None:
        for fault, reason in (
            (ProtocolError("no such word"), "no such word"),
            (KeyError("ours"), "a frame could not be handled; the log says why"),
        ):
            told: list[int] = []

            def received(frame: Frame, fault: Exception = fault, told: list[int] = told) -> None:
                told.append(frame.number)
                raise fault

            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            await over(ours, Channel(received, ended.set_result))
            its.send(struct.pack("!IBBQI", 0, VERSION, 7, 1, 0) * 2)
            assert await ended == reason
            assert told == [1]
            its.close()

    run(scene())
    assert [record.message for record in caplog.records] == ["a frame could not be handled"]


def test_listening_and_connecting(run: Run, tmp_path: Path) -> None:
    """The file is for us alone, is replaced when its owner is dead, and goes with its server."""

    async def scene() -> None:
        path = tmp_path / "lane-0.sock"
        ends: list[End] = []

        def make() -> Channel:
            ends.append(End())
            return ends[-1].channel

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            dead.bind(str(path))
        server = await listen(path, make)
        assert path.stat().st_mode & 0o777 == 0o600
        client = End()
        await connect(path, client.channel)
        client.channel.send(5, 6, b"hello")
        async with asyncio.timeout(5):
            while not ends:  # noqa: ASYNC110 - the loop accepts when it does
                await asyncio.sleep(0)
        assert (await ends[0].frames.get()).head == b"hello"
        with pytest.raises(ChannelError, match="another process answers"):
            await listen(path, make)
        server.close()
        assert not path.exists()
        ends[0].channel.close()
        assert await client.over is None
        with pytest.raises(ChannelError, match=r"cannot connect.*no such file"):
            await connect(path, End().channel)
        (tmp_path / "file").write_text("mine")
        with pytest.raises(ChannelError, match="it is no socket"):
            await listen(tmp_path / "file", make)
        for ask in (listen(tmp_path / ("x" * 120), make), connect(tmp_path / ("x" * 120), End().channel)):
            with pytest.raises(ChannelError, match="too long"):
                await ask

    run(scene())


def test_a_server_leaves_the_file_of_its_successor(run: Run, tmp_path: Path) -> None:
    """One that is started before the other one is closed."""

    async def scene() -> None:
        path = tmp_path / "x.sock"
        first = await listen(path, lambda: End().channel)
        path.unlink()
        second = await listen(path, lambda: End().channel)
        first.close()
        assert path.exists()
        second.close()

    run(scene())


def test_other_sockets_are_refused(run: Run) -> None:
    """A worker that is given a wrong descriptor says so."""

    async def scene() -> None:
        with socket.socket() as other, pytest.raises(ChannelError, match="no Unix stream socket"):
            await over(other, End().channel)

    run(scene())


def test_who_may_talk() -> None:
    """Our own user, and root."""
    assert may_talk(1000, 1000)
    assert may_talk(0, 1000)
    assert not may_talk(1001, 1000)
    assert not may_talk(1000, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_cut_off(run: Run, tmp_path: Path) -> None:
    """Also if the file lets it in."""

    async def scene() -> None:
        path = f"\0penstock-test-{os.getpid()}"  # abstract: no folder of pytest's, which are private, is in the way
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(path)
        listening.listen()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
                stranger.connect(path)
                os._exit(len(stranger.recv(1)))
        listening.setblocking(False)
        accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
        end = End()
        await over(accepted, end.channel)
        assert await end.over == "the other process is of user 65534, which is neither ours nor root"
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it ends at once
        listening.close()

    run(scene())


def test_what_was_said_before_a_channel_was_taken_over_is_given_out(run: Run) -> None:
    """Also if nothing is said after it: whoever started us waits for the answer."""

    async def scenario() -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        one = End()
        await over(ours, one.channel)
        one.channel.send(7, 1, b"are you there?")
        await asyncio.sleep(0.0)
        other = End()
        await over(its, other.channel)
        assert (await other.frames.get()).head == b"are you there?"
        one.channel.abort()
        other.channel.abort()
        await asyncio.gather(one.over, other.over)

    run(scenario())

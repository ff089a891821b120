"""Requests, answers and notes between two ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
import uvloop

from penstock.ipc.bus import WAITING_LIMIT, Bus, BusEnded, BusFault, Done
from penstock.ipc.channel import Channel, over
from penstock.ipc.frames import HEAD_LIMIT, ProtocolError
from penstock.ipc.vocabulary import Vocabulary


class Add(msgspec.Struct, frozen=True):
    """A request."""

    left: int
    right: int = 0


class Sum(msgspec.Struct, frozen=True):
    """Its answer."""

    value: int
    more: bytes = b""


class News(msgspec.Struct, frozen=True):
    """A note."""

    text: str


WORDS = Vocabulary(Add, Sum, News)


def run(scene: Any) -> None:
    """Run it within a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scene
        await asyncio.sleep(0.0)  # uvloop closes a socket a turn after it has said so

    uvloop.run(bounded())


class Side:
    """A bus and how it ended."""

    def __init__(self, handlers: Mapping[type, Any], words: Vocabulary = WORDS) -> None:
        self.over: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.bus = Bus(words, handlers, self.over.set_result)


@contextlib.asynccontextmanager
async def talking(
    handlers: Mapping[type, Any], others: Mapping[type, Any] | None = None, words: Vocabulary = WORDS
) -> AsyncIterator[tuple[Side, Side]]:
    """Two sides that are connected; the second handles with ``handlers``, the first with ``others``."""
    one, other = Side(others or {}, words), Side(handlers)
    for side, sock in zip((one, other), socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM), strict=True):
        await over(sock, side.bus.channel)
    try:
        yield one, other
    finally:
        one.bus.close()
        other.bus.close()
        await asyncio.gather(one.over, other.over)


def test_requests_are_answered() -> None:
    """At once, later, with nothing, from both sides at the same time."""

    async def late(add: Add) -> Sum:
        await asyncio.sleep(0)
        return Sum(add.left * 2)

    async def scene() -> None:
        async with talking(
            {Add: lambda add: Sum(add.left + add.right)}, {Add: late, News: lambda _: None}
        ) as (one, other):
            assert await one.bus.ask(Add(1, 2), 5) == Sum(3)
            assert await asyncio.gather(
                *(side.bus.ask(Add(n, 1), 5) for n in range(50) for side in (one, other))
            ) == [answer for n in range(50) for answer in (Sum(n + 1), Sum(n * 2))]
            assert await other.bus.ask(News("?"), 5) == Done()

    run(scene())


def test_notes_and_requests_are_handled_in_order() -> None:
    """A slow handler holds up nothing that comes after it."""
    told: list[str] = []
    gate = asyncio.Event()

    async def slow(_: Add) -> Sum:
        await gate.wait()
        return Sum(0)

    async def scene() -> None:
        async with talking({News: lambda news: told.append(news.text), Add: slow}) as (one, _):
            one.bus.tell(News("a"))
            waiting = asyncio.create_task(one.bus.ask(Add(0), 5))
            await asyncio.sleep(0)
            one.bus.tell(News("b"))
            await one.bus.ask(News("c"), 5)
            assert told == ["a", "b", "c"] and not waiting.done()
            gate.set()
            assert await waiting == Sum(0)

    run(scene())


def test_faults_reach_who_asked(caplog: pytest.LogCaptureFixture) -> None:
    """With the text that was meant for them; a mistake is logged where it happened, counted, and not told in detail."""

    async def refuse(_: Add) -> Sum:
        raise BusFault("there is no room")

    def fail(_: News) -> None:
        raise KeyError("secret")

    async def scene() -> None:
        async with talking({Add: refuse, News: fail}) as (one, other):
            with pytest.raises(BusFault, match="there is no room"):
                await one.bus.ask(Add(0), 5)
            with pytest.raises(BusFault, match="News could not be handled; the log") as found:
                await one.bus.ask(News(""), 5)
            assert "secret" not in str(found.value)
            one.bus.tell(News(""))
            with pytest.raises(BusFault, match="Sum is nothing that this process can be told"):
                await one.bus.ask(Sum(1), 5)
            assert other.bus.mistakes == 2

    run(scene())
    assert [record.message for record in caplog.records] == ["bus: News could not be handled"] * 2


def test_an_answer_that_cannot_be_sent_is_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Too large, or no word: who asked does not wait for its deadline."""
    answers = iter([Sum(0, bytes(HEAD_LIMIT)), Done()])

    async def scene() -> None:
        async with talking({Add: lambda _: next(answers)}) as (one, other):
            for _ in range(2):
                with pytest.raises(BusFault, match="Add could not be handled"):
                    await one.bus.ask(Add(0), 5)
            assert other.bus.mistakes == 2

    run(scene())


def test_an_answer_that_does_not_come() -> None:
    """TimeoutError; the bus goes on, and the answer that comes too late is nobody's."""
    gate = asyncio.Event()

    async def slow(add: Add) -> Sum:
        if add.left:
            await gate.wait()
        return Sum(add.left)

    async def scene() -> None:
        async with talking({Add: slow}) as (one, _):
            with pytest.raises(TimeoutError):
                await one.bus.ask(Add(1), 0.0)
            gate.set()
            assert await one.bus.ask(Add(0), 5) == Sum(0)

    run(scene())


def test_the_end_of_the_other_side() -> None:
    """Who waits is told, handlers that wait are cancelled, and there is nobody to ask any more."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def never(_: Add) -> Sum:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async def scene() -> None:
        async with talking({Add: never}) as (one, other):
            waiting = asyncio.create_task(one.bus.ask(Add(1), 5))
            await begun.wait()
            other.bus.close()
            with pytest.raises(BusEnded, match="closed the connection"):
                await waiting
            assert await one.over is None and await other.over is None
            await cancelled.wait()
            with pytest.raises(BusEnded):
                await one.bus.ask(Add(1), 5)
            one.bus.tell(News("nobody hears it"))

    run(scene())


def test_a_bus_that_is_not_connected() -> None:
    """Says so."""

    async def scene() -> None:
        with pytest.raises(BusEnded, match="is not connected"):
            await Side({}).bus.ask(Add(1), 5)

    run(scene())


def test_too_many_requests_that_wait() -> None:
    """The one over the limit is refused; a note over it ends the bus."""
    gate = asyncio.Event()

    async def slow(_: Any) -> Sum:
        await gate.wait()
        return Sum(1)

    async def scene() -> None:
        async with talking({Add: slow, News: slow}) as (one, other):
            waiting = [asyncio.create_task(one.bus.ask(Add(0), 5)) for _ in range(WAITING_LIMIT)]
            await asyncio.sleep(0)
            with pytest.raises(BusFault, match="wait for their answers"):
                await one.bus.ask(Add(0), 5)
            gate.set()
            assert set(await asyncio.gather(*waiting)) == {Sum(1)}
            gate.clear()
            for _ in range(WAITING_LIMIT + 1):
                one.bus.tell(News(""))
            found = await other.over
            assert found is not None and "more than 1000 things" in found

    run(scene())


@pytest.mark.parametrize(
    ("kind", "number", "head", "tail", "reason"),
    [
        (200, 1, b"", b"", "unknown kind 200"),
        (0, 1, b"\xff\xff", b"", "a Add that is none"),
        (0, 1, msgspec.msgpack.encode({"left": "1"}), b"", "a Add that is none"),
        (0, 1, b"\x91" * 100_000, b"", "a Add that is none"),
        (1, 1 << 63 | 5, msgspec.msgpack.encode(Sum(1)), b"", "answered what it was not asked"),
        (2, 0, msgspec.msgpack.encode(News("")), b"tail", "sent a tail on a bus"),
    ],
)
def test_nonsense_ends_the_bus(kind: int, number: int, head: bytes, tail: bytes, reason: str) -> None:
    """With a reason."""

    async def scene() -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        side = Side({Add: lambda _: Sum(1)})
        gone = asyncio.Event()
        hostile = Channel(lambda _: None, lambda _: gone.set())
        await over(ours, side.bus.channel)
        await over(its, hostile)
        hostile.send(kind, number, head, (tail,))
        found = await side.over
        assert found is not None and reason in found
        await gone.wait()

    run(scene())


def test_vocabularies() -> None:
    """Kinds are places; both directions are checked."""
    assert WORDS.encode(Sum(1))[0] == 1
    assert WORDS.decode(*WORDS.encode(Add(3, 4))) == Add(3, 4)
    with pytest.raises(ValueError, match="Done is not in the vocabulary"):
        WORDS.encode(Done())
    with pytest.raises(ValueError, match="each once"):
        Vocabulary(Add, Add)
    with pytest.raises(ProtocolError, match="unknown kind 3"):
        WORDS.decode(3, b"")

"""A sink on loopback, a client that talks to it, and waiting for what must come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from penstock.mail.configuration import Endpoint
from penstock.sim.clock import FakeClock
from penstock.sim.raw_client import PATIENCE, RawClient
from penstock.sim.sink import Action, Extension, Kind, Rule, Script, Sink, SinkMessage, SinkOptions, Stage
from penstock.sim.sink.options import DEFAULT_EXTENSIONS

HELLO = b"EHLO client.test\r\n"


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine on the loop that the programs run on, with a deadline for all of it."""

    async def bounded() -> None:
        async with asyncio.timeout(6 * PATIENCE):
            await coroutine

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


class Place:
    """A running sink: where it is, what it got, its clock."""

    def __init__(self, sink: Sink, endpoint: Endpoint, got: list[SinkMessage], clock: FakeClock) -> None:
        self.sink = sink
        self.endpoint = endpoint
        self.got = got
        self.clock = clock

    @asynccontextmanager
    async def client(self, *, hello: bool = True) -> AsyncIterator[RawClient]:
        """A client; with ``hello`` it has been greeted and has introduced itself."""
        async with RawClient(self.endpoint) as client:
            if hello:
                await client.expect(b"220")
                await client.ask(HELLO, b"250")
            yield client


@asynccontextmanager
async def place(
    options: SinkOptions | None = None,
    *,
    rules: Sequence[Rule] = (),
    seed: int = 1,
    local_parts: bool = True,
    keep: bool = True,
) -> AsyncIterator[Place]:
    """A sink on a free port, with a clock that stands still; ``keep`` False runs it without looking at messages."""
    got: list[SinkMessage] = []
    clock = FakeClock()
    script = Script(tuple(rules), seed, local_parts)
    async with Sink(options, script=script, on_message=got.append if keep else None, clock=clock) as sink:
        [endpoint] = await sink.start()
        yield Place(sink, endpoint, got, clock)


def without(extension: Extension) -> SinkOptions:
    """Options of a sink that does not offer ``extension``."""
    return SinkOptions(extensions=DEFAULT_EXTENSIONS - {extension})


def rule(kind: Kind, stage: Stage, **keys: Any) -> Rule:
    """A rule: keys of ``Rule`` and of ``Action`` mixed, as in a script file."""
    of_action = {key: keys.pop(key) for key in ("code", "enhanced", "text", "delay", "octets") if key in keys}
    return Rule(action=Action(kind, stage, **of_action), **keys)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, going round the loop; TimeoutError if it does not in time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what it waits for is anything a test can see
            await asyncio.sleep(0)


async def rounds(count: int = 20) -> None:
    """Let the loop go round: time enough for whatever would come wrongly."""
    for _ in range(count):
        await asyncio.sleep(0)


async def talk(
    client: RawClient,
    recipient: str,
    content: bytes = b"Subject: x\r\n\r\nhello\r\n",
    *,
    sender: str = "s@from.test",
) -> bytes:
    """One transaction, a command at a time; the reply that ended it, or the end of the connection as ``b""``."""
    try:
        for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
            await client.send(command.encode() + b"\r\n")
            reply = await client.reply()
            if reply[:1] not in b"23":
                return reply
        await client.send(content + b".\r\n")
        return await client.reply()
    except ConnectionError:
        return b""

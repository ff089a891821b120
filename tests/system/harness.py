"""A server and the world around it, in one event loop, for tests: made from the configuration that a test writes, on ports of the system's choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.cli.checking import endpoints, prepared
from penstock.mail.configuration import Endpoint
from penstock.net.clock import SystemClock
from penstock.net.listening import bind_all, endpoint_of
from penstock.sim.raw_client import RawClient
from penstock.sim.sink.message import SinkMessage
from penstock.sim.sink.options import SinkOptions
from penstock.sim.sink.script import Script
from penstock.sim.sink.server import Sink
from penstock.worker.worker import Worker
from tests.events.told import Told

PATIENCE = 20.0
DESCRIPTORS = 1024

QUEUES = """
tenant_header = "X-Tenant"
campaign_header = "X-Campaign"
[tenant.'acme']
[tenant.'bluebird']
[queue.default]
retry_interval = "{retry_interval}"
max_age = "{max_age}"
"""
ROOT = """
[node]
hostname = "mta.test"
data_dir = "data"
{node}
[[listener.smtp]]
listen = ["127.0.0.1:0"]
{listener}
[files]
queues = "queues.toml"
shaping = "shaping.toml"
[dns]
nameservers = ["127.0.0.1:9"]
[dns.static]
"mx.here.test" = {{ a = ["127.0.0.1"] }}
"a.test" = {{ mx = ["mx.here.test"] }}
"b.test" = {{ mx = ["mx.here.test"] }}
"c.test" = {{ mx = ["mx.other.test"] }}
"mx.other.test" = {{ a = ["127.0.0.1"] }}
"fallback.test" = {{ mx = ["10 mx.dead.test", "20 mx.here.test"] }}
"mx.dead.test" = {{ a = ["127.0.0.77"] }}
"null.test" = {{ mx = ["0 ."] }}
"dead.test" = {{ mx = ["mx.dead.test"] }}
{dns}
"""
SHAPING = """
["default"]
smtp_port = {port}
prohibited_hosts = [{prohibited}]
{path}
"""


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait, giving others their turn, until a condition holds; a failure of the test that names it if it does not within PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  # conditions are of many things, few of which have an event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"in vain waited until {what}") from None


@dataclass
class World:
    """A server, a sink that all destinations lead to, and what the sink got."""

    place: Path
    sink: Sink
    sink_at: Endpoint
    got: list[SinkMessage] = field(default_factory=list)
    worker: Worker = None  # type: ignore[assignment]  # set before the test has it
    smtp: Endpoint = None  # type: ignore[assignment]
    told: Told | None = None

    def accepted(self) -> list[SinkMessage]:
        """The messages that the sink took."""
        return [message for message in self.got if message.is_accepted]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events so far, of these kinds; all if none is named."""
        if self.told is None:
            self.told = Told(self.worker.spool)
        return [event for event in self.told.events() if not kinds or event["type"] in kinds]

    async def settled(self, recipients: int) -> None:
        """Wait until so many recipients have come to their end."""
        total = self.worker.tally.total
        await until(
            lambda: total.delivered + total.failed + total.expired >= recipients,
            f"{recipients} recipients are settled",
        )

    def client(self) -> RawClient:
        """A client of the server."""
        return RawClient(self.smtp, within=PATIENCE)

    async def send(
        self,
        recipients: Sequence[str],
        content: bytes = b"Subject: x\r\n\r\nbody\r\n",
        *,
        sender: str = "sender@from.test",
        parameters: str = "",
    ) -> str:
        """Send one message as a client would; the reply to its mail data."""
        async with self.client() as client:
            await client.expect(b"220")
            await client.ask(b"EHLO client.test\r\n", b"250")
            await client.ask(f"MAIL FROM:<{sender}>{parameters}\r\n".encode(), b"250")
            for recipient in recipients:
                await client.ask(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
            await client.ask(b"DATA\r\n", b"354")
            await client.send(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            reply = await client.reply()
            await client.ask(b"QUIT\r\n", b"221")
            return reply.decode()


@asynccontextmanager
async def world(
    place: Path,
    *,
    script: Script | None = None,
    options: SinkOptions | None = None,
    node: str = "",
    listener: str = "",
    dns: str = "",
    path: str = "",
    prohibited: str = "",
    retry_interval: str = "20 minutes",
    max_age: str = "7 days",
    port: int | None = None,
    descriptors: int = DESCRIPTORS,
) -> AsyncIterator[World]:
    """A running world. ``node``, ``listener``, ``dns`` and ``path`` are added to their tables."""
    got: list[SinkMessage] = []
    sink = Sink(options, script=script, on_message=got.append)
    (sink_at,) = await sink.start()
    made = World(place, sink, sink_at, got)
    (place / "penstock.toml").write_text(ROOT.format(node=node, listener=listener, dns=dns))
    (place / "queues.toml").write_text(QUEUES.format(retry_interval=retry_interval, max_age=max_age))
    (place / "shaping.toml").write_text(
        SHAPING.format(port=port or sink_at.port, prohibited=prohibited, path=path)
    )
    try:
        ready = prepared(place / "penstock.toml")
        sockets = bind_all(endpoints(ready.configuration))
        made.smtp = endpoint_of(sockets[0])
        made.worker = Worker(ready.configuration, [sockets], SystemClock(), descriptors, ready.policy)
        await made.worker.start()
        try:
            yield made
        finally:
            await made.worker.stop(1.0)
    finally:
        await sink.stop()

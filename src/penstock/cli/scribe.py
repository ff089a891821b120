"""``penstock scribe``: the process that writes the event log and serves HTTP, started by the supervisor. No command for people."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import uvloop

from penstock.api.app import public_app
from penstock.api.server import HttpServer
from penstock.cli.child import die, is_orphan, set_up_log, signals
from penstock.ipc.channel import over
from penstock.mail.configuration import Configuration
from penstock.net.clock import SystemClock
from penstock.scribe.duty import ScribeDuty
from penstock.worker import memory

_HTTP_GRACE: Final = 2.0


def scribe(arguments: Sequence[str]) -> int:
    """Serve as the supervisor says, over the socket that was inherited. ``arguments`` are pairs of ``--fd N`` and ``--log-level L``."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    set_up_log(options.get("--log-level", "info"))
    if is_orphan():
        return 1
    return uvloop.run(serve_events(socket.socket(fileno=int(options["--fd"]))))


async def serve_events(bus: socket.socket) -> int:
    """Be the scribe's process, ``bus`` being its end of the bus. From start to end; the exit code."""

    async def serve_http(
        configuration: Configuration, sockets: Sequence[Sequence[socket.socket]]
    ) -> Callable[[], Awaitable[None]]:
        servers = [
            HttpServer(public_app(duty, duty, config.trusted_hosts), group)
            for config, group in zip(configuration.http_listeners, sockets, strict=True)
        ]
        for server in servers:
            await server.start()

        async def stop() -> None:
            await asyncio.gather(*(server.stop(_HTTP_GRACE) for server in servers))

        return stop

    duty = ScribeDuty(SystemClock(), serve_http, memory.resident, die)
    with signals(duty.end):
        await over(bus, duty.bus.channel)
        return await duty.run()

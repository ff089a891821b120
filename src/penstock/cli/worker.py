"""``penstock worker``: one lane's process, started by the supervisor, or by ``penstock serve --lane``. No command for people."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop

from penstock.cli.child import die, is_orphan, set_up_log, signals
from penstock.ipc.channel import over
from penstock.net.clock import SystemClock
from penstock.net.descriptors import raise_descriptor_limit
from penstock.worker import memory
from penstock.worker.duty import Duty

Connect = Callable[[Duty], Coroutine[Any, Any, None]]


def worker(arguments: Sequence[str]) -> int:
    """Serve as the supervisor says, over the socket that was inherited. ``arguments`` are pairs of ``--fd N`` and ``--log-level L``."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    set_up_log(options.get("--log-level", "info"))
    if is_orphan():
        return 1
    bus = socket.socket(fileno=int(options["--fd"]))

    async def connect(duty: Duty) -> None:
        await over(bus, duty.bus.channel)

    return uvloop.run(serve_lane(connect))


async def serve_lane(connect: Connect) -> int:
    """Be a lane's process: ``connect`` has the supervisor, or raises. From start to end; the exit code."""
    memory.grow_in_place()
    duty = Duty(SystemClock(), raise_descriptor_limit(), die)
    with signals(duty.end):
        await connect(duty)
        return await duty.run()

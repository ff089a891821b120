"""``penstock worker``: one lane's process, started by the supervisor, or by ``penstock serve --lane``. No command for people."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

import uvloop

from penstock.ipc.channel import over
from penstock.net.clock import SystemClock
from penstock.net.descriptors import raise_descriptor_limit
from penstock.worker.duty import Duty

LOG = logging.getLogger(__name__)

#: prctl(2): the signal that we get when our parent dies
_PR_SET_PDEATHSIG: Final = 1
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"

Connect = Callable[[Duty], Coroutine[Any, Any, None]]


def worker(arguments: Sequence[str]) -> int:
    """Serve as the supervisor says, over the socket that was inherited. ``arguments`` are pairs of ``--fd N`` and ``--log-level L``."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    set_up_log(options.get("--log-level", "info"))
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1  # it died before we could ask to be told
    bus = socket.socket(fileno=int(options["--fd"]))

    async def connect(duty: Duty) -> None:
        await over(bus, duty.bus.channel)

    return uvloop.run(serve_lane(connect))


def set_up_log(level: str) -> None:
    """Diagnostics on stderr, from which process."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=_FORMAT)


async def serve_lane(connect: Connect) -> int:
    """Be a lane's process: ``connect`` has the supervisor, or raises. From start to end; the exit code."""
    loop = asyncio.get_running_loop()
    duty = Duty(SystemClock(), raise_descriptor_limit(), die)
    loop.add_signal_handler(signal.SIGTERM, duty.end)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        # the terminal's, and the service manager's for everybody, are the supervisor's to act upon
        loop.add_signal_handler(ignored, lambda: None)
    await connect(duty)
    try:
        return await duty.run()
    finally:
        for each in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2:
            with contextlib.suppress(RuntimeError):
                loop.remove_signal_handler(each)


def die(reason: str) -> NoReturn:
    """End without any ceremony: the lane may be another process's in a moment."""
    LOG.warning("ends at once: %s", reason)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(1)

"""What the processes that the supervisor starts have in common: how they begin, what they leave to it, and how they end without it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

LOG = logging.getLogger(__name__)

#: prctl(2): the signal that we get when our parent dies
_PR_SET_PDEATHSIG: Final = 1
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"


def set_up_log(level: str) -> None:
    """Diagnostics on stderr, from which process."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=_FORMAT)


def is_orphan() -> bool:
    """Die with the parent from now on; whether it was dead before that could be asked for."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() != parent


@contextlib.contextmanager
def signals(end: Callable[[], None]) -> Iterator[None]:
    """On the running loop: SIGTERM calls ``end``, and what is the supervisor's to act upon does nothing."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    # the terminal's, and the service manager's for everybody
    ignored = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
    for each in ignored:
        loop.add_signal_handler(each, lambda: None)
    try:
        yield
    finally:
        for each in (signal.SIGTERM, *ignored):
            with contextlib.suppress(RuntimeError):
                loop.remove_signal_handler(each)


def die(reason: str) -> NoReturn:
    """End without any ceremony: what this process had may be another's in a moment."""
    LOG.warning("ends at once: %s", reason)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(1)

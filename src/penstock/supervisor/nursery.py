"""Starts the processes of lanes, and keeps one in reserve that has loaded the program already.

Loading takes most of a second, more on a busy machine, and a lane that is away for so long is noticed. So beside the lanes there is one process
that belongs to none, with copies of all their sockets. Whichever lane needs a new process has that one; it lets go of the sockets that
are not its own. The next reserve is started once all lanes are well again.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.supervisor.process import CHILD, ChildProcess

LOG = logging.getLogger(__name__)

#: From the start of a reserve that ended by itself to the next: it does nothing that could end it.
_AGAIN_AFTER: Final = Seconds(30.0)


class Born(msgspec.Struct):
    """A process, our end of its bus, and descriptors that it has and is to close."""

    process: ChildProcess
    bus: socket.socket
    unused: tuple[int, ...] = ()


class Nursery:
    """``options`` are what every child of ``program`` is told on its command line. Made on a running loop."""

    def __init__(self, options: Sequence[str], program: Sequence[str] = CHILD) -> None:
        self._command = (*program, "worker", *options, "--fd")
        self._reserve: Born | None = None
        self._passed: frozenset[int] = frozenset()
        self._begun = self._not_before = MonotonicTime(0.0)

    @property
    def has_reserve(self) -> bool:
        """Whether a process is in reserve."""
        return self._reserve is not None

    def take(self, own: Iterable[int], ended: Callable[[str], None]) -> Born:
        """A process that has the descriptors ``own``, under the same numbers; ``ended`` as of ChildProcess. OSError."""
        wanted = frozenset(own)
        reserve, self._reserve = self._reserve, None
        if reserve is None or not wanted <= self._passed:
            if reserve is not None:
                reserve.bus.close()
            return self._bear(wanted, ended)
        reserve.process.on_end = ended
        reserve.unused = tuple(self._passed - wanted)
        return reserve

    def prepare(self, every: Iterable[int], now: MonotonicTime) -> None:
        """Have a reserve, with these descriptors, the sockets of all lanes. Nothing happens if there is one, or cannot be now."""
        if self._reserve is not None or now < self._not_before:
            return
        self._begun = now
        self._passed = frozenset(every)
        try:
            self._reserve = self._bear(self._passed, self._lost)
        except OSError as error:
            LOG.warning("no process can be kept in reserve: %s", error)

    def close(self) -> None:
        """Have no reserve any more: it ends with its bus."""
        if self._reserve is not None:
            self._reserve.process.kill()
            self._reserve.bus.close()
            self._reserve = None

    def _lost(self, how: str) -> None:
        if self._reserve is not None:
            LOG.warning("the process in reserve has ended: %s", how)
            self._not_before = MonotonicTime(self._begun + _AGAIN_AFTER)
            self._reserve.bus.close()
            self._reserve = None

    def _bear(self, passed: Iterable[int], ended: Callable[[str], None]) -> Born:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [*self._command, str(theirs.fileno())]
            try:
                return Born(ChildProcess.start(command, [theirs.fileno(), *passed], ended), ours)
            except BaseException:
                ours.close()
                raise

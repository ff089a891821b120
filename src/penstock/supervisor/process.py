"""A child process: started by exec, watched through a descriptor, killed without doubt about whom."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

#: The last argument of a child's command is the descriptor of its end of the bus.
CHILD = (sys.executable, "-m", "penstock")


class ChildProcess:
    """The child with this process id, ours by birth. ``ended`` is told once how it ended, in words. Made on a running loop."""

    def __init__(
        self, pid: int, ended: Callable[[str], None], started: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        #: told how it ended
        self.on_end = ended
        self._started = started
        self._is_over = False
        # a process id may be another's a moment later, this descriptor never is (pidfd_open(2))
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._ended)

    @classmethod
    def start(
        cls, command: Sequence[str], descriptors: Sequence[int], ended: Callable[[str], None]
    ) -> ChildProcess:
        """Start a command that inherits these descriptors, under the same numbers. OSError."""
        # S603: the command is our own program
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors)  # noqa: S603
        return cls(started.pid, ended, started)

    def kill(self) -> None:
        """Kill it, now."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self._is_over:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def _ended(self) -> None:
        try:
            result = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED)
        except BlockingIOError:
            # a debugger that is at it is told first (ptrace(2)); the descriptor stays readable, and we are called again
            return
        self._is_over = True
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        assert result is not None  # noqa: S101  # without WNOHANG there is one
        if self._started is not None:
            self._started.returncode = result.si_status
        self.on_end(_told(result.si_code, result.si_status))


def _told(code: int, status: int) -> str:
    if code == os.CLD_EXITED:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(status).name}"
    except ValueError:
        return f"killed by signal {status}"

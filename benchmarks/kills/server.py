"""Penstock on a folder of its own, started as often as it is killed, with strace at one of its processes or without.

strace stands in front of the supervisor, and lets go of its children when they begin. Of the children it is the first with a role that is
traced, started with strace beside it (``-D``), so that it is the supervisor's child as ever; one that is started in its place is let alone:
an error comes once, and the server has to do with what becomes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.children import launcher, with_repository
from benchmarks.processes import (
    LOOPBACK,
    MissingProgramError,
    ProgramFaultError,
    descendants,
    find_program,
    greets,
    start,
    wait_until,
)
from benchmarks.product import RELAY_IN_THE_CLEAR, penstock_command, write_configuration
from benchmarks.roles import SUPERVISOR, SYNC_HELPER, WORKER, role_of
from penstock.api.client import control_ask
from penstock.api.control import ControlError
from penstock.mail.control import SweepRequest
from penstock.mail.directive import Rebinding, SweepAction

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 10.0
#: Retries come soon, and often: a run takes a second.
_SCHEDULE: Final = '\n[queue.default]\nretry_interval = "100ms"\nmax_retry_interval = "200ms"\n'
#: Below the ports that the kernel gives to connections (net.ipv4.ip_local_port_range), so that none of those takes one between two lives.
_PORTS: Final = itertools.cycle(range(20_000, 30_000))
_PORTS_LOCK: Final = threading.Lock()
#: How long strace holds each call from the one that is meant on, until the first that is of the right sort: long enough to be seen.
HOLD_MILLISECONDS: Final = 150


def check_strace() -> None:
    """MissingProgramError if there is no strace, or it cannot do here what is asked of it."""
    tampering = [
        "-f",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "trace=mkdir",
        "-e",
        "inject=mkdir:error=EIO:when=1",
    ]
    with tempfile.TemporaryDirectory(prefix="penstock-strace-") as name:
        command = [find_program("strace"), *tampering, find_program("mkdir"), f"{name}/below"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Input/output error" not in ran.stderr:
        raise MissingProgramError(f"strace does not work here: {ran.stderr.strip()[:300]}")


def fixed_port() -> int:
    """A port for a server that is started again and again."""
    while True:
        with _PORTS_LOCK:
            port = next(_PORTS)
        with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)):
            return port


def held(kind: str, number: int) -> list[str]:
    """What makes strace hold calls, from this number on.

    A signal instead would need strace without its filter, with which a start takes three times as long.
    """
    how = f"delay_enter={HOLD_MILLISECONDS}ms:when={number}+"
    return ["-e", f"trace={kind}", "-e", f"inject={kind}:{how}"]


def failing(kind: str, numbers: str, error: str) -> list[str]:
    """What makes strace have calls fail: with an errno by its name, or, for a number, by returning it and doing nothing."""
    how = f"retval={error}" if error.isdigit() else f"error={error}"
    return ["-e", f"trace={kind}", "-e", f"inject={kind}:{how}:when={numbers}"]


def first_traceback(log: str) -> str:
    """The first traceback in a log, in a line; not one of logging itself, which only says that an error befell the log's own write."""
    before, where, is_inside = "", "", False
    for line in log.splitlines():
        if is_inside and not line.startswith(" "):
            return f"{line}, at {where}"
        if line.startswith("Traceback") and before != "--- Logging error ---":
            is_inside = True
        where = line.strip() if line.startswith("  File") else where
        before = line
    return where if is_inside else ""


class Server:
    """One data directory and whoever serves it. ``log`` has what all lives have said. ``node`` are options of its configuration, as TOML."""

    def __init__(self, folder: Path, sink_port: int, node: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.port = fixed_port()
        self._http_port = fixed_port()
        self._log = self.folder / "penstock.log"
        self.trace = self.folder / "trace"
        self.process: subprocess.Popen[bytes] | None = None
        self._killed = 0.0
        self.configuration = write_configuration(
            self.folder,
            smtp_port=self.port,
            http_port=self._http_port,
            destination_port=sink_port,
            settings=RELAY_IN_THE_CLEAR._replace(queues=_SCHEDULE, node=node),
        )

    def start(self, tampering: Sequence[str] = (), role: str = WORKER) -> None:
        """Begin a life; ``tampering`` are options of strace at the process with this role, none: without it.

        To be called from a thread that outlives it.
        """
        command, environment = penstock_command(), dict(os.environ)
        if tampering:
            self.trace.write_text("")
            # -s 0: no contents
            strace = [find_program("strace"), "-f", "-q", "-y", "-s", "0", "-o", str(self.trace), *tampering]
            if role == SUPERVISOR:
                command = [*strace, "--detach-on=execve", *command]
            else:
                # --seccomp-bpf: only the calls that are traced stop
                command = launcher(self._first(role, [*strace, "--seccomp-bpf", "-D"]))
                environment |= with_repository()
        with self._log.open("ab") as log:
            self.process = start(
                [*command, "serve", "-c", str(self.configuration)],
                stdout=log,
                stderr=log,
                environment=environment,
            )

    def _first(self, role: str, before: Sequence[str]) -> list[str]:
        """What starts children of the supervisor, with words before the command of the first one that has this role."""
        mark = self.folder / "first"
        if mark.exists():
            mark.rmdir()
        child = [sys.executable, "-m", "penstock"]
        first = f'[ "$1" = {role} ] && mkdir {shlex.quote(str(mark))} 2>&- && exec {shlex.join([*before, *child])} "$@"'
        return [find_program("sh"), "-c", f'{first}; exec {shlex.join(child)} "$@"', "child"]

    def has_ended(self) -> bool:
        """Whether nothing of it runs any more, by itself or not."""
        return self.process is None or self.process.poll() is not None

    def wait_until_it_greets(self) -> None:
        """ProgramFaultError if it does not, in time or at all."""
        try:
            wait_until(lambda: greets(self.port), START_SECONDS, "Penstock to greet", self.process, 0.004)
        except ProgramFaultError as error:
            raise ProgramFaultError(f"{error}: {self.last_words()}") from None

    def kill(self) -> float:
        """End all processes of the server, strace too, with kill -9, if they still live; returns when (monotonic), once none does."""
        process = self.process
        if process is None:
            return self._killed
        # the supervisor first, that it does nothing about the others; strace last: a call that it holds would be made if only strace ended
        members = [process.pid, *descendants(process.pid)]
        if _name(process.pid) == "strace":
            members = [*members[1:], process.pid]
        tracers = [tracer for pid in members if (tracer := _tracer(pid))]
        self._killed = time.monotonic()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        ending = {*members, *tracers}
        wait_until(lambda: not any(map(_lives, ending)), STOP_SECONDS, "the server's end", interval=0.001)
        self.process = None
        return self._killed

    def ask_to_stop(self) -> None:
        """SIGTERM for the server, not for strace in front of it."""
        process = self.process
        if process is None:
            return
        below = descendants(process.pid) if _name(process.pid) == "strace" else [process.pid]
        if below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(below[0], signal.SIGTERM)

    def is_well(self) -> bool:
        """Whether it says of itself that it is."""
        return self._ask("/api/check-liveness/v1") is not None

    def queued(self) -> int | None:
        """How many recipients it says are queued; None while it does not say, or still reads what was there before it began."""
        answer = self._ask("/metrics") or ""
        told = dict(line.rsplit(" ", 1) for line in answer.splitlines() if not line.startswith("#"))
        if float(told.get("spool_recovering", 1)):
            return None
        return int(float(told["queued_recipients"]))

    def log(self) -> str:
        """Everything that it has said on its standard output and error."""
        return self._log.read_text(errors="replace")

    def last_words(self) -> str:
        """The last line that it has said."""
        return (self.log().strip().splitlines() or ["it has said nothing"])[-1]

    def first_traceback(self) -> str:
        """The first traceback in its log, shortened to where it came from and what it was; empty if there is none."""
        return first_traceback(self.log())

    def quarantined(self) -> int:
        """Files in the spool's quarantine: a kill damages nothing."""
        return sum(1 for _ in (self.data / "spool" / "0" / "quarantine").glob("*"))

    def kill_sync_helper(self, worker: int | None = None) -> bool:
        """End the processes that sync for it, or for one worker, and nobody else, with kill -9; whether there was one."""
        above = worker if worker is not None or self.process is None else self.process.pid
        below = descendants(above) if above is not None else []
        helpers = [pid for pid in below if role_of(pid) == SYNC_HELPER]
        for pid in helpers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(helpers)

    def segments(self) -> list[Path]:
        """The files of the spool's log, oldest first."""
        return sorted((self.data / "spool" / "0" / "segments").glob("*"))

    def remove_newest_segment(self) -> str:
        """Take away the end of the log; the file's name, empty if there is none."""
        segments = self.segments()
        if not segments:
            return ""
        segments[-1].unlink()
        return segments[-1].name

    def order(self, action: SweepAction, rebinding: Rebinding = Rebinding()) -> bool:  # noqa: B008 -- it is frozen
        """Have something done to all mail that is queued; whether the server says that it will be."""
        request = SweepRequest(action, reason="a try", rebinding=rebinding)
        try:
            asyncio.run(
                control_ask(
                    self.data, "POST", "/control/sweeps/v1", msgspec.json.encode(request), deadline=5.0
                )
            )
        except ControlError:
            return False
        return True

    def _ask(self, path: str) -> str | None:
        connection = http.client.HTTPConnection(LOOPBACK, self._http_port, timeout=2.0)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            content = response.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return content if response.status == 200 else None


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _tracer(pid: int) -> int:
    """The process that traces another one; 0 if none does."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
    return 0


def _lives(pid: int) -> bool:
    """Whether a process still has its files open; one that nobody has waited for has not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False

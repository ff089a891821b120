"""Penstock as a program: a folder with a configuration, the server started on it, what it says and writes.

``PENSTOCK_COMMAND`` (words separated by spaces) names another program to hold against the checks, such as another version.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from benchmarks.cpu import TreeClock, settled
from benchmarks.event_files import EventFiles
from benchmarks.gauges import status
from benchmarks.processes import (
    LOOPBACK,
    ProgramFaultError,
    free_port,
    greets,
    start,
    stop,
    wait_until,
)
from benchmarks.roles import WORKER, members

DOMAINS: Final = tuple(f"d{index}.test" for index in range(1, 9))
TENANTS: Final = ("acme", "globex")
STOP_SECONDS: Final = 30.0
_WORKERS: Final = re.compile(r"^\s*workers\s*=", re.MULTILINE)
#: A process that has loaded the program uses nothing for so long.
_QUIET_SECONDS: Final = 0.5


class Settings(NamedTuple):
    """What a configuration has besides, as TOML: for its tables ``node`` and ``listener.smtp``, and for every path.

    There is one worker unless ``node`` says how many. ``tables`` are whole tables of the root file, ``queues`` of the one about queues,
    which begins with the keys of ``assignment``.
    """

    node: str = ""
    listener: str = 'relay_hosts = ["127.0.0.1/32"]\n'
    path: str = 'enable_tls = "Disabled"\n'
    tables: str = ""
    queues: str = ""
    assignment: str = ""


#: Everybody on loopback may relay, and mail goes out without TLS.
RELAY_IN_THE_CLEAR: Final = Settings()


def penstock_command() -> list[str]:
    """How Penstock is started: from this environment, or as ``PENSTOCK_COMMAND`` says."""
    if named := os.environ.get("PENSTOCK_COMMAND"):
        return named.split()
    script = Path(sys.executable).parent / "penstock"
    return [str(script)] if script.exists() else [sys.executable, "-m", "penstock"]


def write_configuration(
    folder: Path,
    *,
    smtp_port: int,
    http_port: int,
    destination_port: int,
    domains: Sequence[str] = DOMAINS,
    settings: Settings = RELAY_IN_THE_CLEAR,
) -> Path:
    """A configuration that relays each of ``domains`` (A-labels) to a port of loopback through its own MX host; returns its root file."""
    static = "".join(
        f'"{domain}" = {{ mx = ["mx.{domain}"] }}\n"mx.{domain}" = {{ a = ["{LOOPBACK}"] }}\n'
        for domain in domains
    )
    node = settings.node if _WORKERS.search(settings.node) else f"workers = 1\n{settings.node}"
    root = folder / "penstock.toml"
    root.write_text(
        f'[node]\nhostname = "mta.test"\ndata_dir = "data"\n{node}\n'
        f'[[listener.smtp]]\nlisten = ["{LOOPBACK}:{smtp_port}"]\n{settings.listener}\n'
        f'[[listener.http]]\nlisten = ["{LOOPBACK}:{http_port}"]\n\n'
        f'[files]\nqueues = "queues.toml"\nshaping = "shaping.toml"\n\n[dns.static]\n{static}\n{settings.tables}'
    )
    tenants = "".join(f"[tenant.'{tenant}']\n" for tenant in TENANTS)
    (folder / "queues.toml").write_text(
        f'tenant_header = "X-Tenant"\ncampaign_header = "X-Campaign"\n{settings.assignment}\n{tenants}{settings.queues}'
    )
    (folder / "shaping.toml").write_text(
        f'["default"]\nsmtp_port = {destination_port}\nprohibited_hosts = []\nconnection_limit = 32\n{settings.path}'
    )
    return root


class Penstock:
    """A running ``penstock serve``, as a context: ready when its SMTP listener greets.

    ``folder`` gets the configuration and the data; ``launcher`` stands in for the program's name (a profiler that runs it, say).
    """

    def __init__(
        self,
        folder: Path,
        destination_port: int,
        *,
        domains: Sequence[str] = DOMAINS,
        launcher: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Settings = RELAY_IN_THE_CLEAR,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.http_port = free_port()
        self._launcher = list(launcher) if launcher is not None else penstock_command()
        self._environment = {**os.environ, **(environment or {})}
        self._destination_port = destination_port
        self._domains = domains
        self._settings = settings
        self._log = folder / "penstock.log"

    def __enter__(self) -> Penstock:
        self.folder.mkdir(exist_ok=True)
        configuration = write_configuration(
            self.folder,
            smtp_port=self.port,
            http_port=self.http_port,
            destination_port=self._destination_port,
            domains=self._domains,
            settings=self._settings,
        )
        with self._log.open("wb") as log:
            self.process = start(
                [*self._launcher, "serve", "-c", str(configuration)],
                stdout=log,
                stderr=log,
                environment=self._environment,
            )
        try:
            wait_until(lambda: greets(self.port), 20.0, "Penstock to greet", self.process)
        except BaseException as error:
            stop(self.process)
            if isinstance(error, ProgramFaultError):
                raise ProgramFaultError(f"{error}\n{self.log()[-2000:]}") from None
            raise
        self.clock = TreeClock(self.process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if isinstance(error, ProgramFaultError):
            error.add_note(f"Penstock's last words: {self.log()[-1000:]}")

    def stop(self) -> int:
        """Ask it to drain and stop (SIGTERM), kill it if it has not after a while; returns its exit status. A second call changes nothing."""
        return stop(self.process, grace=STOP_SECONDS)

    def is_running(self) -> bool:
        """Whether the process still lives."""
        return self.process.poll() is None

    def worker(self, lane: str = "0") -> int:
        """The process that is a lane now. ProgramFaultError if it has none."""
        now = status(self.folder / "data")
        pid = next((found.pid for found in now.lanes if found.lane == lane), None) if now else None
        if pid is None:
            raise ProgramFaultError(f"lane {lane} has no process, or nothing is said of it")
        return pid

    def wait_until_whole(self) -> None:
        """Wait for the process in reserve too, and until everything is loaded: only then memory and CPU time are the mail's alone."""

        def has_reserve() -> bool:
            now = status(self.folder / "data")
            workers = list(members(self.process.pid).values()).count(WORKER)
            return now is not None and workers > len(now.lanes)

        wait_until(has_reserve, 30.0, "a process in reserve", self.process, 0.1)
        settled(self.clock, 30.0, _QUIET_SECONDS)

    def log(self) -> str:
        """Everything that it has said on its standard output and error."""
        return self._log.read_text(errors="replace")

    def events(self) -> Iterator[dict[str, Any]]:
        """The event log so far, oldest file first."""
        yield from map(json.loads, EventFiles(self.folder / "data" / "events").lines())

    def event_recipients(self, kind: str) -> int:
        """How many recipients the events of one type have in all (a batch names several in one event)."""
        total = 0
        for event in self.events():
            if event["type"] == kind:
                recipient = event["recipient"]
                total += len(recipient) if isinstance(recipient, list) else 1
        return total


def run_command(
    arguments: Sequence[str], folder: Path, seconds: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run a Penstock command that ends by itself; ProgramFaultError if it does not within ``seconds``."""
    try:
        return subprocess.run(
            [*penstock_command(), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise ProgramFaultError(
            f"'penstock {' '.join(arguments)}' did not end within {seconds:g} s"
        ) from late

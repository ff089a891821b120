"""A trial: a server between a source and a destination, both of which outlive it, and what is known of every message that it was given."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.disks.destination import Destination
from benchmarks.disks.letters import MIXED, Sizes
from benchmarks.disks.oracle import GIVEN_UP, Cut, Findings, event_faults, judge
from benchmarks.disks.source import Source
from benchmarks.event_files import EventFiles
from benchmarks.journals import Arrived, Journal, Sent
from benchmarks.processes import LOOPBACK, ProgramFaultError, descendants, wait_until
from benchmarks.product import Penstock, Settings, run_command

#: Mail that was deferred comes again soon, and is never too old.
QUEUES: Final = '[queue.default]\nretry_interval = "500ms"\nmax_retry_interval = "1s"\nmax_age = "7 days"\n'
SETTLE_SECONDS: Final = 30.0
#: For so long the server must say that nothing is queued, before mail that is nowhere counts as lost.
_EMPTY_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 0.25
_FREEZE_SECONDS: Final = 5.0


class Trial:
    """A context: journals and destination in ``folder``, the server's files in ``folder/penstock``, its data in ``data`` there.

    The server is started by ``start``; ``data`` is there before, for a disk to be mounted on.
    """

    def __init__(self, folder: Path, seed: int, settings: Settings) -> None:
        self.folder = folder / "penstock"
        self.data = self.folder / "data"
        self.seed = seed
        self.cuts: list[Cut] = []
        self.sent: Journal[Sent] = Journal(folder / "sent.journal")
        self.arrived: Journal[Arrived] = Journal(folder / "arrived.journal")
        self.destination = Destination(self.arrived)
        self._settings = settings
        self._numbers = itertools.count(1)
        self._contexts = contextlib.ExitStack()
        self._events = _NewEvents(self.data / "events")
        self._waiting: set[str] = set()
        self._delivered: set[str] = set()
        self._given_up: set[str] = set()
        self._seen_sent = self._seen_arrived = 0
        self._tracebacks: list[str] = []

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, mode=0o700)
        with contextlib.ExitStack() as contexts:
            contexts.enter_context(self.sent)
            contexts.enter_context(self.arrived)
            contexts.enter_context(self.destination)
            self.penstock = Penstock(self.folder, self.destination.port, settings=self._settings)
            self._contexts = contexts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._contexts.__exit__(kind, error, trace)

    # -- the server

    def start(self) -> float:
        """Start it, or start it again; the seconds until it greeted."""
        began = time.monotonic()
        self.penstock.__enter__()
        return time.monotonic() - began

    def freeze(self) -> None:
        """Stop it and all that it started where they are, so that it does and says nothing more."""
        members = self._members()
        for member in members:
            os.kill(member, signal.SIGSTOP)
        wait_until(
            lambda: all(map(_is_still, members)), _FREEZE_SECONDS, "Penstock to stand still", interval=0.0
        )

    def kill(self) -> None:
        """End it and all that it started, at once, with SIGKILL."""
        members = self._members()
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        if members:
            self.penstock.process.wait(10.0)
            self._look_at_log()
        for member in members[1:]:
            with contextlib.suppress(ChildProcessError):  # not ours to wait for, unless we adopt orphans
                os.waitpid(member, 0)

    def _members(self) -> list[int]:
        """Its processes; none if it does not run."""
        process = getattr(self.penstock, "process", None)
        return (
            [] if process is None or process.poll() is not None else [process.pid, *descendants(process.pid)]
        )

    def stop(self) -> int:
        """Ask it to stop, and return its exit status."""
        status = self.penstock.stop()
        self._look_at_log()
        return status

    def _look_at_log(self) -> None:
        log = self.penstock.log()
        found = log.find("Traceback")
        if found >= 0:
            self._tracebacks.append(log[found : found + 2000])

    @property
    def tracebacks(self) -> list[str]:
        """The first that each run of the server has logged, of those that have ended."""
        return self._tracebacks

    def status(self) -> tuple[int, dict[str, Any]]:
        """What ``penstock status`` ends with, and says."""
        done = run_command(["status", "-c", "penstock.toml", "--json"], self.folder)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, {}

    def spool_status(self) -> dict[str, Any]:
        """What it says about its spool; nothing where it says nothing."""
        spool = self.status()[1].get("spool")
        return spool if isinstance(spool, dict) else {}

    def wait_until_well(self, seconds: float) -> bool:
        """Whether ``penstock status`` says within that time that all is well."""
        with contextlib.suppress(ProgramFaultError):
            return wait_until(lambda: self.status()[0] == 0, seconds, "a good status", interval=0.2)
        return False

    def metric(self, name: str) -> float | None:
        """A metric without labels, as it says; None if it does not say."""
        address = f"http://{LOOPBACK}:{self.penstock.http_port}/metrics"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        except OSError:
            return None
        return float(found[1]) if found else None

    # -- mail

    def source(self, *, sizes: Sizes = MIXED, pace: float = 0.0, limit: int | None = None) -> Source:
        """A source of mail; each goes on with the numbers where the last one stopped."""
        return Source(
            self.penstock.port, self.sent, self.seed, self._numbers, sizes=sizes, pace=pace, limit=limit
        )

    def expect(self, sent: Iterable[Sent], arrived: Iterable[Arrived]) -> None:
        """Count what another trial has left behind in ``data`` among what waits to be settled."""
        self._waiting.update(
            recipient for entry in sent if entry.is_accepted for recipient in entry.recipients
        )
        self._delivered.update(recipient for entry in arrived for recipient in entry.recipients)

    def unsettled(self) -> set[str]:
        """Recipients of accepted messages that have neither arrived nor been given up, so far."""
        sent = self.sent.entries(self._seen_sent)
        arrived = self.arrived.entries(self._seen_arrived)
        self._seen_sent += len(sent)
        self._seen_arrived += len(arrived)
        for entry in sent:
            if entry.is_accepted:
                self._waiting.update(entry.recipients)
        self._given_up.update(
            recipient
            for event in self._events.read()
            if event["type"] in GIVEN_UP
            for recipient in _recipients(event)
        )
        for arrival in arrived:
            self._delivered.update(arrival.recipients)
        self._waiting -= self._delivered
        self._waiting -= self._given_up
        return self._waiting

    def settle(self, seconds: float = SETTLE_SECONDS) -> bool:
        """Wait until everything accepted has found its end; False if the server still has some of it after ``seconds``.

        Also once the server has said for a while that it has nothing: what is nowhere is lost, and waiting finds it no more.
        """
        deadline = time.monotonic() + seconds
        empty_since: float | None = None
        ask_at = time.monotonic() + _ASK_SECONDS
        while self.unsettled():
            now = time.monotonic()
            if now > deadline:
                return False
            if now >= ask_at:
                ask_at = now + _ASK_SECONDS
                empty_since = (empty_since or now) if self._is_empty() else None
                if empty_since is not None and now - empty_since > _EMPTY_SECONDS:
                    return True
            time.sleep(0.02)
        return True

    def wait_until_empty(self, seconds: float = SETTLE_SECONDS) -> bool:
        """Whether it says within that time that it has nothing: what its destination has told it is written down then."""
        with contextlib.suppress(ProgramFaultError):
            return wait_until(self._is_empty, seconds, "an empty spool", self.penstock.process, interval=0.05)
        return False

    def _is_empty(self) -> bool:
        """Whether it says that nothing is queued, that it knows, and that all its events are written."""
        if self.metric("message_count") != 0:
            return False
        status = self.status()[1]
        spool, log = status.get("spool") or {}, status.get("event_log") or {}
        return not spool.get("is_recovering") and not log.get("waiting")

    def findings(self) -> Findings:
        """The judgement on everything so far, once all is settled."""
        self.unsettled()
        return judge(self.sent.entries(), self.arrived.entries(), self._given_up, self.cuts)

    def event_faults(self) -> list[str]:
        """What is wrong with the event log of a server that has stopped."""
        return event_faults(self.penstock.events(), self.sent.entries(), self.arrived.entries())


def _is_still(pid: int) -> bool:
    """Whether no thread of a process runs: each is stopped, or waits for a disk (D) and is stopped when that answers (proc(5))."""
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(task.read_text().rpartition(")")[2].split()[0] in "TD" for task in tasks)


class _NewEvents:
    """Events of a log that grows, each read once. A file that a crash has shortened is not waited for: a new start writes a new one."""

    def __init__(self, folder: Path) -> None:
        self._files = EventFiles(folder)

    def read(self) -> Iterator[dict[str, Any]]:
        """What has come since the last time."""
        yield from map(json.loads, self._files.lines())


def _recipients(event: dict[str, Any]) -> list[str]:
    recipient = event["recipient"]
    return recipient if isinstance(recipient, list) else [recipient]

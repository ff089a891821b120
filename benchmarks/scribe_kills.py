"""The scribe killed every second under load: no event missing, none there twice. A part of processes-2.

Run by itself: ``python -m benchmarks.scribe_kills [--seconds 60]``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.event_files import EventFiles
from benchmarks.postfix_tools import Sink
from benchmarks.processes import (
    LOOPBACK,
    descendants,
    find_program,
    wait_until,
)
from benchmarks.product import Penstock, Settings, run_command
from benchmarks.report import Report
from penstock.events.totals import counted_line

_EVERY = 1.0
_SETTLED = 60.0
_SESSIONS = 4


def scribe_of(server: int) -> int | None:
    """The process id of the scribe of the server whose supervisor this is; None while there is none."""
    for pid in descendants(server):
        with contextlib.suppress(OSError):
            if b"scribe" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    return None


def kill_scribe(server: int, ending: threading.Event) -> int:
    """Kill the scribe every second until ``ending``; how often it was there to be killed."""
    killed = 0
    while not ending.wait(_EVERY):
        pid = scribe_of(server)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def claim_events(report: Report, penstock: Penstock, accepted: int) -> None:
    """Of ``accepted`` messages to one recipient each, all delivered by now, every event is there once, and the accounting holds."""
    events = penstock.folder / "data" / "events"
    wanted = 2 * accepted

    def count() -> tuple[int, Counter[str]]:
        kinds: Counter[str] = Counter()
        ids: Counter[str] = Counter()
        for line in EventFiles(events).lines():
            event = counted_line(line)
            if event is not None and event.type != "Totals":
                kinds[event.type] += 1
                ids[event.event_id] += 1
        return kinds["Reception"] + kinds["Delivery"], ids

    deadline = time.monotonic() + _SETTLED
    found, ids = count()
    while found < wanted and time.monotonic() < deadline:
        time.sleep(0.5)
        found, ids = count()
    twice = sum(number - 1 for number in ids.values())
    report.claim("no event is missing", found >= wanted, f"{found:,} of {wanted:,}")
    report.claim("none is there twice", twice == 0, f"{twice:,} repeated of {sum(ids.values()):,}")
    ledger = run_command(["ledger", "-c", "penstock.toml"], penstock.folder, 120.0)
    report.claim("the ledger holds", ledger.returncode == 0, ledger.stdout.strip().splitlines()[-1][:200])


def scribe_killed_under_load(report: Report, seconds: float) -> None:
    """A server with two workers; several clients; the scribe killed every second."""
    with tempfile.TemporaryDirectory(prefix="penstock-scribe-") as name, contextlib.ExitStack() as context:
        folder = Path(name)
        folder.chmod(0o755)  # smtp-sink runs as nobody
        sink = context.enter_context(Sink(folder))
        settings = Settings(node="workers = 2\n")
        penstock = context.enter_context(Penstock(folder / "penstock", sink.port, settings=settings))
        wait_until(lambda: scribe_of(penstock.process.pid) is not None, 20.0, "a scribe", penstock.process)
        report.heading(f"{_SESSIONS} clients for {seconds:g} s, the scribe killed every {_EVERY:g} s")
        ending = threading.Event()
        killed: list[int] = []
        killer = threading.Thread(target=lambda: killed.append(kill_scribe(penstock.process.pid, ending)))
        killer.start()
        accepted = 0
        try:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                accepted += _send(penstock.port)
        finally:
            ending.set()
            killer.join()
        report.figure(
            f"{accepted:,} messages accepted, {accepted / seconds:,.0f} a second; the scribe was killed {killed[0]} times"
        )
        report.claim("the scribe was killed", killed[0] >= seconds / 4, f"{killed[0]} times")
        claim_events(report, penstock, accepted)


def _send(port: int, messages: int = 400) -> int:
    """Some messages in several sessions; how many, for smtp-source ends with a fault if one is not accepted."""
    subprocess.run(
        [
            find_program("smtp-source"), "-m", str(messages), "-s", str(_SESSIONS), "-l", "4000",
            "-f", "sender@from.test", "-t", "recipient@d1.test", f"{LOOPBACK}:{port}",
        ],
        check=True, capture_output=True, timeout=60.0,
    )  # fmt: skip
    return messages


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    report = Report("scribe-kills")
    scribe_killed_under_load(report, parser.parse_args().seconds)
    return 0 if report.verdict() else 1


if __name__ == "__main__":
    sys.exit(main())

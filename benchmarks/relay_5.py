"""relay-5: how long a newcomer waits, from a fresh clone to the first delivered message and to green tests."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

from benchmarks.processes import ProgramFaultError, find_program
from benchmarks.report import Report

REPOSITORY: Final = Path(__file__).resolve().parent.parent
RUN_LIMIT_SECONDS: Final = 600.0
TEST_LIMIT_SECONDS: Final = 1800.0
#: The event that ``make run`` prints when a message has arrived.
DELIVERED: Final = re.compile(r"\bDelivery\b")
#: pytest's last line.
PASSED: Final = re.compile(r"\b\d+ passed\b")
#: Variables that would make a clone find this checkout, this environment or the make that runs us.
OURS: Final = (
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "PENSTOCK_COMMAND",
    "PENSTOCK_CONFIG",
)


class Line(NamedTuple):
    """A line of output, and the seconds that had gone by since its command began."""

    seconds: float
    text: str


def check(report: Report, arguments: Sequence[str]) -> None:
    """Fresh clone to first delivered message by 'make run', and to a green 'make test', timed."""
    parser = argparse.ArgumentParser(prog="relay-5")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="clone another one than this")
    repository = parser.parse_args(arguments).repository
    git, make = find_program("git"), find_program("make")
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment["PYTHONUNBUFFERED"] = "1"  # lines come as they would on the newcomer's terminal
    with tempfile.TemporaryDirectory(prefix="penstock-relay-5-") as name:
        clone = Path(name) / "penstock"
        _say_what_is_cloned(report, git, repository)
        began = time.monotonic()
        status, lines = _timed(
            [git, "clone", "--quiet", str(repository), str(clone)], Path(name), environment, 120.0
        )
        report.claim("git clone", status == 0, f"{time.monotonic() - began:.1f} s{_end_of(lines, status)}")
        if status:
            return
        cloned = time.monotonic() - began
        status, lines = _timed([make, "run", "ARGS=--once"], clone, environment, RUN_LIMIT_SECONDS)
        first = next((line for line in lines if DELIVERED.search(line.text)), None)
        report.claim(
            "'make run ARGS=--once' delivers a message",
            first is not None,
            first.text.strip() if first else _end_of(lines, 1),
        )
        report.claim("and ends with status 0", status == 0, f"status {status}{_end_of(lines, status)}")
        if first:
            report.figure(
                f"fresh clone to first delivered message: {cloned + first.seconds:.1f} s (the clone itself {cloned:.1f} s)"
            )
            report.figure(
                f"fresh clone to the end of 'make run ARGS=--once': {cloned + lines[-1].seconds:.1f} s"
            )
        _claim_warm_start(report, make, clone, environment)
        status, lines = _timed([make, "test"], clone, environment, TEST_LIMIT_SECONDS)
        summary = next((line.text.strip("= \n") for line in reversed(lines) if PASSED.search(line.text)), "")
        report.claim("'make test' is green", status == 0 and bool(summary), summary or _end_of(lines, 1))
        for line in [
            line.text.strip() for line in lines if status and line.text.startswith(("FAILED", "ERROR"))
        ][:20]:
            report.figure(line)
        report.figure(
            f"'make test' after that, its own packages included: {lines[-1].seconds if lines else 0:.1f} s"
        )
        report.figure(f"fresh clone to green tests: {time.monotonic() - began:.1f} s")
        left = subprocess.run(
            [git, "status", "--porcelain"], cwd=clone, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        report.claim("nothing that git does not ignore was left in the clone", not left, left.strip()[:200])


def _claim_warm_start(report: Report, make: str, clone: Path, environment: Mapping[str, str]) -> None:
    status, lines = _timed([make, "run", "ARGS=--once"], clone, environment, RUN_LIMIT_SECONDS)
    first = next((line for line in lines if DELIVERED.search(line.text)), None)
    if (
        report.claim(
            "a second 'make run ARGS=--once' does the same",
            first is not None and status == 0,
            _end_of(lines, status),
        )
        and first
    ):
        report.figure(
            f"with its packages in place: first delivered message after {first.seconds:.1f} s, end after {lines[-1].seconds:.1f} s"
        )


def _timed(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
) -> tuple[int, list[Line]]:
    """Run a command to its end; its exit status, and its output with times. ProgramFaultError if it takes longer than ``seconds``."""
    lines: list[Line] = []
    began = time.monotonic()

    def read(output: IO[str]) -> None:
        lines.extend(Line(time.monotonic() - began, text) for text in output)

    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=read, args=(process.stdout,), name="output", daemon=True)
    reader.start()
    try:
        status = process.wait(seconds)
        reader.join(10.0)
    except subprocess.TimeoutExpired as late:
        end = "".join(line.text for line in lines[-10:])
        raise ProgramFaultError(f"'{' '.join(command)}' did not end within {seconds:g} s: {end}") from late
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10.0)
    return status, lines


def _say_what_is_cloned(report: Report, git: str, repository: Path) -> None:
    def ask(*arguments: str) -> str:
        asked = [git, "-C", str(repository), *arguments]
        return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    changed = len(ask("status", "--porcelain").splitlines())
    report.heading(f"A clone of {ask('log', '-1', '--format=%h %s') or repository}")
    if changed:
        report.figure(f"{changed} files are changed or new here and not committed: they are not part of this")


def _end_of(lines: Sequence[Line], status: int) -> str:
    """The last words of a command that failed."""
    return "" if status == 0 else f": {''.join(line.text for line in lines[-8:]).strip()[-700:]}"

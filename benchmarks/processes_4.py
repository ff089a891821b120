"""processes-4: one epoch after the other under load, some of them wrong, and workers that die in the middle."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.kills.lanes import Lanes
from benchmarks.processes import ProgramFaultError, wait_until
from benchmarks.report import Report, spread

#: One change after the other; the bad ones are refused for a reason that the log has to name.
_MISTAKE: Final = "retry_intervall"
_PATIENCE: Final = 30.0
_POLL: Final = 0.05
_SHOWN: Final = 10


def check(report: Report, arguments: Sequence[str]) -> None:
    """Reloads under load: nobody refused, nothing lost or doubled, one number everywhere; a bad file changes nothing and says why."""
    parser = argparse.ArgumentParser(
        prog="processes-4", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--changes", type=int, default=20, help="of each kind: good, bad, with a worker killed in the middle"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what chance goes by")
    options = parser.parse_args(arguments)
    report.figure(f"seed {options.seed}")
    draw = random.Random(options.seed)
    with (
        tempfile.TemporaryDirectory(prefix="penstock-processes-4-") as name,
        Lanes(Path(name).resolve(), options.seed) as lanes,
    ):
        changes = _Changes(lanes, draw)
        report.heading("good changes")
        for _ in range(options.changes):
            changes.good()
        report.claim("each is one number in all lanes", not changes.split, "; ".join(changes.split[:_SHOWN]))
        report.figure(f"seconds from the signal until all lanes go by it: {spread(changes.seconds, 2)}")
        report.heading("bad changes")
        for _ in range(options.changes):
            changes.bad()
        report.claim("none of them changes anything", not changes.taken, "; ".join(changes.taken[:_SHOWN]))
        report.claim("each is told with its file and key", not changes.silent, f"{changes.silent} were not")
        report.claim("nothing is delivered twice so far", not lanes.journal.verdict().duplicates)
        report.heading("good changes, a worker killed in the middle")
        for _ in range(options.changes):
            changes.interrupted()
        report.claim(
            "all lanes are in the epoch that was kept", not changes.split, "; ".join(changes.split[:_SHOWN])
        )
        _accounts(report, lanes)


class _Changes:
    """Changes the configuration of a server, and looks what it does."""

    def __init__(self, lanes: Lanes, draw: random.Random) -> None:
        self._lanes = lanes
        self._draw = draw
        self._queues = lanes.server.folder / "queues.toml"
        self._right = self._queues.read_text()
        self._count = 0
        self.seconds: list[float] = []
        self.split: list[str] = []
        self.taken: list[str] = []
        self.silent = 0

    def good(self) -> None:
        """A change that is right."""
        before = self._epoch()
        began = time.monotonic()
        self._change()
        self._until_new(before)
        self.seconds.append(time.monotonic() - began)
        self._compare()

    def bad(self) -> None:
        """One that is wrong: nothing may change, and the log says what is wrong."""
        before, said = self._epoch(), self._complaints()
        self._queues.write_text(f"{self._right}\n{_MISTAKE} = 1\n")
        self._signal(signal.SIGHUP)
        try:
            wait_until(
                lambda: self._complaints() > said,
                _PATIENCE,
                "the mistake to be told",
                self._lanes.server.process,
                _POLL,
            )
        except ProgramFaultError:
            self.silent += 1
        if (after := self._epoch()) != before:
            self.taken.append(f"epoch {before} became {after}")
        self._compare()

    def interrupted(self) -> None:
        """One that is right, with a worker killed at some moment of it."""
        before = self._epoch()
        victim = self._lanes.lane(self._draw.choice("01"))
        if victim is None or victim.pid is None:
            raise ProgramFaultError("the server says nothing of its lanes")
        self._change()
        time.sleep(self._draw.uniform(0.0, 0.3))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
        at = time.monotonic()
        time.sleep(_POLL)
        self._lanes.journal.killed(at)
        self._lanes.until_another_is_ready(victim.lane, victim.pid)
        self._until_new(before)
        self._compare()

    def _change(self) -> None:
        self._count += 1
        self._queues.write_text(f"{self._right}\n[tenant.'t{self._count}']\n")
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        process = self._lanes.server.process
        if process is None:
            raise ProgramFaultError("the server has ended")
        process.send_signal(number)

    def _epoch(self) -> int:
        status = self._lanes.status()
        if status is None:
            raise ProgramFaultError("the server says nothing")
        return status.epoch

    def _until_new(self, before: int) -> None:
        def is_new() -> bool:
            status = self._lanes.status()
            return (
                status is not None
                and status.epoch > before
                and not status.silent
                and len({lane.epoch for lane in status.lanes}) == 1
            )

        wait_until(
            is_new, _PATIENCE, "the epoch to be in force everywhere", self._lanes.server.process, _POLL
        )

    def _compare(self) -> None:
        status = self._lanes.status()
        if status is None or {lane.epoch for lane in status.lanes} != {status.epoch}:
            self.split.append(
                str(None if status is None else {lane.lane: lane.epoch for lane in status.lanes})
            )

    def _complaints(self) -> int:
        return sum(
            "not reloaded" in line and _MISTAKE in line and "queues.toml" in line
            for line in self._lanes.server.log().splitlines()
        )


def _accounts(report: Report, lanes: Lanes) -> None:
    left = lanes.drain()
    report.claim("all mail leaves", left == 0)
    for what, faults in lanes.journal.verdict().faults().items():
        report.claim(f"{what}: none", not faults, "; ".join(faults[:_SHOWN]))
    bell = lanes.doorbell
    report.figure(
        f"{bell.rings} connections; longest wait {bell.longest:.2f} s; {lanes.journal.copies()} copies arrived"
    )
    report.claim("no connection is refused", not bell.refused, "; ".join(bell.refused[:_SHOWN]))
    report.claim("none is reset while it waits", not bell.reset, "; ".join(bell.reset[:_SHOWN]))
    report.claim(
        "no traceback in the log", not lanes.server.first_traceback(), lanes.server.first_traceback()
    )

"""processes-2: a worker, a sync helper, the supervisor killed every second under load: nothing lost, nobody refused."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.kills.crowd import kill_at_random
from benchmarks.kills.lanes import Lanes
from benchmarks.processes import ProgramFaultError
from benchmarks.report import Report, spread

PARTS: Final = ("worker", "helper", "supervisor")
EVERY: Final = 1.0
#: A worker is back within this, and what reading its spool takes.
BACK_SECONDS: Final = 1.0
#: Of the other lane's throughput, what it may lose.
TOLERANCE: Final = 0.20
_SHOWN: Final = 10
_SETTLING: Final = 0.1


def check(report: Report, arguments: Sequence[str]) -> None:
    """A worker, the sync helper, the supervisor killed with -9 every second under load: no loss, every duplicate explained, nobody refused.

    ``arguments``: ``--seconds`` for each part, ``--seed``, and parts by name.
    """
    parser = argparse.ArgumentParser(
        prog="processes-2", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", default=[], metavar="PART", help=f"of {', '.join(PARTS)}; all without"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what chance goes by")
    options = parser.parse_args(arguments)
    report.figure(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="penstock-processes-2-") as name:
        place = Path(name).resolve()
        for part in options.parts or PARTS:
            report.heading(f"{part}, every second")
            if part == "supervisor":
                _supervisor(report, place / part, options.seed, options.seconds)
            else:
                _part(report, place / part, options.seed, options.seconds, part)


def _part(report: Report, folder: Path, seed: int, seconds: float, part: str) -> None:
    """Lane 0's worker, or a sync helper, killed; the other lane is looked at."""
    back: list[float] = []
    with Lanes(folder, seed) as lanes:
        time.sleep(seconds / 4)
        calm = _delivered(lanes, "1")
        end = time.monotonic() + seconds
        kill: Callable[[], None] = (
            (lambda: _kill_worker(lanes, back)) if part == "worker" else lambda: _kill_helper(lanes)
        )
        while time.monotonic() < end:
            began = time.monotonic()
            kill()
            time.sleep(max(0.0, EVERY - (time.monotonic() - began)))
        storm = _delivered(lanes, "1")
        left = lanes.drain()
        report.claim("all mail leaves", left == 0)
        _accounts(report, lanes)
        bell = lanes.doorbell
        report.figure(
            f"{bell.rings} connections, {bell.cut} of them in the hands of a process that was killed; longest wait {bell.longest:.2f} s"
        )
        report.claim("no connection is refused", not bell.refused, "; ".join(bell.refused[:_SHOWN]))
        report.claim("none is reset while it waits", not bell.reset, "; ".join(bell.reset[:_SHOWN]))
        if part == "worker":
            report.figure(f"{len(back)} kills; seconds until ready again: {spread(back, 2)}")
            report.claim(
                f"back within {BACK_SECONDS:g} s and its recovery, the median",
                sorted(back)[len(back) // 2] <= BACK_SECONDS * 2,
            )
        change = storm / calm - 1 if calm else 0.0
        report.claim(
            f"the other lane's throughput within {TOLERANCE:.0%}",
            change >= -TOLERANCE,
            f"{calm:.1f}/s, then {storm:.1f}/s ({change:+.0%})",
        )


def _delivered(lanes: Lanes, name: str) -> float:
    """Recipients a second that a lane has delivered within the last minute."""
    lane = lanes.lane(name)
    if lane is None or lane.rates is None:
        raise ProgramFaultError(f"the server says nothing of lane {name}")
    return lane.rates.delivered


def _kill_worker(lanes: Lanes, back: list[float]) -> None:
    lane = lanes.lane("0")
    if lane is None or lane.pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(lane.pid, signal.SIGKILL)
    at = time.monotonic()
    # what it had sent is still read by the sink, and belongs to its life
    time.sleep(_SETTLING)
    lanes.journal.killed(at)
    back.append(_SETTLING + lanes.until_another_is_ready("0", lane.pid))


def _kill_helper(lanes: Lanes) -> None:
    lane = lanes.lane("0")
    if lane is not None and lane.pid is not None:
        lanes.server.kill_sync_helper(lane.pid)


def _accounts(report: Report, lanes: Lanes) -> None:
    for what, faults in lanes.journal.verdict().faults().items():
        report.claim(f"{what}: none", not faults, "; ".join(faults[:_SHOWN]))
    counts = ", ".join(f"{count} {fate.value}" for fate, count in lanes.journal.counts().items())
    report.figure(f"recipients by what clients were told: {counts}; {lanes.journal.copies()} copies arrived")
    report.claim(
        "no traceback in the log", not lanes.server.first_traceback(), lanes.server.first_traceback()
    )


def _supervisor(report: Report, folder: Path, seed: int, seconds: float) -> None:
    """All processes end with it; whoever starts the server again has all mail."""
    outcome = kill_at_random(folder, seed, seconds)
    report.figure(f"{len(outcome.starts)} lives; seconds until it greets: {spread(outcome.starts, 2)}")
    for what, faults in outcome.verdict.faults().items():
        report.claim(f"{what}: none", not faults, "; ".join(faults[:_SHOWN]))
    report.claim(
        "every life begins and ends as it should", not outcome.faults, "; ".join(outcome.faults[:_SHOWN])
    )

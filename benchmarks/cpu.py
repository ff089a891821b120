"""The CPU time of a server, over all its processes, those included that have come and gone.

A server is a tree of processes below one that stays in the foreground. Living processes are read from their CPU clocks (nanoseconds, threads
that ended included); children that ended and were waited for are in their parent's cumulative times (``/proc/PID/stat``: cutime, cstime;
clock ticks, so at most two ticks off per process, and not per child). A reading is taken twice and believed when no process came or went
between the two. Source: proc(5), clock_getcpuclockid(3), kernel posix-cpu-timers.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.processes import descendants

TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")
#: Low bits of a clock id that mean "CPU time as the scheduler counted it, of the whole process".
CPUCLOCK_SCHED: Final = 2
MAX_READINGS: Final = 20


class _Process(NamedTuple):
    """CPU seconds of a living process, and of its children that ended and were waited for (theirs included)."""

    own: float
    ended: float


class TreeClock:
    """The CPU seconds of the process ``root`` and everything below it."""

    def __init__(self, root: int) -> None:
        self._root = root

    def used(self) -> float:
        """CPU seconds since the tree began."""
        reading = self._read()
        for _ in range(MAX_READINGS):
            again = self._read()
            if again.keys() == reading.keys() and all(
                again[pid].ended == reading[pid].ended for pid in again
            ):
                break
            reading = again
        return sum(process.own + process.ended for process in again.values())

    def _read(self) -> dict[int, _Process]:
        """One pass over the tree."""
        processes: dict[int, _Process] = {}
        for pid in [self._root, *descendants(self._root)]:
            try:
                own = process_seconds(pid)
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # ended since it was listed: the next pass finds it in its parent
                continue
            processes[pid] = _Process(own, (int(fields[13]) + int(fields[14])) * TICK)
        return processes


def process_seconds(pid: int) -> float:
    """CPU seconds of a living process, all its threads included, without its children. OSError if it has ended."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def settled(clock: TreeClock, seconds: float = 5.0, quiet: float = 0.1) -> float:
    """CPU seconds of a tree once it has nothing left to do: it used less than 2 % of a processor for ``quiet`` seconds (or time is up)."""
    deadline = time.monotonic() + seconds
    before = clock.used()
    while True:
        time.sleep(quiet)
        now = clock.used()
        if now - before < quiet * 0.02 or time.monotonic() > deadline:
            return now
        before = now


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """The most of it since the process began or ``forget_peak``."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Make ``peak_resident_bytes`` begin anew (proc(5): clear_refs, 5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no {key}: it has ended")

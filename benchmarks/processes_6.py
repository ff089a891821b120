"""processes-6: rates that four lanes share, by a broker: used to the full, never exceeded, whatever dies.

Lanes and broker are processes with the real client, bus, broker and ``state.db``, and nothing besides; the lanes write down when they took a token.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.processes import start, wait_until
from benchmarks.quota_lane import EVENT
from benchmarks.report import Report
from penstock.mail.rate import Rate, parse_rate

RATES: Final = ("100/s", "5/minute")
#: Events a second that come to each lane, and how many seconds apart they come together: more in all than the rate, on one lane most of it.
LOADS: Final = (("200", "0"), ("30", "0"), ("20", "2"), ("2", "0"))
#: The part of a rate that is to be used.
FULL: Final = 0.98
_READY: Final = 20.0
_STDERR: Final = 2


class Scene:
    """A broker and four lanes in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "broker.sock"
        self._logs = itertools.count()
        self.broker: subprocess.Popen[bytes] | None = None
        self.lanes: list[subprocess.Popen[bytes]] = []

    def start_broker(self) -> None:
        """Start it, and wait until it listens."""
        self.broker = self._start(
            "quota_host", "--data-dir", str(self._folder), "--socket", str(self._socket)
        )

    def start_lane(self, place: int) -> None:
        """Start the lane with this load, in the place of the one that was there."""
        load, every = LOADS[place]
        rates = itertools.chain.from_iterable(("--rate", rate) for rate in RATES)
        log = self._folder / f"{next(self._logs)}.log"
        lane = self._start(
            "quota_lane", "--socket", str(self._socket), "--log", str(log), "--load", load, "--every", every, *rates
        )  # fmt: skip
        self.lanes[place : place + 1] = [lane]

    def wait(self) -> None:
        """Until the broker listens and every lane has written."""
        wait_until(self._socket.exists, _READY, "the broker", self.broker)
        logs = range(len(LOADS))
        wait_until(lambda: all((self._folder / f"{log}.log").exists() for log in logs), _READY, "the lanes")

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-m", f"benchmarks.{module}", *arguments], stderr=_STDERR)

    def events(self) -> list[list[float]]:
        """When something happened, of each rate, in order."""
        found: list[list[float]] = [[] for _ in RATES]
        for log in self._folder.glob("*.log"):
            octets = log.read_bytes()
            for place, instant in EVENT.iter_unpack(octets[: len(octets) // EVENT.size * EVENT.size]):
                found[place].append(instant)
        return [sorted(events) for events in found]


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """With -9."""
    if process is not None:
        process.kill()
        process.wait()


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """A broker and its lanes, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="processes-6-"))
    made = Scene(folder)
    try:
        made.start_broker()
        for place in range(len(LOADS)):
            made.start_lane(place)
        made.wait()
        yield made
    finally:
        for process in (*made.lanes, made.broker):
            kill(process)
        shutil.rmtree(folder)


def ahead(events: Sequence[float], rate: Rate) -> float:
    """By how many events a bucket of the rate is over its brim at the worst; 0 or less: never."""
    level, last, worst = 0.0, 0.0, -float(rate.burst)
    for instant in events:
        level = max(0.0, level - (instant - last) * rate.count / rate.period) + 1
        last = instant
        worst = max(worst, level - rate.burst)
    return worst


def most_in(events: Sequence[float], seconds: float) -> int:
    """The most events in any such window."""
    return max(
        (bisect_left(events, first + seconds) - place for place, first in enumerate(events)), default=0
    )


def check(report: Report, arguments: Sequence[str]) -> None:
    """A limit over 4 lanes with uneven load: 100/s used to 98% and never exceeded; 5/minute exact; broker and lanes killed: under-use only."""
    parser = argparse.ArgumentParser(
        prog="processes-6", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=62.0, help="how long all goes well")
    parser.add_argument("--kills", type=float, default=45.0, help="how long something is killed each second")
    options = parser.parse_args(arguments)
    fast, slow = map(parse_rate, RATES)

    report.heading(f"Four lanes, {options.seconds:g} s")
    with scene() as going_well:
        time.sleep(options.seconds)
        end = time.monotonic()
        events = [[instant for instant in each if instant < end] for each in going_well.events()]
    _claim_full(report, events[0], fast, end)
    _claim_never_exceeded(report, events[0], fast)
    passed = end - events[1][0]
    exact = slow.burst + int(passed * slow.count / slow.period)
    report.claim(
        f"{RATES[1]} is exact",
        len(events[1]) == exact,
        f"{len(events[1])} in {passed:.1f} s, {exact} allowed",
    )
    _claim_never_exceeded(report, events[1], slow)

    report.heading(f"A lane killed each second, the broker each fifth, {options.kills:g} s")
    with scene() as troubled:
        begun = time.monotonic()
        for turn in itertools.count(1):
            if time.monotonic() - begun >= options.kills:
                break
            time.sleep(1.0)
            place = turn % len(LOADS)
            kill(troubled.lanes[place])
            troubled.start_lane(place)
            if turn % 5 == 0:
                kill(troubled.broker)
                troubled.start_broker()
        took = time.monotonic() - begun
        events = troubled.events()
    report.figure(
        f"used: {len(events[0]) / (fast.burst + took * fast.count / fast.period):.0%} of {RATES[0]}"
    )
    report.figure(
        f"used: {len(events[1])} of {slow.burst + int(took * slow.count / slow.period)} of {RATES[1]}"
    )
    report.claim("lanes go on", len(events[0]) > 0 and len(events[1]) > slow.burst // 2)
    for place, rate in enumerate((fast, slow)):
        _claim_never_exceeded(report, events[place], rate)


def _claim_full(report: Report, events: Sequence[float], rate: Rate, end: float) -> None:
    allowed = rate.burst + (end - events[0]) * rate.count / rate.period
    used = len(events) / allowed
    report.claim(f"{rate} is used to {FULL:.0%}", used >= FULL, f"{len(events)} of {allowed:.0f}, {used:.1%}")


def _claim_never_exceeded(report: Report, events: Sequence[float], rate: Rate) -> None:
    over, second = ahead(events, rate), most_in(events, rate.period)
    report.claim(
        f"{rate} is never exceeded by more than its burst, in any window",
        over <= 1e-3 and second <= rate.count + rate.burst,
        f"at most {second} in {rate.period:g} s; the bucket at its fullest {over:+.3f} events from its brim",
    )

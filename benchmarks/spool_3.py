"""spool-3: the server killed before its calls and under load, and errors by its calls: nothing lost, nothing that was refused, nothing changed."""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.kills.calls import (
    ROLES,
    Point,
    chosen,
    drawn,
    failures,
    network_points,
    storage_points,
)
from benchmarks.kills.crowd import LONGEST_LIFE, SHORTEST_LIFE, kill_at_random
from benchmarks.kills.cycle import MESSAGES, Finding, Laboratory, Sort
from benchmarks.kills.journal import Fate, Verdict
from benchmarks.report import Report, spread

#: Of the short version, in cycles of some two seconds; the whole one has all.
KILLS: Final = 50
FAILURES: Final = 50
LASTING_FAILURES: Final = 4
NETWORK_KILLS: Final = 20
CROWD_SECONDS: Final = 60.0
#: Errors that last: so many calls of a kind in a row. A spool that tries a call at a time waits for half a minute in all meanwhile.
LASTING: Final = 5
#: After so many letters the sync helper is killed alone.
HELPER_KILLS: Final = (0, 5, 12)
#: Runs differ, so a call may have another number than it had when it was found, or none.
LEAST_MET: Final = 0.8
PARTS: Final = ("kills", "network", "errors", "random")
_SHOWN: Final = 30

T = TypeVar("T")

#: A cycle that is still to be run.
Cycle = Callable[[], Finding]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Killed before its calls and at random under load, and with errors by its calls: no loss, no ghost, no change, every duplicate explained.

    ``arguments``: ``--whole`` for every storage call and every error of each (up to an hour), ``--seed``, ``--jobs``, and parts by name.
    """
    options = _options(arguments)
    report.figure(f"seed {options.seed}: --seed {options.seed} chooses the same calls and moments again")
    with tempfile.TemporaryDirectory(prefix="penstock-spool-3-") as name:
        _Show(report, options, Path(name).resolve()).run()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="spool-3", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", default=[], metavar="PART", help=f"of {', '.join(PARTS)}; all without"
    )
    parser.add_argument("--whole", action="store_true", help="every storage call, and every error of each")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what chance goes by")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cycles at the same time")
    parser.add_argument("--cycles", type=int, help="no more than so many of each part, drawn")
    parser.add_argument("--seconds", type=float, default=CROWD_SECONDS, help="how long to kill at random")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    options.parts = options.parts or list(PARTS)
    return options


class _Show:
    """The parts of the check."""

    def __init__(self, report: Report, options: argparse.Namespace, place: Path) -> None:
        self._report = report
        self._options = options
        self._place = place
        self._draw = random.Random(options.seed)
        self._laboratory = Laboratory(place)
        self._storage: list[Point] = []
        self._network: list[Point] = []

    def run(self) -> None:
        """All parts that were asked for."""
        parts = {"kills": self._kills, "network": self._network_kills, "errors": self._errors}
        if not set(parts).isdisjoint(self._options.parts):
            self._look()
        for name, part in parts.items():
            if name in self._options.parts:
                part()
        if "random" in self._options.parts:
            self._crowd()

    def _look(self) -> None:
        """Find the calls, and see that a run without a fault is without fault and one with lies is not."""
        self._report.heading(f"Runs of {MESSAGES} messages without a fault, and their calls")
        self._laboratory.prepare()
        findings = []
        for role in ROLES:
            tracer, data, finding = self._laboratory.trace(role)
            findings.append(finding)
            self._say_calls(
                role, storage_points(tracer.calls, data, role), network_points(tracer.calls, role)
            )
        self._claim(
            "control: without a fault nothing is wrong, and nothing comes twice",
            findings,
            no_duplicates=True,
        )
        silent = [role for role in ROLES if all(point.role != role for point in self._storage)]
        self._report.claim(
            "control: the worker, the supervisor and the scribe are all seen to store something",
            not silent,
            f"nothing of the {' and the '.join(silent)}" if silent else "",
        )
        losses = self._laboratory.lose_segment().verdict.losses
        self._report.claim(
            "control: what a segment had that is taken away between two lives is found to be lost",
            bool(losses),
            f"{len(losses)} recipients lost",
        )

    def _say_calls(self, role: str, storage: list[Point], network: list[Point]) -> None:
        self._storage += storage
        self._network += network
        for (kind, what), count in Counter((point.kind, point.what) for point in storage).items():
            self._report.figure(f"{role:10} {count:4} {kind:11} {what}")
        kinds = Counter(point.kind for point in network)
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        self._report.figure(f"{role:10} {len(storage)} storage calls; {len(network)} network calls: {listed}")

    def _few(self, all_of_them: Sequence[T]) -> list[T]:
        """As many as were asked for, by chance, in their order."""
        wanted = self._options.cycles
        if wanted is None or wanted >= len(all_of_them):
            return list(all_of_them)
        return [all_of_them[place] for place in sorted(self._draw.sample(range(len(all_of_them)), wanted))]

    def _kills(self) -> None:
        points = self._few(self._storage if self._options.whole else chosen(self._storage, KILLS))
        self._report.heading(f"kill -9 before storage calls: {len(points)} of {len(self._storage)}")
        self._judge([functools.partial(self._laboratory.kill, point, Sort.STORAGE) for point in points])

    def _network_kills(self) -> None:
        points = self._few(drawn(self._network, NETWORK_KILLS, self._draw))
        self._report.heading(f"kill -9 before network calls: {len(points)} drawn of {len(self._network)}")
        self._judge([functools.partial(self._laboratory.kill, point, Sort.NETWORK) for point in points])

    def _errors(self) -> None:
        whole = self._options.whole
        failing = self._few(failures(self._storage, None if whole else FAILURES))
        lasting = [failure for failure in failing if failure[1] != "0"]
        lasting = lasting[:: 2 * LASTING if whole else max(1, len(lasting) // LASTING_FAILURES)]
        self._report.heading(
            f"Errors by storage calls: {len(failing)}, of {len(self._storage)} calls; {len(lasting)} that last for {LASTING} calls; "
            f"the sync helper killed alone {len(HELPER_KILLS)} times"
        )
        cycles: list[Cycle] = [
            functools.partial(self._laboratory.fail, point, error) for point, error in failing
        ]
        cycles += [
            functools.partial(self._laboratory.fail, point, error, LASTING) for point, error in lasting
        ]
        cycles += [functools.partial(self._laboratory.lose_helper, after) for after in HELPER_KILLS]
        self._judge(cycles)

    def _judge(self, cycles: Sequence[Cycle]) -> None:
        """Run cycles, several at a time, and say what came of them."""
        began = time.monotonic()
        with ThreadPoolExecutor(self._options.jobs) as several:
            findings = list(several.map(lambda cycle: cycle(), cycles))
        seconds = time.monotonic() - began
        met = [finding for finding in findings if finding.met]
        self._report.figure(
            f"{len(findings)} cycles in {seconds:.0f} s, {seconds / max(1, len(findings)):.1f} s each"
        )
        self._report.claim(
            f"the call that was meant was made in {LEAST_MET:.0%} of the runs or more",
            len(met) >= LEAST_MET * len(findings) and bool(findings),
            f"{len(met)} of {len(findings)}",
        )
        self._claim(
            "LOSS, GHOST and MUTATED are 0, every duplicate explained, events complete, the server well",
            findings,
        )

    def _claim(self, text: str, findings: Sequence[Finding], *, no_duplicates: bool = False) -> None:
        lines = [line for finding in findings for line in finding.lines()]
        verdicts = [finding.verdict for finding in findings]
        doubled = sum(len(verdict.duplicates) for verdict in verdicts)
        others = sum(len(finding.faults) for finding in findings)
        holds = not lines and not (no_duplicates and doubled) and bool(findings)
        self._report.claim(text, holds, f"{_sums(verdicts)}; {others} other faults")
        self._list(lines)

    def _crowd(self) -> None:
        seconds = self._options.seconds
        self._report.heading(
            f"kill -9 at random under load, each life {SHORTEST_LIFE:g} to {LONGEST_LIFE:g} s, for {seconds:g} s"
        )
        outcome = kill_at_random(self._place / "crowd", self._draw.randrange(1 << 32), seconds)
        fates = ", ".join(f"{outcome.fates[fate]:,} {fate.value}" for fate in Fate)
        self._report.figure(
            f"{len(outcome.starts)} kills; recipients: {fates}; {outcome.copies:,} copies arrived"
        )
        if outcome.starts:
            self._report.figure(f"from start to greeting {spread(outcome.starts, 2)} s")
        lines = [f"{kind}: {line}" for kind, found in outcome.verdict.faults().items() for line in found]
        lines += outcome.faults
        self._report.claim(
            "LOSS, GHOST and MUTATED are 0, every duplicate explained, events complete, the ledger right, the spool sound",
            not lines and bool(outcome.starts) and outcome.fates[Fate.ACCEPTED] > 0,
            f"{_sums([outcome.verdict])}; {len(outcome.faults)} other faults",
        )
        self._list([f"killed at random: {line}" for line in lines])

    def _list(self, lines: Sequence[str]) -> None:
        """What is wrong; the same of several cycles once, with the first of them."""
        alike: dict[str, list[str]] = {}
        for line in lines:
            name, _, wrong = line.partition(": ")
            alike.setdefault(wrong, []).append(name)
        for wrong, names in itertools.islice(alike.items(), _SHOWN):
            others = f", and {len(names) - 1} others" if len(names) > 1 else ""
            self._report.figure(f"{names[0]}{others}: {wrong}")
        if len(alike) > _SHOWN:
            self._report.figure(f"and {len(alike) - _SHOWN} more")


def _sums(verdicts: Sequence[Verdict]) -> str:
    names = {kind: 0 for verdict in verdicts for kind in verdict.faults()}
    for verdict, kind in itertools.product(verdicts, names):
        names[kind] += len(verdict.faults()[kind])
    doubled = sum(len(verdict.duplicates) for verdict in verdicts)
    listed = ", ".join(f"{kind} {count}" for kind, count in names.items())
    return f"{listed}; {doubled} duplicates, {doubled - names.get('DUPLICATE UNEXPLAINED', 0)} explained"

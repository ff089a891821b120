"""queues-5: the models of the queueing core, and that each of a list of mistakes is found by them."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.processes import ProgramFaultError
from benchmarks.report import Report

_ROOT: Final = Path(__file__).resolve().parent.parent
#: What is run: the core of queues, and the limits that it asks.
_PLACES: Final = ("tests/queueing", "tests/shaping")
#: A test whose name has this, and a case of it, stands for a mistake that is to be found.
_MISTAKE: Final = re.compile(r"mistake.*\[")


class Result(NamedTuple):
    """A test: its name, seconds, and what was wrong; "" for nothing."""

    name: str
    seconds: float
    fault: str


def check(report: Report, arguments: Sequence[str]) -> None:
    """Stateful models against a naive account, at their full length, and the list of mutations: all caught."""
    parser = argparse.ArgumentParser(prog="queues-5", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--short", action="store_true", help="as long as in every run of the suite")
    options = parser.parse_args(arguments)
    results = _run("not campaign" if options.short else "campaign or not campaign")
    mistakes = [result for result in results if _MISTAKE.search(result.name)]
    others = [result for result in results if not _MISTAKE.search(result.name)]
    report.heading(f"Models and tests: {len(others)}, {sum(result.seconds for result in others):.0f} s")
    for result in sorted(others, key=lambda result: -result.seconds)[:8]:
        report.figure(f"{result.seconds:7.1f} s  {result.name}")
    _claim(report, "all hold", others)
    report.heading(f"Mistakes: {len(mistakes)}, {sum(result.seconds for result in mistakes):.0f} s")
    for result in mistakes:
        report.figure(f"{result.seconds:7.1f} s  {result.name.partition('[')[2].rstrip(']')}")
    _claim(report, "all are found", mistakes)


def _claim(report: Report, text: str, results: Sequence[Result]) -> None:
    wrong = [result for result in results if result.fault]
    report.claim(text, bool(results) and not wrong, f"{len(results) - len(wrong)} of {len(results)}")
    for result in wrong:
        report.figure(f"{result.name}: {result.fault[:300]}")


def _run(chosen: str) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="penstock-queues-5-") as name:
        told = Path(name) / "results.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", chosen, f"--junitxml={told}", *_PLACES],
            cwd=_ROOT, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if not told.exists():
            raise ProgramFaultError("pytest has said nothing; run it by hand: make test ARGS=tests/queueing")
        # written by ourselves, a line ago
        cases = ET.parse(told).iter("testcase")
        return [
            Result(case.get("name", ""), float(case.get("time", 0)), _fault(case))
            for case in cases
            if case.find("skipped") is None
        ]


def _fault(case: ET.Element) -> str:
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            return found.get("message") or kind
    return ""

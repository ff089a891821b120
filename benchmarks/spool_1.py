"""spool-1: simulated power cuts by the ten thousand, and mistakes that they must find."""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from benchmarks.report import Report
from tests.spool.campaign.campaign import KINDS, Outcome, drawn, hunt, told
from tests.spool.campaign.mutations import MUTATIONS
from tests.spool.campaign.scripts import SCRIPTS

#: The acceptance asks for so many at least.
LEAST_STATES: Final = 10_000
STATES: Final = 30_000
#: Runs that a mistake may survive: more than any has needed by far.
MISTAKEN_RUNS: Final = 60
_SHOWN: Final = 5


def check(report: Report, arguments: Sequence[str]) -> None:
    """Simulated power cuts: none breaks the contract, over scripted and random runs, and every sync, order and check that is left out is found.

    ``arguments``: ``--seed``, ``--states``, ``--mistake`` for those with these words alone.
    """
    options = _options(arguments)
    report.figure(f"seed {options.seed}: --seed {options.seed} has the same runs again")
    if options.mistake is None:
        _cut(report, options.seed, options.states)
    _mistakes(report, options.seed, options.mistake or "")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="spool-1", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="what chance goes by")
    parser.add_argument("--states", type=int, default=STATES, help="crash states to judge, at least")
    parser.add_argument("--mistake", help="make only the mistakes with these words in their names")
    return parser.parse_args(arguments)


def _cut(report: Report, seed: int, wanted: int) -> None:
    """Runs until so many states were judged."""
    began = time.process_time()
    report.heading(f"Scripts: {len(SCRIPTS)}, every step of which is looked at")
    outcomes: list[Outcome] = []
    for story in SCRIPTS:
        outcome = told(story, seed)
        report.figure(f"{outcome.states:6,} states: {story}")
        outcomes.append(outcome)
    report.heading("Runs by chance")
    seeds = itertools.count(seed)
    states = sum(outcome.states for outcome in outcomes)
    while states < wanted:
        outcome = drawn(next(seeds))
        states += outcome.states
        outcomes.append(outcome)
    seconds = time.process_time() - began
    report.figure(
        f"{len(outcomes) - len(SCRIPTS)} runs; {states:,} states in all, {seconds:.0f} s of CPU time"
    )
    kinds: Counter[str] = Counter()
    for outcome in outcomes:
        kinds += outcome.kinds
    for kind in KINDS:
        report.figure(f"{kinds[kind]:9,} {kind}")
    violations = [outcome for outcome in outcomes if outcome.violation is not None]
    report.claim(f"at least {LEAST_STATES:,} crash states", states >= LEAST_STATES, f"{states:,}")
    missing = [kind for kind in KINDS if not kinds[kind]]
    report.claim(
        "everything has happened that can", not missing, f"never: {', '.join(missing)}" if missing else ""
    )
    report.claim("no violation of the contract", not violations, f"{len(violations)}")
    for outcome in violations[:_SHOWN]:
        report.figure(f"seed {outcome.seed}: {outcome.violation}")
        for note in getattr(outcome.violation, "__notes__", ()):
            report.figure(note)


def _mistakes(report: Report, seed: int, words: str) -> None:
    chosen = [mutation for mutation in MUTATIONS if words in mutation.name]
    report.heading(f"Mistakes: {len(chosen)}, and what has found them")
    began = time.process_time()
    survivors: list[str] = []
    for mutation in chosen:
        outcomes = list(hunt(mutation, range(seed, seed + MISTAKEN_RUNS)))
        states, violation = sum(outcome.states for outcome in outcomes), outcomes[-1].violation
        found = violation.rule if violation is not None else "NOT FOUND"
        report.figure(f"{states:6,} states: {mutation.name}: {found}")
        if violation is None:
            survivors.append(mutation.name)
    report.figure(f"{time.process_time() - began:.0f} s of CPU time")
    report.claim(
        "every mistake is found",
        bool(chosen) and not survivors,
        f"{len(chosen) - len(survivors)} of {len(chosen)}",
    )

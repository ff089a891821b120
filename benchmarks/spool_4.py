"""spool-4: full disks, no inodes, no descriptors, spoiled files: refuse, never truncate, never deliver a changed message, resume."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.disks import flips
from benchmarks.disks.damage import Outcome, Spot, left_behind, sample, spots, start_on
from benchmarks.disks.faults import FAULTS, befall
from benchmarks.disks.mounts import enter_namespace
from benchmarks.processes import MissingProgramError
from benchmarks.report import Report

#: In the short form one flip in so many times 512 octets, and so many starts.
_SHORT_STEP: Final = 32 * flips.STEP
_SHORT_STARTS: Final = 1
_SHOWN: Final = 5


def check(report: Report, arguments: Sequence[str]) -> None:
    """Disk full, no inodes, no descriptors, a flipped bit in every 512 octets: refused, never changed, resumed; all of it is told.

    File systems in memory are mounted, as root or in a user namespace; where neither may be, those parts are left out, and that is said.
    """
    options = _options(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    report.figure(f"seed {seed}")
    faults = list(FAULTS)
    try:
        enter_namespace()
    except MissingProgramError as missing:
        faults = [fault for fault in FAULTS if fault.disk is None]
        names = ", ".join(fault.name for fault in FAULTS if fault.disk is not None)
        report.figure(f"left out ({missing}): {names}")
    faults = [fault for fault in faults if options.fault in fault.name]
    for fault in faults[:1] if options.short else faults:
        befall(report, fault, seed)
    _recoveries(report, seed, _SHORT_STEP if options.short else flips.STEP)
    _starts(report, seed, _SHORT_STARTS if options.short else options.starts)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="spool-4", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one fault, few flips, one start")
    parser.add_argument(
        "--fault", default="", help="of the faults only those with these words in their names"
    )
    parser.add_argument(
        "--starts", type=int, default=40, help="starts of the server on a spool with a flipped bit"
    )
    parser.add_argument("--seed", type=int, help="of mail and flips; else drawn")
    return parser.parse_args(arguments)


def _recoveries(report: Report, seed: int, step: int) -> None:
    report.heading(f"A bit flipped in every {step:,} octets, recovered and read back in memory")
    began = time.monotonic()
    stored = flips.store(seed)
    runs = missing = again = told = 0
    faults: list[str] = []
    for path, offset, bit in flips.flips(stored, seed, step):
        flipped = flips.flip(stored, path, offset, bit)
        runs += 1
        missing += flipped.missing
        again += flipped.again
        told += flipped.is_told
        faults += [f"{Spot(path, offset, bit)}: {fault}" for fault in flipped.faults]
    figures = (
        f"{runs:,} flips, {told:,} told of; {missing:,} messages missing, {again:,} with recipients again; "
        f"{time.monotonic() - began:.0f} s"
    )
    report.claim(
        "nothing is other than it was stored, at most one record is damaged, and that is told",
        not faults,
        figures,
    )
    for fault in faults[:_SHOWN]:
        report.figure(fault)


def _starts(report: Report, seed: int, starts: int) -> None:
    report.heading(f"The server started {starts} times on a spool with a flipped bit")
    with left_behind(seed) as left:
        places = spots(left, seed)
        sound = start_on(left, None)
        findings = sound.findings
        report.claim(
            "control: from the spool as it was left everything is delivered, and nothing is told of",
            not findings.faults and not sound.faults and sound.checked == 0 and not sound.events,
            f"{findings.figures()}; 'spool check' ends with {sound.checked}{'; '.join(['', *sound.faults])}",
        )
        if findings.lost:
            return
        report.figure(f"{len(places):,} places in {len({spot.path for spot in places})} files")
        chosen = sample(places, starts)
        _claim_starts(report, [(spot, start_on(left, spot)) for spot in chosen])


def _claim_starts(report: Report, outcomes: Sequence[tuple[Spot, Outcome]]) -> None:
    changed: list[str] = []
    more: list[str] = []
    untold: list[str] = []
    for spot, outcome in outcomes:
        found = outcome.findings
        changed += [f"{spot}: {fault}" for fault in (*found.mutated, *found.ghosts)]
        more += [f"{spot}: {fault}" for fault in outcome.faults]
        if len(outcome.lost) > 1:
            more.append(f"{spot}: messages {sorted(outcome.lost)} are lost")
        if (found.lost or found.doubles) and not outcome.is_told:
            untold.append(f"{spot}: {', '.join((found.lost + found.doubles)[:_SHOWN])}")
    lost = sum(bool(outcome.lost) for _, outcome in outcomes)
    told = sum(outcome.is_told for _, outcome in outcomes)
    for claim, faults, figures in (
        ("never a changed message", changed, ""),
        (
            "everything undamaged is delivered, by a server that starts and stops well",
            more,
            f"{lost} times one message is missing",
        ),
        (
            "whatever is missing, or comes twice, is told: 'penstock spool check' ends with 1, or a Quarantine event",
            untold,
            f"told {told} times of {len(outcomes)}",
        ),
    ):
        report.claim(claim, not faults, figures)
        for fault in faults[:_SHOWN]:
            report.figure(fault)

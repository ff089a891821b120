"""spool-2: power cuts under load on real file systems, and what the journals of both sides say afterwards. Needs root and loop devices."""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.disks.mounts import FILE_SYSTEMS, FileSystem, Image, check_images
from benchmarks.disks.oracle import WINDOW_SECONDS, Cut, Findings
from benchmarks.disks.trial import QUEUES, SETTLE_SECONDS, Trial
from benchmarks.processes import ProgramFaultError
from benchmarks.product import RELAY_IN_THE_CLEAR, Settings, run_command
from benchmarks.report import Report, spread

#: When the power goes, in seconds after the load has begun.
CUT_SECONDS: Final = (0.1, 1.2)
#: Cuts after which a server that does not sync must have lost something.
CONTROL_CUTS: Final = 10
_SHOWN: Final = 5

SYNCED: Final = RELAY_IN_THE_CLEAR._replace(queues=QUEUES)
UNSYNCED: Final = SYNCED._replace(tables='[spool]\ndurability = "os"\n')


class _Figures(NamedTuple):
    """Of each cut: recipients that were accepted and under way, transactions without an answer, seconds of starting and settling."""

    under_way: list[int]
    unanswered: list[int]
    starts: list[float]
    cycles: list[float]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Power cuts under load, on ext4 and xfs: nothing accepted is lost, nothing refused is delivered; without syncs mail is lost. Needs root.

    The file systems are in images on loop devices, and lose power by their own shutdown ioctl: what was not synced is gone.
    """
    options = _options(arguments)
    chosen = tuple(kind for kind in FILE_SYSTEMS if kind.name in options.on)
    check_images(chosen)
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    report.figure(f"seed {seed}")
    for file_system in chosen:
        _cuts(report, file_system, seed, options.cuts)
        _control(report, file_system, seed)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    names = [kind.name for kind in FILE_SYSTEMS]
    parser = argparse.ArgumentParser(prog="spool-2", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--cuts", type=int, default=50, help="power cuts on each file system")
    parser.add_argument("--on", nargs="+", choices=names, default=names, help="file systems")
    parser.add_argument("--seed", type=int, help="of the mail and of the moments of the cuts; else drawn")
    return parser.parse_args(arguments)


@contextmanager
def _trial(file_system: FileSystem, seed: int, settings: Settings) -> Iterator[tuple[Trial, Image]]:
    """A trial whose data is on a disk that can lose power."""
    with tempfile.TemporaryDirectory(prefix="penstock-spool-2-") as name:
        folder = Path(name)
        # the disk goes last: nothing of the server is left then
        with (
            Trial(folder, seed, settings) as trial,
            Image(file_system, folder / "disk.image", trial.data) as disk,
        ):
            try:
                yield trial, disk
            finally:
                trial.kill()


def _cuts(report: Report, file_system: FileSystem, seed: int, cuts: int) -> None:
    report.heading(f"{file_system.name}: {cuts} power cuts under load")
    chance = random.Random(f"{seed}/{file_system.name}")
    figures = _Figures([], [], [], [])
    with _trial(file_system, seed, SYNCED) as (trial, disk):
        trial.start()
        late = sum(not _cut_once(trial, disk, chance, figures) for _ in range(cuts))
        _say(report, figures)
        report.claim(
            f"after each cut everything accepted finds its end within {SETTLE_SECONDS:g} s",
            late == 0,
            f"{late} times not",
        )
        # what had no answer waits for its retries as everything else does
        trial.wait_until_empty()
        _claim_whole(report, trial.findings())
        under_way = sum(count > 0 for count in figures.under_way)
        report.claim(
            "the cuts fell while mail was under way", under_way * 2 >= cuts, f"at {under_way} of {cuts} cuts"
        )
        _claim_end(report, trial)


def _cut_once(trial: Trial, disk: Image, chance: random.Random, figures: _Figures) -> bool:
    """Load, a power cut, a start, and an end of everything; whether that came in time. The server runs before and afterwards."""
    began = time.monotonic()
    before = len(trial.sent.entries())
    with trial.source():
        time.sleep(chance.uniform(*CUT_SECONDS))
        # The processor loses its power with the disk. Were the server to live on, it could be told a lie: a sync that is under way when
        # the file system is shut down may come back as done (seen of ext4 and xfs, with Linux 6.18, on a file that nobody else used).
        trial.freeze()
        at = time.monotonic()
        disk.lose_power()
        trial.kill()
    figures.unanswered.append(sum(entry.is_unknown for entry in trial.sent.entries(before)))
    disk.come_back()
    figures.under_way.append(len(trial.unsettled()))
    trial.cuts.append(Cut(at, time.monotonic()))
    figures.starts.append(trial.start())
    is_settled = trial.settle()
    figures.cycles.append(time.monotonic() - began)
    return is_settled


def _say(report: Report, figures: _Figures) -> None:
    report.figure(f"recipients under way at a cut: {spread(figures.under_way)}")
    report.figure(f"transactions without an answer: {spread(figures.unanswered)}")
    report.figure(f"seconds from start to greeting: {spread(figures.starts, 2)}")
    report.figure(f"seconds of a whole cycle: {spread(figures.cycles, 1)}; in all {sum(figures.cycles):.0f}")


def _claim_whole(report: Report, findings: Findings) -> None:
    report.figure(findings.figures())
    for name, faults in (
        ("LOSS = 0: everything accepted was delivered or bounced", findings.lost),
        ("GHOST = 0: nothing refused was delivered", findings.ghosts),
        ("MUTATED = 0: everything arrived as it was sent", findings.mutated),
        ("HALF = 0: what had no answer was stored whole or not at all", findings.halves),
        (
            f"DOUBLE = 0: what came twice had come at most {WINDOW_SECONDS:g} s before a cut, and again after it",
            findings.doubles,
        ),
    ):
        report.claim(name, not faults, f"{len(faults)}" if faults else "")
        for fault in faults[:_SHOWN]:
            report.figure(fault)


def _claim_end(report: Report, trial: Trial) -> None:
    """What the server itself says of all of it."""
    well, status = trial.wait_until_well(5.0), trial.stop()
    faults = trial.tracebacks
    report.claim(
        "the server is well, stops with status 0, and never logged a traceback",
        well and status == 0 and not faults,
        f"status {status}{': ' + faults[0][:600] if faults else ''}",
    )
    faults = trial.event_faults()
    report.claim(
        "every accepted recipient has its events, each end once, as it was",
        not faults,
        f"{len(faults)} faults",
    )
    for fault in faults[:_SHOWN]:
        report.figure(fault)
    ledger = run_command(["ledger", "-c", "penstock.toml"], trial.folder)
    words = (ledger.stdout + ledger.stderr).strip().splitlines()
    report.claim(
        "'penstock ledger' finds that the identity holds", ledger.returncode == 0, words[-1] if words else ""
    )


def _control(report: Report, file_system: FileSystem, seed: int) -> None:
    """The same without syncs: a harness that finds no loss there would find none anywhere."""
    report.heading(f'{file_system.name}: the same with durability = "os"')
    chance = random.Random(f"{seed}/{file_system.name}/control")
    figures = _Figures([], [], [], [])
    lost = cuts = 0
    with _trial(file_system, seed, UNSYNCED) as (trial, disk):
        try:
            trial.start()
        except ProgramFaultError as fault:
            report.claim("a server that does not sync is started", holds=False, detail=str(fault)[-300:])
            return
        while not lost and cuts < CONTROL_CUTS:
            _cut_once(trial, disk, chance, figures)
            cuts += 1
            lost = len(trial.findings().lost)
    seconds = statistics.mean(figures.cycles)
    report.claim(
        "control: without syncs accepted mail is lost, and that is seen",
        lost > 0,
        f"LOSS {lost} after {cuts} cuts of {seconds:.1f} s each",
    )

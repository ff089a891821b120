"""What can befall a server's disk and descriptors while it runs, and that it comes through: refuses for now, delivers what it has, resumes.

Each fault strikes under load and is relieved later; the destination takes nothing before it strikes, so that there is something to keep.
"""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.disks.letters import LARGE, MIXED, SMALL, Sizes
from benchmarks.disks.mounts import memory
from benchmarks.disks.trial import QUEUES, SETTLE_SECONDS, Trial
from benchmarks.journals import Sent
from benchmarks.processes import ProgramFaultError, wait_until
from benchmarks.product import RELAY_IN_THE_CLEAR
from benchmarks.report import Report
from benchmarks.roles import SCRIBE, members

#: Messages that are queued when a fault strikes, and recipients that must arrive while it lasts.
QUEUED: Final = 30
DELIVERED: Final = 10
#: How long a fault may stay without effect, delivery take beside it, and the server take to resume after it.
PATIENCE_SECONDS: Final = 30.0
#: Between messages of one connection: a disk is filled in seconds, and what it held can be delivered in seconds.
_PACE: Final = 0.2
#: How often a disk is tried to be filled while its server uses it.
_TRIES: Final = 100
_MIB: Final = 1024**2
_SHOWN: Final = 3

Strike = Callable[[Trial], contextlib.AbstractContextManager[None]]


class Fault(NamedTuple):
    """``strike`` makes it, and at its end relieves it. ``disk`` are options of the file system in memory that ``data`` is, None for any disk.

    ``refuses_at_mail``: the server sees it coming, and answers MAIL with 452 4.3.1. ``delivers``: it goes on delivering meanwhile.
    """

    name: str
    strike: Strike
    disk: str | None = None
    sizes: Sizes = MIXED
    tables: str = ""
    refuses_at_mail: bool = False
    delivers: bool = False


@contextlib.contextmanager
def _filled_by_others(trial: Trial, rest: int = _MIB) -> Iterator[None]:
    """Somebody else's file takes all of the disk but ``rest`` octets."""
    file = trial.data / "of-somebody-else"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(_TRIES):
            room = os.statvfs(file)
            with contextlib.suppress(OSError):  # what was free a moment ago may be taken
                os.posix_fallocate(descriptor, 0, max(1, room.f_bavail * room.f_frsize - rest))
                break
        yield
    finally:
        os.close(descriptor)
        file.unlink()


@contextlib.contextmanager
def _filled_to_the_last(trial: Trial) -> Iterator[None]:
    with _filled_by_others(trial, 0):
        yield


@contextlib.contextmanager
def _no_inodes(trial: Trial) -> Iterator[None]:
    """Somebody else's files take all inodes."""
    folder = trial.data / "of-somebody-else"
    folder.mkdir()
    names: list[Path] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                path = folder / str(len(names))
                path.touch()
                names.append(path)
        yield
    finally:
        for path in names:
            path.unlink()
        folder.rmdir()


@contextlib.contextmanager
def _limited(trial: Trial, which: int, value: int) -> Iterator[None]:
    """A limit of the lane's process, and of the scribe, for a while: of all that write what grows."""
    found = members(trial.penstock.process.pid)
    pids = [trial.penstock.worker(), *(pid for pid, role in found.items() if role == SCRIBE)]
    before = {pid: resource.prlimit(pid, which) for pid in pids}
    for pid, limits in before.items():
        resource.prlimit(pid, which, (value, limits[1]))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, which, limits)


@contextlib.contextmanager
def _no_descriptors(trial: Trial) -> Iterator[None]:
    """What it has open stays so; it opens nothing more, whatever it closes."""
    with _limited(trial, resource.RLIMIT_NOFILE, 0):
        yield


@contextlib.contextmanager
def _no_growth(trial: Trial) -> Iterator[None]:
    """Whatever it writes behind the first 4 KiB of a file fails."""
    with _limited(trial, resource.RLIMIT_FSIZE, 4096):
        yield


@contextlib.contextmanager
def _nothing(trial: Trial) -> Iterator[None]:
    """Its own backlog is enough, and delivering it the relief."""
    yield


FAULTS: Final = (
    Fault("the disk is filled by others", _filled_by_others, "size=256m", MIXED, "", True, True),
    Fault("the disk is filled by its own backlog", _nothing, "size=96m", LARGE, "", True, True),
    Fault(
        "the disk is filled to the last octet, no reserve is kept",
        _filled_to_the_last,
        "size=256m",
        LARGE,
        '[spool]\nmin_free_space = "0%"\n',
        delivers=True,
    ),
    Fault("the disk has no inode left", _no_inodes, "size=512m,nr_inodes=400", LARGE, delivers=True),
    Fault("no descriptor is left", _no_descriptors),
    Fault("files may not grow any more", _no_growth),
)


def befall(report: Report, fault: Fault, seed: int) -> None:
    """A server, load, the fault, relief; and what is claimed of all of it."""
    report.heading(fault.name[0].upper() + fault.name[1:])
    settings = RELAY_IN_THE_CLEAR._replace(queues=QUEUES, tables=fault.tables)
    with (
        tempfile.TemporaryDirectory(prefix="penstock-spool-4-") as name,
        Trial(Path(name), seed, settings) as trial,
        contextlib.ExitStack() as disk,
    ):
        if fault.disk is not None:
            disk.enter_context(memory(trial.data, fault.disk))
        try:
            trial.start()
            _Play(report, fault, trial).run()
        except ProgramFaultError as died:
            report.claim("the server does its part", holds=False, detail=str(died)[-600:])
        finally:
            trial.kill()


class _Play:
    """One fault."""

    def __init__(self, report: Report, fault: Fault, trial: Trial) -> None:
        self._report = report
        self._fault = fault
        self._trial = trial

    def run(self) -> None:
        """From good days through bad ones to good ones."""
        trial, fault = self._trial, self._fault
        with trial.source(sizes=SMALL, limit=QUEUED) as source:
            source.finish()
        if not self._report.claim("beforehand all mail arrives", trial.settle() and not trial.unsettled()):
            return
        trial.destination.is_deferring = True
        first = len(trial.sent.entries())
        with trial.source(sizes=fault.sizes, pace=_PACE) as source:
            self._wait(lambda: len(self._accepted(first)) >= QUEUED, "a queue to grow")
            struck = len(trial.sent.entries())
            with fault.strike(trial):
                self._claim_refusal(struck, lambda: source.broken > 0)
                if fault.delivers:
                    self._claim_delivery()
            trial.destination.is_deferring = False
            self._claim_resumption()
        self._claim_no_permanent_refusal(struck)
        self._claim_whole()

    def _accepted(self, first: int) -> list[Sent]:
        return [entry for entry in self._trial.sent.entries(first) if entry.is_accepted]

    def _claim_refusal(self, struck: int, is_broken: Callable[[], bool]) -> None:
        at_mail = self._fault.refuses_at_mail

        def refusals() -> list[Sent]:
            found = [entry for entry in self._trial.sent.entries(struck) if 400 <= entry.code < 500]
            return (
                [entry for entry in found if entry.stage == "MAIL" and entry.code == 452]
                if at_mail
                else found
            )

        began = time.monotonic()
        holds = self._wait(lambda: bool(refusals()) or (not at_mail and is_broken()), "a refusal")
        said = sorted({f"{entry.code} {entry.text} (to {entry.stage})" for entry in refusals()})
        words = "; ".join(said[:_SHOWN]) or "connections break or cannot be made"
        detail = f"after {time.monotonic() - began:.1f} s: {words}" if holds else "nothing is refused"
        if at_mail:
            holds = holds and all(entry.text.startswith("4.3.1") for entry in refusals())
            self._report.claim("new mail is refused at MAIL, 452 4.3.1", holds, detail)
            spool = self._trial.spool_status()
            self._report.claim(
                "'penstock status' says why", bool(spool.get("refusing")), str(spool.get("refusing"))
            )
        else:
            self._report.claim("what cannot be stored is refused for now", holds, detail)

    def _claim_delivery(self) -> None:
        trial = self._trial
        before = len(trial.arrived)
        trial.destination.is_deferring = False
        holds = self._wait(lambda: len(trial.arrived) >= before + DELIVERED, "delivery")
        self._report.claim(
            "what is queued is delivered meanwhile", holds, f"{len(trial.arrived) - before} messages so far"
        )

    def _claim_resumption(self) -> None:
        trial = self._trial
        relieved = time.monotonic()
        holds = self._wait(
            lambda: any(entry.is_accepted and entry.at > relieved for entry in trial.sent.entries()[-100:]),
            "resumption",
        )
        took = time.monotonic() - relieved
        self._report.claim(
            f"new mail is taken again within {PATIENCE_SECONDS:g} s of relief", holds, f"after {took:.1f} s"
        )

    def _claim_no_permanent_refusal(self, struck: int) -> None:
        permanent = [entry for entry in self._trial.sent.entries(struck) if entry.code >= 500]
        detail = f"{permanent[0].code} {permanent[0].text}" if permanent else ""
        self._report.claim("nothing is refused for good", not permanent, detail)

    def _claim_whole(self) -> None:
        trial, report = self._trial, self._report
        settled = trial.settle()
        report.claim(f"everything accepted finds its end within {SETTLE_SECONDS:g} s", settled)
        findings = trial.findings()
        faults = findings.faults
        report.claim("LOSS, GHOST, MUTATED, HALF, DOUBLE = 0", not faults, findings.figures())
        for fault in faults[:_SHOWN]:
            report.figure(fault)
        well, status = trial.wait_until_well(PATIENCE_SECONDS), trial.stop()
        words = f": {trial.tracebacks[0][:600]}" if trial.tracebacks else ""
        report.claim(
            "the same server is found well, logged no traceback, and stops with status 0",
            well and status == 0 and not words,
            f"{'well' if well else 'not well'}, status {status}{words}",
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> bool:
        try:
            wait_until(condition, PATIENCE_SECONDS, what, self._trial.penstock.process, interval=0.05)
        except ProgramFaultError as fault:
            self._report.figure(str(fault))
            return False
        return True

"""A stopped server's spool with one bit flipped, and the server started on it: what it delivers, and what it says of the damage."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.disks.oracle import GIVEN_UP, Findings, judge
from benchmarks.disks.trial import QUEUES, Trial
from benchmarks.journals import Arrived, Sent
from benchmarks.processes import ProgramFaultError, find_program
from benchmarks.product import RELAY_IN_THE_CLEAR, run_command

STEP: Final = 512
#: Messages of each of the two runs that leave the spool.
MESSAGES: Final = 20
#: Octets behind the last one that is not zero, where flips are tried too.
_BEHIND: Final = 4 * STEP
_PIECE: Final = 1 << 20
#: What was queued waits until it is taken again; a first look at the destination comes soon after each start.
_SETTINGS: Final = RELAY_IN_THE_CLEAR._replace(queues=QUEUES)


class Left(NamedTuple):
    """What a server left behind when it stopped: its folder, what its client was told, and what had arrived."""

    folder: Path
    sent: list[Sent]
    arrived: list[Arrived]

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "penstock" / "data"


class Spot(NamedTuple):
    """Where a bit is flipped: a file below ``spool``, an offset, a bit."""

    path: str
    offset: int
    bit: int

    def __str__(self) -> str:
        return f"{self.path}, bit {self.bit:#04x} at {self.offset:,}"


class Outcome(NamedTuple):
    """What a server did with a spoiled spool. ``lost`` are numbers of messages; ``checked`` is the exit status of ``penstock spool check``."""

    findings: Findings
    lost: frozenset[int]
    checked: int
    events: int
    faults: list[str]

    @property
    def is_told(self) -> bool:
        """Whether the damage was reported, before the start or behind it."""
        return self.checked == 1 or self.events > 0


@contextmanager
def left_behind(seed: int) -> Iterator[Left]:
    """A server that was stopped twice with mail of all kinds and sizes in its spool, some of it delivered in part."""
    with tempfile.TemporaryDirectory(prefix="penstock-spool-4-") as name:
        folder = Path(name)
        with Trial(folder, seed, _SETTINGS) as trial:
            for is_deferring in (False, True):
                trial.start()
                if not is_deferring:
                    # what is for the second try stays, the rest of its messages goes
                    with trial.source(limit=MESSAGES) as source:
                        source.finish()
                trial.destination.is_deferring = True
                with trial.source(limit=MESSAGES) as source:
                    source.finish()
                trial.stop()
            sent, arrived = trial.sent.entries(), trial.arrived.entries()
        yield Left(folder, sent, arrived)


def spots(left: Left, seed: int) -> list[Spot]:
    """One bit in every 512 octets of all segments and body files, as far as they have something in them."""
    chance = random.Random(seed)
    spool = left.data / "spool" / "0"
    found: list[Spot] = []
    for file in sorted(spool.glob("*/*")):
        size = file.stat().st_size
        end = min(size, _last_octet(file, size) + 1 + _BEHIND)
        found += [
            Spot(
                str(file.relative_to(spool)),
                min(end - 1, start + chance.randrange(STEP)),
                1 << chance.randrange(8),
            )
            for start in range(0, end, STEP)
        ]
    return found


def _last_octet(file: Path, size: int) -> int:
    """The offset of the last octet that is not zero; -1 if there is none."""
    with file.open("rb") as octets:
        for start in range((size - 1) // _PIECE * _PIECE, -1, -_PIECE):
            octets.seek(start)
            piece = octets.read(_PIECE).rstrip(b"\0")
            if piece:
                return start + len(piece) - 1
    return -1


def sample(all_spots: Sequence[Spot], count: int) -> list[Spot]:
    """So many of them, evenly over all files: each file has at least one where there are enough."""
    by_file: dict[str, list[Spot]] = {}
    for spot in all_spots:
        by_file.setdefault(spot.path, []).append(spot)
    first = [of_file[len(of_file) // 2] for of_file in by_file.values()][:count]
    rest = [spot for spot in all_spots if spot not in first]
    wanted = min(count - len(first), len(rest))
    return first + [rest[place * len(rest) // wanted] for place in range(wanted)]


def start_on(left: Left, spot: Spot | None) -> Outcome:
    """Start a server on a copy of what was left, with a bit flipped (None: as it was), and let it deliver what it can."""
    with (
        tempfile.TemporaryDirectory(prefix="penstock-spool-4-") as name,
        Trial(Path(name), 0, _SETTINGS) as trial,
    ):
        trial.data.rmdir()
        _copy(left.data, trial.data)
        if spot is not None:
            _flip(trial.data / "spool" / "0" / spot.path, spot)
        for file in left.folder.joinpath("penstock").glob("*.toml"):
            shutil.copy(file, trial.folder)
        checked = run_command(["spool", "check", "-c", "penstock.toml"], trial.folder).returncode
        faults: list[str] = []
        trial.expect(left.sent, left.arrived)
        try:
            trial.start()
            if not (trial.settle() and trial.wait_until_empty()):
                faults.append("it has not delivered what it has in time")
            elif queued := trial.metric("queued_recipients"):
                faults.append(f"it has nothing, and says that {queued:g} recipients wait")
            status = trial.stop()
            faults += [f"it stopped with status {status}"] if status else []
        except ProgramFaultError as fault:
            faults.append(f"it did not start: {fault}"[:400])
        finally:
            trial.kill()
        faults += [f"it logged: {text[:400]}" for text in trial.tracebacks]
        return _outcome(left, trial, checked, faults)


def _copy(source: Path, target: Path) -> None:
    """A copy of a folder in which zeros take no space; hard links and sockets are none that anybody needs."""
    subprocess.run(
        [find_program("cp"), "--recursive", "--sparse=always", "--preserve=mode", str(source), str(target)],
        check=True,
        capture_output=True,
        timeout=60,
    )


def _flip(file: Path, spot: Spot) -> None:
    with file.open("r+b") as octets:
        octets.seek(spot.offset)
        (before,) = octets.read(1)
        octets.seek(spot.offset)
        octets.write(bytes([before ^ spot.bit]))


def _outcome(left: Left, trial: Trial, checked: int, faults: list[str]) -> Outcome:
    given_up: set[str] = set()
    quarantined = 0
    for event in trial.penstock.events():
        recipient = event["recipient"]
        if event["type"] in GIVEN_UP:
            given_up.update(recipient if isinstance(recipient, list) else [recipient])
        quarantined += event["type"] == "Quarantine"
    findings = judge(left.sent, [*left.arrived, *trial.arrived.entries()], given_up)
    settled = given_up | {
        recipient for entry in (*left.arrived, *trial.arrived.entries()) for recipient in entry.recipients
    }
    lost = frozenset(
        entry.number for entry in left.sent if entry.is_accepted and not settled.issuperset(entry.recipients)
    )
    return Outcome(findings, lost, checked, quarantined, faults)

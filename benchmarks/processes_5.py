"""processes-5: queued mail that moves between lanes: by model, and in the running system.

The model (``tests/queueing``) has words that are lost and crashes of either side at each step; then the real spools, schedulers and moves run on
simulated disks (``tests/lane/moving_lanes.py``). In the running system the number of workers changes with mail queued, and transactions have parts
in all lanes, while workers, and the whole server, are killed. Meanwhile nothing is delivered, for nobody listens at the destination: so what is found
in the spools after a kill must be each message, deliverable in one lane; and when there is a destination at last, and no kills, each must arrive
once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks import backlog
from benchmarks.dialogue import Dialogue, DialogueError, stuffed
from benchmarks.processes import (
    LOOPBACK,
    ProgramFaultError,
    accepts_connections,
    descendants,
    free_port,
    start,
    stop,
    wait_until,
)
from benchmarks.product import RELAY_IN_THE_CLEAR, Penstock, penstock_command, run_command
from benchmarks.report import Report
from penstock.mail.queue_name import QueueName
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.stored import StoredReader
from penstock.spool.inspection.view import look
from penstock.spool.places import spools

REPOSITORY: Final = Path(__file__).parents[1]
#: Destination domains, each with a site of its own.
DOMAINS: Final = tuple(f"d{number}.test" for number in range(1, 21))
#: Recipients of a transaction, each in a domain of its own.
RECIPIENTS: Final = 10
_SIZE: Final = 2048
#: Workers that are killed while others' spools are adopted.
_WORKERS_KILLED: Final = 8
#: Clients that send at the same time.
_CLIENTS: Final = 8
_PATIENCE: Final = 600.0


def check(report: Report, arguments: Sequence[str]) -> None:
    """Moves between lanes: the model; 4 workers to 2 and back; transactions of 10 recipients; kills: once each, none lost."""
    parser = argparse.ArgumentParser(
        prog="processes-5", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=3000, help="runs of the model")
    parser.add_argument("--runs", type=int, default=300, help="runs with spools on simulated disks")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="queued when the number of workers changes"
    )
    parser.add_argument("--transactions", type=int, default=3000, help=f"of {RECIPIENTS} recipients")
    parser.add_argument("--kills", type=int, default=6, help="of the whole server, while mail moves")
    options = parser.parse_args(arguments)
    _model(report, options.examples, options.runs)
    with tempfile.TemporaryDirectory(prefix="penstock-processes-5-") as name:
        _workers_change(report, Path(name), options.messages, options.kills)
    with tempfile.TemporaryDirectory(prefix="penstock-processes-5-") as name:
        _many_homes(report, Path(name), options.transactions)


# -- by model


def _model(report: Report, examples: int, runs: int) -> None:
    sys.path.insert(0, str(REPOSITORY))
    from tests.lane.moving_lanes import run
    from tests.queueing.moving_machine import MovingMachine

    report.heading(
        "By model: a message is never deliverable in two lanes, never lost, and delivered from one"
    )
    began = time.monotonic()
    many = settings(
        max_examples=examples, stateful_step_count=60, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    fault = _fault_of(lambda: run_state_machine_as_test(MovingMachine, settings=many))
    what = "the protocol, over crashes of either side at each step"
    report.claim(what, not fault, fault or _took(examples, "runs", began))
    began, kinds = time.monotonic(), Counter[str]()
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(runs):
            fault = fault or _fault_of(lambda seed=seed: kinds.update(run(seed).kinds))
    finally:
        logging.disable(logging.NOTSET)
    report.claim(
        "the real spools and moves, on disks and connections that fail",
        not fault and kinds["messages moved"] > runs,
        fault
        or f"{_took(runs, 'runs', began)}: {kinds['messages moved']:,} messages moved, {kinds['power cuts']:,} power cuts, "
        f"{kinds['kills']:,} kills, {kinds['connections that ended']:,} connections cut",
    )


def _fault_of(act: Callable[[], object]) -> str:
    """What went wrong; "" if nothing did."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the claim does not hold
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def _took(count: int, what: str, began: float) -> str:
    return f"{count:,} {what} in {time.monotonic() - began:.0f} s"


# -- in the running system


class Service:
    """A server on one data directory, with a destination that is there only while ``taking``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "penstock"
        self.folder.mkdir(parents=True)
        self.record = folder / "arrived.jsonl"
        self.destination = free_port()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def running(self, workers: int) -> Penstock:
        """The server, with so many workers."""
        node = RELAY_IN_THE_CLEAR._replace(node=f"workers = {workers}\n")
        return Penstock(self.folder, self.destination, domains=DOMAINS, settings=node)

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """A destination that takes everything, and writes it down."""
        listen = f"{LOOPBACK}:{self.destination}"
        command = [*penstock_command(), "sink", "--quiet", "--listen", listen, "--record", str(self.record)]
        sink = start(command)
        try:
            wait_until(lambda: accepts_connections(self.destination), 20.0, "the sink to listen", sink)
            yield
        finally:
            stop(sink)

    def arrived(self) -> Counter[str]:
        """How often each recipient's message has arrived."""
        found: Counter[str] = Counter()
        with self.record.open() as lines:
            for line in lines:
                entry = json.loads(line)
                if str(entry["reply"]).startswith("2"):
                    found.update(entry["recipients"])
        return found

    def arrivals(self) -> int:
        """How many messages have arrived."""
        with contextlib.suppress(FileNotFoundError), self.record.open("rb") as lines:
            return sum(1 for _ in lines)
        return 0

    def queued(self) -> tuple[Counter[str], set[str]]:
        """Of a server that does not run: in how many lanes each message is deliverable, and those that are held somewhere."""
        deliverable: Counter[str] = Counter()
        held: set[str] = set()
        for root in spools(self.data).values():
            files = ReadOnlyFiles(root)
            view = look(files)
            reader = StoredReader(files, {item.identity.number: item.identity for item in view.segments})
            try:
                for row in view.queued:
                    place = view.queued.place(row)
                    name = reader.envelope(place).record.id
                    if row in view.queued.held:
                        held.add(name)
                    else:
                        deliverable[name] += 1
            finally:
                reader.close()
        return deliverable, held


def workers_of(server: Penstock) -> list[int]:
    """The worker processes of a server."""
    found = []
    for pid in descendants(server.process.pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"worker" in words:
                found.append(pid)
    return found


def kill_all(server: Penstock) -> None:
    """End the whole server with kill -9."""
    members = [server.process.pid, *descendants(server.process.pid)]
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
    wait_until(lambda: not any(map(_lives, members)), 20.0, "the server's end")


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _workers_change(report: Report, folder: Path, messages: int, kills: int) -> None:
    """Four workers to two, and back."""
    report.heading(f"{messages:,} queued messages, 4 workers to 2 and back")
    service = Service(folder)
    total = _fill(service, messages)
    report.figure(f"{total:,} messages are written into the spools of 4 lanes, {len(DOMAINS)} sites")
    wanted = set(service.queued()[0])
    draw = random.Random(5)
    broken = []
    for number in range(kills):
        with service.running(2) as server:
            time.sleep(draw.uniform(1.0, 4.0))
            kill_all(server)
        broken += _examine(service, wanted)
        report.figure(f"kill {number + 1}: lanes {', '.join(spools(service.data))}")
    report.claim(
        "after each kill of the whole server, each message is deliverable in one lane at most, and none is missing",
        not broken,
        "; ".join(broken[:3]) or f"{kills} kills",
    )
    began = time.monotonic()
    with service.running(2) as server:
        killed = _until(
            server,
            lambda: set(spools(service.data)) == {"0", "1"},
            "the spools of lanes 2 and 3 to be adopted",
            draw,
        )
    report.claim(
        "the spools of lanes 2 and 3 are adopted and removed", set(spools(service.data)) == {"0", "1"},
        f"{time.monotonic() - began:.0f} s, {killed} workers killed meanwhile",
    )  # fmt: skip
    _claim_all_there(report, service, wanted, "with 2 workers")
    with service.running(4) as server:
        _settle(server, 20.0)
        kill_all(server)
    broken = _examine(service, wanted)
    report.claim("so it is after a kill with 4 workers again", not broken, "; ".join(broken))
    _drain(report, service, total, wanted, "with 4 workers, and a destination")


def _fill(service: Service, messages: int) -> int:
    """Write a backlog for four lanes, each recipient once."""
    share = messages // 4
    for lane in range(4):
        spool = service.data / "spool" / str(lane)
        spool.mkdir(parents=True)
        backlog.write(
            spool, share, lambda number, lane=lane: QueueName(DOMAINS[number % len(DOMAINS)], "acme", f"lane-{lane}"),
            size=_SIZE, now=time.time(), seed=lane + 1,
        )  # fmt: skip
    return share * 4


def _examine(service: Service, wanted: set[str]) -> list[str]:
    """What is not as it must be in the spools of a server that was killed."""
    deliverable, held = service.queued()
    twice = [name for name, count in deliverable.items() if count > 1]
    missing = wanted - set(deliverable) - held
    broken = []
    if twice:
        broken.append(f"{len(twice)} messages are deliverable in several lanes, as {twice[0]}")
    if missing:
        broken.append(f"{len(missing)} messages are nowhere, as {min(missing)}")
    return broken


def _claim_all_there(report: Report, service: Service, wanted: set[str], when: str) -> None:
    deliverable, held = service.queued()
    once = all(count == 1 for count in deliverable.values())
    report.claim(
        f"{when}, at rest, each message is there once", once and set(deliverable) | held == wanted,
        f"{len(deliverable):,} deliverable, {len(held):,} held",
    )  # fmt: skip


def _until(server: Penstock, condition: Callable[[], bool], what: str, draw: random.Random) -> int:
    """Kill a worker now and then until something has come about; how many were killed."""
    killed, deadline = 0, time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline or not server.is_running():
            raise ProgramFaultError(f"{what}: not within {_PATIENCE:g} s, or the server has ended")
        time.sleep(2.0)
        # in the end nobody is killed, for each life of a lane begins with reading what there is
        if killed < _WORKERS_KILLED and (workers := workers_of(server)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(workers), signal.SIGKILL)
            killed += 1
    return killed


def _settle(server: Penstock, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.is_running():
        time.sleep(0.5)


def _drain(report: Report, service: Service, total: int, wanted: set[str], when: str) -> None:
    """Have all of it delivered, without kills."""
    began = time.monotonic()
    with service.taking(), service.running(4) as server:
        last, changed = -1, time.monotonic()
        while (now := service.arrivals()) < total and time.monotonic() - changed < 60.0:
            if now != last:
                last, changed = now, time.monotonic()
            time.sleep(0.5)
        _settle(server, 3.0)
    seconds = time.monotonic() - began
    arrived = service.arrived()
    doubled = [name for name, count in arrived.items() if count > 1]
    left = len(service.queued()[0])
    report.claim(
        f"{when}, each is delivered once, none is lost", len(arrived) == total and not doubled and not left,
        f"{len(arrived):,} of {total:,} arrived in {seconds:.0f} s, {len(doubled)} twice, {left} left",
    )  # fmt: skip


def _many_homes(report: Report, folder: Path, transactions: int) -> None:
    """Transactions of ten recipients in ten domains, while workers are killed."""
    report.heading(
        f"{transactions:,} transactions of {RECIPIENTS} recipients in {RECIPIENTS} domains, 4 workers, a worker killed every 2 s"
    )
    service = Service(folder)
    draw = random.Random(7)
    accepted: set[str] = set()
    unknown: set[str] = set()
    killed = 0
    with service.running(4) as server:
        numbers = iter(range(transactions))
        with ThreadPoolExecutor(_CLIENTS) as clients:
            running = {clients.submit(_send, server.port, _recipients(number)) for number in numbers}
            while running:
                done, running = wait(running, timeout=2.0)
                for each in done:
                    fate, recipients = each.result()
                    (accepted if fate else unknown).update(recipients if fate is not False else ())
                if running and (workers := workers_of(server)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(draw.choice(workers), signal.SIGKILL)
                    killed += 1
        _settle(server, 5.0)
        kill_all(server)
    deliverable, _ = service.queued()
    twice = [name for name, count in deliverable.items() if count > 1]
    report.claim(
        "after a kill of the whole server each message is deliverable in one lane at most", not twice,
        f"{killed} workers killed, {len(accepted):,} recipients accepted, {len(unknown):,} of whom nobody knows",
    )  # fmt: skip
    with service.taking(), service.running(4) as server:
        wait_until(
            lambda: accepted <= set(service.arrived()) or None,
            _PATIENCE,
            "all to arrive",
            server.process,
            1.0,
        )
        _settle(server, 3.0)
    arrived = service.arrived()
    doubled = [name for name, count in arrived.items() if count > 1]
    ghosts = set(arrived) - accepted - unknown
    report.claim(
        "each recipient that was accepted gets it once, nobody else any",
        accepted <= set(arrived) and not doubled and not ghosts,
        f"{len(accepted - set(arrived))} missing, {len(doubled)} doubled, {len(ghosts)} that were never accepted",
    )  # fmt: skip
    checked = run_command(["spool", "check", "-c", "penstock.toml"], service.folder, 120.0)
    report.claim("penstock spool check finds nothing", checked.returncode == 0, checked.stdout[-200:])


def _recipients(number: int) -> list[str]:
    """Those of a transaction, each in a domain of its own."""
    return [f"u{number}@{domain}" for domain in random.Random(number).sample(DOMAINS, RECIPIENTS)]


def _send(port: int, recipients: Sequence[str]) -> tuple[bool | None, Sequence[str]]:
    """Give one transaction; True: accepted, False: refused, None: nobody knows."""
    is_sent = False
    try:
        with Dialogue(port, 30.0) as dialogue:
            dialogue.command(b"EHLO source.test", 250)
            dialogue.begin(b"sender@source.test", [recipient.encode() for recipient in recipients])
            is_sent = True
            dialogue.send(stuffed(b"Subject: x\r\n\r\n" + b"x" * 500 + b"\r\n"))
            return dialogue.reply().code == 250, recipients
    except (DialogueError, OSError):
        return None if is_sent else False, recipients

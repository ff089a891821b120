"""queues-6: what a million messages in 50,000 queues take of memory, and that nothing is done for them while they wait."""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import backlog
from benchmarks.gauges import metrics, status
from benchmarks.processes import free_port, wait_until
from benchmarks.product import Penstock
from benchmarks.report import Report
from benchmarks.roles import WORKER, members, memory_by_role
from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import WallTime
from penstock.queueing.scheduler import Scheduler

OCTETS_A_MESSAGE: Final = 400
OCTETS_A_QUEUE: Final = 2000
WAKE_UPS: Final = 2.0
_MESSAGES: Final = 1_000_000
_QUEUES: Final = 50_000
#: The same mail in so many queues is what is compared with.
_FEW: Final = 500
_DOMAINS: Final = 500
_SETTLING: Final = 10.0


class Rest(NamedTuple):
    """A server at rest with its mail: octets of memory by role, and wake-ups a second by role (the most of any thread)."""

    memory: dict[str, int]
    wake_ups: dict[str, float]


def check(report: Report, arguments: Sequence[str]) -> None:
    """A million messages in 50,000 queues: 400 octets a message, 2,000 a queue, under two wake-ups a second at rest."""
    parser = argparse.ArgumentParser(prog="queues-6", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--messages", type=int, default=_MESSAGES, help="queued messages")
    parser.add_argument("--queues", type=int, default=_QUEUES, help="that they are in")
    parser.add_argument("--seconds", type=float, default=30.0, help="of rest")
    options = parser.parse_args(arguments)
    _alone(report, options.messages, options.queues)
    report.heading(
        f"A server with {options.messages:,} messages of 1 KB in {options.queues:,} queues, due in hours"
    )
    many = _at_rest(options.messages, options.queues, options.seconds)
    few = _at_rest(options.messages, _FEW, options.seconds)
    for rest, queues in ((many, options.queues), (few, _FEW)):
        by_role = ", ".join(f"{role} {octets / 1e6:.0f}" for role, octets in rest.memory.items())
        report.figure(f"in {queues:,} queues, memory of all processes, MB: {by_role}")
    each = sum(many.memory.values()) / options.messages
    report.claim(
        f"at most {OCTETS_A_MESSAGE} octets of memory a message, all in",
        each <= OCTETS_A_MESSAGE,
        f"{each:.0f}",
    )
    more = (sum(many.memory.values()) - sum(few.memory.values())) / (options.queues - _FEW)
    report.claim(f"at most {OCTETS_A_QUEUE:,} octets a queue", more <= OCTETS_A_QUEUE, f"{more:.0f}")
    report.figure(
        "wake-ups a second: " + ", ".join(f"{role} {count:.2f}" for role, count in many.wake_ups.items())
    )
    report.claim(
        f"under {WAKE_UPS:g} wake-ups a second of the lane at rest",
        many.wake_ups[WORKER] < WAKE_UPS,
        f"{many.wake_ups[WORKER]:.2f}",
    )


def _alone(report: Report, messages: int, queues: int) -> None:
    """What the scheduler itself takes, by what the process grows."""
    report.heading("The scheduler alone")
    gc.collect()
    before = _resident()
    config, path, now = QueueConfig(), PathConfig(), time.time()
    scheduler = Scheduler(lambda name: config, lambda site: path)
    names = backlog.one_of(_DOMAINS, queues // _DOMAINS)
    for number in range(messages):
        due = WallTime(now + 7200.0 + number % 3600)
        scheduler.add(
            names(number), number, 1024, created=WallTime(now), now=WallTime(now), attempts=1, due=due
        )
    scheduler.take_effects()
    gc.collect()
    report.figure(f"{(_resident() - before) / messages:.0f} octets a message, its queues among them")


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _at_rest(messages: int, queues: int, seconds: float) -> Rest:
    """Write a spool, start a server on it, and look when it has come to rest."""
    with tempfile.TemporaryDirectory(prefix="penstock-queues-6-") as name:
        folder = Path(name) / "penstock"
        spool = folder / "data" / "spool" / "0"
        spool.mkdir(parents=True)
        now = time.time()
        queue = backlog.one_of(min(_DOMAINS, queues), max(1, queues // _DOMAINS))
        backlog.write(spool, messages, queue, size=1024, now=now, due=now + 7200)
        with Penstock(folder, free_port(), domains=["d1.test"]) as server:
            wait_until(
                lambda: metrics(server.http_port).get("spool_recovering") == 0,
                600.0,
                "the recovery",
                server.process,
                0.2,
            )
            server.wait_until_whole()
            wait_until(lambda: _is_written(folder), 600.0, "the event log", server.process, 0.5)
            time.sleep(_SETTLING)
            memory = memory_by_role(server.process.pid)
            before = _wakes(server.process.pid)
            time.sleep(seconds)
            wakes = {
                role: (count - before[role]) / seconds for role, count in _wakes(server.process.pid).items()
            }
            return Rest(memory, wakes)


def _is_written(folder: Path) -> bool:
    """Whether the event log has all that the spool has: before that the scribe is not at rest."""
    now = status(folder / "data")
    return now is not None and not now.event_log.is_behind


def _wakes(root: int) -> Counter[str]:
    """How often the processes of each role have waited, by all of their threads."""
    found: Counter[str] = Counter()
    for pid, role in members(root).items():
        for task in Path(f"/proc/{pid}/task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    found[role] += int(line.split()[1])
    return found

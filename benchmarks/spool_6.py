"""spool-6: a million queued messages: memory, pauses of the loop, how long a start takes, and how fast they drain when nothing is in memory."""

from __future__ import annotations

import argparse
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import backlog
from benchmarks.bench import Bench, Load, Server
from benchmarks.gauges import metrics
from benchmarks.processes import LOOPBACK, free_port, wait_until
from benchmarks.product import Penstock
from benchmarks.report import Report
from benchmarks.roles import memory_by_role

#: The bars of the acceptance check.
OCTETS_A_MESSAGE: Final = 400
LONGEST_PAUSE: Final = 0.010
ACCEPTING_WITHIN: Final = 2.0
RECOVERED_WITHIN: Final = 30.0
SHARE_OF_STRAIGHT_THROUGH: Final = 0.5
_DOMAINS: Final = 500
_MESSAGES: Final = 1_000_000


class Start(NamedTuple):
    """What a start came to: octets, and seconds."""

    spool: int
    memory: dict[str, int]
    accepting: float
    recovered: float
    pauses: list[float]


def check(report: Report, arguments: Sequence[str]) -> None:
    """A million queued messages: octets of memory for each, pauses of the loop, seconds until accepting and recovered, and a cold drain."""
    parser = argparse.ArgumentParser(prog="spool-6", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--messages", type=int, default=_MESSAGES, help="queued messages")
    parser.add_argument("--size", type=int, default=1024, help="octets of each")
    parser.add_argument("--drained", type=int, default=60_000, help="messages of the cold drain, of 10 KB")
    parser.add_argument("--ten", action="store_true", help="ten times as many messages too, reported")
    options = parser.parse_args(arguments)
    _claim(report, options.messages, options.size, 20)
    _claim(report, options.messages, options.size, 1)
    if options.ten:
        _claim(report, 10 * options.messages, options.size, 20, is_bar=False)
    _drain(report, options.drained)


def _claim(report: Report, messages: int, size: int, per_queue: int, *, is_bar: bool = True) -> None:
    report.heading(f"{messages:,} messages of {size:,} octets, {per_queue} in a queue")
    start = _start(messages, size, messages // per_queue)
    is_bar = is_bar and per_queue == 20
    each = sum(start.memory.values()) / messages
    by_role = ", ".join(f"{role} {octets / 1e6:.0f}" for role, octets in start.memory.items())
    pauses = sorted(start.pauses)
    report.figure(
        f"spool {start.spool / 1e9:.2f} GB; {len(pauses):,} NOOPs, one after the other, from the first greeting on"
    )
    report.figure(f"memory of all processes, MB: {by_role}")
    memory = f"at most {OCTETS_A_MESSAGE} octets of memory a message, all in"
    if is_bar and messages >= _MESSAGES:
        report.claim(memory, each <= OCTETS_A_MESSAGE, f"{each:.0f}")
    else:
        # what the program takes without any mail is a share of each message that few cannot carry
        report.figure(f"{memory}: {each:.0f}, no verdict")
    for claim, holds, figure in (
        (
            f"no NOOP waits longer than {LONGEST_PAUSE * 1e3:g} ms",
            pauses[-1] <= LONGEST_PAUSE,
            f"{pauses[-1] * 1e3:.1f} ms (p99.9 {pauses[len(pauses) * 999 // 1000] * 1e3:.1f} ms)",
        ),
        (
            f"accepting within {ACCEPTING_WITHIN:g} s of its start",
            start.accepting <= ACCEPTING_WITHIN,
            f"{start.accepting:.2f} s",
        ),
        (
            f"all recovered within {RECOVERED_WITHIN:g} s",
            start.recovered <= RECOVERED_WITHIN,
            f"{start.recovered:.1f} s",
        ),
    ):
        if is_bar:
            report.claim(claim, holds, figure)
        else:
            report.figure(f"{claim}: {figure}")


def _start(messages: int, size: int, queues: int) -> Start:
    """Write a spool, start a server on it, and look."""
    with tempfile.TemporaryDirectory(prefix="penstock-spool-6-") as name:
        folder = Path(name) / "penstock"
        spool = folder / "data" / "spool" / "0"
        spool.mkdir(parents=True)
        now = time.time()
        queue = backlog.one_of(_DOMAINS, max(1, queues // _DOMAINS))
        octets = backlog.write(spool, messages, queue, size=size, now=now, due=now + 7200)
        began = time.monotonic()
        with Penstock(folder, free_port(), domains=["d1.test"]) as server:
            accepting = time.monotonic() - began
            pauses = Pauses(server.port)
            wait_until(lambda: _has_recovered(server), 600.0, "the recovery", server.process, interval=0.1)
            recovered = time.monotonic() - began
            time.sleep(5.0)
            found = pauses.stop()
            server.wait_until_whole()
            return Start(octets, memory_by_role(server.process.pid), accepting, recovered, found)


def _has_recovered(server: Penstock) -> bool:
    return metrics(server.http_port).get("spool_recovering") == 0


class Pauses:
    """A session that says NOOP, one after the other, and notes how long each reply took."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._found: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with socket.create_connection((LOOPBACK, self._port), timeout=60.0) as connection:
            connection.recv(512)
            while not self._is_over.wait(0.001):
                sent = time.monotonic()
                connection.sendall(b"NOOP\r\n")
                if not connection.recv(512):
                    return
                self._found.append(time.monotonic() - sent)

    def stop(self) -> list[float]:
        """The seconds of each."""
        self._is_over.set()
        self._thread.join(10.0)
        return self._found


def _drain(report: Report, messages: int) -> None:
    report.heading(
        f"A backlog of {messages:,} messages of 10,240 octets that the system holds nothing of any more"
    )
    with Bench.open(Load()) as bench:
        folder = bench.folder / "cold"
        spool = folder / "data" / "spool" / "0"
        spool.mkdir(parents=True)
        backlog.write(spool, messages, backlog.one_of(8, 100), size=10_240, now=time.time())
        backlog.drop_from_memory(spool)
        before = bench.sink.count()
        with Penstock(folder, bench.sink.port) as server:
            began = time.monotonic()
            bench.sink.wait_for(before + messages, 600.0, lambda: None)
            cold = messages / (time.monotonic() - began)
            fetches = metrics(server.http_port)["spool_fetches_total"]
            warm = bench.leg(Server("penstock", server.port, server.clock), max(messages // 3, 2000)).rate
    report.figure(
        f"drained at {cold:,.0f} msg/s, {fetches:,.0f} of them fetched; straight through {warm:,.0f} msg/s"
    )
    report.claim(
        f"drained at {SHARE_OF_STRAIGHT_THROUGH:g} of the speed of straight through or better",
        cold >= SHARE_OF_STRAIGHT_THROUGH * warm,
        f"{cold / warm:.2f}",
    )

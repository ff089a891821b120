"""spool-5: what durability costs: throughput with every message synced, beside Postfix, and CPU beside the same program with its spool in memory."""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import backlog, in_memory
from benchmarks.bench import Bench, Leg, Load, Server, file_system
from benchmarks.gauges import metrics
from benchmarks.postfix import Postfix
from benchmarks.postfix_tools import Sink
from benchmarks.processes import LOOPBACK, ProgramFaultError
from benchmarks.product import DOMAINS, Penstock, Settings
from benchmarks.report import Report, spread

#: The bars of the acceptance check.
TIMES_POSTFIX: Final = 5.0
CPU_BESIDE_MEMORY: Final = 1.25
BACKLOG: Final = 100_000
_PROBES_A_SECOND: Final = 50.0
#: Relay-2's one process.
_ONE: Final = Settings(node="workers = 1\n")

Legs = dict[str, list[Leg]]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Every message synced: at least 5 times Postfix, at most 25 % more CPU than in memory; messages per sync; latency beside a backlog."""
    parser = argparse.ArgumentParser(prog="spool-5", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measured legs of each server")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long a leg lasts")
    parser.add_argument(
        "--backlog", type=int, default=BACKLOG, help="queued messages that drain beside new mail"
    )
    options = parser.parse_args(arguments)
    _throughput(report, options)
    _latency(report, options.backlog)


def _throughput(report: Report, options: argparse.Namespace) -> None:
    with Bench.open(Load()) as bench, contextlib.ExitStack() as context:
        durable = context.enter_context(Penstock(bench.folder / "durable", bench.sink.port, settings=_ONE))
        memory = context.enter_context(
            Penstock(
                bench.folder / "memory",
                bench.sink.port,
                launcher=in_memory.LAUNCHER,
                environment={"PYTHONPATH": str(in_memory.source(bench.folder / "in-memory"))},
                settings=_ONE,
            )
        )
        folder = bench.folder / "postfix"
        folder.mkdir()
        postfix = context.enter_context(Postfix(folder, bench.sink.port))
        servers = [
            Server("synced", durable.port, durable.clock),
            Server("in memory", memory.port, memory.clock),
            Server("postfix", postfix.port, postfix.clock),
        ]
        report.heading(
            f"As relay-2, all on {file_system(bench.folder)}; CPU time of all processes of a server, the sync helper's too"
        )
        counts = {server.name: bench.messages_for(server, options.seconds) for server in servers}
        legs: Legs = {server.name: [] for server in servers}
        before = metrics(durable.http_port)
        for number in range(options.rounds):
            first = number % len(servers)
            for server in [*servers[first:], *servers[:first]]:
                legs[server.name].append(bench.leg(server, counts[server.name]))
            rates = ", ".join(f"{name} {found[-1].rate:,.0f}" for name, found in legs.items())
            report.figure(f"round {number + 1}, msg/s: {rates}")
        after = metrics(durable.http_port)
    _say(report, legs, before, after)


def _say(report: Report, legs: Legs, before: dict[str, float], after: dict[str, float]) -> None:
    report.heading("Medians (and extremes) of the rounds")
    for name, found in legs.items():
        rates, costs = spread([leg.rate for leg in found]), spread([leg.microseconds for leg in found])
        report.figure(f"{name:10} {rates} msg/s; CPU {costs} us/msg")
    rate = {name: statistics.median(leg.rate for leg in found) for name, found in legs.items()}
    cpu = {name: statistics.median(leg.microseconds for leg in found) for name, found in legs.items()}
    pairs = sorted(
        ours.microseconds / theirs.microseconds
        for ours, theirs in zip(legs["synced"], legs["in memory"], strict=True)
    )
    times = rate["synced"] / rate["postfix"]
    report.claim(f"at least {TIMES_POSTFIX:g} times Postfix, by rate", times >= TIMES_POSTFIX, f"{times:.2f}")
    less = cpu["postfix"] / cpu["synced"]
    report.claim(
        f"at most 1/{TIMES_POSTFIX:g} of Postfix's CPU time per message",
        less >= TIMES_POSTFIX,
        f"{less:.2f} times less",
    )
    ratio = statistics.median(pairs)
    report.claim(
        f"at most {CPU_BESIDE_MEMORY:g} times the CPU time of the spool in memory",
        ratio <= CPU_BESIDE_MEMORY,
        f"{ratio:.3f}, the median of the rounds' own ({pairs[0]:.3f} to {pairs[-1]:.3f})",
    )
    syncs = after["spool_sync_seconds_count"] - before["spool_sync_seconds_count"]
    took = after["spool_sync_seconds_sum"] - before["spool_sync_seconds_sum"]
    stored = after["spool_messages_stored_total"] - before["spool_messages_stored_total"]
    report.claim(
        "syncs are shared",
        stored > syncs,
        f"{stored / syncs:.1f} messages per sync, {took / syncs * 1e3:.2f} ms each",
    )


def _latency(report: Report, messages: int) -> None:
    """From the final dot to its reply, one session at a moderate pace, while a backlog drains; and without one."""
    report.heading(
        f"A session that sends {_PROBES_A_SECOND:g} messages a second: from its final dot to the reply"
    )
    with tempfile.TemporaryDirectory(prefix="penstock-spool-5-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Sink(folder) as sink:
            data = folder / "penstock" / "data" / "spool" / "0"
            data.mkdir(parents=True)
            backlog.write(data, messages, backlog.one_of(len(DOMAINS), 625), size=10_240, now=time.time())
            with Penstock(folder / "penstock", sink.port, settings=_ONE) as server:
                drained: list[float] = []
                alone: list[float] = []
                began, before = time.monotonic(), sink.count()
                _probe(server.port, drained, lambda: sink.count() - before < messages)
                seconds = time.monotonic() - began
                report.figure(
                    f"{messages:,} messages drained at {(sink.count() - before) / seconds:,.0f} msg/s beside it"
                )
                enough = time.monotonic() + 5.0
                _probe(server.port, alone, lambda: time.monotonic() < enough)
    for what, found in (("beside the backlog", drained), ("alone", alone)):
        found.sort()
        report.figure(
            f"{what:20} p50 {found[len(found) // 2] * 1e3:.1f} ms, p99 {found[len(found) * 99 // 100] * 1e3:.1f} ms, "
            f"longest {found[-1] * 1e3:.1f} ms, {len(found):,} messages"
        )


def _probe(port: int, found: list[float], is_wanted: Callable[[], bool]) -> None:
    """Send messages one after the other, and note how long each took to be accepted."""
    with socket.create_connection((LOOPBACK, port), timeout=60.0) as connection:
        replies = connection.makefile("rb")

        def expect(code: bytes) -> None:
            line = replies.readline()
            while line[3:4] == b"-":
                line = replies.readline()
            if not line.startswith(code):
                raise ProgramFaultError(f"expected {code!r}, and got {line!r}")

        expect(b"220")
        connection.sendall(b"EHLO probe.test\r\n")
        expect(b"250")
        body = b"Subject: probe\r\n\r\n" + b"x" * 70 + b"\r\n"
        due = time.monotonic()
        while is_wanted():
            connection.sendall(b"MAIL FROM:<probe@probe.test>\r\nRCPT TO:<probe@d1.test>\r\nDATA\r\n")
            for code in (b"250", b"250", b"354"):
                expect(code)
            sent = time.monotonic()
            connection.sendall(body + b".\r\n")
            expect(b"250")
            found.append(time.monotonic() - sent)
            due += 1 / _PROBES_A_SECOND
            time.sleep(max(0.0, due - time.monotonic()))

"""processes-1: two workers, many destinations and tenants, beside Postfix; delivery's latency at half of that rate; memory of all processes."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench, Leg, Load, Server, file_system
from benchmarks.cpu import TreeClock
from benchmarks.postfix import Postfix
from benchmarks.processes import LOOPBACK, ProgramFaultError, descendants, free_port
from benchmarks.product import TENANTS, Penstock, Settings, penstock_command
from benchmarks.report import Report, spread

#: The bars of the acceptance check.
TIMES_POSTFIX: Final = 6.0
DELIVERY_P99: Final = 0.020
MEMORY: Final = 300_000_000

_WORKERS: Final = 2
_DOMAINS: Final = tuple(f"d{number}.test" for number in range(1, 51))
_TENANTS: Final = (*TENANTS, "initech")
_SETTINGS: Final = Settings(node=f"workers = {_WORKERS}\n", queues="[tenant.'initech']\n")
_SIZE: Final = 10_240
_HALF: Final = 0.5

Legs = dict[str, list[Leg]]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Two workers, 50 domains, 3 tenants, synced, events on: at least 6 times Postfix; p99 to receipt at half of that rate; memory."""
    parser = argparse.ArgumentParser(
        prog="processes-1", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="measured legs of each server")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long a leg lasts")
    parser.add_argument("--blast", type=float, default=20.0, help="seconds of mail at half of the rate")
    options = parser.parse_args(arguments)
    rate = _throughput(report, options.rounds, options.seconds)
    _latency(report, rate * _HALF, options.blast)


# -- throughput


def _messages(folder: Path) -> tuple[Path, ...]:
    """A message of each tenant."""
    found = []
    for tenant in _TENANTS:
        head = f"X-Tenant: {tenant}\nX-Campaign: autumn\nFrom: <sender@source.test>\nSubject: a message\n\n"
        line = "La de da de da, and so on to the end of the line, which comes soon.\n"
        path = folder / f"{tenant}.eml"
        path.write_text(head + line * ((_SIZE - len(head)) // (len(line) + 1)))
        path.chmod(0o644)
        found.append(path)
    return tuple(found)


def _throughput(report: Report, rounds: int, seconds: float) -> float:
    """The median rate of Penstock, in messages a second."""
    load = Load(size=_SIZE, sessions=len(_DOMAINS), domains=len(_DOMAINS))
    with Bench.open(load) as bench, contextlib.ExitStack() as context:
        bench.use(load._replace(files=_messages(bench.folder)))
        penstock = context.enter_context(
            Penstock(bench.folder / "penstock", bench.sink.port, domains=_DOMAINS, settings=_SETTINGS)
        )
        folder = bench.folder / "postfix"
        folder.mkdir()
        postfix = context.enter_context(Postfix(folder, bench.sink.port))
        servers = [
            Server("penstock", penstock.port, penstock.clock),
            Server("postfix", postfix.port, postfix.clock),
        ]
        report.heading(
            f"{len(_DOMAINS)} smtp-source processes, one per domain with an MX name of its own, a session each; {len(_TENANTS)} tenants, "
            f"{_SIZE:,} octets, {_WORKERS} workers, all on {file_system(bench.folder)}, every message synced, events on"
        )
        counts = {server.name: bench.messages_for(server, seconds) for server in servers}
        legs: Legs = {server.name: [] for server in servers}
        costs: Counter[str] = Counter()
        for number in range(rounds):
            for server in servers if number % 2 else reversed(servers):
                before = _by_process(penstock.process.pid)
                legs[server.name].append(bench.leg(server, counts[server.name]))
                if server.name == "penstock":
                    costs.update(_by_process(penstock.process.pid))
                    costs.subtract(before)
            rates = ", ".join(f"{name} {found[-1].rate:,.0f}" for name, found in legs.items())
            report.figure(f"round {number + 1}, msg/s: {rates}")
        _say(report, legs, costs)
        _say_memory(report, penstock.process.pid)
    return statistics.median(leg.rate for leg in legs["penstock"])


def _by_process(root: int) -> Counter[str]:
    """CPU microseconds by what a process is, of a server's processes that live."""
    found: Counter[str] = Counter()
    for pid in (root, *descendants(root)):
        # a clock of the process alone: what lives below it has a line of its own
        with contextlib.suppress(OSError):
            found[_name(pid)] += int(time.clock_gettime((~pid << 3) | 2) * 1e6)
    return found


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if any(b"sync_helper" in word for word in words):
        return "sync helpers"
    for role in ("worker", "scribe"):
        if role.encode() in words:
            return f"{role}s" if role == "worker" else role
    return "supervisor"


def _say(report: Report, legs: Legs, costs: Counter[str]) -> None:
    report.heading("Medians (and extremes) of the rounds")
    for name, found in legs.items():
        rates, cpu = spread([leg.rate for leg in found]), spread([leg.microseconds for leg in found])
        report.figure(f"{name:10} {rates} msg/s; CPU {cpu} us/msg")
    messages = sum(leg.messages for leg in legs["penstock"])
    parts = ", ".join(f"{name} {used / messages:.0f}" for name, used in costs.most_common())
    report.figure(f"CPU of Penstock's processes, us/msg: {parts}")
    rate = {name: statistics.median(leg.rate for leg in found) for name, found in legs.items()}
    cpu = {name: statistics.median(leg.microseconds for leg in found) for name, found in legs.items()}
    times, less = rate["penstock"] / rate["postfix"], cpu["postfix"] / cpu["penstock"]
    report.claim(f"at least {TIMES_POSTFIX:g} times Postfix, by rate", times >= TIMES_POSTFIX, f"{times:.2f}")
    report.claim(
        f"at most 1/{TIMES_POSTFIX:g} of Postfix's CPU time per message",
        less >= TIMES_POSTFIX,
        f"{less:.2f} times less",
    )


def _say_memory(report: Report, root: int) -> None:
    """Each page counts for the processes that share it in equal parts (proc(5), smaps_rollup)."""
    used: dict[str, int] = {}
    for pid in (root, *descendants(root)):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                used[_name(pid)] = used.get(_name(pid), 0) + int(line.split()[1]) * 1024
    total = sum(used.values())
    parts = ", ".join(f"{name} {octets / 1e6:.0f}" for name, octets in used.items())
    report.claim(
        f"all processes within {MEMORY / 1e6:.0f} MB", total <= MEMORY, f"{total / 1e6:.0f} MB: {parts}"
    )


# -- latency


def _latency(report: Report, rate: float, seconds: float) -> None:
    report.heading(f"penstock blast at half of that, {rate:,.0f} msg/s for {seconds:g} s")
    with Bench.open(Load()) as bench:
        port = free_port()
        with Penstock(bench.folder / "penstock", port, domains=_DOMAINS, settings=_SETTINGS) as penstock:
            command = [
                *penstock_command(), "blast", "--to-server", f"{LOOPBACK}:{penstock.port}", "--sink", f"{LOOPBACK}:{port}",
                "--rate", f"{rate:.0f}/s", "--duration", f"{seconds:g}s", "--connections", "20", "--quiet", "--json",
                "--tenants", ",".join(f"{tenant}=1" for tenant in _TENANTS),
                "--domains", ",".join(f"{domain}=1" for domain in _DOMAINS),
            ]  # fmt: skip
            clock = TreeClock(penstock.process.pid)
            before = clock.used()
            ran = subprocess.run(command, capture_output=True, timeout=seconds + 120.0, check=False)
            used = clock.used() - before
    if not ran.stdout:
        raise ProgramFaultError(f"penstock blast failed: {ran.stderr.decode()[-1000:]}")
    told = json.loads(ran.stdout)
    delivery, acceptance = told["sink"]["delivery"], told["acceptance"]
    report.figure(
        f"{told['accepted']:,} of {told['begun']:,} accepted at {told['messages_per_second']:,.0f} msg/s, "
        f"{used / max(1, told['accepted']) * 1e6:.0f} us of CPU each; "
        f"acceptance p50 {acceptance['p50'] * 1e3:.1f} ms, p99 {acceptance['p99'] * 1e3:.1f} ms"
    )
    report.claim("every message arrived once, whole", ran.returncode == 0, f"exit status {ran.returncode}")
    report.claim(
        f"p99 from acceptance to receipt at most {DELIVERY_P99 * 1e3:.0f} ms",
        delivery["p99"] <= DELIVERY_P99,
        f"p50 {delivery['p50'] * 1e3:.1f} ms, p99 {delivery['p99'] * 1e3:.1f} ms, longest {delivery['max'] * 1e3:.1f} ms",
    )

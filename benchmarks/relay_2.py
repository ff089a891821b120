"""relay-2: how much mail Penstock relays with one worker, beside a stock Postfix and beside no relay at all."""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks import stages
from benchmarks.bench import Bench, Leg, Load, Server, file_system
from benchmarks.children import launcher, with_repository
from benchmarks.cpu import process_seconds
from benchmarks.processes import wait_until
from benchmarks.product import Penstock
from benchmarks.report import Report, spread

#: The bars of the acceptance check.
TIMES_POSTFIX: Final = 5.0
SHARE_OF_STRAIGHT: Final = 0.20
#: What sampling may add to the CPU time of a message before the profile is one of the sampler.
SAMPLING_COST: Final = 0.15

#: Processors that other programs may use in a leg before the report says that they did.
QUIET: Final = 0.1

Legs = dict[str, list[Leg]]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Throughput of Penstock with one worker: at least 5 times a stock Postfix, at least 0.20 of no relay at all, interleaved."""
    legs = _measure(report, _options(arguments))
    _say_figures(report, legs)
    rate = {name: statistics.median(leg.rate for leg in rounds) for name, rounds in legs.items()}
    report.heading("Ratios of the medians (and extremes of the rounds' own ratios)")
    times = rate["penstock"] / rate["postfix"]
    report.claim(
        f"at least {TIMES_POSTFIX:g} times Postfix",
        times >= TIMES_POSTFIX,
        f"{times:.2f} ({_ratios(legs, 'postfix')})",
    )
    cpu = {name: statistics.median(leg.microseconds for leg in rounds) for name, rounds in legs.items()}
    report.claim(
        f"at most 1/{TIMES_POSTFIX:g} of Postfix's CPU time per message, over all processes",
        cpu["postfix"] / cpu["penstock"] >= TIMES_POSTFIX,
        f"{cpu['postfix'] / cpu['penstock']:.2f} times less",
    )
    share = rate["penstock"] / rate["straight"]
    report.claim(
        f"at least {SHARE_OF_STRAIGHT:.2f} of straight",
        share >= SHARE_OF_STRAIGHT,
        f"{share:.3f} ({_ratios(legs, 'straight')})",
    )
    if in_memory := rate.get("postfix-mem"):
        report.figure(
            f"times Postfix with its queue in memory: {rate['penstock'] / in_memory:.2f} ({_ratios(legs, 'postfix-mem')})"
        )


def profile(report: Report, arguments: Sequence[str]) -> None:
    """CPU time per message of one worker under the load of relay-2, by stage, from a sampling profile."""
    options = _options(arguments, seconds=20.0)
    with Bench.open(_load(options)) as bench:
        samples = bench.folder / "samples.json"
        sampler = [sys.executable, "-m", "benchmarks.sample", str(samples)]
        with Penstock(
            bench.folder / "penstock",
            bench.sink.port,
            launcher=launcher(sampler),
            environment=with_repository(),
        ) as penstock:
            worker = penstock.worker()
            server = Server("penstock", penstock.port, penstock.clock)
            plain, usual = _leg_of(bench, server, worker, bench.messages_for(server, options.seconds))
            os.kill(worker, stages.TOGGLE)
            sampled, cost = _leg_of(bench, server, worker, plain.messages)
            os.kill(worker, stages.TOGGLE)
            wait_until(samples.exists, 10.0, "the profile", penstock.process)
            result = stages.read_profile(samples)
            status = penstock.stop()
    report.heading(f"{plain.messages:,} messages, once as usual and once sampled")
    for name, leg, own in (("as usual", plain, usual), ("sampled", sampled, cost)):
        report.figure(
            f"{name}: {leg.rate:,.0f} msg/s; CPU per message {leg.microseconds:.0f} us, {own:.0f} of it the worker's"
        )
    for line in stages.table(result, cost):
        report.figure(line)
    known = result.share_of_known_stages()
    report.claim(
        "at least 95 % of the samples belong to a stage", known >= 0.95, f"{known:.1%} of {result.samples}"
    )
    more = cost / usual - 1
    report.claim(
        f"sampling added less than {SAMPLING_COST:.0%} to the worker's CPU time",
        more < SAMPLING_COST,
        f"{more:+.1%}",
    )
    report.claim("Penstock stops with status 0 on SIGTERM", status == 0, str(status))


def _leg_of(bench: Bench, server: Server, worker: int, messages: int) -> tuple[Leg, float]:
    """A leg, and the CPU time of one process of the server per message, in microseconds."""
    before = process_seconds(worker)
    leg = bench.leg(server, messages)
    return leg, (process_seconds(worker) - before) / messages * 1e6


def measure() -> None:
    """relay-2 in short, for ``python -m benchmarks``: the figures, from too few rounds for a verdict."""
    report = Report("relay-2, short")
    _say_figures(report, _measure(report, _options(["--rounds", "3", "--seconds", "2"])))


def _options(arguments: Sequence[str], seconds: float = 6.0) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="relay-2", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measured legs of each server")
    parser.add_argument("--seconds", type=float, default=seconds, help="how long a leg lasts")
    parser.add_argument("--size", type=int, default=10_240, help="octets of a message's body")
    parser.add_argument("--sessions", type=int, default=20, help="sessions in all")
    parser.add_argument("--no-reuse", action="store_true", help="a session for each message")
    return parser.parse_args(arguments)


def _load(options: argparse.Namespace) -> Load:
    return Load(options.size, options.sessions, reuse=not options.no_reuse)


def _measure(report: Report, options: argparse.Namespace) -> Legs:
    """Start everything, warm it up, measure each server in turn, every round beginning with another one, stop everything."""
    with Bench.open(_load(options)) as bench, contextlib.ExitStack() as context:
        servers = bench.servers(context)
        _say_conditions(report, options, bench)
        counts = {server.name: bench.messages_for(server, options.seconds) for server in servers}
        report.figure(
            "messages in a leg: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
        )
        legs: Legs = {server.name: [] for server in servers}
        for round_ in range(options.rounds):
            first = round_ % len(servers)
            for server in [*servers[first:], *servers[:first]]:
                legs[server.name].append(bench.leg(server, counts[server.name]))
            rates = ", ".join(f"{name} {rounds[-1].rate:,.0f}" for name, rounds in legs.items())
            report.figure(f"round {round_ + 1}, msg/s: {rates}")
        return legs


def _say_conditions(report: Report, options: argparse.Namespace, bench: Bench) -> None:
    sessions = "a session for each message" if options.no_reuse else "sessions reused"
    report.heading(
        f"8 smtp-source processes, one per domain; {options.sessions} sessions in all, {options.size:,} octets, {sessions}"
    )
    report.figure(
        f"{os.cpu_count()} processors, load before: {os.getloadavg()[0]:.2f}; legs in turn; servers that wait keep running"
    )
    report.figure(
        "a leg: from the start of the first smtp-source until smtp-sink has counted the last final dot"
    )
    report.figure(
        f"penstock, one worker: its spool is on {file_system(bench.folder)}, synced, and its event log is written"
    )
    report.figure(
        f"postfix: its queue is on {file_system(bench.folder)}, synced, as it comes; postfix-mem: its queue is in memory"
    )


def _say_figures(report: Report, legs: Legs) -> None:
    report.heading("Medians (and extremes) of the rounds")
    for name, rounds in legs.items():
        rates, costs = spread([leg.rate for leg in rounds]), spread([leg.microseconds for leg in rounds])
        report.figure(f"{name:12} {rates} msg/s; CPU of the server {costs} us/msg")
    report.heading("Beside it (medians)")
    for name, rounds in legs.items():
        sink = _median(rounds, lambda leg: leg.sink_cpu / leg.messages * 1e6)
        source = _median(rounds, lambda leg: leg.source_cpu / leg.messages * 1e6)
        foreign = _median(rounds, lambda leg: leg.foreign_cpu / leg.seconds)
        report.figure(
            f"{name:12} smtp-source {source:.0f} us/msg, smtp-sink {sink:.0f} us/msg; kept busy by anything else: {foreign:.2f} processors"
        )
    if any(leg.foreign_cpu / leg.seconds > QUIET for rounds in legs.values() for leg in rounds):
        report.figure(
            "THE MACHINE WAS NOT QUIET: rates are lower than they would be, and ratios less certain"
        )


def _median(rounds: Sequence[Leg], figure: Callable[[Leg], float]) -> float:
    return statistics.median(figure(leg) for leg in rounds)


def _ratios(legs: Legs, other: str) -> str:
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(legs["penstock"], legs[other], strict=True)]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"

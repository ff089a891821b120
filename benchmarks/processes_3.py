"""processes-3: a storm in a dedicated lane, and that everybody else's mail is as quick as in fine weather.

Two blasts run side by side at fixed rates, together half of what the server can do: one to ordinary domains, whose latencies are measured, one to
the domains of a lane of its own. What is compared is the first, while the destinations of the second take their mail, and while one of
them does not answer, one stalls in the middle of mail data, one resets and one says 421 to everything. Legs of either kind take turns, each with a
server of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.event_files import EventFiles
from benchmarks.processes import (
    LOOPBACK,
    ProgramFaultError,
    accepts_connections,
    free_port,
    start,
    stop,
    wait_until,
)
from benchmarks.product import RELAY_IN_THE_CLEAR, Penstock, penstock_command, run_command
from benchmarks.report import Report

#: What each destination of the storm does, by its address: rules of ``penstock sink`` (docs/sink-and-blast.md).
STORMS: Final = {
    "127.0.0.2": ("hang", 'stage = "banner"\naction = "slow"\ndelay = "1h"'),
    "127.0.0.3": ("stall", 'stage = "body"\naction = "slow"\ndelay = "1h"'),
    "127.0.0.4": ("reset", 'stage = "connect"\naction = "reset"'),
    "127.0.0.5": ("refuse", 'stage = "banner"\naction = "tempfail"\ncode = 421'),
}
#: General lanes.
WORKERS: Final = 2
CALM: Final = tuple(f"d{number}.test" for number in range(1, 17))
#: Of the load, what goes to the storm.
STORM_SHARE: Final = 0.5
#: How much worse the others may fare.
TOLERANCE: Final = 0.10


class Leg(NamedTuple):
    """What the others saw: 99th percentiles in seconds, and messages a second from the first to the last that arrived."""

    acceptance: float
    delivery: float
    throughput: float


def check(report: Report, arguments: Sequence[str]) -> None:
    """A dedicated lane whose destinations hang, stall, reset and answer 421: p99 and throughput of all others within 10%."""
    parser = argparse.ArgumentParser(prog="processes-3")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each leg")
    parser.add_argument("--pairs", type=int, default=5, help="of legs")
    parser.add_argument(
        "--rate", type=float, help="messages a second in all; half of the maximum if not given"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="penstock-processes-3-") as name:
        root = Path(name)
        rate = options.rate
        if rate is None:
            most = maximum(root / "maximum", options.seconds)
            rate = most / 2
            report.figure(
                f"maximum, all destinations healthy: {most:,.0f} messages/s; load from here on: {rate:,.0f}"
            )
        fine: list[Leg] = []
        rough: list[Leg] = []
        for number in range(options.pairs):
            # either is first as often as the other: a machine that gets busier, or warmer, favours neither
            for is_rough in (bool(number % 2), not number % 2):
                folder = root / f"{'rough' if is_rough else 'fine'}-{number}"
                one = leg(report, folder, rate, options.seconds, is_rough=is_rough)
                (rough if is_rough else fine).append(one)
            for what, one in (("healthy", fine[-1]), ("storm", rough[-1])):
                report.figure(
                    f"pair {number + 1}, {what:8} p99 to acceptance {one.acceptance * 1e3:6.1f} ms, "
                    f"from there to receipt {one.delivery * 1e3:6.1f} ms, {one.throughput:,.1f} messages/s"
                )
    for what, field, is_better_high in (
        ("p99 from acceptance to receipt", "delivery", False),
        ("p99 to acceptance", "acceptance", False),
        ("throughput", "throughput", True),
    ):
        before = statistics.median(getattr(one, field) for one in fine)
        after = statistics.median(getattr(one, field) for one in rough)
        change = after / before - 1
        worse = -change if is_better_high else change
        report.claim(
            f"{what} of the others within {TOLERANCE:.0%}", worse <= TOLERANCE, f"{change:+.1%} in the storm"
        )


def maximum(folder: Path, seconds: float) -> float:
    """Messages a second that go through with everything healthy, to both kinds of domains."""
    port = free_port()
    with _storm_sink(folder, port, is_rough=False), _server(folder, port) as penstock:
        options = ["--duration", f"{seconds:g}s", "--connections", "20"]
        others, storm = _blasts(penstock, port, options, options)
        return float(others["messages_per_second"] + storm["messages_per_second"])


def leg(report: Report, folder: Path, rate: float, seconds: float, *, is_rough: bool) -> Leg:
    """One leg."""
    port = free_port()
    with _storm_sink(folder, port, is_rough=is_rough), _server(folder, port) as penstock:
        share = rate * STORM_SHARE
        others, storm = _blasts(
            penstock,
            port,
            ["--rate", f"{rate - share:.0f}/s", "--duration", f"{seconds:g}s"],
            ["--rate", f"{share:.0f}/s", "--duration", f"{seconds:g}s"],
        )
        sink = others["sink"]
        if others["accepted"] != others["begun"] or sink["lost"] or sink["duplicates"]:
            report.claim("all of the others' mail arrives once", holds=False, detail=json.dumps(sink)[:200])
            for line in _failures(penstock.folder / "data" / "events"):
                report.figure(line)
        if storm["accepted"] != storm["begun"]:
            report.claim(
                "all of the storm's mail is accepted", holds=False, detail=str(storm["errors"])[:300]
            )
        if is_rough:
            _claim_contained(report, penstock, int(storm["accepted"]))
        return Leg(
            others["acceptance"]["p99"],
            sink["delivery"]["p99"],
            sink["received"] / others["duration"],
        )


def _failures(events: Path) -> list[str]:
    """What was put off of the others' mail, as the event logs have it."""
    return [
        line.decode(errors="replace")[:600]
        for line in EventFiles(events).lines()
        if b'"TransientFailure"' in line and any(f'"{domain}"'.encode() in line for domain in CALM)
    ]


def _claim_contained(report: Report, penstock: Penstock, accepted: int) -> None:
    """All that the storm holds is in its lane, and nothing of it anywhere else."""
    held: dict[str, int] = {}
    for lane in (*map(str, range(WORKERS)), "storm"):
        arguments = ["spool", "stats", "--json", "--lane", lane, "-c", "penstock.toml"]
        listed = run_command(arguments, penstock.folder)
        try:
            held[lane] = int(json.loads(listed.stdout)["total"]["messages"])
        except (ValueError, KeyError) as error:
            raise ProgramFaultError(f"penstock spool stats: {listed.stderr[:300]}") from error
    holds = held.pop("storm") == accepted and not any(held.values())
    if not holds:
        report.claim("all that is held is in the storm's lane", holds=False, detail=f"{held} elsewhere")


def _blasts(
    penstock: Penstock, port: int, others: Sequence[str], storm: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two at the same time; the first with a sink of its own. Their reports."""
    common = ["blast", "--to-server", f"{LOOPBACK}:{penstock.port}", "--json", "--quiet", "--size", "10KiB"]
    commands = (
        [*common, *others, "--domains", _even(CALM), "--sink", f"{LOOPBACK}:{port}"],
        [*common, *storm, "--domains", _even([_domain(what) for what, _ in STORMS.values()])],
    )
    running = [start([*penstock_command(), *command], stdout=subprocess.PIPE) for command in commands]
    try:
        found = [json.loads(each.communicate(timeout=600)[0]) for each in running]
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise ProgramFaultError(f"penstock blast: {error}") from error
    finally:
        for each in running:
            stop(each)
    return found[0], found[1]


def _even(domains: Sequence[str]) -> str:
    return ",".join(f"{domain}=1" for domain in domains)


def _domain(storm: str) -> str:
    return f"{storm}.test"


@contextlib.contextmanager
def _storm_sink(folder: Path, port: int, *, is_rough: bool) -> Iterator[None]:
    """The destinations of the storm, all on one port of addresses of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "storm.toml"
    rules = [f'[[rule]]\nlistener = "{address}:*"\n{rule}\n' for address, (_, rule) in STORMS.items()]
    script.write_text("\n".join(rules if is_rough else []))
    listening = [word for address in STORMS for word in ("--listen", f"{address}:{port}")]
    sink = start([*penstock_command(), "sink", "--quiet", *listening, "--script", str(script)])
    try:
        last = list(STORMS)[-1]
        wait_until(lambda: accepts_connections(port, last), 20.0, "the sink to listen", sink)
        yield
    finally:
        stop(sink)


@contextlib.contextmanager
def _server(folder: Path, port: int) -> Iterator[Penstock]:
    """Penstock with a lane for the storm."""
    static = "".join(
        f'"{_domain(what)}" = {{ mx = ["mx.{_domain(what)}"] }}\n"mx.{_domain(what)}" = {{ a = ["{address}"] }}\n'
        for address, (what, _) in STORMS.items()
    )
    domains = ", ".join(f'"{_domain(what)}"' for what, _ in STORMS.values())
    settings = RELAY_IN_THE_CLEAR._replace(
        node=f"workers = {WORKERS}\n",
        tables=f'{static}\n[[lane]]\nname = "storm"\nmatch = {{ domain = [{domains}] }}\n',
    )
    with Penstock(folder / "penstock", port, domains=CALM, settings=settings) as penstock:
        yield penstock

"""queues-7: the load of processes-1 with 1,000 tenants, rates and shares configured: beside Postfix, and beside the same server without them.

Rates are high enough to hold nothing back, so each is asked and charged for every message and none waits. ``--before`` names an earlier version of
the program (a source tree's ``penstock``, say) that is measured in the same rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench, Leg, Load, Server, file_system
from benchmarks.postfix import Postfix
from benchmarks.processes_1 import TIMES_POSTFIX
from benchmarks.product import Penstock, Settings
from benchmarks.report import Report, spread

#: The bar of the acceptance check: CPU time per message, by the same without.
DEARER: Final = 1.15

_WORKERS: Final = 2
_DOMAINS: Final = tuple(f"d{number}.test" for number in range(1, 51))
_TENANTS: Final = tuple(f"t{number:04}" for number in range(1000))
_SIZE: Final = 10_240
_NODE: Final = f"workers = {_WORKERS}\n"
PLAIN: Final = "without"
LIMITED: Final = "with"
BEFORE: Final = "before"
POSTFIX: Final = "postfix"

Legs = dict[str, list[Leg]]


def check(report: Report, arguments: Sequence[str]) -> None:
    """Two workers, 50 domains, 1,000 tenants with rates and shares: at least 6 times Postfix; CPU at most 15% above the same without them."""
    parser = argparse.ArgumentParser(prog="queues-7", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="measured legs of each server")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long a leg lasts")
    parser.add_argument("--before", default="", help="words that start an earlier version, measured too")
    options = parser.parse_args(arguments)
    load = Load(size=_SIZE, sessions=len(_DOMAINS), domains=len(_DOMAINS))
    with Bench.open(load) as bench, contextlib.ExitStack() as context:
        servers = _servers(bench, context, options.before.split())
        files = _messages(bench.folder)
        report.heading(
            f"{len(_DOMAINS)} smtp-source processes, one per domain with an MX name of its own, a session each; {len(_TENANTS):,} tenants, "
            f"another {len(_DOMAINS)} in each round; {_SIZE:,} octets, {_WORKERS} workers, all on {file_system(bench.folder)}, synced, events on"
        )
        report.figure(
            "with: for each tenant a rate of its queues, one over all of them, a share, two campaigns with rates; a rate of each path"
        )
        legs = _measure(report, bench, servers, files, load, options.rounds, options.seconds)
    _say(report, legs)


def _servers(bench: Bench, context: contextlib.ExitStack, before: list[str]) -> list[Server]:
    plain = Settings(node=_NODE, queues="".join(f"[tenant.'{tenant}']\n" for tenant in _TENANTS))
    limited = Settings(
        node=_NODE,
        queues="".join(map(_limited, range(len(_TENANTS)))),
        path=f'{Settings().path}max_message_rate = "100,000/s"\n',
    )
    servers = []
    kinds = [(PLAIN, plain, None), (LIMITED, limited, None)]
    if before:
        kinds.append((BEFORE, plain, before))
    for name, settings, launcher in kinds:
        folder = bench.folder / name
        penstock = context.enter_context(
            Penstock(folder, bench.sink.port, domains=_DOMAINS, launcher=launcher, settings=settings)
        )
        servers.append(Server(name, penstock.port, penstock.clock))
    folder = bench.folder / POSTFIX
    folder.mkdir()
    postfix = context.enter_context(Postfix(folder, bench.sink.port))
    return [*servers, Server(POSTFIX, postfix.port, postfix.clock)]


def _limited(number: int) -> str:
    name = _TENANTS[number]
    campaigns = "".join(
        f"[tenant.'{name}'.campaigns.'{campaign}']\noverall_max_message_rate = '30,000/s'\n"
        for campaign in ("autumn", "winter")
    )
    return (
        f"[tenant.'{name}']\nmax_message_rate = '20,000/s'\noverall_max_message_rate = '50,000/s'\n"
        f"share = {1 + number % 4}\n{campaigns}"
    )


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


def _measure(
    report: Report,
    bench: Bench,
    servers: list[Server],
    files: tuple[Path, ...],
    load: Load,
    rounds: int,
    seconds: float,
) -> Legs:
    bench.use(load._replace(files=files[: len(_DOMAINS)]))
    counts = {server.name: bench.messages_for(server, seconds) for server in servers}
    ours = min(count for name, count in counts.items() if name != POSTFIX)
    # as much mail through each that is compared for its CPU time
    counts = {name: count if name == POSTFIX else ours for name, count in counts.items()}
    legs: Legs = {server.name: [] for server in servers}
    for number in range(rounds):
        first = (number + 1) * len(_DOMAINS) % len(files)
        bench.use(load._replace(files=files[first : first + len(_DOMAINS)]))
        for server in servers if number % 2 else reversed(servers):
            legs[server.name].append(bench.leg(server, counts[server.name]))
        said = ", ".join(
            f"{name} {found[-1].rate:,.0f} at {found[-1].microseconds:,.0f} us"
            for name, found in legs.items()
        )
        report.figure(f"round {number + 1}, msg/s: {said}")
    return legs


def _say(report: Report, legs: Legs) -> None:
    report.heading("Medians (and extremes) of the rounds")
    for name, found in legs.items():
        rates, cpu = spread([leg.rate for leg in found]), spread([leg.microseconds for leg in found])
        report.figure(f"{name:10} {rates} msg/s; CPU {cpu} us/msg")
    rate = {name: statistics.median(leg.rate for leg in found) for name, found in legs.items()}
    times = rate[LIMITED] / rate[POSTFIX]
    report.claim(f"at least {TIMES_POSTFIX:g} times Postfix, by rate", times >= TIMES_POSTFIX, f"{times:.2f}")
    for name in (PLAIN, BEFORE):
        if name in legs:
            dearer = _dearer(legs[LIMITED], legs[name])
            report.claim(
                f"CPU per message at most {DEARER - 1:.0%} above that of {name!r}",
                dearer <= DEARER,
                f"{dearer - 1:+.1%}, the median of {len(legs[name])} rounds",
            )


def _dearer(one: list[Leg], other: list[Leg]) -> float:
    """How many times as dear one is, round by round."""
    return statistics.median(
        mine.microseconds / theirs.microseconds for mine, theirs in zip(one, other, strict=True)
    )

"""protocol-2: what hostile servers do to our client, case by case, and that everybody else's mail still flows meanwhile."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest
import uvloop

from benchmarks.cpu import forget_peak, peak_resident_bytes, resident_bytes
from benchmarks.hostile import allow_open_files
from benchmarks.report import Report
from penstock.mail.configuration import Endpoint
from penstock.sim.hostile import Manners, Script
from penstock.sim.raw_client import RawClient
from penstock.sim.sink import Sink, SinkMessage
from tests.hostile_servers.cases import LOCK_STEP, Case, Where
from tests.hostile_servers.checks import check as check_on_core
from tests.hostile_servers.checks import check_bounds, check_sent, is_short, is_without_end
from tests.hostile_servers.mutations import MUTATIONS
from tests.hostile_servers.on_core import run_on_core
from tests.hostile_servers.on_sockets import DEADLINE, Seen, battery, run_on_sockets
from tests.hostile_servers.table import CASES, GROUPS, NOT_YET
from tests.system.harness import World, until

MIB: Final = 1024**2
#: Memory that a group of cases may take at its height, server, hostile servers and clients together: they are one process here.
GROUP_BYTES: Final = 64 * MIB
#: Seconds from a message's first octet to the last verdict on it, the client's deadlines (a quarter of a second) included.
CASE_SECONDS: Final = 5.0
TARPITS: Final = 1000
BATCHES: Final = 5
MESSAGES: Final = 400
#: How much slower the slowest hundredth may become, and what a timer's resolution is, below which nothing is measured.
SLOWER: Final = 1.2
RESOLUTION: Final = 0.001
_HEALTHY: Final = "127.1.200.1"
_CONTENT: Final = b"Subject: x\r\n\r\nhello\r\n"
_MOMENTS: Final[tuple[Script, ...]] = (
    {"banner": ()}, {"EHLO": ()}, {"MAIL": ()}, {"RCPT 1": ()}, {"DATA": ()}, {".": ()},
)  # fmt: skip


def check(report: Report, arguments: Sequence[str]) -> None:
    """Hostile servers: the right verdict for every recipient in bounded time and memory, nothing lost; a thousand tarpits are in nobody's way."""
    _core(report)
    _controls(report)
    _sockets(report)
    _large(report)
    _tarpits(report)
    report.heading("Not in the table")
    for row, reason in NOT_YET.items():
        report.figure(f"{row}: {reason}")


def _core(report: Report) -> None:
    """The table on the client's core."""
    report.heading("The table on a client session without I/O")
    cases = [case for case in CASES.values() if case.where is not Where.SOCKETS]
    ways: dict[str, tuple[list[Case], Callable[[Case], None]]] = {
        "whole": (cases, lambda case: check_on_core(case, run_on_core(case))),
        "octet by octet": (
            [case for case in cases if is_short(case)],
            lambda case: check_on_core(case, run_on_core(case, octet_by_octet=True)),
        ),
        "what has no end is given up early, in a megabyte": (
            [case for case in cases if is_without_end(case)],
            check_bounds,
        ),
        "what is sent can be read in one way only": (GROUPS["outbound"], check_sent),
    }
    for way, (chosen, look) in ways.items():
        began = time.monotonic()
        wrong = [case.code for case in chosen if _finds(case, look)]
        figures = f"{len(chosen) - len(wrong)} of {len(chosen)} cases right, {time.monotonic() - began:.1f} s"
        report.claim(way, not wrong, "; ".join([figures, *wrong[:5]]))


def _finds(case: Case, look: Callable[[Case], None]) -> bool:
    """Whether something is found."""
    try:
        look(case)
    except (AssertionError, RuntimeError):
        return True
    return False


def _look(case: Case) -> None:
    """All that is looked at on the core."""
    check_on_core(case, run_on_core(case))
    if is_without_end(case):
        check_bounds(case)
    if case.code.startswith("B"):
        check_sent(case)


def _controls(report: Report) -> None:
    """Clients with a mistake each."""
    missed = []
    for mutation, codes in MUTATIONS.items():
        with pytest.MonkeyPatch.context() as patch:
            mutation(patch)
            missed += [f"{mutation.__name__}: {code}" for code in codes if not _finds(CASES[code], _look)]
    report.claim(
        "positive control: every client with a mistake is found out",
        not missed,
        "; ".join([f"{len(MUTATIONS)} mistakes", *missed]),
    )


def _sockets(report: Report) -> None:
    """The table on sockets, a group at a time."""
    report.heading(
        f"The table through a whole server on sockets; deadlines of {DEADLINE} s where a case needs one"
    )
    for name, cases in GROUPS.items():
        _battery(
            report,
            name,
            [case for case in cases if case.where is not Where.CORE and not case.is_large],
            GROUP_BYTES,
        )


def _battery(report: Report, name: str, cases: list[Case], limit: int) -> None:
    before = resident_bytes(os.getpid())
    forget_peak(os.getpid())
    with tempfile.TemporaryDirectory(prefix="penstock-protocol-2-") as place:
        seen = uvloop.run(run_on_sockets(Path(place), cases))
    memory = peak_resident_bytes(os.getpid()) - before
    wrong = [case for case in cases if not seen[case.code].is_right(case)]
    slowest = max(cases, key=lambda case: seen[case.code].seconds)
    seconds = seen[slowest.code].seconds
    figures = [
        f"{len(cases) - len(wrong)} of {len(cases)} right, slowest {seconds:.2f} s ({slowest.code}), memory {memory / MIB:.1f} MiB"
    ]
    holds = not wrong and seconds < CASE_SECONDS and memory < limit
    report.claim(name, holds, "; ".join(figures + [_difference(case, seen[case.code]) for case in wrong[:5]]))


def _difference(case: Case, seen: Seen) -> str:
    return f"{case.code}: {' '.join(seen.verdicts)}, not {' '.join(case.verdicts_on_sockets)}; {', '.join(seen.faults)}"


def _large(report: Report) -> None:
    """50 MB for a host that does not read."""
    for case in CASES.values():
        if case.is_large:
            # the message itself, as it comes in, as it is stored, as it is read, and as it waits to be written
            _battery(report, case.code, [case], GROUP_BYTES + 4 * len(case.content))


def _tarpits(report: Report) -> None:
    """A thousand hosts that keep us waiting, and one that does not."""
    report.heading(f"{TARPITS:,} hosts that stop answering, beside one that answers")
    allow_open_files(8 * TARPITS)
    with tempfile.TemporaryDirectory(prefix="penstock-protocol-2-") as place:
        uvloop.run(_beside_tarpits(report, Path(place)))


async def _beside_tarpits(report: Report, place: Path) -> None:
    cases = [
        Case(
            f"F-tarpit-{number}",
            _MOMENTS[number % len(_MOMENTS)],
            ("HHH",),
            manners=Manners(keywords=LOCK_STEP),
        )
        for number in range(TARPITS)
    ]
    dns = f'"healthy.test" = {{ mx = ["mx.healthy.test"] }}\n"mx.healthy.test" = {{ a = ["{_HEALTHY}"] }}'
    async with battery(place, cases, dns=dns, descriptors=8 * TARPITS) as (here, servers):
        healthy = _Healthy(here)
        async with Sink(on_message=healthy.arrived.append) as sink:
            await sink.start([Endpoint(_HEALTHY, here.worker.configuration.shaping.default.smtp_port)])
            await healthy.batch()
            alone = [await healthy.batch() for _ in range(BATCHES)]
            before = resident_bytes(os.getpid())
            for case in cases:
                await here.send([f"one@{case.domain}"])
            await until(lambda: all(server.sessions for server in servers.values()), "every tarpit was tried")
            beside = [await healthy.batch() for _ in range(BATCHES)]
            held = sum(not server.sessions[0].is_over for server in servers.values())
            report.claim(
                "every tarpit holds its connection meanwhile", held == TARPITS, f"{held:,} connections"
            )
            memory = resident_bytes(os.getpid()) - before
            report.figure(
                f"memory: {memory / TARPITS / 1024:.1f} KiB for each tarpit, both ends of its connection and its message"
            )
    report.figure(f"p50, p99 alone:  {_milliseconds(alone)}")
    report.figure(f"p50, p99 beside: {_milliseconds(beside)}")
    before_p99, p99 = _median_p99(alone), _median_p99(beside)
    change = f"{(p99 / before_p99 - 1) * 100:+.0f} %"
    report.claim(
        "p99 of the one that answers is within 20 % (or a timer's millisecond)",
        p99 <= max(before_p99 * SLOWER, before_p99 + RESOLUTION),
        f"{p99 * 1000:.2f} ms, alone {before_p99 * 1000:.2f} ms: {change}; medians of {BATCHES} times {MESSAGES} messages",
    )


class _Healthy:
    """A destination that answers, and the time a message takes to it."""

    def __init__(self, here: World) -> None:
        self._here = here
        self.arrived: list[SinkMessage] = []

    async def batch(self) -> list[float]:
        """Send message after message; the seconds from the end of each to its arrival, in order of size."""
        latencies = []
        async with RawClient(self._here.smtp) as client:
            await client.expect(b"220")
            await client.ask(b"EHLO client.test\r\n", b"250")
            for _ in range(MESSAGES):
                self.arrived.clear()
                await client.ask(
                    b"MAIL FROM:<a@from.test>\r\nRCPT TO:<one@healthy.test>\r\nDATA\r\n",
                    b"250",
                    b"250",
                    b"354",
                )
                began = time.monotonic()
                await client.ask(_CONTENT + b".\r\n", b"250")
                await until(lambda: self.arrived, "it arrives")
                latencies.append(self.arrived[0].received - began)
            await client.ask(b"QUIT\r\n", b"221")
        return sorted(latencies)


def _p99(latencies: list[float]) -> float:
    return latencies[int(len(latencies) * 0.99)]


def _median_p99(batches: list[list[float]]) -> float:
    return statistics.median(_p99(batch) for batch in batches)


def _milliseconds(batches: list[list[float]]) -> str:
    return (
        "  ".join(f"{statistics.median(batch) * 1000:.2f}, {_p99(batch) * 1000:.2f}" for batch in batches)
        + " ms"
    )

"""queues-1: the rate of a new tenant, to the message; and that the others of its pool do not notice."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.processes import ProgramFaultError, wait_until
from benchmarks.product import RELAY_IN_THE_CLEAR, Penstock, Settings
from benchmarks.recording import KEPT, RecordingSink, blast_command, give
from benchmarks.report import Report, spread
from benchmarks.virtual_lane import VirtualLane
from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import Rate, parse_rate
from penstock.shaping import gcra

RATES: Final = ("5/minute", "5/minute,max_burst=1")
MINUTES: Final = 10
#: Another tenant's throughput may change by this.
TOLERANCE: Final = 0.05
#: How much later than allowed a message may come to the sink.
_LATE: Final = 1.0
_NAME: Final = QueueName("d1.test", "newcomer", "welcome")


def check(report: Report, arguments: Sequence[str]) -> None:
    """'5/minute' for a new tenant with 10,000 messages: what GCRA allows, to the message, simulated and real; the others within 5%."""
    parser = argparse.ArgumentParser(prog="queues-1", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000, help="the tenant's backlog")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each run against a real sink")
    parser.add_argument("--pairs", type=int, default=10, help="of legs of the other tenant")
    parser.add_argument("--leg", type=int, default=6000, help="messages of a leg")
    options = parser.parse_args(arguments)
    for text in RATES:
        _simulated(report, text, options.messages)
    for text in RATES:
        _real(report, text, options.messages, options.seconds)
    _others(report, options.messages, options.pairs, options.leg)


def allowed(rate: Rate, spans: Sequence[tuple[float, float]]) -> Iterator[float]:
    """When mail that always waits may start by a rate, where it can start within these spans of time only."""
    arrival = -float("inf")
    for begin, end in spans:
        at = max(begin, gcra.opens_at(arrival, rate))
        while at < end:
            yield at
            arrival = gcra.charged(arrival, at, rate)
            at = max(at, gcra.opens_at(arrival, rate))


def _simulated(report: Report, text: str, messages: int) -> None:
    report.heading(f"{text}, {messages:,} messages of one queue, ten simulated minutes")
    rate = parse_rate(text)
    config = QueueConfig(max_message_rate=rate)
    end = MINUTES * 60.0
    for what, spans in (
        ("a free path", [(0.0, end)]),
        ("blocked each second half minute", [(at, at + 30.0) for at in range(0, int(end), 60)]),
    ):
        lane = VirtualLane(lambda name: config, PathConfig(), seconds_of=lambda size: 1e-4)
        lane.add([_NAME] * messages)
        for _, until in spans:
            lane.run(until)
            lane.block(is_blocked=True)
            lane.run(until + 30.0 if until < end else end)
            lane.block(is_blocked=False)
        found = [start.time for start in lane.starts if start.time < end]
        wanted = list(allowed(rate, spans))
        off = max((abs(one - other) for one, other in zip(found, wanted, strict=False)), default=0.0)
        report.claim(
            f"{what}: as many as allowed, each when it is",
            len(found) == len(wanted) and off < 1e-3,
            f"{len(found)} of {len(wanted)}; at most {off * 1e6:.0f} us off; {len(lane.scheduler):,} still queued",
        )


def _settings(rate: str) -> Settings:
    return RELAY_IN_THE_CLEAR._replace(
        queues=f"[tenant.'newcomer']\nmax_message_rate = '{rate}'\n", assignment=KEPT
    )


def _real(report: Report, text: str, messages: int, seconds: float) -> None:
    report.heading(
        f"{text}, {messages:,} messages, {seconds:g} s against a sink that stands still each second {seconds / 4:g} s"
    )
    rate = parse_rate(text)
    with tempfile.TemporaryDirectory(prefix="penstock-queues-1-") as name:
        place = Path(name).resolve()
        with (
            RecordingSink(place) as sink,
            Penstock(place / "penstock", sink.port, settings=_settings(text)) as server,
        ):
            began = time.time()
            give(server.port, "newcomer", "welcome", "d1.test", messages)
            spans = _block_by_turns(sink, began, seconds)
            receipts = [receipt.begun for receipt in sink.receipts() if receipt.begun < began + seconds]
    first = receipts[0]
    wanted = list(allowed(rate, [(max(begin, first), end) for begin, end in spans]))
    report.figure(
        f"first at {first - began:.2f} s; blocked from "
        + ", ".join(
            f"{end - began:.1f} to {begin - began:.1f} s"
            for (_, end), (begin, _) in itertools.pairwise(spans)
        )
    )
    late = [one - other for one, other in zip(receipts, wanted, strict=False)]
    report.claim(
        "as many reach the sink as GCRA allows",
        len(receipts) == len(wanted),
        f"{len(receipts)} of {len(wanted)}",
    )
    report.claim(
        "each when it is allowed",
        bool(late) and min(late) > -0.005 and max(late) < _LATE,
        f"{min(late) * 1e3:+.1f} to {max(late) * 1e3:+.1f} ms" if late else "none came",
    )
    report.claim(
        "no more in any window than the rate and its burst",
        _bucket_holds(receipts, rate),
        f"most within a minute: {_most(receipts, 60.0)}",
    )


def _block_by_turns(sink: RecordingSink, began: float, seconds: float) -> list[tuple[float, float]]:
    """Have the sink stand still in the second and the last quarter; the spans in which it did not."""
    quarter = seconds / 4
    spans: list[tuple[float, float]] = []
    begin = began
    for number in range(4):
        time.sleep(max(0.0, began + (number + 1) * quarter - time.time()))
        is_still = number % 2 == 0
        os.kill(sink.process.pid, signal.SIGSTOP if is_still else signal.SIGCONT)
        if is_still:
            spans.append((begin, time.time()))
        else:
            begin = time.time()
    return spans


def _bucket_holds(instants: Sequence[float], rate: Rate) -> bool:
    level, last = 0.0, instants[0] if instants else 0.0
    for instant in instants:
        level = max(0.0, level - (instant - last) * rate.count / rate.period) + 1
        last = instant
        # a message that was sent later than its token was taken is nearer to the next one
        if level > rate.burst + _LATE * rate.count / rate.period:
            return False
    return True


def _most(instants: Sequence[float], seconds: float) -> int:
    return max((sum(begin <= at < begin + seconds for at in instants) for begin in instants), default=0)


def _others(report: Report, messages: int, pairs: int, leg: int) -> None:
    report.heading(
        f"Another tenant of the pool, {pairs} pairs of {leg:,} messages: with the newcomer's {messages:,} queued, and without"
    )
    rates: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="penstock-queues-1-") as name:
        place = Path(name).resolve()
        for is_there in rates:
            (place / str(is_there)).mkdir()
        with (
            RecordingSink(place / "True") as sink,
            Penstock(place / "True" / "p", sink.port, settings=_settings(RATES[0])) as crowded,
            RecordingSink(place / "False") as other_sink,
            Penstock(place / "False" / "p", other_sink.port, settings=_settings(RATES[0])) as empty,
        ):
            give(crowded.port, "newcomer", "welcome", "d1.test", messages)
            for number in range(pairs + 1):
                for is_there in (bool(number % 2), not number % 2):
                    server, at = (crowded, sink) if is_there else (empty, other_sink)
                    rate = _leg(server, at, leg)
                    if number:
                        rates[is_there].append(rate)
    ratios = [one / other for one, other in zip(rates[True], rates[False], strict=True)]
    report.figure(f"messages/s with: {spread(rates[True])}; without: {spread(rates[False])}")
    median = statistics.median(ratios)
    report.claim(
        f"the other tenant's throughput within {TOLERANCE:.0%}",
        median >= 1 - TOLERANCE,
        f"{median - 1:+.1%}, median of {len(ratios)} pairs ({min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%})",
    )


def _leg(server: Penstock, sink: RecordingSink, messages: int) -> float:
    """Messages a second of the other tenant, to the same domain, from the first to the last at the sink."""
    before = sink.count()
    began = time.monotonic()
    ran = subprocess.run(
        blast_command(server.port, "--tenants", "acme=1", "--campaigns", "news=1", "--domains", "d1.test=1", "--count", str(messages)),
        capture_output=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        raise ProgramFaultError(
            f"blast: {json.loads(ran.stdout or b'{}').get('errors')} {ran.stderr[-300:]!r}"
        )
    wait_until(lambda: sink.count() >= before + messages, 60.0, "the mail at the sink", interval=0.005)
    return messages / (time.monotonic() - began)

"""queues-4: how long it takes to suspend, to count and to explain, with few queued messages and with a million; and a million bounced."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import backlog
from benchmarks.gauges import metrics, status
from benchmarks.orders import Answer, Orders
from benchmarks.processes import stop, wait_until
from benchmarks.product import Penstock
from benchmarks.recording import RecordingSink, load
from benchmarks.report import Report, spread
from benchmarks.spool_6 import Pauses

BAR: Final = 0.100
LONGEST_PAUSE: Final = 0.010
_TIMES: Final = 9
_QUEUES: Final = 50_000
_DOMAINS: Final = 500
_MESSAGES: Final = (1_000, 1_000_000)
_LIMIT: Final = 3600.0


class Question(NamedTuple):
    """What is asked of the server, and how."""

    name: str
    ask: Callable[[Orders], Answer]


def _suspend(orders: Orders) -> Answer:
    given = orders.suspend(tenant="acme")
    orders.cancel(given.content["id"])
    return given


QUESTIONS: Final = (
    Question("suspend a tenant", _suspend),
    Question(
        "suspend one queue", lambda orders: orders.suspend(queue_names=["c1:acme@d1.test"], duration=1.0)
    ),
    Question("count a tenant", lambda orders: orders.survey(tenant="acme")),
    Question("count all by domain", lambda orders: orders.survey(by="domain")),
    Question("count all by queue", lambda orders: orders.survey(by="queue")),
    Question("count a campaign to a domain", lambda orders: orders.survey(campaign="c1", domain="d1.test")),
    Question("explain a queue", lambda orders: orders.explain("c1:acme@d1.test")),
)


def check(report: Report, arguments: Sequence[str]) -> None:
    """Suspend, count and explain under 100 ms with 1,000 and 1,000,000 queued, at load; a million bounced: no pause, progress, resumed."""
    parser = argparse.ArgumentParser(prog="queues-4", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--messages", type=int, nargs="*", default=_MESSAGES, help="queued messages, of each part"
    )
    parser.add_argument("--bounced", type=int, default=1_000_000, help="messages that are bounced")
    parser.add_argument("--rate", type=int, default=100, help="messages a second that come and go meanwhile")
    options = parser.parse_args(arguments)
    for messages in options.messages:
        _ask(report, messages, options.rate)
    _bounce(report, options.bounced)


@contextmanager
def _server(messages: int) -> Iterator[tuple[Penstock, RecordingSink]]:
    """A server that has recovered so many messages, due in hours."""
    with tempfile.TemporaryDirectory(prefix="penstock-queues-4-") as name:
        place = Path(name).resolve()
        spool = place / "penstock" / "data" / "spool" / "0"
        spool.mkdir(parents=True)
        now = time.time()
        queues = backlog.one_of(_DOMAINS, _QUEUES // _DOMAINS)
        backlog.write(spool, messages, queues, size=1024, now=now, due=now + 7200)
        with RecordingSink(place) as sink:
            server = Penstock(place / "penstock", sink.port, domains=["load.test"])
            with server:
                _wait_for_recovery(server)
                yield server, sink


def _wait_for_recovery(server: Penstock) -> None:
    wait_until(
        lambda: metrics(server.http_port).get("spool_recovering") == 0,
        600.0,
        "the recovery",
        server.process,
        0.2,
    )


def _ask(report: Report, messages: int, rate: int) -> None:
    report.heading(
        f"{messages:,} messages in up to {_QUEUES:,} queues, {rate} messages a second coming and going"
    )
    with _server(messages) as (server, sink), load(server.port, rate, domains=("load.test",)):
        wait_until(lambda: sink.count() > rate, 60.0, "mail at the sink")
        orders = Orders(server.folder / "data")
        found: dict[str, list[float]] = {question.name: [] for question in QUESTIONS}
        pauses = Pauses(server.port)
        for _ in range(_TIMES):
            for question in QUESTIONS:
                found[question.name].append(question.ask(orders).seconds)
                time.sleep(0.05)
        longest = max(pauses.stop())
    for name, seconds in found.items():
        milliseconds = [each * 1e3 for each in seconds]
        report.claim(f"{name}: under {BAR * 1e3:g} ms", max(seconds) < BAR, f"{spread(milliseconds, 1)} ms")
    report.figure(f"meanwhile no NOOP waited longer than {longest * 1e3:.1f} ms")


def _bounce(report: Report, messages: int) -> None:
    report.heading(f"{messages:,} messages bounced, the server restarted in the middle")
    with _server(messages) as (server, _sink):
        orders = Orders(server.folder / "data")
        pauses = Pauses(server.port)
        began = time.monotonic()
        given = orders.bounce(tenant="acme", duration=10.0)
        identity = given.content["id"]
        seen = [_done(orders, identity)]
        while seen[-1] < messages // 2 and time.monotonic() - began < _LIMIT:
            time.sleep(1.0)
            seen.append(_done(orders, identity))
        found = sorted(pauses.stop())
        report.figure(f"answered after {given.seconds * 1e3:.1f} ms; done second by second: {_shown(seen)}")
        report.claim(
            f"no NOOP waits longer than {LONGEST_PAUSE * 1e3:g} ms",
            found[-1] <= LONGEST_PAUSE,
            f"{found[-1] * 1e3:.1f} ms (p99.9 {found[len(found) * 999 // 1000] * 1e3:.1f} ms, {len(found):,} NOOPs)",
        )
        report.claim("progress is visible", seen == sorted(seen) and len(set(seen)) > len(seen) // 2)
        took = time.monotonic() - began
        half = seen[-1]
        server.stop()
        with Penstock(server.folder, 1, domains=["load.test"]) as again:
            _wait_for_recovery(again)
            orders = Orders(again.folder / "data")
            resumed = time.monotonic()
            wait_until(
                lambda: _sweep(orders, identity).get("finished"), _LIMIT, "the end of the sweep", interval=0.5
            )
            report.figure(
                f"{half / took:,.0f} a second; the rest {messages - half:,} in {time.monotonic() - resumed:.0f} s after the restart"
            )
            left = orders.survey(tenant="acme").content["survey"]["total"]["messages"]
            wait_until(lambda: _is_written(again), _LIMIT, "the event log", interval=0.5)
            stop(again.process, grace=60.0)
            _claim_events(report, again, messages, left)


def _is_written(server: Penstock) -> bool:
    """Whether the event log has all that the spool has."""
    now = status(server.folder / "data")
    return now is not None and not now.event_log.is_behind


def _claim_events(report: Report, server: Penstock, messages: int, left: int) -> None:
    ids: Counter[str] = Counter(event["id"] for event in server.events() if event["type"] == "AdminBounce")
    twice = sum(count > 1 for count in ids.values())
    report.claim(
        "each has its event, once",
        len(ids) == messages and not twice and not left,
        f"{len(ids):,} messages, {twice} more than once; {left} left in the queues",
    )


def _sweep(orders: Orders, identity: str) -> dict[str, Any]:
    found = [item for item in orders.listing()["sweeps"] if item["sweep"]["order"]["id"] == identity]
    return dict(found[0]) if found else {}


def _done(orders: Orders, identity: str) -> int:
    return sum(lane["done"] for lane in _sweep(orders, identity).get("lanes", {}).values())


def _shown(values: Sequence[int]) -> str:
    step = max(1, len(values) // 8)
    return ", ".join(f"{value:,}" for value in values[::step])

"""queues-3: suspensions under load: nothing of what they name starts after the answer, and everything else goes on as if there were none."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.gauges import status
from benchmarks.orders import Orders
from benchmarks.processes import wait_until
from benchmarks.product import RELAY_IN_THE_CLEAR, Penstock, Settings
from benchmarks.recording import KEPT, Receipt, RecordingSink, load
from benchmarks.report import Report

DOMAINS: Final = ("d1.test", "d2.test", "d3.test", "hub.test")
TENANTS: Final = ("acme", "globex")
CAMPAIGNS: Final = ("news", "bills")
#: Mail of globex for this domain goes by way of another one.
ROUTED: Final = ("d3.test", "hub.test")
#: Between the sending of MAIL and its reading by the sink, on a busy machine.
_ON_ITS_WAY: Final = 0.03
#: A path stands still if nothing comes for so long, at 50 messages a second of each, in uneven steps.
_GAP: Final = 0.3
#: Within this all that was held has begun.
_AT_ONCE: Final = 2.0
_DRAINED: Final = 10.0


class Case(NamedTuple):
    """A way to suspend: what is asked for, and what it is about."""

    name: str
    words: dict[str, Any]
    concerns: Callable[[Receipt], bool]


def _hop(receipt: Receipt) -> str:
    return "hub.test" if (receipt.tenant, receipt.domain) == ("globex", ROUTED[0]) else receipt.domain


CASES: Final = (
    Case("a tenant", {"tenant": "acme"}, lambda receipt: receipt.tenant == "acme"),
    Case("a campaign", {"campaign": "news"}, lambda receipt: receipt.campaign == "news"),
    Case("a domain", {"domain": "d2.test"}, lambda receipt: receipt.domain == "d2.test"),
    Case("a routing domain", {"routing_domain": "hub.test"}, lambda receipt: _hop(receipt) != receipt.domain),
    Case(
        "a tenant's campaign to a domain",
        {"tenant": "globex", "campaign": "bills", "domain": "d1.test"},
        lambda receipt: (receipt.tenant, receipt.campaign, receipt.domain) == ("globex", "bills", "d1.test"),
    ),
    Case(
        "queues by name",
        {"queue_names": ["news:acme@d1.test", "bills:globex@d3.test!hub.test"]},
        lambda receipt: (
            (receipt.tenant, receipt.campaign, receipt.domain)
            in (("acme", "news", "d1.test"), ("globex", "bills", "d3.test"))
        ),
    ),
    Case(
        "a path",
        {"action": "suspend-path", "subject": "unspecified->mx.d1.test@smtp_client"},
        lambda receipt: _hop(receipt) == "d1.test",
    ),
    Case("a source", {"action": "suspend-source", "subject": "unspecified"}, lambda receipt: True),
)


def check(report: Report, arguments: Sequence[str]) -> None:
    """Suspend by each criterion under load: no start after the answer, no gap for others, all due at once on release; restarts, new lanes."""
    parser = argparse.ArgumentParser(prog="queues-3", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="messages a second, over 12 queues")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each suspension")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="penstock-queues-3-") as name:
        place = Path(name).resolve()
        with RecordingSink(place) as sink:
            with _server(place, sink, 2) as server, _load(server, options.rate):
                wait_until(lambda: sink.count() > 2 * options.rate, 30.0, "mail at the sink")
                orders = Orders(server.folder / "data")
                for case in CASES:
                    _suspend(report, sink, orders, case, options.seconds)
            _settled(report, place, sink)
        _restarts(report, place / "restarts", options.rate)


def _settings(workers: int) -> Settings:
    routed = f"[queue.'{ROUTED[0]}'.'globex']\nrouting_domain = '{ROUTED[1]}'\n"
    return RELAY_IN_THE_CLEAR._replace(node=f"workers = {workers}\n", queues=routed, assignment=KEPT)


def _server(place: Path, sink: RecordingSink, workers: int) -> Penstock:
    return Penstock(place / "penstock", sink.port, domains=DOMAINS, settings=_settings(workers))


def _load(server: Penstock, rate: int) -> AbstractContextManager[None]:
    return load(server.port, rate, tenants=TENANTS, campaigns=CAMPAIGNS, domains=DOMAINS[:3])


def _suspend(report: Report, sink: RecordingSink, orders: Orders, case: Case, seconds: float) -> None:
    report.heading(f"Suspend {case.name}")
    time.sleep(1.5)
    given = orders.suspend(**case.words)
    time.sleep(seconds)
    held = orders.survey().content["survey"]["total"]["held"]
    released = orders.cancel(given.content["id"])
    time.sleep(_AT_ONCE + 0.5)
    receipts = list(sink.receipts())
    answered, over = given.at, released.at - released.seconds
    report.figure(
        f"answered after {given.seconds * 1e3:.1f} ms, and its end after {released.seconds * 1e3:.1f} ms; held meanwhile: {held}"
    )
    _claim_held(report, receipts, case, answered, over)
    others = [receipt for receipt in receipts if not case.concerns(receipt)]
    if others:
        before = _longest_gap(others, answered - 1.5, answered)
        during = _longest_gap(others, answered, over)
        report.claim(
            "the others see no gap",
            during <= max(_GAP, 2 * before),
            f"the longest of a path before {before * 1e3:.0f} ms, meanwhile {during * 1e3:.0f} ms",
        )
    began = [receipt.begun - over for receipt in receipts if case.concerns(receipt) and receipt.begun >= over]
    wanted = sum(held.values())
    in_time = sum(each < _AT_ONCE for each in began)
    report.claim(
        "all is due at once",
        0 < wanted <= in_time,
        f"{wanted} were held; {in_time} began within {_AT_ONCE:g} s, the first after {min(began, default=0) * 1e3:.0f} ms",
    )


def _claim_held(
    report: Report, receipts: Sequence[Receipt], case: Case, answered: float, over: float
) -> None:
    concerned = [receipt for receipt in receipts if case.concerns(receipt)]
    before = sum(answered - 1.5 < receipt.begun <= answered for receipt in concerned)
    after = [
        receipt.begun - answered for receipt in concerned if answered + _ON_ITS_WAY < receipt.begun < over
    ]
    latest = max((receipt.begun - answered for receipt in concerned if receipt.begun < over), default=0.0)
    report.claim(
        "no message of it starts after the answer",
        before > 0 and not after,
        f"{before} in the 1.5 s before; the last {latest * 1e3:+.1f} ms from the answer; {len(after)} later",
    )


def _longest_gap(receipts: Sequence[Receipt], begin: float, end: float) -> float:
    """The longest time without a message of any one path."""
    last: dict[str, float] = {}
    longest = 0.0
    for receipt in receipts:
        if begin <= receipt.begun <= end:
            path = _hop(receipt)
            longest = max(longest, receipt.begun - last.get(path, begin))
            last[path] = receipt.begun
    return longest


def _settled(report: Report, place: Path, sink: RecordingSink) -> None:
    """After the end: what the events say of attempts. The server has stopped, so all are written."""
    attempts: dict[int, int] = {}
    kinds: dict[str, int] = {}
    server = Penstock(place / "penstock", sink.port)
    for event in server.events():
        kinds[event["type"]] = kinds.get(event["type"], 0) + 1
        if event["type"] == "Delivery":
            attempts[event["num_attempts"]] = attempts.get(event["num_attempts"], 0) + 1
    report.heading("All of it, by its events")
    report.figure(", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())))
    report.claim(
        "no attempt was lost",
        len(attempts) == 1 and "TransientFailure" not in kinds and "Bounce" not in kinds,
        f"deliveries by the attempts before them: {attempts}",
    )


def _restarts(report: Report, place: Path, rate: int) -> None:
    report.heading(f"Suspend {CASES[0].name}, with restarts")
    place.mkdir()
    case = CASES[0]
    with RecordingSink(place) as sink:
        with _server(place, sink, 2) as server, _load(server, rate):
            _wait_for_mail(sink, rate)
            given = Orders(server.folder / "data").suspend(**case.words)
            _quiet(report, sink, case, given.at, "suspended")
            _quiet(report, sink, case, _kill_worker(server), "a worker killed")
        for what, workers in (("restarted", 2), ("restarted with another lane", 3)):
            with _server(place, sink, workers) as server, _load(server, rate):
                _wait_for_mail(sink, rate)
                _quiet(report, sink, case, given.at, what)
                if workers > 2:
                    _release(report, sink, server, case, given.content["id"])


def _wait_for_mail(sink: RecordingSink, messages: int) -> None:
    known = sink.count()
    wait_until(lambda: sink.count() > known + messages, 30.0, "mail at the sink")


def _kill_worker(server: Penstock) -> float:
    """End a lane's process and wait for the next one; when it was killed."""
    worker = server.worker("0")
    os.kill(worker, signal.SIGKILL)
    killed = time.time()
    wait_until(lambda: _is_back(server, worker), 30.0, "the lane's new process")
    return killed


def _release(report: Report, sink: RecordingSink, server: Penstock, case: Case, identity: str) -> None:
    orders = Orders(server.folder / "data")
    listed = [item["id"] for item in orders.listing()["directives"]]
    report.claim("the directive is listed as it was given", listed == [identity], ", ".join(listed))
    released = orders.cancel(identity)
    time.sleep(_DRAINED)
    arrived = sum(case.concerns(receipt) and receipt.begun > released.at for receipt in sink.receipts())
    left = orders.survey(**case.words).content["survey"]["total"]["messages"]
    report.claim("released, all goes", left < arrived / 10, f"{arrived} came, {left} on their way")


def _is_back(server: Penstock, worker: int) -> bool:
    now = status(server.folder / "data")
    return now is not None and any(lane.lane == "0" and lane.pid not in (None, worker) for lane in now.lanes)


def _quiet(report: Report, sink: RecordingSink, case: Case, since: float, what: str) -> None:
    time.sleep(3.0)
    receipts = [receipt for receipt in sink.receipts() if receipt.begun > since + _ON_ITS_WAY]
    concerned = sum(map(case.concerns, receipts))
    report.claim(
        f"{what}: nothing of it starts, the others go on",
        concerned == 0 and len(receipts) > 0,
        f"{concerned} of it, {len(receipts)} others",
    )

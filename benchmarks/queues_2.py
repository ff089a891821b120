"""queues-2: tenants share a saturated path by their weights, whatever their backlogs, and whatever each message costs."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.report import Report
from benchmarks.virtual_lane import Start, VirtualLane
from penstock.mail.configuration import PathConfig, QueueConfig, ShareBy
from penstock.mail.duration import Seconds
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import Rate

WEIGHTS: Final = {"big": 1.0, "small": 1.0, "double": 2.0}
#: How far a share may be from what the weights say, as a part of it.
TOLERANCE: Final = 0.03
#: Connections of the path: all at work, all the time.
CONNECTIONS: Final = 10
_SECONDS: Final = 0.01
_LATE: Final = 1e9


def check(report: Report, arguments: Sequence[str]) -> None:
    """Weights 1, 1, 2 and backlogs 100,000, 1,000, 100,000 on one saturated path: shares within 3%, first turn, idle shares used, by octets too."""
    parser = argparse.ArgumentParser(prog="queues-2", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--backlog", type=int, default=100_000, help="messages of each of the two large tenants"
    )
    options = parser.parse_args(arguments)
    _by_messages(report, options.backlog)
    _by_octets(report, options.backlog)
    _newcomer(report, options.backlog)
    _throttled(report, options.backlog // 10)


def queues_of(tenant: str, count: int, queues: int = 20) -> list[QueueName]:
    """The queues of so many messages of a tenant: of ten domains and some campaigns, in turn."""
    names = [QueueName(f"d{number % 10}.test", tenant, f"c{number // 10}") for number in range(queues)]
    return [names[number % queues] for number in range(count)]


def _lane(
    path: PathConfig | None = None, config: Callable[[QueueName], QueueConfig] | None = None
) -> VirtualLane:
    default = QueueConfig()
    return VirtualLane(
        config or (lambda name: default),
        path or PathConfig(connection_limit=CONNECTIONS),
        weight_of=lambda tenant: WEIGHTS.get(tenant or "", 1.0),
        seconds_of=lambda size: _SECONDS,
    )


def _fill(lane: VirtualLane, backlog: int, small: int, sizes: dict[str, int] | None = None) -> None:
    """The large tenants first, so that the small one comes to a path that is theirs."""
    sizes = sizes or {}
    for tenant, count in (("big", backlog), ("double", backlog), ("small", small)):
        lane.add(queues_of(tenant, count), sizes.get(tenant, 10_240))


def _shares(report: Report, starts: Sequence[Start], cost: Callable[[Start], float], what: str) -> None:
    """Claim the shares of those who had mail all the time."""
    used: Counter[str] = Counter()
    for start in starts:
        used[start.queue.tenant or ""] += cost(start)
    total, weights = sum(used.values()), sum(WEIGHTS[tenant] for tenant in used)
    for tenant in sorted(used):
        due = WEIGHTS[tenant] / weights
        share = used[tenant] / total
        report.claim(
            f"{tenant} (weight {WEIGHTS[tenant]:g}) has {due:.1%} of {what}",
            abs(share / due - 1) <= TOLERANCE,
            f"{share:.2%} of {total:,.0f}",
        )


def _by_messages(report: Report, backlog: int) -> None:
    report.heading(
        f"Backlogs of {backlog:,}, {backlog // 100:,} and {backlog:,}; a path of {CONNECTIONS} connections"
    )
    lane = _lane()
    _fill(lane, backlog, backlog // 100)
    begun = len(lane.starts)
    lane.run(_LATE, starts=begun + 3 * backlog // 100)
    while_all = lane.starts[begun:]
    _shares(report, while_all, lambda start: 1, "the messages, while all have mail")
    lane.run(_LATE, starts=2 * backlog + backlog // 100)
    last_small = max(place for place, start in enumerate(lane.starts) if start.queue.tenant == "small")
    after = lane.starts[last_small + 1 : last_small + 1 + backlog // 2]
    _shares(report, after, lambda start: 1, "the messages, once the small one has none: its share is used")
    spans = lane.starts[-1].time - lane.starts[0].time
    full = len(lane.starts) / (CONNECTIONS / _SECONDS)
    report.claim(
        "the path is at work all the time", spans <= full * 1.001, f"{spans:.1f} s for {full:.1f} s of work"
    )
    queues = Counter(start.queue for start in while_all if start.queue.tenant == "big")
    report.claim(
        "a tenant's queues have equal parts",
        max(queues.values()) - min(queues.values()) <= 1,
        f"{min(queues.values())} to {max(queues.values())} messages of each of {len(queues)}",
    )


def _by_octets(report: Report, backlog: int) -> None:
    report.heading("By octets: messages of 2 KB to 200 KB, and each tenant's of another size")
    rng = random.Random(1)
    lane = _lane(PathConfig(connection_limit=CONNECTIONS, share_by=ShareBy.BYTES))
    for _ in range(backlog // 10):
        for tenant, least, most in (
            ("big", 100_000, 200_000),
            ("double", 2_000, 20_000),
            ("small", 2_000, 4_000),
        ):
            lane.add([QueueName("d1.test", tenant, f"c{rng.randrange(9)}")], rng.randrange(least, most))
    begun = len(lane.starts)
    lane.run(_LATE, starts=begun + backlog // 20)
    _shares(report, lane.starts[begun:], lambda start: start.size, "the octets")


def _newcomer(report: Report, backlog: int) -> None:
    report.heading("A tenant that comes when the path is full of others' mail")
    lane = _lane()
    _fill(lane, backlog, 0)
    lane.run(1.0)
    begun = len(lane.starts)
    lane.add(queues_of("small", 1))
    lane.run(_LATE, starts=begun + 100)
    place = next(place for place, start in enumerate(lane.starts[begun:]) if start.queue.tenant == "small")
    turns = sum(WEIGHTS.values())
    report.claim(
        "its first message leaves in its first turn",
        place < turns,
        f"{place} of others' before it, {2 * backlog:,} waiting, {CONNECTIONS} at work",
    )


def _throttled(report: Report, backlog: int) -> None:
    report.heading("A tenant with a queue of 1 message a minute among its others")
    slow, free = QueueConfig(max_message_rate=Rate(1, Seconds(60.0), 1)), QueueConfig()
    name = QueueName("d1.test", "big", "slow")
    lane = _lane(config=lambda queue: slow if queue == name else free)
    lane.add([name] * backlog)
    _fill(lane, backlog, backlog)
    begun = len(lane.starts)
    lane.run(_LATE, starts=begun + backlog)
    found = lane.starts[begun:]
    _shares(report, found, lambda start: 1, "the messages")
    span = found[-1].time - lane.starts[0].time
    sent = sum(start.queue == name for start in lane.starts)
    report.claim("the queue has what its rate allows", sent == 1 + int(span / 60), f"{sent} in {span:.1f} s")

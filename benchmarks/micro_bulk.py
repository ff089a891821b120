"""What it costs to count queued mail: a million messages in 50,000 queues, by everything that surveys go by.

Run: ``python -m benchmarks.micro_bulk`` (about a minute, 1 GB). Times are of the processor, not of the clock; the garbage collector runs
as it does in the server.
"""

from __future__ import annotations

import time

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.directive import Criteria
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.survey import Grouping
from penstock.queueing.scheduler import Scheduler

_NOW = WallTime(1_763_668_800.0)
_MILLION = 1_000_000
_QUEUES = 50_000
_TENANTS = 1_000


def _full() -> Scheduler:
    """A million messages, half of them due, of a thousand tenants with fifty queues each."""
    queue, path = QueueConfig(), PathConfig()
    scheduler = Scheduler(lambda name: queue, lambda site: path)
    names = [
        QueueName(f"d{index // _TENANTS}.example", f"tenant-{index % _TENANTS}", f"c{index % 7}")
        for index in range(_QUEUES)
    ]
    for index in range(_MILLION):
        due = WallTime(_NOW + 600.0 + index * 1e-4) if index & 1 else None
        scheduler.add(names[index // 2 % _QUEUES], index, 10_240, created=_NOW, now=_NOW, due=due)
    scheduler.take_effects()
    return scheduler


def _survey(scheduler: Scheduler, what: str, criteria: Criteria, by: Grouping | None) -> None:
    steps: list[float] = []
    surveying = scheduler.survey(criteria, by)
    is_unfinished = True
    while is_unfinished:
        begin = time.thread_time()
        is_unfinished = surveying.step()
        steps.append(time.thread_time() - begin)
    total = surveying.result().total
    print(
        f"  {what:32} {total.messages:9,} messages in {total.queues:6,} queues:"
        f" {sum(steps) * 1e3:6.1f} ms, longest step {max(steps) * 1e3:.2f} ms"
    )


def main() -> None:
    """Print the figures."""
    scheduler = _full()
    print("survey of a million messages in 50,000 queues")
    _survey(scheduler, "all", Criteria(), None)
    for by in Grouping:
        _survey(scheduler, f"all, by {by.value}", Criteria(), by)
    _survey(scheduler, "a domain, by tenant", Criteria(domain="d7.example"), Grouping.TENANT)
    _survey(scheduler, "a tenant, by queue", Criteria(tenant="tenant-3"), Grouping.QUEUE)


if __name__ == "__main__":
    main()

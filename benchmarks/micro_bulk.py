"""What it costs to count queued mail, to do something to all of it, and to find one message: a million messages in 50,000 queues.

Run: ``python -m benchmarks.micro_bulk`` (about a minute, 1 GB). A sweep's time is that of the scheduler: slices of ``tick``, and what it does when
an end is recorded; what the lane needs to read and record a message is its own. Times are of the processor, not of the clock; the garbage collector
runs as it does in the server.
"""

from __future__ import annotations

import gc
import time

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.directive import Criteria, Order, Rebinding, Sweep, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.survey import Grouping
from penstock.queueing.scheduler import Scheduler

_NOW = WallTime(1_763_668_800.0)
_MILLION = 1_000_000
_QUEUES = 50_000
_TENANTS = 1_000
_NOTHING = Rebinding()


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
    gc.freeze()  # as the server does with what was queued before the start
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


def _sweep(
    scheduler: Scheduler, action: SweepAction, criteria: Criteria, rebinding: Rebinding = _NOTHING
) -> None:
    """All ends are recorded as soon as they are there."""
    slices: list[float] = []
    recording = 0.0
    gc.freeze()
    order = Order(action.value, action, "because", rebinding=rebinding)
    scheduler.sweep(Sweep(order, criteria, _NOW))
    while not scheduler.sweeps[order.id].is_over:
        begin = time.thread_time()
        scheduler.tick(_NOW)
        slices.append(time.thread_time() - begin)
        begin = time.thread_time()
        while (end := scheduler.take_end()) is not None:
            scheduler.end_recorded(end, _NOW)
        scheduler.take_effects()
        recording += time.thread_time() - begin
    done = scheduler.sweeps[order.id].done
    slices.sort()
    print(
        f"  {action.value:8} {done:9,} messages: {(sum(slices) + recording) / max(1, done) * 1e6:5.1f} us each,"
        f" {len(slices):6,} slices, longest {slices[-1] * 1e3:.2f} ms, of a hundred the second longest {slices[-1 - len(slices) // 100] * 1e3:.2f} ms"
    )


def _find(scheduler: Scheduler, position: int) -> None:
    steps: list[float] = []
    finding = scheduler.find(position)
    is_unfinished = True
    while is_unfinished:
        begin = time.thread_time()
        is_unfinished = finding.step()
        steps.append(time.thread_time() - begin)
    assert finding.row is not None
    print(f"  the last of a million: {sum(steps) * 1e3:.1f} ms, longest step {max(steps) * 1e3:.2f} ms")


def main() -> None:
    """Print the figures."""
    scheduler = _full()
    print("survey of a million messages in 50,000 queues")
    _survey(scheduler, "all", Criteria(), None)
    for by in Grouping:
        _survey(scheduler, f"all, by {by.value}", Criteria(), by)
    _survey(scheduler, "a domain, by tenant", Criteria(domain="d7.example"), Grouping.TENANT)
    _survey(scheduler, "a tenant, by queue", Criteria(tenant="tenant-3"), Grouping.QUEUE)
    print("find a message by its position")
    _find(scheduler, _MILLION - 1)
    print("sweeps")
    _sweep(scheduler, SweepAction.DELETE, Criteria(tenant="tenant-3"))
    _sweep(scheduler, SweepAction.FLUSH, Criteria(domain="d7.example"))
    _sweep(scheduler, SweepAction.FLUSH, Criteria())
    _sweep(scheduler, SweepAction.REBIND, Criteria(), Rebinding(campaign="other"))
    _sweep(scheduler, SweepAction.BOUNCE, Criteria())


if __name__ == "__main__":
    main()

"""How the process is: numbers for metrics, and a status for people."""

from __future__ import annotations

import asyncio
import heapq
import os
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import penstock
from penstock.mail.duration import WallTime
from penstock.mail.status import (
    EventLogCounts,
    ListenerStatus,
    PathStatus,
    QueueStatus,
    Snapshot,
    Status,
    TenantStatus,
)
from penstock.queueing.holds import Hold
from penstock.queueing.queues import Path, ScheduledQueue
from penstock.queueing.rows import NONE
from penstock.queueing.scheduler import Scheduler
from penstock.worker import memory

if TYPE_CHECKING:
    from penstock.worker.worker import Worker

T = TypeVar("T")

_SHOWN: Final = 20
#: Queues that are looked at in one go.
_AT_ONCE: Final = 500
_MICRO: Final = 1_000_000


def _until(hold: Hold | None) -> WallTime | None:
    return WallTime(hold.until / _MICRO) if hold is not None and hold.until else None


def _queue(scheduler: Scheduler, queue: ScheduledQueue) -> QueueStatus:
    name, oldest = str(queue.name), _oldest(scheduler, queue)
    hold = scheduler.hold or queue.hold
    if hold is not None:
        return QueueStatus(name, len(queue), oldest, f"{hold.gate}: {hold.reason}"[:300], _until(hold))
    if queue.waiting and not queue.ready and not queue.in_flight:
        wake = WallTime(queue.next_wake(scheduler.rows) / _MICRO)
        return QueueStatus(name, len(queue), oldest, "retry: no attempt is due yet", wake)
    return QueueStatus(name, len(queue), oldest)


def _oldest(scheduler: Scheduler, queue: ScheduledQueue) -> WallTime | None:
    """When the first of those that wait, or of those that are ready, was accepted, whichever is older."""
    heads = (queue.waiting_rows.head, queue.ready_rows.head)
    created = [scheduler.rows.created[row] for row in heads if row != NONE]
    return WallTime(min(created) / _MICRO) if created else None


def _path(scheduler: Scheduler, path: Path) -> PathStatus:
    hold = scheduler.hold or path.gate or path.hold
    return PathStatus(
        f"{path.source}->{path.site}",
        path.ready,
        path.connections,
        f"{hold.gate}: {hold.reason}"[:300] if hold is not None else None,
        _until(hold),
    )


async def _slices(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """What there is now, some at a time: the loop does other things in between."""
    whole = list(items)
    for begin in range(0, len(whole), _AT_ONCE):
        yield whole[begin : begin + _AT_ONCE]
        await asyncio.sleep(0)


async def snapshot(worker: Worker) -> Snapshot:
    """The numbers now; of queues, each as it is when its turn comes."""
    scheduler = worker.lane.scheduler
    by_domain: dict[str, int] = {}
    waiting = 0
    held: dict[str, int] = {}
    held_by_tenant: dict[str, int] = {}
    async for queues in _slices(scheduler.queues.values()):
        for queue in queues:
            hold = scheduler.hold or queue.hold if queue.ready else None
            if hold is not None:
                held[hold.gate] = held.get(hold.gate, 0) + queue.ready
                tenant = queue.name.tenant or ""
                held_by_tenant[tenant] = held_by_tenant.get(tenant, 0) + queue.ready
            if queue.waiting:
                waiting += queue.waiting
                domain = queue.name.domain
                by_domain[domain] = by_domain.get(domain, 0) + queue.waiting
    tally = worker.tally
    policy = worker.desk.policy
    return Snapshot(
        started=worker.started,
        epoch=worker.configuration.epoch,
        mail=tally.total,
        tenants=tally.tenants,
        event_log=EventLogCounts(is_behind=worker.feed.written < worker.spool.synced),
        spool=worker.spool.counts,
        connections_in=sum(len(listener) for listener in worker.listeners),
        connections_out=len(worker.lane.connections),
        connections_in_total=sum(listener.total for listener in worker.listeners),
        connections_out_total=worker.lane.connections_total,
        connections_denied=sum(listener.denied for listener in worker.listeners),
        messages=len(scheduler),
        scheduled=waiting,
        scheduled_queues=len(scheduler.queues),
        scheduled_by_domain=by_domain,
        held=held,
        held_by_tenant=held_by_tenant,
        refused=dict(scheduler.refused),
        ready={f"{path.source}->{path.site}": path.ready for path in scheduler.paths.values()},
        loop_lag=worker.loop_lag,
        memory=memory.resident(),
        memory_limit=worker.memory_limit,
        dns_hits=worker.lane.route_hits,
        dns_misses=worker.lane.route_misses,
        tls_handshakes=worker.desk.handshakes,
        tls_handshakes_failed=worker.desk.handshakes_failed,
        authentications_failed=worker.desk.auth_failures,
        proxy_headers_failed=worker.desk.headers_failed,
        policy=worker.policy_counts,
        handed_over={fate.value: count for fate, count in worker.crossing.neighbours.fates().items()},
        policy_lost_threads=policy.lost_threads if policy is not None else 0,
        policy_waiting_calls=policy.waiting_calls if policy is not None else 0,
    )


async def _largest(items: Iterable[T], size: Callable[[T], Any]) -> list[T]:
    found: list[T] = []
    async for some in _slices(items):
        found = heapq.nlargest(_SHOWN, [*found, *some], key=size)
    return found


async def status(worker: Worker) -> Status:
    """The state now, for people."""
    scheduler = worker.lane.scheduler
    tally = worker.tally
    queues = await _largest(scheduler.queues.values(), len)
    paths = await _largest(scheduler.paths.values(), lambda path: (path.ready, path.connections))
    tenants = heapq.nlargest(_SHOWN, tally.tenants.items(), key=lambda item: item[1].received)
    return Status(
        version=penstock.__version__,
        pid=os.getpid(),
        node=worker.configuration.node.hostname,
        started=worker.started,
        now=worker.clock.wall(),
        epoch=worker.configuration.epoch,
        spool=worker.spool.counts,
        mail=tally.total,
        rates=worker.rates(),
        event_log=EventLogCounts(is_behind=worker.feed.written < worker.spool.synced),
        fault=worker.fault(),
        connections_in=sum(len(listener) for listener in worker.listeners),
        connections_out=len(worker.lane.connections),
        messages=len(scheduler),
        scheduled_queues=len(scheduler.queues),
        loop_lag=worker.loop_lag,
        memory=memory.resident(),
        memory_limit=worker.memory_limit,
        listeners=tuple(
            ListenerStatus("smtp", address, len(listener))
            for listener in worker.listeners
            for address in listener.addresses
        ),
        tenants=tuple(TenantStatus(tenant, counts) for tenant, counts in tenants),
        queues=tuple(_queue(scheduler, queue) for queue in queues if len(queue)),
        paths=tuple(_path(scheduler, path) for path in paths),
    )

"""Makes one status and one snapshot of those of all lanes: counts are summed, the largest few of all are shown, the worst is the whole's."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.status import (
    OTHER,
    TENANT_LIMIT,
    Histogram,
    ListenerStatus,
    MailCounts,
    Snapshot,
    SpoolCounts,
    Status,
    TenantStatus,
)

_SHOWN: Final = 20
Counts = TypeVar("Counts", bound=msgspec.Struct)
Key = TypeVar("Key")


def total(parts: Sequence[Counts]) -> Counts:
    """Counts of one type, at least one, as one: numbers are summed, a flag is set if any is, a text is the first there is."""
    kind = type(parts[0])
    return kind(
        **{name: _whole([getattr(part, name) for part in parts]) for name in parts[0].__struct_fields__}
    )


def _whole(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, bool):
        return any(values)
    if isinstance(first, int | float):
        return sum(values)
    if isinstance(first, Histogram):
        counts = [sum(column) for column in zip(*(value.counts for value in values), strict=True)]
        return Histogram(first.bounds, counts, sum(value.sum for value in values))
    return next((value for value in values if value is not None), None)


def by_name(parts: Iterable[Mapping[Key, Counts]]) -> dict[Key, Counts]:
    """Counts by name: those of one name together."""
    found: dict[Key, list[Counts]] = {}
    for part in parts:
        for name, counts in part.items():
            found.setdefault(name, []).append(counts)
    return {name: total(counts) for name, counts in found.items()}


def merge_snapshots(parts: Sequence[Snapshot]) -> Snapshot:
    """One for the whole server, of at least one. The free space is the least, for lanes may share a disk."""
    summed: dict[str, Any] = {
        name: sum(getattr(part, name) for part in parts)
        for name in Snapshot.__struct_fields__
        if name.startswith(
            ("connections", "messages", "scheduled", "dns_", "tls_", "auth", "proxy", "policy_")
        )
        and name != "scheduled_by_domain"
    }
    limits = [part.memory_limit for part in parts if part.memory_limit is not None]
    return Snapshot(
        started=min(part.started for part in parts),
        epoch=min(part.epoch for part in parts),
        mail=total([part.mail for part in parts]),
        tenants=_bounded(by_name(part.tenants for part in parts)),
        event_log=total([part.event_log for part in parts]),
        spool=_spool([part.spool for part in parts]),
        scheduled_by_domain=_sums(part.scheduled_by_domain for part in parts),
        ready=_sums(part.ready for part in parts),
        loop_lag=max(part.loop_lag for part in parts),
        memory=ByteCount(sum(part.memory for part in parts)),
        memory_limit=ByteCount(sum(limits)) if limits else None,
        policy=by_name(part.policy for part in parts),
        handed_over=_sums(part.handed_over for part in parts),
        held=_sums(part.held for part in parts),
        held_by_tenant=_sums(part.held_by_tenant for part in parts),
        refused=_sums(part.refused for part in parts),
        directives=_sums(part.directives for part in parts),
        sweeps=sum(part.sweeps for part in parts),
        processes={name: process for part in parts for name, process in part.processes.items()},
        **summed,
    )


def merge_statuses(parts: Mapping[str, Status]) -> Status:
    """One for the whole server, of at least one by lane. What concerns the server itself, its pid and its faults, is the first one's."""
    statuses = list(parts.values())
    is_one = len(parts) == 1
    tenants = by_name({tenant.tenant: tenant.mail for tenant in part.tenants} for part in statuses)
    limits = [part.memory_limit for part in statuses if part.memory_limit is not None]
    shown = heapq.nlargest(_SHOWN, tenants.items(), key=lambda item: item[1].received)

    def largest(field: str, size: Callable[[Any], Any]) -> tuple[Any, ...]:
        every = [
            msgspec.structs.replace(item, lane="" if is_one else lane)
            for lane, part in parts.items()
            for item in getattr(part, field)
        ]
        return tuple(heapq.nlargest(_SHOWN, every, key=size))

    return msgspec.structs.replace(
        statuses[0],
        started=min(part.started for part in statuses),
        epoch=min(part.epoch for part in statuses),
        spool=_spool([part.spool for part in statuses]),
        mail=total([part.mail for part in statuses]),
        rates=total([part.rates for part in statuses]),
        event_log=total([part.event_log for part in statuses]),
        connections_in=sum(part.connections_in for part in statuses),
        connections_out=sum(part.connections_out for part in statuses),
        messages=sum(part.messages for part in statuses),
        scheduled_queues=sum(part.scheduled_queues for part in statuses),
        loop_lag=Seconds(max(part.loop_lag for part in statuses)),
        memory=ByteCount(sum(part.memory for part in statuses)),
        memory_limit=ByteCount(sum(limits)) if limits else None,
        listeners=_listeners(statuses),
        tenants=tuple(TenantStatus(tenant, counts) for tenant, counts in shown),
        queues=largest("queues", lambda queue: queue.messages),
        paths=largest("paths", lambda path: (path.ready, path.connections)),
    )


def _listeners(parts: Iterable[Status]) -> tuple[ListenerStatus, ...]:
    """Each address once, with the connections of all lanes."""
    connections: dict[tuple[str, str], int] = {}
    for part in parts:
        for item in part.listeners:
            key = item.protocol, item.address
            connections[key] = connections.get(key, 0) + item.connections
    return tuple(ListenerStatus(*key, count) for key, count in connections.items())


def _spool(parts: Sequence[SpoolCounts]) -> SpoolCounts:
    found = total(parts)
    found.free_bytes = min(part.free_bytes for part in parts)
    # what a lane cannot do others do for it
    if not all(part.refusing for part in parts):
        found.refusing = None
    if not all(part.fault for part in parts):
        found.fault = None
    return found


def _bounded(tenants: dict[str | None, MailCounts]) -> dict[str | None, MailCounts]:
    """The first so many tenants that were seen, and all others under one name."""
    if len(tenants) <= TENANT_LIMIT + 1:
        return tenants
    names = [name for name in tenants if name != OTHER]
    rest = [tenants[name] for name in (*names[TENANT_LIMIT:], OTHER) if name in tenants]
    return {**{name: tenants[name] for name in names[:TENANT_LIMIT]}, OTHER: total(rest)}


def _sums(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            found[name] = found.get(name, 0) + count
    return found

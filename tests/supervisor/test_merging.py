"""One status and one snapshot of those of several lanes."""

from __future__ import annotations

import msgspec

from penstock.mail.duration import ByteCount, Seconds, WallTime
from penstock.mail.status import (
    OTHER,
    TENANT_LIMIT,
    EventLogCounts,
    MailCounts,
    PathStatus,
    PolicyCounts,
    QueueStatus,
    Rates,
    Snapshot,
    SpoolCounts,
    Status,
    TenantStatus,
)
from penstock.supervisor.merging import merge_snapshots, merge_statuses
from tests.api.fake_server import snapshot, status


def test_every_number_of_a_snapshot_is_merged() -> None:
    """Two of the same are twice as much, but for what is no amount: no new field can be forgotten."""
    one = snapshot()
    merged = merge_snapshots([one, one])
    kept = {"started", "epoch", "loop_lag"}
    for name in Snapshot.__struct_fields__:
        before, after = getattr(one, name), getattr(merged, name)
        if name in kept:
            assert after == before, name
        elif isinstance(before, int | float):
            assert after == 2 * before, name
    assert merged.mail.received == 2 * one.mail.received
    assert merged.spool.syncs.counts == [2 * count for count in one.spool.syncs.counts]
    assert merged.spool.is_recovering is one.spool.is_recovering
    assert merged.spool.fault == one.spool.fault
    assert merged.spool.free_bytes == one.spool.free_bytes
    for name in ("tenants", "policy", "ready", "scheduled_by_domain"):
        assert set(getattr(merged, name)) == set(getattr(one, name)), name
    assert all(merged.ready[path] == 2 * count for path, count in one.ready.items())


def test_one_lane_is_the_whole_as_it_is() -> None:
    """With a single lane nothing is added, and nothing named."""
    one = status()
    assert merge_statuses({"0": one}) == one
    assert merge_snapshots([snapshot()]) == snapshot()


def test_what_one_lane_cannot_do_the_server_can() -> None:
    """A disk that is full for one lane refuses no mail as long as another takes it; full for all it does."""
    full = SpoolCounts(refusing="0 MiB are free", fault="the disk is full")
    both = {lane: msgspec.structs.replace(status(), spool=full) for lane in ("0", "1")}
    assert merge_statuses(both).spool.refusing == "0 MiB are free"
    well = msgspec.structs.replace(status(), spool=SpoolCounts())
    whole = merge_statuses({"0": well, "1": msgspec.structs.replace(status(), spool=full)})
    assert whole.spool.refusing is None
    assert whole.spool.fault is None


def part(lane: int, **more: object) -> Status:
    """The status of a lane."""
    made = Status(
        version="1",
        pid=lane,
        node="mta.test",
        started=WallTime(100.0 - lane),
        now=WallTime(200.0),
        epoch=1 + lane,
        spool=SpoolCounts(durability="fsync", free_bytes=1000 - lane, segments=1),
        mail=MailCounts(queued=lane, received=10),
        rates=Rates(1.0, 2.0, 0.0, 0.5),
        event_log=EventLogCounts(),
        loop_lag=Seconds(0.1 * lane),
        memory=ByteCount(100),
    )
    return msgspec.structs.replace(made, **more)


def test_a_status_sums_what_is_an_amount_and_shows_the_worst_of_what_is_not() -> None:
    """The longest lag, the least space, the oldest epoch; queues and paths say their lane."""
    merged = merge_statuses(
        {
            "0": part(
                0,
                tenants=(TenantStatus("acme", MailCounts(received=1)),),
                queues=(QueueStatus("a@a.test", 5),),
                paths=(PathStatus("s->mx.a.test", 1, 2),),
            ),
            "1": part(
                1,
                tenants=(
                    TenantStatus("acme", MailCounts(received=2)),
                    TenantStatus("b", MailCounts(received=9)),
                ),
                queues=(QueueStatus("b@b.test", 7),),
            ),
        }
    )
    assert (merged.mail.queued, merged.mail.received, merged.rates) == (1, 20, Rates(2.0, 4.0, 0.0, 1.0))
    assert (merged.epoch, merged.loop_lag, merged.memory, merged.spool.free_bytes) == (1, 0.1, 200, 999)
    assert [(item.tenant, item.mail.received) for item in merged.tenants] == [("b", 9), ("acme", 3)]
    assert [(item.queue, item.lane) for item in merged.queues] == [("b@b.test", "1"), ("a@a.test", "0")]
    assert [(item.path, item.lane) for item in merged.paths] == [("s->mx.a.test", "0")]


def test_tenants_past_the_limit_are_counted_together() -> None:
    """Each lane is bounded; all of them together are too."""
    many = [
        Snapshot(
            WallTime(1.0),
            1,
            MailCounts(),
            {f"{lane}-{number}": MailCounts(received=1) for number in range(TENANT_LIMIT)}
            | {OTHER: MailCounts(received=5)},
            EventLogCounts(),
            SpoolCounts(),
            policy={"on_mail": PolicyCounts(calls=1)},
        )
        for lane in range(3)
    ]
    merged = merge_snapshots(many)
    assert len(merged.tenants) == TENANT_LIMIT + 1
    assert merged.tenants[OTHER].received == 2 * TENANT_LIMIT + 15
    assert merged.policy["on_mail"].calls == 3

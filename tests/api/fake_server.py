"""A server to speak for: it says what a test gives it."""

from __future__ import annotations

from penstock.mail.duration import ByteCount, Seconds, WallTime
from penstock.mail.status import (
    EventLogCounts,
    ListenerStatus,
    MailCounts,
    PathStatus,
    PolicyCounts,
    ProcessNumbers,
    QueueStatus,
    Rates,
    Snapshot,
    SpoolCounts,
    Status,
    TenantStatus,
)


class FakeServer:
    """Both sources of the endpoints: ``why`` it is not live, and the ``numbers`` it gives."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.numbers = snapshot()

    def fault(self) -> str | None:
        """See StatusSource."""
        return self.why

    async def status(self) -> Status:
        """See StatusSource."""
        return status(self.why)

    async def snapshot(self) -> Snapshot:
        """See MetricsSource."""
        return self.numbers


def snapshot() -> Snapshot:
    """Different numbers everywhere, so that none can be taken for another."""
    log = EventLogCounts(lines=31, bytes=32, dropped=33, files=34, waiting=35, fault="disk full")
    log.flushes.observe(0.0002)
    log.flushes.observe(9.0)
    spool = SpoolCounts(
        durability="os",
        fault="no space left on device",
        refusing="the disk is full",
        is_recovering=True,
        segments=71,
        bytes=72,
        live_bytes=73,
        bodies=74,
        stored=75,
        failed_syncs=76,
        abandoned=77,
        quarantined=78,
        notes_dropped=79,
        copied=80,
        removed_segments=81,
        fetches=82,
        free_bytes=83,
    )
    spool.syncs.observe(0.003)
    spool.syncs.observe(0.004)
    return Snapshot(
        started=WallTime(1_700_000_000.5),
        epoch=3,
        mail=MailCounts(1, 2, 3, 4, 5, 6, 7, 8, dropped=9),
        tenants={
            None: MailCounts(41, 42, 43, 44, 45, 46, 47),
            "acme": MailCounts(51, 52, 53, 54, 55, 56, 57, dropped=58),
        },
        event_log=log,
        spool=spool,
        connections_in=11,
        connections_out=12,
        connections_in_total=13,
        connections_out_total=14,
        connections_denied=15,
        messages=16,
        scheduled=17,
        scheduled_queues=18,
        scheduled_by_domain={"dest.example": 19},
        ready={"ip-1->mx.dest.example": 20},
        loop_lag=Seconds(0.25),
        processes={
            "0": ProcessNumbers(Seconds(0.25), ByteCount(1000), 3),
            "scribe": ProcessNumbers(Seconds(0.125), ByteCount(500), 4, is_silent=True),
        },
        memory=ByteCount(21),
        memory_limit=ByteCount(22),
        dns_hits=23,
        dns_misses=24,
        tls_handshakes=25,
        tls_handshakes_failed=26,
        authentications_failed=27,
        proxy_headers_failed=28,
        policy={"on_rcpt": PolicyCounts(61, 62, 63, 64, 65.5)},
        policy_lost_threads=27,
        policy_waiting_calls=28,
        held={"suspension": 91, "tenant-rate": 92},
        held_by_tenant={"acme": 93, "": 94},
        refused={"tenant-rate": 95},
        directives={"suspend": 96},
        sweeps=97,
        handed_over={"stored": 71, "not stored": 72, "uncertain": 73, "unsent": 74},
    )


def status(fault: str | None = None) -> Status:
    """A busy server."""
    return Status(
        version="0.1.0",
        pid=4242,
        node="mta.example",
        started=WallTime(1_700_000_000.0),
        now=WallTime(1_700_012_345.0),
        epoch=3,
        spool=SpoolCounts(),
        mail=MailCounts(1, 2, 3, 4, 5, 6, 7),
        rates=Rates(1.5, 1.25, 0.5, 0.25),
        event_log=EventLogCounts(),
        fault=fault,
        connections_in=11,
        connections_out=12,
        messages=16,
        scheduled_queues=18,
        loop_lag=Seconds(0.0021),
        memory=ByteCount(300 * 1024 * 1024),
        memory_limit=ByteCount(4 * 1024**3),
        listeners=(ListenerStatus("smtp", "127.0.0.1:2525", 11), ListenerStatus("http", "127.0.0.1:8000")),
        tenants=(TenantStatus("acme", MailCounts(51)), TenantStatus(None, MailCounts(41))),
        queues=(
            QueueStatus(
                "spring:acme@dest.example",
                9,
                WallTime(1_700_012_000.0),
                "retry_interval",
                WallTime(1_700_012_405.0),
            ),
        ),
        paths=(PathStatus("ip-1->\x1b[2Jmx.dest.example", 5, 2, "connection_limit", None),),
    )

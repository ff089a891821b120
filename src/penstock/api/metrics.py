"""The metrics: which there are, and how they are read from a snapshot.

One table declares each with its name, type, help, label, and the samples it has. Names are KumoMTA's where the meaning is, so that its
dashboards go on working: counters there do not end in ``_total``, and ``service`` is ``esmtp_listener`` for mail coming in and
``smtp_client`` for mail going out. ``docs/metrics.md`` documents the same table, and a test holds them together.

No metric has more than LABEL_LIMIT label values and ``:other``: of more names the largest are shown, and the rest in sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from heapq import nlargest
from typing import Final

import msgspec

from penstock.mail.status import OTHER, Histogram, MailCounts, PolicyCounts, ProcessNumbers, Snapshot

LABEL_LIMIT: Final = 1000
_IN: Final = "esmtp_listener"
_OUT: Final = "smtp_client"


class Kind(Enum):
    """The types of the text format that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


#: Pairs of label value and number. Without a label the value is "".
Samples = Iterator[tuple[str, float]]
_Number = Callable[[Snapshot], float]
_Count = Callable[[MailCounts], float]


class Metric(msgspec.Struct, frozen=True):
    """One metric: ``label`` is "" where there is none; ``read`` gives its samples, or the whole of a histogram."""

    name: str
    kind: Kind
    help: str
    label: str
    read: Callable[[Snapshot], Samples | Histogram]


def bounded(values: Mapping[str, float], limit: int = LABEL_LIMIT) -> Samples:
    """At most ``limit`` names with their values: the largest; and the sum of all others as OTHER, if there are any."""
    if len(values) <= limit:
        yield from values.items()
        return
    named = ((name, value) for name, value in values.items() if name != OTHER)
    largest = nlargest(limit, named, key=lambda item: item[1])
    yield from largest
    yield OTHER, sum(values.values()) - sum(value for _, value in largest)


def _plain(kind: Kind, name: str, what: str, number: _Number) -> Metric:
    return Metric(name, kind, what, "", lambda snapshot: iter([("", number(snapshot))]))


def _incoming(name: str, what: str, number: _Number) -> Metric:
    return Metric(name, Kind.COUNTER, what, "service", lambda snapshot: iter([(_IN, number(snapshot))]))


def _outgoing(name: str, what: str, number: _Number) -> Metric:
    return Metric(name, Kind.COUNTER, what, "service", lambda snapshot: iter([(_OUT, number(snapshot))]))


def _by_tenant(kind: Kind, name: str, what: str, count: _Count) -> Metric:
    # The tally is bounded already, and for good: a counter that changed places with ``:other`` would run backward.
    def read(snapshot: Snapshot) -> Samples:
        for tenant, counts in snapshot.tenants.items():
            yield tenant or "", count(counts)

    return Metric(name, kind, what, "tenant", read)


def _by_hook(name: str, what: str, count: Callable[[PolicyCounts], float]) -> Metric:
    def read(snapshot: Snapshot) -> Samples:
        for hook, counts in snapshot.policy.items():
            yield hook, count(counts)

    return Metric(name, Kind.COUNTER, what, "hook", read)


def _by_process(name: str, what: str, number: Callable[[ProcessNumbers], float]) -> Metric:
    def read(snapshot: Snapshot) -> Samples:
        for process, numbers in snapshot.processes.items():
            yield process, number(numbers)

    return Metric(name, Kind.GAUGE, what, "process", read)


def _connections(snapshot: Snapshot) -> Samples:
    yield _IN, snapshot.connections_in
    yield _OUT, snapshot.connections_out


def _all_connections(snapshot: Snapshot) -> Samples:
    yield _IN, snapshot.connections_in_total
    yield _OUT, snapshot.connections_out_total


def _ready(snapshot: Snapshot) -> Samples:
    for path, messages in bounded(snapshot.ready):
        yield path if path == OTHER else f"{_OUT}:{path}", messages


def _memory_limit(snapshot: Snapshot) -> Samples:
    if snapshot.memory_limit is not None:
        yield "", snapshot.memory_limit


def _durability(snapshot: Snapshot) -> Samples:
    yield snapshot.spool.durability, 1


def _free(snapshot: Snapshot) -> Samples:
    if snapshot.spool.durability != "memory":
        yield "", snapshot.spool.free_bytes


_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE

#: Every metric, in the order it is shown. Counts of mail are of recipients.
METRICS: Final[tuple[Metric, ...]] = (
    Metric("connection_count", _GAUGE, "connections open now", "service", _connections),
    Metric("total_connection_count", _COUNTER, "connections ever made", "service", _all_connections),
    _incoming("total_connections_denied", "connections refused because a limit was reached", lambda s: s.connections_denied),
    _incoming("total_messages_received", "recipients accepted for delivery", lambda s: s.mail.received),
    _outgoing("total_messages_delivered", "recipients delivered", lambda s: s.mail.delivered),
    _outgoing("total_messages_transfail", "attempts that failed for now, by recipient", lambda s: s.mail.deferred),
    _outgoing("total_messages_fail", "recipients that failed for good", lambda s: s.mail.failed),
    _outgoing("total_messages_expired", "recipients given up because their time was over", lambda s: s.mail.expired),
    _plain(_COUNTER, "total_messages_dropped", "recipients bounced or deleted by an administrator", lambda s: s.mail.dropped),
    _plain(_COUNTER, "total_messages_quarantined", "recipients of messages that could not be read back from the spool", lambda s: s.mail.quarantined),
    _incoming("smtp_server_rejections", "replies 4yz and 5yz given to clients", lambda s: s.mail.rejected),
    _incoming("smtp_server_tls_handshakes_total", "TLS sessions of clients", lambda s: s.tls_handshakes),
    _incoming("smtp_server_tls_handshakes_failed_total", "handshakes of clients that failed", lambda s: s.tls_handshakes_failed),
    _incoming("smtp_server_auth_failures_total", "AUTH with credentials that were wrong", lambda s: s.authentications_failed),
    _incoming("smtp_server_proxy_failures_total", "connections closed for want of a right PROXY header", lambda s: s.proxy_headers_failed),
    _by_hook("policy_calls_total", "calls of a hook of the policy", lambda c: c.calls),
    _by_hook("policy_refusals_total", "refusals by a hook", lambda c: c.refusals),
    _by_hook("policy_faults_total", "calls that failed: an exception, nonsense, or too late", lambda c: c.faults),
    _by_hook("policy_late_total", "calls that were too late", lambda c: c.late),
    _by_hook("policy_seconds_total", "seconds between question and answer", lambda c: c.seconds),
    _plain(_GAUGE, "policy_waiting_calls", "calls of plain functions that wait for a thread", lambda s: s.policy_waiting_calls),
    _plain(_GAUGE, "policy_lost_threads", "threads held by calls that were too late and have not ended", lambda s: s.policy_lost_threads),
    _by_tenant(_COUNTER, "total_messages_received_by_tenant", "recipients accepted for delivery", lambda c: c.received),
    _by_tenant(_COUNTER, "total_messages_delivered_by_tenant", "recipients delivered", lambda c: c.delivered),
    _by_tenant(_COUNTER, "total_messages_transfail_by_tenant", "attempts that failed for now", lambda c: c.deferred),
    _by_tenant(_COUNTER, "total_messages_fail_by_tenant", "recipients that failed for good", lambda c: c.failed),
    _by_tenant(_COUNTER, "total_messages_expired_by_tenant", "recipients whose time was over", lambda c: c.expired),
    _by_tenant(_COUNTER, "total_messages_dropped_by_tenant", "recipients bounced or deleted by an administrator", lambda c: c.dropped),
    _plain(_GAUGE, "queued_recipients", "recipients that wait to be delivered", lambda s: s.mail.queued),
    _by_tenant(_GAUGE, "queued_recipients_by_tenant", "recipients that wait to be delivered", lambda c: c.queued),
    _plain(_GAUGE, "message_count", "messages stored", lambda s: s.messages),
    _plain(_GAUGE, "scheduled_count_total", "messages in all scheduled queues", lambda s: s.scheduled),
    _plain(_GAUGE, "scheduled_queue_count", "scheduled queues", lambda s: s.scheduled_queues),
    Metric("scheduled_by_domain", _GAUGE, "messages in scheduled queues", "domain", lambda s: bounded(s.scheduled_by_domain)),
    Metric("ready_count", _GAUGE, "messages in the ready queue of a path", "service", _ready),
    Metric("held_count", _GAUGE, "messages that are due and held, by the gate that holds them", "gate", lambda s: iter(s.held.items())),
    Metric("held_count_by_tenant", _GAUGE, "messages that are due and held", "tenant", lambda s: bounded(s.held_by_tenant)),
    Metric("tokens_refused_total", _COUNTER, "times that a rate had no token for due mail", "gate", lambda s: iter(s.refused.items())),
    Metric("directives_in_force", _GAUGE, "directives in force", "action", lambda s: iter(s.directives.items())),
    _plain(_GAUGE, "sweeps_under_way", "orders about all mail that are being carried out", lambda s: s.sweeps),
    _plain(_COUNTER, "dns_mx_resolve_cache_hit", "MX resolutions answered from the cache", lambda s: s.dns_hits),
    _plain(_COUNTER, "dns_mx_resolve_cache_miss", "MX resolutions that had to ask", lambda s: s.dns_misses),
    Metric("handed_over_total", _COUNTER, "transactions offered to another lane, by their fate", "fate", lambda s: iter(s.handed_over.items())),
    _plain(_GAUGE, "memory_usage", "octets of memory in use", lambda s: s.memory),
    Metric("memory_limit", _GAUGE, "octets of memory that may be used; absent without a limit", "", _memory_limit),
    Metric("spool_durability", _GAUGE, "1 for what a 250 means: fsync, os (the page cache), memory", "durability", _durability),
    _plain(_GAUGE, "spool_fault", "1 while the spool cannot be written; nothing is delivered then", lambda s: s.spool.fault is not None),
    _plain(_GAUGE, "spool_refusing", "1 while new mail is refused because it could not be stored", lambda s: s.spool.refusing is not None),
    _plain(_GAUGE, "spool_recovering", "1 while mail from before the start is still being read", lambda s: s.spool.is_recovering),
    _plain(_COUNTER, "spool_messages_stored_total", "messages stored", lambda s: s.spool.stored),
    Metric("spool_sync_seconds", Kind.HISTOGRAM, "how long a sync took; its count is that of commits", "", lambda s: s.spool.syncs),
    _plain(_COUNTER, "spool_syncs_failed_total", "syncs that failed", lambda s: s.spool.failed_syncs),
    _plain(_COUNTER, "spool_segments_abandoned_total", "segments given up after a failed write or sync", lambda s: s.spool.abandoned),
    _plain(_COUNTER, "spool_quarantined_total", "damaged records found", lambda s: s.spool.quarantined),
    _plain(_COUNTER, "spool_notes_dropped_total", "notes, such as rejections, that could not be written", lambda s: s.spool.notes_dropped),
    _plain(_COUNTER, "spool_fetches_total", "messages read back from the disk", lambda s: s.spool.fetches),
    _plain(_COUNTER, "spool_copied_bytes_total", "octets of queued mail copied so that segments could go", lambda s: s.spool.copied),
    _plain(_COUNTER, "spool_segments_removed_total", "segments that are gone", lambda s: s.spool.removed_segments),
    _plain(_GAUGE, "spool_segments", "segments there are", lambda s: s.spool.segments),
    _plain(_GAUGE, "spool_bytes", "octets of the spool", lambda s: s.spool.bytes),
    _plain(_GAUGE, "spool_live_bytes", "octets of queued mail in it", lambda s: s.spool.live_bytes),
    _plain(_GAUGE, "spool_body_files", "files of large contents", lambda s: s.spool.bodies),
    Metric("spool_free_bytes", _GAUGE, "octets free on the spool's file system; absent for a spool in memory", "", _free),
    _plain(_COUNTER, "event_log_lines_total", "events written to the event log", lambda s: s.event_log.lines),
    _plain(_COUNTER, "event_log_bytes_total", "octets written to the event log", lambda s: s.event_log.bytes),
    _plain(_COUNTER, "event_log_dropped_total", "events that could not be made, by a fault of ours", lambda s: s.event_log.dropped),
    _plain(_COUNTER, "event_log_files_total", "files of the event log begun", lambda s: s.event_log.files),
    _plain(_GAUGE, "event_log_waiting_bytes", "octets of events not written yet", lambda s: s.event_log.waiting),
    _plain(_GAUGE, "event_log_fault", "1 while the disk does not take events", lambda s: s.event_log.fault is not None),
    Metric("event_log_flush_seconds", Kind.HISTOGRAM, "how long a write of events held up the loop", "", lambda s: s.event_log.flushes),
    _plain(_GAUGE, "loop_lag_seconds", "the most that an event loop ran late within the last minute", lambda s: s.loop_lag),
    _by_process("process_loop_lag_seconds", "the same of each process", lambda p: p.loop_lag),
    _by_process("process_memory_bytes", "octets of memory in use by each process", lambda p: p.memory),
    _by_process("process_config_epoch", "number of the configuration that each process goes by", lambda p: p.epoch),
    _by_process("process_silent", "1 for a process that does not answer: its numbers are the last it has told", lambda p: p.is_silent),
    _plain(_GAUGE, "config_epoch", "number of the configuration in force", lambda s: s.epoch),
    _plain(_GAUGE, "process_start_time_seconds", "when the server started, in seconds since 1970", lambda s: s.started),
)  # fmt: skip

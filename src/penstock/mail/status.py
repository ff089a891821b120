"""What the server says about itself: counts of mail, a snapshot for metrics, and a status for people.

All of it is values. The process that runs the server fills them on demand; the HTTP endpoints and the command line show them.

Counts of mail are of recipients, so that they add up: ``queued`` at any quiet moment is what was queued at the start, plus ``received``,
and ``moved_in``, less ``delivered``, ``failed``, ``expired``, ``dropped``, ``quarantined`` and ``moved_out``, overall and per tenant. Over all lanes
of a server what moved out and in is the same at any quiet moment. Rejections are of replies; those to whom no tenant
is known belong to none.
Every collection here is bounded: what is past the bound is counted under OTHER, never left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from penstock.mail.duration import ByteCount, MonotonicTime, Seconds, WallTime
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    MovedRecord,
    QuarantineRecord,
    RebindRecord,
    RejectionRecord,
    RemovalRecord,
    SpoolRecord,
    Verdict,
)

#: The name of what is past a bound. A colon: no tenant, domain or path can be called so.
OTHER: Final = ":other"
#: Tenants that are counted under their own name.
TENANT_LIMIT: Final = 1000
_MINUTE: Final = 60.0
_TENANT_SAMPLES: Final = 9.5


class MailCounts(msgspec.Struct):
    """Recipients by what became of them since the start, and ``queued``, those that wait now. ``deferred`` counts outcomes, not recipients;
    ``dropped`` were bounced or deleted by an administrator, ``quarantined`` are those of messages that could not be read back. ``moved_in`` and
    ``moved_out`` came from other lanes, or from other tenants' queues, and went there.
    """

    queued: int = 0
    received: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    expired: int = 0
    rejected: int = 0
    quarantined: int = 0
    moved_in: int = 0
    moved_out: int = 0
    dropped: int = 0


class Tally:
    """Counts mail from the records that the spool is given: overall, and for the first ``limit`` tenants that are seen."""

    __slots__ = ("_limit", "tenants", "total")

    def __init__(self, limit: int = TENANT_LIMIT) -> None:
        self.total = MailCounts()
        #: by tenant; None is mail without one, OTHER every tenant past the limit
        self.tenants: dict[str | None, MailCounts] = {}
        self._limit = limit

    def restore(self, tenant: str | None, recipients: int) -> None:
        """Count recipients that were queued before the start."""
        for counts in (self.total, self._tenant(tenant)):
            counts.queued += recipients

    def add(self, record: SpoolRecord) -> None:  # hot: throughput
        """Count one record. Each is given once, when it is stored."""
        if isinstance(record, MessageRecord):
            added = len(record.recipients)
            for counts in (self.total, self._tenant(record.queue.tenant)):
                counts.received += added
                counts.queued += added
        elif isinstance(record, AttemptRecord):
            tenant = self._tenant(record.message.queue.tenant)
            for outcome in record.outcomes:
                self._add_outcome(self.total, outcome.verdict)
                self._add_outcome(tenant, outcome.verdict)
        elif isinstance(record, ExpirationRecord):
            gone = len(record.recipients)
            for counts in (self.total, self._tenant(record.message.queue.tenant)):
                counts.expired += gone
                counts.queued -= gone
        elif isinstance(record, QuarantineRecord):
            for counts in (self.total, self._tenant(record.queue.tenant)):
                counts.quarantined += record.recipients
                counts.queued -= record.recipients
        elif isinstance(record, MovedRecord):
            for counts in (self.total, self._tenant(record.queue.tenant)):
                counts.moved_in += record.recipients * record.is_in
                counts.moved_out += record.recipients * (not record.is_in)
                counts.queued += record.recipients if record.is_in else -record.recipients
        elif isinstance(record, RemovalRecord):
            gone = len(record.recipients)
            for counts in (self.total, self._tenant(record.message.queue.tenant)):
                counts.dropped += gone
                counts.queued -= gone
        elif isinstance(record, RebindRecord):
            self._rebound(record.message.queue.tenant, record.queue.tenant, len(record.recipients))
        elif isinstance(record, RejectionRecord):
            for counts in (self.total, self._tenant(record.tenant)):
                counts.rejected += 1

    def _rebound(self, before: str | None, after: str | None, recipients: int) -> None:
        """Recipients have gone from tenant to tenant: over all nothing has moved."""
        if before == after:
            return
        self._tenant(before).moved_out += recipients
        self._tenant(before).queued -= recipients
        self._tenant(after).moved_in += recipients
        self._tenant(after).queued += recipients

    @staticmethod
    def _add_outcome(counts: MailCounts, verdict: Verdict) -> None:
        if verdict is Verdict.ACCEPTED:
            counts.delivered += 1
            counts.queued -= 1
        elif verdict is Verdict.DEFERRED:
            counts.deferred += 1
        else:
            counts.failed += 1
            counts.queued -= 1

    def _tenant(self, tenant: str | None) -> MailCounts:
        counts = self.tenants.get(tenant)
        if counts is None:
            name = tenant if len(self.tenants) < self._limit else OTHER
            counts = self.tenants.setdefault(name, MailCounts())
        return counts


class Histogram(msgspec.Struct):
    """Observations by size. ``counts`` has one place per upper bound, and a last one for what is above them all."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float = 0.0

    @classmethod
    def of(cls, *bounds: float) -> Histogram:
        """An empty histogram with these upper bounds, ascending."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class PolicyCounts(msgspec.Struct, gc=False):
    """One hook of the policy since it was loaded: how often it was asked, refused, failed, and of that was late.

    ``seconds`` are those from question to verdict of all.
    """

    calls: int = 0
    refusals: int = 0
    faults: int = 0
    late: int = 0
    seconds: float = 0.0


class Rates(msgspec.Struct, frozen=True):
    """Recipients a second, over the last minute, or since the start if that is shorter."""

    received: float = 0.0
    delivered: float = 0.0
    deferred: float = 0.0
    failed: float = 0.0


class RateWindow:
    """Rates over the last minute, from samples of the counts taken about once a second."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[MonotonicTime, int, int, int, int]] = deque()

    def sample(self, now: MonotonicTime, counts: MailCounts) -> None:
        """Remember what the counts are now; samples more than a minute old go, but for the youngest of them."""
        samples = self._samples
        if samples and now - samples[-1][0] < 0.5:
            return
        samples.append((now, counts.received, counts.delivered, counts.deferred, counts.failed))
        while len(samples) > 1 and now - samples[1][0] >= _MINUTE:
            samples.popleft()

    def rates(self) -> Rates:
        """The rates between the oldest sample and the youngest; all 0 before there are two."""
        if len(self._samples) < 2:
            return Rates()
        first, last = self._samples[0], self._samples[-1]
        span = last[0] - first[0]
        return Rates(*((last[index] - first[index]) / span for index in range(1, 5)))


class TenantRates:
    """Recipients delivered a second by tenant, over the last minute, from samples of their counts taken every ten seconds."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[MonotonicTime, dict[str | None, int]]] = deque()

    def sample(self, now: MonotonicTime, tenants: Mapping[str | None, MailCounts]) -> None:
        """Remember what the counts are, if that was not done just now; samples more than a minute old go, but for the youngest of them."""
        samples = self._samples
        if samples and now - samples[-1][0] < _TENANT_SAMPLES:
            return
        samples.append((now, {tenant: counts.delivered for tenant, counts in tenants.items()}))
        while len(samples) > 1 and now - samples[1][0] >= _MINUTE:
            samples.popleft()

    def rate(
        self, tenant: str | None, now: MonotonicTime, tenants: Mapping[str | None, MailCounts]
    ) -> float | None:
        """The rate of a tenant between the oldest sample and now; None for one without counts of its own, and before the first sample."""
        counts = tenants.get(tenant)
        if counts is None or not self._samples or now <= self._samples[0][0]:
            return None
        since, before = self._samples[0]
        return (counts.delivered - before.get(tenant, 0)) / (now - since)


class EventLogCounts(msgspec.Struct):
    """What the event log did since the start. ``waiting`` octets are not written yet; ``fault`` says why the disk does not take them.

    ``dropped``: events that could not be made. ``is_behind``: of some of what is stored events are still to be made, from the spool's log.
    """

    lines: int = 0
    bytes: int = 0
    dropped: int = 0
    files: int = 0
    waiting: int = 0
    flushes: Histogram = msgspec.field(
        default_factory=lambda: Histogram.of(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
    )
    fault: str | None = None
    is_behind: bool = False


#: How sure a 250 is.
Durability = Literal["fsync", "os", "memory"]


class SpoolCounts(msgspec.Struct):
    """What the spool is, and did since the start.

    ``fault`` is why nothing can be written now, ``refusing`` why new mail is refused; None while that is not so. ``is_recovering``: mail
    from before the start is still being read. ``segments`` and ``bytes`` are files and octets of the log; ``live_bytes`` those of
    queued messages; ``bodies`` the files of large contents. ``stored`` counts messages, ``syncs`` successful syncs by seconds,
    ``abandoned`` segments after a failed write or sync, ``quarantined`` damaged records, ``copied`` octets that reclaim moved,
    ``fetches`` messages read back from the disk; ``free_bytes`` is what the file system has left.
    """

    durability: Durability = "memory"
    fault: str | None = None
    refusing: str | None = None
    is_recovering: bool = False
    segments: int = 0
    bytes: int = 0
    live_bytes: int = 0
    bodies: int = 0
    stored: int = 0
    syncs: Histogram = msgspec.field(
        default_factory=lambda: Histogram.of(
            0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0
        )
    )
    failed_syncs: int = 0
    abandoned: int = 0
    quarantined: int = 0
    notes_dropped: int = 0
    copied: int = 0
    removed_segments: int = 0
    fetches: int = 0
    free_bytes: int = 0


class ProcessNumbers(msgspec.Struct, frozen=True):
    """One process of the server: the most that its loop ran late within the last minute, the memory that it takes, the epoch that it goes by.

    ``is_silent``: these are from before, for it did not answer.
    """

    loop_lag: Seconds
    memory: ByteCount
    epoch: int
    is_silent: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """The numbers behind the metrics at one instant; the maps and counts in it may be the live ones, and are read at once.

    ``messages`` are stored, ``scheduled`` of them wait in ``scheduled_queues`` queues, the others are in ready queues and in flight.
    ``ready`` is by path, written ``source->site_name``; ``scheduled_by_domain`` and ``ready`` may hold any number of names, the largest
    are shown. ``policy`` is by hook; ``policy_lost_threads`` have a hook that was late and has not ended, ``policy_waiting_calls``
    wait for a thread. ``handed_over`` are transactions offered to other lanes, by what became of them. ``loop_lag`` is the most that the event
    loop ran late within the last minute. Totals count since the start.
    ``processes`` are by name: that of its lane, or ``scribe``. ``held`` are ready messages by the gate that holds them, ``held_by_tenant`` the same
    by tenant ("": mail without one), ``refused`` how often mail was refused a token, by gate; ``directives`` those in force by action, ``sweeps``
    those under way.
    """

    started: WallTime
    epoch: int
    mail: MailCounts
    tenants: Mapping[str | None, MailCounts]
    event_log: EventLogCounts
    spool: SpoolCounts
    connections_in: int = 0
    connections_out: int = 0
    connections_in_total: int = 0
    connections_out_total: int = 0
    connections_denied: int = 0
    messages: int = 0
    scheduled: int = 0
    scheduled_queues: int = 0
    scheduled_by_domain: Mapping[str, int] = {}
    ready: Mapping[str, int] = {}
    loop_lag: Seconds = Seconds(0.0)
    memory: ByteCount = ByteCount(0)
    memory_limit: ByteCount | None = None
    dns_hits: int = 0
    dns_misses: int = 0
    tls_handshakes: int = 0
    tls_handshakes_failed: int = 0
    authentications_failed: int = 0
    proxy_headers_failed: int = 0
    policy: Mapping[str, PolicyCounts] = {}
    policy_lost_threads: int = 0
    policy_waiting_calls: int = 0
    processes: Mapping[str, ProcessNumbers] = {}
    handed_over: Mapping[str, int] = {}
    held: Mapping[str, int] = {}
    held_by_tenant: Mapping[str, int] = {}
    refused: Mapping[str, int] = {}
    directives: Mapping[str, int] = {}
    sweeps: int = 0


class ListenerStatus(msgspec.Struct, frozen=True):
    """One listening address, ``protocol`` ``smtp`` or ``http``, and the connections it has now."""

    protocol: str
    address: str
    connections: int = 0


class TenantStatus(msgspec.Struct, frozen=True):
    """The counts of one tenant; ``tenant`` None is mail without one, OTHER those that have no counts of their own."""

    tenant: str | None
    mail: MailCounts


class QueueStatus(msgspec.Struct, frozen=True):
    """One scheduled queue: messages in it, when the oldest was received, what holds it (None: nothing), and until when, where known.

    ``lane`` is where it is; "" where there is one lane.
    """

    queue: str
    messages: int
    oldest: WallTime | None = None
    held_by: str | None = None
    until: WallTime | None = None
    lane: str = ""


class PathStatus(msgspec.Struct, frozen=True):
    """One path, ``source->site_name``: messages ready for it, its connections, what holds it back (None: nothing), and until when.

    ``lane`` is where it is; "" where there is one lane.
    """

    path: str
    ready: int
    connections: int
    held_by: str | None = None
    until: WallTime | None = None
    lane: str = ""


class LaneStatus(msgspec.Struct, frozen=True):
    """One lane, and the process that is it. ``pid`` is None while there is none; ``phase`` is absent, starting, ready, ending or silent.

    What a process says of itself is from its last answer, None before the first: ``epoch``, ``fault`` (why it takes no mail), ``messages`` and the
    rest. ``starts`` counts its processes, ``sync`` is the mean seconds of a sync since its start. ``domains`` are those of a dedicated lane.
    """

    lane: str
    phase: str
    pid: int | None = None
    starts: int = 0
    epoch: int | None = None
    fault: str | None = None
    messages: int | None = None
    rates: Rates | None = None
    sync: Seconds | None = None
    loop_lag: Seconds | None = None
    memory: ByteCount | None = None
    connections_in: int | None = None
    connections_out: int | None = None
    domains: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The server at one instant, for people. ``tenants``, ``queues`` and ``paths`` are the largest few, largest first.

    ``fault`` is why the server is not live, None when it is. ``spool`` says also how sure a 250 is. All counts are sums over the lanes;
    ``silent`` are lanes that did not answer, so that theirs are missing. ``homes`` are lanes by site, where they are settled otherwise than by
    the hash. ``upgrade_refused``: when an upgrade last came to nothing, and why. ``directives`` are in force, ``sweeps`` under way.
    """

    version: str
    pid: int
    node: str
    started: WallTime
    now: WallTime
    epoch: int
    spool: SpoolCounts
    mail: MailCounts
    rates: Rates
    event_log: EventLogCounts
    fault: str | None = None
    connections_in: int = 0
    connections_out: int = 0
    messages: int = 0
    scheduled_queues: int = 0
    loop_lag: Seconds = Seconds(0.0)
    memory: ByteCount = ByteCount(0)
    memory_limit: ByteCount | None = None
    listeners: tuple[ListenerStatus, ...] = ()
    tenants: tuple[TenantStatus, ...] = ()
    queues: tuple[QueueStatus, ...] = ()
    paths: tuple[PathStatus, ...] = ()
    lanes: tuple[LaneStatus, ...] = ()
    silent: tuple[str, ...] = ()
    homes: Mapping[str, str] = {}
    upgrade_refused: tuple[WallTime, str] | None = None
    directives: int = 0
    sweeps: int = 0

"""What came of a blast."""

from __future__ import annotations

import msgspec

from penstock.sim.blast.histogram import LatencySummary


class SinkFigures(msgspec.Struct, frozen=True):
    """What the attached sink told. All counts are of recipients but ``messages`` (receipts), ``misdelivered`` and ``changed`` (messages).

    ``lost`` were accepted and had not come when the grace was over. ``delivery`` is from our reading of the 250 to the sink's reading of
    the last octet.
    """

    endpoints: tuple[str, ...]
    messages: int
    received: int
    lost: int
    duplicates: int
    unaccepted: int
    misdelivered: int
    changed: int
    has_died: bool
    delivery: LatencySummary

    @property
    def is_clean(self) -> bool:
        """Whether everything came that was accepted: once, whole, to whom it was sent; and nothing else."""
        wrong = self.lost + self.duplicates + self.unaccepted + self.misdelivered + self.changed
        return not wrong and not self.has_died


class TenantFigures(msgspec.Struct, frozen=True):
    """One tenant's part. ``accepted``, ``refused`` and ``failed`` are messages, ``received`` recipients; ``delivery`` None without a sink."""

    accepted: int
    refused: int
    failed: int
    received: int
    delivery: LatencySummary | None


class BlastReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a blast. Latencies and ``duration`` are seconds; ``duration`` is from the first message to the last reply.

    ``begun`` messages were given to a connection; each is ``accepted``, ``refused_temporarily``, ``refused_permanently``, ``failed`` (its
    connection ended before its content was sent) or ``unknown`` (ended behind it: the server may have the message). ``unsent`` were due
    and were never begun. ``recipients_refused`` are those of accepted messages. ``replies`` counts the deciding replies by class,
    ``errors`` refusals and broken connections by text, of which a limited number is told apart.
    ``acceptance`` is from the scheduled time to the 2yz behind the content; ``lag``, at a rate, from the scheduled time to the beginning.
    """

    seed: int
    ended_by: str
    duration: float
    begun: int
    accepted: int
    refused_temporarily: int
    refused_permanently: int
    failed: int
    unknown: int
    unsent: int
    recipients_accepted: int
    recipients_refused: int
    bytes: int
    messages_per_second: float
    bytes_per_second: float
    connections: int
    connections_failed: int
    replies: dict[str, int]
    errors: dict[str, int]
    acceptance: LatencySummary
    lag: LatencySummary | None
    sink: SinkFigures | None
    tenants: dict[str, TenantFigures]

    @property
    def is_clean(self) -> bool:
        """Whether something was sent and all of it was accepted, to every recipient, and came where a sink was attached."""
        all_accepted = 0 < self.begun == self.accepted and not self.recipients_refused
        return all_accepted and (self.sink is None or self.sink.is_clean)


class BlastProgress(msgspec.Struct, frozen=True):
    """Where a blast stands. ``total`` is the number of messages it will send, or 0 if that is open; ``fraction`` of it or of its time."""

    elapsed: float
    begun: int
    accepted: int
    refused: int
    received: int
    awaited: int
    total: int
    fraction: float | None

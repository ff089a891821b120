"""Counts of a running blast, and the report made of them."""

from __future__ import annotations

import re
from typing import Final

from penstock.sim.blast.histogram import Histogram
from penstock.sim.blast.ledger import Ledger
from penstock.sim.blast.report import BlastReport, SinkFigures, TenantFigures
from penstock.sim.blast.session import Job

#: Texts of errors told apart; more are counted together.
_ERRORS_LIMIT: Final = 20
_OTHERS: Final = "(others)"
_TEXT_LIMIT: Final = 120
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class _TenantCount:
    __slots__ = ("accepted", "failed", "refused")

    def __init__(self) -> None:
        self.accepted = self.refused = self.failed = 0


class Tally:
    """Counts. ``first_at`` and ``last_at`` are the times of the first message begun and the last reply."""

    def __init__(self, tenants: tuple[str, ...], *, has_rate: bool) -> None:
        self.begun = self.accepted = self.refused_temporarily = self.refused_permanently = 0
        self.failed = self.unknown = self.recipients_accepted = self.recipients_refused = 0
        self.bytes = self.connections = self.connections_failed = 0
        self.first_at = self.last_at = 0.0
        self.acceptance = Histogram()
        self.lag = Histogram() if has_rate else None
        self.errors: dict[str, int] = {}
        self.replies: dict[str, int] = {"2yz": 0, "3yz": 0, "4yz": 0, "5yz": 0}
        self._tenants = tenants
        self._by_tenant = [_TenantCount() for _ in tenants]

    @property
    def refused(self) -> int:
        """Messages the server refused."""
        return self.refused_temporarily + self.refused_permanently

    def begin(self, job: Job) -> None:  # hot: throughput
        """A connection took a message."""
        if not self.begun:
            self.first_at = job.begun
        self.begun += 1
        if self.lag is not None:
            self.lag.record(job.begun - job.scheduled)

    def accept(self, job: Job, now: float) -> None:  # hot: throughput
        """The server accepted a message."""
        self.accepted += 1
        self.last_at = now
        self.replies["2yz"] += 1
        self.bytes += len(job.mail.content) - 3
        self.recipients_accepted += len(job.accepted)
        self.recipients_refused += len(job.mail.recipients) - len(job.accepted)
        self.acceptance.record(now - job.scheduled)
        self._by_tenant[job.mail.tenant].accepted += 1

    def refuse(self, job: Job, reply: bytes, now: float) -> None:
        """The server refused a message."""
        self.last_at = now
        kind = f"{reply[:1].decode('ascii', 'replace')}yz"
        self.replies[kind if kind in self.replies else "5yz"] += 1
        if kind == "5yz":
            self.refused_permanently += 1
        else:
            self.refused_temporarily += 1
        self._by_tenant[job.mail.tenant].refused += 1
        self.error(reply.decode("utf-8", "replace"))

    def break_off(self, job: Job | None, why: str, now: float) -> None:
        """A connection ended, in the middle of a message or of nothing."""
        self.error(why)
        if job is None:
            return
        self.last_at = now
        self._by_tenant[job.mail.tenant].failed += 1
        if job.was_content_sent:
            self.unknown += 1
        else:
            self.failed += 1

    def error(self, text: str) -> None:
        """Count an error by its text."""
        text = _UNPRINTABLE.sub("?", text)[:_TEXT_LIMIT]
        if text not in self.errors and len(self.errors) >= _ERRORS_LIMIT:
            text = _OTHERS
        self.errors[text] = self.errors.get(text, 0) + 1

    def report(
        self, *, seed: int, ended_by: str, unsent: int, ledger: Ledger | None, sink: SinkFigures | None
    ) -> BlastReport:
        """The report as of now."""
        duration = max(self.last_at - self.first_at, 0.0)
        tenants = {
            name: TenantFigures(
                accepted=counts.accepted,
                refused=counts.refused,
                failed=counts.failed,
                received=ledger.received_by_tenant[index] if ledger else 0,
                delivery=ledger.by_tenant[index].summary() if ledger else None,
            )
            for index, (name, counts) in enumerate(zip(self._tenants, self._by_tenant, strict=True))
            if name
        }
        return BlastReport(
            seed=seed,
            ended_by=ended_by,
            duration=duration,
            begun=self.begun,
            accepted=self.accepted,
            refused_temporarily=self.refused_temporarily,
            refused_permanently=self.refused_permanently,
            failed=self.failed,
            unknown=self.unknown,
            unsent=unsent,
            recipients_accepted=self.recipients_accepted,
            recipients_refused=self.recipients_refused,
            bytes=self.bytes,
            messages_per_second=self.accepted / duration if duration else 0.0,
            bytes_per_second=self.bytes / duration if duration else 0.0,
            connections=self.connections,
            connections_failed=self.connections_failed,
            replies=self.replies,
            errors=dict(sorted(self.errors.items(), key=lambda item: -item[1])),
            acceptance=self.acceptance.summary(),
            lag=self.lag.summary() if self.lag else None,
            sink=sink,
            tenants=tenants,
        )


def sink_figures(ledger: Ledger, endpoints: tuple[str, ...], *, has_died: bool) -> SinkFigures:
    """What the ledger says about the attached sink at the end: what is still awaited is lost."""
    return SinkFigures(
        endpoints=endpoints,
        messages=ledger.messages,
        received=ledger.received,
        lost=ledger.awaited,
        duplicates=ledger.duplicates,
        unaccepted=ledger.unaccepted,
        misdelivered=ledger.misdelivered,
        changed=ledger.changed,
        has_died=has_died,
        delivery=ledger.delivery.summary(),
    )

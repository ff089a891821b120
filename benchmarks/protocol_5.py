"""protocol-5: with the protocol complete, relay's throughput line still holds."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import relay_2
from benchmarks.report import Report


def check(report: Report, arguments: Sequence[str]) -> None:
    """Throughput as in relay-2: at least 5 times a stock Postfix, interleaved."""
    relay_2.check(report, arguments)

"""A histogram of latencies in fixed memory: exact count, sum and extremes, percentiles within 0.8 percent.

Microseconds fall into buckets that double in width every 128 of them, as in HdrHistogram: below 256 us each has its own, above that the
seven bits behind the first tell them apart. The last one ends after 19 hours; what is longer is counted there.
"""

from __future__ import annotations

from array import array
from typing import Final

import msgspec

_FINE_BITS: Final = 8
_HALF: Final = 1 << (_FINE_BITS - 1)
_LONGEST: Final = (1 << 36) - 1
_BUCKETS: Final = (36 - _FINE_BITS) * _HALF + 2 * _HALF


class LatencySummary(msgspec.Struct, frozen=True):
    """Latencies in seconds; all 0.0 where ``count`` is 0."""

    count: int
    min: float
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Histogram:
    """Counts of latencies."""

    __slots__ = ("_buckets", "_longest", "_shortest", "_total", "count")

    def __init__(self) -> None:
        self.count = 0
        self._total = 0.0
        self._shortest = float("inf")
        self._longest = 0.0
        self._buckets = array("Q", bytes(8 * _BUCKETS))

    def record(self, seconds: float) -> None:  # hot: throughput
        """Count one latency; a negative one as 0."""
        seconds = max(seconds, 0.0)
        self.count += 1
        self._total += seconds
        if seconds > self._longest:
            self._longest = seconds
        if seconds < self._shortest:
            self._shortest = seconds
        value = min(int(seconds * 1e6), _LONGEST)
        shift = value.bit_length() - _FINE_BITS
        self._buckets[(shift * _HALF) + (value >> shift) if shift > 0 else value] += 1

    def percentile(self, percent: float) -> float:
        """The latency in seconds that ``percent`` of the counted ones do not exceed, within a bucket's width; 0.0 if none was counted."""
        wanted = max(1, -(-self.count * percent // 100))
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(_upper_edge(index) / 1e6, self._longest)
        return 0.0

    def summary(self) -> LatencySummary:
        """What has been counted so far."""
        if not self.count:
            return LatencySummary(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        return LatencySummary(
            count=self.count,
            min=self._shortest,
            mean=self._total / self.count,
            p50=self.percentile(50),
            p90=self.percentile(90),
            p99=self.percentile(99),
            p999=self.percentile(99.9),
            max=self._longest,
        )


def _upper_edge(index: int) -> int:
    """The least number of microseconds above a bucket."""
    if index < 2 * _HALF:
        return index + 1
    shift = index // _HALF - 1
    return (index - shift * _HALF + 1) << shift

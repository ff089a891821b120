"""Latencies in fixed memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sim.blast.histogram import Histogram

LATENCIES = st.lists(st.floats(min_value=0.0, max_value=60_000.0), min_size=1, max_size=200)


@given(LATENCIES, st.sampled_from([1.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_percentiles_are_exact_within_a_bucket(latencies: list[float], percent: float) -> None:
    """At most 0.8 percent, or a microsecond, above the sorted list's own; never below it by more than rounding."""
    histogram = Histogram()
    for latency in latencies:
        histogram.record(latency)
    exact = sorted(latencies)[max(math.ceil(len(latencies) * percent / 100), 1) - 1]
    assert exact - 1e-6 <= histogram.percentile(percent) <= exact * 1.008 + 2e-6


@given(LATENCIES)
def test_count_mean_and_extremes_are_exact(latencies: list[float]) -> None:
    """They are not read off the buckets."""
    histogram = Histogram()
    for latency in latencies:
        histogram.record(latency)
    summary = histogram.summary()
    assert (summary.count, summary.min, summary.max) == (len(latencies), min(latencies), max(latencies))
    assert summary.mean == pytest.approx(sum(latencies) / len(latencies))


def test_an_empty_histogram_says_nothing() -> None:
    """All zero, no error."""
    assert Histogram().summary().max == Histogram().percentile(50) == 0.0


def test_what_is_out_of_range_is_counted_at_the_edge() -> None:
    """Negative is zero; a week is more than the last bucket."""
    histogram = Histogram()
    histogram.record(-1.0)
    histogram.record(604_800.0)
    summary = histogram.summary()
    assert (summary.min, summary.max, summary.count) == (0.0, 604_800.0, 2)

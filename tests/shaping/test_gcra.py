"""The cell rate algorithm against a plain count of what any window may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.rate import parse_rate
from penstock.shaping import gcra


def allowed(text: str, times: list[float]) -> list[float]:
    """The times of those at which an event was let through."""
    rate, arrival, passed = parse_rate(text), 0.0, []
    for now in times:
        if gcra.is_open(arrival, now, rate):
            arrival = gcra.charged(arrival, now, rate)
            passed.append(now)
    return passed


def test_a_burst_goes_through_at_once_and_the_rest_at_the_rate() -> None:
    """5/minute: five, then one each twelve seconds."""
    assert allowed("5/minute", [100.0] * 20 + [111.9, 112.0, 112.0, 124.0, 300.0]) == [
        *[100.0] * 5,
        112.0,
        124.0,
        300.0,
    ]


def test_without_a_burst_events_are_one_interval_apart() -> None:
    """max_burst=1, though nothing happened for long."""
    assert allowed("5/minute,max_burst=1", [1000.0, 1000.0, 1011.0, 1012.0]) == [1000.0, 1012.0]


def test_the_instant_at_which_it_opens_is_exact() -> None:
    """A wait until ``opens_at`` is never a moment too short."""
    rate, arrival = parse_rate("3/s"), 0.0
    now = 50.0
    for _ in range(1000):
        now = max(now, gcra.opens_at(arrival, rate))
        assert gcra.is_open(arrival, now, rate)
        arrival = gcra.charged(arrival, now, rate)
    assert abs(now - (50.0 + 997 / 3)) < 1e-6


@given(
    st.integers(1, 20),
    st.integers(1, 5),
    st.lists(st.floats(0, 3.0), min_size=1, max_size=100),
)
def test_no_window_holds_more_than_the_burst_and_the_rate(count: int, burst: int, gaps: list[float]) -> None:
    """In any time t, at most burst + t * rate."""
    now, times = 10.0, []
    for gap in gaps:
        now += gap
        times += [now] * 3
    passed = allowed(f"{count}/s,max_burst={burst}", times)
    for place, first in enumerate(passed):
        for last in range(place, len(passed)):
            assert last - place + 1 <= burst + (passed[last] - first) * count + 1e-3

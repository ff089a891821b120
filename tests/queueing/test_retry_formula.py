"""When a deferred message is tried again: the formula, its cap and its jitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.configuration import QueueConfig
from penstock.mail.duration import Seconds
from penstock.queueing.retry import retry_delay


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 20), (2, 40), (3, 80), (4, 160), (5, 320)])
def test_the_interval_doubles_from_the_first_retry_on(attempts: int, minutes: int) -> None:
    """retry_interval * 2**(n-1) after the n-th attempt; a draw of a half is no jitter."""
    assert retry_delay(QueueConfig(), attempts, 0.5) == minutes * 60


@given(
    st.floats(0.001, 10**6),
    st.none() | st.floats(0.001, 10**6),
    st.integers(1, 65_535),
    st.floats(0, 1, exclude_max=True),
)
def test_it_is_capped_and_jittered_within_its_bounds(
    interval: float, cap: float | None, attempts: int, draw: float
) -> None:
    """Jitter is at most a fortieth of the interval and 30 s, either way, around the capped delay."""
    config = QueueConfig(Seconds(interval), None if cap is None else Seconds(cap))
    expected = interval * 2.0 ** min(attempts - 1, 40)
    if cap is not None:
        expected = min(expected, cap)
    jitter = min(interval / 40, 30.0)
    tolerance = expected * 1e-9
    assert (
        max(0.0, expected - jitter) - tolerance
        <= retry_delay(config, attempts, draw)
        <= expected + jitter + tolerance
    )

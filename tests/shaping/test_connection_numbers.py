"""How many connections a path wants, and how long it rests after failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.shaping.connections import connections_wanted, reconnect_delay


@pytest.mark.parametrize(
    ("messages", "expected"), [(0, 0), (1, 1), (10, 7), (32, 17), (64, 25), (128, 31), (256, 32), (10**6, 32)]
)
def test_connections_follow_the_mail_by_the_known_curve(messages: int, expected: int) -> None:
    """ceil(limit * (1 - e**(-0.023 n))) with a limit of 32."""
    assert connections_wanted(32, messages) == expected


@given(st.integers(1, 10_000), st.integers(0, 10**7))
def test_there_are_never_more_connections_than_the_limit_or_the_mail(limit: int, messages: int) -> None:
    """And one at least where there is mail."""
    wanted = connections_wanted(limit, messages)
    assert min(1, messages) <= wanted <= min(limit, messages)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_dead_site_rests_longer_each_time_up_to_five_minutes(failures: int, draw: float) -> None:
    """One second doubling to 300, never more than a quarter earlier."""
    full = min(2.0 ** min(failures - 1, 30), 300.0)
    assert 0.75 * full <= reconnect_delay(failures, draw) <= full

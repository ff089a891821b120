"""Rates and numbers of a lane alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.rate import parse_rate
from penstock.shaping.own import OwnRates


@given(st.sampled_from(["5/minute", "10/s,max_burst=1", "3/2s"]), st.lists(st.floats(0, 20), max_size=60))
def test_who_is_refused_is_told_at_the_instant(text: str, gaps: list[float]) -> None:
    """Then it may, and a moment before it may not."""
    rate, rates, now = parse_rate(text), OwnRates(), 5.0
    for gap in gaps:
        now += gap
        held = rates.take("a", rate, now)
        if held is not None:
            assert rates.next_wake() <= held.until
            rates.wake(held.until)
            assert rates.opened == ["a"]
            rates.opened.clear()
            assert rates.take("a", rate, (now + held.until) / 2 - 1e-4) is not None
            now = held.until
            assert rates.take("a", rate, now) is None


def test_a_rate_that_was_changed_owes_no_more_than_a_full_bucket() -> None:
    """5/h and then 100/s: not an hour of waiting."""
    rates = OwnRates()
    for _ in range(5):
        rates.take("a", parse_rate("5/h"), 10.0)
    held = rates.take("a", parse_rate("100/s"), 10.0)
    assert held is not None and held.until < 10.02


def test_rates_are_forgotten() -> None:
    """A name that comes once costs nothing for ever."""
    rates = OwnRates()
    for number in range(1000):
        assert rates.take(f"key {number}", parse_rate("100/s"), float(number)) is None
    assert len(rates) < 5

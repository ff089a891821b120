"""Rates and numbers of a lane alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.configuration import Limit
from penstock.mail.rate import Rate, parse_rate
from penstock.shaping import gcra
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


def limit_of(rate: Rate, key: str = "a") -> Limit:
    """A rate as the limit that it is."""
    return Limit("queue-rate", key, rate)


def as_if_never(events: list[float], rate: Rate) -> float:
    """The arrival time after these events alone."""
    arrival = 0.0
    for event in events:
        arrival = gcra.charged(arrival, event, rate)
    return arrival


@given(
    st.sampled_from(["5/minute", "5/minute,max_burst=1", "3/2s"]),
    st.lists(st.tuples(st.floats(0, 20), st.one_of(st.none(), st.integers(0, 40))), max_size=60),
)
def test_what_is_given_back_has_not_happened(text: str, steps: list[tuple[float, int | None]]) -> None:
    """Whichever of the latest events it is, and whatever came after it: what may happen is what the others leave room for."""
    rate, rates, now = parse_rate(text), OwnRates(), 5.0
    events: list[float] = []
    for gap, back in steps:
        now += gap
        if rates.take("a", rate, now) is None:
            events.append(now)
        if back is not None and back < len(events):
            rates.give_back(limit_of(rate), events.pop(-1 - back), now)
        assert rates.room(limit_of(rate), now) == gcra.room(as_if_never(events, rate), now, rate)


def test_who_waits_hears_of_what_is_given_back() -> None:
    """At once, not when the event that has not happened would have made room."""
    rate, rates = parse_rate("5/minute,max_burst=1"), OwnRates()
    assert rates.take("a", rate, 10.0) is None
    assert rates.take("a", rate, 11.0) is not None
    rates.give_back(limit_of(rate), 10.0, 12.0)
    assert rates.next_wake() == 12.0
    rates.wake(12.0)
    assert rates.opened == ["a"] and rates.take("a", rate, 12.0) is None


def test_what_never_happened_cannot_be_given_back() -> None:
    """Nor what was given back before."""
    rate, rates = parse_rate("2/minute"), OwnRates()
    for taken in (10.0, 20.0):
        assert rates.take("a", rate, taken) is None
    rates.give_back(limit_of(rate), 15.0, 21.0)
    rates.give_back(limit_of(rate, "b"), 15.0, 21.0)
    assert rates.room(limit_of(rate), 21.0) == 0
    rates.give_back(limit_of(rate), 20.0, 21.0)
    rates.give_back(limit_of(rate), 20.0, 21.0)
    assert rates.room(limit_of(rate), 21.0) == 1


def test_an_event_counts_for_all_its_limits_or_for_none() -> None:
    """The one that holds it is told; the one before it has lost nothing."""
    wide, narrow, rates = parse_rate("10/minute"), parse_rate("1/minute"), OwnRates()
    asked = [limit_of(wide, "wide"), limit_of(narrow, "narrow")]
    assert rates.take_all(asked, 10.0) is None
    for _ in range(20):
        refused = rates.take_all(asked, 11.0)
        assert refused is not None and refused[0] == 1 and refused[1].until == pytest.approx(70.0)
    assert rates.room(asked[0], 11.0) == 9
    rates.wake(70.0)
    assert rates.opened == ["narrow"] and rates.take_all(asked, 70.0) is None


def test_looking_costs_nothing() -> None:
    """And yet who would be refused is told when not to be."""
    rate, rates = parse_rate("1/minute"), OwnRates()
    for _ in range(3):
        assert rates.check([limit_of(rate)], 10.0) is None
    assert rates.take("a", rate, 10.0) is None
    assert rates.check([limit_of(rate)], 11.0) is not None and rates.next_wake() == pytest.approx(70.0)

"""Repeatable chance."""

from __future__ import annotations

from collections import Counter

import pytest

from penstock.sim.draw import WeightedChoice, fixed_draw, seeded_draw


def test_the_same_seed_draws_the_same_numbers() -> None:
    """And another seed others."""
    first, again, other = seeded_draw(7), seeded_draw(7), seeded_draw(8)
    numbers = [first() for _ in range(5)]
    assert numbers == [again() for _ in range(5)] != [other() for _ in range(5)]


def test_fixed_draws_repeat() -> None:
    """After the last comes the first."""
    draw = fixed_draw(0.1, 0.9)
    assert [draw(), draw(), draw()] == [0.1, 0.9, 0.1]


@pytest.mark.parametrize("values", [(), (1.0,), (-0.1,)])
def test_what_is_no_draw_is_refused(values: tuple[float, ...]) -> None:
    """A draw is at least 0 and below 1."""
    with pytest.raises(ValueError, match="draws are"):
        fixed_draw(*values)


def test_weights_are_kept_in_the_long_run() -> None:
    """Three to one is three to one, within what chance allows."""
    choice, draw = WeightedChoice({"a": 3.0, "b": 1.0}), seeded_draw(1)
    counts = Counter(choice(draw) for _ in range(10_000))
    assert 7300 < counts["a"] < 7700


def test_the_edges_of_a_draw_choose_the_first_and_the_last() -> None:
    """0.0 is the first item, the largest draw the last."""
    choice = WeightedChoice({"a": 1.0, "b": 1.0})
    assert choice(fixed_draw(0.0)) == "a"
    assert choice(fixed_draw(0.9999999999999999)) == "b"


def test_a_choice_needs_positive_weights() -> None:
    """Nothing to choose from, or nothing's weight, is an error."""
    for weights in ({}, {"a": 0.0}):
        with pytest.raises(ValueError, match="weights"):
            WeightedChoice(weights)

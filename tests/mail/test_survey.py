"""Counts of several lanes as one."""

from __future__ import annotations

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.survey import Group, Survey, merged

A0 = Group("a", 2, 10, 1000, 4, 5, 1, {"suspension": 4}, WallTime(50.0))
A1 = Group("a", 1, 5, 500, 5, 0, 0, {"suspension": 1, "connection": 4}, WallTime(40.0))
B1 = Group("b", 1, 12, 70, 0, 12, 0)
C0 = Group("c", 3, 1, 1, 0, 1, 0, {}, WallTime(90.0))


def test_groups_of_one_name_are_one() -> None:
    """Everything is summed, the oldest is the oldest of all, and the largest come first."""
    survey = merged([Survey(A0, (A0,)), Survey(A1, (A1, B1))])
    assert survey.groups == (
        Group("a", 3, 15, 1500, 9, 5, 1, {"suspension": 5, "connection": 4}, WallTime(40.0)),
        B1,
    )
    assert survey.total == Group("", 3, 15, 1500, 9, 5, 1, survey.groups[0].held, WallTime(40.0))
    assert survey.others is None


def test_what_is_not_shown_is_counted_with_the_others() -> None:
    """Nothing is left out."""
    survey = merged([Survey(A0, (A0,), C0), Survey(A1, (A1, B1))], limit=1)
    assert [group.name for group in survey.groups] == ["a"]
    assert survey.others == Group("", 4, 13, 71, 0, 13, 0, {}, WallTime(90.0))


def test_rates_are_summed_where_they_are_known() -> None:
    """What nobody has counted stays unknown."""
    rated = [msgspec.structs.replace(A0, rate=1.5), msgspec.structs.replace(A1, rate=2.0)]
    assert merged([Survey(group, (group,)) for group in rated]).groups[0].rate == 3.5
    assert merged([Survey(B1, (B1,))]).groups[0].rate is None


def test_no_lane_is_no_mail() -> None:
    """And no group."""
    assert merged([]) == Survey(Group(""))

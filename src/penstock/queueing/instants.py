"""Instants: times as whole microseconds since 1970, so that they compare exactly and fit typed arrays.

A time in seconds becomes the nearest instant, everywhere by the same function; so the time of an instant becomes that instant again, and what
is due at a time is due neither before nor after it.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.duration import WallTime

#: Instants in a second.
SECOND: Final = 1_000_000


def instant_of(time: float) -> int:  # hot: micro_queueing
    """The instant of a time, or the number of instants of a duration."""
    return round(time * 1e6)


def time_of(instant: int) -> WallTime:
    """The time of an instant. ``instant_of`` leads back to it, until floats have no room for that (the year 2106)."""
    return WallTime(instant / 1e6)

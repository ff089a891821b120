"""The generic cell rate algorithm (ITU-T I.371): a rate as one instant, the theoretical arrival time of the next event.

An event may happen while that instant is no more than ``burst - 1`` emission intervals ahead; each event moves it one interval on, from
now at the earliest. Nothing here knows a clock: ``now`` is monotonic time, in seconds.
"""

from __future__ import annotations

from penstock.mail.rate import Rate


def is_open(arrival: float, now: float, rate: Rate) -> bool:
    """Whether an event may happen now. ``arrival`` is what ``charged`` gave last, 0.0 if nothing happened yet."""
    interval = rate.period / rate.count
    # a millionth of the interval, for sums of floats
    return arrival - now <= (rate.burst - 1) * interval + interval * 1e-6


def charged(arrival: float, now: float, rate: Rate) -> float:
    """The next theoretical arrival time, after an event now."""
    return max(arrival, now) + rate.period / rate.count


def opens_at(arrival: float, rate: Rate) -> float:
    """From when on an event may happen; in the past if it may now."""
    return arrival - (rate.burst - 1) * (rate.period / rate.count)

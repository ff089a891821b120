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


def room(arrival: float, now: float, rate: Rate) -> int:
    """How many events may happen now; what a changed rate would owe is none, not less."""
    ahead = max(0.0, arrival - now) / (rate.period / rate.count)
    return max(0, int(rate.burst - ahead + 1e-6))


def charged(arrival: float, now: float, rate: Rate, count: int = 1) -> float:
    """The next theoretical arrival time, after ``count`` events now."""
    return max(arrival, now) + count * (rate.period / rate.count)


def opens_at(arrival: float, rate: Rate, count: int = 1) -> float:
    """From when on ``count`` events may happen, at most ``burst`` of them; in the past if they may now."""
    return arrival - (rate.burst - count) * (rate.period / rate.count)

"""The real clock on readings that are given."""

from __future__ import annotations

from penstock.net.clock import SystemClock


def test_wall_time_follows_the_monotonic_clock() -> None:
    """A step of the system clock, here by an hour back, moves nothing."""
    readings = {"wall": 1_800_000_000.0, "monotonic": 50.0}
    clock = SystemClock(lambda: readings["wall"], lambda: readings["monotonic"])
    assert (clock.wall(), clock.monotonic()) == (1_800_000_000.0, 50.0)
    readings["wall"] -= 3600
    readings["monotonic"] += 7.5
    assert (clock.wall(), clock.monotonic()) == (1_800_000_007.5, 57.5)


def test_the_systems_own_clocks_are_the_default() -> None:
    """Both go forward, and wall time is in this century."""
    clock = SystemClock()
    first, then = clock.wall(), clock.monotonic()
    assert clock.wall() >= first > 1_700_000_000
    assert clock.monotonic() >= then

"""The clock that a test moves."""

from __future__ import annotations

import asyncio

import pytest

from penstock.mail.duration import Seconds
from penstock.sim.clock import FakeClock, LoopClock


def test_advance_calls_timers_in_order_at_their_own_times() -> None:
    """Each timer sees the time it was set for, not the time advanced to."""
    clock, seen = FakeClock(monotonic=0.0), []
    clock.call_later(Seconds(3), lambda: seen.append(("late", clock.monotonic())))
    clock.call_later(Seconds(1), lambda: seen.append(("early", clock.monotonic())))
    clock.advance(Seconds(2))
    assert seen == [("early", 1.0)]
    clock.advance(Seconds(2))
    assert seen == [("early", 1.0), ("late", 3.0)]
    assert clock.monotonic() == 4.0


def test_a_timer_may_set_another_that_falls_due_on_the_way() -> None:
    """A periodic timer fires as often as its period fits."""
    clock, seen = FakeClock(monotonic=0.0), []

    def tick() -> None:
        seen.append(clock.monotonic())
        clock.call_later(Seconds(1), tick)

    clock.call_later(Seconds(1), tick)
    clock.advance(Seconds(3.5))
    assert seen == [1.0, 2.0, 3.0]


def test_a_cancelled_timer_is_not_called() -> None:
    """Cancelling twice, or after the call, does nothing."""
    clock, seen = FakeClock(), []
    timer = clock.call_later(Seconds(1), lambda: seen.append(1))
    timer.cancel()
    timer.cancel()
    assert clock.next_timer() is None
    clock.advance(Seconds(5))
    assert not seen


def test_next_timer_says_how_long_to_advance() -> None:
    """The wait until the earliest timer that still stands."""
    clock = FakeClock()
    clock.call_later(Seconds(9), lambda: None)
    clock.call_later(Seconds(2), lambda: None).cancel()
    assert clock.next_timer() == 9.0


def test_wall_time_follows_but_can_be_stepped() -> None:
    """A step of the wall clock leaves the monotonic one alone."""
    clock = FakeClock(wall=100.0, monotonic=5.0)
    clock.advance(Seconds(1))
    assert (clock.wall(), clock.monotonic()) == (101.0, 6.0)
    clock.step_wall(Seconds(-50))
    assert (clock.wall(), clock.monotonic()) == (51.0, 6.0)


def test_the_clock_does_not_go_back() -> None:
    """A negative advance is an error of the test."""
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(Seconds(-1))


def test_the_loop_clock_calls_back_from_the_loop() -> None:
    """A timer of no delay fires in the running loop."""

    async def scene() -> None:
        called = asyncio.Event()
        LoopClock().call_later(Seconds(0), called.set)
        async with asyncio.timeout(10):
            await called.wait()

    asyncio.run(scene())

"""What a lane does with the orders that it is told: before its mail is there, and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import pytest

from penstock.ipc.order_words import (
    LaneDirectiveGive,
    LaneOrdersCancel,
    LaneOrdersUse,
    LaneSweepGive,
    SupervisorSweepsTell,
)
from penstock.mail.directive import Action, Criteria, Directive, Order, Progress, Sweep, SweepAction
from penstock.mail.duration import Seconds, WallTime
from penstock.sim.clock import FakeClock
from penstock.worker.orders import LaneOrders

#: The supervisor's wall clock, when the lane's is at its beginning.
THEIRS = WallTime(1_700_000_000.0 - 3600)


class Mail:
    """A scheduler that does what the test says."""

    def __init__(self) -> None:
        self.force: dict[str, Directive] = {}
        self.begun: list[Sweep] = []
        self.stopped: list[str] = []
        self.progress: dict[str, Progress] = {}
        self.room = 10

    def direct(self, directive: Directive, now: WallTime) -> Directive | None:
        """See Ordered."""
        assert directive.id not in self.force and directive.expires > now
        self.force[directive.id] = directive
        return None

    def cancel(self, identity: str, now: WallTime) -> Directive | None:
        """See Ordered."""
        return self.force.pop(identity, None)

    def sweep(self, sweep: Sweep) -> None:
        """See Ordered."""
        if sum(not item.is_over for item in self.progress.values()) >= self.room:
            raise ValueError("too many")
        self.begun.append(sweep)
        self.progress[sweep.order.id] = Progress()

    def cancel_sweep(self, identity: str) -> bool:
        """See Ordered."""
        self.stopped.append(identity)
        return True

    @property
    def sweeps(self) -> Mapping[str, Progress]:
        """See Ordered."""
        return self.progress


class Lane:
    """A lane whose wall clock is an hour ahead of the supervisor's."""

    def __init__(self) -> None:
        self.clock = FakeClock(wall=1_700_000_000.0)
        self.offset = THEIRS - self.clock.monotonic()
        self.told: list[msgspec.Struct] = []
        self.timers = 0
        self.orders = LaneOrders(self.clock, self.told.append, self._call_later)
        self.mail = Mail()
        self.works = 0

    def _call_later(self, seconds: float, call: Callable[[], None]) -> object:
        self.timers += 1
        return self.clock.call_later(Seconds(seconds), call)

    def begin(self) -> None:
        """The mail is there."""
        self.orders.begin(self.mail, self._worked)

    def _worked(self) -> None:
        self.works += 1


def directive(identity: str, tenant: str = "acme", seconds: float = 300) -> Directive:
    """One given now, as the supervisor has it."""
    end = WallTime(THEIRS + seconds)
    return Directive(identity, Action.SUSPEND, "", THEIRS, end, Criteria(tenant=tenant))


def sweep(identity: str) -> Sweep:
    """One given now, as the supervisor has it."""
    return Sweep(Order(identity, SweepAction.FLUSH, ""), Criteria(), THEIRS)


@pytest.fixture
def lane() -> Lane:
    """A lane that was told nothing yet."""
    return Lane()


def test_what_is_told_first_is_in_force_when_the_mail_comes(lane: Lane) -> None:
    """Not what was undone or replaced meanwhile, nor what is over."""
    told = LaneOrdersUse(
        lane.offset, (directive("a"), directive("b", "other"), directive("c", "short", 1)), (sweep("s"),)
    )
    lane.orders.use(told)
    lane.orders.give(LaneDirectiveGive(lane.offset, directive("d")))
    lane.orders.cancel(LaneOrdersCancel(("b",), ("x",)))
    lane.orders.give_sweep(LaneSweepGive(lane.offset, sweep("t")))
    lane.clock.advance(Seconds(2.0))
    lane.begin()
    assert list(lane.mail.force) == ["d"]
    assert [item.order.id for item in lane.mail.begun] == ["s", "t"]
    assert lane.works == 1


def test_later_orders_hold_when_they_are_answered(lane: Lane) -> None:
    """Each as it comes."""
    lane.begin()
    lane.orders.give(LaneDirectiveGive(lane.offset, directive("a"), sweep("a")))
    assert list(lane.mail.force) == ["a"] and lane.mail.begun[0].order.id == "a"
    lane.orders.cancel(LaneOrdersCancel(("a",), ("a",)))
    assert lane.mail.force == {} and lane.mail.stopped == ["a"]
    assert lane.works == 3


def test_instants_are_of_this_clock(lane: Lane) -> None:
    """However long the word was on its way: only the clocks differ by an hour."""
    word = LaneDirectiveGive(lane.offset, directive("a"), sweep("a"))
    lane.clock.advance(Seconds(20.0))
    lane.begin()
    lane.orders.give(word)
    assert lane.mail.force["a"].given == 1_700_000_000
    assert lane.mail.force["a"].expires == 1_700_000_300
    assert lane.mail.begun[0].given == 1_700_000_000
    lane.clock.advance(Seconds(300.0))
    lane.orders.give(msgspec.structs.replace(word, directive=directive("b", "other")))
    assert "b" not in lane.mail.force, "it was over when it came"


def test_how_far_sweeps_are_is_told_while_any_is_under_way(lane: Lane) -> None:
    """Twice a second, where it has changed; then nothing wakes the lane any more."""
    lane.begin()
    assert lane.timers == 0
    lane.orders.give_sweep(LaneSweepGive(lane.offset, sweep("s")))
    lane.mail.progress["message"] = Progress(1, 0)
    lane.clock.advance(Seconds(0.5))
    lane.clock.advance(Seconds(0.5))
    assert lane.told == [SupervisorSweepsTell({"s": Progress()})]
    lane.mail.progress["s"] = Progress(5, 5, True)
    lane.clock.advance(Seconds(0.5))
    assert lane.told[1:] == [SupervisorSweepsTell({"s": Progress(5, 5, True)})]
    timers = lane.timers
    lane.clock.advance(Seconds(10.0))
    assert lane.timers == timers


def test_a_sweep_that_is_given_again_is_done_and_told_again(lane: Lane) -> None:
    """Also if it comes to the same."""
    lane.begin()
    for _ in range(2):
        lane.orders.give_sweep(LaneSweepGive(lane.offset, sweep("s")))
        lane.mail.progress["s"] = Progress(0, 0, True)
        lane.clock.advance(Seconds(0.5))
    assert lane.told == [SupervisorSweepsTell({"s": Progress(0, 0, True)})] * 2
    assert len(lane.mail.begun) == 2


def test_a_sweep_too_many_waits_for_others(lane: Lane) -> None:
    """In the order in which they came."""
    lane.mail.room = 1
    lane.begin()
    for identity in "abc":
        lane.orders.give_sweep(LaneSweepGive(lane.offset, sweep(identity)))
    lane.clock.advance(Seconds(0.5))
    assert [item.order.id for item in lane.mail.begun] == ["a"]
    lane.orders.cancel(LaneOrdersCancel(sweeps=("b",)))
    lane.mail.progress["a"] = Progress(0, 0, True)
    lane.clock.advance(Seconds(0.5))
    assert [item.order.id for item in lane.mail.begun] == ["a", "c"]

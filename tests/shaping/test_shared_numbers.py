"""Numbers that lanes share: never more in use than the limit, whatever dies and whatever is late; all of it usable where nothing dies."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock.shaping.counting import LIFETIME, Counting, UnitGrant
from penstock.shaping.holding import Holding, UnitAsk, UnitClaim, UnitRelease, UnitRenew
from penstock.shaping.ports import HeldBy

KEY = "connections"


class Lane:
    """A lane that ends what it has lost at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.holding = Holding()
        self.sent: deque[Any] = deque()
        self.coming: deque[UnitGrant] = deque()
        self.in_use = 0


class World:
    """A broker and lanes; ``limit`` units in all."""

    def __init__(self, limit: int, lanes: int) -> None:
        self.limit = limit
        self.now = 1000.0
        self.names = 0
        self.broker: Counting | None = Counting(self.now, is_clean=True)
        self.lanes = [self.new_lane() for _ in range(lanes)]

    def new_lane(self) -> Lane:
        self.names += 1
        lane = Lane(f"lane {self.names}")
        if self.broker is not None:
            lane.holding.broker_back(self.now)
        return lane

    def collect(self, lane: Lane) -> None:
        for key in lane.holding.lost:
            for _ in range(lane.in_use):
                lane.holding.release(key)
            lane.in_use = 0
        lane.holding.lost.clear()
        lane.holding.opened.clear()
        if self.broker is not None:
            lane.sent.extend(lane.holding.words)
        lane.holding.words.clear()

    def acquire(self, lane: Lane) -> bool:
        held = lane.holding.acquire(KEY, self.limit, self.now)
        lane.in_use += held is None
        self.collect(lane)
        return held is None

    def release(self, lane: Lane) -> None:
        if lane.in_use:
            lane.in_use -= 1
            lane.holding.release(KEY)
            self.collect(lane)

    def to_broker(self, lane: Lane) -> None:
        if self.broker is None or not lane.sent:
            return
        match lane.sent.popleft():
            case UnitAsk(key=key, limit=limit, wanted=wanted):
                self.broker.ask(lane.name, key, limit, 1, wanted, self.now)
            case UnitClaim(key=key, limit=limit, units=units):
                self.broker.claim(lane.name, key, limit, 1, units, self.now)
            case UnitRenew(key=key):
                self.broker.renew(lane.name, key, self.now)
            case UnitRelease(key=key, units=units):
                self.broker.release(lane.name, key, units, self.now)
        self.deal()

    def to_lane(self, lane: Lane) -> None:
        if lane.coming:
            grant = lane.coming.popleft()
            lane.holding.granted(grant.key, grant.units, grant.until, self.now)
            self.collect(lane)

    def deal(self) -> None:
        assert self.broker is not None
        for grant in self.broker.effects:
            for lane in self.lanes:
                if lane.name == grant.holder:
                    lane.coming.append(grant)
        self.broker.effects.clear()

    def settle_down(self) -> None:
        while any(lane.sent or lane.coming for lane in self.lanes):
            for lane in self.lanes:
                self.to_broker(lane)
                self.to_lane(lane)

    def wake(self) -> None:
        for lane in self.lanes:
            lane.holding.wake(self.now)
            self.collect(lane)
        if self.broker is not None:
            self.broker.wake(self.now)
            self.deal()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            wakes = [lane.holding.next_wake() for lane in self.lanes]
            wakes += [self.broker.next_wake()] if self.broker is not None else []
            if min(wakes) > end:
                break
            self.now = max(self.now, min(wakes))
            self.wake()
            self.settle_down()
        self.now = end

    def kill_lane(self, place: int, was_heard: bool) -> None:
        lane = self.lanes[place]
        while lane.sent and was_heard:
            self.to_broker(lane)
        if self.broker is not None:
            self.broker.gone(lane.name, self.now)
        self.lanes[place] = self.new_lane()

    def kill_broker(self) -> None:
        self.broker = None
        for lane in self.lanes:
            lane.sent.clear()
            lane.coming.clear()
            lane.holding.broker_gone()

    def start_broker(self) -> None:
        self.broker = Counting(self.now, is_clean=False)
        for lane in self.lanes:
            self.names += 1
            lane.name = f"lane {self.names}"
            lane.holding.broker_back(self.now)
            self.collect(lane)

    def used(self) -> int:
        return sum(lane.in_use for lane in self.lanes)


class Machine(RuleBasedStateMachine):
    """Anything in any order; what is under way takes less than a second."""

    @initialize(limit=st.integers(1, 6), lanes=st.integers(1, 3))
    def begin(self, limit: int, lanes: int) -> None:
        """A number and lanes."""
        self.world = World(limit, lanes)

    def lane(self, place: int) -> Lane:
        """One of the lanes."""
        return self.world.lanes[place % len(self.world.lanes)]

    @rule(place=st.integers(0, 9))
    def acquire(self, place: int) -> None:
        """A lane needs a unit."""
        self.world.acquire(self.lane(place))

    @rule(place=st.integers(0, 9))
    def release(self, place: int) -> None:
        """A lane needs one less."""
        self.world.release(self.lane(place))

    @rule(place=st.integers(0, 9))
    def hear(self, place: int) -> None:
        """Something arrives at the broker."""
        self.world.to_broker(self.lane(place))

    @rule(place=st.integers(0, 9))
    def tell(self, place: int) -> None:
        """Something arrives at a lane."""
        self.world.to_lane(self.lane(place))

    @rule(seconds=st.sampled_from([0.001, 0.06, 0.9, 5.0, 14.0, 40.0]))
    def advance(self, seconds: float) -> None:
        """Time passes, and everything arrives."""
        self.world.advance(seconds)
        self.world.settle_down()

    @rule(place=st.integers(0, 9), was_heard=st.booleans())
    def kill_lane(self, place: int, was_heard: bool) -> None:
        """A lane dies, another takes its place."""
        self.world.kill_lane(place % len(self.world.lanes), was_heard)

    @rule()
    def kill_broker(self) -> None:
        """The broker dies."""
        self.world.kill_broker()

    @rule()
    def start_broker(self) -> None:
        """It comes back."""
        if self.world.broker is None:
            self.world.start_broker()

    @invariant()
    def never_exceeded(self) -> None:
        """What the limit is for."""
        if hasattr(self, "world"):
            assert self.world.used() <= self.world.limit

    def teardown(self) -> None:
        """With everybody alive, all units can be used, and nothing stays lent that is not."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if world.broker is None:
            world.start_broker()
        for lane in world.lanes:
            while lane.in_use:
                world.release(lane)
        for _ in range(3):
            world.settle_down()
            world.advance(3 * LIFETIME)
        assert world.broker is not None and world.broker.is_idle()
        for _ in range(3 * world.limit):
            if not world.acquire(world.lanes[0]):
                world.settle_down()
        assert world.used() == world.limit


TestSharedNumbers = Machine.TestCase
TestSharedNumbers.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def test_units_are_kept_by_renewing_them() -> None:
    """For as long as the broker answers; and without it, all that is in use is lost when it runs out."""
    world = World(2, 2)
    one, other = world.lanes
    while one.in_use < 2:
        world.acquire(one)
        world.settle_down()
    world.advance(10 * LIFETIME)
    assert one.in_use == 2
    assert not world.acquire(other)
    world.kill_broker()
    world.advance(LIFETIME - 6)
    assert one.in_use == 2
    held = one.holding.acquire(KEY, 2, world.now)
    assert held is not None and held.by is HeldBy.BROKER and held.until == math.inf
    world.advance(7)
    assert one.in_use == 0


def test_a_new_broker_waits_for_those_who_hold() -> None:
    """They say what they have, and nobody gets it; what nobody claims is lent after a while."""
    world = World(2, 2)
    one, other = world.lanes
    for lane in (one, other):
        world.acquire(lane)
        world.settle_down()
        assert world.acquire(lane)
    world.kill_broker()
    world.kill_lane(1, was_heard=False)
    world.start_broker()
    world.settle_down()
    assert not world.acquire(world.lanes[1])
    world.advance(LIFETIME)
    assert not world.acquire(world.lanes[1])
    world.advance(1.01)
    assert one.in_use == 1
    assert world.acquire(world.lanes[1])


def test_units_of_a_dead_lane_come_back() -> None:
    """When it cannot use them any more, wherever it is."""
    world = World(1, 2)
    world.acquire(world.lanes[0])
    world.settle_down()
    assert world.acquire(world.lanes[0])
    world.kill_lane(0, was_heard=True)
    assert not world.acquire(world.lanes[1])
    world.advance(LIFETIME)
    assert not world.acquire(world.lanes[1])
    world.advance(1.01)
    assert world.acquire(world.lanes[1])


def test_units_are_shared_in_turn() -> None:
    """One that wants much does not keep others from having theirs."""
    broker = Counting(0.0, is_clean=True)
    broker.ask("much", KEY, 4, 1, 4, 1.0)
    broker.ask("a", KEY, 4, 1, 1, 1.0)
    assert [grant[:3] for grant in broker.effects] == [("much", KEY, 4)]
    broker.effects.clear()
    broker.ask("much", KEY, 4, 1, 9, 1.0)
    broker.release("much", KEY, 2, 2.0)
    assert sorted(grant[:3] for grant in broker.effects) == [("a", KEY, 1), ("much", KEY, 1)]


@pytest.mark.parametrize("units", [0, -3])
def test_nonsense_of_a_lane_changes_nothing(units: int) -> None:
    """Nor does what is said about keys that nobody knows."""
    broker = Counting(0.0, is_clean=True)
    broker.renew("a", KEY, 1.0)
    broker.release("a", KEY, 1, 1.0)
    broker.ask("a", KEY, 4, 1, 1, 1.0)
    broker.effects.clear()
    broker.release("a", KEY, units, 1.0)
    broker.claim("b", KEY, 4, 1, units, 1.0)
    assert broker.effects == []
    assert broker._shared[KEY].room() == 3


def test_numbers_that_nobody_uses_are_forgotten() -> None:
    """By the broker and by the lane; timers of what is gone do not pile up."""
    broker, holding = Counting(0.0, is_clean=True), Holding()
    holding.broker_back(0.0)
    for number in range(2000):
        now, key = number / 10, f"key {number % 50}"
        holding.wake(now)
        broker.wake(now)
        holding.acquire(key, 1, now)
        broker.ask("a", key, 1, 1, 1, now)
        for grant in broker.effects:
            holding.granted(grant.key, grant.units, grant.until, now)
        broker.effects.clear()
        assert holding.acquire(key, 1, now) is None
        holding.release(key)
        broker.release("a", key, 1, now)
        holding.words.clear()
        holding.opened.clear()
    assert len(broker) <= 50 and len(holding) <= 2
    assert len(broker._ends) <= 170 and len(holding._timers) <= 200

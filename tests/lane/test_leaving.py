"""Mail that is to be moved and could not be: the lane is told whenever its scheduler has something to do because of it."""

from __future__ import annotations

from penstock.lane.leaving import ScheduledSource
from penstock.queueing.effects import Move
from penstock.sim.clock import FakeClock
from tests.queueing.test_leaving import NOW, World


def test_mail_that_is_refused_is_asked_for_again_with_nothing_else_going_on() -> None:
    """A quiet lane takes the scheduler's effects, and looks at its next instant, only when it is told."""
    world = World()
    world.add()
    world.add()
    assert world.work() == [Move(world.path())]
    told: list[float | None] = []

    def changed() -> None:
        for effect in world.scheduler.take_effects():
            assert effect == Move(world.path())
            source.add(world.path())
        told.append(world.scheduler.next_wake())

    source = ScheduledSource(world.scheduler, "2", FakeClock(wall=NOW), changed)
    source.came_back()
    source.add(world.path())
    leavers = [source.next(), source.next()]
    assert source.next() is None
    for leaver in leavers:
        assert leaver is not None
        source.refused("full")
        source.put_back(leaver)
    assert not world.scheduler.has_effects
    hold = world.path().hold
    assert hold is not None
    assert "full" in hold.reason
    assert told[-1] == NOW + 1.0

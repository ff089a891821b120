"""Lanes as a Hypothesis state machine: words, syncs, crashes of either side and ends of connections, at any step and in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.queueing.moving import Giving, Taking
from tests.queueing.moving_world import World

#: Messages at a time.
MOST = 12


class MovingMachine(RuleBasedStateMachine):
    """Events in any order. ``give`` and ``take`` make the two sides of the protocol."""

    give: ClassVar[Callable[[], Giving[int]]] = Giving
    take: ClassVar[Callable[[], Taking[int]]] = Taking

    def __init__(self) -> None:
        super().__init__()
        self.world = World("AB", type(self).give, type(self).take)

    @initialize(names=st.sampled_from(["AB", "ABC"]), mail=st.lists(st.sampled_from("AB"), max_size=4))
    def there_are_lanes(self, names: str, mail: list[str]) -> None:
        self.world = World(names, type(self).give, type(self).take)
        for name in mail:
            self.world.accept(name)
        for pair in self.world.pairs():
            self.world.connect(*pair)

    def _name(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.world.names))

    # -- mail

    @precondition(lambda self: self.world.messages < MOST)
    @rule(data=st.data())
    def mail_comes_in(self, data: st.DataObject) -> None:
        self.world.accept(self._name(data))

    def _offers(self) -> list[tuple[str, str]]:
        world = self.world
        return [pair for pair in world.links if world.lanes[pair[0]].deliverable]

    @precondition(lambda self: self._offers())
    @rule(data=st.data(), count=st.integers(1, 3))
    def messages_are_offered(self, data: st.DataObject, count: int) -> None:
        one, other = data.draw(st.sampled_from(self._offers()))
        messages = sorted(self.world.lanes[one].deliverable)[:count]
        self.world.offer(one, other, messages)

    @precondition(lambda self: any(lane.deliverable for lane in self.world.lanes.values()))
    @rule(data=st.data())
    def a_message_is_delivered(self, data: st.DataObject) -> None:
        pairs = sorted(
            (name, message) for name, lane in self.world.lanes.items() for message in lane.deliverable
        )
        self.world.deliver(*data.draw(st.sampled_from(pairs)))

    # -- what happens to it

    @precondition(lambda self: self.world.on_the_way())
    @rule(data=st.data(), count=st.integers(1, 4))
    def words_come(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            if pairs := self.world.on_the_way():
                self.world.pass_on(*data.draw(st.sampled_from(sorted(pairs))))

    @precondition(lambda self: self.world.on_the_way())
    @rule()
    def every_word_comes(self) -> None:
        """And what is said to them, but nothing that waits for a sync."""
        while pairs := self.world.on_the_way():
            self.world.pass_on(*pairs[0])

    @precondition(lambda self: self.world.on_the_way())
    @rule(data=st.data())
    def an_offer_is_refused(self, data: st.DataObject) -> None:
        self.world.refuse(*data.draw(st.sampled_from(sorted(self.world.on_the_way()))))

    @rule(data=st.data())
    def a_log_is_synced(self, data: st.DataObject) -> None:
        self.world.lanes[self._name(data)].sync()

    @rule(data=st.data())
    def a_lane_crashes(self, data: st.DataObject) -> None:
        name = self._name(data)
        lane = self.world.lanes[name]
        self.world.crash(name, data.draw(st.integers(0, len(lane.log) - lane.synced)))

    @precondition(lambda self: self.world.links)
    @rule(data=st.data())
    def a_connection_ends(self, data: st.DataObject) -> None:
        pairs = [pair for pair in self.world.pairs() if pair in self.world.links]
        self.world.disconnect(*data.draw(st.sampled_from(pairs)))

    @precondition(lambda self: self.world.links)
    @rule(data=st.data())
    def a_connection_is_made_anew(self, data: st.DataObject) -> None:
        pairs = [pair for pair in self.world.pairs() if pair in self.world.links]
        pair = data.draw(st.sampled_from(pairs))
        self.world.disconnect(*pair)
        self.world.connect(*pair)

    @rule(data=st.data())
    def a_lane_crashes_and_comes_back(self, data: st.DataObject) -> None:
        """It is connected again, and what is said then is heard."""
        self.a_lane_crashes(data)
        for pair in self.world.pairs():
            if pair not in self.world.links:
                self.world.connect(*pair)
        self.every_word_comes()

    @precondition(lambda self: len(self.world.links) < 2 * len(self.world.pairs()))
    @rule(data=st.data())
    def a_connection_is_made(self, data: st.DataObject) -> None:
        pairs = [pair for pair in self.world.pairs() if pair not in self.world.links]
        self.world.connect(*data.draw(st.sampled_from(pairs)))

    @invariant()
    def nothing_is_lost_or_deliverable_twice(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """In the end everything is somewhere, once."""
        self.world.come_to_rest()

"""The swept world as a Hypothesis state machine: mail, orders, the lane and time, in any order, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from penstock.mail.directive import Criteria, Rebinding, SweepAction
from penstock.mail.queue_name import QueueName
from penstock.queueing.scheduler import Scheduler
from tests.queueing.sweep_world import SweepWorld

NAMES = (
    QueueName("a.example"),
    QueueName("a.example", "t1"),
    QueueName("a.example", "t2", "spring"),
    QueueName("b.example", "t1"),
    QueueName("b.example", "t2", None, "hub.example"),
)
#: Messages at a time.
MOST = 40

names = st.sampled_from(NAMES)
actions = st.sampled_from(SweepAction)
rebindings = st.sampled_from(
    [
        Rebinding(tenant="t2"),
        Rebinding(tenant=""),
        Rebinding(campaign="autumn"),
        Rebinding(campaign="", tenant="t1"),
        Rebinding(routing_domain="hub.example"),
    ]
)
criteria = st.sampled_from(
    [
        Criteria(),
        Criteria(tenant="t1"),
        Criteria(tenant=""),
        Criteria(tenant="t2", domain="a.example"),
        Criteria(domain="b.example"),
        Criteria(routing_domain="hub.example"),
        Criteria(queue_names=frozenset(NAMES[1:3])),
        Criteria(queue_names=frozenset([QueueName("nowhere.example")])),
    ]
)
spans = st.sampled_from([0.0, 0.0, 0.5, 30.0, 600.0])


class SweepMachine(RuleBasedStateMachine):
    """Events in any order. ``make`` makes the scheduler."""

    make: ClassVar[Callable[..., Scheduler]] = Scheduler

    def __init__(self) -> None:
        super().__init__()
        self.world = SweepWorld(type(self).make)

    @initialize(mail=st.lists(st.tuples(names, spans), max_size=16))
    def mail_is_queued(self, mail: list[tuple[QueueName, float]]) -> None:
        for name, due in mail:
            self.world.add(name, due=due)

    @precondition(lambda self: len(self.world.messages) < MOST)
    @rule(name=names, due=spans, age=spans, count=st.integers(1, 6))
    def mail_comes_in(self, name: QueueName, due: float, age: float, count: int) -> None:
        for _ in range(count):
            self.world.add(name, due=due, age=age, attempts=count % 3)
        self.world.check()

    @rule(action=actions, which=criteria, rebinding=rebindings, ago=spans)
    def a_sweep_is_given(
        self, action: SweepAction, which: Criteria, rebinding: Rebinding, ago: float
    ) -> None:
        self.world.sweep(action, which, rebinding=rebinding, ago=ago)
        self.world.check()

    @precondition(lambda self: self.world.messages)
    @rule(data=st.data(), action=actions, rebinding=rebindings)
    def one_message_gets_an_order(
        self, data: st.DataObject, action: SweepAction, rebinding: Rebinding
    ) -> None:
        message = self.world.messages[data.draw(st.sampled_from(sorted(self.world.messages)))]
        self.world.order(message, action, rebinding)
        self.world.check()

    @precondition(lambda self: self.world.sweeps)
    @rule(data=st.data())
    def a_sweep_is_cancelled(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(sorted(self.world.sweeps))))
        self.world.check()

    @rule(budget=st.sampled_from([1, 1, 2, 5, 500]))
    def a_slice_is_done(self, budget: int) -> None:
        self.world.tick(budget)

    @rule()
    def ends_are_taken(self) -> None:
        self.world.take_ends()

    @precondition(lambda self: self.world.ends and self.world.scheduler.hold is None)
    @rule(
        data=st.data(),
        what=st.sampled_from(["recorded"] * 5 + ["put off", "put back", "lost"]),
        count=st.integers(1, 4),
    )
    def ends_are_recorded(self, data: st.DataObject, what: str, count: int) -> None:
        for _ in range(min(count, len(self.world.ends))):
            self.world.record(data.draw(st.integers(0, len(self.world.ends) - 1)), what)

    @precondition(lambda self: self.world.scheduler.hold is None)
    @rule(budget=st.sampled_from([1, 5, 500]))
    def the_disk_gives_nothing(self, budget: int) -> None:
        """What is taken is put off, and not taken again before its time."""
        self.world.take_ends()
        for _ in range(len(self.world.ends)):
            self.world.record(0, "put off")
        self.world.tick(budget)
        self.world.take_ends()

    @precondition(lambda self: self.world.in_flight)
    @rule(data=st.data(), what=st.sampled_from(["settled", "deferred", "put back"]))
    def an_attempt_ends(self, data: st.DataObject, what: str) -> None:
        self.world.finish(data.draw(st.integers(0, len(self.world.in_flight) - 1)), what)

    @rule(seconds=spans)
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.world.check()

    @rule()
    def everything_is_held_or_goes_on(self) -> None:
        scheduler, time = self.world.scheduler, self.world.time
        if scheduler.hold is None:
            scheduler.pause("spool", "outcomes cannot be recorded", time)
        else:
            scheduler.resume(time)
            self.world.answer()

    def teardown(self) -> None:
        """Everything ends, and nothing is left behind."""
        self.world.end()

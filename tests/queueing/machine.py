"""The world as a Hypothesis state machine: every event that the scheduler can be told of, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from penstock.mail.queue_name import QueueName
from penstock.queueing.scheduler import Scheduler
from tests.queueing.world import PATIENCE, REAP_AFTER, SECOND, World

NAMES = (
    QueueName("a.example"),
    QueueName("a.example", "t1"),
    QueueName("a.example", "t2", "spring"),
    QueueName("b.example", "t1"),
    QueueName("b.example", "t2", None, "a.example"),
    QueueName("c.example"),
)
SITES = ("mx1.example", "mx2.example")
#: Messages at a time: enough for every place at once, few enough for an exact account of instants.
MOST = 24

names = st.sampled_from(NAMES)
sites = st.sampled_from(SITES)
lifetimes = st.sampled_from([0.0, 5.0, 300.0, 86_400.0])
draws = st.sampled_from([0.0, 0.25, 0.5, 0.999])
#: Microseconds: round ones, so that things fall together, and odd ones.
spans = st.one_of(
    st.sampled_from([1, SECOND, 2 * SECOND, 30 * SECOND, 600 * SECOND, 3600 * SECOND]),
    st.integers(1, 1000),
    st.integers(1, 7200 * SECOND),
)
outcomes = st.sampled_from(["settled", "deferred", "put back"])
lateness = st.one_of(st.just(0), st.just(0), spans)


class SchedulerMachine(RuleBasedStateMachine):
    """Events in any order. ``make`` makes the scheduler."""

    make: ClassVar[Callable[..., Scheduler]] = Scheduler

    def __init__(self) -> None:
        super().__init__()
        self.world = World(type(self).make)
        self.changes = 0

    @initialize(
        mail=st.lists(names, max_size=8),
        seconds=lifetimes,
        connections=st.integers(0, 4),
        is_done=st.booleans(),
    )
    def it_is_at_work(self, mail: list[QueueName], seconds: float, connections: int, is_done: bool) -> None:
        for name in mail:
            self.world.add(name)
        self._answer(SITES[0], seconds)
        for _ in range(connections):
            for site in self._sites("opening"):
                self.world.connect(site)
        for _ in mail if is_done else ():
            self.every_attempt_ends("settled", then_closed=False)

    def _answer(self, site: str, seconds: float) -> None:
        for hop in list(self.world.resolves):
            self.world.found(hop, site, seconds)

    # -- mail

    @precondition(lambda self: len(self.world.messages) < MOST)
    @rule(name=names, count=st.integers(1, 4), is_answered=st.booleans(), site=sites, seconds=lifetimes)
    def mail_comes_in(
        self, name: QueueName, count: int, is_answered: bool, site: str, seconds: float
    ) -> None:
        for _ in range(count):
            self.world.add(name)
        if is_answered:
            self._answer(site, seconds)

    @precondition(lambda self: len(self.world.messages) < 8)
    @rule(name=names, count=st.integers(14, 20), site=sites)
    def one_queue_has_mail_for_several_connections(self, name: QueueName, count: int, site: str) -> None:
        """All of them made, and at work."""
        for _ in range(count):
            self.world.add(name)
        self._answer(site, 86_400.0)
        for other in self._sites("opening"):
            for _ in range(self.world.paths[other].opening):
                self.world.connect(other)

    @precondition(lambda self: len(self.world.messages) < MOST)
    @rule(
        name=names,
        due=st.one_of(st.just(0), spans),
        age=st.one_of(st.just(0), spans),
        attempts=st.integers(0, 3),
    )
    def mail_is_recovered(self, name: QueueName, due: int, age: int, attempts: int) -> None:
        self.world.add(name, due=due, age=age, attempts=attempts)

    @rule(plan=st.lists(st.one_of(st.none(), spans), min_size=1, max_size=4))
    def ends_cannot_be_recorded(self, plan: list[int | None]) -> None:
        """Not at once, that is: as the spool says when it is asked for the message."""
        self.world.plan = plan

    # -- routes

    @precondition(lambda self: self.world.resolves)
    @rule(data=st.data(), site=sites, seconds=lifetimes)
    def a_route_is_found(self, data: st.DataObject, site: str, seconds: float) -> None:
        self.world.found(data.draw(st.sampled_from(self.world.resolves)), site, seconds)

    @precondition(lambda self: self.world.resolves)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 30.0, 300.0]), is_permanent=st.integers(0, 3))
    def no_route_is_found(self, data: st.DataObject, seconds: float, is_permanent: int) -> None:
        hop = data.draw(st.sampled_from(self.world.resolves))
        if is_permanent or self.world.is_paused:
            self.world.not_found(hop, seconds)
        else:
            self.world.never_found(hop)

    # -- connections

    def _sites(self, attribute: str) -> list[str]:
        return sorted(site for site, path in self.world.paths.items() if getattr(path, attribute))

    @precondition(lambda self: self._sites("opening"))
    @rule(data=st.data(), count=st.integers(1, 3))
    def a_connection_is_made(self, data: st.DataObject, count: int) -> None:
        site = data.draw(st.sampled_from(self._sites("opening")))
        for _ in range(count):
            if site in self._sites("opening"):
                self.world.connect(site)

    @precondition(lambda self: self._sites("opening"))
    @rule(data=st.data(), draw=draws, count=st.integers(1, 3), late=lateness)
    def a_connection_is_refused(self, data: st.DataObject, draw: float, count: int, late: int) -> None:
        site = data.draw(st.sampled_from(self._sites("opening")))
        for number in range(count):
            if site in self._sites("opening"):
                self.world.refuse(site, draw, late=late if number else 0)

    @precondition(lambda self: self._sites("opening"))
    @rule(data=st.data(), times=st.integers(2, 5))
    def a_site_refuses_again_and_again(self, data: st.DataObject, times: int) -> None:
        site = data.draw(st.sampled_from(self._sites("opening")))
        for _ in range(times):
            self._refuse_all(site)
            if site in self._sites("is_timed"):
                self.world.advance(self.world.paths[site].release)
        self._refuse_all(site)

    def _refuse_all(self, site: str) -> None:
        for _ in range(self.world.paths[site].opening if site in self.world.paths else 0):
            self.world.refuse(site)

    @precondition(lambda self: self._sites("opening") and not self.world.is_paused)
    @rule(data=st.data())
    def a_site_is_prohibited(self, data: st.DataObject) -> None:
        self.world.prohibit(data.draw(st.sampled_from(self._sites("opening"))))

    @precondition(lambda self: self._sites("offers"))
    @rule(data=st.data())
    def an_offer_is_taken(self, data: st.DataObject) -> None:
        self.world.take_offer(data.draw(st.sampled_from(self._sites("offers"))))

    @precondition(lambda self: self._sites("offers"))
    @rule()
    def offers_are_taken(self) -> None:
        for site in self._sites("offers"):
            for _ in range(self.world.paths[site].offers):
                if site in self._sites("offers"):
                    self.world.take_offer(site)

    @precondition(lambda self: self._sites("idle"))
    @rule(data=st.data())
    def an_idle_connection_leaves(self, data: st.DataObject) -> None:
        self.world.leave(data.draw(st.sampled_from(self._sites("idle"))))

    @precondition(lambda self: self._sites("closing"))
    @rule(data=st.data())
    def a_leaving_connection_ends(self, data: st.DataObject) -> None:
        self.world.close(data.draw(st.sampled_from(self._sites("closing"))))

    # -- outcomes

    @precondition(lambda self: self._sites("rows"))
    @rule(
        data=st.data(),
        ends=st.lists(st.tuples(outcomes, st.booleans(), draws, lateness), min_size=1, max_size=4),
    )
    def attempts_end(self, data: st.DataObject, ends: list[tuple[str, bool, float, int]]) -> None:
        site = data.draw(st.sampled_from(self._sites("rows")))
        for what, then_closed, draw, late in ends:
            if site not in self._sites("rows"):
                break
            row = data.draw(st.sampled_from(self.world.paths[site].rows))
            self.world.finish(site, row, what, then_closed=then_closed, draw=draw, late=late)

    @precondition(lambda self: self._sites("rows"))
    @rule(what=outcomes, then_closed=st.booleans())
    def every_attempt_ends(self, what: str, then_closed: bool) -> None:
        for site in self._sites("rows"):
            for row in list(self.world.paths[site].rows):
                self.world.finish(site, row, what, then_closed=then_closed)

    @precondition(lambda self: self._sites("rows"))
    @rule(data=st.data())
    def every_attempt_comes_back(self, data: st.DataObject) -> None:
        """Whichever comes first."""
        for site in self._sites("rows"):
            for row in data.draw(st.permutations(self.world.paths[site].rows)):
                self.world.finish(site, row, "put back", then_closed=True)

    @precondition(lambda self: self._sites("rows"))
    @rule(site=sites, comes_back=st.booleans())
    def mail_in_flight_is_overtaken_by_another_route(self, site: str, comes_back: bool) -> None:
        """Later mail of its queue goes to another site and is done, so that the route is all that is left there."""
        world = self.world
        row = world.paths[self._sites("rows")[0]].rows[0]
        name = next(message.queue for message in world.messages.values() if message.row == row)
        if 0 < world.hops[name.next_hop].until - world.now < 400 * SECOND:
            world.advance(world.hops[name.next_hop].until)
        world.add(name)
        self._answer(site, 0.0)
        for _ in range(world.paths[site].opening if site in world.paths else 0):
            world.connect(site)
        for later in (
            [found for found in world.paths[site].rows if found != row] if site in world.paths else []
        ):
            world.finish(site, later, "settled", then_closed=True)
        for other in self._sites("rows") if comes_back else ():
            if row in world.paths[other].rows:
                world.finish(other, row, "put back", then_closed=True)
                return

    # -- time and configuration

    @rule(span=spans)
    def time_passes(self, span: int) -> None:
        self.world.advance(self.world.now + span)

    @precondition(lambda self: self.world.next_wake())
    @rule(early=st.sampled_from([0, 0, 1]))
    def the_next_instant_comes(self, early: int) -> None:
        self.world.advance(max(self.world.now, self.world.next_wake() - early))

    @rule()
    def everything_is_held_or_goes_on(self) -> None:
        if self.world.is_paused:
            self.world.resume()
        else:
            self.world.pause()

    @precondition(lambda self: self.world.paths and self.changes < 2)
    @rule(limit=st.integers(1, 5), max_age=st.sampled_from([600.0, 7200.0, 86_400.0]))
    def it_is_reconfigured(self, limit: int, max_age: float) -> None:
        self.changes += 1
        self.world.reconfigure(limit, max_age)

    def teardown(self) -> None:
        """Everything ends, and nothing is left behind."""
        world = self.world
        world.plan = []
        if world.is_paused:
            world.resume()
        for _ in range(200):
            for hop in list(world.resolves):
                world.never_found(hop)
            for site in list(world.paths):
                self._end(site)
            if not world.messages and not world.paths:
                break
            world.advance(world.next_wake() or world.now)
        world.advance(world.now + REAP_AFTER)
        assert not world.messages
        scheduler = world.scheduler
        assert not (scheduler.paths or scheduler.hops or scheduler.queues or len(scheduler))
        assert scheduler.next_wake() is None
        assert not any(scheduler._places.calendar._buckets)

    def _end(self, site: str) -> None:
        world = self.world
        for attribute, act in (
            ("opening", world.prohibit),
            ("rows", lambda site: world.finish(site, world.paths[site].rows[0], "settled", then_closed=True)),
            ("idle", world.leave),
            ("closing", world.close),
        ):
            for _ in range(PATIENCE):
                if site in world.paths and getattr(world.paths[site], attribute):
                    act(site)

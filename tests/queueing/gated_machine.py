"""The gated world as a Hypothesis state machine: whatever happens to mail, with directives and limits coming and going."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from penstock.mail.directive import Action
from penstock.mail.queue_name import QueueName
from penstock.queueing.scheduler import Scheduler
from tests.queueing.gated_world import MORE, NONE, SOME, GatedWorld, Limits, directive
from tests.queueing.machine import NAMES, SITES, SchedulerMachine, names, sites, spans

CRITERIA = (
    {"tenant": "t1"},
    {"tenant": "t2"},
    {"domain": "a.example"},
    {"tenant": "t1", "domain": "b.example"},
    {"campaign": "spring"},
    {"routing_domain": "a.example"},
    {},
)
SUBJECTS = tuple(
    [(Action.SUSPEND_PATH, f"unspecified->{site}@smtp_client") for site in SITES]
    + [(Action.SUSPEND_SOURCE, "unspecified")]
)
limits = st.sampled_from([NONE, SOME, SOME, MORE])


class GatedMachine(SchedulerMachine):
    """Events in any order. ``make`` makes the scheduler."""

    make: ClassVar[Callable[..., Scheduler]] = Scheduler
    world: GatedWorld

    def __init__(self) -> None:
        super().__init__()
        self.world = GatedWorld(type(self).make)
        self.number = 0

    @initialize(found=limits, mail=st.lists(names, max_size=8), site=sites)
    def it_has_limits(self, found: Limits, mail: list[QueueName], site: str) -> None:
        self.world.use(found)
        for name in mail:
            self.world.add(name)
        self._answer(site, 86_400.0)

    @rule(
        action=st.sampled_from([Action.SUSPEND, Action.SUSPEND, Action.BOUNCE]),
        criteria=st.sampled_from(CRITERIA),
        span=spans,
    )
    def mail_is_directed(self, action: Action, criteria: dict[str, str], span: int) -> None:
        self.number += 1
        self.world.direct(directive(self.number, action, self.world.now, span, criteria))

    @rule(which=st.sampled_from(SUBJECTS), span=spans)
    def a_path_is_suspended(self, which: tuple[Action, str], span: int) -> None:
        self.number += 1
        self.world.direct(directive(self.number, which[0], self.world.now, span, {}, which[1]))

    @precondition(lambda self: self.world.directives)
    @rule(data=st.data())
    def a_directive_is_cancelled(self, data: st.DataObject) -> None:
        self.world.cancel(data.draw(st.sampled_from(sorted(self.world.directives))))

    @precondition(lambda self: self.changes < 4)
    @rule(found=limits)
    def limits_change(self, found: Limits) -> None:
        self.changes += 1
        self.world.use(found)

    @rule(name=st.sampled_from(NAMES[:3]), count=st.integers(3, 8), site=sites)
    def much_mail_comes_in(self, name: QueueName, count: int, site: str) -> None:
        for _ in range(count if len(self.world.messages) < 30 else 0):
            self.world.add(name)
        self._answer(site, 86_400.0)

    @rule()
    def all_connections_are_made(self) -> None:
        for site in self._sites("opening"):
            for _ in range(self.world.paths[site].opening if site in self.world.paths else 0):
                self.world.connect(site)

    @precondition(lambda self: self.world._rates_wake())
    @rule(early=st.sampled_from([0, 0, 1]))
    def a_token_comes(self, early: int) -> None:
        self.world.advance(max(self.world.now, self.world._rates_wake() - early))

    def teardown(self) -> None:
        """Nothing is left behind, once nothing holds."""
        for identity in list(self.world.directives):
            self.world.cancel(identity)
        self.world.use(NONE)
        super().teardown()
        assert not self.world.scheduler._places.gates.parkings

"""Directives in force, held against a naive list of them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from penstock.mail.directive import Action, Criteria, Directive
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.queueing.directives import Directives

LABELS = ("", "a", "b")
DOMAINS = ("one.test", "two.test")
NAMES = [
    QueueName(domain, tenant or None, campaign or None, routing or None)
    for domain in DOMAINS
    for tenant in LABELS
    for campaign in LABELS
    for routing in ("", "hub.test")
]
ANY_NAME = st.sampled_from(NAMES)
CRITERIA = st.one_of(
    st.builds(
        Criteria,
        campaign=st.sampled_from((None, *LABELS)),
        tenant=st.sampled_from((None, *LABELS)),
        domain=st.sampled_from((None, *DOMAINS)),
        routing_domain=st.sampled_from((None, "", "hub.test")),
    ),
    st.builds(Criteria, queue_names=st.frozensets(ANY_NAME, min_size=1, max_size=3)),
)
OF_QUEUES = st.sampled_from([Action.SUSPEND, Action.BOUNCE])
OF_SUBJECTS = st.sampled_from([Action.SUSPEND_PATH, Action.SUSPEND_SOURCE])
SUBJECTS = st.sampled_from(["ip-1", "ip-2"])


class Machine(RuleBasedStateMachine):
    """The tables, and a list in which everything is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.directives = Directives()
        self.model: list[Directive] = []
        self.now = 1000.0
        self.given = 0

    def _put(self, directive: Directive) -> None:
        replaced = self.directives.add(directive)
        same = [
            item
            for item in self.model
            if (item.action, item.criteria, item.subject)
            == (directive.action, directive.criteria, directive.subject)
        ]
        assert same == ([] if replaced is None else [replaced])
        self.model = [item for item in self.model if item not in same] + [directive]

    @rule(action=OF_QUEUES, criteria=CRITERIA, lasts=st.integers(1, 50))
    def give(self, action: Action, criteria: Criteria, lasts: int) -> None:
        self.given += 1
        now = WallTime(self.now)
        self._put(
            Directive(f"d{self.given}", action, "because", now, WallTime(now + lasts), criteria=criteria)
        )

    @rule(action=OF_SUBJECTS, subject=SUBJECTS, lasts=st.integers(1, 50))
    def give_about(self, action: Action, subject: str, lasts: int) -> None:
        self.given += 1
        now = WallTime(self.now)
        self._put(Directive(f"d{self.given}", action, "because", now, WallTime(now + lasts), subject=subject))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        directive = data.draw(st.sampled_from(self.model))
        assert self.directives.remove(directive.id) is directive
        assert self.directives.remove(directive.id) is None
        self.model.remove(directive)

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        over = self.directives.expire(WallTime(self.now))
        assert sorted(item.id for item in over) == sorted(
            item.id for item in self.model if item.expires <= self.now
        )
        self.model = [item for item in self.model if item.expires > self.now]

    @rule(action=OF_QUEUES, name=ANY_NAME)
    def look_up(self, action: Action, name: QueueName) -> None:
        matching = [
            item
            for item in self.model
            if item.action is action and item.criteria.matches(name) and item.expires > self.now
        ]
        found = self.directives.of_queue(action, name, WallTime(self.now))
        assert (found is None) == (not matching)
        if found is not None:
            assert found in matching and found.expires == max(item.expires for item in matching)

    @rule(action=OF_SUBJECTS, subject=SUBJECTS)
    def look_up_subject(self, action: Action, subject: str) -> None:
        matching = [
            item
            for item in self.model
            if item.action is action and item.subject == subject and item.expires > self.now
        ]
        found = self.directives.of_subject(action, subject, WallTime(self.now))
        assert ([] if found is None else [found]) == matching

    @rule()
    def list_them(self) -> None:
        assert list(self.directives) == self.model
        assert len(self.directives) == len(self.model)
        expiry = self.directives.next_expiry()
        assert expiry == min((item.expires for item in self.model), default=None)


TestDirectives = Machine.TestCase
TestDirectives.settings = settings(max_examples=150, stateful_step_count=40)


def test_an_id_is_given_once() -> None:
    """Two directives cannot be told apart otherwise."""
    directives = Directives()
    one = Directive("d1", Action.SUSPEND, "because", WallTime(1.0), WallTime(2.0))
    directives.add(one)
    with pytest.raises(ValueError, match="in force already"):
        directives.add(one)


def test_what_is_renewed_again_and_again_leaves_nothing_behind() -> None:
    """A suspension that automation makes longer every minute is one directive, and one end."""
    directives = Directives()
    for number in range(1000):
        expires = WallTime(1e6 + number)
        directives.add(Directive(f"d{number}", Action.SUSPEND, "because", WallTime(1.0), expires))
    assert len(directives) == 1
    assert len(directives._expiries) < 100
    assert directives.next_expiry() == 1e6 + 999
    assert [directive.id for directive in directives.expire(WallTime(2e6))] == ["d999"]


@pytest.mark.parametrize(
    ("criteria", "text"),
    [
        (Criteria(), "everything"),
        (Criteria(tenant="acme", domain="a.test"), "tenant acme, domain a.test"),
        (Criteria(tenant=""), "tenant (none)"),
        (Criteria(queue_names=frozenset({QueueName("a.test", "acme")})), "queue acme@a.test"),
        (Criteria(queue_names=frozenset(NAMES[:2])), "2 queues: one.test, one.test!hub.test"),
    ],
)
def test_criteria_read_as_words(criteria: Criteria, text: str) -> None:
    """As a list of directives shows them."""
    assert str(criteria) == text
    assert criteria.is_everything == (text == "everything")

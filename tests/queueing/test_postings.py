"""Queues by what criteria name, held against a list of them all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penstock.mail.configuration import QueueConfig
from penstock.mail.directive import Criteria
from penstock.mail.queue_name import QueueName
from penstock.queueing.postings import Postings, Walk
from penstock.queueing.queues import Hop, ScheduledQueue

names = st.builds(
    QueueName,
    st.sampled_from(["a.example", "b.example", "c.example"]),
    st.sampled_from([None, "t1", "t2"]),
    st.sampled_from([None, "spring"]),
    st.sampled_from([None, "hub.example"]),
)
parts = st.sampled_from
criteria = st.one_of(
    st.builds(
        Criteria,
        parts([None, "", "spring", "autumn"]),
        parts([None, "", "t1", "t2"]),
        parts([None, "a.example", "b.example", "z.example"]),
        parts([None, "", "hub.example"]),
    ),
    st.builds(lambda found: Criteria(queue_names=frozenset(found)), st.lists(names, min_size=1, max_size=4)),
)
HOP = Hop("hop.example")


class Owner:
    """Keeps queues as ``Places`` does: a free index is used again."""

    def __init__(self) -> None:
        self.by_name: dict[QueueName, ScheduledQueue] = {}
        self.by_index: list[ScheduledQueue | None] = []
        self.free: list[int] = []
        self.postings = Postings(self.by_name, self.by_index)

    def add(self, name: QueueName) -> None:
        index = self.free.pop() if self.free else len(self.by_index)
        queue = ScheduledQueue(index, name, QueueConfig(), 0, HOP)
        if index == len(self.by_index):
            self.by_index.append(queue)
        else:
            self.by_index[index] = queue
        self.by_name[name] = queue
        self.postings.add(queue)

    def remove(self, name: QueueName) -> None:
        queue = self.by_name[name]
        self.postings.remove(queue)
        del self.by_name[name]
        self.by_index[queue.index] = None
        self.free.append(queue.index)


class PostingsMachine(RuleBasedStateMachine):
    """Queues come and go while some of them are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = Owner()
        #: looks under way: what they must still meet, what they may, what they have met
        self.walks: list[tuple[Walk, set[ScheduledQueue], Criteria, list[ScheduledQueue]]] = []

    @rule(name=names)
    def a_queue_comes(self, name: QueueName) -> None:
        if name not in self.owner.by_name:
            self.owner.add(name)

    @precondition(lambda self: self.owner.by_name)
    @rule(data=st.data())
    def a_queue_goes(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.owner.by_name, key=str)))
        for _, wanted, _, _ in self.walks:
            wanted.discard(self.owner.by_name[name])
        self.owner.remove(name)

    @rule(which=criteria)
    def a_look_begins(self, which: Criteria) -> None:
        wanted = {queue for name, queue in self.owner.by_name.items() if which.matches(name)}
        self.walks.append((self.owner.postings.walk(which), wanted, which, []))

    @precondition(lambda self: self.walks)
    @rule(data=st.data(), count=st.integers(1, 5))
    def some_are_looked_at(self, data: st.DataObject, count: int) -> None:
        look = data.draw(st.sampled_from(self.walks))
        self._go_on(*look, count)
        if look[0].is_over:
            assert not look[1], "queues that were there and were not met"
            self.walks.remove(look)

    def _go_on(
        self,
        walk: Walk,
        wanted: set[ScheduledQueue],
        which: Criteria,
        met: list[ScheduledQueue],
        count: int,
    ) -> None:
        found = walk.take(count)
        assert len(found) <= count
        for queue in found:
            assert self.owner.by_name.get(queue.name) is queue, "a queue that is gone"
            assert which.matches(queue.name), "a queue that does not match"
            assert queue not in met, "a queue twice"
            met.append(queue)
            wanted.discard(queue)

    @invariant()
    def chains_have_what_exists(self) -> None:
        total = [
            sum(chains.size[head] for head in chains.heads.values()) for chains in self.owner.postings.chains
        ]
        assert total == [len(self.owner.by_name)] * len(total), "a queue that is chained nowhere, or twice"

    def teardown(self) -> None:
        """Every look comes to its end, and no value is remembered without a queue."""
        for walk, wanted, which, met in self.walks:
            for _ in range(1000):
                if walk.is_over:
                    break
                self._go_on(walk, wanted, which, met, 3)
            assert walk.is_over
            assert not wanted, "queues that were there and were not met"
        for name in list(self.owner.by_name):
            self.owner.remove(name)
        assert not any(chains.heads for chains in self.owner.postings.chains)


TestPostings = PostingsMachine.TestCase
TestPostings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("mistake", ["not told", "one too far", "not the shortest's others"])
def test_mistakes_in_a_look_are_found(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is not told of a queue that goes, that steps too far, or that takes the chain's word for all criteria."""
    if mistake == "not told":
        monkeypatch.setattr(Walk, "step_over", lambda walk, index: None)
    elif mistake == "one too far":
        step_over = Walk.step_over

        def twice(walk: Walk, index: int) -> None:
            if walk.chains is not None and walk._at == index:
                step_over(walk, index)
                step_over(walk, walk._at)

        monkeypatch.setattr(Walk, "step_over", twice)
    else:
        monkeypatch.setattr(Walk, "_agrees", lambda walk, queue: True)
    with pytest.raises(Exception):  # noqa: B017 -- whatever it notices first
        run_state_machine_as_test(
            PostingsMachine,
            settings=settings(
                max_examples=500, stateful_step_count=40, deadline=None, derandomize=True, database=None,
                report_multiple_bugs=False, phases=(),
            ),
        )  # fmt: skip


@given(st.integers(1, 400))
def test_a_look_at_a_tenant_looks_at_no_others(others: int) -> None:
    """However many queues there are, a tenant with one is found at once; so is the smaller one of two criteria."""
    owner = Owner()
    for index in range(others):
        owner.add(QueueName(f"d{index}.example", "large"))
    owner.add(QueueName("d0.example", "small"))
    for which in (
        Criteria(tenant="small"),
        Criteria(tenant="small", domain="d0.example"),
        Criteria(campaign="", tenant="small"),
    ):
        walk = owner.postings.walk(which)
        assert walk.left == 1
        assert [str(queue.name) for queue in walk.take(1)] == ["small@d0.example"]
        assert walk.is_over
    assert owner.postings.walk(Criteria(tenant="nobody")).is_over


def test_a_look_that_was_given_up_is_forgotten() -> None:
    """Whoever drops a look need not say so."""
    owner = Owner()
    owner.add(QueueName("a.example", "t1"))
    walk = owner.postings.walk(Criteria(tenant="t1"))
    assert len(owner.postings._walks) == 1
    del walk
    assert not owner.postings._walks

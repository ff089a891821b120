"""Fair sharing of a path between tenants, held against what each is due."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.queueing.rounds import Round, Standing
from penstock.queueing.sharing import Sharer, Sharing


class Queue(Sharer):
    """A queue with so many messages."""

    def __init__(self, tenant: str | None, messages: int = 10**9, cost: float = 1.0) -> None:
        super().__init__()
        self._tenant = tenant
        self.messages = messages
        self.cost = cost

    @property
    def tenant(self) -> str | None:
        return self._tenant


def take(sharing: Sharing[Queue]) -> Queue | None:
    """A message of the queue whose turn it is."""
    queue = sharing.next()
    if queue is not None:
        queue.messages -= 1
        sharing.charge(queue, queue.cost)
        if not queue.messages:
            sharing.leave(queue)
    return queue


def taken(sharing: Sharing[Queue], messages: int) -> Counter[str | None]:
    """What so many turns cost each tenant."""
    found: Counter[str | None] = Counter()
    for _ in range(messages):
        queue = take(sharing)
        assert queue is not None
        found[queue.tenant] += queue.cost
    return found


def of(weights: dict[str | None, float], quantum: float = 1.0) -> Sharing[Queue]:
    """Tenants of these weights."""
    return Sharing(lambda tenant: weights.get(tenant, 1.0), quantum)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=2),
    st.data(),
)
def test_shares_are_as_the_weights(weights: dict[str, float], data: st.DataObject) -> None:
    """Whatever messages cost and however many queues a tenant has: nobody is more than a turn and a message away from its share."""
    quantum = data.draw(st.sampled_from([1.0, 10.0, 1000.0]), "quantum")
    sharing: Sharing[Queue] = Sharing(lambda tenant: weights[str(tenant)], quantum)
    dearest = 0.0
    for tenant in weights:
        for _ in range(data.draw(st.integers(1, 3))):
            cost = data.draw(st.floats(0.5, 5000.0))
            dearest = max(dearest, cost)
            sharing.enter(Queue(tenant, cost=cost))
    found = taken(sharing, 2000)
    rounds = {tenant: found[tenant] / (weights[tenant] * quantum) for tenant in weights}
    away = 1 + dearest / (quantum * min(weights.values()))
    assert max(rounds.values()) - min(rounds.values()) <= 2 * away


def test_weights_one_one_two() -> None:
    """To the message, where costs are whole turns."""
    sharing = of({"c": 2.0})
    for tenant in "abc":
        sharing.enter(Queue(tenant))
    assert taken(sharing, 4000) == {"a": 1000, "b": 1000, "c": 2000}


def test_a_tenants_queues_take_turns() -> None:
    """None of them waits for another, however deep that is."""
    sharing = of({})
    queues = [Queue("a", messages) for messages in (1000, 3, 1000)]
    for queue in queues:
        sharing.enter(queue)
    first = [take(sharing) for _ in range(9)]
    assert first == queues * 3


def test_a_newcomers_first_message_leaves_within_a_round() -> None:
    """However long the others have been there, and however much they have queued."""
    sharing = of({"big": 4.0})
    for tenant in ("big", "other"):
        sharing.enter(Queue(tenant))
    taken(sharing, 1001)
    sharing.enter(Queue("new"))
    order = [queue.tenant for queue in (take(sharing) for _ in range(6)) if queue is not None]
    assert "new" in order


def test_what_a_tenant_does_not_use_is_the_others_and_not_saved_up() -> None:
    """An hour of silence gives no burst afterwards."""
    sharing = of({})
    sharing.enter(Queue("a"))
    assert taken(sharing, 500) == {"a": 500}
    sharing.enter(Queue("b"))
    order = [queue.tenant for queue in (take(sharing) for _ in range(100)) if queue is not None]
    assert all(one != other for one, other in pairwise(order))


def test_debt_outlasts_an_empty_queue() -> None:
    """A tenant that sends one huge message at a time gets no more than its share by being empty in between."""
    sharing = of({}, quantum=10.0)
    sharing.enter(Queue("steady", cost=10.0))
    found: Counter[str | None] = Counter()
    for _ in range(3000):
        if not any(share.tenant == "huge" for share in sharing):
            sharing.enter(Queue("huge", 1, cost=1000.0))
        queue = take(sharing)
        assert queue is not None
        found[queue.tenant] += queue.cost
    assert found["huge"] == pytest.approx(found["steady"], abs=2020)


def test_debts_of_thousands_of_rounds_are_not_gone_through() -> None:
    """Octets with a quantum of one: the next turn is found at once."""
    sharing = of({"b": 3.0})
    for tenant in "ab":
        sharing.enter(Queue(tenant, cost=20e6))
    found = taken(sharing, 400)
    assert found["b"] == pytest.approx(3 * found["a"], rel=0.02)


class RoundMachine(RuleBasedStateMachine):
    """A round, held against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.round: Round[Standing] = Round()
        self.model: list[Standing] = []

    @rule()
    def add(self) -> None:
        newcomer = Standing()
        self.round.add(newcomer)
        self.model.append(newcomer)

    @rule()
    def advance(self) -> None:
        self.round.advance()
        self.model = self.model[1:] + self.model[:1]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        leaver = data.draw(st.sampled_from(self.model))
        self.round.remove(leaver)
        self.model.remove(leaver)
        assert not leaver.stands

    @invariant()
    def agrees(self) -> None:
        assert list(self.round) == self.model
        assert bool(self.round) == bool(self.model)


TestRound = RoundMachine.TestCase
TestRound.settings = settings(max_examples=50)

"""What the policy says of queues: asked once, remembered for its time, the old answer kept while it fails, and mail held until the first."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from penstock.mail.configuration import QueueConfig, QueuesConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_layers import QueueLayer, QueueLayers
from penstock.mail.queue_name import QueueName, parse_queue_name
from penstock.mail.rate import parse_rate
from penstock.mail.reply import reply
from penstock.policy import Verdict
from penstock.worker.queue_options import NOTHING, QueueOptions

NAME = parse_queue_name("spring:acme@example.com")
FILES = QueuesConfig(
    layers=QueueLayers({
        (None, None, None): QueueLayer({"max_age": 60.0, "egress_pool": "p"}, {"max_age": "q.toml: a", "egress_pool": "q.toml: b"}),
        (None, "acme", None): QueueLayer(overall=parse_rate("100/s")),
    })
)  # fmt: skip


class Timer:
    """A call to come."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """See ``quotas.Timer``."""
        self.call = None


class World:
    """The policy, the clock and the scheduler, as far as queues' options are concerned."""

    def __init__(self, *, hook: bool = True) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.asked: list[tuple[QueueName, Callable[[Verdict], None]]] = []
        self.hook = hook
        self.inline: Callable[[QueueName], object] | None = None
        self.living: set[QueueName] = set()
        self.changes: list[QueueName] = []
        self.faults: list[str] = []
        self.options = QueueOptions(
            FILES, self, self, self.call_later, self.has, self.changed, self.faults.append
        )

    def monotonic(self) -> MonotonicTime:
        """See ``mail.ports.Clock``."""
        return MonotonicTime(self.now)

    def wall(self) -> WallTime:
        """See ``mail.ports.Clock``."""
        return WallTime(self.now)

    def call_later(self, delay: Seconds, callback: Callable[[], None], /) -> Timer:
        """See ``mail.ports.Clock``."""
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def has(self, what: str | QueueName) -> bool:
        """A hook, or a queue."""
        return self.hook if isinstance(what, str) else what in self.living

    def changed(self, name: QueueName) -> None:
        """Remember it."""
        self.changes.append(name)

    def ask(self, hook: str, arguments: tuple[object, ...], done: Callable[[Verdict], None]) -> object:
        """Remember the question, or answer at once."""
        assert hook == "queue_config"
        (name,) = arguments
        assert isinstance(name, QueueName)
        if self.inline is not None:
            done(Verdict(self.inline(name)))
        else:
            self.asked.append((name, done))
        return None

    def queue(self, name: QueueName = NAME) -> QueueConfig:
        """The options of a queue that there is."""
        self.living.add(name)
        return self.options(name)

    def answer(self, value: object = None, *, fault: str = "") -> QueueName:
        """Have the oldest question answered."""
        name, done = self.asked.pop(0)
        done(Verdict(value, reply(451, "4.3.0", "x") if fault else None, fault=fault))
        return name

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.call is not None and timer.at <= end]:
            timer = min(due, key=lambda each: each.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            assert timer.call is not None
            timer.call()
        self.now = end


def test_without_the_hook_the_files_hold_and_nobody_is_asked() -> None:
    """And queues under the same tables share a record."""
    world = World(hook=False)
    first = world.queue()
    assert (first.max_age, [limit.key for limit in first.overall]) == (60.0, ["tenant:acme"])
    assert world.queue(QueueName("example.net", "acme")) is first
    assert not world.asked
    assert not world.timers


def test_a_queue_is_held_until_the_hook_has_answered() -> None:
    """By a rate of nothing, in front of those that it has; its age counts by the files meanwhile."""
    world = World()
    held = world.queue()
    assert [(limit.gate, limit.rate) for limit in held.overall] == [
        ("options", NOTHING),
        ("tenant-rate", parse_rate("100/s")),
    ]
    assert held.overall[0].key == f"options:{NAME}"
    assert held.max_age == 60.0
    assert not world.changes
    assert world.answer({"max_message_rate": "5/minute", "max_age": "2 hours"}) == NAME
    assert world.changes == [NAME]
    known = world.queue()
    assert (known.max_age, known.max_message_rate) == (7200.0, parse_rate("5/minute"))
    assert [limit.gate for limit in known.overall] == ["tenant-rate"]
    assert known.origins == {
        "max_age": "policy: queue_config",
        "max_message_rate": "policy: queue_config",
        "egress_pool": "q.toml: b",
    }


@pytest.mark.parametrize("value", [None, {}])
def test_a_hook_without_an_opinion_leaves_it_to_the_files(value: object) -> None:
    """The queue is let go nevertheless."""
    world = World()
    world.queue()
    world.answer(value)
    assert world.changes == [NAME]
    assert world.queue() == World(hook=False).queue()


def test_a_hook_that_answers_at_once_holds_nothing() -> None:
    """One that is inline."""
    world = World()
    world.inline = lambda name: {"max_age": 5, "egress_pool": name.tenant}
    queue = world.queue()
    assert (queue.max_age, queue.egress_pool, [limit.gate for limit in queue.overall]) == (
        5.0,
        "acme",
        ["tenant-rate"],
    )


def test_an_answer_counts_for_its_time_and_until_the_next_is_there() -> None:
    """Then the hook is asked again; the queue hears of it where something is otherwise."""
    world = World()
    world.queue()
    world.answer({"max_age": 5, "refresh_interval": "10s"})
    world.changes.clear()
    world.advance(9.9)
    assert not world.asked
    world.advance(0.2)
    assert world.queue().max_age == 5.0
    world.answer({"max_age": 5, "refresh_interval": "10s"})
    assert not world.changes
    world.advance(10.5)
    world.answer({"max_age": 6})
    assert (world.changes, world.queue().max_age) == ([NAME], 6.0)
    world.advance(59.0)
    assert not world.asked
    world.advance(1.5)
    assert len(world.asked) == 1


def test_the_old_answer_is_kept_while_the_hook_fails() -> None:
    """It is asked again ever more slowly, and told of once."""
    world = World()
    world.queue()
    world.answer({"max_age": 5})
    world.changes.clear()
    times = []
    for _ in range(12):
        world.advance(0.0)
        while not world.asked:
            world.advance(0.5)
        times.append(world.now)
        world.answer(fault="queue_config: ConnectionError")
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits[:4] == pytest.approx([1, 2, 4, 8], abs=0.6)
    assert max(waits) == pytest.approx(300, abs=0.6)
    assert world.queue().max_age == 5.0
    assert not world.changes
    assert world.faults == [f"queue_config: {NAME}: queue_config: ConnectionError"]
    world.advance(301.0)
    world.answer({"max_age": 7})
    assert world.queue().max_age == 7.0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"max_agee": 5}, "did you mean 'max_age'?"),
        ({"max_message_rate": "5"}, "is no rate"),
        ({"routing_domain": "x.example"}, "routing_domain: is not yet supported"),
        ({"overall_max_message_rate": "5/s"}, "overall_max_message_rate: unknown key"),
        ({5: 5}, "unknown key"),
        ({"refresh_interval": 0.1}, "too short"),
    ],
)
def test_options_that_are_none_are_a_failure(value: dict[object, object], said: str) -> None:
    """The queue stays held, and the event has the words that a file would have got."""
    world = World()
    world.queue()
    world.answer(value)
    assert said in world.faults[0]
    assert world.queue().overall[0].rate is NOTHING
    world.advance(1.0)
    assert len(world.asked) == 1


def test_a_hook_that_refuses_has_failed() -> None:
    """There is nobody to be refused."""
    world = World()
    world.queue()
    _, done = world.asked.pop()
    done(Verdict(refusal=reply(550, "5.7.1", "no")))
    assert "it refused, and has nothing to refuse: 550 5.7.1 no" in world.faults[0]


def test_few_are_asked_at_once_and_those_that_are_held_first() -> None:
    """Fifty thousand queues after a start do not call fifty thousand hooks; a queue that is held does not wait behind old answers."""
    world = World()
    old = [QueueName(f"old{number}.test") for number in range(40)]
    for name in old:
        world.queue(name)
    asked = []
    while world.asked:
        assert len(world.asked) <= 16
        asked.append(world.answer())
    assert asked == old
    world.advance(60.5)
    assert len(world.asked) == 16
    world.queue()
    for _ in range(16):
        world.answer()
    assert NAME in [name for name, _ in world.asked]


def test_of_a_queue_that_is_gone_nothing_is_remembered() -> None:
    """Its answer runs out, and nobody asks again; if it comes back it is held again."""
    world = World()
    world.queue()
    world.answer({"max_age": 5})
    world.living.clear()
    world.advance(120.0)
    assert not world.asked
    assert not [timer for timer in world.timers if timer.call is not None]
    assert world.queue().overall[0].gate == "options"


def test_old_answers_count_until_the_new_policy_has_answered() -> None:
    """Of a reload mail notices nothing; what the old policy still says counts no more."""
    world = World()
    world.queue()
    world.answer({"max_age": 5})
    other = QueueName("example.net")
    world.queue(other)
    ((_, late),) = world.asked
    world.asked.clear()
    world.options.use(QueuesConfig(), world)
    assert world.queue().max_age == 5.0
    assert {name for name, _ in world.asked} == {NAME, other}
    late(Verdict({"max_age": 1}))
    assert world.queue(other).overall[0].gate == "options"
    while world.asked:
        world.answer({"max_age": 9})
    assert (world.queue().max_age, world.queue(other).max_age) == (9.0, 9.0)
    world.hook = False
    world.options.use(QueuesConfig(), world)
    assert world.queue() == QueueConfig()


def test_a_flood_of_failures_is_not_a_flood_of_events() -> None:
    """A database that is away fails for every queue; the first twenty are told."""
    world = World()
    for number in range(60):
        world.queue(QueueName(f"d{number}.test"))
    while world.asked:
        world.answer(fault="away")
    assert len(world.faults) == 20

"""A queue whose options are not known yet is held by a rate of nothing, and goes on as soon as they are."""

from __future__ import annotations

import msgspec

from penstock.mail.configuration import Limit, QueueConfig
from penstock.mail.duration import Seconds
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import parse_rate
from penstock.worker.queue_options import NOTHING
from tests.queueing.bench import Bench

UNKNOWN = QueueConfig(
    max_age=Seconds(3600.0), overall=(Limit("options", "options:a@x.test", NOTHING, "not answered yet"),)
)


def test_it_is_held_without_a_wake_up_and_lets_others_pass() -> None:
    """No connection is asked for on its behalf; a queue beside it goes."""
    bench = Bench({"a@x.test": UNKNOWN})
    bench.add("a@x.test", 3)
    bench.pass_time(60.0)
    assert (bench.connects, bench.delivered, bench.wakes) == (0, [], 0)
    hold = bench.scheduler.queues[QueueName("x.test", "a")].hold
    assert hold is not None
    assert (hold.gate, hold.reason) == ("options", "not answered yet")
    queue = bench.scheduler.queues[QueueName("x.test", "a")]
    held = [reason for reason in bench.scheduler.explain_queue(queue, bench.wall) if reason.is_holding]
    assert [(reason.gate, reason.text, reason.awaits) for reason in held] == [
        ("options", "not answered yet", "an answer")
    ]
    bench.add("b@x.test", 2)
    bench.pass_time(1.0)
    assert [name for _, name in bench.delivered] == ["b@x.test"] * 2


def test_once_they_are_known_it_goes_by_them() -> None:
    """At once, and not faster than they say."""
    bench = Bench({"a@x.test": UNKNOWN})
    bench.add("a@x.test", 3)
    bench.pass_time(10.0)
    known = QueueConfig(max_age=Seconds(3600.0), max_message_rate=parse_rate("1/minute"))
    bench.configs["a@x.test"] = known
    bench.scheduler.reread(QueueName("x.test", "a"), bench.wall)
    begin = bench.now
    bench.pass_time(130.0)
    assert [round(time - begin) for time, _ in bench.delivered] == [0, 60, 120]


def test_a_change_of_options_is_taken_up_while_mail_waits_for_the_old_ones() -> None:
    """A higher rate lets the next message go without the wait for the lower one's token."""
    slow = QueueConfig(max_message_rate=parse_rate("1/h"))
    bench = Bench({"a@x.test": slow})
    bench.add("a@x.test", 4)
    bench.pass_time(60.0)
    assert len(bench.delivered) == 1
    bench.configs["a@x.test"] = msgspec.structs.replace(slow, max_message_rate=None)
    bench.scheduler.reread(QueueName("x.test", "a"), bench.wall)
    bench.pass_time(1.0)
    assert len(bench.delivered) == 4

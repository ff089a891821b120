"""What people ask for, as they write it, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from penstock.mail.control import (
    NAMES_LIMIT,
    ControlRefused,
    DirectiveRequest,
    WrittenCriteria,
    criteria_of,
    queue_of,
    rebinding_of,
)
from penstock.mail.directive import Action, Criteria, Rebinding
from penstock.mail.duration import Seconds, WallTime
from penstock.mail.queue_name import QueueName

NOW = WallTime(1e9)


def test_criteria_are_read_as_queues_have_them() -> None:
    """Domains in lower case, as A-labels; "" is mail that has none."""
    written = WrittenCriteria("news", "", "Müller.Example", "")
    assert criteria_of(written) == Criteria("news", "", "xn--mller-kva.example", "")
    assert criteria_of(WrittenCriteria()).is_everything
    names = WrittenCriteria(queue_names=("c:t@A.test!B.test", "d.test"))
    assert criteria_of(names).queue_names == {QueueName("a.test", "t", "c", "b.test"), QueueName("d.test")}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (WrittenCriteria(tenant="a b"), "'a b' is no tenant"),
        (WrittenCriteria(campaign="a:b"), "'a:b' is no campaign"),
        (WrittenCriteria(domain="a b"), "'a b' is no domain"),
        (WrittenCriteria(domain=""), "'' is no domain"),
        (WrittenCriteria(queue_names=("@x",)), "'@x' is no queue name"),
        (WrittenCriteria(tenant="a", queue_names=("x.test",)), "not both"),
        (WrittenCriteria(queue_names=("x.test",) * (NAMES_LIMIT + 1)), "at most 10000 queue names"),
    ],
)
def test_what_is_no_criteria_is_refused(written: WrittenCriteria, told: str) -> None:
    """With what it is not."""
    with pytest.raises(ControlRefused, match=told):
        criteria_of(written)


def test_a_directive_holds_for_five_minutes_if_nobody_says() -> None:
    """As KumoMTA's."""
    made = DirectiveRequest(Action.SUSPEND, WrittenCriteria(tenant="acme"), reason=" too\nmuch ")
    directive = made.directive("id", "ann", NOW)
    assert (directive.expires, directive.reason, directive.author) == (NOW + 300, "too much", "ann")
    longer = msgspec.structs.replace(made, duration=Seconds(60.0))
    assert longer.directive("id", "ann", NOW).expires == NOW + 60
    until = msgspec.structs.replace(made, expires=WallTime(NOW + 5))
    assert until.directive("id", "ann", NOW).expires == NOW + 5


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (DirectiveRequest(Action.SUSPEND, subject="x"), "takes criteria"),
        (DirectiveRequest(Action.SUSPEND_PATH), "takes a subject"),
        (DirectiveRequest(Action.SUSPEND_PATH, subject="mx.a.test"), "is no path; write source->site"),
        (DirectiveRequest(Action.SUSPEND_SOURCE, WrittenCriteria(tenant="a"), "ip-1"), "no criteria"),
        (DirectiveRequest(Action.SUSPEND_SOURCE, subject="x" * 1001), "at most 1000"),
        (DirectiveRequest(Action.BOUNCE, reason="x" * 1001), "at most 1000"),
        (DirectiveRequest(Action.BOUNCE, duration=Seconds(1.0), expires=WallTime(NOW + 1)), "not both"),
        (DirectiveRequest(Action.BOUNCE, duration=Seconds(0.0)), "end later than now"),
        (DirectiveRequest(Action.BOUNCE, expires=WallTime(NOW)), "end later than now"),
        (DirectiveRequest(Action.BOUNCE, expires=WallTime(float("nan"))), "end later than now"),
        (DirectiveRequest(Action.BOUNCE, expires=WallTime(1e30)), "a hundred years"),
    ],
)
def test_what_is_no_directive_is_refused(asked: DirectiveRequest, told: str) -> None:
    """With what would be one."""
    with pytest.raises(ControlRefused, match=told):
        asked.directive("id", "ann", NOW)


def test_a_path_has_its_protocol_or_gets_it() -> None:
    """Events have it, and penstock status has not."""
    for written in ("ip-1->mx.a.test", "ip-1->mx.a.test@smtp_client"):
        directive = DirectiveRequest(Action.SUSPEND_PATH, subject=written).directive("id", "", NOW)
        assert directive.subject == "ip-1->mx.a.test@smtp_client"


def test_a_rebind_changes_something() -> None:
    """None is as it is, "" is none from now on."""
    assert rebinding_of(Rebinding("acme", None, "")) == Rebinding("acme", None, "")
    assert rebinding_of(Rebinding(routing_domain="A.test")) == Rebinding(routing_domain="a.test")
    with pytest.raises(ControlRefused, match="what becomes otherwise"):
        rebinding_of(Rebinding())
    with pytest.raises(ControlRefused, match="is no tenant"):
        rebinding_of(Rebinding("@"))


def test_a_queue_is_named_as_it_is_written() -> None:
    """Whatever the case of its domain."""
    assert queue_of("T@A.test") == QueueName("a.test", "T")
    with pytest.raises(ControlRefused, match="is no domain"):
        queue_of("a b.test")

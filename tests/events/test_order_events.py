"""Events of orders: what they did to messages, and directives; and the sums, also where no events are wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.events.event import Counts, Event, UnloggedEvent
from penstock.events.ledger import Ledger
from penstock.events.record import derive, encode
from penstock.events.totals import Totals
from penstock.mail.directive import SweepAction
from penstock.mail.queue_name import QueueName
from penstock.mail.records import DirectiveChange, SpoolRecord, Verdict

from .log_files import Files
from .samples import ID, attempt, directive, flush, in_queue, message, outcome, rebind, removal


def events(*records: SpoolRecord) -> list[Event]:
    """What is made of them."""
    return [event for record in records for event in derive(record, node="mta.example", epoch=7)]


def lines(*records: SpoolRecord) -> list[dict[str, Any]]:
    """As a reader of the log has them."""
    return [json.loads(encode([event])) for event in events(*records)]


def test_a_removal_is_one_event_for_each_recipient() -> None:
    """With the reply that says why, by whose order, and the site alone; ids and numbers are as of an expiration."""
    sent = message("a", "b", "c")
    first, second = lines(removal(0, 2, of=sent, attempts=2))
    assert (first["type"], first["recipient"], second["recipient"]) == (
        "AdminBounce",
        "a@dest.example",
        "c@dest.example",
    )
    assert first["response"] == {
        "code": 551,
        "enhanced_code": {"class": 5, "subject": 7, "detail": 1},
        "content": "Penstock internal: bounced by an administrator: complaints",
        "command": None,
    }
    assert (first["order_id"], first["author"]) == ("d-17", "ann")
    assert (first["site"], first["num_attempts"], first["egress_source"]) == ("mx.dest.example", 2, None)
    assert (second["event_id"], second["sequence"]) == (f"{ID}-2-2-AdminBounce", 18)
    assert "previous_queue" not in first and "num_recipients" not in first
    assert lines(removal(action=SweepAction.DELETE))[0]["type"] == "AdminDelete"


def test_a_rebind_is_one_event_that_says_from_where_to_where() -> None:
    """In its new queue, of the new tenant; its id has the time, for it may happen again."""
    [event] = lines(rebind(1, of=message("a", "b")))
    assert (event["type"], event["queue"], event["tenant"], event["campaign"]) == (
        "AdminRebind",
        "beta@dest.example",
        "beta",
        None,
    )
    assert (event["previous_queue"], event["previous_tenant"]) == ("spring:acme@dest.example", "acme")
    assert event["response"]["code"] == 250
    assert (
        event["response"]["content"]
        == "Rebound from spring:acme@dest.example to beta@dest.example: complaints"
    )
    assert (event["recipient"], event["num_recipients"]) == (["a@dest.example", "b@dest.example"], 1)
    assert event["event_id"] == f"{ID}-all-1-AdminRebind-1763668810250000"
    assert event["sequence"] == 6


def test_a_flush_is_one_event() -> None:
    """In its queue, for all that wait."""
    [event] = lines(flush())
    assert (event["type"], event["queue"], event["num_recipients"]) == (
        "AdminFlush",
        "spring:acme@dest.example",
        1,
    )
    assert event["response"]["content"] == "Due now: complaints"
    assert event["event_id"] == f"{ID}-all-1-AdminFlush-1763668820250000"


@pytest.mark.parametrize("change", list(DirectiveChange))
def test_a_directive_says_what_became_of_it(change: DirectiveChange) -> None:
    """What it does, what it is about, how much that is, until when, and why; it is of no message."""
    [event] = lines(directive(change))
    assert (event["type"], event["id"], event["queue"], event["tenant"]) == ("Directive", ID, "", "acme")
    assert event["response"]["command"] == f"suspend {change.value}"
    assert (
        event["response"]["content"]
        == "tenant acme; 1200 messages queued; until 2025-11-20T20:05:00.250000Z: complaints"
    )
    assert (event["order_id"], event["author"], event["event_id"]) == ("d-18", "ann", f"{ID}-all-0-Directive")


def test_an_outcome_after_a_rebind_is_of_the_new_tenant() -> None:
    """Whoever counts by tenant finds it where the message was."""
    moved = in_queue(message(), QueueName("dest.example", "beta"))
    [event] = lines(attempt(outcome(Verdict.ACCEPTED), of=moved))
    assert (event["queue"], event["tenant"]) == ("beta@dest.example", "beta")


def test_sums_have_what_was_dropped_and_what_went_from_tenant_to_tenant() -> None:
    """An order within a tenant moves nothing; a flush counts as nothing."""
    sent = message("a", "b", "c", "d")
    totals = Totals()
    totals.add(
        events(
            sent,
            rebind(0, 1, 2, of=sent),
            rebind(0, of=in_queue(sent, QueueName("dest.example", "beta")), to="beta"),
            flush(of=sent),
            removal(0, of=in_queue(sent, QueueName("dest.example", "beta"))),
            removal(3, of=sent, action=SweepAction.DELETE),
        )
    )
    assert totals.total == Counts(accepted=4, moved_in=3, moved_out=3, dropped=2, queued=2)
    acme, beta = totals.tenants
    assert (acme.accepted, acme.moved_out, acme.dropped, acme.queued) == (4, 3, 1, 0)
    assert (beta.moved_in, beta.dropped, beta.queued) == (3, 1, 2)


def test_events_that_nobody_wants_are_counted_all_the_same() -> None:
    """The sums are as with them, and say how much of it there is no event of."""
    sent = message("a", "b", "c")
    moved = in_queue(sent, QueueName("dest.example", "beta"))
    wanted = events(sent, rebind(0, 1, of=sent), flush(of=moved), removal(0, of=moved))
    silent = events(
        rebind(0, 1, of=sent, suppress_logging=True),
        flush(of=moved, suppress_logging=True),
        removal(0, of=moved, suppress_logging=True),
    )
    assert all(isinstance(event, UnloggedEvent) for event in silent)
    assert encode(silent) == encode(wanted[1:])
    told, counted = Totals(), Totals()
    told.add(wanted)
    counted.add(events(sent))
    counted.add_unlogged(silent)
    assert counted.total == Counts(accepted=3, moved_in=2, moved_out=2, dropped=1, queued=2, unlogged=1)
    assert (told.total.queued, told.total.dropped) == (2, 1)
    assert {tenant: counted.unlogged_of(tenant) for tenant in ("acme", "beta", None)} == {
        "acme": 2,
        "beta": -1,
        None: 0,
    }


def sample(directory: Path) -> Files:
    """Mail that goes from tenant to tenant, is dropped by one and delivered by the other, in three files; four recipients wait."""
    files = Files(directory)
    files.begin()
    first, second = files.accept("a", "b", "c"), files.accept("a", "b", tenant="gamma")
    files.write(rebind(0, 1, 2, of=first))
    files.begin()
    moved = in_queue(first, QueueName("dest.example", "beta"))
    files.settle(moved, 0)
    files.write(rebind(0, 1, of=second))
    files.begin()
    files.write(removal(1, of=moved))
    files.write(removal(0, of=in_queue(second, QueueName("dest.example", "beta"))))
    files.accept("a", "b", tenant="gamma")
    return files


def queued(directory: Path) -> dict[str | None, int]:
    """Recipients by tenant, as the ledger has them; it holds."""
    report = Ledger(directory).report()
    assert report.findings == []
    assert report.totals.queued == sum(counts.queued for counts in report.tenants)
    return {counts.tenant: counts.queued for counts in report.tenants if counts.queued}


@pytest.mark.parametrize("kept", [3, 2, 1])
def test_the_ledger_follows_mail_from_tenant_to_tenant(tmp_path: Path, kept: int) -> None:
    """Also where the files are gone in which it was accepted."""
    directory = sample(tmp_path).save()
    for path in sorted(directory.iterdir())[:-kept]:
        path.unlink()
    assert queued(directory) == {"beta": 2, "gamma": 2}


def test_events_of_mail_that_was_rebound_may_be_in_any_order(tmp_path: Path) -> None:
    """What came of it before it was accepted, by the order of the lines, is its tenant's of then."""
    files = sample(tmp_path)
    events = [line for each in files.files for line in each[1:]]
    for turn in range(len(events)):
        files.files = [[files.files[0][0], *events[turn:], *events[:turn]]]
        assert queued(files.save()) == {"beta": 2, "gamma": 2}
        files.files[0][1:] = reversed(files.files[0][1:])
        assert queued(files.save()) == {"beta": 2, "gamma": 2}


def test_a_removal_that_is_there_twice_is_found(tmp_path: Path) -> None:
    """As any recipient that is settled twice."""
    files = sample(tmp_path)
    files.files[2].append(next(line for line in files.files[2] if b"AdminBounce" in line))
    assert [item.what for item in Ledger(files.save()).report().findings if "twice" in item.what]


def silent_sample(directory: Path) -> Files:
    """A message that is moved and half of it dropped, without an event; sums are written within the file, and open the next one."""
    files = Files(directory)
    files.begin()
    sent = files.accept("a", "b")
    moved = in_queue(sent, QueueName("dest.example", "beta"))
    files.write_silently(rebind(0, 1, of=sent, suppress_logging=True))
    files.write_silently(removal(0, of=moved, suppress_logging=True))
    files.sum_up()
    files.settle(moved, 1)
    files.accept("a")
    files.begin()
    files.settle(files.accept("a"))
    return files


@pytest.mark.parametrize("kept", [2, 1])
def test_the_ledger_believes_sums_that_tell_of_orders_without_events(tmp_path: Path, kept: int) -> None:
    """In the file where they happened, or from what a later one opens with."""
    directory = silent_sample(tmp_path).save()
    for path in sorted(directory.iterdir())[:-kept]:
        path.unlink()
    assert queued(directory) == {"acme": 1}


def test_the_ledger_believes_no_more_than_the_sums_say_of_orders(tmp_path: Path) -> None:
    """Sums that say more was dropped than they say was without events are not right."""
    files = silent_sample(tmp_path)
    line = files.files[0][2]
    assert b'"Totals"' in line and line.count(b'"dropped":1') == 2
    files.files[0][2] = line.replace(b'"dropped":1', b'"dropped":2').replace(b'"queued":1', b'"queued":0')
    files.files = files.files[:1]
    findings = [item.what for item in Ledger(files.save()).report().findings]
    assert any(what.startswith("the sums that a file opens with") for what in findings)

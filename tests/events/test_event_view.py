"""Which events are wanted, and how they look to a person."""

from __future__ import annotations

import pytest

from penstock.events.record import derive, encode
from penstock.events.totals import Totals, opening_line
from penstock.events.view import Filter, pieces
from penstock.mail.records import SpoolRecord, Verdict
from penstock.mail.reply import Reply

from .samples import CREATED, ID, attempt, message, outcome, peer, quarantine


def line_of(record: SpoolRecord) -> bytes:
    """The only event of a record."""
    return encode(derive(record, node="mta.example", epoch=1)).rstrip(b"\n")


def plain(line: bytes) -> str:
    """A line without colour."""
    return "".join(text for text, _ in pieces(line))


DELIVERY = line_of(attempt(outcome(Verdict.ACCEPTED), to=peer()))


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (Filter(), True),
        (Filter(types=frozenset({"Bounce", "Delivery"})), True),
        (Filter(types=frozenset({"Bounce"})), False),
        (Filter(tenants=frozenset({"acme"})), True),
        (Filter(tenants=frozenset({""})), False),
        (Filter(campaigns=frozenset({"spring"})), True),
        (Filter(campaigns=frozenset({"autumn"})), False),
        (Filter(domains=frozenset({"dest.example"})), True),
        (Filter(domains=frozenset({"example"})), False),
        (Filter(ids=frozenset({ID})), True),
        (Filter(ids=frozenset({"x"})), False),
        (Filter(since="2025-11-20T20:00:01.250000Z"), True),
        (Filter(since="2025-11-20T20:00:01.250001Z"), False),
        (Filter(types=frozenset({"Delivery"}), tenants=frozenset({"other"})), False),
    ],
    ids=str,
)
def test_criteria_select_events(wanted: Filter, is_wanted: bool) -> None:
    """The values of a criterion are ORed, criteria are ANDed."""
    assert wanted.is_wanted(DELIVERY) is is_wanted


def opening() -> bytes:
    """The first line of a file, after one message."""
    totals = Totals()
    totals.add(derive(message("a", "b"), node="mta.example", epoch=1))
    return opening_line(totals, "20251120-200000.000000", CREATED, "mta.example", 1).rstrip(b"\n")


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (Filter(), False),
        (Filter(tenants=frozenset({""})), False),
        (Filter(since="2025"), False),
        (Filter(types=frozenset({"Totals"})), True),
        (Filter(types=frozenset({"Delivery"})), False),
    ],
    ids=str,
)
def test_totals_are_wanted_only_by_type(wanted: Filter, is_wanted: bool) -> None:
    """They are nothing that has happened."""
    assert wanted.is_wanted(opening()) is is_wanted


def test_totals_and_quarantine_are_shown_with_their_numbers() -> None:
    """There is nobody from whom and to whom they are."""
    assert "  accepted 2, queued 2  " in plain(opening())
    assert "  2 recipients of spring:acme@dest.example  0 its checksum is not right" in plain(
        line_of(quarantine())
    )


def test_any_recipient_in_the_domain_will_do() -> None:
    """A Reception has many recipients."""
    assert Filter(domains=frozenset({"dest.example"})).is_wanted(line_of(message("a", "b")))


def test_mail_without_a_tenant_can_be_asked_for() -> None:
    """The tenant ``""`` is mail that has none."""
    assert Filter(tenants=frozenset({""})).is_wanted(line_of(message(tenant=None, campaign=None)))


NO_EVENTS = [b"", b"[]", b"{", b'{"type":1}', b"\xff\xfe", b"[" * 100_000, b'{"x":' * 100_000]


@pytest.mark.parametrize("line", NO_EVENTS, ids=lambda line: repr(line[:8]))
def test_what_is_no_event_is_shown_only_if_nothing_was_asked_for(line: bytes) -> None:
    """A damaged log is read as far as it goes."""
    assert Filter().is_wanted(line)
    assert not Filter(types=frozenset({"Delivery"})).is_wanted(line)
    assert plain(line).startswith("not an event: ")
    assert len(plain(line)) < 250


def test_event_of_a_later_version_is_shown() -> None:
    """Types that are unknown and fields that are missing do no harm."""
    assert plain(b'{"type":"Teleport","news":{"x":[1]}}').split() == ["Teleport", "-", "<>", "->", "-"]


def test_delivery_in_one_line() -> None:
    """Time, type, owner, who to whom, reply, id."""
    assert plain(DELIVERY) == (
        "2025-11-20 20:00:01.250  Delivery          acme/spring  sender@send.example -> one@dest.example"
        f"  250 2.0.0 OK queued  {ID}"
    )


def test_many_recipients_are_shortened() -> None:
    """A person does not read a thousand addresses."""
    assert "a@dest.example, b@dest.example, c@dest.example and 2 more" in plain(line_of(message(*"abcde")))


def test_text_that_turns_the_line_around_is_not_shown() -> None:
    """Marks that reorder text stay in the log and are replaced on the terminal; so is whatever else drives one."""
    answer = Reply(550, None, "fine \u202egnorw\u202c")
    line = line_of(attempt(outcome(Verdict.FAILED, answer=answer), to=peer()))
    assert "\u202e".encode() in line
    assert "550 fine ?gnorw?" in plain(line)
    assert "\x1b" not in plain(b'{"type":"\\u001b[2J"}')


def test_a_directive_is_shown_with_what_became_of_it() -> None:
    """What it does, what it is about, and why; nobody sent it to anybody."""
    line = b'{"type":"Directive","id":"1","response":{"code":0,"content":"tenant acme: spam","command":"suspend given"}}'
    text = "".join(piece for piece, _ in pieces(line))
    assert text.split() == ["Directive", "-", "suspend", "given", "tenant", "acme:", "spam", "1"]

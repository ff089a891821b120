"""Events derived from spool records: every field, ids and numbers that hold, and nothing of a stranger's that could harm a log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.events.event import Event, EventType
from penstock.events.field import CONTENT_LIMIT
from penstock.events.record import derive, encode
from penstock.mail.records import INTERNAL, POLICY_ERROR_LIMIT, SpoolRecord, Verdict
from penstock.mail.reply import Reply, reply
from penstock.mail.tls import TlsFacts

from .samples import (
    CREATED,
    ID,
    attempt,
    expiration,
    message,
    outcome,
    peer,
    policy_error,
    quarantine,
    reception,
    rejection,
    spool_health,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "events.md"

TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "CN=them", is_verified=True)
ENCRYPTED = {
    "tls_cipher": "TLS_AES_256_GCM_SHA384",
    "tls_protocol_version": "TLSv1.3",
    "tls_peer_subject_name": "CN=them",
}

#: What a stranger may put wherever a stranger has a say.
HOSTILE = {
    "line feed": '\n{"type":"Delivery","id":"fake"}',
    "carriage return": "\r2026-11-20 fake",
    "both": "a\r\nb",
    "ANSI": "\x1b[2J\x1b]0;title\x07",
    "C1 control": "\x9b2J\x85",
    "JSON": '","status":"delivered"',
    "line separators": "\u2028\u2029",
    "NUL and DEL": "\x00\x7f",
    "lone surrogate": "\ud800 \udcff",
    "backslash": "\\\\u000a\\n",
    "percent": "%s%n{0}",
    "a megabyte": "x" * 1_000_000,
    "wide": "\U0010ffff" * 5000,
}


def lines(record: SpoolRecord) -> list[dict[str, Any]]:
    """The events of a record as a reader of the log has them."""
    encoded = encode(derive(record, node="mta.example", epoch=7))
    assert encoded.endswith(b"\n")
    return [json.loads(line) for line in encoded.split(b"\n")[:-1]]


def test_reception_has_every_field() -> None:
    """A Reception is one event of the whole message, with nulls where nothing was delivered yet."""
    assert lines(message()) == [
        {
            "type": "Reception",
            "id": ID,
            "sender": "sender@send.example",
            "recipient": "one@dest.example",
            "queue": "spring:acme@dest.example",
            "site": "",
            "size": 5,
            "response": {"code": 250, "enhanced_code": None, "content": "", "command": None},
            "peer_address": {"name": "client.example", "addr": "192.0.2.10"},
            "timestamp": 1763668800,
            "event_time": "2025-11-20T20:00:00.250000Z",
            "created": 1763668800,
            "created_time": "2025-11-20T20:00:00.250000Z",
            "num_attempts": 0,
            "bounce_classification": "Uncategorized",
            "egress_pool": None,
            "egress_source": None,
            "source_address": None,
            "feedback_report": None,
            "meta": {},
            "headers": {},
            "delivery_protocol": None,
            "reception_protocol": "ESMTP",
            "nodeid": "mta.example",
            "tenant": "acme",
            "campaign": "spring",
            "event_id": f"{ID}-all-0-Reception",
            "config_epoch": 7,
            "sequence": 0,
            "session_id": "session-in",
        }
    ]


def test_delivery_says_by_whom_from_where_and_with_which_reply() -> None:
    """A Delivery carries the path, the session and the peer's reply, its enhanced status code apart."""
    [event] = lines(attempt(outcome(Verdict.ACCEPTED), to=peer(), attempts=2))
    assert event["type"] == "Delivery"
    assert event["site"] == "unspecified->mx.dest.example@smtp_client"
    assert event["response"] == {
        "code": 250,
        "enhanced_code": {"class": 2, "subject": 0, "detail": 0},
        "content": "OK queued",
        "command": ".",
    }
    assert event["peer_address"] == {"name": "mx.dest.example", "addr": "198.51.100.7"}
    assert event["source_address"] == {"address": "192.0.2.1:50123"}
    assert (event["egress_pool"], event["egress_source"]) == ("unspecified", "unspecified")
    assert event["delivery_protocol"] == "ESMTP"
    assert event["session_id"] == "session-out"
    assert event["num_attempts"] == 2
    assert (event["created"], event["timestamp"]) == (1763668800, 1763668801)
    assert "is_uncertain" not in event


def test_delivery_has_every_field() -> None:
    """Each at its name, with TLS, and what is left out otherwise too."""
    to = msgspec.structs.replace(peer(), tls=TLS, protocol="ESMTPSA")
    sent = msgspec.structs.replace(message(), meta={"entrance": "front"})
    [event] = lines(attempt(outcome(Verdict.DEFERRED, is_uncertain=True), of=sent, to=to))
    assert event == {
        "type": "TransientFailure",
        "id": ID,
        "sender": "sender@send.example",
        "recipient": "one@dest.example",
        "queue": "spring:acme@dest.example",
        "site": "unspecified->mx.dest.example@smtp_client",
        "size": 5,
        "response": {
            "code": 451,
            "enhanced_code": {"class": 4, "subject": 7, "detail": 1},
            "content": "later",
            "command": ".",
        },
        "peer_address": {"name": "mx.dest.example", "addr": "198.51.100.7"},
        "timestamp": 1763668801,
        "event_time": "2025-11-20T20:00:01.250000Z",
        "created": 1763668800,
        "created_time": "2025-11-20T20:00:00.250000Z",
        "num_attempts": 1,
        "bounce_classification": "Uncategorized",
        "egress_pool": "unspecified",
        "egress_source": "unspecified",
        "source_address": {"address": "192.0.2.1:50123"},
        "feedback_report": None,
        "meta": {"entrance": "front"},
        "headers": {},
        "delivery_protocol": "ESMTPSA",
        "reception_protocol": "ESMTP",
        "nodeid": "mta.example",
        "tenant": "acme",
        "campaign": "spring",
        "event_id": f"{ID}-0-1-TransientFailure-1763668801250000",
        "config_epoch": 7,
        "sequence": 3,
        "session_id": "session-out",
        "is_uncertain": True,
        **ENCRYPTED,
    }


@pytest.mark.parametrize("make", [message, rejection, policy_error])
def test_events_of_a_client_say_how_it_came(make: Callable[..., SpoolRecord]) -> None:
    """TLS, who authenticated and for whom, and the proxy that passed it on; in a message's Reception and in what is no message."""
    identity = {
        "authentication_id": "app7",
        "authorization_id": "acme",
        "proxy_address": "192.0.2.99",
    }
    came = msgspec.structs.replace(reception(), protocol="ESMTPSA", tls=TLS, **identity)
    [event] = lines(make(came=came))
    assert {name: event[name] for name in (*ENCRYPTED, *identity)} == {**ENCRYPTED, **identity}
    assert event["reception_protocol"] == "ESMTPSA"
    [plain] = lines(make())
    assert not {*ENCRYPTED, *identity} & set(plain)
    [passed_on] = lines(make(came=msgspec.structs.replace(reception(), proxy_address="192.0.2.99")))
    assert set(passed_on) - set(plain) == {"proxy_address"}


def test_several_recipients_are_an_array_in_the_reception_and_one_each_afterwards() -> None:
    """One Reception names them all; each outcome is an event of its own, with the type of its verdict."""
    sent = message("a", "b", "c")
    assert lines(sent)[0]["recipient"] == ["a@dest.example", "b@dest.example", "c@dest.example"]
    events = lines(
        attempt(
            outcome(Verdict.ACCEPTED, 2),
            outcome(Verdict.DEFERRED, 0),
            outcome(Verdict.FAILED, 1),
            of=sent,
            to=peer(),
        )
    )
    assert [(event["type"], event["recipient"]) for event in events] == [
        ("Delivery", "c@dest.example"),
        ("TransientFailure", "a@dest.example"),
        ("Bounce", "b@dest.example"),
    ]


def test_failure_without_a_session_has_no_peer() -> None:
    """Where nothing was connected, what belongs to a connection is null or absent, and an unknown site is empty."""
    answer = reply(451, "4.4.4", INTERNAL + "no host answers")
    [event] = lines(
        attempt(outcome(Verdict.DEFERRED, answer=answer, command=None), attempts=0, site="", source="")
    )
    assert event["site"] == ""
    for field in ("peer_address", "source_address", "delivery_protocol", "egress_pool", "egress_source"):
        assert event[field] is None
    assert "session_id" not in event
    assert event["response"]["command"] is None
    assert event["response"]["content"] == "Penstock internal: no host answers"


def test_uncertain_outcome_says_so() -> None:
    """``is_uncertain`` is there only when it is true."""
    [event] = lines(attempt(outcome(Verdict.DEFERRED, is_uncertain=True), to=peer()))
    assert event["is_uncertain"] is True


def test_expiration_is_one_event_for_each_recipient() -> None:
    """Every recipient given up has its own Expiration with our reply."""
    events = lines(expiration(0, 2, of=message("a", "b", "c")))
    assert [event["recipient"] for event in events] == ["a@dest.example", "c@dest.example"]
    assert {event["type"] for event in events} == {"Expiration"}
    assert events[0]["response"]["code"] == 551
    assert events[0]["num_attempts"] == 3
    assert events[0]["peer_address"] is None


def test_rejection_is_of_no_message() -> None:
    """A Rejection has the client, the command and our reply, and no queue, tenant or size."""
    [event] = lines(rejection())
    assert event["type"] == "Rejection"
    assert (event["queue"], event["site"], event["size"], event["tenant"]) == ("", "", 0, None)
    assert event["peer_address"] == {"name": "client.example", "addr": "192.0.2.10"}
    assert event["response"]["command"] == "RCPT"
    assert event["session_id"] == "session-in"


def test_policy_error_says_what_the_client_was_told() -> None:
    """The code of the reply, or 0 where nothing was refused; ``command`` is the hook, ``content`` the error."""
    [event] = lines(policy_error(reply(451, "4.3.0", "policy error; try again later")))
    assert event["type"] == "PolicyError"
    assert event["response"] == {
        "code": 451,
        "enhanced_code": {"class": 4, "subject": 3, "detail": 0},
        "content": "on_rcpt raised KeyError",
        "command": "on_rcpt",
    }
    [event] = lines(policy_error(None))
    assert (event["response"]["code"], event["response"]["enhanced_code"]) == (0, None)


def test_a_traceback_keeps_its_length() -> None:
    """What a policy's runner keeps of an error fits its place in an event."""
    error = "x" * POLICY_ERROR_LIMIT
    [event] = lines(policy_error(error=error))
    assert event["response"]["content"] == error


def test_rejection_says_of_which_tenant_it_is() -> None:
    """Where the session or the transaction was for one."""
    assert lines(rejection(tenant="acme"))[0]["tenant"] == "acme"


def test_quarantine_says_how_many_recipients_are_settled_by_it() -> None:
    """The message's own id cannot be read: queue, size, place and reason are what there is to say."""
    [event] = lines(quarantine(3))
    assert (event["type"], event["num_recipients"]) == ("Quarantine", 3)
    assert (event["queue"], event["tenant"], event["campaign"]) == (
        "spring:acme@dest.example",
        "acme",
        "spring",
    )
    assert event["size"] == 5
    assert event["response"] == {
        "code": 0,
        "enhanced_code": None,
        "content": "its checksum is not right",
        "command": "segment 7, offset 4096",
    }
    assert event["event_id"] == f"{ID}-all-0-Quarantine"
    assert "num_recipients" not in lines(message())[0]


@pytest.mark.parametrize(
    ("is_refusing", "is_paused", "code", "command"),
    [
        (True, False, 452, "refusing mail"),
        (True, True, 452, "refusing mail, delivery paused"),
        (False, True, 250, "delivery paused"),
        (False, False, 250, "well"),
    ],
)
def test_spool_health_says_what_is_not_done(
    is_refusing: bool, is_paused: bool, code: int, command: str
) -> None:
    """And why."""
    [event] = lines(spool_health(is_refusing, is_paused))
    assert event["type"] == "SpoolHealth"
    assert event["response"] == {
        "code": code,
        "enhanced_code": None,
        "content": "no space left",
        "command": command,
    }
    assert event["peer_address"] is None
    assert event["reception_protocol"] == ""


def test_null_reverse_path_is_an_empty_sender() -> None:
    """RFC 5321 4.5.5: the sender of a notification is ``<>``, written as an empty string."""
    assert lines(message(reverse_path=None))[0]["sender"] == ""


def test_mail_without_a_tenant_has_null() -> None:
    """Tenant and campaign are always there."""
    [event] = lines(message(tenant=None, campaign=None))
    assert event["tenant"] is None
    assert event["campaign"] is None
    assert event["queue"] == "dest.example"


def test_lines_of_a_reply_become_one() -> None:
    """A multi-line reply is one line of text, as rules match it."""
    answer = Reply(250, None, "first\nsecond")
    [event] = lines(attempt(outcome(Verdict.ACCEPTED, answer=answer), to=peer()))
    assert event["response"]["content"] == "first second"


def test_deriving_again_gives_the_same_octets() -> None:
    """The record is all there is: no clock, no counter, no chance."""
    record = attempt(outcome(Verdict.DEFERRED, 1), outcome(Verdict.ACCEPTED, 0), of=message("a", "b"))
    assert encode(derive(record, node="n", epoch=1)) == encode(derive(record, node="n", epoch=1))


def test_event_ids_are_readable_and_never_repeat() -> None:
    """Two failures that spent no attempt differ by their time; everything else by recipient, attempts and type."""
    sent = message("a", "b")
    records: list[SpoolRecord] = [
        sent,
        attempt(outcome(Verdict.DEFERRED), of=sent, attempts=0, at=CREATED + 1),
        attempt(outcome(Verdict.DEFERRED), of=sent, attempts=0, at=CREATED + 2),
        attempt(outcome(Verdict.DEFERRED), outcome(Verdict.ACCEPTED, 1), of=sent, attempts=1, at=CREATED + 3),
        expiration(0, of=sent, attempts=1),
    ]
    ids = [event["event_id"] for record in records for event in lines(record)]
    assert ids == [
        f"{ID}-all-0-Reception",
        f"{ID}-0-0-TransientFailure-1763668801250000",
        f"{ID}-0-0-TransientFailure-1763668802250000",
        f"{ID}-0-1-TransientFailure-1763668803250000",
        f"{ID}-1-1-Delivery",
        f"{ID}-0-1-Expiration",
    ]


@given(
    recipients=st.integers(1, 5),
    history=st.lists(st.sampled_from([Verdict.DEFERRED, Verdict.FAILED]), min_size=1, max_size=6),
)
def test_sequence_orders_the_events_of_a_message(recipients: int, history: list[Verdict]) -> None:
    """Reception, then each attempt that was spent, then the expiry: the number grows, and no two events share one."""
    sent = message(*(f"r{place}" for place in range(recipients)))
    records: list[SpoolRecord] = [sent]
    for attempts, verdict in enumerate(history, start=1):
        outcomes = [outcome(verdict, place) for place in range(recipients)]
        records.append(attempt(*outcomes, of=sent, attempts=attempts, at=CREATED + attempts))
    records.append(expiration(*range(recipients), of=sent, attempts=len(history)))
    sequence = [event["sequence"] for record in records for event in lines(record)]
    assert sequence == sorted(set(sequence))
    assert sequence[0] == 0


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_strangers_text_stays_in_its_place(text: str) -> None:
    """Whatever a peer or client says, there is one JSON object per event, on one line, printable, and no longer than its place."""
    answer = Reply(550, None, text)
    records: list[SpoolRecord] = [
        message(came=reception(text)),
        attempt(outcome(Verdict.FAILED, answer=answer, command=text), to=peer(text), site=text),
        rejection(answer, text, text, text, reception(text)),
        quarantine(reason=text),
        spool_health(text=text),
        rejection(came=msgspec.structs.replace(reception(), authentication_id=text, authorization_id=text)),
    ]
    for record in records:
        encoded = encode(derive(record, node="mta.example", epoch=1))
        assert encoded.count(b"\n") == 1
        assert len(encoded) < 24_000
        event = json.loads(encoded)
        assert "fake" not in (event["id"], event["type"])
        for value in _strings(event):
            assert len(value) <= CONTENT_LIMIT
            assert all(character.isprintable() or ord(character) > 0xFF for character in value)
            assert not set(value) & {"\u2028", "\u2029"}


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    return []


@given(st.text(st.characters(), max_size=40))
def test_any_text_at_all_is_one_line(text: str) -> None:
    """Every code point there is, lone surrogates too, can be in a reply."""
    [event] = lines(attempt(outcome(Verdict.FAILED, answer=Reply(550, None, text)), to=peer(text)))
    assert "\n" not in event["response"]["content"]


def test_cut_text_says_so() -> None:
    """A reply that was too long ends in an ellipsis."""
    answer = Reply(550, None, "x" * 3000)
    [event] = lines(attempt(outcome(Verdict.FAILED, answer=answer), to=peer()))
    assert event["response"]["content"] == "x" * (CONTENT_LIMIT - 1) + "…"


def test_every_field_and_type_is_documented() -> None:
    """docs/events.md has a row for each field of an event, in order, and one for each type."""
    rows = [
        line.split("|")[1].strip() for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")
    ]
    names = [row.strip("`") for row in rows]
    fields = [field.encode_name for field in msgspec.structs.fields(Event)]
    assert [name for name in names if name in fields] == fields
    assert [name for name in names if name in get_args(EventType)] == list(get_args(EventType))

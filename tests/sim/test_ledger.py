"""What was sent, and what came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.sim.blast import ledger as ledger_module
from penstock.sim.blast.ledger import Ledger
from penstock.sim.blast.receipt import Receipt, check_of, receipts


def receipt(number: int, *recipients: bytes, at: float = 2.0, is_changed: bool = False) -> Receipt:
    """The sink got this."""
    return Receipt(number, at, len(recipients), check_of(recipients), is_changed)


def sent(*recipients: bytes, number: int = 0) -> Ledger:
    """A ledger with one message under way."""
    ledger = Ledger(1)
    ledger.sent(number, 0, len(recipients), check_of(recipients))
    return ledger


def wrong(ledger: Ledger) -> tuple[int, int, int, int]:
    """What should be nothing."""
    return ledger.awaited, ledger.duplicates, ledger.unaccepted, ledger.misdelivered


def test_latency_is_from_acceptance_to_receipt() -> None:
    """One sample for each copy that comes."""
    ledger = sent(b"a@x", b"b@y")
    ledger.accepted(0, 1.0)
    assert ledger.awaited == 2
    ledger.receive(receipt(0, b"B@Y", at=1.25))
    ledger.receive(receipt(0, b"a@x", at=1.75))
    summary = ledger.delivery.summary()
    assert (summary.min, summary.max, summary.count, ledger.received) == (0.25, 0.75, 2, 2)
    assert wrong(ledger) == (0, 0, 0, 0)


def test_a_receipt_may_come_before_the_acceptance_is_read() -> None:
    """It had no latency, and nothing is awaited any more."""
    ledger = sent(b"a@x")
    ledger.receive(receipt(0, b"a@x"))
    ledger.accepted(0, 3.0)
    assert (ledger.delivery.summary().max, ledger.received) == (0.0, 1)
    assert wrong(ledger) == (0, 0, 0, 0)


def test_what_does_not_come_is_awaited() -> None:
    """One of two recipients is lost."""
    ledger = sent(b"a@x", b"b@y")
    ledger.accepted(0, 1.0)
    ledger.receive(receipt(0, b"a@x"))
    assert wrong(ledger) == (1, 0, 0, 0)


def test_what_comes_twice_is_a_duplicate() -> None:
    """Before and after its message is settled."""
    ledger = sent(b"a@x")
    ledger.accepted(0, 1.0)
    ledger.receive(receipt(0, b"a@x"))
    ledger.receive(receipt(0, b"a@x"))
    ledger.receive(receipt(0, b"a@x", b"b@x"))
    assert wrong(ledger) == (0, 3, 0, 0)


def test_one_recipient_twice_is_not_two_recipients() -> None:
    """The count is right, the recipients are not."""
    ledger = sent(b"a@x", b"b@y")
    ledger.accepted(0, 1.0)
    ledger.receive(receipt(0, b"a@x"))
    ledger.receive(receipt(0, b"a@x"))
    assert wrong(ledger) == (0, 0, 0, 1)


def test_what_was_refused_and_comes_is_told() -> None:
    """And what was never sent."""
    ledger = sent(b"a@x")
    ledger.refused(0)
    ledger.receive(receipt(0, b"a@x"))
    ledger.receive(receipt(5, b"a@x"))
    assert wrong(ledger) == (0, 0, 2, 0)


def test_an_unknown_message_may_come_or_not() -> None:
    """Neither is wrong; that it comes twice is."""
    ledger = sent(b"a@x")
    ledger.unknown(0)
    assert wrong(ledger) == (0, 0, 0, 0)
    ledger.receive(receipt(0, b"a@x"))
    assert (ledger.received, wrong(ledger)) == (1, (0, 0, 0, 0))
    ledger.receive(receipt(0, b"a@x"))
    assert wrong(ledger) == (0, 1, 0, 0)


def test_a_changed_body_is_counted() -> None:
    """Each time it comes."""
    ledger = sent(b"a@x")
    ledger.accepted(0, 1.0)
    ledger.receive(receipt(0, b"a@x", is_changed=True))
    assert ledger.changed == 1


def test_settled_messages_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk goes with its last row; one that waits stays; too many of those make the ledger full."""
    monkeypatch.setattr(ledger_module, "CHUNK", 4)
    monkeypatch.setattr(ledger_module, "CHUNK_LIMIT", 2)
    ledger = Ledger(1)
    for number in range(100):
        ledger.sent(number, 0, 1, check_of([b"a@x"]))
        ledger.accepted(number, 1.0)
        if number not in (10, 50):
            ledger.receive(receipt(number, b"a@x"))
    assert len(ledger._chunks) == 2
    assert ledger.is_full
    ledger.receive(receipt(10, b"a@x"))
    assert not ledger.is_full


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60))
def test_the_ledger_agrees_with_a_naive_list(steps: list[tuple[int, int]]) -> None:
    """Whatever order messages are accepted, refused, lost and received in, every recipient is accounted for once."""
    ledger, model = Ledger(1), {}
    for step, number in steps:
        message = model.setdefault(number, {"state": "", "came": 0})
        if step == 0 and not message["state"]:
            ledger.sent(number, 0, 1, check_of([b"a@x"]))
            message["state"] = "sent"
        elif step == 1 and message["state"] == "sent":
            ledger.accepted(number, 1.0)
            message["state"] = "accepted"
        elif step == 2 and message["state"] == "sent" and not message["came"]:
            ledger.refused(number)
            message["state"] = "refused"
        elif step == 3:
            ledger.receive(receipt(number, b"a@x"))
            if message["state"] in ("", "refused"):
                message["ghosts"] = message.get("ghosts", 0) + 1
            else:
                message["came"] += 1
    rows = model.values()
    assert ledger.awaited == sum(row["state"] == "accepted" and not row["came"] for row in rows)
    assert ledger.duplicates == sum(max(row["came"] - 1, 0) for row in rows)
    assert ledger.unaccepted == sum(row.get("ghosts", 0) for row in rows)
    assert ledger.received == sum(min(row["came"], 1) for row in rows)


def test_receipts_survive_the_pipe() -> None:
    """Octets and back."""
    made = [receipt(7, b"a@x"), receipt(2**40, b"a@x", b"b@y", at=1e9, is_changed=True)]
    assert list(receipts(b"".join(one.to_bytes() for one in made))) == made

"""What a reply means for a recipient: the first digit, and the exceptions of the table (RFC 5321 4.2.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.feedback.outcome import TEMPORARY, outcome, verdict
from penstock.mail.records import Verdict
from penstock.mail.reply import Reply
from penstock.smtp.client_events import Result


@pytest.mark.parametrize(
    ("code", "command", "expected"),
    [
        (250, "DATA", Verdict.ACCEPTED),
        (251, "DATA", Verdict.ACCEPTED),
        (354, "DATA", Verdict.DEFERRED),
        (421, "MAIL", Verdict.DEFERRED),
        (450, "RCPT", Verdict.DEFERRED),
        (452, "RCPT", Verdict.DEFERRED),
        (503, "DATA", Verdict.DEFERRED),
        (503, None, Verdict.DEFERRED),
        (550, "RCPT", Verdict.FAILED),
        (552, "RCPT", Verdict.DEFERRED),
        (552, "DATA", Verdict.FAILED),
        (554, None, Verdict.FAILED),
        (502, "BDAT", Verdict.DEFERRED),
        (502, "RCPT", Verdict.FAILED),
        (500, "BDAT", Verdict.FAILED),
    ],
)
def test_the_first_digit_decides_but_for_the_table(code: int, command: str | None, expected: Verdict) -> None:
    """503 anywhere, 552 to RCPT and 502 to BDAT are temporary; every other 5yz is not."""
    assert verdict(Reply(code, None, "text"), command) is expected


@given(st.integers(200, 599), st.sampled_from(["MAIL", "RCPT", "DATA", None]))
def test_nothing_is_permanent_but_a_5yz_that_is_not_in_the_table(code: int, command: str | None) -> None:
    """Late beats lost: what is no clear refusal is tried again."""
    is_failed = verdict(Reply(code, None, ""), command) is Verdict.FAILED
    assert is_failed is (code >= 500 and not {(code, None), (code, command)} & TEMPORARY)


def test_an_outcome_keeps_what_the_peer_said() -> None:
    """Reply, command and uncertainty travel along; the recipient is numbered as in the message."""
    reply = Reply(451, None, "later")
    found = outcome(Result(0, reply, "DATA", is_uncertain=True), 7)
    assert (found.recipient, found.verdict, found.reply, found.command, found.is_uncertain) == (
        7,
        Verdict.DEFERRED,
        reply,
        "DATA",
        True,
    )

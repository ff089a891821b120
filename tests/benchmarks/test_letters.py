"""The judge of letters sees what a server on the way has changed, and the tap what two servers have used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from benchmarks.capture import Capture, Captured
from benchmarks.dialogue import Dialogue, stuffed
from benchmarks.peers.letters import Letter, faults, few_letters, more_letters, post
from benchmarks.peers.peer import Use
from benchmarks.peers.tap import Tap

TRACE = b"Return-Path: <x@y.test>\r\nReceived: from a\r\n\tby b;\r\n now\r\n"
LETTERS = {letter.name: letter for letter in few_letters()}
DSN = LETTERS["delivery status asked for"]


def delivered(letter: Letter) -> Captured:
    """A letter as it arrives when all is well."""
    recipients = tuple(b"TO:<" + path + b">" + letter.rcpt for path in letter.forward_paths)
    data = stuffed(TRACE + letter.message)[: -len(b".\r\n")]
    return Captured(b"FROM:<" + letter.reverse_path + b">" + letter.mail, recipients, data)


@pytest.mark.parametrize("letter", [*few_letters(), *more_letters()], ids=lambda letter: letter.name)
def test_a_letter_below_trace_fields_is_intact(letter: Letter) -> None:
    """Every letter of ours, with all that it asks for."""
    assert faults([letter], [delivered(letter)], set(Use)) == []


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda it: it._replace(data=it.data.replace(b"Hello", b"Hullo")), "differs at octet"),
        (lambda it: it._replace(data=it.data + b"\r\n"), "differs at octet"),
        (lambda it: it._replace(data=it.data.replace(TRACE, TRACE + b"X-Scanned: yes\r\n")), "differs at octet"),
        (lambda it: it._replace(data=it.data.removeprefix(TRACE)), "no trace field"),
        (lambda it: it._replace(data=it.data.replace(b"Hello.\r\n", b"Hello.\n")), "bare"),
        (lambda it: it._replace(mail=it.mail.replace(b"sender", b"another")), "the reverse-path became"),
        (lambda it: it._replace(mail=it.mail.replace(b"RET=HDRS", b"")), "b'RET=HDRS' is not in"),
        (lambda it: it._replace(recipients=(b"TO:<user@d1.test>",)), "NOTIFY=SUCCESS,FAILURE' is not in"),
        (lambda it: it._replace(recipients=()), "recipients became []"),
        (lambda it: it._replace(recipients=it.recipients * 2), "recipients became"),
    ],
)  # fmt: skip
def test_harm_is_told(harm: Callable[[Captured], Captured], complaint: str) -> None:
    """Octets, fields, envelope, parameters; too little and too much."""
    assert complaint in "; ".join(faults([DSN], [harm(delivered(DSN))], set(Use)))


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([], "recipients became []"),
        ([delivered(DSN), delivered(DSN)], "recipients became"),
        (
            [delivered(DSN), Captured(b"FROM:<>", (b"TO:<a@b>",), b"Subject: bounce\r\n\r\nx\r\n")],
            "nobody sent",
        ),
    ],
    ids=["lost", "doubled", "made up"],
)
def test_messages_are_counted(found: Sequence[Captured], complaint: str) -> None:
    """None is lost, none comes twice, none comes that nobody sent."""
    assert complaint in "; ".join(faults([DSN], found, set(Use)))


def test_what_the_way_cannot_carry_is_not_asked_for() -> None:
    """Parameters of an extension that one of the servers does not have are left out by right."""
    bare = delivered(DSN)._replace(mail=b"FROM:<sender@source.test>", recipients=(b"TO:<user@d1.test>",))
    assert faults([DSN], [bare], set(Use) - {Use.DSN}) == []


def test_the_tap_passes_everything_on_and_sees_parameters() -> None:
    """A client that waits for every reply uses no PIPELINING; what it says with its commands is seen."""
    letters = [LETTERS["8-bit"], LETTERS["UTF-8"], DSN]
    with Capture() as capture, Tap(capture.port) as tap:
        post(tap.port, letters)
        assert [captured.message for captured in capture.take()] == [letter.message for letter in letters]
        assert tap.uses() == {Use.EIGHT_BIT, Use.UTF8, Use.DSN}


def test_the_tap_sees_pipelining() -> None:
    """Commands that came before the reply to the one before them."""
    with Capture() as capture, Tap(capture.port) as tap, Dialogue(tap.port) as client:
        client.command(b"EHLO source.test", 250)
        client.begin(b"sender@source.test", [b"user@d1.test"])
        assert tap.uses() == {Use.PIPELINING}

"""The server that judges what Penstock sends keeps every octet, and finds the one true end of mail data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.capture import Capture, Captured
from benchmarks.dialogue import Dialogue, send_message, stuffed


def carry(message: bytes, *, octet_by_octet: bool = False) -> Captured:
    """Send a message to a capture server and return what it kept."""
    with Capture() as capture, Dialogue(capture.port) as client:
        client.command(b"EHLO source.test", 250)
        client.begin(b"a@source.test", [b"b@d1.test", b"c@d1.test"], b" BODY=8BITMIME")
        octets = stuffed(message)
        cuts = [octets[index : index + 1] for index in range(len(octets))] if octet_by_octet else [octets]
        client.send_slowly(cuts, pause=0)
        client.expect(250)
        client.command(b"QUIT", 221)
        (captured,) = capture.take()
        return captured


@pytest.mark.parametrize("octet_by_octet", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n",
        b".\r\n",
        b"..\r\n.\r\n...\r\n",
        b"Subject: x\r\n\r\n.hidden\r\n\r\n.\r\n",
        b"X: \xff\x80\x01\r\n\r\n" + b"x" * 2000 + b"\r\n",
    ],
)
def test_a_message_is_kept_as_it_was_meant(message: bytes, octet_by_octet: bool) -> None:
    """Dots, empty lines and octets above 127 arrive, however the stream is cut (RFC 5321 4.5.2)."""
    captured = carry(message, octet_by_octet=octet_by_octet)
    assert captured.message == message
    assert captured.wire_faults() == []
    assert captured.mail == b"FROM:<a@source.test> BODY=8BITMIME"
    assert captured.recipients == (b"TO:<b@d1.test>", b"TO:<c@d1.test>")


@given(st.lists(st.sampled_from([b".", b"..", b"", b".x", b"x.", b"\xe9", b"a line"])))
def test_dot_transparency_is_undone(lines: list[bytes]) -> None:
    """What ``stuffed`` does for the client, ``Captured.message`` undoes, on whatever lines."""
    message = b"".join(line + b"\r\n" for line in lines)
    captured = Captured(b"", (), stuffed(message)[:-3])
    assert captured.message == message
    assert captured.wire_faults() == []


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"x\ny\r\n", "bare b'\\n' at 1"),
        (b"x\ry\r\n", "bare b'\\r' at 1"),
        (b"x\r\r\n", "bare b'\\r' at 1"),
        (b".x\r\n", "dot not doubled at 0"),
        (b"x\r\n.x\r\n", "dot not doubled at 3"),
    ],
)
def test_octets_that_must_not_be_on_the_wire_are_told(data: bytes, fault: str) -> None:
    """The judge of outgoing mail data sees bare CR and LF, and a line whose dot was not doubled."""
    assert Captured(b"", (), data).wire_faults() == [fault]


def test_look_alikes_of_the_end_are_data() -> None:
    """Only CRLF dot CRLF ends mail data (RFC 5321 4.1.1.4)."""
    with Capture() as capture, Dialogue(capture.port) as client:
        client.command(b"EHLO source.test", 250)
        client.begin(b"a@source.test", [b"b@d1.test"])
        client.send(b"x\n.\ny\r.\rz\r\n.\r\r\n\r\n.\r\n")
        client.expect(250)
        (captured,) = capture.take()
    assert captured.data == b"x\n.\ny\r.\rz\r\n.\r\r\n\r\n"


def test_messages_of_several_sessions_are_kept_apart() -> None:
    """Each transaction is a message, in the order of arrival."""
    with Capture() as capture:
        assert send_message(capture.port, b"a@source.test", [b"b@d1.test"], b"one\r\n").code == 250
        assert send_message(capture.port, b"a@source.test", [b"b@d1.test"], b"two\r\n").code == 250
        assert [captured.message for captured in capture.messages()] == [b"one\r\n", b"two\r\n"]
        assert capture.sessions == 2

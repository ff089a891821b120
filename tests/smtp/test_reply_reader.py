"""A peer's replies: read strictly, bounded, the same however they are cut; what came whole before a violation is told."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.reply import Reply, reply
from penstock.smtp.reply_reader import REPLY_LIMIT, REPLY_LINE_LIMIT, REPLY_LINES_LIMIT, ReplyReader

from .driver import cuts, in_pieces, octet_by_octet


def read(segments: list[bytes]) -> tuple[list[Reply], str | None]:
    """The replies in these segments, and the violation behind them."""
    reader = ReplyReader()
    replies = [answer for segment in segments for answer in reader.feed(segment)]
    return replies, str(reader.violation) if reader.violation else None


READ: dict[str, tuple[bytes, list[Reply]]] = {
    "one line": (b"250 ok\r\n", [reply(250, None, "ok")]),
    "no text": (b"250\r\n", [reply(250, None, "")]),
    "a space and no text": (b"250 \r\n", [reply(250, None, "")]),
    "enhanced": (b"550 5.1.1 no such user\r\n", [reply(550, "5.1.1", "no such user")]),
    "enhanced alone": (b"250 2.0.0\r\n", [reply(250, "2.0.0", "")]),
    "of another class: the basic code counts": (b"250 5.1.1 ok\r\n", [reply(250, "5.1.1", "ok")]),
    "two": (b"250 a\r\n354 b\r\n", [reply(250, None, "a"), reply(354, None, "b")]),
    "lines": (b"250-a\r\n250-b\r\n250 c\r\n", [reply(250, None, "a\nb\nc")]),
    "lines without text": (b"250-\r\n250\r\n", [reply(250, None, "\n")]),
    "enhanced lines": (b"550-5.7.1 a\r\n550-5.7.1\r\n550 5.7.1 b\r\n", [reply(550, "5.7.1", "a\n\nb")]),
    "lines with another enhanced code": (
        b"550-5.7.1 a\r\n550 5.7.2 b\r\n",
        [reply(550, "5.7.1", "a\n5.7.2 b")],
    ),
    "8-bit": (b"250 \xc3\xa9\r\n", [reply(250, None, "é")]),
    "no UTF-8": (b"250 \xe9\r\n", [reply(250, None, "\ufffd")]),
    "NUL": (b"250 a\x00b\r\n", [reply(250, None, "a?b")]),
    "ANSI": (b"550 \x1b[2Jx\r\n", [reply(550, None, "?[2Jx")]),
    "percent and quotes": (b'550 %s %n "}{\r\n', [reply(550, None, '%s %n "}{')]),
    "digits beyond five": (b"299 a\r\n", [reply(299, None, "a")]),
    "nothing": (b"", []),
}

MALFORMED: dict[str, bytes] = {
    "no reply": b"bogus\r\n",
    "empty line": b"\r\n",
    "two digits": b"25\r\n",
    "four digits": b"2200 x\r\n",
    "no separator": b"250ok\r\n",
    "underscore": b"250_x\r\n",
    "space in the code": b"2 50\r\n",
    "tab": b"250\tx\r\n",
    "leading space": b" 250 x\r\n",
    "1yz": b"150 x\r\n",
    "6yz": b"650 x\r\n",
    "999": b"999 x\r\n",
    "other digits": "٢٥٠ x\r\n".encode(),
    "other codes in one reply": b"250-a\r\n500 b\r\n",
    "a line of a reply without separator (CVE-2020-8794)": b"250-a\r\n250b\r\n",
    "a line of a reply without code": b"250-a\r\nb\r\n250 c\r\n",
    "bare LF": b"250 ok\n",
    "bare LF inside": b"250 ok\n250 ok\r\n",
    "bare CR inside": b"250 a\rb\r\n",
    "CR CR LF": b"250 ok\r\r\n",
    "only LF": b"\n",
    "binary": bytes(range(256)) + b"\r\n",
    "a line too long": b"250 " + b"x" * REPLY_LINE_LIMIT + b"\r\n",
    "a line without end": b"250 " + b"x" * (REPLY_LINE_LIMIT + 10),
    "lines without end": b"220-x\r\n" * (REPLY_LINES_LIMIT + 1),
    "too many octets": (b"250-" + b"x" * 4000 + b"\r\n") * 17,
}


@pytest.mark.parametrize(("octets", "replies"), READ.values(), ids=READ.keys())
def test_a_reply_is_read_however_it_is_cut(octets: bytes, replies: list[Reply]) -> None:
    """RFC 5321 4.2.1; its text made printable."""
    for cut, segments in cuts(octets):
        assert read(segments) == (replies, None), cut


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_reply_is_a_violation_and_ends_the_reading(octets: bytes) -> None:
    """Nothing is guessed, and nothing after it is believed."""
    for segments in ([octets], octet_by_octet(octets), in_pieces(octets, [3] * 200)):
        replies, violation = read([b"220 whole\r\n", *segments, b"\r\n250 ok\r\n"])
        assert replies[0] == reply(220, None, "whole")
        assert len(replies) <= 1
        assert violation is not None
        assert violation.isprintable()


def test_replies_before_a_violation_are_told() -> None:
    """In one segment or two: the reply to mail data counts, whatever nonsense comes behind it."""
    for cut, segments in cuts(b"250 2.0.0 taken\r\nbogus\r\n"):
        assert read(segments) == ([reply(250, "2.0.0", "taken")], "a reply line is malformed"), cut


@pytest.mark.parametrize("length", [511, 512, 513, REPLY_LINE_LIMIT - 4])
def test_a_line_may_be_longer_than_the_rfc_says(length: int) -> None:
    """RFC 5321 4.5.3.1.5 says 512; up to our limit they are read."""
    octets = b"250 " + b"x" * length + b"\r\n"
    for segments in ([octets], octet_by_octet(octets), [octets[:-1], octets[-1:]]):
        assert read(segments) == ([reply(250, None, "x" * length)], None)


def test_a_peer_can_make_us_hold_only_so_much() -> None:
    """One reply of many lines, or of long ones."""
    for length, lines in ((10, REPLY_LINES_LIMIT), (4000, REPLY_LIMIT // 4004)):
        line = b"250-" + b"x" * length + b"\r\n"
        reader = ReplyReader()
        assert reader.feed(line * lines) == []
        assert reader.violation is None
        reader.feed(line)
        assert str(reader.violation) == "a reply is too long"
        assert reader.is_idle


def test_limits_are_of_one_reply() -> None:
    """Any number of long replies may follow each other."""
    reader = ReplyReader()
    for _ in range(100):
        assert len(reader.feed(b"250-" + b"x" * 4000 + b"\r\n250 y\r\n")) == 1
    assert reader.violation is None


LINES = st.sampled_from(
    [
        b"250 ok",
        b"250-a",
        b"250 2.1.0 b",
        b"550-5.1.1 c",
        b"550 5.1.1",
        b"354",
        b"421 x",
        b"bogus",
        b"",
        b"250",
        b"\xff",
    ]
)


@given(
    st.lists(LINES).map(lambda lines: b"".join(line + b"\r\n" for line in lines)), st.lists(st.integers(1, 9))
)
@example(b"250-a\r\n" * 128 + b"250 b\r\n", [7] * 200)
@example((b"250-" + b"x" * 4090 + b"\r\n") * 16 + b"250 b\r\n", [1000] * 100)
def test_replies_do_not_depend_on_how_octets_are_cut(octets: bytes, sizes: list[int]) -> None:
    """Nor does the violation."""
    assert read(in_pieces(octets, sizes)) == read([octets]) == read(octet_by_octet(octets))


@given(st.binary(max_size=200), st.lists(st.integers(1, 20)))
def test_any_octets_are_replies_or_a_violation(octets: bytes, sizes: list[int]) -> None:
    """Never an exception; every reply is one of the codes there are, with printable text."""
    replies, _ = read(in_pieces(octets, sizes))
    for answer in replies:
        assert 200 <= answer.code <= 599
        assert len(str(answer).splitlines()) == 1
        assert len(answer.text) <= REPLY_LIMIT


def test_remembering_replies_changes_nothing() -> None:
    """The same line twice is the same reply, and a line of a longer reply is never taken for a whole one."""
    assert read([b"250 b\r\n250 b\r\n250-a\r\n250 b\r\n"]) == (
        [reply(250, None, "b"), reply(250, None, "b"), reply(250, None, "a\nb")],
        None,
    )

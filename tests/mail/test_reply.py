"""Replies: what leaves is always whole lines of printable text, whatever was put into them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.reply import EnhancedCode, Reply, parse_enhanced, printable, reply
from penstock.smtp.reply_reader import ReplyReader

LINE = re.compile(rb"([0-9]{3})([ -])([^\r\n]*)\r\n")


@pytest.mark.parametrize(
    ("answer", "octets"),
    [
        (reply(250, "2.1.0", "sender ok"), b"250 2.1.0 sender ok\r\n"),
        (reply(354, None, "go on"), b"354 go on\r\n"),
        (reply(250, None, ""), b"250 \r\n"),
        (reply(214, "2.0.0", "one\ntwo\nthree"), b"214-2.0.0 one\r\n214-2.0.0 two\r\n214 2.0.0 three\r\n"),
        (reply(250, None, "mta.example\nSIZE 1"), b"250-mta.example\r\n250 SIZE 1\r\n"),
        (reply(550, "5.1.1", "a\rb\x00c\x1b[2Jd\x7f"), b"550 5.1.1 a?b?c?[2Jd?\r\n"),
        (reply(550, "5.1.1", "a\x85b\u2028c\ud800"), b"550 5.1.1 a?b?c?\r\n"),
        (reply(550, "5.1.1", "é"), b"550 5.1.1 \xc3\xa9\r\n"),
    ],
)
def test_a_reply_goes_out_as_lines_with_its_code(answer: Reply, octets: bytes) -> None:
    """RFC 5321 4.2.1 for the lines, RFC 2034 4 for the enhanced status code in each of them."""
    assert answer.to_bytes() == octets


@given(st.integers(200, 599), st.sampled_from([None, "2.0.0", "4.123.456"]), st.text())
@example(250, "2.0.0", "x" * 10_000)
@example(250, None, "\n" * 300)
@example(250, "2.0.0", "é" * 600)
@example(250, None, "a" * 499 + "\U0001f600" * 3)
@example(550, None, "evil\r\n250 2.0.0 injected")
def test_no_text_can_end_a_line_or_make_it_too_long(code: int, enhanced: str | None, text: str) -> None:
    """RFC 5321 4.5.3.1.5: at most 512 octets a line; every line has the code, all but the last a hyphen; UTF-8 stays whole."""
    octets = reply(code, enhanced, text).to_bytes()
    lines = octets.splitlines(keepends=True)
    matches = [LINE.fullmatch(line) for line in lines]
    assert b"".join(lines) == octets
    assert all(match is not None and match[1] == b"%d" % code for match in matches)
    assert [match[2] for match in matches if match] == [b"-"] * (len(lines) - 1) + [b" "]
    assert max(map(len, lines)) <= 512
    assert all(
        character.isprintable() or character > "\x9f" for character in octets.decode().replace("\r\n", "")
    )


@given(
    st.integers(200, 599),
    st.one_of(
        st.none(),
        st.builds(EnhancedCode, st.sampled_from([2, 4, 5]), st.integers(0, 999), st.integers(0, 999)),
    ),
    st.lists(st.text("abc 123.é", max_size=40), min_size=1, max_size=5),
)
def test_a_reply_that_is_sent_is_read_as_the_same(
    code: int, enhanced: EnhancedCode | None, lines: list[str]
) -> None:
    """Our replies and our reader of replies speak one language."""
    sent = Reply(code, enhanced, "\n".join(lines))
    received = ReplyReader().feed(sent.to_bytes())
    if enhanced is not None or parse_enhanced(lines[0])[0] is None:
        assert received == [sent]


@given(st.text())
def test_a_reply_is_one_printable_line_to_rules_and_logs(text: str) -> None:
    """``str()`` is what classification rules match: no line end, no control."""
    written = str(reply(550, "5.1.1", text))
    assert written.startswith("550 5.1.1 ")
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written


@pytest.mark.parametrize(
    ("text", "enhanced", "rest"),
    [
        ("5.1.1 no such user", EnhancedCode(5, 1, 1), "no such user"),
        ("2.0.0", EnhancedCode(2, 0, 0), ""),
        ("4.7.28 slow down", EnhancedCode(4, 7, 28), "slow down"),
        ("5.1.1234 x", None, "5.1.1234 x"),
        ("3.1.1 x", None, "3.1.1 x"),
        ("5.1 x", None, "5.1 x"),
        ("5.1.1. x", None, "5.1.1. x"),
        ("5.1.1-x", None, "5.1.1-x"),
        ("٥.١.١ x", None, "٥.١.١ x"),
        (" 5.1.1 x", None, " 5.1.1 x"),
        ("", None, ""),
    ],
)
def test_an_enhanced_status_code_is_read_or_left_in_the_text(
    text: str, enhanced: EnhancedCode | None, rest: str
) -> None:
    """RFC 3463 2: class 2, 4 or 5, then one to three ASCII digits twice."""
    assert parse_enhanced(text) == (enhanced, rest)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (200, "positive"),
        (299, "positive"),
        (354, "intermediate"),
        (421, "temporary"),
        (500, "permanent"),
        (599, "permanent"),
    ],
)
def test_the_first_digit_says_what_a_reply_means(code: int, kind: str) -> None:
    """RFC 5321 4.2.1: exactly one of the four."""
    answer = Reply(code, None, "")
    kinds = {
        name: getattr(answer, f"is_{name}") for name in ("positive", "intermediate", "temporary", "permanent")
    }
    assert [name for name, holds in kinds.items() if holds] == [kind]


def test_printable_leaves_printable_text_alone() -> None:
    """The short way and the long way give the same."""
    assert printable("plain ~ text") == "plain ~ text"
    assert printable("naïve ✓") == "naïve ✓"
    assert printable("a\tb\nc") == "a?b?c"

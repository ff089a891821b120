"""Mail data: its end, its dots, its limits, and what is kept of it."""

from __future__ import annotations

import re
import tracemalloc
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply
from penstock.smtp.data import (
    DataReader,
    has_bare_line_end,
    has_dot_line,
    judge,
    longest_line_exceeds,
    with_crlf,
)

from .driver import in_pieces

END = b"\r\n.\r\n"
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def stuffed(content: bytes) -> bytes:
    """Mail data for content of whole lines: RFC 5321 4.5.2, written the plain way."""
    lines = content.split(b"\r\n")
    assert lines[-1] == b""
    return (
        b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines[:-1] or [])
        + (b"\r\n" if len(lines) > 1 else b"")
        + b".\r\n"
    )


def read(pieces: list[bytes], limit: int = 1_000_000) -> tuple[DataReader, bytes]:
    """The reader after these pieces, and what was behind the end."""
    reader = DataReader(limit)
    for number, piece in enumerate(pieces):
        used = reader.feed(piece)
        if used >= 0:
            return reader, piece[used:] + b"".join(pieces[number + 1 :])
    raise AssertionError("no end")


CONTENT = st.lists(
    st.lists(st.sampled_from([b".", b"a", b"..", b"\r", b"\n", b"\x00", b"\xff"]), max_size=5).map(b"".join), max_size=8
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))  # fmt: skip


@given(CONTENT, st.lists(st.integers(1, 7)), st.binary(max_size=10))
@example(b".\r\n", [2, 1, 1, 1], b"")
@example(b"", [1, 1, 1], b".\r\n")
@example(b"a\r\n..\r\n", [4, 1, 1, 1, 1, 1], b"QUIT\r\n")
def test_mail_data_comes_out_as_it_was_meant_however_it_is_cut(
    content: bytes, sizes: list[int], after: bytes
) -> None:
    """Octet for octet, whatever is in its lines; and what follows the end is left."""
    if b"\r\n.\r\n" in stuffed(content)[:-3]:
        return
    reader, rest = read(in_pieces(stuffed(content) + after, sizes))
    assert reader.content() == content
    assert rest == after
    assert reader.has_dots is any(line.startswith(b".") for line in content.split(b"\r\n"))


@pytest.mark.parametrize("border", [1000, 4096, 8192, 65_536])
def test_dots_at_every_buffer_border_are_kept(border: int) -> None:
    """Lines that begin with a dot, moved octet by octet across the border of a segment."""
    for shift in range(-6, 4):
        content = b"x" * (border + shift - 2) + b"\r\n" + b".\r\n..\r\n.a\r\n"
        data = stuffed(content)
        for pieces in ([data[:border], data[border:]], in_pieces(data, [border, 1, 1, 1, 1, 1])):
            reader, rest = read(pieces)
            assert reader.content() == content
            assert rest == b""


def test_a_megabyte_of_dots_is_a_megabyte_of_dots() -> None:
    """Lines that are a dot each, and one line of nothing but dots."""
    for content in (b".\r\n" * 350_000, b"." * 1_000_000 + b"\r\n"):
        reader, _ = read(in_pieces(stuffed(content), [65_536] * 40), limit=2_000_000)
        assert reader.content() == content


@pytest.mark.parametrize(
    ("content", "limit", "is_over"),
    [
        (b"", 0, False),
        (b"\r\n", 2, False),
        (b"\r\n", 1, True),
        (b"12345678\r\n", 10, False),
        (b"123456789\r\n", 10, True),
        (b".2345678\r\n", 10, False),
        (b".\r\n.\r\n.\r\n.\r\n", 12, False),
        (b".\r\n.\r\n.\r\n.\r\n", 11, True),
        (b"x" * 50_000 + b"\r\n", 50_002, False),
        (b"x" * 50_000 + b"\r\n", 50_001, True),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1_000_000])
def test_the_limit_counts_the_message_and_not_the_dots_of_transparency(
    content: bytes, limit: int, is_over: bool, size: int
) -> None:
    """RFC 1870 3: to the octet, however the data is cut."""
    data = stuffed(content)
    reader, rest = read(in_pieces(data, [size] * (len(data) // size)), limit)
    assert reader.is_over is is_over
    assert rest == b""
    if not is_over:
        assert reader.content() == content
    else:
        assert reader.size == 0


def test_past_the_limit_nothing_is_kept_and_the_end_is_found() -> None:
    """A hundred megabytes behind a limit of a thousand octets."""
    reader = DataReader(1000)
    piece = b"x" * 998 + b"\r\n"
    for _ in range(1000):
        assert reader.feed(piece * 100) == -1
        assert reader.size <= 1000
    assert reader.feed(b".\r\nQUIT\r\n") == 3
    assert reader.is_over


def test_octets_that_come_one_by_one_take_no_more_memory_than_in_one_piece() -> None:
    """A client that sends tiny segments must not multiply what it costs."""
    octets = [b"ab", b"cd", b"ef"]
    reader = DataReader(10_000_000)
    tracemalloc.start()
    try:
        for number in range(100_000):
            reader.feed(octets[number % 3])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert reader.size == 200_000
    assert held < 300_000


def test_bare_line_ends_are_found_in_every_short_text() -> None:
    """All texts of up to six octets of CR, LF, a dot and a letter, against the plain definition."""
    for length in range(7):
        for octets in product(b"\r\n.a", repeat=length):
            content = bytes(octets)
            assert has_bare_line_end(content) is bool(BARE.search(content)), content
            assert with_crlf(content) == BARE.sub(b"\r\n", content), content
            assert has_dot_line(content) is bool(re.search(rb"(?:\A|\r\n)\.", content)), content


@given(st.binary(), st.integers(0, 40))
def test_line_lengths_and_line_ends_are_judged_by_their_plain_definitions(content: bytes, limit: int) -> None:
    """Octets of every kind, NUL, 8-bit and the separators of other software among them."""
    assert has_bare_line_end(content) is bool(BARE.search(content))
    longest = max(len(line) for line in content.split(b"\r\n"))
    assert longest_line_exceeds(content, limit) is (longest > limit)


@pytest.mark.parametrize(
    "length", [0, 1, 997, 998, 999, 1000, 1001, 2048, 4096, 65_535, 65_536, 65_537, 1_000_000]
)
@pytest.mark.parametrize("before", [b"", b"short\r\n", b"x" * 998 + b"\r\n"])
def test_a_line_may_have_998_octets(length: int, before: bytes) -> None:
    """RFC 5322 2.1.1; 500 5.2.3 beyond."""
    verdict = judge(before + b"x" * length + b"\r\nshort\r\n", LineEndings.DENY, 998)
    if length <= 998:
        assert verdict == (before + b"x" * length + b"\r\nshort\r\n", True)
    else:
        assert isinstance(verdict, Reply)
        assert str(verdict).startswith("500 5.2.3 ")


@given(CONTENT, st.sampled_from(list(LineEndings)), st.booleans())
@example(b"a\n.\nb\r\n", LineEndings.FIX, False)
@example(b"a\r.\rb\r\n", LineEndings.FIX, False)
def test_canonical_means_that_nothing_needs_to_be_done(
    content: bytes, mode: LineEndings, looks: bool
) -> None:
    """What is called canonical has no bare line end and no line that begins with a dot, whatever the mode."""
    has_dots = looks or has_dot_line(content)
    verdict = judge(content, mode, 998, has_dots=has_dots)
    if isinstance(verdict, Reply):
        assert mode is LineEndings.DENY
        assert BARE.search(content)
        return
    kept, is_canonical = verdict
    assert kept == (BARE.sub(b"\r\n", content) if mode is LineEndings.FIX else content)
    assert is_canonical is not (bool(BARE.search(kept)) or has_dot_line(kept))


def test_lines_of_a_lenient_listener_are_measured_as_they_will_be_sent() -> None:
    """A message of LF alone is one long line to CRLF, and many short ones on the wire."""
    content = b"short\n" * 1000 + b"\r\n"
    assert judge(content, LineEndings.ALLOW, 998) == (content, False)
    long = b"x" * 999 + b"\n\r\n"
    assert isinstance(judge(long, LineEndings.ALLOW, 998), Reply)
    assert isinstance(judge(long, LineEndings.FIX, 998), Reply)

"""A line of mail data that does not end is not kept, and refused like any other long line once the data has ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply
from penstock.smtp.data import DataReader, judge, line_too_long

LIMIT = 998


@pytest.mark.parametrize("before", [b"", b"Subject: x\r\n\r\n", b"bare\n", b"bare\r"])
def test_a_line_without_an_end_is_dropped_where_it_passes_the_limit(before: bytes) -> None:
    """Ten million octets of one line hold no more memory than the limit and a segment (RFC 5321 4.5.3.1.6)."""
    reader = DataReader(20_000_000, LIMIT)
    assert reader.feed(before) == -1 if before else True
    for _ in range(100):
        assert reader.feed(b"x" * 100_000) == -1
        assert reader.size == 0
    assert reader.is_endless
    assert not reader.is_over
    assert reader.feed(b"\r\n.\r\nQUIT\r\n") == 5


def test_too_large_comes_before_too_long() -> None:
    """A message that is both is refused for its size, however it came."""
    for pieces in ([b"x" * 5000 + b"\r\n.\r\n"], [b"x" * 3000, b"x" * 2000, b"\r\n.\r\n"]):
        reader = DataReader(4000, LIMIT)
        for piece in pieces:
            reader.feed(piece)
        assert reader.is_over


lines = st.lists(st.integers(min_value=0, max_value=30), min_size=1, max_size=6)


@given(
    lines,
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
    st.lists(st.integers(1, 20), min_size=1, max_size=30),
    st.booleans(),
)
def test_the_answer_does_not_depend_on_the_segments(
    lengths: list[int], end: bytes, sizes: list[int], is_dotted: bool
) -> None:
    """Whole or in pieces, a line over the limit is refused as such, and no other line is."""
    limit = 12
    dot = b"." if is_dotted else b""
    content = b"".join(
        dot + b"x" * length + (end if number % 2 else b"\r\n") for number, length in enumerate(lengths)
    )
    wire = content.replace(b"\r\n.", b"\r\n..")
    wire = (b"." + wire if wire.startswith(b".") else wire) + (b"" if wire.endswith(b"\r\n") else b"\r\n")
    data = wire + b".\r\n"
    whole = DataReader(10_000, limit)
    whole.feed(data)
    expected = judge(whole.content(), LineEndings.DENY, limit)
    reader, position, number = DataReader(10_000, limit), 0, 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        used = reader.feed(data[position : position + size])
        position += size
        number += 1
        assert (used >= 0) is (position >= len(data))
    found: tuple[bytes, bool] | Reply = (
        line_too_long(limit) if reader.is_endless else judge(reader.content(), LineEndings.DENY, limit)
    )
    assert found == expected

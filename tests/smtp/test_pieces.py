"""Mail data on its way in: what is kept of it, in how much memory, and what is only counted."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.smtp.chunk import Chunk, ChunkReader
from penstock.smtp.data import DataReader
from penstock.smtp.pieces import Pieces


@given(st.lists(st.sampled_from([0, 1, 7, 4095, 4096, 4097, 10_000])))
def test_what_was_taken_comes_out_in_one(sizes: list[int]) -> None:
    """In order, whatever the sizes of the segments, and none of those given is changed."""
    given_ = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    copies = [bytes(piece) for piece in given_]
    pieces = Pieces()
    for piece in given_:
        pieces.take(piece)
    assert pieces.joined() == b"".join(given_)
    assert pieces.size == pieces.received == sum(sizes)
    assert given_ == copies


def test_small_segments_take_no_more_memory_than_one() -> None:
    """A client that sends tiny segments must not multiply what it costs."""
    octets = [b"ab", b"cd", b"ef"]
    pieces = Pieces()
    tracemalloc.start()
    try:
        for number in range(100_000):
            pieces.take(octets[number % 3])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert pieces.size == 200_000
    assert held < 300_000


def test_what_is_dropped_is_counted_and_not_kept() -> None:
    """From then on, and what was there too."""
    pieces = Pieces()
    pieces.take(b"x" * 5000)
    pieces.drop()
    pieces.take(b"y" * 5000)
    assert (pieces.received, pieces.size, pieces.joined()) == (10_000, 0, b"")
    assert not pieces.is_over
    pieces.overflow()
    assert pieces.is_over


@pytest.mark.parametrize("size", [9, 10, 11])
def test_data_and_chunks_have_the_same_limit(size: int) -> None:
    """Of the message's octets, without what ends or parts them; beyond it nothing is kept."""
    data, chunks = DataReader(10), ChunkReader(10)
    assert data.feed(b"x" * (size - 2) + b"\r\n.\r\n") > 0
    chunks.begin(Chunk(size - 2, is_last=False))
    assert chunks.feed(b"x" * (size - 2)) == size - 2
    chunks.end()
    chunks.begin(Chunk(2, is_last=True))
    chunks.feed(b"\r\n")
    assert data.is_over is chunks.is_over is (size > 10)
    assert (data.size == 0) is (chunks.size == 0) is (size > 10)
    if size <= 10:
        assert data.content() == chunks.content() == b"x" * (size - 2) + b"\r\n"

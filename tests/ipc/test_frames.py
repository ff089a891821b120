"""Frames: what is read is what was written, however the octets come; what may not be sent is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.ipc.frames import HEADER_SIZE, VERSION, Frame, FrameReader, ProtocolError, encode

HEADER = struct.Struct("!IBBQI")
#: Octets that look like something at any place.
PATTERN = bytes(range(251)) * 4000

sizes = st.one_of(
    st.integers(0, 300), st.sampled_from([65_517, 65_518, 65_535, 65_536, 65_537, 200_000, 600_000])
)
frames = st.builds(
    lambda kind, number, head, first, rest: Frame(kind, number, PATTERN[:head], PATTERN[7 : 7 + first] + PATTERN[:rest]),
    st.integers(0, 255), st.integers(0, 2**64 - 1), sizes, sizes, st.integers(0, 20),
)  # fmt: skip


def octets(frame: Frame) -> bytes:
    """A frame as it is sent."""
    half = len(frame.tail) // 2
    return b"".join(encode(*frame[:3], [frame.tail[:half], frame.tail[half:]]))


def read(reader: FrameReader, data: bytes, steps: Iterable[int]) -> list[Frame]:
    """The frames in ``data``, fed in steps of these sizes at most, the rest as large as the reader takes it."""
    found, at, step = [], 0, iter(steps)
    while at < len(data):
        space = reader.space()
        assert len(space) > 0
        count = min(len(space), len(data) - at, next(step, len(data)))
        space[:count] = data[at : at + count]
        reader.received(count)
        at += count
        while (frame := reader.take()) is not None:
            found.append(frame)
    return found


@settings(max_examples=60)
@given(st.lists(frames, max_size=6), st.lists(st.integers(1, 100_000), max_size=30))
def test_what_is_read_is_what_was_written(sent: list[Frame], steps: list[int]) -> None:
    """In any steps, with frames of any size behind each other."""
    reader = FrameReader()
    assert read(reader, b"".join(map(octets, sent)), steps) == sent
    assert reader.is_between()


def test_octet_by_octet() -> None:
    """Nothing comes before a frame is whole."""
    sent = [
        Frame(1, 2, b"head", b"tail"),
        Frame(255, 2**64 - 1, b"", b""),
        Frame(0, 0, b"", b"t"),
        Frame(3, 1, b"h", b""),
    ]
    for frame in sent:
        reader, data = FrameReader(), octets(frame)
        assert read(reader, data[:-1], [1] * len(data)) == []
        assert not reader.is_between()
        assert read(reader, data[-1:], [1]) == [frame]
    data = b"".join(map(octets, sent))
    assert read(FrameReader(), data, [1] * len(data)) == sent


def test_frames_do_not_share_memory_with_what_comes_later() -> None:
    """A tail that is kept stays what it was, small or large."""
    reader = FrameReader()
    for size in (1000, 100_000):
        (first,) = read(reader, octets(Frame(1, 1, b"", b"a" * size)), [])
        read(reader, octets(Frame(1, 2, b"", b"b" * size)) * 5, [])
        assert bytes(first.tail) == b"a" * size


def test_another_version_is_named_as_soon_as_it_is_seen() -> None:
    """With what to do about it; the rest of the header may look different."""
    with pytest.raises(
        ProtocolError, match=f"speaks version {VERSION + 1}, this one version {VERSION}.*restart the server"
    ):
        read(FrameReader(), struct.pack("!IB", 4_000_000_000, VERSION + 1), [])


@pytest.mark.parametrize(
    ("head", "tail", "holds"),
    [(10, 20, True), (11, 0, False), (0, 21, False), (11, 20, False), (10, 21, False)],
)
def test_lengths_are_bounded(head: int, tail: int, holds: bool) -> None:
    """By the header alone, before any of it is received; and by the sender itself."""
    header = HEADER.pack(head + tail, VERSION, 1, 1, head)
    if holds:
        assert read(FrameReader(head_limit=10, tail_limit=20), header, []) == []
        assert (
            encode(1, 1, b"h" * head, [b"t" * tail], head_limit=10, tail_limit=20)[0][:HEADER_SIZE] == header
        )
        return
    with pytest.raises(ProtocolError, match="over the limits of 10 for a head and 20 for a tail"):
        read(FrameReader(head_limit=10, tail_limit=20), header, [])
    with pytest.raises(ValueError, match="over its limits"):
        encode(1, 1, b"h" * head, [b"t" * tail], head_limit=10, tail_limit=20)


def test_a_head_longer_than_its_frame_is_refused() -> None:
    """It would reach into the next frame."""
    with pytest.raises(ProtocolError, match="over the limits"):
        read(FrameReader(), HEADER.pack(5, VERSION, 1, 1, 6) + bytes(20), [])


@given(st.binary(max_size=200), st.integers(0, 40))
def test_any_octets_are_frames_or_an_error(noise: bytes, version_at: int) -> None:
    """A hostile process gets nothing but a ProtocolError, and no more memory than the limits say."""
    data = noise[:version_at] + bytes([0, 0, 0, 3, VERSION]) + noise[version_at:]
    reader = FrameReader(head_limit=50, tail_limit=50)
    try:
        found = read(reader, data, [3] * 100)
    except ProtocolError:
        return
    assert all(len(frame.head) <= 50 and len(frame.tail) <= 50 for frame in found)

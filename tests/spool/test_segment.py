"""Segments: what is appended can be read, whole, from frames and from an index; what is damaged is found, and what is torn is cut."""

from __future__ import annotations

import errno
from contextlib import suppress
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.mail.ports import SpoolError
from penstock.mail.records import Verdict
from penstock.spool.codec import encode_attempt, encode_copy, encode_expiration, encode_note
from penstock.spool.decoding import decode
from penstock.spool.files import FileError
from penstock.spool.frame import SEGMENT_HEADER_SIZE, Damaged, Identity, NewerFormat, Place, write_frame
from penstock.spool.index import Index, parse_index
from penstock.spool.meaning import State
from penstock.spool.scan import Scan, scan
from penstock.spool.segment import SegmentReader, SegmentWriter
from tests.spool import samples
from tests.spool.files_in_memory import MemoryFiles
from tests.spool.writing import SIZE, add, fresh, put, segment


def rows(index: Index) -> tuple[object, ...]:
    """All that an index says."""
    return (
        index.number, index.messages.columns(), index.queue_names, index.bodies, list(index.copies), list(index.changes),
        index.notes,
    )  # fmt: skip


def written(files: MemoryFiles, number: int = 3) -> SegmentWriter:
    """A segment with every kind of record, flushed."""
    writer = segment(files, number)
    first, second = put(writer, samples.message(1, recipients=3), samples.message(2, domain="b.test"))
    record = samples.message(1, recipients=3)
    add(
        writer,
        encode_attempt(
            samples.attempt(record, 1, (0, Verdict.ACCEPTED), (1, Verdict.DEFERRED), due=9.0), first
        ),
        encode_note(samples.REJECTION),
        encode_expiration(samples.expiration(record, 1), first),
        encode_copy([samples.message(9, recipients=2)], [State(Place(1, 64, 0), (1,), 4, 77.0)]),
    )
    add(writer, encode_attempt(samples.attempt(record, 1, (0, Verdict.FAILED)), second))
    writer.flush()
    return writer


def scanned(writer: SegmentWriter) -> Scan:
    """The segment scanned."""
    return scan(writer.file, writer.identity, writer.path, writer.file.size())


def test_nothing_is_written_before_flush_and_all_of_it_after() -> None:
    """Frames collect; their offsets are known; a frame can be read once it is flushed."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, samples.message(1))
    assert place == Place(1, SEGMENT_HEADER_SIZE, 0)
    assert writer.pending > 0 and writer.written == SEGMENT_HEADER_SIZE
    reader = SegmentReader(writer.file, writer.identity, writer.path)
    with pytest.raises(Damaged, match="no frame begins here"):
        reader.transaction(place.offset)
    writer.flush()
    assert writer.pending == 0 and writer.written == writer.end
    assert writer.end % 16 == 0
    assert reader.transaction(place.offset).message(0) == samples.message(1)


def test_a_new_segment_is_durable_before_it_is_used() -> None:
    """The file first, then its folder, so that the name never leads to nothing."""
    files = fresh()
    del files.synced[:]
    writer = segment(files, 1)
    assert files.synced == []
    writer.make_durable(files)
    assert files.synced == [writer.path, "segments"]
    assert writer.synced == SEGMENT_HEADER_SIZE
    assert writer.file.size() == SIZE


def test_a_scan_and_an_index_say_the_same() -> None:
    """What the writer gathered, what a scan finds, and what comes back from a sealed segment."""
    writer = written(fresh())
    result = scanned(writer)
    assert rows(result.index) == rows(writer.index)
    assert (result.damages, result.end, result.torn) == ((), writer.end, 0)
    end = writer.end
    writer.seal()
    found = SegmentReader(writer.file, writer.identity, writer.path).index()
    assert found is not None and found[1] == end
    assert rows(found[0]) == rows(writer.index)
    assert rows(scanned(writer).index) == rows(writer.index)
    assert writer.file.size() < SIZE
    assert writer.index.to_bytes() == found[0].to_bytes()


def test_an_index_does_not_count_past_what_counts() -> None:
    """A footer behind the end of what an abandoned segment is good for is not believed."""
    writer = written(fresh())
    end = writer.end
    writer.seal()
    reader = SegmentReader(writer.file, writer.identity, writer.path)
    assert reader.index(end) is not None
    assert reader.index(end - 16) is None


def test_a_sealed_segment_takes_no_more() -> None:
    """Nor does one whose write has failed."""
    writer = written(fresh())
    writer.seal()
    with pytest.raises(SpoolError, match="nothing more"):
        put(writer, samples.message(1))
    writer = segment(fresh(), 1)
    writer.mark_failed()
    with pytest.raises(SpoolError, match="nothing more"):
        put(writer, samples.message(1))


def test_a_failed_write_is_the_end_of_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the file is unknown then."""
    writer = segment(fresh(), 1)

    def fail(buffers: object, offset: int) -> None:
        raise FileError("write", writer.path, errno.EIO)

    monkeypatch.setattr(writer.file, "write", fail)
    put(writer, samples.message(1))
    with pytest.raises(FileError):
        writer.flush()
    assert writer.has_failed
    with pytest.raises(SpoolError):
        put(writer, samples.message(1))


def test_a_segment_says_when_it_is_full() -> None:
    """A frame that does not fit is for the next segment; an empty segment takes any."""
    from penstock.spool.codec import encode_transaction

    writer = segment(fresh(), 1, size=2048)
    large = encode_transaction([samples.message(1, content=b"x" * 4000)])
    assert writer.has_room(large)
    put(writer, samples.message(1))
    assert not writer.has_room(large)
    assert writer.has_room(encode_transaction([samples.message(1)]))


def test_frames_know_their_segment_and_their_place() -> None:
    """The same octets elsewhere, or in a segment of another number or salt, are no frame."""
    writer = written(fresh())
    octets = writer.file.read(writer.end - 64, 64)
    file = MemoryFiles().create("x")
    for identity, offset in (
        (writer.identity, 80),
        (Identity(4, writer.identity.salt), 64),
        (Identity(3, 1), 64),
    ):
        file.truncate(0)
        file.write([octets], offset)
        assert len(scan(file, identity, "x", file.size()).index.messages) == 0
        with pytest.raises(Damaged):
            SegmentReader(file, identity, "x").frame(offset)


@pytest.mark.parametrize("where", ["header", "payload", "both"])
def test_a_damaged_frame_with_whole_ones_behind_it_is_found(where: str) -> None:
    """And costs no other frame, wherever it is damaged."""
    writer = segment(fresh(), 1)
    first, second, third = (put(writer, samples.message(number))[0] for number in range(3))
    writer.flush()
    octets = writer.file.octets
    if where != "payload":
        octets[second.offset + 5] ^= 1
    if where != "header":
        octets[second.offset + 60] ^= 1
    result = scanned(writer)
    assert list(result.index.messages.offset) == [first.offset, third.offset]
    (damage,) = result.damages
    assert (damage.offset, damage.size) == (second.offset, third.offset - second.offset)
    assert damage.was_stored is False
    assert "checksum" in damage.reason


def test_damage_of_what_was_synced_is_told_from_a_power_cut() -> None:
    """A later frame says up to where all was on stable storage."""
    writer = segment(fresh(), 1)
    (first,) = put(writer, samples.message(1))
    writer.flush()
    writer.mark_synced(writer.written)
    (second,) = put(writer, samples.message(2))
    put(writer, samples.message(3))
    writer.flush()
    octets = writer.file.octets
    octets[first.offset + 60] ^= 1
    octets[second.offset + 60] ^= 1
    assert [damage.was_stored for damage in scanned(writer).damages] == [True, False]


def test_what_is_torn_at_the_end_is_cut() -> None:
    """At every length of the file, whole frames are found and nothing is called damaged."""
    writer = segment(fresh(), 1)
    places = [put(writer, samples.message(number))[0] for number in range(4)]
    writer.flush()
    whole = bytes(writer.file.octets)[: writer.end]
    ends = [*[place.offset for place in places[1:]], writer.end]
    for size in range(64, len(whole)):
        for rest in (b"", bytes(4096)):
            file = MemoryFiles().create("x")
            file.write([whole[:size], rest], 0)
            result = scan(file, writer.identity, "x", file.size())
            # a frame whose padding alone is missing is whole only where the file goes on
            count = sum(end <= size for end in ends)
            assert len(result.index.messages) in (count, count + 1)
            assert result.damages == ()


def test_a_frame_inside_of_a_content_is_never_looked_at() -> None:
    """A content that holds a frame made for the very place where it lies: damaged as it may be, it is content."""
    writer = segment(fresh(), 1)
    probe = samples.message(1, content=b"x" * 2000)
    payload = b"".join(encode_note(samples.REJECTION).buffers)
    (place,) = put(writer, probe)
    start = writer.end - 1024 - writer.end % 16
    forged = b"".join(write_frame(writer.identity, start, (5, 1), [payload], 0))
    other = segment(fresh(), 1)
    content = bytearray(probe.content)
    begin = 2000 - (writer.end - start) + (writer.end - place.offset - 20 - _length(writer, place))
    content[begin : begin + len(forged)] = forged
    put(other, samples.message(1, content=bytes(content)))
    (last,) = put(other, samples.message(2))
    other.flush()
    octets = other.file.octets
    assert octets[start : start + len(forged)] == forged
    octets[place.offset + 100] ^= 1
    result = scanned(other)
    assert result.index.notes == 0
    assert list(result.index.messages.offset) == [last.offset]


def _length(writer: SegmentWriter, place: Place) -> int:
    writer.flush()
    return int.from_bytes(writer.file.read(4, place.offset + 4), "little")


def test_a_content_full_of_markers_costs_one_look_each() -> None:
    """A frame without a header that is right, and a megabyte that looks like frames: found in one pass, the next frame too."""
    writer = segment(fresh(), 1, size=4 * 1024 * 1024)
    (place,) = put(writer, samples.message(1, content=b"\xf5\x9e\1\1" * 300_000))
    (last,) = put(writer, samples.message(2))
    writer.flush()
    writer.file.octets[place.offset] ^= 1
    reads = 0
    read = writer.file.read

    def count(size: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(size, offset)

    writer.file.read = count
    result = scanned(writer)
    assert list(result.index.messages.offset) == [last.offset]
    assert reads < 20


def test_unknown_frames_are_skipped_if_they_may_be_and_refused_if_not() -> None:
    """Types from 128 on are ancillary; any other type or version that is not known is a newer format, named with its file."""
    files = fresh()
    writer = segment(files, 1)
    put(writer, samples.message(1))
    writer.flush()
    skipped = write_frame(writer.identity, writer.end, (200, 9), [b"?"], 0)
    writer.file.write(skipped, writer.end)
    result = scanned(writer)
    assert len(result.index.messages) == 1 and result.damages == ()
    assert result.end == writer.end + 32
    for frame in ((42, 1), (1, 3), (3, 2)):
        writer.file.write(write_frame(writer.identity, result.end, frame, [b"?"], 0), result.end)
        with pytest.raises(NewerFormat, match=f"{writer.path}.*type {frame[0]}, version {frame[1]}"):
            scanned(writer)
        with pytest.raises(NewerFormat):
            list(SegmentReader(writer.file, writer.identity, writer.path).frames())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_spoiled_segments_give_records_that_were_written_and_nothing_else(data: st.DataObject) -> None:
    """Octets flipped, zeroed, or moved: every message that is read is one that was written, and nothing is raised."""
    writer = written(fresh())
    if data.draw(st.booleans()):
        writer.seal()
    octets: bytearray = writer.file.octets
    before = {place: decode(frame) for frame in _frames(writer) for place in [frame.offset]}
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, writer.end + 40))
        size = data.draw(st.integers(1, 64))
        what = data.draw(st.sampled_from(["flip", "zero", "move"]))
        if what == "flip":
            octets[at] ^= data.draw(st.integers(1, 255))
        elif what == "zero":
            octets[at : at + size] = bytes(len(octets[at : at + size]))
        else:
            octets[at : at + size] = octets[64 : 64 + len(octets[at : at + size])]
    result = scanned(writer)
    offsets = set(result.index.messages.offset) | set(result.index.changes.offset)
    assert offsets <= set(before)
    SegmentReader(writer.file, writer.identity, writer.path).index()


def _frames(writer: SegmentWriter) -> list[object]:
    return list(SegmentReader(writer.file, writer.identity, writer.path).frames())


@given(st.binary(max_size=300), st.integers(0, 10), st.integers(0, 255))
def test_any_octets_are_an_index_or_damaged(octets: bytes, at: int, value: int) -> None:
    """Whatever stands in a SEAL frame, also one that is right but for an octet."""
    writer = written(fresh())
    spoiled = bytearray(writer.index.to_bytes())
    spoiled[crc32(octets) % len(spoiled)] = value
    spoiled[at] ^= value
    for payload in (octets, bytes(spoiled)):
        with suppress(Damaged):
            list(parse_index(payload, 3).changes)

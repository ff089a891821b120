"""Recovery: what a spool holds when a process begins, whatever was left of it."""

from __future__ import annotations

import math
import tracemalloc

import msgspec
import pytest

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.records import Verdict
from penstock.spool.codec import (
    body_of,
    encode_abandon,
    encode_attempt,
    encode_copy,
    encode_expiration,
    encode_note,
    encode_transaction,
)
from penstock.spool.frame import Damaged, FrameType, Identity, NewerFormat, Place, SegmentHeader
from penstock.spool.index import Index
from penstock.spool.meaning import Abandoned, Change, Listed, Meaning, State
from penstock.spool.names import body_path
from penstock.spool.queued import Queued
from penstock.spool.recovery import recover
from penstock.spool.segment import SegmentReader, read_body, write_seal
from tests.spool import samples
from tests.spool.files_in_memory import MemoryFiles
from tests.spool.writing import add, fresh, live, put, segment, stored


def waiting(files: MemoryFiles) -> dict[tuple[int, int, int], set[int]]:
    """Who waits, by place."""
    return {place: item["waiting"] for place, item in live(recover(files)).items()}


def test_an_empty_spool_holds_nothing() -> None:
    """The first segment is number 1."""
    recovered = recover(fresh())
    assert (len(recovered.queued), recovered.queued.live, recovered.next_number) == (0, 0, 1)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_messages_come_back_with_their_state(is_sealed: bool) -> None:
    """Recipients waiting, attempts, due, queue, created and size; the settled are gone."""
    files = fresh()
    writer = segment(files, 1)
    record, other = samples.message(1, recipients=3), samples.message(2, domain="b.test")
    first, second = put(writer, record, other)
    later = samples.attempt(record, 1, (0, Verdict.ACCEPTED), (1, Verdict.DEFERRED), due=9.5)
    add(
        writer,
        encode_attempt(later, first),
        encode_attempt(samples.attempt(other, 1, (0, Verdict.FAILED)), second),
    )
    stored(writer)
    if is_sealed:
        writer.seal()
    recovered = recover(files)
    (row,) = recovered.queued
    message = recovered.queued.message(row)
    assert message.place == first
    assert message.queue == record.queue
    assert (message.created, message.size) == (record.created, record.size)
    assert (message.waiting, message.attempts, message.due) == ((1, 2), 1, 9.5)
    assert recovered.queued.find(second) is not None
    assert (recovered.counts.messages, recovered.counts.changes, recovered.counts.stale) == (2, 2, 0)
    (state,) = recovered.segments
    assert (state.index is None) is is_sealed
    assert recovered.next_number == 2


def test_sealed_segments_are_known_without_their_frames() -> None:
    """Contents and envelopes may be anything: only the index is read."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, samples.message(1))
    end = writer.end
    stored(writer)
    writer.seal()
    files.octets[writer.path][64:end] = bytes(end - 64)
    assert waiting(files) == {place: {0}}


@pytest.mark.parametrize("is_newer_synced", [True, False])
def test_an_index_counts_if_its_frames_were_on_stable_storage(is_newer_synced: bool) -> None:
    """Sealed before it was synced, and the power failed: the index may be there without the frames that it tells of. A newer segment that was
    synced says that all of it was.
    """
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    (place,) = put(one, samples.message(1))
    end = one.end
    one.seal()
    files.octets[one.path][64:end] = bytes(end - 64)
    if is_newer_synced:
        stored(two)
    add(two, encode_note(samples.REJECTION))
    two.flush()
    assert waiting(files) == ({place: {0}} if is_newer_synced else {})
    assert recover(files).quarantined == ()
    # it would be believed when a newer segment has been synced
    index = SegmentReader(files.open(one.path), one.identity, one.path).index()
    assert (index is not None) is is_newer_synced


def test_segments_are_synced_before_anything_is_given_out() -> None:
    """A killed process may have left octets with the system that are not on the disk, of a sealed segment too."""
    files = fresh()
    writer = segment(files, 1)
    put(writer, samples.message(1))
    writer.seal()
    newest = segment(files, 2)
    del files.synced[:]
    recover(files)
    assert files.synced == [writer.path, newest.path, "segments"]


def test_a_scanned_segment_can_be_sealed_then() -> None:
    """Its torn tail goes, and the next start reads an index."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, samples.message(1))
    writer.flush()
    files.octets[writer.path][writer.end : writer.end + 3] = b"\xf5\x9e\1"
    (state,) = recover(files).segments
    assert state.torn == 3 and state.index is not None
    write_seal(files.open(state.path, writable=True), state.index, state.identity, state.end, state.end)
    recovered = recover(files)
    assert recovered.segments[0].index is None and recovered.segments[0].torn == 0
    assert list(live(recovered)) == [place]


def test_a_copy_takes_the_place_of_what_it_replaces() -> None:
    """With its state; what named the old place means the copy; and what was settled stays so."""
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    record = samples.message(1, recipients=4)
    (old,) = put(one, record)
    add(one, encode_attempt(samples.attempt(record, 1, (0, Verdict.ACCEPTED), (1, Verdict.DEFERRED)), old))
    add(two, encode_expiration(samples.expiration(record, 3), old))
    offset = two.append(encode_copy([record], [State(old, (1, 2, 3), 5, 99.0)]))
    add(two, encode_expiration(samples.expiration(record, 2), old))
    for writer in (one, two):
        writer.flush()
    (found,) = live(recover(files)).items()
    assert found[0] == (2, offset, 0)
    assert (found[1]["waiting"], found[1]["attempts"], found[1]["due"]) == ({1}, 7, 99.0)
    files.remove(one.path)
    assert waiting(files) == {(2, offset, 0): {1, 2, 3}}


def test_outcomes_of_what_is_gone_are_counted_and_change_nothing() -> None:
    """Their message's segment has died, or it was damaged."""
    files = fresh()
    writer = segment(files, 5)
    record = samples.message(1)
    (place,) = put(writer, record)
    for about in (Place(4, 64, 0), Place(5, 80, 0), Place(5, place.offset, 1)):
        add(writer, encode_attempt(samples.attempt(record, 1, (0, Verdict.ACCEPTED)), about))
    writer.flush()
    recovered = recover(files)
    assert recovered.counts.stale == 3
    assert list(live(recovered)) == [place]


def test_recipients_that_a_message_does_not_have_are_passed_over() -> None:
    """However large their number."""
    files = fresh()
    writer = segment(files, 1)
    record = samples.message(1)
    (place,) = put(writer, record)
    add(writer, encode_expiration(samples.expiration(record, 1, 2**32 - 1), place))
    writer.flush()
    assert waiting(files) == {place: {0}}


def test_what_is_abandoned_does_not_count() -> None:
    """Frames behind the mark are not there, also where they are whole, or sealed."""
    files = fresh()
    one = segment(files, 1)
    (kept,) = put(one, samples.message(1))
    mark = one.end
    add(one, encode_attempt(samples.attempt(samples.message(1), 1, (0, Verdict.ACCEPTED)), kept))
    put(one, samples.message(2))
    one.seal()
    two = segment(files, 2)
    add(two, encode_abandon(Abandoned(1, mark)))
    (added,) = put(two, samples.message(3))
    two.flush()
    assert waiting(files) == {kept: {0}, added: {0}}
    state = recover(files).segments[0]
    assert (state.abandoned_at, state.end, state.torn) == (mark, mark, 0)
    two.seal()
    assert waiting(files) == {kept: {0}, added: {0}}


def test_a_damaged_word_about_an_abandoned_segment_is_said_once_more() -> None:
    """It stands there twice, and the second is heard if the first is not right."""
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    (kept,) = put(one, samples.message(1))
    mark = one.end
    put(one, samples.message(2))
    add(two, encode_abandon(Abandoned(1, mark)), encode_abandon(Abandoned(1, mark)))
    for writer in (one, two):
        writer.flush()
    files.octets[two.path][64 + 24] ^= 1
    assert waiting(files) == {kept: {0}}


def test_who_is_abandoned_abandons_nobody() -> None:
    """The newest word counts: here the second segment's creation failed, and the third says how far the first counts."""
    files = fresh()
    one, two, three = (segment(files, number) for number in (1, 2, 3))
    (first,) = put(one, samples.message(1))
    mark = one.end
    (second,) = put(one, samples.message(2))
    add(two, encode_abandon(Abandoned(1, 64)))
    put(two, samples.message(3))
    add(three, encode_abandon(Abandoned(2, 64)), encode_abandon(Abandoned(1, mark)))
    for writer in (one, two, three):
        writer.flush()
    assert waiting(files) == {first: {0}}
    files.octets[two.path][:] = b"anything"
    recovered = recover(files)
    assert list(live(recovered)) == [first]
    assert recovered.quarantined == ()
    files.remove(two.path)
    files.remove(three.path)
    assert list(waiting(files)) == [first, second]


def test_an_abandoned_number_is_never_given_again() -> None:
    """Even if its file is not there."""
    files = fresh()
    writer = segment(files, 3)
    add(writer, encode_abandon(Abandoned(2, 64)))
    writer.flush()
    assert recover(files).next_number == 4


def test_a_newer_format_is_refused_by_name() -> None:
    """And nothing is changed."""
    files = fresh()
    put(segment(files, 1), samples.message(1))
    newer = segment(files, 2)
    header = SegmentHeader(newer.identity, WallTime(1.0), format=2)
    newer.file.write([header.to_bytes()], 0)
    before = {path: bytes(octets) for path, octets in files.octets.items()}
    with pytest.raises(NewerFormat, match=f"{newer.path} has format 2, .* reads up to 1"):
        recover(files)
    assert files.octets == before


def test_damaged_records_are_saved_and_counted_once() -> None:
    """A copy of their octets is under quarantine; the next start lists them again and copies nothing; everything else is delivered."""
    files = fresh()
    writer = segment(files, 1)
    places = [put(writer, samples.message(number))[0] for number in range(3)]
    writer.flush()
    files.octets[writer.path][places[1].offset + 70] ^= 1
    size = places[2].offset - places[1].offset
    octets = bytes(files.octets[writer.path][places[1].offset : places[2].offset])
    (found,) = recover(files).quarantined
    assert found.saved is not None and files.octets[found.saved] == octets
    assert (found.path, found.offset, found.size) == (writer.path, places[1].offset, size)
    assert "checksum" in str(found) and found.saved in str(found)
    assert recover(files).quarantined == (found,)
    assert list(waiting(files)) == [places[0], places[2]]
    assert files.names("quarantine") == [found.saved.rpartition("/")[2]]


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_flipped_octet_anywhere_costs_one_record_at_most(is_sealed: bool) -> None:
    """In the header, in frames, in the index: the others come back, and none is other than it was stored."""
    files = fresh()
    writer = segment(files, 1)
    records = {put(writer, item)[0]: item for item in map(samples.message, range(12))}
    add(writer, encode_note(samples.REJECTION))
    end = writer.end
    stored(writer)
    if is_sealed:
        writer.seal()
    octets = bytes(files.octets[writer.path])
    for at in [*range(0, min(len(octets), end + 512), 61), 0, 63, 64, end - 1]:
        files.octets[writer.path] = bytearray(octets)
        files.octets[writer.path][at] ^= 0x10
        recovered = recover(files)
        reader = SegmentReader(files.open(writer.path), writer.identity, writer.path)
        intact = 0
        for row in recovered.queued:
            place = recovered.queued.place(row)
            try:
                assert reader.transaction(place.offset).message(place.part) == records[place]
            except Damaged:
                assert is_sealed  # its frames are looked at when they are read
            else:
                intact += 1
        assert intact >= len(records) - 1


def test_segments_that_are_not_what_their_names_say_are_not_read() -> None:
    """A file that was renamed, or copied, is reported with what it is; a foreign name is listed; nothing is taken twice."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, samples.message(1))
    writer.flush()
    copy = "segments/00000009-00000009.segment"
    files.octets[copy] = bytearray(files.octets[writer.path])
    files.octets["segments/notes.txt"] = bytearray(b"x")
    files.octets["bodies/core"] = bytearray(b"x")
    recovered = recover(files)
    assert list(live(recovered)) == [place]
    assert [item.path for item in recovered.quarantined] == [copy]
    assert writer.path in recovered.quarantined[0].reason
    assert recovered.foreign == ("segments/notes.txt", "bodies/core")
    assert recovered.next_number == 10


def test_a_header_that_is_lost_costs_no_message() -> None:
    """The name of the file says what the frames were written for."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, samples.message(1))
    writer.flush()
    files.octets[writer.path][:64] = bytes(64)
    recovered = recover(files)
    assert list(live(recovered)) == [place]
    assert len(recovered.quarantined) == 1 and "frames can be read" in recovered.quarantined[0].reason


@pytest.mark.parametrize("left", [b"", b"PENST", bytes(4096), b"what was there before" * 100])
def test_a_segment_that_was_being_created_is_unfinished(left: bytes) -> None:
    """It may be empty, or zeros, or hold what was in its blocks before, and is nobody's fault, unless a newer one says that it was stored."""
    files = fresh()
    one, two, three = segment(files, 1), segment(files, 2), segment(files, 3)
    put(one, samples.message(1))
    one.flush()
    files.octets[two.path][:] = left
    recovered = recover(files)
    assert (recovered.unfinished, recovered.quarantined) == ((two.path,), ())
    assert recovered.next_number == 4
    stored(three)
    put(three, samples.message(2))
    three.flush()
    recovered = recover(files)
    assert recovered.unfinished == ()
    assert [item.path for item in recovered.quarantined] == [two.path]


def test_times_are_taken_as_they_are() -> None:
    """Mail of 1970 and of the year 9999 waits like any other: nothing here knows what time it is."""
    files = fresh()
    writer = segment(files, 1)
    index = {}
    for when in (0.0, -5.0, 253402300799.0):
        record = msgspec.structs.replace(samples.message(1), created=WallTime(when))
        (place,) = put(writer, record)
        add(writer, encode_attempt(samples.attempt(record, 1, (0, Verdict.DEFERRED), due=when), place))
        index[tuple(place)] = when
    writer.flush()
    found = live(recover(files))
    assert {place: item["created"] for place, item in found.items()} == index
    assert {place: item["due"] for place, item in found.items()} == index


def test_body_files_that_nobody_names_may_go() -> None:
    """Not those of live messages, in a transaction or in a copy of it; and none while something is damaged that may have named them."""
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    record, gone = samples.message(1, content=b"large"), samples.message(2, content=b"larger")
    for name, content in (("b1", record.content), ("b2", gone.content), ("b3", b"never named")):
        files.create(body_path(name)).write([content], 0)
    first = Place(1, one.append(encode_transaction([record], body_of("b1", record.content))), 0)
    second = Place(1, one.append(encode_transaction([gone], body_of("b2", gone.content))), 0)
    add(one, encode_attempt(samples.attempt(gone, 1, (0, Verdict.ACCEPTED)), second))
    stored(one)
    one.seal()
    offset = two.append(encode_copy([record], [State(first, (0,), 1, None)], body_of("b1", record.content)))
    two.flush()
    recovered = recover(files)
    assert recovered.bodies == {(2, offset): "b1"}
    assert recovered.orphans == (body_path("b2"), body_path("b3"))
    copied = SegmentReader(two.file, two.identity, two.path).transaction(offset)
    assert copied.body is not None
    assert copied.message(0, read_body(files, "b1", copied.body.size)) == record
    assert read_body(files, "b9", 5) is None
    files.octets[two.path][0] ^= 1
    assert recover(files).orphans == ()


def test_messages_of_many_recipients_are_settled_like_others() -> None:
    """More than the bits of a column."""
    files = fresh()
    writer = segment(files, 1)
    record = samples.message(1, recipients=200)
    (place,) = put(writer, record)
    add(writer, encode_expiration(samples.expiration(record, *range(0, 200, 2)), place))
    writer.flush()
    assert waiting(files) == {place: set(range(1, 200, 2))}
    add(writer, encode_expiration(samples.expiration(record, *range(1, 200, 2)), place))
    writer.flush()
    assert waiting(files) == {}


def test_queued_messages_take_a_hundred_octets_each() -> None:
    """While they are recovered, from sealed segments, each with an attempt: rows, the ways to them, and one index at a time."""
    segments, each = 3, 10_000
    queue = QueueName("a.test", "shop")
    octets = []
    for number in range(1, segments + 1):
        index = Index(number)
        for row in range(each):
            index.add(64 + row * 32, Meaning(FrameType.TRANSACTION, (Listed(1.0, 1000, 1, queue),)))
            change = Change(Place(number, 64 + row * 32, 0), 1, 2.0, ())
            index.add(64 + row * 32 + 16, Meaning(FrameType.ATTEMPT, change=change))
        octets.append((Identity(number, 0), index.to_bytes()))
    files = fresh()
    for identity, payload in octets:
        _seal_with(files, identity, payload)
    tracemalloc.start()
    try:
        recovered = recover(files)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recovered.queued.live == segments * each
    assert held < 100 * segments * each
    assert peak < held + 300 * each
    assert not math.isnan(recovered.queued.due[0])


def _seal_with(files: MemoryFiles, identity: Identity, payload: bytes) -> None:
    """A sealed segment that has nothing but an index."""

    class Written(Index):
        def to_bytes(self) -> bytes:
            return payload

    writer = segment(files, identity.number, size=1024)
    writer._index = Written(identity.number)
    stored(writer)
    writer.seal()


def test_nothing_is_live_without_a_recipient() -> None:
    """An index that names a message for nobody holds nothing up."""
    index = Index(1)
    index.add(64, Meaning(FrameType.TRANSACTION, (Listed(1.0, 5, 0, QueueName("a")),)))
    queued = Queued()
    queued.add(index)
    assert (queued.live, list(queued), len(queued)) == (0, [], 1)

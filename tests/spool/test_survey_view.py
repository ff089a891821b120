"""A look at a spool finds what a start would find, also while a server is at work in it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.mail.ports import SpoolError
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, Verdict
from penstock.spool.codec import (
    body_of,
    encode_abandon,
    encode_attempt,
    encode_copy,
    encode_expiration,
    encode_transaction,
)
from penstock.spool.frame import Identity, NewerFormat, Place, SegmentHeader, write_frame
from penstock.spool.inspection.survey import Share, largest, survey
from penstock.spool.inspection.view import View, look
from penstock.spool.meaning import Abandoned, State
from penstock.spool.names import SEGMENTS, segment_path
from penstock.spool.orders import encode_flush, encode_rebind, encode_removal
from penstock.spool.recovery import recover
from penstock.spool.segment import SegmentWriter
from tests.spool import samples, writing
from tests.spool.files_in_memory import MemoryFile, MemoryFiles
from tests.spool.survey_spools import Hasty, Moving, live
from tests.spool.writing import add, fresh, put, segment


def waiting(view: View) -> dict[tuple[int, int, int], set[int]]:
    """Who waits, by place."""
    return {place: item["waiting"] for place, item in live(view).items()}


def copy(writer: SegmentWriter, record: MessageRecord, state: State) -> Place:
    """Append a COPY; the copy's place."""
    (offset,) = add(writer, encode_copy([record], [state]))
    return Place(writer.identity.number, offset, 0)


def everything_of(files: MemoryFiles) -> dict[str, bytes]:
    """All octets, to be compared later."""
    return {path: bytes(octets) for path, octets in files.octets.items()}


class Writing:
    """A spool that is written step by step, as a server would."""

    def __init__(self) -> None:
        self.files = fresh()
        self.number = 1
        self.writer = segment(self.files, 1)
        self.messages: list[tuple[MessageRecord, Place]] = []

    def store(self, recipients: int) -> None:
        """A message comes in, one of three recipients with a schedule."""
        record = samples.message(len(self.messages), recipients, domain=f"{recipients}.test")
        if recipients == 3:
            record = msgspec.structs.replace(record, schedule=samples.SCHEDULE)
        self.messages.append((record, put(self.writer, record)[0]))

    def attempt(self, which: int, recipient: int, verdict: Verdict) -> None:
        """A message is tried."""
        if self.messages:
            record, place = self.messages[which % len(self.messages)]
            due = 9.0 if verdict is Verdict.DEFERRED else None
            add(
                self.writer,
                encode_attempt(samples.attempt(record, which, (recipient, verdict), due=due), place),
            )

    def expire(self, which: int, recipient: int) -> None:
        """A recipient is given up."""
        if self.messages:
            record, place = self.messages[which % len(self.messages)]
            add(self.writer, encode_expiration(samples.expiration(record, recipient), place))

    def remove(self, which: int, recipient: int) -> None:
        """A recipient is taken out by an order."""
        if self.messages:
            record, place = self.messages[which % len(self.messages)]
            add(self.writer, encode_removal(samples.removal(record, recipient), place))

    def rebind(self, which: int, tenant: int) -> None:
        """A message is put into another queue."""
        if self.messages:
            record, place = self.messages[which % len(self.messages)]
            queue = QueueName(f"{which}.test", f"t{tenant}")
            add(self.writer, encode_rebind(samples.rebind(record, queue, due=tenant or None), place))

    def flush(self, which: int) -> None:
        """A message is due."""
        if self.messages:
            record, place = self.messages[which % len(self.messages)]
            add(self.writer, encode_flush(samples.flush(record), place))

    def copy(self, which: int, waits: int) -> None:
        """A message is copied forward; the writer goes on to call it by its new place, or by the old one."""
        if self.messages:
            at = which % len(self.messages)
            record, place = self.messages[at]
            if place.segment < self.number:
                new = copy(self.writer, record, State(place, tuple(range(waits)), waits, None))
                if which % 2:
                    self.messages[at] = record, new

    def seal(self, is_sealed: bool) -> None:
        """The next segment, this one with an index or without."""
        self.writer.flush()
        if is_sealed:
            self.writer.seal()
        self.number += 1
        self.writer = segment(self.files, self.number)

    def tear(self, cut: int) -> None:
        """The last octets are not there yet."""
        self.writer.flush()
        end = self.writer.end
        if end > cut + 64:
            self.files.octets[self.writer.path][end - cut : end] = bytes(cut)


small = st.integers(0, 3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just(Writing.store), st.integers(1, 3)),
        st.tuples(st.just(Writing.attempt), st.integers(0, 9), small, st.sampled_from(Verdict)),
        st.tuples(st.just(Writing.expire), st.integers(0, 9), small),
        st.tuples(st.just(Writing.remove), st.integers(0, 9), small),
        st.tuples(st.just(Writing.rebind), st.integers(0, 9), small),
        st.tuples(st.just(Writing.flush), st.integers(0, 9)),
        st.tuples(st.just(Writing.copy), st.integers(0, 9), small),
        st.tuples(st.just(Writing.seal), st.booleans()),
    ),
    max_size=25,
)


@given(steps, st.integers(0, 40))
@settings(max_examples=150)
def test_a_look_finds_what_a_start_would_find(what: list[tuple[Callable[..., None], int]], cut: int) -> None:
    """Whatever was written, sealed or not, torn or not; and it leaves every octet as it was."""
    spool = Writing()
    for step, *arguments in what:
        step(spool, *arguments)
    spool.tear(cut)
    before = everything_of(spool.files)
    del spool.files.synced[:]
    view = look(spool.files)
    assert everything_of(spool.files) == before
    assert spool.files.synced == []
    recovered = recover(spool.files)
    assert live(view) == writing.live(recovered)
    assert [item.end for item in view.segments] == [item.end for item in recovered.segments]
    assert sum(view.missed.values()) == recovered.counts.stale


def test_a_segment_that_goes_while_it_is_looked_for_has_its_mail_elsewhere() -> None:
    """Its live message was copied into a newer one before; it is listed once, at its new place."""
    files = fresh()
    old, active = segment(files, 1), segment(files, 2)
    record = samples.message(1, recipients=2)
    (place,) = put(old, record)
    old.flush()
    old.seal()
    moved: list[Place] = []

    def reclaim() -> None:
        moved.append(copy(active, record, State(place, (1,), 1, 5.0)))
        active.flush()
        files.remove(old.path)

    tree = Moving(files, {})
    assert waiting(look(tree)) == {place: {0, 1}}
    at = tree.opened.index(old.path)
    assert (
        tree.opened[at:].count(old.path) > 1
    )  # it is looked at for its header first, so let it go after that
    view = look(_late(files, old.path, reclaim))
    assert waiting(view) == {moved[0]: {1}}
    assert view.gone == {1}
    row = view.find(place)
    assert row is not None and view.queued.place(row) == moved[0]


def _late(files: MemoryFiles, path: str, event: Callable[[], None]) -> Moving:
    """A tree in which something happens before the third time that a file is opened: when its turn comes."""

    class Late(Moving):
        def open(self, wanted: str) -> MemoryFile:
            if wanted == path and self.opened.count(path) == 2:
                event()
            return super().open(wanted)

    return Late(files, {})


def test_a_segment_that_was_begun_meanwhile_is_read_too() -> None:
    """The newest is sealed, and another takes the copies of one that goes."""
    files = fresh()
    old, active = segment(files, 1), segment(files, 2)
    first, second, third = (samples.message(number) for number in (1, 2, 3))
    (place,) = put(old, first)
    old.seal()
    put(active, second)
    active.flush()
    found: list[Place] = []

    def move_on() -> None:
        active.seal()
        newer = segment(files, 3)
        found.append(copy(newer, first, State(place, (0,), 0, None)))
        found.extend(put(newer, third))
        newer.flush()
        files.remove(old.path)

    view = look(_late(files, old.path, move_on))
    assert waiting(view) == {(2, 64, 0): {0}, found[0]: {0}, found[1]: {0}}
    assert [item.identity.number for item in view.segments] == [2, 3]


def test_octets_on_their_way_are_no_damage() -> None:
    """A frame that was not whole when it was read, with a whole one behind it, is read again."""
    files = fresh()
    writer = segment(files, 1)
    put(writer, samples.message(1))
    begin = writer.end
    places = put(writer, samples.message(2))
    put(writer, samples.message(3))
    writer.flush()
    before = bytearray(files.octets[writer.path])
    before[begin + 30 : begin + 60] = bytes(30)

    class Tree(Moving):
        def open(self, path: str) -> MemoryFile:
            return Hasty(super().open(path), bytes(before))

    view = look(Tree(files, {}))
    assert view.segments[0].damages == ()
    assert places[0] in waiting(view)
    files.octets[writer.path][:] = before
    assert [item.offset for item in look(files).segments[0].damages] == [begin]


def test_a_segment_that_is_abandoned_after_it_was_read_is_read_again() -> None:
    """What nobody was told of is not shown."""
    files = fresh()
    one = segment(files, 1)
    kept = put(one, samples.message(1))
    offset = one.end
    put(one, samples.message(2))
    one.flush()
    again: list[int] = []

    class Tree(Moving):
        def names(self, folder: str = "") -> list[str]:
            names = super().names(folder)
            if folder == SEGMENTS and again == [1]:
                two = segment(files, 2)
                add(two, encode_abandon(Abandoned(1, offset)))
                two.flush()
                names = super().names(folder)
            again.append(1)
            return names

    view = look(Tree(files, {}))
    assert waiting(view) == {kept[0]: {0}}
    assert view.segments[0].abandoned_at == offset


def test_a_spool_that_does_not_stand_still_is_given_up() -> None:
    """Each time that all is read, the newest segment has been abandoned: an error says so, and there is no endless loop."""
    files = fresh()
    segment(files, 1).flush()

    class Tree(Moving):
        numbers = iter(range(2, 1000))

        def names(self, folder: str = "") -> list[str]:
            number = next(self.numbers)
            writer = segment(files, number, size=1024)
            add(writer, encode_abandon(Abandoned(number - 1, 128)))
            writer.flush()
            return super().names(folder)

    with pytest.raises(SpoolError, match="abandons its segments faster"):
        look(Tree(files, {}))


def test_a_newer_format_is_refused() -> None:
    """In a header, or in a frame; the error names the file and the versions."""
    files = fresh()
    identity = Identity(1, 5)
    header = SegmentHeader(identity, 1.0, format=2)
    files.create(segment_path(identity)).write([header.to_bytes()], 0)
    with pytest.raises(
        NewerFormat, match=r"00000001-00000005\.segment has format 2, .* reads up to 1; use the newer"
    ):
        look(files)
    files = fresh()
    writer = segment(files, 1)
    files.open(writer.path).write(write_frame(writer.identity, 64, (77, 1), [b"x"], 0), 64)
    with pytest.raises(NewerFormat, match="type 77, version 1"):
        look(files)


def test_shares_are_by_tenant_campaign_and_domain() -> None:
    """Messages, recipients that wait, octets, and when the oldest came; two tenants' campaigns of one name are two."""
    files = fresh()
    writer = segment(files, 1)
    records = [samples.message(1, 3), samples.message(2, 100, domain="b.test"), samples.message(3)]
    places = [put(writer, record)[0] for record in records]
    gone = samples.attempt(records[0], 1, (0, Verdict.ACCEPTED))
    add(writer, encode_attempt(gone, places[0]))
    add(writer, encode_expiration(samples.expiration(records[1], *range(30)), places[1]))
    add(writer, encode_expiration(samples.expiration(records[2], 0), places[2]))
    writer.flush()
    found = survey(look(files))
    size = records[0].size
    first, second = Share(1, 2, size, records[0].created), Share(1, 70, size, records[1].created)
    both = Share(2, 72, 2 * size, records[0].created)
    assert found.total == both
    assert (found.tenants, found.campaigns) == ({"shop": both}, {"spring:shop": both})
    assert found.domains == {"a.test": first, "b.test": second}
    assert found.queues == 2
    assert largest(found.domains, 1) == ([("a.test", first)], second, 1)
    assert largest(found.domains, 5) == ([("a.test", first), ("b.test", second)], Share(), 0)


def test_the_live_share_of_a_segment_is_that_of_its_live_frames() -> None:
    """Content that two parts share counts once; what was copied away does not count; outcomes never do."""
    files = fresh()
    one = segment(files, 1)
    pair = [samples.message(1, content=b"x" * 1000), samples.message(2, content=b"x" * 1000)]
    (offset,) = add(one, encode_transaction(pair))
    end = one.end
    other = samples.message(3)
    (place,) = put(one, other)
    later = samples.attempt(pair[0], 1, (0, Verdict.DEFERRED), due=1.0)
    add(one, encode_attempt(later, Place(1, offset, 0)))
    one.flush()
    two = segment(files, 2)
    copy(two, other, State(place, (0,), 0, None))
    two.flush()
    first, second = survey(look(files)).segments
    assert (first.live, first.messages, first.used, first.is_sealed) == (end - offset, 2, one.end, False)
    assert (second.live, second.messages) == (two.end - 64, 1)


def test_bodies_are_those_of_live_messages() -> None:
    """By frame; one whose message is settled is not among them."""
    files = fresh()
    writer = segment(files, 1)
    records = [samples.message(number) for number in (1, 2)]
    offsets = add(
        writer, *[encode_transaction([item], body_of(f"b{number}", item.content)) for number, item in enumerate(records)]
    )  # fmt: skip
    add(writer, encode_expiration(samples.expiration(records[0], 0), Place(1, offsets[0], 0)))
    writer.flush()
    assert look(files).bodies == {(1, offsets[1]): "b1"}


def test_progress_names_every_segment() -> None:
    """Its path, and how many were read of how many."""
    files = fresh()
    for number in (1, 2):
        segment(files, number).seal()
    told: list[tuple[str, int, int]] = []
    look(files, lambda *words: told.append(words))
    assert told == [(segment_path(Identity(number, number * 7919)), number - 1, 2) for number in (1, 2)]


def test_a_seal_frame_is_no_record() -> None:
    """A look at a segment that is being sealed sees its frames, and no more."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, samples.message(1))
    end = writer.end
    writer.seal()
    del files.octets[writer.path][-16:]
    (seen,) = look(files).segments
    assert (seen.is_sealed, seen.end) == (False, end)
    assert waiting(look(files)) == {place: {0}}


def test_an_attempt_that_names_the_old_place_means_the_copy() -> None:
    """Also one that settles nobody, while the older segment is still there."""
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    record = samples.message(1)
    (old,) = put(one, record)
    one.flush()
    new = copy(two, record, State(old, (0,), 1, 5.0))
    add(two, encode_attempt(samples.attempt(record, 7, (0, Verdict.DEFERRED), due=99.0), old))
    two.flush()
    found = live(look(files))
    assert list(found) == [new]
    assert (found[new]["attempts"], found[new]["due"]) == (7, 99.0)


def test_what_is_behind_an_abandoned_offset_is_no_torn_tail() -> None:
    """The offset may be within a frame: its beginning is passed over like the rest."""
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    put(one, samples.message(1))
    end = one.end
    put(one, samples.message(2))
    one.flush()
    add(two, encode_abandon(Abandoned(1, end + 48)))
    two.flush()
    seen = look(files).segments[0]
    assert (seen.end, seen.torn, seen.abandoned_at) == (end, 0, end + 48)


def test_the_second_word_about_an_abandoned_segment_counts_when_the_first_is_damaged() -> None:
    """As a start has it: what was refused is not listed."""
    files = fresh()
    old = segment(files, 1)
    put(old, samples.message(1))
    end = old.end
    put(old, samples.message(2))
    old.flush()
    new = segment(files, 2)
    for _ in range(2):
        new.append(encode_abandon(Abandoned(1, end)))
    new.flush()
    files.octets[new.path][70] ^= 1
    assert look(files).queued.live == recover(files).queued.live == 1

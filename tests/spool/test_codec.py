"""Records and the payloads of frames: there and back, pinned to the octet, and whatever else somebody may put there."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    NoteRecord,
    OrderRecord,
    RebindRecord,
    RemovalRecord,
    Verdict,
)
from penstock.spool import codec
from penstock.spool.decoding import (
    Abandon,
    Attempt,
    Decoded,
    Expiration,
    Note,
    Outcomes,
    Transaction,
    decode,
)
from penstock.spool.frame import Damaged, Frame, FrameType, Place
from penstock.spool.index import Index, parse_index
from penstock.spool.meaning import Abandoned, State
from penstock.spool.orders import encode_flush, encode_rebind, encode_removal
from tests.spool import samples

PLACE = Place(7, 4096, 2)
PINNED = Path(__file__).with_name("pinned_records.json")


Outcome = TypeVar("Outcome", bound=AttemptRecord | ExpirationRecord | OrderRecord)


def in_queue(record: Outcome, queue: QueueName | None) -> Outcome:
    """A record about a message that was in this queue; None is its own."""
    if queue is None:
        return record
    return msgspec.structs.replace(record, message=msgspec.structs.replace(record.message, queue=queue))


def back(payload: codec.Payload) -> Decoded:
    """What the octets of a payload are decoded to, its meaning found to be the writer's."""
    decoded = decode(Frame(64, payload.meaning.kind, payload.version, b"".join(payload.buffers)))
    assert decoded.meaning() == payload.meaning
    return decoded


@given(samples.transactions())
def test_a_transaction_comes_back_as_it_was(records: list[MessageRecord]) -> None:
    """Every message of it, with newlines, NUL and octets that are no text."""
    decoded = back(codec.encode_transaction(records))
    assert isinstance(decoded, Transaction)
    assert [decoded.message(part) for part in range(len(decoded))] == records
    assert decoded.states == ()


@given(samples.transactions(), st.data())
def test_a_copy_comes_back_with_its_states(records: list[MessageRecord], data: st.DataObject) -> None:
    """And a content in a body file with its name."""
    states = [
        State(
            PLACE,
            data.draw(st.lists(samples.words, max_size=3).map(tuple)),
            3,
            data.draw(st.none() | samples.times),
        )
        for _ in records
    ]
    body = codec.body_of("b1", records[0].content)
    decoded = back(codec.encode_copy(records, states, body))
    assert isinstance(decoded, Transaction)
    assert decoded.body == body and decoded.content is None
    assert decoded.states == tuple(states)
    assert [decoded.message(part, records[0].content) for part in range(len(decoded))] == records


@given(samples.attempts)
def test_an_attempt_comes_back_as_it_was(record: AttemptRecord) -> None:
    """Given the message that it is about."""
    decoded = back(codec.encode_attempt(record, PLACE))
    assert isinstance(decoded, Attempt)
    assert decoded.place == PLACE
    assert decoded.record(record.message) == record


@given(samples.expirations)
def test_an_expiration_comes_back_as_it_was(record: ExpirationRecord) -> None:
    """Given the message that it is about."""
    decoded = back(codec.encode_expiration(record, PLACE))
    assert isinstance(decoded, Expiration)
    assert decoded.place == PLACE
    assert decoded.record(record.message) == record


@given(samples.removals | samples.rebinds | samples.flushes, st.none() | samples.queues)
def test_what_an_order_did_comes_back_as_it_was(record: OrderRecord, queue: QueueName | None) -> None:
    """Given the message that it is about; where that was in another queue than its own, it says so."""
    if isinstance(record, RemovalRecord):
        payload = encode_removal(record, PLACE, queue)
    elif isinstance(record, RebindRecord):
        payload = encode_rebind(record, PLACE, queue)
    else:
        payload = encode_flush(record, PLACE, queue)
    decoded = back(payload)
    assert isinstance(decoded, Outcomes)
    assert decoded.place == PLACE
    assert decoded.record(record.message) == in_queue(record, queue)


@given(samples.attempts | samples.expirations, samples.queues)
def test_an_outcome_says_in_which_queue_its_message_was(
    record: AttemptRecord | ExpirationRecord, queue: QueueName
) -> None:
    """Where that is not its own."""
    encode = codec.encode_attempt if isinstance(record, AttemptRecord) else codec.encode_expiration
    decoded = back(encode(record, PLACE, queue))
    assert isinstance(decoded, Outcomes)
    assert decoded.record(record.message) == in_queue(record, queue)


def test_only_frames_that_the_first_version_would_misread_have_the_second() -> None:
    """An older program reads mail without schedules, and refuses what it would deliver too early."""
    plain, timed = samples.message(1), msgspec.structs.replace(samples.message(2), schedule=samples.SCHEDULE)
    state = State(PLACE, (0,), 0, None)
    for payload, version in (
        (codec.encode_transaction([plain]), 1),
        (codec.encode_transaction([plain, timed]), 2),
        (codec.encode_copy([plain], [state]), 1),
        (codec.encode_copy([timed], [state]), 2),
        (codec.as_encoded([timed], b""), 2),
        (codec.encode_note(samples.REJECTION), 1),
        (codec.encode_note(samples.DIRECTIVE), 2),
    ):
        assert payload.version == version


@given(samples.notes)
def test_a_note_comes_back_as_it_was(record: NoteRecord) -> None:
    """Of any kind."""
    decoded = back(codec.encode_note(record))
    assert isinstance(decoded, Note)
    assert decoded.record == record


def test_an_abandon_comes_back_as_it_was() -> None:
    """The segment, and how far it counts."""
    decoded = back(codec.encode_abandon(Abandoned(3, 640)))
    assert isinstance(decoded, Abandon)
    assert decoded.abandoned == Abandoned(3, 640)


KINDS = [item for item in FrameType if item is not FrameType.SEAL]


@given(st.sampled_from(KINDS), st.binary(max_size=400))
def test_any_octets_are_a_record_or_damaged(kind: FrameType, payload: bytes) -> None:
    """Nothing else is raised, whatever they are."""
    try:
        decoded = decode(Frame(64, kind, 1, payload))
        decoded.meaning()
        if isinstance(decoded, Transaction):
            decoded.message(0)
    except Damaged:
        pass


@settings(max_examples=200)
@given(st.data())
def test_spoiled_records_are_records_or_damaged(data: st.DataObject) -> None:
    """Octets of a true record changed, cut, or repeated."""
    record = samples.message(1, recipients=2)
    payload = data.draw(
        st.sampled_from(
            [
                codec.encode_transaction([record, record]),
                codec.encode_transaction([msgspec.structs.replace(record, schedule=samples.SCHEDULE)]),
                encode_rebind(samples.rebind(record), PLACE),
                encode_removal(samples.removal(record, 0), PLACE, samples.OTHER),
                codec.encode_attempt(samples.attempt(record, 1, (0, Verdict.ACCEPTED)), PLACE),
                codec.encode_note(samples.REJECTION),
            ]
        )
    )
    octets = bytearray(b"".join(payload.buffers))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        octets = octets or bytearray(b"\0")
    try:
        decoded = decode(Frame(64, payload.meaning.kind, 1, bytes(octets)))
        decoded.meaning()
        if isinstance(decoded, Transaction):
            decoded.message(0)
    except Damaged:
        pass


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\x05\0\0\0\xdd\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x01" + b"\x91" * 100_000,
        b"\x93\x01\x40" + b"\x91" * 100_000,
        b"\xc6\xff\xff\xff\xff",
        b"\x9f" * 1000,
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_that_are_claimed_take_no_memory(kind: FrameType, payload: bytes) -> None:
    """An array of four thousand million elements, or a hundred thousand arrays in each other, is Damaged, and cheap to find so."""
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            decode(Frame(64, kind, 1, payload))
        with pytest.raises(Damaged):
            parse_index(payload, 1)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_the_octets_of_samples_are_pinned() -> None:
    """A change of the records of ``penstock.mail``, or of a library, does not change what is on disks. If this fails, a new version is needed."""
    record = samples.message(1)
    attempt = samples.attempt(record, 2, (0, Verdict.DEFERRED), due=1_700_000_700.0)
    timed = msgspec.structs.replace(record, schedule=samples.SCHEDULE, queue=samples.OTHER)
    index = Index(7)
    index.add(64, codec.encode_transaction([record, timed]).meaning)
    index.add(640, encode_rebind(samples.rebind(record), PLACE).meaning)
    found = {
        "transaction with a schedule": codec.encode_transaction([timed]).buffers[0][-60:].hex(),
        "removal": b"".join(encode_removal(samples.removal(record, 0), PLACE, samples.OTHER).buffers).hex(),
        "rebind": b"".join(encode_rebind(samples.rebind(record), PLACE).buffers).hex(),
        "flush": b"".join(encode_flush(samples.flush(record), PLACE).buffers).hex(),
        "directive": b"".join(codec.encode_note(samples.DIRECTIVE).buffers).hex(),
        "attempt in another queue": codec.encode_attempt(attempt, PLACE, samples.OTHER)
        .buffers[0][-20:]
        .hex(),
        "expiration in another queue": codec.encode_expiration(
            samples.expiration(record, 0), PLACE, samples.OTHER
        )
        .buffers[0][-20:]
        .hex(),
        "index of the second version": index.to_bytes().hex(),
        "transaction": b"".join(codec.encode_transaction([record]).buffers).hex(),
        "copy": b"".join(
            codec.encode_copy([record], [State(PLACE, (0,), 2, 5.0)], codec.body_of("b1", b"x")).buffers
        )[-60:].hex(),
        "attempt": b"".join(codec.encode_attempt(attempt, PLACE).buffers).hex(),
        "expiration": b"".join(codec.encode_expiration(samples.expiration(record, 0), PLACE).buffers).hex(),
        "rejection": b"".join(codec.encode_note(samples.REJECTION).buffers)[:60].hex(),
        "policy error": b"".join(codec.encode_note(samples.POLICY_ERROR).buffers)[:60].hex(),
        "abandon": b"".join(codec.encode_abandon(Abandoned(3, 640)).buffers).hex(),
    }
    assert found == msgspec.json.decode(PINNED.read_bytes())


def test_text_that_is_no_unicode_does_not_stop_an_outcome() -> None:
    """Lone surrogates become U+FFFD; everything else of the record is as it was."""
    record = samples.attempt(samples.message(1), 1, (0, Verdict.FAILED))
    odd = msgspec.structs.replace(record, site="a\udc80b")
    decoded = back(codec.encode_attempt(odd, PLACE))
    assert isinstance(decoded, Attempt)
    assert decoded.record(record.message) == msgspec.structs.replace(record, site="a\ufffdb")
    message = msgspec.structs.replace(samples.message(2), meta={"\ud800": "\udfff"})
    stored = back(codec.encode_transaction([message]))
    assert isinstance(stored, Transaction)
    assert stored.message(0) == msgspec.structs.replace(message, meta={"\ufffd": "\ufffd"})


def test_messages_of_one_frame_share_what_is_stored_once() -> None:
    """Two contents, two receptions, or no message at all are a mistake of the caller; the content is in the frame once."""
    first, second = samples.message(1), samples.message(2, content=b"other")
    with pytest.raises(ValueError, match="one content and one reception"):
        codec.encode_transaction([first, second])
    with pytest.raises(ValueError, match="1 to 65536 messages"):
        codec.encode_transaction([])
    payload = codec.encode_transaction([first, samples.message(3)])
    assert b"".join(payload.buffers).count(first.content) == 1
    assert payload.buffers[-1] is first.content


def test_a_body_file_that_is_not_what_was_stored_is_damaged() -> None:
    """Another length, other octets, or none."""
    record = samples.message(1, content=b"x" * 100)
    decoded = back(codec.encode_transaction([record], codec.body_of("b1", record.content)))
    assert isinstance(decoded, Transaction)
    for content in (b"x" * 99, b"y" * 100, b""):
        with pytest.raises(Damaged, match="body file b1"):
            decoded.message(0, content)
    with pytest.raises(Damaged, match="missing"):
        decoded.message(0)
    with pytest.raises(Damaged, match="has none at 1"):
        decoded.message(1, record.content)

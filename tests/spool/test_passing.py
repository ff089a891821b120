"""Transactions that are encoded in one lane and written in another."""

from __future__ import annotations

from math import isfinite

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mail.duration import WallTime
from penstock.mail.records import MessageRecord
from penstock.spool import codec, passing
from penstock.spool.frame import SECOND, VERSION, Damaged, Place
from penstock.spool.meaning import State
from tests.spool import samples
from tests.spool.bench import Bench


def whole(*records: MessageRecord) -> bytes:
    """What travels."""
    return b"".join(passing.encoded(records))


@given(samples.transactions().filter(lambda records: all(isfinite(record.created) for record in records)))
def test_what_is_taken_over_is_what_was_encoded(records: list[MessageRecord]) -> None:
    """To the octet, and with the meaning that its first writer would have noted."""
    octets = whole(*records)
    found = passing.messages(passing.taken_over(memoryview(octets), VERSION))
    assert found == records
    payload = codec.as_encoded(found, octets)
    written = codec.encode_transaction(records)
    assert b"".join(payload.buffers) == b"".join(written.buffers)
    assert (payload.meaning, payload.size, payload.version) == (
        written.meaning,
        written.size,
        written.version,
    )


def test_the_log_is_the_same_as_if_it_had_been_stored_here() -> None:
    """Octet for octet, with checksums and index; and after a restart it is queued as anything else."""
    parts = [samples.message(1, recipients=2), samples.message(2, domain="b.test")]
    here, there = Bench(), Bench()
    here.store(*parts)
    octets = whole(*parts)
    records = passing.messages(passing.taken_over(octets, VERSION))
    there.spool.store(records, lambda positions, fault: there.answers.update(x=fault or positions), octets)
    here.settle()
    there.settle()
    assert there.answers["x"] == here.answers[parts[0].id]
    assert there.records == here.records == parts
    again = there.restart()
    assert [(item.queue, item.size, item.recipients) for item in again.queued] == [
        (part.queue, part.size, len(part.recipients)) for part in parts
    ]
    assert [again.read(item.position).record for item in again.queued] == parts
    there.spool.finish()
    here.spool.finish()
    assert segments(here) == segments(there)


def segments(bench: Bench) -> list[bytes]:
    """All octets of the log."""
    files = bench.disk.process()
    names = files.names("segments")
    return [file.read(file.size(), 0) for file in (files.open(f"segments/{name}") for name in names)]


def test_a_content_of_its_own_is_held_against_its_checksum() -> None:
    """The file may have been cut, or be another's."""
    record = samples.message(1, content=b"x" * 1000)
    octets = b"".join(passing.encoded([record], codec.body_of("b1", record.content)))
    transaction = passing.taken_over(octets, VERSION)
    assert passing.messages(transaction, record.content) == [record]
    for content in (b"y" * 1000, b"x" * 999, b"", None):
        with pytest.raises(Damaged):
            passing.messages(transaction, content)


def test_a_copy_is_not_taken_over() -> None:
    """It says what it replaces in a log that is not here."""
    record = samples.message(1)
    copy = codec.encode_copy([record], [State(Place(1, 64, 0), (0,), 1, None)])
    with pytest.raises(Damaged):
        passing.taken_over(b"".join(copy.buffers), VERSION)


@pytest.mark.parametrize(
    "changes",
    [{"recipients": ()}, {"created": WallTime(float("nan"))}, {"created": WallTime(float("inf"))}],
    ids=["nobody", "no time", "never"],
)
def test_a_message_that_could_never_be_settled_is_not_taken_over(changes: dict[str, object]) -> None:
    """It would be queued for good; also as one of many."""
    bad = msgspec.structs.replace(samples.message(2), **changes)
    with pytest.raises(Damaged):
        passing.messages(passing.taken_over(whole(samples.message(1), bad), VERSION))


@pytest.mark.parametrize("version", [0, SECOND + 1, 255])
def test_another_version_is_not_taken_over(version: int) -> None:
    """It would be written as one of ours."""
    with pytest.raises(Damaged):
        passing.taken_over(whole(samples.message(1)), version)


@given(
    st.binary(max_size=300) | st.binary(max_size=60).map(lambda end: whole(samples.message(1))[:-40] + end)
)
def test_any_octets_are_messages_or_damaged(octets: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    try:
        records = passing.messages(passing.taken_over(octets, VERSION))
    except Damaged:
        return
    assert all(record.recipients for record in records)

"""The log read again: every record that was shown as stored, once, in order, from any position on."""

from __future__ import annotations

import msgspec

from penstock.mail.ports import LogPosition
from penstock.mail.records import MessageRecord, SpoolRecord, Verdict
from penstock.spool.codec import INLINE_LIMIT
from tests.spool import samples
from tests.spool.bench import Bench


def read(bench: Bench, start: LogPosition = LogPosition(0, 0)) -> list[SpoolRecord]:  # noqa: B008 - it is a value
    """The records from a position on."""
    return [record for record, _ in bench.spool.history(start) if record is not None]


def busy() -> Bench:
    """Messages in several segments, with outcomes, an expiry, notes, and a large content."""
    bench = Bench()
    for number in range(12):
        record = samples.message(number, recipients=2, content=b"c" * 2500)
        bench.store(record)
        bench.settle()
        position = bench.position_of(record)
        bench.spool.record_attempt(position, samples.attempt(record, 1, (0, Verdict.ACCEPTED)))
        if number % 3 == 0:
            bench.spool.record_expiration(position, samples.expiration(record, 1))
        bench.spool.note(samples.REJECTION)
    large = samples.message(100, content=b"x" * (INLINE_LIMIT + 9))
    bench.store(large)
    bench.store(samples.message(101), samples.message(102, domain="b.test"))
    bench.settle()
    bench.spool.record_attempt(bench.position_of(large), samples.attempt(large, 1, (0, Verdict.ACCEPTED)))
    bench.spool.note(samples.POLICY_ERROR)
    bench.loop.advance(0.1)
    bench.settle()
    return bench


def outline(record: SpoolRecord) -> object:
    """A record, of a large content only the size."""
    if isinstance(record, MessageRecord):
        return msgspec.structs.replace(record, content=b""), len(record.content)
    message = getattr(record, "message", None)
    if message is None:
        return record
    return msgspec.structs.replace(record, message=msgspec.structs.replace(message, content=b"")), len(
        message.content
    )


def test_all_is_there_again() -> None:
    """In this process, and in the next."""
    bench = busy()
    shown = [outline(record) for record in bench.records]
    assert [outline(record) for record in read(bench)] == shown
    again = bench.restart()
    assert [outline(record) for record in read(again)] == shown


def test_it_begins_where_it_is_asked_to() -> None:
    """From each position that is told, what is behind it and nothing else: what lies before is known by then."""
    bench = busy()
    steps = list(bench.spool.history(LogPosition(0, 0)))
    for index, (_, position) in enumerate(steps):
        rest = [record for record, _ in steps[index + 1 :] if record is not None]
        behind = read(bench, position)
        assert [outline(item) for item in behind[len(behind) - len(rest) :]] == [
            outline(item) for item in rest
        ]
        # of a transaction that is cut in two all parts come again
        assert len(behind) - len(rest) in (0, 1)


def test_it_ends_at_what_is_on_stable_storage() -> None:
    """What is appended and not synced is not told."""
    bench = busy()
    before = len(read(bench))
    bench.store(samples.message(200))
    bench.loop.run()
    assert len(read(bench)) == before
    bench.settle()
    assert len(read(bench)) == before + 1


def test_copies_are_not_told_twice() -> None:
    """Reclaim moves messages: nothing happened to them."""
    bench = Bench()
    old = samples.message(5000, content=b"old" * 100)
    bench.store(old)
    bench.settle()
    for number in range(60):
        record = samples.message(number, content=b"y" * 3000)
        bench.store(record)
        bench.settle()
        bench.spool.record_attempt(
            bench.position_of(record), samples.attempt(record, 1, (0, Verdict.ACCEPTED))
        )
    bench.loop.advance(0.1)
    bench.settle()
    assert bench.spool.counts.copied > 0
    ids = [record.id for record in read(bench) if isinstance(record, MessageRecord)]
    assert ids.count(old.id) == 1 and len(ids) == 61

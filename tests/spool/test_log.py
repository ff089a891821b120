"""The durable spool in one process and the next: what was stored is there, with what became of it."""

from __future__ import annotations

from penstock.mail.ports import SpoolError, SpoolUncertain
from penstock.mail.records import AttemptRecord, MessageRecord, StoredMessage, Verdict
from penstock.spool.codec import INLINE_LIMIT
from tests.spool import samples
from tests.spool.bench import Bench


def test_a_message_is_answered_when_it_is_synced_and_not_before() -> None:
    """The answer waits for the sync, and the record is shown after it."""
    bench, record = Bench(), samples.message(1)
    bench.store(record)
    bench.loop.run()
    assert not bench.answers and not bench.records
    bench.syncer.complete()
    assert bench.answers == {record.id: [0]}
    assert bench.records == [record]
    assert bench.read(0) == StoredMessage(record, (0,), 0)


def test_what_arrives_during_a_sync_shares_the_next_one() -> None:
    """A hundred messages, two syncs."""
    bench = Bench()
    for number in range(100):
        bench.store(samples.message(number))
        bench.loop.run()
    bench.syncer.complete()
    bench.loop.run()
    bench.syncer.complete()
    assert len(bench.answers) == 100
    bench.loop.run()
    assert not bench.syncer.is_waiting


def test_mail_is_there_in_the_next_process_with_what_became_of_it() -> None:
    """One delivered, one deferred, one untouched."""
    bench = Bench()
    done, deferred, untouched = (samples.message(number) for number in range(3))
    for record in (done, deferred, untouched):
        bench.store(record)
    bench.settle()
    bench.spool.record_attempt(bench.position_of(done), samples.attempt(done, 1, (0, Verdict.ACCEPTED)))
    bench.spool.record_attempt(
        bench.position_of(deferred), samples.attempt(deferred, 3, (0, Verdict.DEFERRED), due=1_700_009_000.0)
    )
    bench.loop.advance(0.1)
    bench.settle()
    again = bench.restart()
    assert [(item.attempts, item.due) for item in again.queued] == [(3, 1_700_009_000.0), (0, None)]
    assert again.read(again.queued[0].position) == StoredMessage(deferred, (0,), 3)
    assert again.read(again.queued[1].position) == StoredMessage(untouched, (0,), 0)


def test_large_contents_are_files_that_go_with_their_last_message() -> None:
    """Stored, read back in the next process, and removed once the outcome is on stable storage."""
    bench = Bench()
    record = samples.message(1, content=b"x" * (INLINE_LIMIT + 1))
    bench.store(record)
    bench.settle()
    assert len(bench.files.names("bodies")) == 1
    again = bench.restart()
    position = again.queued[0].position
    assert again.spool.get(position) is None
    assert again.read(position) == StoredMessage(record, (0,), 0)
    again.spool.record_attempt(position, samples.attempt(record, 1, (0, Verdict.ACCEPTED)))
    assert len(again.files.names("bodies")) == 1
    again.loop.advance(0.1)
    again.settle()
    assert again.files.names("bodies") == []


def test_the_log_gives_back_what_settled_mail_took() -> None:
    """A hundred times the size of a segment goes through; what is live is copied, and few segments are left."""
    bench = Bench()
    old = samples.message(5000, content=b"old" * 100)
    bench.store(old)
    bench.settle()
    for number in range(400):
        record = samples.message(number, content=b"y" * 3000)
        bench.store(record)
        bench.settle()
        bench.spool.record_attempt(
            bench.position_of(record), samples.attempt(record, 1, (0, Verdict.ACCEPTED))
        )
        bench.loop.advance(0.1)
        bench.settle()
        bench.spool.events_written(bench.position)
        bench.settle()
    counts = bench.spool.counts
    assert counts.removed_segments > 50
    assert counts.segments <= 5
    assert bench.read(0) == StoredMessage(old, (0,), 0)
    again = bench.restart()
    assert len(again.queued) == 1
    assert again.read(again.queued[0].position) == StoredMessage(old, (0,), 0)


def test_a_failed_sync_is_never_believed_again() -> None:
    """The client is refused, nothing of it comes back, outcomes are repeated, and the spool goes on in another segment."""
    bench = Bench()
    before, refused, after = (samples.message(number) for number in range(3))
    bench.store(before)
    bench.settle()
    bench.spool.record_attempt(
        bench.position_of(before), samples.attempt(before, 2, (0, Verdict.DEFERRED), due=1_700_009_000.0)
    )
    bench.store(refused)
    bench.loop.run()
    bench.syncer.die()
    assert not bench.spool.can_record()
    bench.settle()
    assert isinstance(bench.answers[refused.id], SpoolError)
    assert not isinstance(bench.answers[refused.id], SpoolUncertain)
    assert bench.spool.can_record() and not bench.spool.has_room()
    bench.loop.advance(2.0)
    bench.settle()
    assert bench.spool.has_room()
    bench.store(after)
    bench.settle()
    again = bench.restart()
    assert [item.attempts for item in again.queued] == [2, 0]
    assert again.read(again.queued[1].position) == StoredMessage(after, (0,), 0)
    assert not [item for item in bench.records if isinstance(item, MessageRecord) and item.id == refused.id]
    assert len([item for item in bench.records if isinstance(item, AttemptRecord)]) == 1

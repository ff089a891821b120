"""What the campaign of power cuts has found in the durable spool, each as it is seen by hand."""

from __future__ import annotations

import errno

import pytest

from penstock.mail.ports import SpoolUncertain
from penstock.mail.records import MessageRecord, StoredMessage, Verdict
from penstock.sim.file_system import FailedSync, Fault, Operation, SimulatedDisk
from penstock.sim.loop import SimulatedLoop
from penstock.spool.codec import INLINE_LIMIT
from tests.spool import samples
from tests.spool.bench import SMALL, Bench

SEGMENTS = "segments/*"


def after_a_cut(bench: Bench) -> Bench:
    """The spool in a new process, when the power has failed and all is lost that was not synced."""
    return Bench(next(bench.disk.crash_states(1)), loop=bench.loop)


def deliver(bench: Bench, record: MessageRecord, *recipients: int) -> None:
    """An attempt that settles these recipients."""
    verdicts = [(recipient, Verdict.ACCEPTED) for recipient in recipients]
    bench.spool.record_attempt(bench.position_of(record), samples.attempt(record, 1, *verdicts))


def with_an_old_message() -> tuple[Bench, MessageRecord]:
    """A message with three recipients, in a sealed segment that has nothing else that is live."""
    bench, old = Bench(), samples.message(0, recipients=3)
    others = [samples.message(number, content=b"y" * 3000) for number in range(1, 8)]
    for record in (old, *others):
        bench.store(record)
    bench.settle()
    for record in others:
        deliver(bench, record, 0)
    bench.loop.advance(0.1)
    bench.settle()
    return bench, old


def test_a_body_file_stays_until_its_last_outcome_is_stored() -> None:
    """The outcome comes while a failed segment is being replaced, and is not in the new one yet when that is synced."""
    bench, record = Bench(), samples.message(1, content=b"x" * (INLINE_LIMIT + 1))
    bench.store(record)
    bench.settle()
    bench.store(samples.message(2))
    bench.loop.run()
    bench.syncer.die()
    deliver(bench, record, 0)
    bench.syncer.complete()
    assert len(bench.files.names("bodies")) == 1
    again = after_a_cut(bench)
    assert [again.read(item.position) for item in again.queued] == [StoredMessage(record, (0,), 0)]
    bench.loop.advance(0.1)
    bench.settle()
    assert bench.files.names("bodies") == []


def test_an_outcome_names_its_message_where_it_is_although_a_copy_failed() -> None:
    """It was on its way to another place when the outcome came, and never got there."""
    bench, old = with_an_old_message()
    bench.loop.advance(1.1)
    assert bench.spool.counts.copied
    bench.syncer.die()
    deliver(bench, old, 1)
    for _ in range(2):  # the segment in place of the failed one, then what was not in it yet
        bench.syncer.complete()
        bench.loop.run()
    again = after_a_cut(bench)
    assert [again.read(item.position) for item in again.queued] == [StoredMessage(old, (0, 2), 1)]


def test_a_message_is_copied_when_its_outcomes_are_stored_and_not_before() -> None:
    """Or the copy might be there after a power cut, and know of an outcome of which there is no record."""
    bench, old = with_an_old_message()
    bench.loop.advance(0.98 - bench.loop.monotonic())
    deliver(bench, old, 1)
    bench.loop.advance(0.03)
    assert bench.spool.counts.copied == 0
    bench.loop.advance(0.1)
    bench.settle()
    assert bench.spool.counts.copied
    bench.loop.advance(0.1)
    bench.settle()
    again = after_a_cut(bench)
    assert [again.read(item.position) for item in again.queued] == [StoredMessage(old, (0, 2), 1)]


def test_a_segment_that_came_to_nothing_leaves_no_file() -> None:
    """The one that was to replace a failed one failed too. Else it would outlive the word that it does not count."""
    bench = Bench()
    bench.store(samples.message(1))
    bench.loop.run()
    bench.syncer.die()
    bench.syncer.die()
    assert isinstance(bench.answers[samples.message(1).id], SpoolUncertain)
    bench.loop.advance(2.0)
    bench.settle()
    assert bench.spool.can_record()
    assert [name[:8] for name in bench.files.names("segments")] == ["00000001", "00000003"]


def test_a_segment_that_cannot_be_taken_away_goes_with_the_others() -> None:
    """Its removal fails, and the next one's is told to have failed: neither holds anything up."""
    bench = Bench()
    bench.disk.faults.add(Fault(Operation.REMOVE, errno.EIO, path=SEGMENTS))
    bench.disk.faults.add(Fault(Operation.REMOVE, errno.EIO, at=2, path=SEGMENTS, takes_effect=True))
    bench.store(samples.message(0))
    bench.loop.run()
    bench.syncer.die()
    bench.syncer.die()
    bench.loop.advance(2.0)
    bench.settle()
    assert len(bench.files.names("segments")) == 3
    for number in range(1, 30):
        record = samples.message(number, content=b"y" * 3000)
        bench.store(record)
        bench.settle()
        deliver(bench, record, 0)
        bench.loop.advance(0.1)
        bench.settle()
        bench.spool.events_written(bench.position)
        bench.settle()
    assert int(bench.files.names("segments")[0][:8], 16) > 4


def test_what_a_failed_sync_has_left_is_made_sure_of_by_the_next_process() -> None:
    """The system reads it back and takes it for stored; who is told of it at a start finds it after a power cut too."""
    bench = Bench(SimulatedDisk(failed_sync=FailedSync.MARKED_CLEAN))
    stored, uncertain = samples.message(1), samples.message(2)
    bench.store(stored)
    bench.settle()
    bench.store(uncertain)
    bench.loop.run()
    bench.disk.faults.add(Fault(Operation.SYNC, errno.EIO, path=SEGMENTS))
    bench.disk.faults.add(Fault(Operation.CREATE, errno.EIO, times=None, path=SEGMENTS))
    bench.settle()
    assert isinstance(bench.answers[uncertain.id], SpoolUncertain)
    again = bench.restart()
    assert len(again.queued) == 2
    assert len(after_a_cut(again).queued) == 2


@pytest.mark.parametrize("size", [20, 200, 1000])
def test_live_mail_is_not_copied_round_and_round(size: int) -> None:
    """Small messages take less than what the log says of them; nothing is gained by copying a segment that is full of live ones."""
    bench = Bench()
    for number in range(60):
        bench.store(samples.message(number, content=b"x" * size))
        bench.settle()
    for _ in range(20):
        bench.loop.advance(1.0)
        bench.settle()
        bench.spool.events_written(bench.spool.synced)
        bench.settle()
    assert bench.spool.counts.copied == 0


@pytest.mark.parametrize("jump", [-86_400.0, 365 * 86_400.0])
def test_what_time_it_was_is_known_after_a_power_cut(jump: float) -> None:
    """It is then that a machine forgets the time."""
    bench, record = Bench(loop=SimulatedLoop(1_700_000_000.0)), samples.message(0)
    bench.store(record)
    bench.loop.advance(200.0)
    bench.settle()
    now = bench.loop.wall()
    again = Bench(next(bench.disk.crash_states(1)), SMALL, SimulatedLoop(now + jump))
    age = again.loop.wall() - again.queued[0].created
    assert age == pytest.approx(now - record.created, abs=300.0)

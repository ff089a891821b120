"""The durable spool on a disk that fails: what is refused stays refused, what is recorded stays recorded, and it goes on by itself."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from penstock.mail.configuration import Reserve
from penstock.mail.ports import SpoolError, SpoolUncertain, Unreadable
from penstock.mail.records import AttemptRecord, QuarantineRecord, SpoolHealthRecord, StoredMessage, Verdict
from penstock.sim.file_system import Fault, Operation, SimulatedDisk
from penstock.spool.codec import INLINE_LIMIT
from penstock.spool.log import SpoolOptions
from tests.spool import samples
from tests.spool.bench import SMALL, Bench

SEGMENTS = "segments/*"


def fail(
    bench: Bench, operation: Operation, number: int = errno.EIO, *, times: int | None = 1, path: str = "*"
) -> None:
    """Let operations fail from now on."""
    bench.disk.faults.add(Fault(operation, number, times=times, path=path))


def test_when_nothing_can_be_made_certain_nobody_is_told_anything() -> None:
    """The sync fails, and so does the segment that would take it back: uncertain; later it is certain that nothing of it counts."""
    bench = Bench()
    kept, lost = samples.message(1), samples.message(2)
    bench.store(kept)
    bench.settle()
    bench.store(lost)
    bench.loop.run()
    fail(bench, Operation.CREATE, times=3, path=SEGMENTS)
    bench.syncer.die()
    bench.settle()
    assert isinstance(bench.answers[lost.id], SpoolUncertain)
    assert not bench.spool.can_record() and not bench.spool.has_room()
    bench.store(samples.message(3))
    assert isinstance(bench.answers[samples.message(3).id], SpoolError)
    bench.loop.advance(20.0)
    bench.settle()
    assert bench.spool.can_record()
    again = bench.restart()
    assert [again.read(item.position) for item in again.queued] == [StoredMessage(kept, (0,), 0)]


def test_outcomes_that_come_while_nothing_can_be_written_are_kept() -> None:
    """What was in flight ends: its outcome is recorded as soon as there is a segment, and shown once."""
    bench = Bench()
    record = samples.message(1)
    bench.store(record)
    bench.settle()
    fail(bench, Operation.CREATE, errno.ENOSPC, times=4, path=SEGMENTS)
    bench.store(samples.message(2))
    bench.loop.run()
    bench.syncer.die()
    bench.spool.record_attempt(bench.position_of(record), samples.attempt(record, 1, (0, Verdict.ACCEPTED)))
    bench.settle()
    assert not [item for item in bench.records if isinstance(item, AttemptRecord)]
    bench.loop.advance(60.0)
    bench.settle()
    assert len([item for item in bench.records if isinstance(item, AttemptRecord)]) == 1
    assert not bench.restart().queued


def test_a_full_segment_without_a_successor_loses_nothing() -> None:
    """Creating fails: what was appended is synced and answered, new mail is refused, outcomes wait, and then it goes on."""
    bench = Bench()
    records = [samples.message(number, content=b"z" * 5000) for number in range(5)]
    fail(bench, Operation.CREATE, errno.EMFILE, times=3, path=SEGMENTS)
    for record in records:
        bench.store(record)
    bench.settle()
    answers = [bench.answers[record.id] for record in records]
    stored = [
        record for record, answer in zip(records, answers, strict=True) if not isinstance(answer, SpoolError)
    ]
    assert 0 < len(stored) < 5
    bench.spool.record_attempt(
        bench.position_of(stored[0]), samples.attempt(stored[0], 1, (0, Verdict.ACCEPTED))
    )
    for _ in range(4):
        bench.loop.advance(10.0)
        bench.settle()
    assert bench.spool.can_record() and bench.spool.has_room()
    assert bench.spool.counts.abandoned == 0
    bench.store(samples.message(9))
    bench.settle()
    again = bench.restart()
    assert [again.read(item.position) for item in again.queued] == [
        *[StoredMessage(record, (0,), 0) for record in stored[1:]],
        StoredMessage(samples.message(9), (0,), 0),
    ]


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.WRITE, Operation.SYNC])
def test_a_large_content_that_cannot_be_stored_leaves_nothing_behind(operation: Operation) -> None:
    """Its sender is refused, small mail goes on, and no file is left."""
    bench = Bench()
    fail(bench, operation, path="bodies/*")
    large, small = samples.message(1, content=b"x" * (INLINE_LIMIT + 1)), samples.message(2)
    bench.store(large)
    bench.store(small)
    bench.settle()
    assert isinstance(bench.answers[large.id], SpoolError)
    assert bench.answers[small.id] == [0]
    assert bench.files.names("bodies") == []
    assert bench.spool.held_bytes < 10_000


def test_a_message_that_is_damaged_is_never_given_out() -> None:
    """Unreadable, its octets kept aside, settled with a record of its own, and still settled after a restart."""
    bench = Bench()
    record = samples.message(1, content=b"w" * 5000)
    bench.store(record)
    for number in range(2, 5):  # pushes the first out of memory
        bench.store(samples.message(number, content=b"v" * 3000))
    bench.settle()
    file = bench.files.open("segments/" + bench.files.names("segments")[0], writable=True)
    file.write([b"!"], 3000)
    assert isinstance(bench.read(0), Unreadable)
    bench.loop.advance(0.1)
    bench.settle()
    found = [item for item in bench.records if isinstance(item, QuarantineRecord)]
    assert [(item.recipients, item.queue) for item in found] == [(1, record.queue)]
    assert "quarantine/" in found[0].reason
    assert bench.files.names("quarantine")
    assert len(bench.spool) == 3
    assert bench.spool.counts.quarantined == 1


def test_mail_is_refused_before_the_disk_is_full_and_taken_again_with_some_slack() -> None:
    """Below the reserve new mail is refused and outcomes are recorded; it is said in the log of events."""
    bench = Bench(
        SimulatedDisk(capacity=400 * 1024),
        SpoolOptions(reserve=Reserve(0.5), memory=4096, segment_size=16 * 1024),
    )
    assert bench.spool.has_room()
    changes: list[bool] = []
    bench.spool.watch(lambda: changes.append(bench.spool.has_room()))
    filler = bench.files.create("filler")
    filler.allocate(250 * 1024)
    bench.loop.advance(1.5)
    bench.settle()
    assert not bench.spool.has_room() and bench.spool.can_record()
    filler.truncate(190 * 1024)
    bench.loop.advance(1.0)
    assert not bench.spool.has_room()
    filler.truncate(0)
    bench.loop.advance(1.0)
    bench.settle()
    assert bench.spool.has_room()
    assert changes == [False, True]
    bench.loop.advance(0.1)
    bench.settle()
    told = [item for item in bench.records if isinstance(item, SpoolHealthRecord)]
    assert [(item.is_refusing, item.is_paused) for item in told] == [(True, False), (False, False)]
    assert "min_free_space" in told[0].text


def test_an_outcome_that_names_a_copy_which_was_lost_is_told_of_the_original() -> None:
    """A copy and an outcome about it are in the batch whose sync fails: the message stays where it was, and settled."""
    bench = Bench()
    live = samples.message(1, content=b"l" * 500)
    bench.store(live)
    bench.settle()
    for number in range(2, 40):
        record = samples.message(number, content=b"y" * 3000)
        bench.store(record)
        bench.settle()
        bench.spool.record_attempt(
            bench.position_of(record), samples.attempt(record, 1, (0, Verdict.ACCEPTED))
        )
    bench.loop.run()
    # the copy of the first message is on its way by now
    bench.spool.record_attempt(bench.position_of(live), samples.attempt(live, 1, (0, Verdict.ACCEPTED)))
    while bench.syncer.is_waiting:
        bench.syncer.die()
        bench.loop.advance(0.06)
        if bench.spool.counts.abandoned > 1:
            break
    bench.loop.advance(5.0)
    bench.settle()
    bench.loop.advance(5.0)
    bench.settle()
    assert bench.spool.can_record()
    assert not bench.restart().queued


def test_two_processes_cannot_have_one_spool() -> None:
    """The second is told who has it."""
    bench = Bench(options=SMALL)
    with pytest.raises(Exception, match="in use by process 101"):
        Bench(bench.disk)


def test_only_octets_of_the_damaged_message_are_kept_aside() -> None:
    """A large content that is gone: the frame that named it is kept, and nothing of the mail behind it."""
    bench = Bench()
    large = samples.message(1, content=b"x" * (INLINE_LIMIT + 9))
    bench.store(large)
    bench.settle()
    bench.store(samples.message(2, content=b"another's secret"))
    bench.settle()
    again = bench.restart()
    again.files.remove("bodies/" + again.files.names("bodies")[0])
    assert isinstance(again.read(again.queued[0].position), Unreadable)
    (name,) = again.files.names("quarantine")
    kept = again.files.open(f"quarantine/{name}")
    assert large.id.encode() in kept.read(kept.size(), 0)
    assert b"secret" not in kept.read(kept.size(), 0)


def test_damage_that_is_found_at_a_start_is_an_event() -> None:
    """A frame of the segment that was being written is damaged: the next start tells of it, once, and counts it."""
    bench = Bench()
    for number in range(3):
        bench.store(samples.message(number))
        bench.settle()
    disk = bench.disk.after_kill()
    files = disk.process()
    file = files.open("segments/" + files.names("segments")[0], writable=True)
    file.write([b"!"], 500)
    again = Bench(disk)
    again.loop.advance(0.1)
    again.settle()
    told = [item for item in again.records if isinstance(item, SpoolHealthRecord)]
    assert len(told) == 1 and "found damaged at the start" in told[0].text
    assert again.spool.counts.quarantined == 1


def damaged_backlog(bench: Bench) -> None:
    """The first message in its segment is damaged, and out of memory."""
    for number in range(1, 5):
        bench.store(samples.message(number, content=b"w" * 3000))
    bench.settle()
    file = bench.files.open("segments/" + bench.files.names("segments")[0], writable=True)
    file.write([b"!"], 2000)


def test_whoever_holds_a_damaged_message_hears_of_it() -> None:
    """It was settled behind its holder's back: asking for it is Unreadable, its outcome is dropped, and its position is nobody else's."""
    bench = Bench()
    damaged_backlog(bench)
    bench.spool.quarantine(0, ValueError("found by reclaim"))
    other = samples.message(9)
    bench.store(other)
    bench.settle()
    assert bench.position_of(other) != 0
    assert isinstance(bench.read(0), Unreadable)
    bench.spool.record_attempt(0, samples.attempt(samples.message(1), 1, (0, Verdict.ACCEPTED)))
    bench.loop.advance(0.1)
    bench.settle()
    assert bench.read(bench.position_of(other)) == StoredMessage(other, (0,), 0)
    assert len(bench.spool) == 4


def test_a_late_answer_is_not_about_whoever_has_the_row_now() -> None:
    """A fetch is under way when its message is settled and the row serves another: damage that it finds is not that one's."""
    bench = Bench()
    damaged_backlog(bench)
    found: list[StoredMessage | SpoolError] = []
    bench.spool.fetch(0, found.append)
    bench.spool.record_attempt(0, samples.attempt(samples.message(1), 1, (0, Verdict.ACCEPTED)))
    other = samples.message(9)
    bench.store(other)
    assert bench.spool.get(0) == StoredMessage(other, (0,), 0)
    bench.settle()
    assert found == [StoredMessage(other, (0,), 0)]
    assert bench.spool.counts.quarantined == 0


def test_large_contents_do_not_keep_the_log_from_being_synced() -> None:
    """One comes during each sync: they are answered, and so is small mail, by turns."""
    bench = Bench()
    small = samples.message(1)
    bench.store(small)
    for number in range(2, 12):
        bench.store(samples.message(number, content=b"x" * (INLINE_LIMIT + 1)))
        bench.loop.run()
        bench.syncer.complete()
    assert len(bench.answers) > 3 and small.id in bench.answers
    bench.settle()
    assert len(bench.answers) == 11


def test_a_fault_in_one_answer_is_not_the_others() -> None:
    """One of three in a batch raises when it is told: the others are told, and all three are shown as stored."""
    bench = Bench()
    told: list[int] = []

    def done(positions: Sequence[int], _fault: SpoolError | None) -> None:
        told.extend(positions)
        if len(told) == 1:
            raise ValueError("a mistake")

    for number in range(3):
        bench.spool.store([samples.message(number)], done)
    bench.settle()
    assert told == [0, 1, 2] and len(bench.records) == 3


def test_a_full_disk_is_freed_by_what_is_settled() -> None:
    """No segment can be created, and old ones hold nothing that is live: they go, and it goes on."""
    bench = Bench()
    for number in range(12):
        record = samples.message(number, content=b"y" * 3000)
        bench.store(record)
        bench.settle()
        bench.spool.record_attempt(
            bench.position_of(record), samples.attempt(record, 1, (0, Verdict.ACCEPTED))
        )
        bench.loop.advance(0.1)
        bench.settle()
    before = len(bench.files.names("segments"))
    fail(bench, Operation.CREATE, errno.ENOSPC, times=None, path=SEGMENTS)
    for number in range(20, 30):
        bench.store(samples.message(number, content=b"y" * 3000))
    bench.settle()
    assert not bench.spool.can_record()
    bench.spool.events_written(bench.position)
    bench.settle()
    assert len(bench.files.names("segments")) < before
    bench.disk.faults.clear()
    for _ in range(4):
        bench.loop.advance(10.0)
        bench.settle()
    assert bench.spool.can_record()

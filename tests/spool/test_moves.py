"""Messages that come from other lanes and go there: held, released, dropped, forgotten; in one process and the next."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord, Move, MovedRecord, StoredMessage, Verdict
from penstock.spool.arrivals import Arrival
from penstock.spool.codec import INLINE_LIMIT
from tests.spool import samples
from tests.spool.bench import Bench

DUE = 1_700_009_000.0


def move(number: int = 1, part: int = 0, lane: str = "2") -> Move:
    """A move of its own."""
    return Move(lane, MessageId(f"{number:032x}"), part)


def arrival(record: MessageRecord, by: Move, waiting: Sequence[int] = (0,), attempts: int = 0) -> Arrival:
    """A message as another lane has it."""
    return Arrival(record, by, tuple(waiting), attempts, WallTime(DUE) if attempts else None)


def hold(bench: Bench, *arrivals: Arrival) -> list[int]:
    """Have them stored, and held; their positions."""
    answers: list[Sequence[int] | SpoolError] = []
    bench.spool.arrivals.hold(arrivals, lambda positions, fault: answers.append(fault or list(positions)))
    bench.settle()
    (answer,) = answers
    assert not isinstance(answer, SpoolError), answer
    return list(answer)


def settle(bench: Bench) -> None:
    """Let outcomes be stored too."""
    bench.loop.advance(0.1)
    bench.settle()


def turn(bench: Bench) -> None:
    """Fill segments and have them removed, as far as they can be."""
    for number in range(60):
        record = samples.message(10_000 + number, content=b"y" * 3000)
        bench.store(record)
        bench.settle()
        bench.spool.record_attempt(
            bench.position_of(record), samples.attempt(record, 1, (0, Verdict.ACCEPTED))
        )
        settle(bench)
        bench.spool.events_written(bench.position)
        bench.settle()


def test_what_is_held_is_told_as_held_in_the_next_process_with_its_move() -> None:
    """Recipients, attempts and due time are as the other lane had them."""
    bench, record = Bench(), samples.message(1, recipients=3)
    (position,) = hold(bench, arrival(record, move(), (1, 2), 4))
    assert bench.spool.arrivals.held() == [(position, move())]
    assert bench.records == []
    again = bench.restart()
    (queued,) = again.queued
    assert (queued.is_held, queued.recipients, queued.attempts, queued.due) == (True, 2, 4, DUE)
    assert again.spool.arrivals.held() == [(queued.position, move())]
    assert again.read(queued.position) == StoredMessage(record, (1, 2), 4)


def test_what_is_released_is_ours_and_told() -> None:
    """With a record of the recipients that wait; in the next process too."""
    bench, record = Bench(), samples.message(1, recipients=2)
    (position,) = hold(bench, arrival(record, move(), (1,), 1))
    done: list[str] = []
    bench.spool.arrivals.release(position, lambda: done.append("stored"))
    assert not bench.spool.arrivals.message(position).is_held
    bench.loop.run()
    assert not done
    settle(bench)
    assert done == ["stored"]
    (told,) = bench.records
    assert isinstance(told, MovedRecord)
    assert (told.queue, told.move, told.recipients, told.is_in) == (record.queue, move(), 1, True)
    assert [item for item, _ in bench.spool.history(bench.position._replace(segment=0)) if item] == [told]
    again = bench.restart()
    assert [item.is_held for item in again.queued] == [False]
    assert again.spool.arrivals.held() == []


def test_what_is_dropped_is_gone_and_nobody_is_told_of_recipients() -> None:
    """It never was ours."""
    bench = Bench()
    (position,) = hold(bench, arrival(samples.message(1), move()))
    bench.spool.arrivals.drop(position, lambda: None)
    settle(bench)
    assert len(bench.spool) == 0
    assert [item.recipients for item in bench.records if isinstance(item, MovedRecord)] == [0]
    assert bench.restart().queued == []


def test_a_decision_that_was_taken_is_done_again_without_harm() -> None:
    """Released twice, dropped after it was released: it stays released."""
    bench, done = Bench(), []
    (position,) = hold(bench, arrival(samples.message(1), move()))
    for decide in (bench.spool.arrivals.release, bench.spool.arrivals.release, bench.spool.arrivals.drop):
        decide(position, lambda: done.append(None))
    settle(bench)
    assert len(done) == 3
    assert len(bench.spool) == 1
    assert len(bench.records) == 1


def test_parts_of_one_move_are_decided_one_by_one() -> None:
    """One content, three fates: released, dropped, held."""
    bench, content = Bench(), b"Subject: x\r\n\r\n" + b"x" * 500
    records = [samples.message(number, content=content) for number in range(3)]
    positions = hold(bench, *[arrival(record, move(part=part)) for part, record in enumerate(records)])
    bench.spool.arrivals.release(positions[0], lambda: None)
    bench.spool.arrivals.drop(positions[1], lambda: None)
    settle(bench)
    again = bench.restart()
    assert [item.is_held for item in again.queued] == [False, True]
    assert [item for _, item in again.spool.arrivals.held()] == [move(part=2)]


def test_what_is_held_stays_held_when_it_is_copied_forward() -> None:
    """And what is released of the same frame stays released; both after a restart."""
    bench, content = Bench(), b"Subject: x\r\n\r\n" + b"x" * 500
    records = [samples.message(number, content=content) for number in range(2)]
    positions = hold(bench, *[arrival(item, move(part=part), (0,), 2) for part, item in enumerate(records)])
    bench.spool.arrivals.release(positions[1], lambda: None)
    turn(bench)
    assert bench.spool.counts.copied
    for each in (bench, bench.restart()):
        ((position, found),) = each.spool.arrivals.held()
        assert found == move()
        assert each.read(position) == StoredMessage(records[0], (0,), 2)
        assert len(each.spool) == 2
    again = bench.restart()
    ((position, _),) = again.spool.arrivals.held()
    again.spool.arrivals.release(position, lambda: None)
    settle(again)
    assert [item.is_held for item in again.restart().queued] == [False, False]


def test_large_contents_that_are_held_are_files_that_go_with_them() -> None:
    """Dropped, the file is removed."""
    bench, record = Bench(), samples.message(1, content=b"x" * (INLINE_LIMIT + 1))
    (position,) = hold(bench, arrival(record, move()))
    assert len(bench.files.names("bodies")) == 1
    again = bench.restart()
    ((position, _),) = again.spool.arrivals.held()
    assert again.read(position) == StoredMessage(record, (0,), 0)
    again.spool.arrivals.drop(position, lambda: None)
    settle(again)
    assert again.files.names("bodies") == []


def test_what_could_not_be_stored_is_not_held() -> None:
    """The other lane is told, and nothing of it is there."""
    bench, answers = Bench(), []
    bench.spool.arrivals.hold([arrival(samples.message(1), move())], lambda _, fault: answers.append(fault))
    bench.loop.run()
    bench.syncer.die()
    bench.settle()
    assert isinstance(answers[0], SpoolError)
    assert bench.spool.arrivals.held() == []
    assert bench.restart().queued == []


def test_what_was_forgotten_is_gone_and_remembered_until_it_is_confirmed() -> None:
    """Over restarts; what was confirmed is not asked for again, once a later one has said so."""
    bench = Bench()
    records = [samples.message(number) for number in range(4)]
    for record in records:
        bench.store(record)
    bench.settle()
    done: list[int] = []
    for number, record in enumerate(records[:2]):
        bench.spool.departures.forget(bench.position_of(record), move(number), lambda: done.append(1))
        assert not done
    bench.settle()
    assert len(done) == 2
    assert [item.is_in for item in bench.records if isinstance(item, MovedRecord)] == [False, False]
    again = bench.restart()
    assert len(again.queued) == 2
    assert again.spool.departures.forgotten() == [move(0), move(1)]
    again.spool.departures.confirm(move(0))
    again.spool.departures.forget(again.queued[0].position, move(2), lambda: None)
    settle(again)
    last = again.restart()
    assert last.spool.departures.forgotten() == [move(1), move(2)]
    for number in (1, 2):
        last.spool.departures.confirm(move(number))
    last.spool.departures.forget(last.queued[0].position, move(3), lambda: None)
    settle(last)
    assert last.restart().spool.departures.forgotten() == [move(3)]


def test_what_is_not_confirmed_is_said_again_before_its_segment_goes() -> None:
    """However often; then it is confirmed, and is said no more."""
    bench, record = Bench(), samples.message(1)
    bench.store(record)
    bench.settle()
    bench.spool.departures.forget(bench.position_of(record), move(), lambda: None)
    turn(bench)
    assert bench.spool.counts.removed_segments > 3
    again = bench.restart()
    assert again.spool.departures.forgotten() == [move()]
    again.spool.departures.confirm(move())
    other = samples.message(2)
    again.store(other)
    again.settle()
    again.spool.departures.forget(again.position_of(other), move(2), lambda: None)
    settle(again)
    assert again.restart().spool.departures.forgotten() == [move(2)]


def test_a_forget_that_failed_is_repeated_until_it_is_stored() -> None:
    """Nobody is told before, and afterwards it is remembered."""
    bench, record, done = Bench(), samples.message(1), []
    bench.store(record)
    bench.settle()
    bench.spool.departures.forget(bench.position_of(record), move(), lambda: done.append(None))
    bench.loop.run()
    bench.syncer.die()
    assert not done
    bench.settle()
    assert done
    again = bench.restart()
    assert again.queued == []
    assert again.spool.departures.forgotten() == [move()]


def test_what_is_not_there_cannot_be_forgotten() -> None:
    """It was settled: SpoolError, and nothing is written."""
    bench, record = Bench(), samples.message(1)
    bench.store(record)
    bench.settle()
    bench.spool.record_attempt(0, samples.attempt(record, 1, (0, Verdict.ACCEPTED)))
    with pytest.raises(SpoolError):
        bench.spool.departures.forget(0, move(), lambda: None)
    assert not len(bench.spool.departures)


def test_a_held_message_that_is_damaged_is_quarantined_as_ours() -> None:
    """For its lane may have forgotten it; the accounts are even."""
    bench, record = Bench(), samples.message(1, recipients=2, content=b"mark" * 50)
    hold(bench, arrival(record, move(), (0, 1)))
    (path,) = [f"segments/{name}" for name in bench.files.names("segments")]
    file = bench.files.open(path)
    at = file.read(file.size(), 0).find(b"markmark")
    for number in range(20):
        bench.store(samples.message(100 + number, content=b"z" * 2000))
        bench.settle()
    bench.disk.spoil(path, at)
    again = bench.restart()
    settle(again)
    assert again.spool.arrivals.held() == []
    assert again.spool.counts.quarantined == 1
    assert [item.recipients for item in again.records if isinstance(item, MovedRecord)] == [2]

"""Messages are found by their ids while the spool is at work, in memory, on the disk, wherever they have been copied to."""

from __future__ import annotations

import errno
from itertools import count

import msgspec
import pytest

from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, MessageId
from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord, Verdict
from penstock.sim.file_system import Fault, Operation
from penstock.sim.loop import SimulatedLoop
from penstock.spool.finding import _AT_ONCE
from tests.spool import samples
from tests.spool.bench import SMALL, Bench
from tests.spool.test_moves import arrival, hold, move, settle, turn

DAY = 86_400.0
START = 1_700_000_000.0
_NUMBERS = count(1)


def identity(at: float) -> MessageId:
    """An id of then, and no other's."""
    return IdSource(next(_NUMBERS) << 12).next(WallTime(at))


def message(at: float, *, content: bytes = b"Subject: x\r\n\r\n") -> MessageRecord:
    """A message accepted then, with an id of then."""
    now = WallTime(at)
    return msgspec.structs.replace(samples.message(1, content=content), id=identity(at), created=now)


def stored(*records: MessageRecord) -> Bench:
    """A spool with these."""
    bench = Bench(loop=SimulatedLoop(START))
    for record in records:
        bench.store(record)
        bench.settle()
    return bench


def find(bench: Bench, identity: str) -> int | SpoolError | None:
    """The position; it must not come from inside the call."""
    found: list[int | SpoolError | None] = []
    bench.spool.find(identity, found.append)
    assert not found
    bench.loop.advance(0.0)
    bench.settle()
    (answer,) = found
    return answer


def is_found(bench: Bench, record: MessageRecord) -> bool:
    """Whether what is found is that message."""
    position = find(bench, record.id)
    if not isinstance(position, int):
        return False
    stored = bench.read(position)
    assert not isinstance(stored, SpoolError)
    assert stored.record.id == record.id
    return True


@pytest.mark.parametrize("when", ["at once", "in the next process", "copied forward"])
def test_every_queued_message_is_found(when: str) -> None:
    """Those of the same millisecond are told apart; what is settled is not found, nor what never was."""
    records = [message(START + number // 4 * 0.001) for number in range(40)]
    bench = stored(*records)
    gone = records[7]
    bench.spool.record_attempt(bench.position_of(gone), samples.attempt(gone, 1, (0, Verdict.ACCEPTED)))
    settle(bench)
    if when == "copied forward":
        turn(bench)
        assert bench.spool.counts.copied
    if when != "at once":
        bench = bench.restart()
    for record in records:
        assert is_found(bench, record) == (record is not gone)
    assert find(bench, identity(START)) is None


@pytest.mark.parametrize(
    "identity", ["", "x", "0" * 32, "zz93f5c0a1b27abc8abcdef000000001", "../../etc/passwd"]
)
def test_what_is_no_id_is_not_found(identity: str) -> None:
    """And nothing is read for it."""
    bench = stored(message(START))
    assert find(bench, identity) is None


@pytest.mark.parametrize("off", [-0.45, -0.1, 0.1, 0.45])
def test_a_message_whose_id_is_half_a_second_off_is_found(off: float) -> None:
    """Ids of one source only go up: where its clock was behind, they are ahead."""
    record = message(START + off)
    other = message(START)
    bench = stored(msgspec.structs.replace(record, created=WallTime(START)), other).restart()
    assert is_found(bench, record)
    assert is_found(bench, other)


def test_mail_is_found_although_the_clock_has_jumped_again_and_again() -> None:
    """Its times are shifted, its id is not; also when it was copied, and the segments from before the jump are gone."""
    records = [message(START)]
    bench = stored(records[0])
    for jump in (365 * DAY, -30 * DAY, 3 * DAY):
        bench.spool.finish()
        bench = Bench(bench.disk.after_kill(), SMALL, SimulatedLoop(bench.loop.wall() + jump))
        records.append(message(bench.loop.wall()))
        bench.store(records[-1])
        bench.settle()
        turn(bench)
    assert bench.spool.counts.removed_segments
    assert len(bench.spool) == len(records)
    for each in (bench, bench.restart()):
        for record in records:
            assert is_found(each, record)


def test_a_message_whose_lane_measured_a_jump_otherwise_is_found() -> None:
    """It came from another lane, which had noted the time a minute before this one."""
    record = message(START)
    bench = stored(message(START + 0.5))
    bench.spool.finish()
    bench = Bench(bench.disk.after_kill(), SMALL, SimulatedLoop(bench.loop.wall() + 365 * DAY))
    (shift,) = bench.spool._times.offsets[1:]
    (position,) = hold(bench, arrival(record, move())._replace(shift=shift + 61.0))
    bench.spool.arrivals.release(position, lambda: None)
    settle(bench)
    assert find(bench.restart(), record.id) is not None


def test_a_message_that_is_held_is_another_lanes() -> None:
    """It is found when it is released."""
    bench, record = Bench(loop=SimulatedLoop(START)), message(START)
    (position,) = hold(bench, arrival(record, move()))
    assert find(bench, record.id) is None
    bench.spool.arrivals.release(position, lambda: None)
    settle(bench)
    assert find(bench, record.id) == position


def test_a_message_that_is_copied_while_it_is_looked_for_is_found() -> None:
    """Its old place is gone when that is read; it is looked for again."""
    record = message(START, content=b"z" * 3000)
    bench = stored(record)
    settle(bench)
    bench.spool._recent.drop(bench.position_of(record))
    submit, jobs = bench.spool._finding._background.submit, []
    bench.spool._finding._background.submit = lambda job, done: jobs.append((job, done))  # type: ignore[method-assign]
    found: list[object] = []
    bench.spool.find(record.id, found.append)
    bench.loop.run()
    assert len(jobs) == 1 and not found
    bench.spool._finding._background.submit = submit  # type: ignore[method-assign]
    turn(bench)
    assert bench.spool.counts.removed_segments
    submit(*jobs[0])
    bench.settle()
    assert found == [bench.position_of(record)]


def test_a_disk_that_cannot_be_read_is_said() -> None:
    """Not that there is no such message."""
    record = message(START)
    bench = stored(record).restart()
    bench.disk.faults.add(Fault(Operation.READ, errno.EIO))
    assert isinstance(find(bench, record.id), SpoolError)


def test_many_messages_are_looked_at_in_steps() -> None:
    """What else there is has its turn between them."""
    bench = stored(message(START))
    queued = bench.spool._queued
    queued.put(1, 1 << 30, [samples_listed(START + 500.0)] * (3 * _AT_ONCE))
    turns: list[int] = []
    found: list[object] = []
    bench.spool.find(identity(START + 100), found.append)

    def look() -> None:
        turns.append(len(turns))
        if not found:
            bench.loop.call_soon(look)

    bench.loop.call_soon(look)
    bench.settle()
    assert found == [None]
    assert len(turns) > 4


def samples_listed(created: float) -> object:
    """A message as the columns have it."""
    from penstock.spool.meaning import Listed

    return Listed(created, 10, 1, samples.OTHER)

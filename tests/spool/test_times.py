"""Clocks that jump while the server is down: mail is as old as it was, and due when it was."""

from __future__ import annotations

import errno

import pytest

from penstock.mail.records import Verdict
from penstock.sim.file_system import Fault, Operation
from penstock.sim.loop import SimulatedLoop
from penstock.spool.files import FileError
from tests.spool import samples
from tests.spool.bench import SMALL, Bench

DAY = 86_400.0
START = 1_700_000_000.0


def restarted(bench: Bench, jump: float) -> Bench:
    """The spool in a new process, the system's clock ``jump`` seconds from where it was."""
    bench.spool.finish()
    return Bench(bench.disk.after_kill(), SMALL, SimulatedLoop(bench.loop.wall() + jump))


@pytest.mark.parametrize("jump", [-DAY, 365 * DAY, -5 * 365 * DAY])
def test_mail_is_no_older_for_a_jump(jump: float) -> None:
    """Age and time to the next attempt are what they were: nothing expires, and nothing is due all at once."""
    bench = Bench(loop=SimulatedLoop(START))
    record = samples.message(0)
    bench.store(record)
    bench.settle()
    due = bench.loop.wall() + 1200
    bench.spool.record_attempt(0, samples.attempt(record, 1, (0, Verdict.DEFERRED), due=due))
    bench.loop.advance(0.1)
    bench.settle()
    age, wait = bench.loop.wall() - record.created, due - bench.loop.wall()
    for each in (jump, 0.0):  # the second restart is at the new time, and changes nothing
        bench = restarted(bench, each)
        queued, now = bench.queued[0], bench.loop.wall()
        assert now - queued.created == pytest.approx(age, abs=1)
        assert queued.due is not None
        assert queued.due - now == pytest.approx(wait, abs=1)


def test_a_short_rest_is_believed() -> None:
    """Hours that the server was down are hours that mail is older."""
    bench = Bench(loop=SimulatedLoop(START))
    bench.store(samples.message(0))
    bench.settle()
    again = restarted(bench, 7200.0)
    assert again.queued[0].created == samples.message(0).created


def test_a_copy_is_as_old_as_what_it_was_made_of() -> None:
    """A jump, then the message is copied forward and its segment goes: another start knows its age all the same."""
    bench = Bench(loop=SimulatedLoop(START))
    bench.store(samples.message(0))
    bench.settle()
    bench = restarted(bench, 365 * DAY)
    created = bench.queued[0].created
    for number in range(1, 60):
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
    assert bench.spool.counts.removed_segments > 2
    again = restarted(bench, 60.0)
    assert [item.created for item in again.queued] == [pytest.approx(created)]


def test_a_note_of_the_time_that_is_damaged_counts_for_nothing() -> None:
    """Whatever bit of it is wrong, mail is as old as it was."""
    bench = Bench(loop=SimulatedLoop(START))
    bench.store(samples.message(0))
    bench.settle()
    bench.spool.finish()
    size = len(bench.files.open("clock").read(1000, 0))
    for bit in range(size * 8):
        disk = bench.disk.after_kill()
        file = disk.process().open("clock", writable=True)
        octets = bytearray(file.read(size, 0))
        octets[bit // 8] ^= 1 << bit % 8
        file.write([bytes(octets)], 0)
        again = Bench(disk, SMALL, SimulatedLoop(bench.loop.wall() + 60))
        assert again.queued[0].created == samples.message(0).created


def test_a_jump_that_cannot_be_noted_lets_nothing_begin() -> None:
    """Mail that came after it would be a year older at the next start."""
    bench = Bench(loop=SimulatedLoop(START))
    bench.store(samples.message(0))
    bench.settle()
    bench.spool.finish()
    disk, loop = bench.disk.after_kill(), SimulatedLoop(bench.loop.wall() + 365 * DAY)
    disk.faults.add(Fault(Operation.RENAME, errno.EIO))
    with pytest.raises(FileError):
        Bench(disk, SMALL, loop)
    again = Bench(disk.after_kill(), SMALL, loop)
    assert again.queued[0].created == pytest.approx(samples.message(0).created + 365 * DAY, abs=120)

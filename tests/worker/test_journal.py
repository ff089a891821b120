"""Events of what is stored, as it comes and read back: each once, whatever the disk does."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from penstock.mail.duration import Seconds
from penstock.mail.ports import LogPosition

from .world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A journal that has begun to follow an empty spool."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    return world


def test_events_are_written_within_a_moment(world: World) -> None:
    """What is stored is in the event log 50 ms later, in order."""
    world.mail(3)
    assert world.ids() == []
    world.advance(0.05)
    assert world.ids() == world.expected_ids()


def test_what_is_stored_before_the_start_is_read_back(tmp_path: Path) -> None:
    """The spool takes mail before its log is followed: nothing is missing."""
    world = World(tmp_path)
    world.mail(5)
    world.start()
    world.mail(5)
    world.advance(0.1)
    world.mail(5)
    world.advance(0.1)
    assert world.ids() == world.expected_ids()


def test_what_was_read_back_and_is_told_later_is_not_written_again(tmp_path: Path) -> None:
    """Reading goes up to where the spool is synced, which may be further than it has told."""
    world = World(tmp_path)
    first, second = world.message(), world.message()
    world.stored += [first, second]
    place = world.spool.store(first)
    world.start()
    world.advance(0.1)
    world.journal.on_stored((first,), place)
    world.journal.on_stored((second,), world.spool.store(second))
    world.advance(0.1)
    world.assert_exactly_once()


def test_the_spool_is_told_when_events_are_on_stable_storage(world: World) -> None:
    """Not before they are synced; then up to the last record."""
    world.mail(2)
    world.advance(0.9)
    assert world.spool.written < world.spool.synced
    world.advance(0.3)
    assert world.spool.written == world.spool.synced


def test_quiet_costs_nothing(world: World) -> None:
    """Without mail nothing is written, and no checkpoint made."""
    world.mail(1)
    world.advance(5.0)
    done = world.files.operations
    world.advance(60.0)
    assert world.files.operations == done


def test_place_without_records_is_told_on(world: World) -> None:
    """The spool's log goes on by what makes no events; segments before that may go too."""
    world.mail(1)
    world.advance(2.0)
    world.spool.synced = LogPosition(7, 4096)
    world.journal.on_stored((), world.spool.synced)
    world.advance(2.0)
    assert world.spool.written == LogPosition(7, 4096)


def test_end_in_order_leaves_nothing_to_read_back(world: World) -> None:
    """What was stored last is written, synced and named by the last checkpoint."""
    world.mail(3)
    world.close()
    world.assert_exactly_once()
    world.crash()
    world.start()
    world.advance(0.1)
    world.assert_exactly_once()
    assert world.spool.written == world.spool.records[-1][1]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_nothing_is_dropped_while_the_disk_takes_no_events(world: World, error: int) -> None:
    """Mail goes on for hours, with bounded memory; when writing works again, all events are there, once."""
    world.mail(2)
    world.advance(0.1)
    world.files.broken = error
    for _ in range(20):
        world.mail(60)
        world.advance(0.2)
    assert world.log.fault is not None
    assert world.journal.is_behind
    assert world.log.counts.waiting < 3_000_000
    world.files.broken = None
    world.advance(5.0)
    assert not world.journal.is_behind
    assert world.log.fault is None
    assert world.log.counts.dropped == 0
    world.assert_exactly_once()


def test_disk_that_fills_up_in_the_middle_of_a_line(world: World) -> None:
    """The line is completed when there is room."""
    world.files.room = 5000
    for _ in range(10):
        world.mail(50)
        world.advance(0.1)
    world.files.room = None
    world.advance(5.0)
    world.assert_exactly_once()


def test_more_than_can_be_made_in_time_is_read_back(world: World) -> None:
    """A flood between two turns of the loop takes no unbounded memory."""
    world.mail(1700)
    assert world.journal.is_behind
    world.advance(1.0)
    assert not world.journal.is_behind
    assert world.ids() == world.expected_ids()


def test_many_records_stored_at_once_are_made_in_turns(world: World) -> None:
    """One sync may store thousands: the loop is not held up by their events, and they stay in order."""
    world.store(*[world.message() for _ in range(3000)])
    begun = world.turns
    world.advance(0.1)
    assert world.ids() == world.expected_ids()
    assert world.turns - begun >= 15


def test_checkpoint_amid_records_stored_at_once(world: World) -> None:
    """Some of a group are written when a checkpoint is made: a crash then repeats none, and leaves out none."""
    world.least_delay = Seconds(0.3)
    world.store(world.message())
    world.advance(1.2)
    world.store(*[world.message() for _ in range(3000)])
    world.advance(2.0)
    assert world.spool.written == world.spool.records[0][1]
    assert 200 < len(world.ids()) < 3000
    world.crash()
    world.least_delay = Seconds(0.0)
    world.start()
    world.advance(1.0)
    world.assert_exactly_once()


def test_failed_sync_is_not_believed(world: World) -> None:
    """What could not be synced is taken away and written again, to another file; nothing is there twice, and nothing missing."""
    world.mail(3)
    world.advance(2.0)
    saved = world.spool.written
    world.mail(3)
    world.files.failing = errno.EIO
    world.advance(1.5)
    assert world.log.fault is not None
    assert "synced" in world.log.fault
    assert world.spool.written == saved
    world.mail(3)
    world.files.failing = None
    world.advance(5.0)
    assert world.log.fault is None
    assert world.spool.written == world.spool.synced
    world.assert_exactly_once()


def test_failed_sync_before_the_first_checkpoint(world: World) -> None:
    """There is nothing to go back to but the beginning."""
    world.files.failing = errno.EIO
    world.mail(3)
    world.advance(3.0)
    world.files.failing = None
    world.advance(3.0)
    world.assert_exactly_once()
    assert world.spool.written == world.spool.synced


def test_checkpoint_that_cannot_be_saved_is_tried_again(world: World) -> None:
    """The events stay; the spool keeps what it has until it is known where a start has to begin."""
    world.files.saving = errno.ENOSPC
    world.mail(3)
    world.advance(3.0)
    assert world.spool.written == LogPosition(0, 0)
    assert world.log.fault is not None
    assert "checkpoint" in world.log.fault
    world.files.saving = None
    world.advance(3.0)
    assert world.log.fault is None
    assert world.spool.written == world.spool.synced
    world.assert_exactly_once()


def test_checkpoint_that_cannot_be_saved_bounds_what_is_written(tmp_path: Path) -> None:
    """Else a start would have to read without end: the journal waits, mail does not."""
    world = World(tmp_path, max_file_size=4096)
    world.start()
    world.advance(0.1)
    world.files.saving = errno.EIO
    for _ in range(10):
        world.mail(30)
        world.advance(0.5)
    assert world.journal.is_behind
    files = len(list(world.directory.iterdir()))
    world.mail(100)
    world.advance(20.0)
    assert len(list(world.directory.iterdir())) == files < 100
    world.files.saving = None
    world.advance(10.0)
    assert not world.journal.is_behind
    world.assert_exactly_once()


def test_spool_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    """The fault is told, and everything is there once it can."""
    world = World(tmp_path)
    world.mail(3)
    world.spool.broken = OSError(errno.EIO, "Input/output error")
    world.start()
    world.advance(2.0)
    assert world.log.fault is not None
    assert world.journal.is_behind
    world.spool.broken = None
    world.advance(2.0)
    assert world.log.fault is None
    world.assert_exactly_once()

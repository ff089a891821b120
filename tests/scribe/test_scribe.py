"""Events of what is stored, as it comes and read back: each once, whatever the disk does."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from penstock.mail.ports import LogPosition
from penstock.mail.records import Verdict
from penstock.scribe.lane import Batch
from tests.events.samples import attempt, outcome

from .world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A scribe that has begun to follow the empty spools of two lanes."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    return world


def test_events_are_written_within_a_moment(world: World) -> None:
    """What is stored is in the event log 50 ms later, in order."""
    world.mail(3)
    assert world.ids() == []
    world.advance(0.05)
    assert sorted(world.ids()) == sorted(world.expected_ids())
    world.assert_in_order()


def test_what_is_stored_before_the_start_is_read_back(tmp_path: Path) -> None:
    """The spool takes mail before its log is followed: nothing is missing."""
    world = World(tmp_path)
    world.mail(5)
    world.start()
    world.mail(5)
    world.advance(0.1)
    world.mail(5)
    world.advance(0.1)
    world.assert_exactly_once()
    world.assert_in_order()


def test_frames_that_are_not_what_comes_next_are_read_back(world: World) -> None:
    """Some were not told, for want of room or by a fault: nothing is missing."""
    world.mail(2)
    sent = world.message()
    world.stored.append(sent)
    world.spool.store(sent)
    world.mail(2)
    assert world.log.counts.is_behind
    world.advance(0.1)
    assert not world.log.counts.is_behind
    world.mail(2)
    world.advance(0.1)
    world.assert_exactly_once()
    world.assert_in_order()


def test_lane_that_says_it_has_not_told_all_is_read_back(world: World) -> None:
    """At once, not when something else comes."""
    sent = world.message()
    world.stored.append(sent)
    world.spool.store(sent)
    world.scribe.on_gap(world.attached["0"])
    world.advance(0.1)
    world.assert_exactly_once()


def test_messages_that_go_straight_through_are_never_read_back(world: World) -> None:
    """Their envelopes are remembered until they are settled, and no longer."""
    for _ in range(50):
        sent = world.message("a", "b")
        world.store(sent)
        world.store(attempt(outcome(Verdict.ACCEPTED), outcome(Verdict.DEFERRED, 1), of=sent))
        world.store(attempt(outcome(Verdict.FAILED, 1), of=sent, attempts=2))
    world.advance(0.1)
    world.assert_exactly_once()
    assert world.spool.fetched == 0
    assert len(world.scribe.envelopes) == 0


def test_envelopes_that_are_remembered_are_bounded_and_others_read_back(tmp_path: Path) -> None:
    """A backlog takes no memory; an outcome of an old message is still whole."""
    world = World(tmp_path, envelopes=40)
    world.start()
    world.advance(0.1)
    sent = [world.message("a") for _ in range(30)]
    for message in sent:
        world.store(message)
    world.advance(0.1)
    assert len(world.scribe.envelopes) <= 8
    for message in sent:
        world.store(attempt(outcome(Verdict.ACCEPTED), of=message))
    world.advance(0.1)
    assert world.spool.fetched >= 22
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
    first, world.spool.synced = world.spool.synced, LogPosition(7, 4096)
    world.scribe.on_frames(world.attached["0"], Batch(first, world.spool.synced, ()))
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
    assert world.spool.written == world.spool.frames[-1][1]


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
    assert world.log.counts.is_behind
    assert world.log.counts.waiting < 3_000_000
    world.files.broken = None
    world.advance(5.0)
    assert not world.log.counts.is_behind
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
    """A flood between two turns of the loop takes no unbounded memory, and no other lane is read back for it."""
    sent = world.message()
    world.store(*[sent] * 5000)
    world.store(*[sent] * 5001)
    assert world.attached["0"].is_behind
    assert not world.attached["1"].is_behind
    assert world.attached["0"].waiting == 0


def test_many_frames_stored_at_once_are_made_in_turns(world: World) -> None:
    """The loop is not held up by all of their events, they stay in order, and every lane has its turn."""
    for _ in range(30):
        world.store(*[world.message() for _ in range(50)])
    world.store(small := world.message(), lane="1")
    begun = world.turns
    world.advance(0.0)
    assert f"{small.id}-all-0-Reception" in world.ids()[:500]
    world.advance(0.1)
    assert world.turns - begun >= 4
    world.assert_exactly_once()
    world.assert_in_order()


def test_lane_that_cannot_be_read_holds_up_no_other(world: World) -> None:
    """It is told which one it is."""
    world.spools["1"].broken = OSError(errno.EIO, "Input/output error")
    world.scribe.on_gap(world.attached["1"])
    world.mail(6)
    world.advance(1.5)
    assert world.log.fault is not None
    assert "lane 1" in world.log.fault
    assert sum(event["type"] == "Reception" for event in world.lines()) == 3
    world.spools["1"].broken = None
    world.advance(2.0)
    assert world.log.fault is None
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
    """Else a start would have to read without end: the scribe waits, mail does not."""
    world = World(tmp_path, max_file_size=4096)
    world.start()
    world.advance(0.1)
    world.files.saving = errno.EIO
    for _ in range(10):
        world.mail(30)
        world.advance(0.5)
    assert world.log.counts.is_behind
    files = len(list(world.directory.iterdir()))
    world.mail(100)
    world.advance(20.0)
    assert len(list(world.directory.iterdir())) == files < 250
    world.files.saving = None
    world.advance(10.0)
    assert not world.log.counts.is_behind
    world.assert_exactly_once()


def test_spool_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    """The fault is told, and everything is there once it can."""
    world = World(tmp_path)
    world.mail(3)
    world.spool.broken = OSError(errno.EIO, "Input/output error")
    world.start()
    world.advance(2.0)
    assert world.log.fault is not None
    assert world.log.counts.is_behind
    world.spool.broken = None
    world.advance(2.0)
    assert world.log.fault is None
    world.assert_exactly_once()

"""What a start makes of an earlier run: of its checkpoint, of none, and of what cannot be made into events."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import msgspec
import pytest

from penstock.events.checkpoint import NAME
from penstock.events.files import log_files
from penstock.events.ledger import Ledger
from penstock.events.survey import ID_LIMIT
from penstock.mail.ports import LogPosition
from penstock.mail.records import Verdict
from tests.events.samples import attempt, outcome

from .world import FakeSpool, World, recover


def run_and_crash(tmp_path: Path, id_limit: int = ID_LIMIT) -> World:
    """A process that was killed with a second's worth of events behind its checkpoint."""
    world = World(tmp_path, id_limit=id_limit)
    world.start()
    world.advance(0.1)
    world.mail(3)
    world.advance(1.5)
    world.mail(3)
    world.advance(0.1)
    world.crash()
    return world


def checkpoint_of(world: World) -> Path:
    """Where it is."""
    return world.directory / NAME


def test_missing_checkpoint_is_no_harm(tmp_path: Path) -> None:
    """The whole spool is read, and what the event files hold is left out."""
    world = run_and_crash(tmp_path)
    world.spool.written = LogPosition(0, 0)
    checkpoint_of(world).unlink()
    recover(world)
    world.assert_exactly_once()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 500], ids=["empty", "half", "zeros"])
def test_damaged_checkpoint_is_said_and_no_harm(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As a missing one, but somebody should know."""
    world = run_and_crash(tmp_path)
    world.spool.written = LogPosition(0, 0)
    checkpoint_of(world).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        recover(world)
    world.assert_exactly_once()
    assert "checkpoint" in caplog.text


def test_older_checkpoint_is_no_harm(tmp_path: Path) -> None:
    """A rename that a power cut has taken back: more is read, and left out."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    world.mail(3)
    world.advance(1.5)
    older = checkpoint_of(world).read_bytes()
    world.mail(3)
    world.advance(1.5)
    assert checkpoint_of(world).read_bytes() != older
    world.crash()
    checkpoint_of(world).write_bytes(older)
    world.spool.written = LogPosition(0, 0)
    recover(world)
    world.assert_exactly_once()


def test_checkpoint_of_another_spool_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A spool that was put in place of the old one has less than the checkpoint names: all of it is read."""
    world = run_and_crash(tmp_path)
    events = world.ids()
    world.spool = FakeSpool()
    world.stored.clear()
    world.spool.store(sent := world.message())
    world.stored.append(sent)
    with caplog.at_level(logging.WARNING):
        recover(world)
    assert "another spool" in caplog.text
    assert sorted(world.ids()) == sorted(events + world.expected_ids())


def test_event_files_that_are_gone_are_no_harm(tmp_path: Path) -> None:
    """Whoever removes files removes their events; the others are there once, and the sums go on."""
    world = run_and_crash(tmp_path)
    recover(world)
    world.crash()
    for path in log_files(world.directory)[:-1]:
        path.unlink()
    recover(world)
    assert len(world.ids()) == len(set(world.ids()))
    assert Ledger(world.directory).report().holds


def test_all_events_are_gone(tmp_path: Path) -> None:
    """With the checkpoint: as far as the spool has its records, they are made again."""
    world = run_and_crash(tmp_path)
    world.spool.written = LogPosition(0, 0)
    for path in world.directory.iterdir():
        path.unlink()
    recover(world)
    world.assert_exactly_once()


@pytest.mark.parametrize("known", [1, 5, 1000])
def test_without_a_checkpoint_the_last_ids_are_enough(tmp_path: Path, known: int) -> None:
    """What comes before the first of them was written then, so memory is bounded."""
    world = run_and_crash(tmp_path, id_limit=known)
    world.spool.written = LogPosition(0, 0)
    checkpoint_of(world).unlink()
    world.mail(3)
    recover(world)
    world.assert_exactly_once()


def test_last_ids_are_none_of_the_spool(tmp_path: Path) -> None:
    """Then all that the spool has is new."""
    world = run_and_crash(tmp_path, id_limit=3)
    old = world.ids()
    world.spool = FakeSpool()
    checkpoint_of(world).unlink()
    world.stored.clear()
    world.mail(3)
    recover(world)
    assert sorted(world.ids()) == sorted(old + world.expected_ids())


def test_events_that_are_made_again_name_the_epoch_of_then(tmp_path: Path) -> None:
    """As far as the checkpoint knows it; what is stored from the start on has the new one."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    world.journal.use_epoch(5)
    world.mail(1)
    world.advance(1.5)
    world.files.broken = errno.EIO
    world.mail(1)
    world.journal.use_epoch(6)
    world.mail(1)
    world.advance(0.3)
    world.crash()
    world.mail(1)
    world.start()
    world.mail(1)
    world.advance(2.0)
    world.assert_exactly_once()
    epochs = {event["id"]: event["config_epoch"] for event in world.lines() if event["type"] == "Reception"}
    assert list(epochs.values()) == [5, 5, 5, 5, 1]


def test_epochs_are_kept_while_records_are_read_back(tmp_path: Path) -> None:
    """A reload while the disk takes no events: each has the epoch in which it was stored."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    world.files.broken = errno.EIO
    for epoch in (2, 3, 4):
        world.mail(300)
        world.advance(0.2)
        world.journal.use_epoch(epoch)
    world.mail(1)
    world.files.broken = None
    world.advance(5.0)
    world.assert_exactly_once()
    epochs = [event["config_epoch"] for event in world.lines() if event["type"] == "Reception"]
    assert epochs == [1] * 300 + [2] * 300 + [3] * 300 + [4]


def test_event_that_cannot_be_made_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and said; those behind it are written, live and read back."""
    world = World(tmp_path)
    impossible = attempt(outcome(Verdict.ACCEPTED, 7), of=world.message("a"))
    world.spool.store(impossible)
    world.mail(1)
    world.start()
    world.advance(0.1)
    assert world.log.counts.dropped == 1
    world.journal.on_stored((impossible,), world.spool.store(impossible))
    world.mail(1)
    world.advance(0.1)
    assert world.log.counts.dropped == 2
    assert world.ids() == world.expected_ids()
    assert "lost" in caplog.text


def test_event_that_cannot_be_encoded_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It alone is left out."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    impossible = msgspec.structs.replace(world.message(), meta={"what": object()})  # type: ignore[dict-item]
    world.mail(1)
    world.journal.on_stored((impossible,), world.spool.store(impossible))
    world.mail(1)
    world.advance(0.1)
    assert world.log.counts.dropped == 1
    assert world.ids() == world.expected_ids()
    assert Ledger(world.directory).report().holds


def test_spool_in_memory_is_followed_without_checkpoints(tmp_path: Path) -> None:
    """There is nothing to read back: what the disk does not take is lost, and counted."""
    world = World(tmp_path)
    world.journal.start(None)
    world.mail(2)
    world.advance(0.1)
    assert world.ids() == world.expected_ids()
    world.files.broken = errno.EIO
    for _ in range(40):
        world.mail(50)
        world.advance(0.2)
    assert world.log.counts.dropped > 0
    world.close()
    assert not checkpoint_of(world).exists()

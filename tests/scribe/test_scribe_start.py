"""What a start makes of an earlier run: of its checkpoint, of none, and of what cannot be made into events."""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from penstock.events import checkpoint
from penstock.events.checkpoint import NAME
from penstock.events.files import log_files
from penstock.events.ledger import Ledger
from penstock.events.record import derive
from penstock.events.survey import ID_LIMIT
from penstock.mail.ports import LogPosition
from penstock.mail.records import Verdict
from penstock.scribe.writing import Writing
from tests.events.samples import attempt, message, outcome

from .world import FakeSpool, World, recover


def run_and_crash(tmp_path: Path, id_limit: int = ID_LIMIT, lanes: Sequence[str] = ("0", "1")) -> World:
    """A process that was killed with a second's worth of events behind its checkpoint."""
    world = World(tmp_path, id_limit=id_limit, lanes=lanes)
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
    world.keep_all()
    checkpoint_of(world).unlink()
    recover(world)
    world.assert_exactly_once()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 500], ids=["empty", "half", "zeros"])
def test_damaged_checkpoint_is_said_and_no_harm(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As a missing one, but somebody should know."""
    world = run_and_crash(tmp_path)
    world.keep_all()
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
    world.keep_all()
    recover(world)
    world.assert_exactly_once()


def test_checkpoint_of_another_spool_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A spool that was put in place of the old one has less than the checkpoint names: all of it is read."""
    world = run_and_crash(tmp_path)
    events = world.ids()
    world.replace_spools()
    for lane in world.spools:
        world.store(world.message(), lane=lane)
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
    world.keep_all()
    for path in world.directory.iterdir():
        path.unlink()
    recover(world)
    world.assert_exactly_once()


@pytest.mark.parametrize("known", [1, 5, 1000])
def test_without_a_checkpoint_the_last_ids_are_enough(tmp_path: Path, known: int) -> None:
    """What comes before the first of them was written then, so memory is bounded."""
    world = run_and_crash(tmp_path, id_limit=known, lanes=("0",))
    world.keep_all()
    checkpoint_of(world).unlink()
    world.mail(3)
    recover(world)
    world.assert_exactly_once()


def test_last_ids_are_none_of_the_spool(tmp_path: Path) -> None:
    """Then all that the spool has is new."""
    world = run_and_crash(tmp_path, id_limit=3)
    old = world.ids()
    world.replace_spools()
    checkpoint_of(world).unlink()
    world.mail(3)
    recover(world)
    assert sorted(world.ids()) == sorted(old + world.expected_ids())


@pytest.mark.parametrize(
    ("is_power_cut", "expected"),
    [(False, [5, 5, 6, 6, 6]), (True, [5, 5, 5, 1, 1])],
    ids=["kill", "power cut"],
)
def test_events_that_are_made_again_name_the_epoch_of_then(
    tmp_path: Path, is_power_cut: bool, expected: list[int]
) -> None:
    """A lane that goes on knows; of one that was stopped too it is what the checkpoint knows."""
    world = World(tmp_path, lanes=("0",))
    world.start()
    world.advance(0.1)
    world.reload(5)
    world.mail(1)
    world.advance(1.5)
    world.files.broken = errno.EIO
    world.mail(1)
    world.reload(6)
    world.mail(1)
    world.advance(0.3)
    world.crash(power=random.Random(1) if is_power_cut else None)
    world.mail(1)
    world.start()
    world.mail(1)
    world.advance(2.0)
    world.assert_exactly_once()
    epochs = {event["id"]: event["config_epoch"] for event in world.lines() if event["type"] == "Reception"}
    assert list(epochs.values()) == expected


def test_epochs_are_kept_while_records_are_read_back(tmp_path: Path) -> None:
    """A reload while the disk takes no events: each has the epoch in which it was stored."""
    world = World(tmp_path)
    world.start()
    world.advance(0.1)
    world.files.broken = errno.EIO
    for epoch in (2, 3, 4):
        world.mail(300)
        world.advance(0.2)
        world.reload(epoch)
    world.mail(1)
    world.files.broken = None
    world.advance(5.0)
    world.assert_exactly_once()
    epochs = [event["config_epoch"] for event in world.lines() if event["type"] == "Reception"]
    # the lanes are read in turns, and one has more to read than the other
    assert sorted(epochs) == [1] * 300 + [2] * 300 + [3] * 300 + [4]


def test_event_that_cannot_be_made_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and said; those behind it are written, live and read back."""
    world = World(tmp_path)
    sent = world.message("a")
    world.store(sent)
    impossible = attempt(outcome(Verdict.ACCEPTED, 7), of=sent)
    world.spool.store(impossible)
    world.mail(1)
    world.start()
    world.advance(0.1)
    assert world.log.counts.dropped == 1
    world.scribe.on_frames(world.attached["0"], world.spool.store(impossible)[0])
    world.mail(1)
    world.advance(0.1)
    assert world.log.counts.dropped == 2
    assert sorted(world.ids()) == sorted(world.expected_ids())
    assert "no event is made" in caplog.text


def test_event_that_cannot_be_encoded_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It alone is left out."""
    world = World(tmp_path)
    writing = Writing(world.log, "mta.example", 1)
    good = derive(message("a"), node="mta.example", epoch=1)
    bad = [msgspec.structs.replace(good[0], meta={"what": object()})]
    writing.write([*good, *bad, *good])
    world.log.flush()
    assert world.log.counts.dropped == 1
    assert len(world.ids()) == 2
    assert writing.totals.total.accepted == 2


def test_lane_that_a_checkpoint_does_not_know_waits_for_one(tmp_path: Path) -> None:
    """A start would not look for its events before: after a crash they would be there twice."""
    world = World(tmp_path)
    world.start()
    world.advance(2.0)
    world.files.saving = errno.ENOSPC
    world.spools["2"] = FakeSpool()
    world.epochs["2"] = [(LogPosition(1, 64), 1)]
    world.attach("2")
    for lane in world.spools:
        world.store(world.message(), lane=lane)
    world.advance(3.0)
    assert len(world.ids()) == 2
    world.files.saving = None
    world.advance(3.0)
    world.assert_exactly_once()
    assert world.spools["2"].written == world.spools["2"].synced


def test_lane_that_is_away_for_long_costs_the_others_nothing(tmp_path: Path) -> None:
    """What of it is written already is kept in the checkpoint: other events need not be looked through again and again."""
    world = run_and_crash(tmp_path)
    world.scribe.open(world.spools)
    world.attach("0")
    for _ in range(3):
        world.mail(2)
        world.advance(1.5)
    first = checkpoint.load(world.files, world.directory)
    assert first is not None
    assert first.known
    assert (world.directory / first.file).stat().st_size == first.offset
    world.crash()
    world.start()
    world.advance(2.0)
    world.assert_exactly_once()
    last = checkpoint.load(world.files, world.directory)
    assert last is not None
    assert not last.known


def test_lane_that_is_gone_for_good_is_forgotten(tmp_path: Path) -> None:
    """Its spool was emptied by another: when there is a lane of that name again, it has a spool of its own."""
    world = World(tmp_path)
    world.start()
    world.mail(4)
    world.advance(2.0)
    world.scribe.forget(world.attached.pop("1"))
    world.advance(2.0)
    found = checkpoint.load(world.files, world.directory)
    assert found is not None
    assert list(found.lanes) == ["0"]
    world.spools["1"] = FakeSpool(salt=99)
    world.epochs["1"] = [(LogPosition(1, 64), 1)]
    world.attach("1")
    world.mail(4)
    world.advance(2.0)
    world.assert_exactly_once()


def test_lane_whose_spool_is_gone_is_forgotten_by_the_next_start(tmp_path: Path) -> None:
    """Nobody was there to be told."""
    world = run_and_crash(tmp_path)
    del world.spools["1"]
    world.start()
    world.advance(2.0)
    found = checkpoint.load(world.files, world.directory)
    assert found is not None
    assert list(found.lanes) == ["0"]
    assert not found.known

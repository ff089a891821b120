"""The directory of the event log in the long run: packed, not too old, not too large; and whole, whenever the power goes."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import msgspec
import pytest

from penstock.events.files import PACKED, log_files
from penstock.events.ledger import Ledger
from penstock.mail.configuration import EventsConfig
from penstock.mail.duration import ByteCount, Seconds
from penstock.scribe.keeping import Keeping

from .disk import PowerCut
from .world import World

LARGE = EventsConfig(retention=Seconds(1e6), max_total_size=ByteCount(1 << 40))


def keeping(world: World, config: EventsConfig = LARGE) -> Keeping:
    """Begin to keep the files of a world."""
    found = Keeping(world.log, config, lambda: world.scribe.saved_file, world, world._aside)
    found.start()
    return found


def busy(tmp_path: Path, cut_at: int | None = None, size: int = 8192, rounds: int = 6) -> World:
    """A scribe that has filled several files."""
    world = World(tmp_path, max_file_size=size, cut_at=cut_at)
    world.start()
    for _ in range(rounds):
        world.mail(4)
        world.advance(1.5)
    return world


def plain(world: World) -> int:
    """How many files are not packed."""
    return sum(path.suffix != PACKED for path in log_files(world.directory))


def test_finished_files_are_packed(tmp_path: Path) -> None:
    """One after the other, but for the one that is written, and what a start would look at; nothing of the accounting changes."""
    world = busy(tmp_path)
    files = len(log_files(world.directory))
    assert plain(world) == files > 4
    kept = keeping(world)
    world.advance(20.0)
    assert plain(world) == 1
    assert kept.packed == files - 1
    world.mail(2)
    world.advance(2.0)
    world.close()
    world.assert_exactly_once()


def test_files_before_the_first_checkpoint_are_left_alone(tmp_path: Path) -> None:
    """Nobody knows yet what of them is on stable storage."""
    world = World(tmp_path, max_file_size=8192)
    world.files.saving = errno.EIO
    world.start()
    keeping(world)
    for _ in range(6):
        world.mail(4)
        world.advance(5.0)
    assert plain(world) == len(log_files(world.directory))


def test_old_files_go_and_the_sums_go_on(tmp_path: Path) -> None:
    """What they held is in what the next one opens with."""
    world = busy(tmp_path)
    before = Ledger(world.directory).report()
    kept = keeping(world, msgspec.structs.replace(LARGE, retention=Seconds(5.0)))
    world.advance(20.0)
    assert kept.removed > 2
    after = Ledger(world.directory).report()
    assert after.holds
    assert after.totals == before.totals
    assert after.events < before.events


def test_oldest_files_go_when_there_is_too_much(tmp_path: Path) -> None:
    """However young."""
    world = busy(tmp_path)
    kept = keeping(world, msgspec.structs.replace(LARGE, max_total_size=ByteCount(20_000)))
    world.advance(20.0)
    assert kept.removed > 0
    assert sum(path.stat().st_size for path in log_files(world.directory)) <= 20_000
    assert Ledger(world.directory).report().holds


def test_disk_that_is_full_is_told_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not all the time."""
    world = busy(tmp_path)
    world.files.room = 0
    kept = keeping(world)
    world.advance(50.0)
    assert kept.packed == 0
    assert caplog.text.count("cannot be kept") == 1
    world.files.room = None
    world.advance(70.0)
    assert kept.packed > 0
    assert plain(world) == 1


def test_configuration_can_change(tmp_path: Path) -> None:
    """From the next look on."""
    world = busy(tmp_path)
    kept = keeping(world)
    kept.use(msgspec.structs.replace(LARGE, retention=Seconds(1.0)))
    world.advance(20.0)
    assert kept.removed > 2


@pytest.mark.parametrize("is_power_cut", [False, True], ids=["kill", "power cut"])
def test_crash_at_any_operation(tmp_path: Path, is_power_cut: bool) -> None:
    """While files are packed and removed: each event is there once, and the next start goes on with it."""
    old = msgspec.structs.replace(LARGE, retention=Seconds(12.0))
    whole = busy(tmp_path / "whole", size=14_000, rounds=3)
    first = whole.files.operations
    kept = keeping(whole, old)
    whole.advance(30.0)
    assert kept.packed >= 1
    assert kept.removed >= 2
    for cut_at in range(first, whole.files.operations):
        world = busy(tmp_path / str(cut_at), cut_at, size=14_000, rounds=3)
        keeping(world, old)
        with pytest.raises(PowerCut):
            world.advance(30.0)
        world.crash(power=random.Random(cut_at) if is_power_cut else None)
        there = Ledger(world.directory).report()
        assert there.holds
        assert there.totals == Ledger(whole.directory).report().totals
        world.start()
        keeping(world, old)
        world.mail(1)
        world.advance(30.0)
        assert Ledger(world.directory).report().holds
        assert not list(world.directory.glob("*.zst.new"))

"""A crash at any operation on the event log's files: afterwards every event is there once, and the sums of the files are right."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.mail.ports import LogPosition

from .disk import PowerCut
from .world import FakeSpool, World, recover


def story(world: World) -> None:
    """Mail with several checkpoints, files that are full, lanes that come and go, many frames at once, and an end in order."""
    world.start()
    world.advance(0.1)
    for _ in range(3):
        world.mail(2)
        world.advance(0.7)
    world.restart_lane("1")
    world.mail(2)
    world.advance(0.2)
    world.attach("1")
    world.spools.setdefault("2", FakeSpool())
    world.epochs.setdefault("2", [(LogPosition(1, 64), 1)])
    world.attach("2")
    world.mail(2)
    for lane in ("0", "1", "2"):
        world.store(*[world.message("a") for _ in range(20)], lane=lane)
    world.advance(0.06)
    world.mail(1)
    world.advance(1.5)
    world.close()


def operations(directory: Path) -> int:
    """How many there are in the story."""
    world = World(directory, max_file_size=15_000)
    story(world)
    world.assert_exactly_once()
    world.assert_queued()
    return world.files.operations


@pytest.mark.parametrize("is_power_cut", [False, True], ids=["kill", "power cut"])
def test_crash_at_any_operation(tmp_path: Path, is_power_cut: bool) -> None:
    """Wherever the process or the machine stops: no event is missing, none is there twice."""
    for cut_at in range(operations(tmp_path / "whole")):
        chance = random.Random(cut_at) if is_power_cut else None
        world = World(tmp_path / str(cut_at), cut_at=cut_at, max_file_size=15_000)
        with pytest.raises(PowerCut):
            story(world)
        world.crash(power=chance)
        recover(world)
        world.assert_exactly_once()
        world.assert_queued()


@pytest.mark.parametrize("seed", range(25))
def test_crash_after_crash(tmp_path: Path, seed: int) -> None:
    """Several in a row, also while what is missing is read back."""
    chance = random.Random(seed)
    world = World(tmp_path, cut_at=chance.randrange(60), max_file_size=15_000)
    with suppress(PowerCut):
        story(world)
    for _ in range(4):
        world.crash(power=chance if chance.random() < 0.7 else None, cut_at=chance.randrange(30))
        with suppress(PowerCut):
            recover(world)
    world.crash(power=chance)
    recover(world)
    world.assert_exactly_once()
    world.assert_queued()

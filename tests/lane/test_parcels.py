"""Large contents between lanes: whole, or not at all, whatever is at the name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.lane import parcels
from penstock.mail.ports import SpoolError
from penstock.mail.records import MessageRecord
from penstock.spool import passing
from penstock.spool.codec import Body
from penstock.spool.decoding import Transaction
from penstock.spool.frame import VERSION

from .lanes import records

CONTENT = bytes(range(256)) * 2000
NAME = parcels.name_of("0", 0xABC, 1)


def transaction(body: Body, given: list[MessageRecord]) -> Transaction:
    """What travels beside the file."""
    return passing.taken_over(b"".join(passing.encoded(given, body)), VERSION)


def test_a_content_arrives_whole_and_leaves_nothing(tmp_path: Path) -> None:
    """All messages of the transaction share it."""
    given = records(1, CONTENT, parts=3)
    body = parcels.pack(tmp_path, NAME, CONTENT)
    assert parcels.path_of(tmp_path, NAME).stat().st_mode & 0o777 == 0o600
    found = parcels.unpack(tmp_path, transaction(body, given))
    assert found == given
    assert len({id(record.content) for record in found}) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["gone", "cut", "longer", "other octets", "a link", "a folder", "a pipe"])
def test_what_is_not_what_was_packed_is_not_taken(change: str, tmp_path: Path) -> None:
    """Nothing waits for it, and nothing outside of the folder is read or removed."""
    given = records(1, CONTENT)
    body = parcels.pack(tmp_path, NAME, CONTENT)
    path = parcels.path_of(tmp_path, NAME)
    aside = tmp_path / "aside"
    match change:
        case "cut":
            os.truncate(path, len(CONTENT) - 1)
        case "longer":
            path.write_bytes(CONTENT + b"x")
        case "other octets":
            path.write_bytes(CONTENT[::-1])
        case "a link":
            path.rename(aside)
            path.symlink_to(aside)
        case _:
            path.unlink()
    if change == "a folder":
        path.mkdir()
    elif change == "a pipe":
        os.mkfifo(path)
    with pytest.raises(SpoolError):
        parcels.unpack(tmp_path, transaction(body, given))
    assert aside.exists() == (change == "a link")


def test_a_parcel_that_cannot_be_packed_leaves_nothing(tmp_path: Path) -> None:
    """There may be no room, or something of that name."""
    parcels.pack(tmp_path, NAME, CONTENT)
    with pytest.raises(FileExistsError):
        parcels.pack(tmp_path, NAME, b"other")
    assert parcels.path_of(tmp_path, NAME).read_bytes() == CONTENT
    with pytest.raises(FileNotFoundError):
        parcels.pack(tmp_path / "nowhere", NAME, CONTENT)


def test_a_lane_removes_what_its_life_before_has_left(tmp_path: Path) -> None:
    """And nothing of others, whatever they are called."""
    folder = tmp_path / "run" / "parcels"
    parcels.clear(folder, "a")
    assert folder.stat().st_mode & 0o777 == 0o700
    kept = [parcels.name_of(lane, 1, 2) for lane in ("a--b", "a--1-2", "b", "aa", "0")]
    for name in [*kept, parcels.name_of("a", 7, 8), parcels.name_of("a", 0, 0xFF)]:
        parcels.pack(folder, name, b"x")
    parcels.clear(folder, "a")
    assert sorted(path.stem for path in folder.iterdir()) == sorted(kept)


@pytest.mark.parametrize("lane", ["0", "9999", "storm", "a" * 32])
def test_every_lane_can_name_its_parcels(lane: str, tmp_path: Path) -> None:
    """A name keeps within what a frame may have."""
    parcels.pack(tmp_path, parcels.name_of(lane, 2**32 - 1, 2**40), b"x")

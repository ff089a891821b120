"""Time zones by name."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
from importlib.resources import files

import pytest

from penstock.net.zones import zone_of


def test_a_zone_has_the_offsets_of_its_place() -> None:
    """Summer and winter."""
    vienna = zone_of("Europe/Vienna")
    offsets = [dt.datetime(2026, month, 1, tzinfo=vienna).utcoffset() for month in (1, 7)]
    assert offsets == [dt.timedelta(hours=1), dt.timedelta(hours=2)]


@pytest.mark.parametrize(
    "name",
    [
        "", "Europe", "Europe/Atlantis", "../../../etc/passwd", "/etc/localtime", "Europe/../Europe/Vienna", "europe/vienna\0",
        "zone.tab", "X" * 5000, "tzdata.zi", "leapseconds", "Europe/Vienna/x/y",
    ],
)  # fmt: skip
def test_what_is_no_zone_is_none(name: str) -> None:
    """Folders, other files of the database, paths that lead out of it: never an exception."""
    assert zone_of(name) is None


def test_zones_come_with_the_package() -> None:
    """On a machine without the system's files, tzdata has them."""
    assert "tzdata" in {
        requirement.split(">")[0] for requirement in importlib.metadata.requires("penstock") or ()
    }
    assert (files("tzdata") / "zoneinfo" / "America" / "Phoenix").is_file()

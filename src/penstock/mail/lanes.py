"""Lanes and their names. General lanes are numbered, "0", "1" and so on; dedicated ones are named by the operator, with a letter in front."""

from __future__ import annotations

import re
from typing import Final

import msgspec

#: A name is part of a Unix socket's path, of which there is little.
LANE_NAME_LIMIT: Final = 32
_DEDICATED = re.compile(rf"[a-z][a-z0-9-]{{0,{LANE_NAME_LIMIT - 1}}}", re.ASCII)
#: What a spool's folders are called, and a spool of an earlier version had beside those of lanes.
_RESERVED: Final = frozenset({"segments", "bodies", "quarantine", "lock", "scribe"})
_GENERAL = re.compile(r"0|[1-9][0-9]{0,3}", re.ASCII)


def is_lane_name(name: str) -> bool:
    """Whether a dedicated lane may be called so."""
    return _DEDICATED.fullmatch(name) is not None and name not in _RESERVED


def is_general(name: str) -> bool:
    """Whether this is the name of a general lane."""
    return _GENERAL.fullmatch(name) is not None


def general_lanes(workers: int) -> tuple[str, ...]:
    """The names of so many general lanes."""
    return tuple(map(str, range(workers)))


class Assignment(msgspec.Struct, frozen=True):
    """Which lane a process is, beside which others. ``table`` are the homes of sites that are settled, by site.

    ``orphans`` are lanes that there are no more, and whose mail this process moves to its own lane.
    """

    lane: str
    general: tuple[str, ...]
    dedicated: tuple[str, ...] = ()
    table: dict[str, str] = {}
    orphans: tuple[str, ...] = ()

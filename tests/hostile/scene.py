"""A row that is no dialogue: something to do to a running server, or to a part of one, and what must come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

#: Gets a directory of its own; gives everything that went wrong.
Play = Callable[[Path], Awaitable[list[str]]]


class Scene(msgspec.Struct, frozen=True):
    """One row. ``code`` is unique among rows of all kinds."""

    code: str
    what: str
    play: Play

    @property
    def group(self) -> str:
        """The list's code."""
        return self.code.partition("-")[0]


def unless(holds: bool, fault: str) -> list[str]:
    """The fault, unless something holds."""
    return [] if holds else [fault]

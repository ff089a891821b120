"""Sums of who takes how much of the server: each lane is told what is taken of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.ipc.door_words import LaneDoorsTell, Takings
from penstock.shaping.shares import sums

#: Seconds within which what lanes say is told together.
_DELAY: Final = 0.05

Tell = Callable[[msgspec.Struct], None]
NOTHING: Final = Takings()


class DoorSums:
    """The lanes that are there, and what each said last. Made on a running loop, or with ``call_later`` of something else."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], object] | None = None) -> None:
        self._call_later = call_later or asyncio.get_running_loop().call_later
        self._here: dict[str, Takings] = {}
        self._tells: dict[str, Tell] = {}
        self._told: dict[str, Takings] = {}
        self._is_due = False

    def join(self, lane: str, tell: Tell) -> None:
        """A lane is there; ``tell`` tells it something."""
        self._tells[lane] = tell
        self._here[lane] = self._told[lane] = NOTHING
        self._change()

    def leave(self, lane: str) -> None:
        """It is gone, and takes nothing."""
        if self._tells.pop(lane, None) is not None:
            del self._here[lane], self._told[lane]
            self._change()

    def hear(self, lane: str, here: Takings) -> None:
        """A lane says what is taken of it."""
        if lane in self._tells:
            self._here[lane] = here
            self._change()

    def _change(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._call_later(_DELAY, self._tell_all)

    def _tell_all(self) -> None:
        self._is_due = False
        for lane, tell in self._tells.items():
            elsewhere = total([here for other, here in self._here.items() if other != lane])
            if elsewhere != self._told[lane]:
                self._told[lane] = elsewhere
                tell(LaneDoorsTell(elsewhere))


def total(parts: list[Takings]) -> Takings:
    """What is taken in all of these."""
    return Takings(*(sums([getattr(part, name) for part in parts]) for name in Takings.__struct_fields__))

"""Why something does not move, as the scheduler remembers it. ``explain`` makes whole reasons of it."""

from __future__ import annotations

import math

import msgspec

from penstock.queueing.instants import instant_of
from penstock.shaping.ports import Held


class Hold(msgspec.Struct, frozen=True):
    """A gate's name, its reason in words, since when and until when (microseconds; 0: not known)."""

    gate: str
    reason: str
    since: int
    until: int


def until(held: Held) -> int:
    """The instant that a rate's answer names, 0 for none."""
    return instant_of(held.until) if held.until < math.inf else 0

"""What may hold mail back for its rate, as one interface: in the lane alone, or shared by the lanes of a host."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from penstock.mail.configuration import Limit
from penstock.mail.rate import Rate


class HeldBy(Enum):
    """What a token or a unit is waited for."""

    RATE = "rate"
    COUNT = "count"
    BROKER = "broker"


class Held(NamedTuple):
    """Not now. ``until`` is when it may be possible, in monotonic time; infinity if that depends on others than time."""

    by: HeldBy
    until: float


class Rates(Protocol):
    """Rates by which something may happen. Whoever was refused, or would have been, is told when to ask again, by the key.

    ``now`` and ``until`` are of one clock, which only goes forward. Of several limits, no two have one key.
    """

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """Let one event happen now: None if it may, and then it counts."""

    def take_all(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """Let one event happen now that counts for several limits: None if it may. Else nothing is counted, and this is the first that holds it,
        by its place in ``limits``, and how.
        """

    def check(self, limits: Sequence[Limit], now: float) -> tuple[int, Held] | None:
        """What ``take_all`` would answer; nothing is counted."""

    def room(self, limit: Limit, now: float) -> int:
        """How many events may happen now, as far as that is known here; nothing is counted, and nobody is told of anything."""

    def is_lent(self, limit: Limit) -> bool:
        """Whether others use its tokens too, and lend them when they are asked for: to have no ``room`` here then says nothing."""

    def give_back(self, limit: Limit, taken: float, now: float) -> None:
        """An event that was let happen at ``taken`` has not: it counts no more, as far as that can still be known."""

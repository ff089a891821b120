"""What may hold mail back for its rate, as one interface: in the lane alone, or shared by the lanes of a host."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

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
    """Rates by which something may happen. Whoever was refused is told when to ask again, by the key."""

    def take(self, key: str, rate: Rate, now: float) -> Held | None:
        """Let one event happen now: None if it may, and then it counts. ``key`` names the limit, the same in all lanes."""

    def take_all(self, asked: Sequence[tuple[str, Rate]], now: float) -> tuple[int, Held] | None:
        """Let one event happen now that counts for several limits: None if it may. Else nothing is counted, and this is the first that holds it,
        by its place in ``asked``, and how.
        """

    def give_back(self, key: str, rate: Rate, now: float) -> None:
        """An event that was let happen, by ``take`` or ``take_all``, has not: it counts no more, as far as that can still be known."""

"""What may hold mail back for its rate, as one interface: in the lane alone, or shared by the lanes of a host."""

from __future__ import annotations

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

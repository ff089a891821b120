"""How much memory mail on its way in may take, over all sessions of a process.

Below the limit nothing is said. Above it new transactions are refused (452), and mail data that is still coming in is dropped and refused at
its end, so that memory is free again before anything else has to give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.mail.reply import reply

OVER_LIMIT: Final = reply(452, "4.3.1", "not enough memory for another message now; try again later")
#: New transactions are refused from this share of the limit on: what is under way can be finished.
_SOFT_SHARE: Final = 0.8


class Budget:
    """Octets in use: those that sessions have reported, and those that ``stored`` says are kept elsewhere in memory."""

    __slots__ = ("_limit", "_stored", "used")

    def __init__(self, limit: int, stored: Callable[[], int]) -> None:
        self._limit = limit
        self._stored = stored
        self.used = 0

    def has_room(self) -> bool:
        """Whether a transaction may begin."""
        return self.used + self._stored() < self._limit * _SOFT_SHARE

    def is_exceeded(self) -> bool:
        """Whether what is coming in must be dropped."""
        return self.used + self._stored() > self._limit

"""Messages that go to and fro between lanes that do not agree on their home: each time that one comes back it has to wait longer.

Lanes agree but for a moment, while one goes by another epoch than the other, or while they have different answers about a domain's MX hosts.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ids import MessageId
from penstock.mail.ports import Clock

#: Messages that are remembered; of more, the oldest are forgotten.
_REMEMBERED: Final = 10_000
_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 300.0


class Wanderers:
    """What has come to this lane from others of late."""

    __slots__ = ("_clock", "_seen")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: how often, and when last
        self._seen: dict[MessageId, tuple[int, MonotonicTime]] = {}

    def came(self, message: MessageId) -> None:
        """It has come from another lane."""
        times, _ = self._seen.pop(message, (0, MonotonicTime(0.0)))
        self._seen[message] = (times + 1, self._clock.monotonic())
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def pause(self, message: MessageId) -> Seconds:
        """How long it has to wait before it may go on: not at all, if it has come no more than once."""
        times, last = self._seen.get(message, (0, MonotonicTime(0.0)))
        if times < 2:
            return Seconds(0.0)
        pause = min(_FIRST_PAUSE * 2.0 ** min(times - 2, 10), _LAST_PAUSE)
        return Seconds(max(0.0, last + pause - self._clock.monotonic()))

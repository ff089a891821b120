"""Ids of messages: 32 hexadecimal digits, in the order of time.

Layout (as UUID version 7, RFC 9562 5.7): 48 bits of milliseconds, version, then bits that are this process's own and a counter.
Ids of one source only go up: in one millisecond, or while the clock is behind what it said before, the counter goes on (RFC 9562 6.2).
"""

from __future__ import annotations

from typing import Final, NewType

from penstock.mail.duration import WallTime

MessageId = NewType("MessageId", str)
SessionId = NewType("SessionId", str)

_COUNTER_LIMIT: Final = 1 << 32
#: The last millisecond that 48 bits hold, in the year 10889.
_LAST: Final = (1 << 48) - 1


class IdSource:
    """Makes ids. ``draw`` is at least 42 random bits, drawn once for the process."""

    __slots__ = ("_counter", "_milliseconds", "_node")

    def __init__(self, draw: int) -> None:
        self._milliseconds = 0
        self._counter = 0
        high, low = draw & 0xFFF, (draw >> 12) & ((1 << 30) - 1)
        # version 7 and 12 bits; variant 10 and 30 bits: 0x8... to 0xb...
        self._node = f"7{high:03x}{(0b10 << 30) | low:08x}"

    def next(self, now: WallTime) -> MessageId:  # hot: throughput
        """An id above all that this source gave before, and never given by another with different bits."""
        milliseconds = min(int(now * 1000), _LAST)
        if milliseconds > self._milliseconds:
            self._milliseconds, self._counter = milliseconds, 0
        else:
            self._counter += 1
            if self._counter == _COUNTER_LIMIT:
                self._milliseconds, self._counter = self._milliseconds + 1, 0
        return MessageId(f"{self._milliseconds:012x}{self._node}{self._counter:08x}")

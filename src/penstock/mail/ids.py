"""Ids of messages: 32 hexadecimal digits, in the order of time.

Layout (as UUID version 7, RFC 9562 5.7): 48 bits of milliseconds, version, then bits that are this process's own and a counter.
A clock that jumps back, or two ids in one millisecond, never repeat an id: the counter goes on, and the process's bits are drawn at its start.
"""

from __future__ import annotations

from typing import NewType

from penstock.mail.duration import WallTime

MessageId = NewType("MessageId", str)
SessionId = NewType("SessionId", str)

_COUNTER_MASK = (1 << 32) - 1


class IdSource:
    """Makes ids. ``draw`` is at least 42 random bits, drawn once for the process."""

    __slots__ = ("_counter", "_high", "_low", "_node")

    def __init__(self, draw: int) -> None:
        self._counter = 0
        self._high = draw & 0xFFF
        self._low = (draw >> 12) & ((1 << 30) - 1)
        # version 7 and 12 bits; variant 10 and 30 bits: 0x8... to 0xb...
        self._node = f"7{self._high:03x}{(0b10 << 30) | self._low:08x}"

    def next(self, now: WallTime) -> MessageId:
        """An id that was never given before by this source, and by no other with different bits."""
        self._counter = (self._counter + 1) & _COUNTER_MASK
        return MessageId(f"{int(now * 1000) & 0xFFFFFFFFFFFF:012x}{self._node}{self._counter:08x}")

"""The real clock (``penstock.mail.ports.Clock``).

Wall time is the system's as it was at the start, plus what the monotonic clock has counted since. A step of the system clock therefore never
moves it, back or forth; slewing (NTP's usual way) moves both clocks alike. A system clock that was wrong at the start stays wrong until a
restart: so start after the clock has been set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.mail.duration import MonotonicTime, WallTime


class SystemClock:
    """Time. ``monotonic`` is the clock that asyncio's and uvloop's own ``loop.time()`` reads."""

    __slots__ = ("_beginning", "_monotonic")

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._beginning = wall() - monotonic()

    def wall(self) -> WallTime:
        """Seconds since 1970, UTC."""
        return WallTime(self._beginning + self._monotonic())

    def monotonic(self) -> MonotonicTime:
        """Seconds that only go forward."""
        return MonotonicTime(self._monotonic())

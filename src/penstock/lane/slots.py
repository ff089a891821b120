"""Who may begin a connection: over all paths no more than a limit, and nobody while that is held; the others wait, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from penstock.queueing.queues import Path

#: Connections that are begun in one turn of the loop.
_AT_ONCE: Final = 100


class Slots:
    """``begin`` is called with each path whose turn it is: a slot is taken from then on, until ``free``."""

    __slots__ = ("_begin", "_is_closed", "_is_held", "_limit", "_loop", "_taken", "_waiting")

    def __init__(self, limit: int, begin: Callable[[Path], None]) -> None:
        self._limit = limit
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Path] = deque()
        self._taken = 0
        self._is_held = False
        self._is_closed = False

    def take(self, path: Path) -> None:
        """A connection is wanted: now, or when its turn comes; never, once this is closed."""
        if self._is_closed:
            return
        if self._has_room:
            self._use(path)
        else:
            self._waiting.append(path)

    def free(self) -> None:
        """A connection has ended, or has not come about."""
        self._taken -= 1
        self._serve()

    def hold(self) -> None:
        """Begin none until ``release``."""
        self._is_held = True

    def release(self) -> None:
        """Go on, with as many as may be; those who wait come in slices."""
        self._is_held = False
        self._serve()

    def close(self) -> None:
        """Begin none any more."""
        self._is_closed = True
        self._waiting.clear()

    @property
    def _has_room(self) -> bool:
        return self._taken < self._limit and not self._is_held

    def _use(self, path: Path) -> None:
        self._taken += 1
        self._begin(path)

    def _serve(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._waiting or not self._has_room:
                return
            self._use(self._waiting.popleft())
        self._loop.call_soon(self._serve)

"""What the spool asks of the event loop: to be called later. asyncio's loops have it; tests bring one without time of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Handle(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Loop(Protocol):
    """A part of ``asyncio.AbstractEventLoop``."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Handle:
        """Call it in the next round of the loop."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Handle:
        """Call it after ``delay`` seconds."""

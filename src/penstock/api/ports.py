"""What the endpoints ask of the server they speak for."""

from __future__ import annotations

from typing import Protocol

from penstock.mail.status import Snapshot, Status


class Liveness(Protocol):
    """Tells whether the server is live."""

    def fault(self) -> str | None:
        """Why the server is not live, in words fit for anyone; None while it is. Asked often, so it must cost next to nothing."""


class StatusSource(Protocol):
    """Tells how the server is."""

    async def status(self) -> Status:
        """The state for people, now."""


class MetricsSource(Protocol):
    """Gives the numbers behind the metrics."""

    async def snapshot(self) -> Snapshot:
        """The numbers, now."""

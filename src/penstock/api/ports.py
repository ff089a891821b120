"""What the endpoints ask of the server they speak for."""

from __future__ import annotations

from typing import Protocol

from penstock.mail.control import (
    DirectiveRequest,
    Explained,
    Given,
    Listing,
    MessageRequest,
    ShownMessage,
    Surveyed,
    SurveyRequest,
    SweepRequest,
)
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


class ControlDesk(Protocol):
    """Gives orders about queued mail, and answers questions about it. ControlRefused from each; ControlMissing for what there is not.

    ``author`` is who asks, "" where nobody knows. Answers come within some seconds, and name the lanes that did not answer.
    """

    def orders(self) -> Listing:
        """Directives in force, and sweeps."""

    async def give(self, request: DirectiveRequest, author: str) -> Given:
        """Put a directive in force, in all lanes."""

    async def sweep(self, request: SweepRequest, author: str) -> Given:
        """Begin a sweep, in all lanes."""

    async def cancel(self, identity: str, author: str) -> Given:
        """Undo the directive or the sweep with this id."""

    async def survey(self, request: SurveyRequest) -> Surveyed:
        """Count queued mail."""

    async def explain_queue(self, name: str) -> Explained:
        """Why the mail of a queue does not move, or could."""

    async def explain_message(self, identity: str) -> Explained:
        """Why a message does not move, or could."""

    async def message(self, identity: str) -> ShownMessage:
        """A queued message."""

    async def content(self, identity: str, offset: int) -> bytes:
        """Octets of a queued message from ``offset`` on; none where it ends."""

    async def order(self, request: MessageRequest, author: str) -> ShownMessage:
        """Do something to a queued message; it as it was before."""

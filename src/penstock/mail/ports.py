"""What the core and the shells ask of the world, as interfaces: time, chance, and the spool. Adapters own the real ones, tests bring fakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    NoteRecord,
    StoredMessage,
)

#: A uniform random number in [0, 1).
Draw = Callable[[], float]


class Clock(Protocol):
    """Time. ``wall`` follows the monotonic clock from a reading of the system's, so that a step of the system clock never moves it back."""

    def wall(self) -> WallTime:
        """Seconds since 1970, UTC."""

    def monotonic(self) -> MonotonicTime:
        """Seconds that only go forward; the event loop's own clock."""


class SpoolError(Exception):
    """The spool could not store or read. What it was asked to store is not stored and will never be delivered."""


class Spool(Protocol):
    """Where accepted mail lives until its last recipient is settled.

    Positions are opaque numbers, unique among the live messages of one spool.
    """

    def append(self, record: MessageRecord) -> int:
        """Write a message and return its position. It is stored when a ``commit`` asked for after this call reports success."""

    def commit(self, done: Callable[[SpoolError | None], None]) -> None:
        """Call ``done`` once everything appended so far is stored (None) or is not and never will be (the fault)."""

    def record_attempt(self, position: int, record: AttemptRecord) -> None:
        """Write the outcomes of an attempt. Recipients Accepted or Failed are settled; after the last one the position is free."""

    def record_expiration(self, position: int, record: ExpirationRecord) -> None:
        """Write that these recipients were given up; after the last recipient the position is free."""

    def note(self, record: NoteRecord) -> None:
        """Write down what is no message, so that an event is made of it."""

    def read(self, position: int) -> StoredMessage:
        """The message at ``position``, its settled recipients left out of ``waiting``; SpoolError if it cannot be read."""

    def __len__(self) -> int:
        """How many messages are stored."""

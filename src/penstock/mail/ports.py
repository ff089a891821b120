"""What the core and the shells ask of the world, as interfaces: time, chance, and the spool. Adapters own the real ones, tests bring fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    NoteRecord,
    RebindRecord,
    RemovalRecord,
    SpoolRecord,
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


class SpoolUncertain(SpoolError):
    """Nobody knows whether it is stored: neither may be said. Whoever asked gets no answer, and their connection is closed."""


class Unreadable(SpoolError):
    """A stored message is damaged for good. The spool has settled all of it with a QuarantineRecord: it is out of the queue."""


#: Told the positions of the messages of a transaction once they are stored; or none, and why not.
StoreDone = Callable[[Sequence[int], SpoolError | None], None]
#: Told the message that was asked for, or why it cannot be read: Unreadable for good, SpoolError for now.
Fetched = Callable[[StoredMessage | SpoolError], None]


#: Told the position of the message that was looked for, None if it is not queued; or why nobody can say.
Found = Callable[[int | SpoolError | None], None]


class Spool(Protocol):
    """Where accepted mail lives until its last recipient is settled.

    Positions are opaque numbers, unique among the live messages of one spool. Records are put in order; those that are no
    message of a transaction that failed are never lost, but may be written twice.
    """

    def store(self, records: Sequence[MessageRecord], done: StoreDone, encoded: bytes | None = None) -> None:
        """Store the messages of one transaction, all or none; they have one content and one reception.

        ``encoded`` is the same as another lane's spool has it (``penstock.spool.passing``): it is written as it is.

        ``done`` is called once: with their positions when they are stored; with SpoolError when they are not and never will be; with
        SpoolUncertain. It may be called before this returns. SpoolError, and no call, where it is known at once.
        """

    def record_attempt(self, position: int, record: AttemptRecord) -> None:
        """Write the outcomes of an attempt. Recipients Accepted or Failed are settled; after the last one the position is free."""

    def record_expiration(self, position: int, record: ExpirationRecord) -> None:
        """Write that these recipients were given up; after the last recipient the position is free."""

    def record_removal(self, position: int, record: RemovalRecord) -> None:
        """Write that these recipients were taken out of the queue by an order; after the last recipient the position is free."""

    def record_rebind(self, position: int, record: RebindRecord) -> None:
        """Write that the message is in another queue from now on, and when it is due: ``get`` and ``fetch`` give it with that queue."""

    def record_flush(self, position: int, record: FlushRecord) -> None:
        """Write that the message is due by an order."""

    def note(self, record: NoteRecord) -> None:
        """Write down what is no message, so that an event is made of it. While nothing can be written, some are dropped and counted."""

    def get(self, position: int) -> StoredMessage | None:
        """The message at ``position``, its settled recipients left out of ``waiting``; None if it is to be fetched from a disk.

        SpoolError as of ``Fetched``, also if nothing is stored there.
        """

    def fetch(self, position: int, done: Fetched) -> None:
        """Read the message at ``position``, and call ``done`` later, never from inside this call."""

    def find(self, message_id: str, done: Found) -> None:
        """Look for a queued message by its id, and call ``done`` later, never from inside this call. One that is held is not found.

        Nothing waits for it, and it takes a moment: what it finds may be settled by the time that it is asked for.
        """

    def has_room(self) -> bool:
        """Whether a transaction may begin: False while new mail would not be stored, for want of space or because of a fault."""

    def can_record(self) -> bool:
        """Whether outcomes can be recorded. While they cannot, nothing is to be delivered: it might be delivered again."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever ``has_room`` or ``can_record`` have another answer."""

    @property
    def held_bytes(self) -> int:
        """Memory that messages take, in octets."""

    def __len__(self) -> int:
        """How many messages are stored, or are being stored."""


class LogPosition(NamedTuple):
    """A place in the spool's log: everything before it, in this segment and in those with lower numbers. Orders as the log does."""

    segment: int
    offset: int


#: Told of records in the order of the log as they are known to be stored, and the place behind them.
OnStored = Callable[[Sequence[SpoolRecord], LogPosition], None]

"""Frames on their way to the log, and who is told what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from penstock.mail.duration import Seconds
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import SpoolRecord
from penstock.spool.codec import Payload
from penstock.spool.frame import Place

#: Told that a frame is on stable storage (None), or that it is not, or that nobody knows.
EntryDone = Callable[[SpoolError | None], None]


class Entry:
    """A frame on its way. With ``done`` it is all or nothing, and its owner is told; without it is repeated until it is stored.

    ``records`` are what it tells. One that is about a message is ``made`` anew of its first record if its ``place`` turns out to be none.
    ``after`` is what may be done once this is stored.
    """

    __slots__ = ("after", "done", "made", "offset", "payload", "place", "records", "segment")

    def __init__(
        self,
        payload: Payload,
        records: Sequence[SpoolRecord] = (),
        done: EntryDone | None = None,
        place: Place | None = None,
        made: Callable[[Any, Place], Payload] | None = None,
    ) -> None:
        self.payload = payload
        self.records = records
        self.done = done
        self.place = place
        self.made = made
        self.after: Callable[[], None] | None = None
        self.segment = 0
        self.offset = 0


class Owner(Protocol):
    """Who is told what becomes of the log."""

    def on_stored(self, entries: Sequence[Entry], position: LogPosition) -> None:
        """These are on stable storage, with all before the position; in the order of the log."""

    def on_synced(self, seconds: Seconds) -> None:
        """A sync has succeeded, and took so long."""

    def on_fault(self, fault: str | None) -> None:
        """Nothing can be written, and why; or it can again (None)."""

    def restored_place(self, place: Place) -> Place:
        """Where the message is that was going to be at ``place``, which does not count any more."""


class Follower(Protocol):
    """Who wants to know of frames, not of what they mean."""

    def on_stored(self, entries: Sequence[Entry], position: LogPosition) -> None:
        """These are on stable storage, with all before the position; in the order of the log. They are read at once."""

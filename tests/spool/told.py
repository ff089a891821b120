"""A spool that answers when a test says so, and what the test says: the fake for those who wait for a spool."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.mail.ports import Fetched, OnStored, SpoolError, StoreDone
from penstock.mail.records import MessageRecord, StoredMessage
from penstock.spool.memory import MemorySpool


class ToldSpool(MemorySpool):
    """A spool in memory until it is told otherwise.

    ``is_slow``: transactions wait in ``stores`` for ``answer_store``. ``is_cold``: messages have to be fetched, and wait in ``fetches``, positions
    in order, for ``answer_fetch``. ``broken`` raises at once from ``store``. ``bad`` positions cannot be read, ``get`` says.
    """

    def __init__(self, on_stored: OnStored) -> None:
        super().__init__(on_stored)
        self.is_slow = False
        self.is_cold = False
        self.broken: SpoolError | None = None
        self.bad: dict[int, SpoolError] = {}
        self.stores: list[tuple[Sequence[MessageRecord], StoreDone]] = []
        self.fetches: list[int] = []
        #: every position that was asked for
        self.fetched: list[int] = []
        self._waiting: list[tuple[int, Fetched]] = []
        self._has_room = True
        self._can_record = True
        self._watchers: list[Callable[[], None]] = []

    def store(self, records: Sequence[MessageRecord], done: StoreDone, encoded: bytes | None = None) -> None:
        """See Spool."""
        if self.broken is not None:
            raise self.broken
        if self.is_slow:
            self.stores.append((records, done))
        else:
            super().store(records, done)

    def answer_store(self, fault: SpoolError | None = None) -> None:
        """The first transaction that waits is stored, or is not."""
        records, done = self.stores.pop(0)
        if fault is None:
            super().store(records, done)
        else:
            done((), fault)

    def get(self, position: int) -> StoredMessage | None:
        """See Spool."""
        if position in self.bad:
            raise self.bad[position]
        stored = super().get(position)
        return None if self.is_cold else stored

    def fetch(self, position: int, done: Fetched) -> None:
        """See Spool."""
        self.fetches.append(position)
        self.fetched.append(position)
        self._waiting.append((position, done))

    def answer_fetch(self, position: int | None = None, fault: SpoolError | None = None) -> None:
        """The fetch of a position, the first if none is named, has an answer."""
        index = 0 if position is None else self.fetches.index(position)
        del self.fetches[index]
        position, done = self._waiting.pop(index)
        if fault is not None:
            done(fault)
        else:
            self._give(position, done)

    def has_room(self) -> bool:
        """See Spool."""
        return self._has_room

    def can_record(self) -> bool:
        """See Spool."""
        return self._can_record

    def watch(self, changed: Callable[[], None]) -> None:
        """See Spool."""
        self._watchers.append(changed)

    def become(self, *, has_room: bool = True, can_record: bool = True) -> None:
        """Answer so from now on."""
        self._has_room, self._can_record = has_room, can_record
        for changed in self._watchers:
            changed()

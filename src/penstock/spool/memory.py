"""A spool in memory: the interface of ``penstock.mail.ports.Spool`` without the durability.

Everything is stored at once and lost with the process. Records are shown to ``on_stored`` as a durable spool's log would show them to whoever
derives events from it: in order, in a segment 0 that has no end, each one further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from penstock.mail.ports import Fetched, Found, LogPosition, OnStored, SpoolError, StoreDone
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
    Verdict,
)
from penstock.mail.status import SpoolCounts

#: Measured with 60,000 messages of one recipient each: 1.4 KB besides the content. A recipient more is an address and its part of two tuples.
_PER_MESSAGE: Final = 1_300
_PER_RECIPIENT: Final = 150


def _overhead(record: MessageRecord) -> int:
    return _PER_MESSAGE + _PER_RECIPIENT * len(record.recipients)


class MemorySpool:
    """Messages by position. ``held_bytes`` is the memory that they take: contents, once for all messages that share one, and what goes with each."""

    def __init__(self, on_stored: OnStored) -> None:
        self._on_stored = on_stored
        self._messages: dict[int, StoredMessage] = {}
        self._last = 0
        #: how many messages share a content, by its identity
        self._sharers: dict[int, int] = {}
        #: records shown
        self._offset = 0
        self._counts = SpoolCounts()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def counts(self) -> SpoolCounts:
        """What it did since the start, and what it holds now."""
        self._counts.bytes = self._counts.live_bytes = self.held_bytes
        return self._counts

    def store(self, records: Sequence[MessageRecord], done: StoreDone, encoded: bytes | None = None) -> None:
        """Store the messages: ``done`` is called at once."""
        positions: list[int] = []
        for record in records:
            self._last += 1
            self._messages[self._last] = StoredMessage(record, tuple(range(len(record.recipients))), 0)
            self._hold(record)
            positions.append(self._last)
        self._counts.stored += len(positions)
        self._show(records)
        done(positions, None)

    def _show(self, records: Sequence[SpoolRecord]) -> None:
        self._offset += len(records)
        self._on_stored(records, LogPosition(0, self._offset))

    def _hold(self, record: MessageRecord) -> None:
        content = id(record.content)
        sharers = self._sharers.get(content, 0)
        self._sharers[content] = sharers + 1
        self.held_bytes += _overhead(record) + (0 if sharers else len(record.content))

    def _release(self, record: MessageRecord) -> None:
        content = id(record.content)
        sharers = self._sharers.pop(content) - 1
        if sharers:
            self._sharers[content] = sharers
        self.held_bytes -= _overhead(record) + (0 if sharers else len(record.content))

    def record_attempt(self, position: int, record: AttemptRecord) -> None:
        """Settle the recipients that were accepted or have failed."""
        settled = {item.recipient for item in record.outcomes if item.verdict is not Verdict.DEFERRED}
        self._settle(position, settled, record.attempts)
        self._show((record,))

    def record_expiration(self, position: int, record: ExpirationRecord) -> None:
        """Settle the recipients that were given up."""
        self._settle(position, set(record.recipients), record.attempts)
        self._show((record,))

    def record_removal(self, position: int, record: RemovalRecord) -> None:
        """Settle the recipients that were taken out."""
        self._settle(position, set(record.recipients), record.attempts)
        self._show((record,))

    def record_rebind(self, position: int, record: RebindRecord) -> None:
        """Have the message in another queue."""
        stored = self._at(position)
        message = msgspec.structs.replace(stored.record, queue=record.queue)
        self._messages[position] = msgspec.structs.replace(stored, record=message)
        self._show((record,))

    def record_flush(self, position: int, record: FlushRecord) -> None:
        """Show it: when a message is due, only the scheduler knows."""
        self._at(position)
        self._show((record,))

    def note(self, record: NoteRecord) -> None:
        """Show it to whoever derives events; nothing is kept."""
        self._show((record,))

    def get(self, position: int) -> StoredMessage | None:
        """The message at ``position``, never None; SpoolError if there is none."""
        return self._at(position)

    def _at(self, position: int) -> StoredMessage:  # hot: throughput
        stored = self._messages.get(position)
        if stored is None:
            raise SpoolError(f"nothing is stored at position {position}")
        return stored

    def fetch(self, position: int, done: Fetched) -> None:
        """Give the message, as ``get`` does, in the loop's next turn."""
        asyncio.get_running_loop().call_soon(self._give, position, done)

    def _give(self, position: int, done: Fetched) -> None:
        try:
            answer: StoredMessage | SpoolError = self._at(position)
        except SpoolError as error:
            answer = error
        done(answer)

    def find(self, message_id: str, done: Found) -> None:
        """Look through all of them, and tell in the loop's next turn."""
        found = (position for position, stored in self._messages.items() if stored.record.id == message_id)
        asyncio.get_running_loop().call_soon(done, next(found, None))

    def has_room(self) -> bool:
        """Always: the memory is watched by whoever takes mail in."""
        return True

    def can_record(self) -> bool:
        """Always."""
        return True

    def watch(self, changed: Callable[[], None]) -> None:
        """Neither answer ever changes."""

    def _settle(self, position: int, settled: set[int], attempts: int) -> None:
        stored = self._at(position)
        waiting = tuple([recipient for recipient in stored.waiting if recipient not in settled])
        if waiting:
            self._messages[position] = StoredMessage(stored.record, waiting, attempts)
        else:
            del self._messages[position]
            self._release(stored.record)

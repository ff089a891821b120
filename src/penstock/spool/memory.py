"""A spool in memory: the interface of ``penstock.mail.ports.Spool`` without the durability.

Everything is stored at once and lost with the process. Each record is shown to ``on_record`` when it is stored, in order, as a durable
spool's log would show it to whoever derives events from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.mail.ports import SpoolError
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    NoteRecord,
    SpoolRecord,
    StoredMessage,
    Verdict,
)

#: Measured with 60,000 messages of one recipient each: 1.4 KB besides the content. A recipient more is an address and its part of two tuples.
_PER_MESSAGE: Final = 1_300
_PER_RECIPIENT: Final = 150


def _overhead(record: MessageRecord) -> int:
    return _PER_MESSAGE + _PER_RECIPIENT * len(record.recipients)


class MemorySpool:
    """Messages by position. ``held_bytes`` is the memory that they take: contents, once for all messages that share one, and what goes with each."""

    def __init__(self, on_record: Callable[[SpoolRecord], None]) -> None:
        self._on_record = on_record
        self._messages: dict[int, StoredMessage] = {}
        self._last = 0
        #: how many messages share a content, by its identity
        self._sharers: dict[int, int] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def append(self, record: MessageRecord) -> int:
        """Store a message; its position."""
        self._last += 1
        self._messages[self._last] = StoredMessage(record, tuple(range(len(record.recipients))), 0)
        self._hold(record)
        self._on_record(record)
        return self._last

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

    def commit(self, done: Callable[[SpoolError | None], None]) -> None:
        """Everything appended is as stored as it will ever be: ``done`` is called at once."""
        done(None)

    def record_attempt(self, position: int, record: AttemptRecord) -> None:
        """Settle the recipients that were accepted or have failed."""
        settled = {item.recipient for item in record.outcomes if item.verdict is not Verdict.DEFERRED}
        self._settle(position, settled, record.attempts)
        self._on_record(record)

    def record_expiration(self, position: int, record: ExpirationRecord) -> None:
        """Settle the recipients that were given up."""
        self._settle(position, set(record.recipients), record.attempts)
        self._on_record(record)

    def note(self, record: NoteRecord) -> None:
        """Show it to whoever derives events; nothing is kept."""
        self._on_record(record)

    def read(self, position: int) -> StoredMessage:
        """The message at ``position``."""
        stored = self._messages.get(position)
        if stored is None:
            raise SpoolError(f"nothing is stored at position {position}")
        return stored

    def _settle(self, position: int, settled: set[int], attempts: int) -> None:
        stored = self.read(position)
        waiting = tuple([recipient for recipient in stored.waiting if recipient not in settled])
        if waiting:
            self._messages[position] = StoredMessage(stored.record, waiting, attempts)
        else:
            del self._messages[position]
            self._release(stored.record)

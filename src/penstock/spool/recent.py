"""Messages that are kept in memory, so that mail that goes straight through is never read back.

What is being stored stays until that has come to an end; then the oldest make room for the newest, within a limit. Contents are counted
once for all messages that share one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from penstock.mail.records import MessageRecord

#: Measured with 60,000 messages of one recipient each: 1.4 KB besides the content. A recipient more is an address and its part of two tuples.
_PER_MESSAGE: Final = 1_300
_PER_RECIPIENT: Final = 150
#: Rows of messages that are gone among those that are kept in the order of their age, besides one for each that is there.
_GONE_AT_MOST: Final = 1000


class Recent:
    """Messages by row. ``held`` is the memory that they take, in octets."""

    __slots__ = ("_ages", "_limit", "_messages", "_sharers", "_storing", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: dict[int, MessageRecord] = {}
        #: rows oldest first, those that are gone among them: the first key of a dictionary is slow to find behind many that were removed
        self._ages: deque[int] = deque()
        #: those that may not go yet
        self._storing: set[int] = set()
        #: how many messages share a content, by its identity, where they are more than one
        self._sharers: dict[int, int] = {}
        self.held = 0

    def get(self, row: int) -> MessageRecord | None:
        """A message, if it is here."""
        return self._messages.get(row)

    def pin(self, rows: Sequence[int], records: Sequence[MessageRecord]) -> None:  # hot: throughput
        """The messages of a transaction, which are being stored. They have one content."""
        for row, record in zip(rows, records, strict=True):
            self._messages[row] = record
            self.held += _PER_MESSAGE + _PER_RECIPIENT * len(record.recipients)
        content = records[0].content
        self.held += len(content)
        if len(rows) > 1:
            self._sharers[id(content)] = len(rows)
        self._storing.update(rows)
        self._ages.extend(rows)

    def unpin(self, rows: Sequence[int]) -> None:  # hot: throughput
        """They are stored: they may go when room is needed."""
        self._storing.difference_update(rows)
        if self.held > self._limit:
            self._make_room()
        elif len(self._ages) > _GONE_AT_MOST + 2 * len(self._messages):
            self._ages = deque(self._messages)

    def _make_room(self) -> None:
        for _ in range(len(self._ages)):
            row = self._ages.popleft()
            if row in self._storing:
                self._ages.append(row)
            else:
                self.drop(row)
                if self.held <= self._limit:
                    return

    def drop(self, row: int) -> None:  # hot: throughput
        """Let a message go, if it is here."""
        record = self._messages.pop(row, None)
        if record is None:
            return
        self._storing.discard(row)
        self.held -= _PER_MESSAGE + _PER_RECIPIENT * len(record.recipients)
        if not self._sharers or self._is_last(record.content):
            self.held -= len(record.content)

    def _is_last(self, content: bytes) -> bool:
        """Whether no other message has this content any more, of which one is going."""
        sharers = self._sharers.get(id(content), 1) - 1
        if sharers > 1:
            self._sharers[id(content)] = sharers
        else:
            self._sharers.pop(id(content), None)
        return not sharers

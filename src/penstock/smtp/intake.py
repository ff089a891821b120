"""Mail data of one session on its way in, by DATA or in chunks: which octets belong to it, and when it has come whole.

A chunk that came out of order is read to its end like any other, for nobody could tell its octets from commands; then it is refused.
"""

from __future__ import annotations

from enum import Enum

from penstock.smtp.chunk import Chunk, ChunkReader
from penstock.smtp.data import DataReader
from penstock.smtp.lines import LineBuffer
from penstock.smtp.server_events import ServerLimits
from penstock.smtp.transaction import Transaction


class Read(Enum):
    """What became of the octets that were there."""

    MORE = "more are needed"
    MESSAGE = "the message has come whole"
    CHUNK = "a chunk has come that is not the last"
    LATE_CHUNK = "a chunk has come that was out of order"


class Intake:
    """Reads mail data for ``transaction``; ``chunk`` is the last one that has come whole, ``late`` reads one that is out of order."""

    __slots__ = ("chunk", "late")

    def __init__(self) -> None:
        self.late: ChunkReader | None = None
        self.chunk = Chunk(0, is_last=True)

    def begin_data(self, transaction: Transaction | None, limits: ServerLimits) -> None:
        """Mail data comes next."""
        assert transaction is not None  # noqa: S101 -- DATA is read in a transaction only
        transaction.data = DataReader(limits.max_message_size, limits.line_length_hard_limit)

    def begin_chunk(self, transaction: Transaction | None, chunk: Chunk, limits: ServerLimits) -> None:
        """A chunk comes next; without a transaction, one that is out of order."""
        if transaction is None:
            self.late = ChunkReader(0)
            self.late.begin(chunk)
            return
        if transaction.chunks is None:
            transaction.chunks = ChunkReader(limits.max_message_size)
        transaction.chunks.begin(chunk)

    def is_within_chunk(self, transaction: Transaction | None) -> bool:
        """Whether the octets that come belong to a chunk."""
        return self._chunks(transaction) is not None

    def _chunks(self, transaction: Transaction | None) -> ChunkReader | None:
        reader = self.late or (transaction.chunks if transaction is not None else None)
        return reader if reader is not None and reader.chunk is not None else None

    def received(self, transaction: Transaction | None) -> int:
        """Octets so far of the mail data that is being read."""
        reader = (transaction.data or transaction.chunks) if transaction is not None else self.late
        return reader.received if reader is not None else 0

    def read_data(self, transaction: Transaction, lines: LineBuffer) -> Read:
        """Take the octets of DATA."""
        reader = transaction.data
        assert reader is not None  # noqa: S101 -- called after begin_data only
        octets = lines.take()
        used = reader.feed(octets) if octets else -1
        if used < 0:
            return Read.MORE
        lines.put_back(octets, used)
        return Read.MESSAGE

    def read_chunk(self, transaction: Transaction | None, lines: LineBuffer) -> Read:
        """Take the octets of a chunk."""
        reader = self._chunks(transaction)
        assert reader is not None  # noqa: S101 -- called within a chunk only
        octets = lines.take()
        lines.put_back(octets, reader.feed(octets))
        if not reader.is_complete:
            return Read.MORE
        self.chunk = reader.end()
        if reader is self.late:
            self.late = None
            return Read.LATE_CHUNK
        return Read.MESSAGE if self.chunk.is_last else Read.CHUNK

    def stop(self) -> None:
        """Nothing is read any more."""
        self.late = None

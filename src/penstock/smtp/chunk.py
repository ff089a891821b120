"""Mail data in chunks (RFC 3030): BDAT with a number of octets, which follow it whatever is said to it.

So a BDAT that cannot be read ends the session: nobody could tell its octets from commands. One that can is read to its end and then
answered, also where it is refused.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.reply import reply
from penstock.smtp.command import ERROR_LIMIT, Refusal

# bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]; chunk-size = 1*DIGIT (RFC 3030 2)
_BDAT = re.compile(rb"([0-9]{1,20})(?: +([Ll][Aa][Ss][Tt]))?")
#: More than any message here: reading on for its end would be reading for ever.
_CHUNK_LIMIT: Final = 1 << 32
#: Chunks below this are put together: as objects of their own they would take forty times their room.
_SMALL: Final = 4096

NOT_OFFERED: Final = reply(502, "5.5.1", "CHUNKING is not offered here; closing connection")
_SYNTAX: Final = reply(501, "5.5.4", "the syntax is BDAT size [LAST]; closing connection")
_ENDLESS: Final = reply(552, "5.3.4", "the chunk is larger than anything accepted here; closing connection")


class Chunk(msgspec.Struct, frozen=True):
    """One BDAT command: its size in octets, and whether it is the last of its message."""

    size: int
    is_last: bool


def parse_bdat(argument: bytes) -> Chunk:
    """BDAT's argument; a Refusal ends the session."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        raise Refusal(_SYNTAX, ERROR_LIMIT)
    size = int(match[1])
    if size > _CHUNK_LIMIT:
        raise Refusal(_ENDLESS, ERROR_LIMIT)
    return Chunk(size, match[2] is not None)


class ChunkReader:
    """Collects the chunks of one transaction, up to ``size_limit`` octets; ``size`` is how many it holds, ``received`` how many came.

    ``chunk`` is the one that is being read, None between chunks.

    ``is_over``: there were more than the limit. ``is_starved`` is for whoever calls ``drop`` to say that it was for want of memory.
    """

    __slots__ = (
        "_chunks",
        "_is_dropping",
        "_left",
        "_limit",
        "chunk",
        "is_over",
        "is_starved",
        "received",
        "size",
    )

    def __init__(self, size_limit: int) -> None:
        self._limit = size_limit
        self._chunks: list[bytes | bytearray] = []
        self._left = 0
        self._is_dropping = False
        self.chunk: Chunk | None = None
        self.is_over = False
        self.is_starved = False
        self.received = 0
        self.size = 0

    def begin(self, chunk: Chunk) -> None:
        """A chunk is to come."""
        self._left = chunk.size
        self.chunk = chunk
        if self.received + chunk.size > self._limit:
            self.is_over = True
            self.drop()

    def feed(self, data: bytes) -> int:
        """Take octets of the chunk; how many were its own. ``is_complete`` says whether it has come whole."""
        used = min(len(data), self._left)
        self._left -= used
        self.received += used
        if used and not self._is_dropping:
            self._keep(data if used == len(data) else data[:used])
        return used

    def _keep(self, data: bytes) -> None:
        self.size += len(data)
        chunks = self._chunks
        if len(data) >= _SMALL or not chunks:
            chunks.append(data)
        else:
            last = chunks[-1]
            if isinstance(last, bytearray):
                last += data
            else:
                chunks.append(bytearray(data))

    @property
    def is_complete(self) -> bool:
        """Whether the whole chunk has come."""
        return self._left == 0

    def end(self) -> Chunk:
        """The chunk that has come whole; another may begin."""
        chunk, self.chunk = self.chunk, None
        if chunk is None or self._left:
            raise RuntimeError("no chunk has come whole")
        return chunk

    def drop(self) -> None:
        """Keep nothing of this transaction any more; its chunks are still read."""
        self._is_dropping = True
        self._chunks.clear()
        self.size = 0

    def content(self) -> bytes:
        """All chunks together."""
        chunks = self._chunks
        return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)

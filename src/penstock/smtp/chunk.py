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
from penstock.smtp.pieces import Pieces

# bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]; chunk-size = 1*DIGIT (RFC 3030 2)
_BDAT = re.compile(rb"([0-9]{1,20})(?: +([Ll][Aa][Ss][Tt]))?")
#: More than any message here: reading on for its end would be reading for ever.
_CHUNK_LIMIT: Final = 1 << 32

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


class ChunkReader(Pieces):
    """Collects the chunks of one transaction, up to ``size_limit`` octets. ``chunk`` is the one that is being read, None between chunks."""

    __slots__ = ("_left", "_limit", "chunk")

    def __init__(self, size_limit: int) -> None:
        super().__init__()
        self._limit = size_limit
        self._left = 0
        self.chunk: Chunk | None = None

    def begin(self, chunk: Chunk) -> None:
        """A chunk is to come."""
        self._left = chunk.size
        self.chunk = chunk
        if self.received + chunk.size > self._limit:
            self.overflow()

    def feed(self, data: bytes) -> int:
        """Take octets of the chunk; how many were its own. ``is_complete`` says whether it has come whole."""
        used = min(len(data), self._left)
        self._left -= used
        if used:
            self.take(data if used == len(data) else data[:used])
        return used

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

    def content(self) -> bytes:
        """All chunks together."""
        return self.joined()

"""Frames on a stream of octets.

A frame is, in network order: the number of octets behind its first 18 (u32), the version (u8), the kind (u8), a number whose meaning is
the kind's (u64), how many of those octets are its head (u32); then the head, then the tail, which is the rest.

The reader says where the next octets are to be put, so that the kernel writes them where they are wanted. Frames of up to 64 KiB share
one buffer, and are copied out of it once; a larger one is received into a buffer of its own, of which its tail is a view.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

#: The version of frames and of all that is said in them. Processes of another one are not talked to.
VERSION: Final = 1
#: Octets before the head.
HEADER_SIZE: Final = 18
#: Octets of a head, unless told otherwise: an epoch's configuration files, a status with many queues.
HEAD_LIMIT: Final = 16 * 1024 * 1024
#: Octets of a tail, unless told otherwise: a message of 256 KiB with its envelopes. Larger ones are files, and only named.
TAIL_LIMIT: Final = 4 * 1024 * 1024

_HEADER: Final = struct.Struct("!IBBQI")
_VERSION_AT: Final = 4
#: From here on a frame gets a buffer of its own.
_LARGE: Final = 64 * 1024
#: Of the shared buffer: a little more than a Unix socket holds (net.core.rmem_default, 208 KiB).
_BUFFER_SIZE: Final = 256 * 1024


class ProtocolError(Exception):
    """The other side sent what it may not send. The channel ends; ``str()`` of it says why."""


class Frame(NamedTuple):
    """One frame. ``tail`` is octets, or a view of octets that are nobody else's."""

    kind: int
    number: int
    head: bytes
    tail: bytes | memoryview


def encode(
    kind: int,
    number: int,
    head: bytes = b"",
    tail: Sequence[bytes | memoryview] = (),
    *,
    head_limit: int = HEAD_LIMIT,
    tail_limit: int = TAIL_LIMIT,
) -> list[bytes | memoryview]:
    """The pieces of a frame, to be sent one behind the other; those of the tail are not copied.

    ``kind`` is below 256, ``number`` below 2**64, views are of octets. ValueError for what is over its limit: nobody would take it.
    """
    tail_size = sum(map(len, tail))
    if len(head) > head_limit or tail_size > tail_limit:
        raise ValueError(
            f"a frame of {len(head)} and {tail_size} octets is over its limits, {head_limit} and {tail_limit}"
        )
    return [_HEADER.pack(len(head) + tail_size, VERSION, kind, number, len(head)) + head, *tail]


class FrameReader:
    """Frames out of octets as they come: ``space`` and ``received`` for each read, then ``take`` until there is none.

    After a ProtocolError it is of no more use.
    """

    def __init__(self, *, head_limit: int = HEAD_LIMIT, tail_limit: int = TAIL_LIMIT) -> None:
        self._head_limit = head_limit
        self._tail_limit = tail_limit
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._begin = 0
        self._end = 0
        self._large: _Large | None = None

    def space(self) -> memoryview:
        """Where the next octets go; never empty once ``take`` gave None."""
        if self._large is not None:
            return self._large.space()
        if self._begin == self._end:
            self._begin = self._end = 0
        elif len(self._buffer) - self._begin < HEADER_SIZE + _LARGE:
            # What is left is a part of a frame that would reach over the end.
            left = bytes(self._buffer[self._begin : self._end])
            self._buffer[: len(left)] = left
            self._begin, self._end = 0, len(left)
        return self._buffer[self._end :]

    def received(self, count: int) -> None:
        """Say that ``count`` octets were put into ``space``."""
        if self._large is not None:
            self._large.have += count
        else:
            self._end += count

    def take(self) -> Frame | None:
        """The next frame, None if it is not all here. ProtocolError if it is none of this version, or over a limit."""
        if self._large is not None:
            return self._take_large(self._large)
        begin, have = self._begin, self._end - self._begin
        if have <= _VERSION_AT:
            return None
        if self._buffer[begin + _VERSION_AT] != VERSION:
            raise _other_version(self._buffer[begin + _VERSION_AT])
        if have < HEADER_SIZE:
            return None
        size, _, kind, number, head_size = _HEADER.unpack_from(self._buffer, begin)
        if head_size > size or head_size > self._head_limit or size - head_size > self._tail_limit:
            raise ProtocolError(
                f"a frame of {size} octets, {head_size} of them its head, is over the limits"
                f" of {self._head_limit} for a head and {self._tail_limit} for a tail"
            )
        start = begin + HEADER_SIZE
        if size > _LARGE:
            return self._begin_large(kind, number, start, head_size, size)
        if have < HEADER_SIZE + size:
            return None
        self._begin = end = start + size
        between = start + head_size
        return Frame(kind, number, bytes(self._buffer[start:between]), bytes(self._buffer[between:end]))

    def is_between(self) -> bool:
        """Whether all that was received belongs to frames that were taken."""
        return self._large is None and self._begin == self._end

    def _begin_large(self, kind: int, number: int, start: int, head_size: int, size: int) -> Frame | None:
        """Go on in a buffer of its own, with what is here of it."""
        large = _Large(kind, number, head_size, memoryview(bytearray(size)))
        large.have = min(size, self._end - start)
        large.octets[: large.have] = self._buffer[start : start + large.have]
        self._begin = start + large.have
        self._large = large
        return self._take_large(large)

    def _take_large(self, large: _Large) -> Frame | None:
        if large.have < len(large.octets):
            return None
        self._large = None
        head = bytes(large.octets[: large.head_size])
        return Frame(large.kind, large.number, head, large.octets[large.head_size :].toreadonly())


class _Large:
    """A frame with a buffer of its own, the first ``have`` octets of which are here."""

    __slots__ = ("have", "head_size", "kind", "number", "octets")

    def __init__(self, kind: int, number: int, head_size: int, octets: memoryview) -> None:
        self.kind = kind
        self.number = number
        self.head_size = head_size
        self.octets = octets
        self.have = 0

    def space(self) -> memoryview:
        return self.octets[self.have :]


def _other_version(version: int) -> ProtocolError:
    return ProtocolError(
        f"the other process speaks version {version}, this one version {VERSION}:"
        " all processes of a server must be of one installation; restart the server"
    )

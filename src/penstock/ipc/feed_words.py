"""What lanes and the scribe say to each other, on the scribe's socket: frames of a spool's log as they are stored, and how far they are events.

A lane begins with ``ScribeLaneBegin``, at each connection. Positions are a segment's number and an offset in it. A lane that cannot tell of all
frames, because the scribe does not take them in time, says how far its log goes, and the scribe reads the rest from the log's files.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from penstock.ipc.frames import ProtocolError
from penstock.ipc.vocabulary import Vocabulary

Position = tuple[int, int]


def scribe_socket(data_dir: str | Path) -> Path:
    """Where the scribe of a data directory is to be had."""
    return Path(data_dir) / "run" / "scribe.sock"


#: Octets of a tail: frames that are told together, and one large head.
FEED_TAIL_LIMIT: Final = 2 * 1024 * 1024

#: Of each frame: segment, offset, type and version (in the lower and upper 16 bits), octets of the head, octets behind it.
_ROW: Final = 5


class SegmentWord(NamedTuple):
    """A segment of a lane's log; its frames count if they begin before ``end``."""

    number: int
    salt: int
    end: int


class EpochWord(NamedTuple):
    """Frames behind ``behind`` are written in this epoch."""

    behind: Position
    number: int


class ScribeLaneBegin(msgspec.Struct, frozen=True, array_like=True):
    """A lane has come. ``spool`` is the folder of its spool, ``synced`` how far its log is stored; ``epochs`` are those of its process."""

    lane: str
    spool: str
    segments: tuple[SegmentWord, ...]
    synced: Position
    epochs: tuple[EpochWord, ...]


class ScribeLaneSegments(msgspec.Struct, frozen=True, array_like=True):
    """The segments that there are now, all of them."""

    segments: tuple[SegmentWord, ...]


class ScribeLaneFrames(msgspec.Struct, frozen=True, array_like=True):
    """All that was stored between two places, ``count`` frames in the tail; None: it is to be read from the log."""

    first: Position
    last: Position
    count: int | None


class ScribeLaneEpoch(msgspec.Struct, frozen=True, array_like=True):
    """What the lane writes from now on is of another epoch."""

    epoch: EpochWord


class ScribeLaneForget(msgspec.Struct, frozen=True, array_like=True):
    """The lane's spool was emptied, and all of it has become events: it is removed."""


class LaneEventsWritten(msgspec.Struct, frozen=True, array_like=True):
    """The events of all frames before this place are on stable storage."""

    position: Position


FEED: Final = Vocabulary(
    ScribeLaneBegin,
    ScribeLaneSegments,
    ScribeLaneFrames,
    ScribeLaneEpoch,
    ScribeLaneForget,
    LaneEventsWritten,
)


def table(rows: Sequence[int]) -> bytes:
    """The beginning of a tail; ``rows`` are the numbers of all frames, one row behind the other. The heads follow."""
    return struct.pack(f"<{len(rows)}I", *rows)


#: Segment, offset, type, version, head, and octets behind the head.
ToldFrame = tuple[int, int, int, int, bytes, int]


def told_frames(tail: bytes | memoryview, count: int) -> list[ToldFrame]:  # hot: benchmarks/events_feed.py
    """The frames of a tail. ProtocolError if it does not hold so many, and nothing else."""
    at = 4 * _ROW * count
    if at > len(tail):
        raise ProtocolError("a table of frames goes on past its end")
    rows = struct.unpack_from(f"<{_ROW * count}I", tail)
    sizes = rows[3::_ROW]
    if at + sum(sizes) != len(tail):
        raise ProtocolError("a table of frames does not match the heads behind it")
    octets = bytes(tail)
    ends = list(accumulate(sizes, initial=at))
    return [
        (segment, offset, kind & 0xFFFF, kind >> 16, octets[begin:end], content_size)
        for segment, offset, kind, content_size, begin, end in zip(
            rows[0::_ROW], rows[1::_ROW], rows[2::_ROW], rows[4::_ROW], ends, ends[1:], strict=False
        )
    ]

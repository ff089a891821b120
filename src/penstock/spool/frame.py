"""Frames: how records lie in a segment, to the octet (``docs/spool-format.md``, "Segments" and "Frames").

Pure functions of octets. A frame's checksums begin with the segment's identity and the frame's offset, so that octets which were written
for another place, by an earlier segment in the same blocks or by a customer into the content of a message, never pass for a frame.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.ports import SpoolError

#: The version of the format that is written here, and the newest that is read.
FORMAT: Final = 1
#: Frames begin at multiples of this.
ALIGNMENT: Final = 16
#: Octets before the first frame of a segment.
SEGMENT_HEADER_SIZE: Final = 64
#: Octets of a frame before its payload.
FRAME_HEADER_SIZE: Final = 20
#: Octets behind a sealed segment's last frame.
FOOTER_SIZE: Final = 16
#: Frame types from here on may be skipped by who does not know them.
ANCILLARY: Final = 0x80
#: What every frame begins with, so that they can be looked for.
MARKER: Final = b"\xf5\x9e"
#: Offsets have 32 bits.
OFFSET_LIMIT: Final = 0xFFFFFFFF

_MAGIC: Final = b"PENSTOCK"
_PADDINGS: Final = tuple(bytes(-rest % ALIGNMENT) for rest in range(ALIGNMENT))
_FOOTER_MAGIC: Final = b"SEAL"
# magic, format, flags, number, salt, created in microseconds, zeros; the checksum is behind it
_SEGMENT_HEADER: Final = struct.Struct("<8sHHIIq32x")
# marker, type, version, length, synced; the two checksums are behind it
_FRAME_HEAD: Final = struct.Struct("<2sBBII")
_CHECKSUMS: Final = struct.Struct("<II")
_CHECKSUM: Final = struct.Struct("<I")
_SEED: Final = struct.Struct("<III")
_FOOTER: Final = struct.Struct("<4sII")


class Damaged(SpoolError):
    """Octets that are not what was written. ``str()`` of it says what is wrong with them."""


class NewerFormat(SpoolError):
    """Written by a newer version of Penstock, in a way that this one cannot read; nothing was changed."""


class FrameType(IntEnum):
    """What a frame holds. The numbers are the format's."""

    TRANSACTION = 1
    COPY = 2
    ATTEMPT = 3
    EXPIRATION = 4
    NOTE = 5
    ABANDON = 6
    SEAL = 7
    MOVED = 8
    FORGET = 9
    QUARANTINE = 10
    RELEASE = 11
    REMOVAL = 12
    REBIND = 13
    FLUSH = 14


#: The version of frames that hold what every version reads, and the one of those that hold what the first would pass over, though it must not.
VERSION: Final = 1
SECOND: Final = 2
#: The newest version of each type.
VERSIONS: Final = dict.fromkeys(FrameType, VERSION) | {
    FrameType.TRANSACTION: SECOND,
    FrameType.COPY: SECOND,
    FrameType.MOVED: SECOND,
    FrameType.NOTE: SECOND,
    FrameType.SEAL: SECOND,
}
_KNOWN: Final = {int(kind): version for kind, version in VERSIONS.items()}


class Identity(NamedTuple):
    """A segment: its number, and a random 32-bit number drawn when it was created, which nobody outside of the spool knows."""

    number: int
    salt: int


class Place(NamedTuple):
    """Where a message lies: the number of the segment, the offset of the frame, and which of the frame's messages it is, from 0 on."""

    segment: int
    offset: int
    part: int


class SegmentHeader(msgspec.Struct, frozen=True):
    """A segment's first octets. ``created`` is in seconds since 1970."""

    identity: Identity
    created: WallTime
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """The header as it is written, SEGMENT_HEADER_SIZE octets."""
        created = int(self.created * 1_000_000)
        head = _SEGMENT_HEADER.pack(_MAGIC, self.format, 0, *self.identity, created)
        return head + _CHECKSUM.pack(crc32(head))


class FrameHeader(NamedTuple):
    """A frame's first octets. ``synced``: when it was written, all before this offset was known to be on stable storage."""

    type: int
    version: int
    length: int
    synced: int
    #: of the header itself, already found right
    checksum: int
    payload_checksum: int

    @property
    def size(self) -> int:
        """Octets of the whole frame, with its header and padding."""
        return frame_size(self.length)


class Frame(NamedTuple):
    """A frame that was read whole and found right. ``synced`` as in its header."""

    offset: int
    type: int
    version: int
    payload: bytes
    synced: int = 0


def frame_size(length: int) -> int:
    """Octets that a frame with a payload of ``length`` octets takes in its segment."""
    return (FRAME_HEADER_SIZE + length + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def parse_segment_header(octets: bytes) -> SegmentHeader:
    """The header that a segment begins with. Damaged if it is none; one of a newer format is given back as it is."""
    if len(octets) < SEGMENT_HEADER_SIZE:
        raise Damaged("the segment is shorter than its header")
    head = octets[: _SEGMENT_HEADER.size]
    magic, version, _, number, salt, created = _SEGMENT_HEADER.unpack(head)
    if magic != _MAGIC:
        raise Damaged("the file does not begin as a segment does")
    if _CHECKSUM.unpack_from(octets, _SEGMENT_HEADER.size)[0] != crc32(head):
        raise Damaged("the segment's header does not match its checksum")
    return SegmentHeader(Identity(number, salt), WallTime(created / 1_000_000), version)


def write_frame(
    identity: Identity, offset: int, frame: tuple[int, int], buffers: Sequence[bytes], synced: int
) -> list[bytes]:  # hot: throughput
    """A frame of the type and version ``frame``, as buffers to write at ``offset``; ``buffers`` are its payload, and are not copied."""
    length = sum(map(len, buffers))
    kind, version = frame
    head = _FRAME_HEAD.pack(MARKER, kind, version, length, synced)
    number, salt = identity
    checksum = payload_checksum = crc32(head, crc32(_SEED.pack(number, salt, offset)))
    for buffer in buffers:
        payload_checksum = crc32(buffer, payload_checksum)
    head += _CHECKSUMS.pack(checksum, payload_checksum)
    return [head, *buffers, _PADDINGS[(FRAME_HEADER_SIZE + length) % ALIGNMENT]]


def parse_frame_header(octets: bytes, identity: Identity, offset: int) -> FrameHeader:
    """The header of the frame that begins at ``offset``; Damaged if none does."""
    if len(octets) < FRAME_HEADER_SIZE:
        raise Damaged("the segment ends within a frame's header")
    marker, kind, version, length, synced = _FRAME_HEAD.unpack_from(octets)
    if marker != MARKER:
        raise Damaged("no frame begins here")
    checksum, payload_checksum = _CHECKSUMS.unpack_from(octets, _FRAME_HEAD.size)
    if checksum != crc32(octets[: _FRAME_HEAD.size], _seed(identity, offset)):
        raise Damaged("a frame's header does not match its checksum")
    return FrameHeader(kind, version, length, synced, checksum, payload_checksum)


def check_payload(header: FrameHeader, payload: bytes) -> None:
    """Damaged if ``payload`` is not all that the header was written for."""
    if len(payload) < header.length:
        raise Damaged("the segment ends within a frame")
    if crc32(payload, header.checksum) != header.payload_checksum:
        raise Damaged("a frame's content does not match its checksum")


def is_known(kind: int, version: int, where: str) -> bool:
    """Whether a frame can be read here; False if it may be skipped. NewerFormat, naming ``where`` it is, if it may not."""
    if version <= _KNOWN.get(kind, 0):
        return True
    if kind >= ANCILLARY:
        return False
    raise NewerFormat(
        f"{where} holds a frame of type {kind}, version {version}, which this version of Penstock does not know; "
        "run the newer version that wrote it"
    )


def footer(identity: Identity, offset: int, seal: int) -> bytes:
    """The last octets of a sealed segment, which begin at ``offset`` and say where its SEAL frame is."""
    head = _FOOTER.pack(_FOOTER_MAGIC, seal, 0)
    return head + _CHECKSUM.pack(crc32(head, _seed(identity, offset)))


def parse_footer(octets: bytes, identity: Identity, offset: int) -> int | None:
    """Where the SEAL frame begins; None if the octets at ``offset`` are no footer."""
    if len(octets) != FOOTER_SIZE or not octets.startswith(_FOOTER_MAGIC):
        return None
    head = octets[: _FOOTER.size]
    if _CHECKSUM.unpack_from(octets, _FOOTER.size)[0] != crc32(head, _seed(identity, offset)):
        return None
    seal: int = _FOOTER.unpack(head)[1]
    return seal


def _seed(identity: Identity, offset: int) -> int:
    return crc32(_SEED.pack(identity.number, identity.salt, offset))

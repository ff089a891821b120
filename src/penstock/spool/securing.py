"""What the process before has left of a segment is put on stable storage, before any of it is believed.

If that process was killed, octets may lie with the system and not on the disk; if a sync of its had failed, the system may even take them for stored,
and never store them, whoever syncs (``penstock.spool.files``). So what no frame says was stored is written once more, in its place, and the file gets
another size. An index goes if frames may be missing that it tells of: only when the others are scanned, and found, is there one again.
"""

from __future__ import annotations

from typing import Final

from penstock.spool.files import File
from penstock.spool.frame import (
    ALIGNMENT,
    FOOTER_SIZE,
    FRAME_HEADER_SIZE,
    SEGMENT_HEADER_SIZE,
    Damaged,
    FrameType,
    Identity,
    parse_footer,
    parse_frame_header,
)
from penstock.spool.scan import stored_mark

_PIECE: Final = 1024 * 1024
_ZEROS: Final = bytes(_PIECE)


def secure(file: File, identity: Identity, limit: int) -> None:
    """Put a segment on stable storage as far as ``limit``, behind which nothing counts; nobody knows whether it is there already. FileError."""
    size = file.size()
    seal = _seal_offset(file, identity, size)
    if seal is not None and _seal_mark(file, identity, seal) < seal:
        file.truncate(seal)
        size = seal
    elif seal is None:
        file.truncate(size + ALIGNMENT)
    if seal is None or size == seal:
        end = min(size, limit)
        _write_again(file, stored_mark(file, identity, end), end)
    file.sync()


def _seal_offset(file: File, identity: Identity, size: int) -> int | None:
    at = size - FOOTER_SIZE
    return parse_footer(file.read(FOOTER_SIZE, at), identity, at) if at >= SEGMENT_HEADER_SIZE else None


def _seal_mark(file: File, identity: Identity, offset: int) -> int:
    """Up to where a SEAL frame says that frames were stored; 0 if it is none."""
    try:
        head = parse_frame_header(file.read(FRAME_HEADER_SIZE, offset), identity, offset)
    except Damaged:
        return 0
    return head.synced if head.type == FrameType.SEAL else 0


def _write_again(file: File, start: int, end: int) -> None:
    for offset in range(start, end, _PIECE):
        octets = file.read(min(_PIECE, end - offset), offset)
        if octets != _ZEROS[: len(octets)]:
            file.write([octets], offset)

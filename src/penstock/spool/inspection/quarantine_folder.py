"""What lies in the folder ``quarantine``: octets alone, so what is wrong with them is found anew from where they were."""

from __future__ import annotations

import re
from typing import Final

from penstock.spool.decoding import decode
from penstock.spool.frame import (
    FRAME_HEADER_SIZE,
    Damaged,
    Frame,
    Identity,
    check_payload,
    is_known,
    parse_frame_header,
)
from penstock.spool.inspection.read_only import Tree
from penstock.spool.names import QUARANTINE, segment_path

_NAME: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{8})\.frame")


def reason_of(tree: Tree, name: str) -> tuple[str | None, int]:
    """What is wrong with the octets in a file, and how many they are; None for a file that is none of the spool's. NewerFormat, FileError."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None, 0
    identity, offset = Identity(int(match[1], 16), int(match[2], 16)), int(match[3], 16)
    file = tree.open(f"{QUARANTINE}/{name}")
    try:
        size = file.size()
        where = f"{segment_path(identity)} at {offset}"
        return f"they were in {where}, and {_fault(file.read(size, 0), identity, offset)}", size
    finally:
        file.close()


def _fault(octets: bytes, identity: Identity, offset: int) -> str:
    try:
        head = parse_frame_header(octets[:FRAME_HEADER_SIZE], identity, offset)
        payload = octets[FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + head.length]
        check_payload(head, payload)
        if is_known(head.type, head.version, f"{QUARANTINE} at {offset}"):
            decode(Frame(offset, head.type, head.version, payload))
    except Damaged as damage:
        return str(damage)
    return "they are a whole frame: it was read wrongly, so look at the disk and the memory of this machine"

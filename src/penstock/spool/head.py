"""What of a frame its events are made of: all but the content of its messages.

Whoever writes the log tells others of its frames by their heads as they were written, so nothing is encoded twice; whoever reads the log
cuts the same heads out of it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from penstock.spool.codec import HEAD_LENGTH, Payload
from penstock.spool.frame import Damaged, Frame, FrameType, frame_size

#: Frames that hold messages.
MESSAGES: Final = frozenset({FrameType.TRANSACTION, FrameType.COPY, FrameType.MOVED})


class Head(NamedTuple):
    """The beginning of a frame's payload: of messages all before their content, of others the whole. ``content_size``: octets behind it."""

    segment: int
    offset: int
    type: int
    version: int
    octets: bytes
    content_size: int

    @property
    def end(self) -> int:
        """The offset behind the frame."""
        return self.offset + frame_size(len(self.octets) + self.content_size)


def head_of(segment: int, frame: Frame) -> Head:
    """The head of a frame that was read. Damaged if it is not as its type has it."""
    payload = frame.payload
    length = len(payload)
    if frame.type in MESSAGES:
        try:
            length = HEAD_LENGTH.size + HEAD_LENGTH.unpack_from(payload)[0]
        except struct.error as error:
            raise Damaged("a transaction is shorter than its length field") from error
        if length > len(payload):
            raise Damaged("a transaction's head goes on past its end")
    return Head(segment, frame.offset, frame.type, frame.version, payload[:length], len(payload) - length)


def head_octets(payload: Payload) -> bytes:  # hot: throughput
    """The head of a frame that is written: the same as ``head_of`` gives when it is read."""
    octets = payload.buffers[0]
    if payload.meaning.kind in MESSAGES:
        length = HEAD_LENGTH.size + HEAD_LENGTH.unpack_from(octets)[0]
        if length < len(octets):
            return octets[:length]
    return octets

"""What an attached sink tells the blast: where it listens, then about each message it accepted, in one record of fixed size."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from penstock.sim.sink.message import SinkMessage

_RECORD: Final = struct.Struct("<QdIIB3x")
RECEIPT_SIZE: Final = _RECORD.size
_ID = re.compile(rb"^X-Blast-Id:[ \t]*([0-9a-f]{8})-([0-9]{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BODY = re.compile(rb"^X-Blast-Body:[ \t]*([0-9a-f]{8})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class Opening(msgspec.Struct, frozen=True):
    """The first line a receiver writes: where it listens, or why it does not."""

    endpoints: tuple[str, ...] = ()
    error: str = ""


class Receipt(NamedTuple):
    """Message ``number`` came at ``received`` (CLOCK_MONOTONIC) for so many recipients, which ``check`` is of; its body changed or not."""

    number: int
    received: float
    recipients: int
    check: int
    is_changed: bool

    def to_bytes(self) -> bytes:
        """The record, ``RECEIPT_SIZE`` octets."""
        return _RECORD.pack(*self)


def receipts(octets: bytes) -> Iterator[Receipt]:
    """The receipts in a whole number of records."""
    for number, received, recipients, check, is_changed in _RECORD.iter_unpack(octets):
        yield Receipt(number, received, recipients, check, bool(is_changed))


def check_of(recipients: Iterable[bytes]) -> int:
    """A number that two different sets of recipients hardly share: the exclusive or of their CRC-32. Case does not matter."""
    check = 0
    for recipient in recipients:
        check ^= zlib.crc32(recipient.lower())
    return check


def receipt_of(message: SinkMessage, run: int) -> Receipt | None:  # hot: throughput
    """The receipt of a message that run ``run`` sent; None if another sent it, or if its fields are gone."""
    content = message.content
    header, _, body = content.partition(b"\r\n\r\n")
    identity = _ID.search(header)
    if identity is None or int(identity[1], 16) != run:
        return None
    digest = _BODY.search(header)
    is_changed = digest is None or int(digest[1], 16) != zlib.crc32(body)
    recipients = message.envelope.recipients
    check = check_of(recipient.encode("utf-8", "surrogateescape") for recipient in recipients)
    return Receipt(int(identity[2]), message.received, len(recipients), check, is_changed)

"""The log read again: all records from a position on, as they were shown when they were stored, except that of large contents only the size is real.

Records are read in small steps, so that whoever reads has the loop wait for none. A record that cannot be read back is left out, and said so.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from penstock.mail.ports import LogPosition
from penstock.mail.records import MessageRecord, SpoolRecord
from penstock.spool.decoding import (
    Attempt,
    Expiration,
    Forget,
    Note,
    Quarantine,
    Release,
    Transaction,
    decode,
)
from penstock.spool.files import FileError
from penstock.spool.frame import (
    SEGMENT_HEADER_SIZE,
    Damaged,
    Frame,
    FrameType,
    Place,
    frame_size,
    is_known,
)
from penstock.spool.scan import next_header
from penstock.spool.segment import SegmentReader
from penstock.spool.shelf import Shelf

LOG = logging.getLogger(__name__)

#: Messages that are remembered for the outcomes behind them.
_REMEMBERED: Final = 1000


class History:
    """See the module. Reads as far as ``end`` says at the time."""

    def __init__(self, shelf: Shelf, end: Callable[[], LogPosition]) -> None:
        self._shelf = shelf
        self._end = end
        self._messages: OrderedDict[Place, MessageRecord] = OrderedDict()

    def records(self, start: LogPosition) -> Iterator[tuple[SpoolRecord | None, LogPosition]]:
        """Records, each with the position behind it (of several in one frame, all with that behind the frame but the first ones, which
        have the one before it); None is a step without one. FileError, NewerFormat.
        """
        numbers = [
            segment.identity.number for segment in self._shelf if segment.identity.number >= start.segment
        ]
        while numbers:
            number = numbers.pop(0)
            offset = start.offset if number == start.segment else SEGMENT_HEADER_SIZE
            yield from self._segment(number, max(offset, SEGMENT_HEADER_SIZE))
            if not numbers:
                numbers = [item.identity.number for item in self._shelf if item.identity.number > number]
                if number >= self._end().segment:
                    return

    def _segment(self, number: int, offset: int) -> Iterator[tuple[SpoolRecord | None, LogPosition]]:
        while True:
            segment, last = self._shelf.get(number), self._end()
            if segment is None or number > last.segment:
                return
            end = min(segment.end, last.offset) if number == last.segment else segment.end
            reader = self._shelf.reader(number)
            if offset >= end or offset >= reader.file.size():
                return
            try:
                frame = reader.frame(offset)
            except Damaged:
                following = next_header(reader.file, reader.identity, offset, min(end, reader.file.size()))
                if following is None:
                    return
                offset = following
                yield None, LogPosition(number, offset)
                continue
            if frame.type == FrameType.SEAL:
                return
            behind = offset + frame_size(len(frame.payload))
            records = self._of_frame(reader, frame)
            for record in records[:-1]:
                yield record, LogPosition(number, offset)
            yield (records[-1] if records else None), LogPosition(number, behind)
            offset = behind

    def _of_frame(self, reader: SegmentReader, frame: Frame) -> list[SpoolRecord]:
        if not is_known(frame.type, frame.version, reader.path):
            return []
        number = reader.identity.number
        try:
            decoded = decode(frame)
            if isinstance(decoded, Transaction):
                messages = self._remember(Place(number, frame.offset, 0), decoded)
                return [] if decoded.states else messages
            if isinstance(decoded, Attempt | Expiration):
                return [decoded.record(self._message(decoded.place))]
        except (Damaged, FileError, KeyError) as error:
            LOG.warning("spool: no event is made of offset %d of %s: %s", frame.offset, reader.path, error)
            return []
        if isinstance(decoded, Quarantine):
            return [decoded.record()]
        if isinstance(decoded, Forget | Release):
            record = decoded.record()
            return [record] if record is not None else []
        return [decoded.record] if isinstance(decoded, Note) else []

    def _message(self, place: Place) -> MessageRecord:
        """The message that an outcome is about."""
        message = self._messages.get(place)
        if message is None:
            transaction = self._shelf.reader(place.segment).transaction(place.offset)
            self._remember(place._replace(part=0), transaction)
            message = self._messages.get(place)
        if message is None:
            raise Damaged(f"no message is at {place}")
        return message

    def _remember(self, place: Place, transaction: Transaction) -> list[SpoolRecord]:
        body = transaction.body
        messages: list[SpoolRecord] = []
        for part in range(len(transaction)):
            # of a content that is not in the frame only the size is asked for
            message = (
                transaction.sized(part, bytes(body.size)) if body is not None else transaction.message(part)
            )
            self._messages[place._replace(part=part)] = message
            messages.append(message)
        while len(self._messages) > _REMEMBERED + len(messages):
            self._messages.popitem(last=False)
        return messages

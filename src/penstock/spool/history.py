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
    Forget,
    Note,
    Outcomes,
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
from penstock.spool.head import Head, head_of
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
        for reader, frame, position in self._frames(start):
            records = self._of_frame(reader, frame) if frame is not None else []
            before = LogPosition(position.segment, frame.offset) if frame is not None else position
            for record in records[:-1]:
                yield record, before
            yield (records[-1] if records else None), position

    def heads(self, start: LogPosition) -> Iterator[tuple[Head | None, LogPosition]]:
        """The heads of frames, each with the position behind it; None is a step without one. FileError, NewerFormat."""
        for reader, frame, position in self._frames(start):
            head = None
            if frame is not None and is_known(frame.type, frame.version, reader.path):
                try:
                    head = head_of(position.segment, frame)
                except Damaged as error:
                    _warn(frame.offset, reader.path, error)
            yield head, position

    def head(self, segment: int, offset: int) -> Head:
        """The head of the frame at a place. Damaged, FileError, NewerFormat; KeyError if there is no such segment."""
        reader = self._shelf.reader(segment)
        frame = reader.frame(offset)
        if not is_known(frame.type, frame.version, reader.path):
            raise Damaged(f"a frame of type {frame.type} holds no message")
        return head_of(segment, frame)

    def _frames(self, start: LogPosition) -> Iterator[tuple[SegmentReader, Frame | None, LogPosition]]:
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

    def _segment(self, number: int, offset: int) -> Iterator[tuple[SegmentReader, Frame | None, LogPosition]]:
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
                yield reader, None, LogPosition(number, offset)
                continue
            if frame.type == FrameType.SEAL:
                return
            offset += frame_size(len(frame.payload))
            yield reader, frame, LogPosition(number, offset)

    def _of_frame(self, reader: SegmentReader, frame: Frame) -> list[SpoolRecord]:
        if not is_known(frame.type, frame.version, reader.path):
            return []
        number = reader.identity.number
        try:
            decoded = decode(frame)
            if isinstance(decoded, Transaction):
                messages = self._remember(Place(number, frame.offset, 0), decoded)
                return [] if decoded.states else messages
            if isinstance(decoded, Outcomes):
                return [decoded.record(self._message(decoded.place))]
        except (Damaged, FileError, KeyError) as error:
            _warn(frame.offset, reader.path, error)
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


def _warn(offset: int, path: str, error: Exception) -> None:
    LOG.warning("spool: no event is made of offset %d of %s: %s", offset, path, error)

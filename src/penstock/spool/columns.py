"""The columns of an index: typed arrays, a row for each message, each later frame, each copy, each message that an order has put elsewhere."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Final

from penstock.spool.frame import Place
from penstock.spool.meaning import Change

#: A change that names no time.
NO_DUE: Final = math.nan


class MessageColumns:
    """One row a message: where it begins in the segment and which part of its frame it is; seconds since 1970, octets, recipients, queue."""

    __slots__ = ("created", "offset", "part", "queue", "recipients", "size")

    def __init__(self) -> None:
        self.offset = array("I")
        self.part = array("H")
        self.created = array("d")
        self.size = array("Q")
        self.recipients = array("I")
        #: indices of the index's queue names
        self.queue = array("I")

    def __len__(self) -> int:
        return len(self.offset)

    def columns(self) -> tuple[array[int] | array[float], ...]:
        """The columns in the order of the format."""
        return self.offset, self.part, self.created, self.size, self.recipients, self.queue


class ChangeColumns:
    """One row a later frame, or a copied message's state: the frame's offset and type, and a Change.

    ``due`` is NO_DUE for none. The recipients settled by all rows stand in ``settled``, ``settled_count`` of them for each.
    """

    __slots__ = (
        "about_offset", "about_part", "about_segment", "attempts", "due", "kind", "offset", "settled", "settled_count",
    )  # fmt: skip

    def __init__(self) -> None:
        self.offset = array("I")
        self.kind = array("B")
        self.about_segment = array("I")
        self.about_offset = array("I")
        self.about_part = array("H")
        self.attempts = array("I")
        self.due = array("d")
        self.settled_count = array("I")
        self.settled = array("I")

    def __len__(self) -> int:
        return len(self.offset)

    def columns(self) -> tuple[array[int] | array[float], ...]:
        """The columns in the order of the format."""
        return (
            self.offset, self.kind, self.about_segment, self.about_offset, self.about_part, self.attempts,
            self.due, self.settled_count, self.settled,
        )  # fmt: skip

    def add(self, offset: int, kind: int, change: Change) -> None:  # hot: throughput
        """A row for what the frame at ``offset`` says."""
        place = change.about
        self.offset.append(offset)
        self.kind.append(kind)
        self.about_segment.append(place.segment)
        self.about_offset.append(place.offset)
        self.about_part.append(place.part)
        self.attempts.append(change.attempts)
        self.due.append(NO_DUE if change.due is None else change.due)
        self.settled_count.append(len(change.settled))
        self.settled.extend(change.settled)

    def __iter__(self) -> Iterator[tuple[int, int, Change]]:
        """Offset, type and change of every row."""
        begin = 0
        for row in range(len(self.offset)):
            end = begin + self.settled_count[row]
            due = self.due[row]
            place = Place(self.about_segment[row], self.about_offset[row], self.about_part[row])
            settled = tuple(self.settled[begin:end]) if end > begin else ()
            yield (
                self.offset[row],
                self.kind[row],
                Change(place, self.attempts[row], None if math.isnan(due) else due, settled),
            )
            begin = end


class CopyColumns:
    """One row for each message of a COPY or a MOVED: its row among the messages, and the place that it replaces."""

    __slots__ = ("offset", "part", "row", "segment")

    def __init__(self) -> None:
        self.row = array("I")
        self.segment = array("I")
        self.offset = array("I")
        self.part = array("H")

    def __len__(self) -> int:
        return len(self.row)

    def __iter__(self) -> Iterator[tuple[int, Place]]:
        """Row and replaced place of every copy."""
        for row, segment, offset, part in zip(self.row, self.segment, self.offset, self.part, strict=True):
            yield row, Place(segment, offset, part)

    def columns(self) -> tuple[array[int], ...]:
        """The columns in the order of the format."""
        return self.row, self.segment, self.offset, self.part

    def add(self, row: int, place: Place) -> None:
        """A row more."""
        self.row.append(row)
        self.segment.append(place.segment)
        self.offset.append(place.offset)
        self.part.append(place.part)


class RebindColumns:
    """One row for each REBIND: its row among the changes, and the queue that the message goes into, an index of the queue names."""

    __slots__ = ("change", "queue")

    def __init__(self) -> None:
        self.change = array("I")
        self.queue = array("I")

    def __len__(self) -> int:
        return len(self.change)

    def columns(self) -> tuple[array[int], ...]:
        """The columns in the order of the format."""
        return self.change, self.queue

"""The index of a segment: what the scheduler needs of each message and each later frame, in columns.

It grows while a segment is written, or scanned, and is written at its end as the payload of a SEAL frame, so that a start reads neither the
contents nor the envelopes of sealed segments. Columns are typed arrays: about 50 octets a message, 35 a later frame. What few messages have,
schedules, and queues into which orders have put them, is beside the columns.

Rows are in the order of the segment: messages by place, changes by the offset of their frame. A change follows the message that it is about.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from operator import ge, gt
from typing import Final

import msgspec

from penstock.mail.queue_name import QueueName
from penstock.mail.schedule import Schedule
from penstock.spool.columns import ChangeColumns, CopyColumns, MessageColumns, RebindColumns
from penstock.spool.forms import ListedSchedule, QueueForm, SealForm
from penstock.spool.frame import SECOND, VERSION, Damaged, FrameType, Place
from penstock.spool.meaning import Change, Meaning
from penstock.spool.names import is_body_name
from penstock.spool.parts import queue_of, schedule_form, schedule_of

_SEAL: Final = msgspec.msgpack.Decoder(SealForm)
_NAMES: Final = msgspec.msgpack.Decoder(tuple[QueueForm, ...])
_SCHEDULES: Final = msgspec.msgpack.Decoder(tuple[ListedSchedule, ...])
_encode = msgspec.msgpack.Encoder().encode
_CHANGES: Final = frozenset(
    map(
        int,
        (
            FrameType.COPY, FrameType.ATTEMPT, FrameType.EXPIRATION, FrameType.MOVED, FrameType.FORGET,
            FrameType.QUARANTINE, FrameType.RELEASE, FrameType.REMOVAL, FrameType.REBIND, FrameType.FLUSH,
        ),
    )
)  # fmt: skip
#: Frames whose messages have a state, and each of them a row among the copies.
COPIES: Final = frozenset((int(FrameType.COPY), int(FrameType.MOVED)))
#: The head of a msgpack array of up to 2^16 elements.
_ARRAY_16: Final = struct.Struct(">BH")
#: Queue names, or schedules, in one array.
_IN_ONE: Final = 250
#: Rows that are checked in one step.
_ROWS_AT_ONCE: Final = 1000


class _Arrays:
    """Records as msgpack arrays of some of them each, encoded as they come: there may be as many as messages, and sealing must not take their
    time at once.
    """

    __slots__ = ("_count", "_next", "ended")

    def __init__(self) -> None:
        self.ended: list[msgspec.Raw] = []
        self._next = bytearray()
        self._count = 0

    def add(self, item: object) -> None:
        """One more."""
        self._next += _encode(item)
        self._count += 1
        if self._count == _IN_ONE:
            self._end()

    def all(self) -> list[msgspec.Raw]:
        """All that there are so far."""
        if self._count:
            self._end()
        return self.ended

    def _end(self) -> None:
        self.ended.append(msgspec.Raw(_ARRAY_16.pack(0xDC, self._count) + self._next))
        self._next.clear()
        self._count = 0


class Index:
    """What is in segment ``number``. ``bodies``: the offsets of frames whose content is in a body file, with its name.

    ``schedules``: rows of messages that have one, ascending, with it.
    """

    __slots__ = (
        "_names",
        "_queues",
        "_schedules",
        "bodies",
        "changes",
        "copies",
        "messages",
        "notes",
        "number",
        "queue_names",
        "rebinds",
        "schedules",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.messages = MessageColumns()
        self.changes = ChangeColumns()
        self.queue_names: list[QueueName] = []
        self.bodies: list[tuple[int, str]] = []
        self.copies = CopyColumns()
        self.rebinds = RebindColumns()
        self.schedules: list[tuple[int, Schedule]] = []
        self.notes = 0
        self._queues: dict[QueueName, int] = {}
        self._names = _Arrays()
        self._schedules = _Arrays()

    def add(self, offset: int, meaning: Meaning) -> None:  # hot: throughput
        """Take up the frame at ``offset``, which is behind all that were taken up before."""
        if meaning.change is not None:
            if meaning.queue is not None:
                self.rebinds.change.append(len(self.changes))
                self.rebinds.queue.append(self._number_of(meaning.queue))
            self.changes.add(offset, meaning.kind, meaning.change)
        elif meaning.messages:
            self._add_messages(offset, meaning)
        elif meaning.kind is FrameType.NOTE:
            self.notes += 1

    def _add_messages(self, offset: int, meaning: Meaning) -> None:
        columns = self.messages
        first = len(columns)
        queues = self._queues
        for part, (created, size, recipients, name) in enumerate(meaning.messages):
            queue = queues.get(name)
            if queue is None:
                queue = self._number_of(name)
            columns.offset.append(offset)
            columns.part.append(part)
            columns.created.append(created)
            columns.size.append(size)
            columns.recipients.append(recipients)
            columns.queue.append(queue)
        for part, schedule in meaning.schedules:
            self.schedules.append((first + part, schedule))
            self._schedules.add((first + part, schedule_form(schedule)))
        if meaning.body is not None:
            self.bodies.append((offset, meaning.body))
        for part, state in enumerate(meaning.states):
            self.copies.add(first + part, state.replaces)
            waiting = set(state.waiting)
            settled = tuple(
                [item for item in range(meaning.messages[part].recipients) if item not in waiting]
            )
            change = Change(Place(self.number, offset, part), state.attempts, state.due, settled)
            kind = FrameType.COPY if state.held is None else FrameType.MOVED
            self.changes.add(offset, kind, change)

    @property
    def version(self) -> int:
        """Of its SEAL frame: the second, if there is what the first does not have."""
        return SECOND if self.schedules or len(self.rebinds) else VERSION

    def to_bytes(self) -> bytes:
        """The payload of the SEAL frame."""
        parts = (
            _octets(self.messages.columns()),
            self._names.all(),
            self.bodies,
            _octets(self.copies.columns()),
            _octets(self.changes.columns()),
            self.notes,
        )
        if self.version == VERSION:
            return _encode(parts)
        return _encode((*parts, self._schedules.all(), _octets(self.rebinds.columns())))

    def _number_of(self, name: QueueName) -> int:
        number = self._queues.get(name)
        if number is None:
            number = self._queues[name] = len(self.queue_names)
            self.queue_names.append(name)
            self._names.add((name.domain, name.tenant, name.campaign, name.routing_domain))
        return number

    def add_names(self, names: msgspec.Raw) -> None:
        """Queue names as ``to_bytes`` has them, one of its arrays. MsgspecError if they are none."""
        self.queue_names += map(queue_of, _NAMES.decode(names))
        self._names.ended.append(names)

    def add_schedules(self, schedules: msgspec.Raw) -> None:
        """Schedules as ``to_bytes`` has them, one of its arrays. MsgspecError if they are none."""
        self.schedules += [(row, schedule_of(form)) for row, form in _SCHEDULES.decode(schedules)]
        self._schedules.ended.append(schedules)

    def schedules_of(self, first: int, last: int | None) -> list[tuple[int, Schedule]]:
        """Those of messages from row ``first`` up to ``last``, None for all behind."""
        if not self.schedules:
            return []
        begin = bisect_left(self.schedules, first, key=_row)
        end = bisect_left(self.schedules, last, key=_row) if last is not None else None
        return self.schedules[begin:end]

    def rebound(self) -> Iterator[QueueName]:
        """The queues into which its REBIND frames put messages, in their order."""
        return (self.queue_names[number] for number in self.rebinds.queue)


def _row(listed: tuple[int, Schedule]) -> int:
    return listed[0]


def parse_index(octets: bytes, number: int) -> Index:
    """``parse_index_in_steps``, all at once."""
    steps = parse_index_in_steps(octets, number)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            index: Index = end.value
            return index


def parse_index_in_steps(octets: bytes, number: int) -> Generator[None, None, Index]:
    """The index that the payload of segment ``number``'s SEAL frame is, in small steps; Damaged if it is none, or does not fit together."""
    try:
        form = _SEAL.decode(octets)
        index = Index(number)
        for names in form.queue_names:
            yield
            index.add_names(names)
        for schedules in form.schedules:
            yield
            index.add_schedules(schedules)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(f"an index is not as its type has it: {error}"[:300]) from error
    yield
    _fill(index.messages.columns(), form.messages)
    _fill(index.copies.columns(), form.copies)
    _fill(index.changes.columns(), form.changes)
    if form.rebinds:
        _fill(index.rebinds.columns(), form.rebinds)
    index.bodies += form.bodies
    index.notes = form.notes
    yield from _check(index)
    return index


def _fill(columns: Sequence[array[int] | array[float]], octets: Sequence[bytes]) -> None:
    if len(octets) < len(columns):
        raise Damaged("an index has too few columns")
    for column, values in zip(
        columns, octets, strict=False
    ):  # a column more is a later version's, for itself
        if len(values) % column.itemsize:
            raise Damaged("a column of an index is no whole number of values")
        column.frombytes(values)
        if sys.byteorder == "big":
            column.byteswap()


def _check(index: Index) -> Iterator[None]:
    """Damaged unless every column has as many rows as the others, and every row refers to what there is, in order."""
    messages, changes, copies = index.messages, index.changes, index.copies
    rows = len(messages)
    if any(len(column) != rows for column in messages.columns()) or any(
        len(column) != len(changes) for column in changes.columns()[:-1]
    ):
        raise Damaged("the columns of an index have different lengths")
    if any(len(column) != len(copies) for column in copies.columns()):
        raise Damaged("the columns of an index have different lengths")
    if rows and max(messages.queue) >= len(index.queue_names):
        raise Damaged("an index names a queue that it does not have")
    if len(copies) and max(copies.row) >= rows:
        raise Damaged("an index names a message that it does not have")
    _check_beside(index)
    if sum(changes.settled_count) != len(changes.settled):
        raise Damaged("an index has more settled recipients than its frames, or fewer")
    if sum(map(changes.kind.count, COPIES)) != len(copies):
        raise Damaged("an index has more copies than states of them, or fewer")
    if not _CHANGES.issuperset(changes.kind) or not all(is_body_name(name) for _, name in index.bodies):
        raise Damaged("an index has a frame or a body file of a kind that there is not")
    for first in range(0, max(rows, len(changes)), _ROWS_AT_ONCE):
        yield
        part = slice(first, first + _ROWS_AT_ONCE + 1)
        places = zip(messages.offset[part], messages.part[part], strict=True)
        keys = [offset << 16 | number for offset, number in places]
        offsets = changes.offset[part]
        if any(map(ge, keys, keys[1:])) or any(map(gt, offsets, offsets[1:])):
            raise Damaged("an index is not in the order of its segment")


def _check_beside(index: Index) -> None:
    """As ``_check``, of what few messages have."""
    rebinds, changes = index.rebinds, index.changes
    if len(rebinds.change) != len(rebinds.queue):
        raise Damaged("the columns of an index have different lengths")
    found = [row for row, kind in enumerate(changes.kind) if kind == FrameType.REBIND] if len(rebinds) else []
    if list(rebinds.change) != found or changes.kind.count(FrameType.REBIND) != len(rebinds):
        raise Damaged("an index has more rebinds than queues for them, or fewer")
    if len(rebinds) and max(rebinds.queue) >= len(index.queue_names):
        raise Damaged("an index names a queue that it does not have")
    rows = [row for row, _ in index.schedules]
    if any(map(ge, rows, rows[1:])) or (rows and rows[-1] >= len(index.messages)):
        raise Damaged("an index has a schedule of a message that it does not have")


def _octets(columns: Sequence[array[int] | array[float]]) -> tuple[bytes, ...]:
    """The columns as little-endian numbers."""
    if sys.byteorder == "big":
        columns = [column[:] for column in columns]
        for column in columns:
            column.byteswap()
    return tuple([column.tobytes() for column in columns])

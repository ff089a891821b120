"""A segment's index held against what its frames say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from penstock.spool.index import Index

Span = tuple[int, int]
_Row = tuple[object, ...]


def differences(index: Index, frames: Index, damaged: Sequence[Span]) -> str | None:
    """The first thing in which they differ, in words; None if they agree. ``damaged`` octets, from and up to, say nothing."""
    for what, told, found in (
        ("message", _messages(index, damaged), _messages(frames, damaged)),
        ("later record", _changes(index, damaged), _changes(frames, damaged)),
        ("body file", _bodies(index, damaged), _bodies(frames, damaged)),
        ("copy", _copies(index, damaged), _copies(frames, damaged)),
        ("schedule", _schedules(index, damaged), _schedules(frames, damaged)),
        ("rebind", _rebinds(index, damaged), _rebinds(frames, damaged)),
    ):
        fault = _first(what, told, found)
        if fault is not None:
            return fault
    if not damaged and index.notes != frames.notes:
        return f"it counts {index.notes} notes, and there are {frames.notes}"
    return None


def _first(what: str, told: Iterator[_Row], found: Iterator[_Row]) -> str | None:
    """The first difference of two lists of rows that begin with an offset."""
    while True:
        one, other = next(told, None), next(found, None)
        if one == other:
            if one is None:
                return None
            continue
        if one is not None and other is not None and one[0] == other[0]:
            return f"it has another {what} at {one[0]} than there is"
        if other is None or (one is not None and _offset(one) < _offset(other)):
            return f"it has a {what} at {_offset(one)} that is not there"
        return f"it lacks the {what} at {_offset(other)}"


def _offset(row: _Row | None) -> int:
    offset = row[0] if row is not None else 0
    return offset if isinstance(offset, int) else 0


def _is_clear(offset: int, damaged: Sequence[Span]) -> bool:
    return not any(start <= offset < end for start, end in damaged)


def _messages(index: Index, damaged: Sequence[Span]) -> Iterator[_Row]:
    names = index.queue_names
    for row in zip(*index.messages.columns(), strict=True):
        *facts, queue = row
        if _is_clear(int(row[0]), damaged):
            yield (*facts, names[int(queue)])


def _changes(index: Index, damaged: Sequence[Span]) -> Iterator[_Row]:
    return (row for row in index.changes if _is_clear(row[0], damaged))


def _bodies(index: Index, damaged: Sequence[Span]) -> Iterator[_Row]:
    return (row for row in index.bodies if _is_clear(row[0], damaged))


def _copies(index: Index, damaged: Sequence[Span]) -> Iterator[_Row]:
    for row, place in index.copies:
        offset = index.messages.offset[row]
        if _is_clear(offset, damaged):
            yield offset, index.messages.part[row], place


def _schedules(index: Index, damaged: Sequence[Span]) -> Iterator[_Row]:
    for row, schedule in index.schedules:
        offset = index.messages.offset[row]
        if _is_clear(offset, damaged):
            yield offset, index.messages.part[row], schedule


def _rebinds(index: Index, damaged: Sequence[Span]) -> Iterator[_Row]:
    for row, queue in zip(index.rebinds.change, index.rebinds.queue, strict=True):
        offset = index.changes.offset[row]
        if _is_clear(offset, damaged):
            yield offset, index.queue_names[queue]

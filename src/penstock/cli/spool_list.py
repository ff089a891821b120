"""``penstock spool ls``: queued messages, chosen by what the columns say; envelopes are read of those alone that are shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from heapq import nsmallest

import msgspec

from penstock.cli.quantities import rfc3339, shown_size, shown_span
from penstock.cli.spool_progress import Progress
from penstock.events.text import displayed
from penstock.mail.address import ReversePath
from penstock.mail.queue_name import QueueName, parse_queue_name
from penstock.spool.frame import Damaged, Place
from penstock.spool.inspection.findings import shown
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.stored import Gone, Stored, StoredReader
from penstock.spool.inspection.view import View, look
from penstock.spool.queued import Queued, QueuedRow

#: How often the spool is looked at again because messages were copied to another segment while they were listed.
_LOOKS = 3
_RECIPIENTS_SHOWN = 5
_HEADER = ("id", "age", "size", "attempts", "due", "queue", "sender", "recipients waiting")


class SelectionError(ValueError):
    """What is to be shown cannot be named so; ``str()`` of it says how it can."""


class Line(msgspec.Struct, frozen=True):
    """A queued message in JSON; names that events have too mean the same. ``recipients`` are those waiting, ``settled`` counts the others.

    ``due_time`` None: as soon as may be. ``is_held``: it came from the lane ``held_from``, which may still have it.
    ``fault`` says why ``id``, ``sender`` and ``recipients`` could not be read, None if they could.
    """

    id: str | None
    queue: str
    tenant: str | None
    campaign: str | None
    domain: str
    routing_domain: str | None
    sender: str | None
    recipients: list[str]
    waiting: int
    settled: int
    size: int
    created_time: str | None
    num_attempts: int
    due_time: str | None
    place: str
    fault: str | None = None
    is_held: bool = False
    held_from: str | None = None


class Selection(msgspec.Struct, frozen=True):
    """Which queues are wanted: any value of each field will do, all fields must agree, an empty one is any. "" is mail without tenant or campaign."""

    queues: frozenset[str]
    tenants: frozenset[str]
    campaigns: frozenset[str]
    domains: frozenset[str]

    @classmethod
    def of(
        cls, queues: Sequence[str], tenants: Sequence[str], campaigns: Sequence[str], domains: Sequence[str]
    ) -> Selection:
        """As the options say; SelectionError for what is no queue."""
        try:
            names = frozenset(str(parse_queue_name(text)) for text in queues)
        except ValueError as error:
            raise SelectionError(str(error)) from error
        lower = frozenset(name.lower() for name in domains)
        return cls(names, frozenset(tenants), frozenset(campaigns), lower)

    def is_wanted(self, name: QueueName | None) -> bool:
        """Whether messages of this queue are wanted."""
        return (
            name is not None
            and (not self.queues or str(name) in self.queues)
            and (not self.tenants or (name.tenant or "") in self.tenants)
            and (not self.campaigns or (name.campaign or "") in self.campaigns)
            and (not self.domains or name.domain in self.domains)
        )


def list_messages(
    files: ReadOnlyFiles, wanted: Selection, limit: int | None, now: float, progress: Progress, *, json: bool
) -> None:
    """Print the wanted messages, oldest first, ``limit`` at most (None: all), and on stderr how many more there are."""
    view = look(files, progress.segments)
    progress.close()
    rows, more = _choose(view.queued, wanted, limit)
    lister = _Lister(files, view)
    write = sys.stdout.write
    if not json:
        write(_row(_HEADER))
    for seen, line in lister.lines(rows):
        write(msgspec.json.encode(line).decode() + "\n" if json else _row(_cells(seen, line, now)))
    sys.stdout.flush()
    if lister.left:
        sys.stderr.write(f"{lister.left} messages left the spool while they were listed\n")
    if more:
        sys.stderr.write(f"{more} more messages; --limit shows more, 0 all\n")


def _choose(queued: Queued, wanted: Selection, limit: int | None) -> tuple[list[int], int]:
    """Rows of the wanted live messages, the oldest first, and how many there are beyond ``limit``."""
    queues = [wanted.is_wanted(name) for name in queued.queue_names]
    live = zip(queued.waiting, queued.queue, strict=True)
    rows = [row for row, (bits, queue) in enumerate(live) if bits and queues[queue]]
    created = queued.created
    if limit is None or limit >= len(rows):
        rows.sort(key=created.__getitem__)
        return rows, 0
    return nsmallest(limit, rows, key=created.__getitem__), len(rows) - limit


class _Lister:
    """Reads envelopes while the spool moves on. ``left`` counts messages that were settled meanwhile."""

    def __init__(self, files: ReadOnlyFiles, view: View) -> None:
        self._files = files
        self._view = view
        self._reader = self._new_reader()
        self._looks = 1
        self.left = 0

    def _new_reader(self) -> StoredReader:
        return StoredReader(
            self._files, {item.identity.number: item.identity for item in self._view.segments}
        )

    def lines(self, rows: Sequence[int]) -> Iterator[tuple[QueuedRow, Line]]:
        """What the columns and the line say of each row that is still queued."""
        message = self._view.queued.message  # of the look that the rows are of
        try:
            for row in rows:
                line = self._line(message(row))
                if line is not None:
                    yield line
                else:
                    self.left += 1
        finally:
            self._reader.close()

    def _line(self, seen: QueuedRow) -> tuple[QueuedRow, Line] | None:
        """None if the message is gone."""
        place = seen.place
        while True:
            try:
                return seen, _line(seen, self._reader.envelope(place), None)
            except Damaged as damage:
                return seen, _line(seen, None, str(damage))
            except Gone:
                row = self._again(seen.place)
                if row is None:
                    return None
                seen = self._view.queued.message(row)
                if seen.place == place:
                    return None
                place = seen.place

    def _again(self, place: Place) -> int | None:
        """Where a message has gone, by a new look if there may be one; None if it is not queued any more, or nobody knows."""
        if self._looks < _LOOKS:
            self._looks += 1
            self._reader.close()
            self._view = look(self._files)
            self._reader = self._new_reader()
        row = self._view.find(place)
        return row if row is not None and self._view.queued.waiting[row] else None


def _line(seen: QueuedRow, stored: Stored | None, fault: str | None) -> Line:
    name = seen.queue
    record = stored.record if stored is not None else None
    recipients = record.recipients if record is not None else ()
    # no checksum covers an envelope that is read without its content
    addresses = [str(recipients[item]) for item in seen.waiting if item < len(recipients)]
    return Line(
        record.id if record is not None else None,
        str(name),
        name.tenant,
        name.campaign,
        name.domain,
        name.routing_domain,
        sender_of(record.reverse_path) if record is not None else None,
        addresses,
        len(seen.waiting),
        len(recipients) - len(addresses),
        seen.size,
        rfc3339(seen.created),
        seen.attempts,
        rfc3339(seen.due) if seen.due is not None else None,
        shown(seen.place),
        fault,
        seen.is_held,
        held_from(stored) if stored is not None and seen.is_held else None,
    )


def held_from(stored: Stored) -> str | None:
    """The lane from which a message came that is held; None if nobody can say."""
    held = stored.state.held if stored.state is not None else None
    return held.lane if held is not None else None


def sender_of(reverse_path: ReversePath) -> str:
    """A reverse-path as events have it: "" for the null reverse-path."""
    return str(reverse_path) if reverse_path is not None else ""


def _cells(seen: QueuedRow, line: Line, now: float) -> tuple[str, ...]:
    is_due = seen.due is None or seen.due <= now
    shown_recipients = ", ".join(line.recipients[:_RECIPIENTS_SHOWN])
    if line.waiting > _RECIPIENTS_SHOWN:
        shown_recipients += f" and {line.waiting - _RECIPIENTS_SHOWN} more"
    return (
        line.id or f"({line.place})",
        shown_span(now - seen.created),
        shown_size(line.size),
        str(line.num_attempts),
        "held"
        if seen.is_held
        else "now"
        if is_due or seen.due is None
        else f"in {shown_span(seen.due - now)}",
        line.queue,
        f"<{line.sender or ''}>" if line.fault is None else "?",
        shown_recipients if line.fault is None else f"cannot be read: {line.fault}",
    )


def _row(cells: Sequence[str]) -> str:
    widths = (32, 8, 9, 8, 11)
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=False)]
    padded[0] = cells[0].ljust(widths[0])
    return displayed("  ".join([*padded, *cells[len(widths) :]])) + "\n"

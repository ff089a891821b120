"""What is in the event log already, read at a start: which events, and what they add up to.

The events of a spool record are written in the order of the log, so those behind a checkpoint are the only ones that may be there although
the checkpoint does not say so. Without a checkpoint it is the ids of the last events that tell where writing ended: of more than
``ID_LIMIT`` the oldest are forgotten, and what comes before the first that is known was written then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from penstock.events.checkpoint import Mark
from penstock.events.event import Counts, TenantCounts
from penstock.events.files import log_files
from penstock.events.tail import Position, Reader
from penstock.events.totals import Totals, counted_line

LOG = logging.getLogger(__name__)

#: Ids that are kept: more than ``penstock.events.log.UNSETTLED_LIMIT`` octets of events have. About 30 MB while a start lasts.
ID_LIMIT: Final = 200_000
#: Octets of event files that are looked at without a checkpoint, at least: some 200,000 events.
_ENOUGH: Final = 256 * 1024 * 1024


class Opening(msgspec.Struct):
    """The sums that a file opens with."""

    totals: Counts
    tenant_totals: tuple[TenantCounts, ...]
    type: str = ""


_decode_opening = msgspec.json.Decoder(Opening).decode


def opening_of(line: bytes) -> Opening | None:
    """The sums on a line of type Totals; None if it is none."""
    if not line.startswith(b'{"type":"Totals"'):
        return None
    try:
        return _decode_opening(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Survey:
    """Reads the log behind a checkpoint, or its last files if there is none; ``steps`` does it, the rest says what was found.

    ``mark`` is where it begins to read. ``ids`` are of events behind that, ``totals`` the sums of all events. ``is_partial``: there are
    events whose ids are not known, all before the first that is known.
    """

    def __init__(self, directory: Path, mark: Mark | None, limit: int = ID_LIMIT) -> None:
        self.ids: dict[str, None] = {}
        self.is_partial = False
        self.totals = Totals()
        self._directory = directory
        self.mark = mark if mark is not None else Mark()
        self._is_marked = mark is not None
        self._limit = limit
        #: whether the next sums are those of everything before: read from the beginning of a file
        self._takes_opening = True

    def old_files(self) -> list[Path]:
        """The files that are read, oldest first. OSError."""
        files = log_files(self._directory)
        if self._is_marked:
            return [path for path in files if path.name >= self.mark.file]
        size = 0
        for count, path in enumerate(reversed(files), start=1):
            size += path.stat().st_size
            if size >= _ENOUGH:
                return files[-count:]
        return files

    def steps(self) -> Iterator[None]:
        """Read on by some hundred lines with each step. OSError if a file cannot be read."""
        files = self.old_files()
        mark = self.mark
        self.totals = Totals(mark.totals, mark.tenant_totals)
        if not files:
            return
        is_before_all = self._is_marked and not mark.file
        if files[0].name != mark.file:
            self.is_partial = not self._is_marked and files[0] != log_files(self._directory)[0]
            mark = self.mark = mark._replace(file=files[0].name, offset=0)
        # a checkpoint from before the first file knows better: what that opens with may count orders whose frames are still to be read
        self._takes_opening = mark.offset == 0 and not is_before_all
        begin = Position(files[0], mark.offset)
        with Reader(self._directory, begin) as reader:
            for lines in reader.batches():
                if not lines:
                    return
                self._read(lines)
                yield

    def _read(self, lines: list[bytes]) -> None:
        for line in lines:
            event = counted_line(line)
            if event is None:
                continue
            if event.type == "Totals":
                self._open(line)
                continue
            if not event.event_id or event.event_id in self.ids:
                continue
            self.ids[event.event_id] = None
            self.totals.add((event,))
        while len(self.ids) > self._limit:
            del self.ids[next(iter(self.ids))]
            self.is_partial = True

    def _open(self, line: bytes) -> None:
        """The sums of the first file that is read from its beginning are those of all files before it."""
        opening = opening_of(line)
        if self._takes_opening and opening is not None:
            self._takes_opening = False
            self.totals = Totals(opening.totals, opening.tenant_totals)

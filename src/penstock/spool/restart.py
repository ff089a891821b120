"""What a start does with what is there: found first, so that new mail can be stored; then read, cleared up, and told of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from penstock.mail.duration import WallTime
from penstock.mail.records import QueuedMessage
from penstock.spool.bodies import Bodies
from penstock.spool.departures import ForgetPlaces
from penstock.spool.files import FileError, Files
from penstock.spool.names import body_path
from penstock.spool.queued import Queued
from penstock.spool.recovery import Recovered, RecoveredSegment, Recovery, prepare
from penstock.spool.segment import write_seal
from penstock.spool.shelf import Shelf, Shelved
from penstock.spool.times import Times

LOG = logging.getLogger(__name__)

#: Damages of which an event is made.
_TOLD: Final = 100
#: Rows that one step looks at.
_ROWS: Final = 50


class Restart:
    """One start of a spool. ``quarantined`` counts what was found damaged, ``damages`` says what of it is to be told, some of it.

    ``forgets``: where it is said what has gone to other lanes.
    """

    def __init__(self, files: Files, queued: Queued, shelf: Shelf, bodies: Bodies, times: Times) -> None:
        self._files = files
        self._queued = queued
        self._shelf = shelf
        self._bodies = bodies
        self._times = times
        self._recovery = Recovery(files, queued, times.shift)
        self.quarantined = 0
        self.damages: list[str] = []
        self.forgets = ForgetPlaces()

    def begin(self, now: WallTime) -> int:
        """Find what is there, put on stable storage what may not be, remove segments whose creation did not end, and note the time; blocks.

        The number of the segment to begin with. FileError, NewerFormat.
        """
        prepare(self._files)
        number = self._recovery.find()
        self._recovery.remove_unfinished()
        jump = self._times.begin(now, number)
        if jump:
            LOG.warning(
                "spool: the clock has jumped by %.0f s since the last run, or the server was down for more than a day; "
                "queued mail is no older for it",
                jump,
            )
        return number

    def steps(self, restored: Callable[[Sequence[QueuedMessage]], None]) -> Iterator[None]:
        """Read everything, then tell of live messages, some at a time, in the order of the log. FileError, NewerFormat."""
        yield from self._recovery.steps()
        found = self._recovery.result()
        self.forgets = found.forgets
        self._report(found)
        for segment in found.segments:
            size = self._seal(segment)
            self._shelf.add(Shelved(segment.identity, segment.path, size, segment.end))
            yield
        self._bodies.names.update(found.bodies)
        self._clear_up(found)
        yield from self._tell(found, restored)

    def _seal(self, segment: RecoveredSegment) -> int:
        """Write the index of a segment that had none, so that no other start reads all of it; its size."""
        if segment.index is None or segment.abandoned_at is not None:
            return segment.size
        try:
            file = self._files.open(segment.path, writable=True)
            try:
                return write_seal(file, segment.index, segment.identity, segment.end, segment.end)
            finally:
                file.close()
        except FileError as error:
            LOG.warning("spool: %s could not be sealed: %s", segment.path, error)
            return segment.size

    def _report(self, found: Recovered) -> None:
        for item in found.quarantined:
            if item.was_stored:
                self.quarantined += 1
                if len(self.damages) < _TOLD:
                    self.damages.append(
                        f"found damaged at the start, mail or what became of it is lost: {item}"
                    )
                LOG.error("spool: damaged: %s", item)
            else:
                LOG.info("spool: left by a crash: %s", item)
        for name in found.foreign:
            LOG.warning("spool: %s is none of ours, and is left alone", name)
        torn = sum(segment.torn for segment in found.segments)
        counts = found.counts
        LOG.info(
            "spool: %d messages queued in %d segments; %d later records read, %d octets of a torn tail cut",
            found.queued.live, len(found.segments), counts.changes, torn,
        )  # fmt: skip

    def _clear_up(self, found: Recovered) -> None:
        own = body_path(self._bodies.prefix).removesuffix(".body")
        orphans = [path for path in found.orphans if not path.startswith(own)]
        for path in (*found.unfinished, *orphans):
            try:
                self._files.remove(path)
            except FileError as error:
                LOG.warning("spool: %s", error)

    def _tell(self, found: Recovered, restored: Callable[[Sequence[QueuedMessage]], None]) -> Iterator[None]:
        """Of the rows of the segments that were there: each is in one of them, once. Those that are settled serve again from then on."""
        queued = self._queued
        for segment in found.segments:
            rows = queued.segments.get(segment.identity.number)
            if rows is None:
                continue
            for start in range(0, len(rows.rows), _ROWS):
                messages: list[QueuedMessage] = []
                for row in rows.rows[start : start + _ROWS]:
                    if queued.waiting[row]:
                        messages.append(self._message(row))
                    else:
                        queued.free(row)
                if messages:
                    restored(messages)
                yield

    def _message(self, row: int) -> QueuedMessage:
        message = self._queued.message(row)
        return QueuedMessage(
            row,
            message.queue,
            message.created,
            message.size,
            len(message.waiting),
            message.attempts,
            message.due,
            message.is_held,
            self._queued.schedules.get(row) if message.is_held else self._queued.schedules.pop(row, None),
        )

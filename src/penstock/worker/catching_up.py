"""Reads records back from the spool's log and makes their events: after a start, and after the event log could not be written.

First the event log is surveyed for what is there already, then the spool's log is read to its end. All of it in small steps; between
them the loop does other things.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, Protocol

from penstock.events.event import Event
from penstock.mail.ports import LogPosition
from penstock.mail.records import SpoolRecord
from penstock.spool.frame import SEGMENT_HEADER_SIZE
from penstock.worker.derivation import Derivation

LOG = logging.getLogger(__name__)

#: Events that are written at once: about 1 ms.
_BATCH: Final = 100


class FollowedLog(Protocol):
    """The spool's log, as far as events are derived from it."""

    def history(self, start: LogPosition) -> Iterator[tuple[SpoolRecord | None, LogPosition]]:
        """The synced records behind ``start`` that are still in the log, each with the place behind it, in order; in small steps.

        None is a step without a record. It ends where the log is synced when it is asked for more. A start before the first segment is
        the beginning of the first.
        """

    def events_written(self, position: LogPosition) -> None:
        """The events of all records before this place are on stable storage: nothing before it will be asked for again."""

    @property
    def synced(self) -> LogPosition:
        """The place behind the last record that is known to be stored."""


def catch_up(derivation: Derivation, spool: FollowedLog) -> Iterator[bool]:
    """Derive from ``derivation.position`` on up to where the spool is synced. Each step says whether there is room for the next.

    Errors of the spool pass.
    """
    start = derivation.position
    yield from _read(derivation, spool)
    if derivation.left_out.is_partial:
        # none of the ids that are known was derived: so all events that the spool has are new
        LOG.warning("nothing in the spool has events in the event log; all of it is written")
        derivation.position = start
        derivation.leave_nothing_out()
        yield from _read(derivation, spool)


def _read(derivation: Derivation, spool: FollowedLog) -> Iterator[bool]:
    log = derivation.log
    batch: list[Event] = []
    last = derivation.position
    for record, position in spool.history(derivation.position):
        if record is not None:
            batch += derivation.make(record, derivation.epoch_before(position))
        # the first records of a frame have the place before it, which may be the beginning of a segment
        is_whole = position > last and position.offset > SEGMENT_HEADER_SIZE
        last = position
        if len(batch) >= _BATCH and is_whole:
            derivation.write(batch)
            derivation.reach(position)
            batch = []
            while not log.has_room:
                yield False
        yield True
    derivation.write(batch)
    derivation.reach(max(last, spool.synced))

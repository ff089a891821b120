"""Reads frames back from a lane's log and makes their events: after a start, and when they could not be taken as they came.

All of it in small steps; between them the loop does other things.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

from penstock.events.event import Event
from penstock.mail.ports import LogPosition
from penstock.scribe.deriving import Deriver
from penstock.scribe.lane import Dropped, Lane
from penstock.scribe.writing import Writing

LOG = logging.getLogger(__name__)

#: Events that are written at once: about 1 ms.
_BATCH: Final = 100

Reach = Callable[[Lane, LogPosition], None]


def catch_up(
    lane: Lane, deriver: Deriver, writing: Writing, reach: Reach, dropped: Dropped
) -> Iterator[bool]:
    """Derive from where a lane is up to where its log is synced. Each step says whether there is room for the next.

    Errors of the spool pass.
    """
    if lane.guessing_from is not None:
        lane.position = lane.guessing_from
    start = lane.position
    yield from _read(lane, deriver, writing, reach, dropped)
    if lane.guessing_from is not None:
        # none of the events that are known was derived: so all that the log has are new
        LOG.warning(
            "lane %s: nothing in its spool has events in the event log; all of it is written", lane.name
        )
        lane.guessing_from = None
        lane.may_repeat = False
        lane.position = start
        yield from _read(lane, deriver, writing, reach, dropped)


def _read(lane: Lane, deriver: Deriver, writing: Writing, reach: Reach, dropped: Dropped) -> Iterator[bool]:
    log = lane.log
    assert log is not None  # noqa: S101  # it is asked for only while it is there
    batch: list[Event] = []
    last = lane.position
    for head, position in log.heads(lane.position):
        if head is not None:
            batch += writing.left(lane, lane.events_of(head, deriver, dropped))
        last = position
        if len(batch) >= _BATCH:
            writing.write(batch)
            reach(lane, last)
            batch = []
            while not writing.log.has_room:
                yield False
        yield True
    writing.write(batch)
    reach(lane, max(last, log.synced))

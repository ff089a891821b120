"""Makes lines of the event log of spool records, each once, and knows up to where in the spool's log that is done.

The same for records that come as they are stored, and for those that are read back. Which epoch a record happened in is known by its
place: each reload is remembered with the place up to which the log was written then.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from penstock.events.checkpoint import Mark
from penstock.events.event import Counts, Event, TenantCounts
from penstock.events.log import EventLog
from penstock.events.record import derive, encode
from penstock.events.tail import Position
from penstock.events.totals import Totals, opening_line
from penstock.mail.duration import WallTime
from penstock.mail.ports import LogPosition
from penstock.mail.records import SpoolRecord

LOG = logging.getLogger(__name__)

#: Before every log.
BEGINNING: Final = LogPosition(0, 0)
_NO_IDS: Final[frozenset[str]] = frozenset()


class LeftOut(NamedTuple):
    """Events that are in the event log already, behind ``mark``, of records before ``until``.

    ``is_partial``: so are all before the first of ``ids``.
    """

    ids: Collection[str] = _NO_IDS
    until: LogPosition = BEGINNING
    mark: Mark = Mark()
    is_partial: bool = False


class State(NamedTuple):
    """How far it is: all events of records before ``position`` are before ``end`` in the event log, or left out, and add up to the sums."""

    position: LogPosition
    end: Position
    totals: Counts
    tenant_totals: tuple[TenantCounts, ...]
    left_out: LeftOut

    @property
    def mark(self) -> Mark:
        """Where the events are that a start must find: those that are left out, or none."""
        if self.left_out.until > BEGINNING:
            return self.left_out.mark
        file = self.end.file
        return Mark(file.name if file is not None else "", self.end.offset, self.totals, self.tenant_totals)


class Derivation:
    """Records in, in the order of the spool's log; lines out, to ``log``. ``node`` and ``epoch`` are as events name them."""

    __slots__ = ("_epochs", "_left_out", "_node", "log", "position", "totals")

    def __init__(self, log: EventLog, node: str, epoch: int) -> None:
        self.log = log
        #: behind the last record whose events were handed to the log
        self.position = BEGINNING
        self.totals = Totals()
        self._left_out = LeftOut()
        self._node = node
        #: (place, epoch of the records behind it), in the order of the log
        self._epochs = [(BEGINNING, epoch)]
        log.opening = self._opening

    # -- epochs

    def begin_epochs(self, earlier: int, now: int, since: LogPosition) -> None:
        """Records before ``since`` are of an earlier process, and happened in its epoch; those behind it happen in the one of now."""
        self._epochs = [(BEGINNING, earlier), (since, now)]

    def use_epoch(self, epoch: int, behind: LogPosition) -> None:
        """Records behind this place happen in this epoch."""
        self._epochs.append((behind, epoch))

    def epoch_before(self, position: LogPosition) -> int:
        """The epoch of the record that ends at ``position``."""
        return next(
            epoch for place, epoch in reversed(self._epochs) if place < position or place == BEGINNING
        )

    @property
    def epoch_behind(self) -> int:
        """The epoch of the records behind ``position``."""
        return next(epoch for place, epoch in reversed(self._epochs) if place <= self.position)

    def forget_epochs(self, position: LogPosition) -> None:
        """Nothing before this place will be derived again."""
        old = sum(place <= position for place, _ in self._epochs)
        if old > 1:
            self._epochs[:old] = [(BEGINNING, self._epochs[old - 1][1])]

    # -- deriving

    def make(self, record: SpoolRecord, epoch: int) -> list[Event]:
        """The events of a record; none, and a count, if they cannot be made."""
        try:
            return derive(record, node=self._node, epoch=epoch)
        except Exception:
            # a fault of ours in making events must stop neither the mail that they are about nor the events behind them
            LOG.exception("the events of a %s are lost", type(record).__name__)
            self.log.counts.dropped += 1
            return []

    def write(self, events: list[Event]) -> None:
        """Hand the events to the log, but for those that are in it."""
        if self._left_out.until > BEGINNING:
            events = self._not_left_out(events)
        if not events:
            return
        try:
            lines = encode(events)
        except Exception:  # as above; rarely at all, so it may take its time
            LOG.exception("an event cannot be written")
            events, lines = self._encode_singly(events)
        self.totals.add(events)
        self.log.append(lines)

    def reach(self, position: LogPosition) -> None:
        """All events of records before ``position`` were handed over."""
        self.position = position
        if position >= self._left_out.until > BEGINNING and not self._left_out.is_partial:
            self._left_out = LeftOut()

    def leave_nothing_out(self) -> None:
        """Nothing is there already."""
        self._left_out = LeftOut()

    def have_begun(self, events: Iterable[Event], until: LogPosition, mark: Mark) -> None:
        """These events were written, and all that are behind ``position`` and before ``until`` were not. ``mark`` is before all of them."""
        ids = [event.event_id for event in events]
        if self._left_out.until > BEGINNING:
            ids += self._left_out.ids
            mark = self._left_out.mark
        self._left_out = LeftOut(frozenset(ids), max(until, self._left_out.until), mark)

    @property
    def left_out(self) -> LeftOut:
        """The events that are there already; none of them once ``position`` has passed their end."""
        return self._left_out

    def _not_left_out(self, events: list[Event]) -> list[Event]:
        ids = self._left_out.ids
        if self._left_out.is_partial:
            known = next((place for place, event in enumerate(events) if event.event_id in ids), None)
            if known is None:
                return []
            events = events[known:]
            self._left_out = self._left_out._replace(is_partial=False)
        return [event for event in events if event.event_id not in ids]

    def _encode_singly(self, events: Iterable[Event]) -> tuple[list[Event], bytes]:
        good, lines = [], b""
        for event in events:
            try:
                lines += encode([event])
            except Exception:
                LOG.exception("the event %s is lost", ascii(event.event_id))
                self.log.counts.dropped += 1
            else:
                good.append(event)
        return good, lines

    # -- state

    def state(self, end: Position) -> State:
        """How far it is; ``end`` is the place behind all that was handed to the log."""
        totals = self.totals.without(())
        return State(self.position, end, totals.total, totals.tenants, self._left_out)

    def restore(self, state: State) -> None:
        """Go on from there, as if nothing had been done since."""
        self.position = state.position
        self.totals = Totals(state.totals, state.tenant_totals)
        self._left_out = state.left_out

    def _opening(self, name: str, begun: WallTime, waiting: bytes) -> bytes:
        before = self.totals.without(waiting.split(b"\n"))
        return opening_line(before, name, begun, self._node, self.epoch_behind)

"""Writes events to the event log, each once: what is known to be there already is left out.

What is known are fingerprints of event ids, found in the event log at a start. A fingerprint is shorter than an id, so that a checkpoint can hold
those that are still needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

from penstock.events.checkpoint import LanePlace
from penstock.events.event import Counts, Event, TenantCounts, UnloggedEvent
from penstock.events.log import EventLog
from penstock.events.record import encode
from penstock.events.tail import Position
from penstock.events.totals import Totals, opening_line
from penstock.mail.duration import WallTime
from penstock.scribe.lane import Lane

LOG = logging.getLogger(__name__)

#: Octets of a fingerprint: of 200,000 ids two are the same once in a billion starts.
_FINGERPRINT: Final = 8
#: Seconds between lines of sums, which may be long, while orders are carried out of which no events are wanted.
_SUMS_EVERY: Final = 1.0
Known = frozenset[bytes]
NOTHING: Final[Known] = frozenset()


def fingerprint(event_id: str) -> bytes:
    """What stands for an event's id."""
    return blake2b(event_id.encode("utf-8", "replace"), digest_size=_FINGERPRINT).digest()


def packed(known: Known) -> bytes:
    """Fingerprints as a checkpoint has them."""
    return b"".join(known)


def unpacked(octets: bytes) -> Known:
    """Fingerprints of a checkpoint."""
    return frozenset([octets[at : at + _FINGERPRINT] for at in range(0, len(octets), _FINGERPRINT)])


class State(NamedTuple):
    """How far it is: all events of frames before the places of ``lanes`` are before ``end`` in the event log, and add up to the sums.

    ``known`` are events of later frames that are there too; ``packed`` are the same.
    """

    lanes: dict[str, LanePlace]
    end: Position
    totals: Counts
    tenant_totals: tuple[TenantCounts, ...]
    known: Known
    packed: bytes


class Writing:
    """Events in, by lane and in the order of its log; lines out, to ``log``. ``node`` is as events name the server."""

    __slots__ = ("_node", "_packed", "_summed_up", "epoch", "is_untold", "known", "log", "totals")

    def __init__(self, log: EventLog, node: str, epoch: int) -> None:
        self.log = log
        self.totals = Totals()
        #: the newest epoch that is known
        self.epoch = epoch
        self.known: Known = NOTHING
        self._packed = b""
        self._node = node
        #: something was counted of which the log has no event, nor sums since
        self.is_untold = False
        self._summed_up = -_SUMS_EVERY
        log.opening = self._opening

    def leave_out(self, known: Known) -> None:
        """These are there already."""
        self.known = known
        self._packed = packed(known)

    def left(self, lane: Lane, events: list[Event]) -> list[Event]:
        """The events of a lane that are not there yet."""
        if not lane.may_repeat or not self.known:
            return events
        known = self.known
        if lane.guessing_from is not None:
            first = next(
                (place for place, event in enumerate(events) if fingerprint(event.event_id) in known), None
            )
            if first is None:
                return []
            events = events[first:]
            lane.guessing_from = None
        return [event for event in events if fingerprint(event.event_id) not in known]

    def write(self, events: list[Event]) -> None:
        """Hand events to the log that are not there."""
        if not events:
            return
        unlogged = [event for event in events if isinstance(event, UnloggedEvent)]
        if unlogged:
            events = [event for event in events if not isinstance(event, UnloggedEvent)]
            self.totals.add_unlogged(unlogged)
            self.is_untold = True
        try:
            lines = encode(events)
        except Exception:
            # a fault of ours must stop neither the mail nor the other events; rarely at all, so it may take its time
            LOG.exception("an event cannot be written")
            events, lines = self._encode_singly(events)
        self.totals.add(events)
        self.log.append(lines)

    def sum_up(self, *, is_last: bool = False) -> None:
        """Write the sums, if something was counted of which the log has no event; not too often, but at the end."""
        clock = self.log.clock
        if not self.is_untold or not (is_last or clock.monotonic() - self._summed_up >= _SUMS_EVERY):
            return
        self.is_untold = False
        self._summed_up = clock.monotonic()
        now = clock.wall()
        name = f"{int(now * 1_000_000)}"
        self.log.append(opening_line(self.totals.without(()), name, now, self._node, self.epoch))

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

    def state(self, lanes: Iterable[Lane], end: Position) -> State:
        """How far it is; ``end`` is the place behind all that was handed to the log."""
        totals = self.totals.without(())
        places = {lane.name: lane.place for lane in lanes}
        return State(places, end, totals.total, totals.tenants, self.known, self._packed)

    def restore(self, state: State) -> None:
        """Go on from there, as if nothing had been done since."""
        self.totals = Totals(state.totals, state.tenant_totals)
        self.known, self._packed = state.known, state.packed

    def _opening(self, name: str, begun: WallTime, waiting: bytes) -> bytes:
        before = self.totals.without(waiting.split(b"\n"))
        return opening_line(before, name, begun, self._node, self.epoch)

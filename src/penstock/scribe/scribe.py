"""Makes events of what the lanes write down, and writes them to the one event log.

Lanes tell of frames as they are stored, each in the order of its log. Events of all lanes are made and written together: every 50 ms, or when
some hundred frames have come.

What a lane has in its log can be read back. So nothing is kept here that cannot be written: after a start, while the disk does not take
events, and when more comes than can be made in time, frames are let go, and read from the lane's log when there is room again, until its
end. Up to where that is done is put on stable storage about once a second (``penstock.scribe.checkpoints``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from penstock.events.checkpoint import LanePlace
from penstock.events.event import Event
from penstock.events.log import EventLog
from penstock.events.survey import ID_LIMIT
from penstock.events.tail import Position
from penstock.mail.duration import Seconds
from penstock.mail.ports import LogPosition, SpoolError
from penstock.scribe.aside import Aside, in_thread
from penstock.scribe.beginning import Beginning
from penstock.scribe.catching_up import catch_up
from penstock.scribe.checkpoints import Checkpoints, Timer, Timers
from penstock.scribe.deriving import Deriver, Envelopes
from penstock.scribe.lane import BEGINNING, Batch, Lane, LaneLog
from penstock.scribe.writing import NOTHING, State, Writing
from penstock.spool.files import FileError

LOG = logging.getLogger(__name__)

_FLUSH_AFTER: Final = Seconds(0.05)
#: Frames that do not wait for the time, and about as many are made into events at once: their events are some 300 KB, made in about 5 ms.
_FLUSH_AT: Final = 400
#: Frames of a lane that are kept; what is more is read back.
_KEPT: Final = 10_000
#: How long one lane is read back in one go, and the pause after all had their turn.
_SLICE: Final = 0.005
_PAUSE: Final = Seconds(0.001)
_RETRY_AFTER: Final = Seconds(1.0)
#: How long the end goes on reading what it has missed; the next start reads the rest.
_LAST_READING: Final = 3.0
#: How long the end waits for a disk that does not answer.
_PATIENCE: Final = 10.0


class Scribe:
    """The one who writes the event log. Made on a running loop, unless ``timers`` stand in for it.

    ``node`` and ``epoch`` are as events name them; ``id_limit`` is how many ids of written events a start remembers.
    """

    def __init__(
        self,
        log: EventLog,
        node: str,
        epoch: int,
        *,
        timers: Timers | None = None,
        aside: Aside = in_thread,
        id_limit: int = ID_LIMIT,
        envelopes: Envelopes | None = None,
    ) -> None:
        self.log = log
        self.lanes: dict[str, Lane] = {}
        self.envelopes = envelopes if envelopes is not None else Envelopes()
        self._writing = Writing(log, node, epoch)
        self._deriver = Deriver(node, self.envelopes)
        self._timers: Timers = timers if timers is not None else asyncio.get_running_loop()
        self._aside = aside
        self._id_limit = id_limit
        self._checkpoints = Checkpoints(
            self._writing, self.lanes.values, self._timers, aside, self._on_saved, self._on_rewound
        )
        #: what an earlier process has left, and the looking at it; None once it is known
        self._beginning: Beginning | None = None
        self._looking: Iterator[None] | None = None
        self._is_open = False
        #: how far the lanes are on stable storage
        self._saved: dict[str, LanePlace] = {}
        #: the event file at whose end, or before, a start would begin to read: what is in older ones is on stable storage
        self.saved_file: str | None = None
        self._is_closed = False
        self._flush_timer: Timer | None = None
        self._write_timer: Timer | None = None
        self._read_timer: Timer | None = None
        #: of no lane whose process is there something is read back
        self._caught_up = asyncio.Event()
        log.counts.is_behind = True

    # -- the start

    def open(self, lanes: Iterable[str]) -> None:
        """Go on where an earlier process has ended. ``lanes`` are the names of those that have a spool.

        OSError if the event log cannot be used, which is a reason not to start.
        """
        self.log.open()
        lanes = list(lanes)
        beginning = self._beginning = Beginning(self.log, lanes, self._id_limit)
        is_saved = beginning.places is not None
        self._saved = beginning.places or {}
        for name, place in (beginning.places or {lane: self._new_place() for lane in lanes}).items():
            self.lanes[name] = Lane(name, place, is_saved=is_saved)
            self._writing.epoch = max(self._writing.epoch, place.epoch)
        self.saved_file = beginning.mark.file if beginning.mark is not None else None
        self._aside(beginning.sync, self._begin)

    def _new_place(self) -> LanePlace:
        return LanePlace(BEGINNING, None, self._writing.epoch)

    def _begin(self, error: Exception | None) -> None:
        if error is not None:
            LOG.warning("the event files of an earlier run cannot be synced: %s", error)
            # nor is it sure then that the checkpoint is there to stay
            self._saved = {}
            self.saved_file = None
        self._read_on()

    def _look_on(self) -> None:
        """Look at what an earlier process has written, for a moment; with the last of it, begin."""
        beginning, end = self._beginning, self.log.end
        assert beginning is not None  # noqa: S101  # it was opened
        assert end is not None  # noqa: S101  # nothing was appended yet
        if self._looking is None:
            self._looking = beginning.steps()
        delay = _PAUSE
        try:
            if self._for_a_moment(self._looking):
                self._go_on_from(beginning, end)
        except OSError as error:
            LOG.warning("the event log cannot be read: %s", error)
            self.log.complain(f"the event log cannot be read: {error}")
            self._looking, delay = None, _RETRY_AFTER
        self._read_later(delay)

    def _go_on_from(self, beginning: Beginning, end: Position) -> None:
        self._beginning = self._looking = None
        self._writing.totals = beginning.totals
        self._writing.leave_out(beginning.known)
        for lane in self.lanes.values():
            if beginning.known:
                lane.leave_out(is_partial=beginning.is_partial or lane.guessing_from is not None)
        self._checkpoints.begin(
            self._writing.state([lane for lane in self.lanes.values() if lane.is_saved], end)
        )
        self._is_open = True
        self.log.complain(None)
        for lane in self.lanes.values():
            self._tell(lane)
        self._checkpoints.expect(is_urgent=True)

    # -- lanes come and go

    def attach(self, name: str, log: LaneLog, epochs: Sequence[tuple[LogPosition, int]]) -> Lane:
        """A lane's process is there; ``epochs`` are of it: (place, epoch of the frames behind it), oldest first."""
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane(name, self._new_place(), is_saved=False)
        if lane.begin(log, epochs):
            LOG.warning("lane %s has another spool than before: all of it is read", name)
            self._saved = {other: place for other, place in self._saved.items() if other != name}
            self.envelopes.forget_lane(name)
        elif self._is_open:
            self._tell(lane)
        if epochs:
            self._writing.epoch = max(self._writing.epoch, epochs[-1][1])
        if not lane.is_saved:
            self._checkpoints.expect(is_urgent=True)
        self._show()
        self._read_later(_PAUSE)
        return lane

    def detach(self, lane: Lane) -> None:
        """A lane's process has gone. What it told of is made into events; its log goes on when a process has it again."""
        lane.is_leaving = True
        self._let_go(lane)

    def _let_go(self, lane: Lane) -> None:
        """Give the log of a lane back whose process has gone, if all that it told of has become events."""
        if lane.is_leaving and not lane.is_behind and not lane.batches:
            lane.end()
            self._show()

    def forget(self, lane: Lane) -> None:
        """A lane's log is empty, and all of it has become events: it is not there any more."""
        lane.end()
        if self.lanes.get(lane.name) is lane:
            del self.lanes[lane.name]
        self.envelopes.forget_lane(lane.name)
        self._checkpoints.expect()
        self._show()

    def use_epoch(self, lane: Lane, epoch: int, behind: LogPosition) -> None:
        """What a lane writes behind this place happens under another configuration."""
        lane.use_epoch(epoch, behind)
        self._writing.epoch = max(self._writing.epoch, epoch)

    # -- frames as they come

    def on_frames(self, lane: Lane, batch: Batch) -> None:  # hot: throughput
        """A lane has stored these. If they are not what comes behind the last ones, they are read back."""
        if lane.is_behind:
            self.on_behind()
            return
        if not lane.take(batch) or lane.waiting > _KEPT:
            self._fall_behind(lane, _PAUSE)
            return
        if self._write_timer is None and lane.waiting >= _FLUSH_AT:
            self._write_timer = self._timers.call_later(Seconds(0.0), self._on_much)
        if self._flush_timer is None:
            self._flush_timer = self._timers.call_later(_FLUSH_AFTER, self._on_time)

    def on_behind(self) -> None:
        """A lane has stored more, and is read back."""
        self._read_later(_PAUSE)

    def on_gap(self, lane: Lane) -> None:
        """A lane has stored more than it tells of."""
        self._fall_behind(lane, _PAUSE)

    def _on_much(self) -> None:
        self._write_timer = None
        if self._write():
            self._write_timer = self._timers.call_later(Seconds(0.0), self._on_much)

    def _on_time(self) -> None:
        self._flush_timer = None
        self.flush()

    def flush(self) -> None:
        """Write what there is; again in a second, if the disk does not take it."""
        is_more = self._write()
        if not is_more:
            self._writing.sum_up()
        self.log.flush()
        self._checkpoints.expect()
        is_more = is_more or self._writing.is_untold
        if (is_more or self.log.counts.waiting) and not self._is_closed and self._flush_timer is None:
            delay = _FLUSH_AFTER if self.log.fault is None else _RETRY_AFTER
            self._flush_timer = self._timers.call_later(delay, self._on_time)

    def _write(self) -> bool:
        """Make the events of the oldest frames of each lane, of somewhat more than _FLUSH_AT in all; whether that is all there are."""
        lanes = [lane for lane in self.lanes.values() if lane.batches]
        if lanes and not self.log.has_room:
            for lane in lanes:
                self._fall_behind(lane, _PAUSE if self.log.fault is None else _RETRY_AFTER)
            return False
        events: list[Event] = []
        reached: list[tuple[Lane, LogPosition]] = []
        frames = 0
        while lanes and frames < _FLUSH_AT:
            for lane in lanes:
                batch = lane.next_batch()
                frames += len(batch.heads)
                try:
                    events += self._events(lane, batch)
                except (SpoolError, FileError, OSError) as error:
                    self._cannot_read(lane, error)
                else:
                    reached.append((lane, batch.last))
            lanes = [lane for lane in lanes if lane.batches]
        self._writing.write(events)
        for lane, position in reached:
            self._reach(lane, position)
            self._let_go(lane)
        return bool(lanes)

    def _events(self, lane: Lane, batch: Batch) -> list[Event]:  # hot: throughput
        events: list[Event] = []
        for head in batch.heads:
            events += lane.events_of(head, self._deriver, self._on_dropped)
        return self._writing.left(lane, events) if lane.may_repeat else events

    def _on_dropped(self) -> None:
        self.log.counts.dropped += 1

    def _reach(self, lane: Lane, position: LogPosition) -> None:
        """All events of a lane's frames before this place were handed over."""
        lane.position = position
        if (
            lane.may_repeat
            and lane.until is not None
            and position >= lane.until
            and lane.guessing_from is None
        ):
            lane.may_repeat = False
            if not any(other.may_repeat for other in self.lanes.values()):
                self._writing.leave_out(NOTHING)

    # -- frames that were missed

    def _fall_behind(self, lane: Lane, delay: Seconds) -> None:
        """Let a lane's frames go, to read them back when there is room."""
        lane.fall_behind()
        self._show()
        self._read_later(delay)

    def _show(self) -> None:
        is_behind = not self._is_open or any(
            lane.is_behind and lane.log is not None for lane in self.lanes.values()
        )
        self.log.counts.is_behind = is_behind
        if is_behind:
            self._caught_up.clear()
        else:
            self._caught_up.set()

    def _read_later(self, delay: Seconds) -> None:
        if self._read_timer is None and not self._is_closed:
            self._read_timer = self._timers.call_later(delay, self._read_on)

    def _read_on(self) -> None:
        """Read back for a moment, each lane that is behind; with the last frame that is stored, its next ones are taken as they come."""
        self._read_timer = None
        if self._is_closed:
            return
        if not self._is_open:
            self._look_on()
            return
        delay: Seconds | None = None
        for lane in [lane for lane in self.lanes.values() if self._can_read(lane)]:
            try:
                self._read(lane)
            except (SpoolError, FileError, OSError) as error:
                self._cannot_read(lane, error)
                delay = max(delay or _RETRY_AFTER, _RETRY_AFTER)
            except Exception:
                LOG.exception("lane %s: events cannot be derived from the spool", lane.name)
                self.log.complain("events cannot be derived from the spool: see the server's log")
                lane.steps = None
                delay = _RETRY_AFTER
        self.flush()
        if any(self._can_read(lane) for lane in self.lanes.values()):
            if not self.log.has_room:
                delay = _RETRY_AFTER if self.log.fault else _FLUSH_AFTER
            self._read_later(delay or _PAUSE)
        self._show()

    def _can_read(self, lane: Lane) -> bool:
        return lane.is_behind and lane.is_saved and lane.log is not None

    def _read(self, lane: Lane) -> None:
        if lane.steps is None:
            lane.steps = catch_up(lane, self._deriver, self._writing, self._reach, self._on_dropped)
        if self._for_a_moment(lane.steps):
            lane.go_live()
            self.log.complain(None)
            self._let_go(lane)

    def _for_a_moment(self, steps: Iterator[object]) -> bool:
        """Go on as long as a slice lasts, or until a step says that there is no room; whether that was all."""
        clock = self.log.clock
        until = clock.monotonic() + _SLICE
        return all(step is not False and clock.monotonic() < until for step in steps)

    def _cannot_read(self, lane: Lane, error: Exception) -> None:
        LOG.warning("lane %s: events cannot be derived from the spool: %s", lane.name, error)
        self.log.complain(f"events of lane {lane.name} cannot be derived from its spool: {error}")
        if lane.is_leaving:
            lane.end()
        self._fall_behind(lane, _RETRY_AFTER)

    # -- checkpoints

    def _on_saved(self, state: State) -> None:
        self._saved = state.lanes
        self.saved_file = state.end.file.name if state.end.file is not None else None
        for name, place in state.lanes.items():
            lane = self.lanes.get(name)
            if lane is None:
                continue
            lane.forget_epochs(place.position)
            if not lane.is_saved:
                lane.is_saved = True
                self._read_later(_PAUSE)
            if not self._is_closed:
                self._tell(lane)
        if not self._is_closed:
            self.flush()

    def _tell(self, lane: Lane) -> None:
        """Tell a lane up to where its events are on stable storage."""
        saved = self._saved.get(lane.name)
        if lane.log is not None and saved is not None:
            lane.log.events_written(saved.position)

    def _on_rewound(self, state: State) -> None:
        """What was written is taken away: it is derived again."""
        self._writing.restore(state)
        for name, lane in self.lanes.items():
            lane.restore(state.lanes.get(name) or self._new_place())
        self._show()
        self._read_later(_PAUSE if self.log.fault is None else _RETRY_AFTER)

    # -- the end

    async def close(self) -> None:
        """Write what is left, and say up to where; what the disk does not take is derived at the next start. To be called after the last frame."""
        if self.log.fault is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_READING):
                    await self._caught_up.wait()
        for timer in (self._flush_timer, self._write_timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        self._is_closed = True
        while self._write():
            pass
        self._writing.sum_up(is_last=True)
        self.log.flush()
        ended = asyncio.Event()
        self._checkpoints.finish(ended.set)
        try:
            async with asyncio.timeout(_PATIENCE):
                await ended.wait()
        except TimeoutError:
            LOG.warning(
                "the disk of the event log does not answer: its last events are derived again at the next start"
            )
        else:
            self.log.close()

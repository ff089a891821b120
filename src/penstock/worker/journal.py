"""Makes events and counts of what the spool writes down.

The spool tells of records as they are stored, in the order of its log. Events are made and written together: every 50 ms, or when some
hundred records have come.

What the spool has in its log can be read back. So nothing is kept here that cannot be written: after a start, while the disk does not take
events, and when more comes than can be made in time, records are let go, and read from the spool's log when there is room again, until its
end. Up to where that is done is put on stable storage about once a second (``penstock.worker.checkpoints``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from penstock.events import checkpoint
from penstock.events.checkpoint import Checkpoint, CheckpointError, LanePlace
from penstock.events.event import Event
from penstock.events.log import EventLog
from penstock.events.survey import ID_LIMIT, Survey
from penstock.mail.duration import Seconds
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import SpoolRecord
from penstock.mail.status import Tally
from penstock.spool.files import FileError
from penstock.worker.aside import Aside, in_thread
from penstock.worker.catching_up import FollowedLog, catch_up
from penstock.worker.checkpoints import Checkpoints, Timer, Timers
from penstock.worker.derivation import BEGINNING, Derivation, LeftOut, State

LOG = logging.getLogger(__name__)

_FLUSH_AFTER: Final = Seconds(0.05)
#: Records that do not wait for the time: their events are some 200 KB, made in about 2 ms.
_FLUSH_AT: Final = 200
#: Records that are kept, with the contents that they are about; what is more is read back.
_KEPT: Final = 5000
#: How long records are read back in one go, and how long others have the loop after that.
_SLICE: Final = 0.003
_PAUSE: Final = Seconds(0.003)
_RETRY_AFTER: Final = Seconds(1.0)
#: How long the end waits for a disk that does not answer.
_PATIENCE: Final = 10.0


class _Group:
    """Records that were stored together, those of them that wait, and the place behind them."""

    __slots__ = ("_done", "epoch", "position", "records")

    def __init__(self, records: Sequence[SpoolRecord], position: LogPosition, epoch: int) -> None:
        self.records = records
        self.position = position
        self.epoch = epoch
        self._done = 0

    @property
    def is_empty(self) -> bool:
        """Whether all records were taken."""
        return self._done == len(self.records)

    def take(self, limit: int) -> Sequence[SpoolRecord]:
        """The next ones, ``limit`` at most."""
        first, self._done = self._done, min(self._done + limit, len(self.records))
        return self.records if self._done - first == len(self.records) else self.records[first : self._done]


class Journal:
    """Who is told of every record. Made on a running loop, unless ``timers`` stand in for it.

    ``node`` and ``epoch`` are as events name them; ``id_limit`` is how many ids of written events a start remembers. Until ``start``,
    records are only counted.
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
    ) -> None:
        self.tally = Tally()
        self._log = log
        self._epoch = epoch
        self._derivation = Derivation(log, node, epoch)
        self._timers: Timers = timers if timers is not None else asyncio.get_running_loop()
        self._aside = aside
        self._id_limit = id_limit
        self._checkpoints = Checkpoints(
            self._derivation, self._timers, aside, self._on_saved, self._on_rewound
        )
        self._spool: FollowedLog | None = None
        self._groups: deque[_Group] = deque()
        self._kept = 0
        self._is_closed = False
        log.counts.is_behind = True
        #: how what was missed is read back, and the reading under way, in steps; None before the start, and while nothing is read
        self._plan: Callable[[], Iterator[bool]] | None = None
        self._steps: Iterator[bool] | None = None
        self._flush_timer: Timer | None = None
        self._write_timer: Timer | None = None
        self._read_timer: Timer | None = None

    @property
    def is_behind(self) -> bool:
        """Whether records that are stored have no events yet for more than a moment: they are being read back, or wait for the disk."""
        return self._log.counts.is_behind

    @property
    def _is_live(self) -> bool:
        return not self._log.counts.is_behind

    # -- the start

    def start(self, spool: FollowedLog | None) -> None:
        """Go on where an earlier process has ended, by what its event log and the spool's log say; the spool is open.

        None: a spool whose records cannot be read back, in memory. OSError if the event log cannot be used, which is a reason not to start.
        """
        self._log.open()
        self._spool = spool
        if spool is None:
            self._log.counts.is_behind = False
            return
        found: Checkpoint | None = None
        place: LanePlace | None = None
        try:
            found = checkpoint.load(self._log.files, self._log.directory)
            place = found.lanes.get(checkpoint.FIRST_LANE) if found is not None else None
            if place is not None and place.position > spool.synced:
                raise CheckpointError(
                    f"it is of another spool: it names {place.position}, which is not there yet"
                )
        except CheckpointError as error:
            LOG.warning("the checkpoint of the event log cannot be used: %s; the whole spool is read", error)
            found = place = None
        self._derivation.begin_epochs(
            place.epoch if place is not None else self._epoch, self._epoch, spool.synced
        )
        if place is not None:
            spool.events_written(place.position)
        begin = place.position if place is not None else BEGINNING
        survey = Survey(self._log.directory, found.mark if found is not None else None, self._id_limit)
        until = spool.synced
        self._plan = lambda: self._survey(survey, begin, until)
        self._aside(lambda: self._sync_old_files(survey), self._begin)

    def _sync_old_files(self, survey: Survey) -> None:
        """A process that was killed has not synced its last lines, and the next checkpoint relies on them."""
        for path in survey.old_files():
            self._log.files.sync_old(path)
        self._log.files.sync_directory(self._log.directory)

    def _begin(self, error: Exception | None) -> None:
        if error is not None:
            LOG.warning("the event files of an earlier run cannot be synced: %s", error)
        self._read_on()

    def _survey(self, survey: Survey, begin: LogPosition, until: LogPosition) -> Iterator[bool]:
        """Look what is there, then read what is missing. The earlier process stored nothing behind ``until``."""
        spool, end = self._spool, self._log.end
        assert spool is not None and end is not None  # noqa: S101, PT018  # see start; nothing was appended yet
        for _ in survey.steps():
            yield True
        state = State(
            begin,
            end,
            survey.totals.total,
            survey.totals.tenants,
            LeftOut(survey.ids, until, survey.mark, survey.is_partial) if survey.ids else LeftOut(),
        )
        self._derivation.restore(state)
        self._checkpoints.begin(state)
        self._plan = lambda: catch_up(self._derivation, spool)
        yield from catch_up(self._derivation, spool)

    # -- what is told

    def on_stored(self, records: Sequence[SpoolRecord], position: LogPosition) -> None:  # hot: throughput
        """Take note of records that are on stable storage, and the place behind them."""
        count = self.tally.add
        for record in records:
            count(record)
        if not self._is_live or position <= self._derivation.position:
            return
        self._groups.append(_Group(records, position, self._epoch))
        self._kept += len(records)
        if self._kept >= _FLUSH_AT:
            if self._kept > _KEPT and self._spool is not None:
                self._fall_behind()
                return
            if self._write_timer is None:
                # not here: whoever records must not suffer from what becomes of it
                self._write_timer = self._timers.call_later(Seconds(0.0), self._on_much)
        if self._flush_timer is None:
            self._flush_timer = self._timers.call_later(_FLUSH_AFTER, self._on_time)

    def use_epoch(self, epoch: int) -> None:
        """What is stored from now on happens under another configuration."""
        self._epoch = epoch
        self._derivation.use_epoch(
            epoch, self._spool.synced if self._spool is not None else self._derivation.position
        )

    # -- records as they come

    def _on_much(self) -> None:
        self._write_timer = None
        self._write()
        if self._kept >= _FLUSH_AT:
            self._write_timer = self._timers.call_later(Seconds(0.0), self._on_much)

    def _on_time(self) -> None:
        self._flush_timer = None
        self.flush()

    def flush(self) -> None:
        """Write what there is; again in a second, if the disk does not take it."""
        self._write()
        self._log.flush()
        self._checkpoints.expect()
        if self._groups or self._log.counts.waiting:
            self._flush_later(_FLUSH_AFTER if self._log.fault is None else _RETRY_AFTER)

    def _flush_later(self, delay: Seconds) -> None:
        if self._flush_timer is None and not self._is_closed:
            self._flush_timer = self._timers.call_later(delay, self._on_time)

    def _write(self) -> None:
        """Make the events of the oldest records, of somewhat more than _FLUSH_AT at most."""
        groups, derivation = self._groups, self._derivation
        if groups and not self._log.has_room:
            self._give_way()
            return
        events: list[Event] = []
        begun: list[Event] = []
        reached: LogPosition | None = None
        while groups and len(events) < _FLUSH_AT:
            group, first = groups[0], len(events)
            for record in group.take(_FLUSH_AT):
                events += derivation.make(record, group.epoch)
                self._kept -= 1
            if not group.is_empty:
                begun = events[first:]
                break
            groups.popleft()
            reached = group.position
        derivation.write(events)
        if reached is not None:
            derivation.reach(reached)
        if begun:
            derivation.have_begun(begun, groups[0].position, self._checkpoints.mark)

    # -- records that were missed

    def _give_way(self) -> None:
        """The event log takes no more for now: it is read back later, or lost if it cannot be."""
        if self._spool is not None:
            self._fall_behind()
            return
        self._log.counts.dropped += self._kept
        self._groups.clear()
        self._kept = 0

    def _fall_behind(self) -> None:
        """Let records go, to read them back when there is room."""
        self._log.counts.is_behind = True
        self._groups.clear()
        self._kept = 0
        self._steps = None
        self._read_later(_PAUSE if self._log.fault is None else _RETRY_AFTER)

    def _read_later(self, delay: Seconds) -> None:
        if self._read_timer is None and not self._is_closed:
            self._read_timer = self._timers.call_later(delay, self._read_on)

    def _read_on(self) -> None:
        """Read back for a moment, and go on after a pause; with the last record that is stored, the next ones are taken as they come."""
        self._read_timer = None
        if self._plan is None or self._is_closed:
            return
        if self._steps is None:
            self._steps = self._plan()
        delay = _PAUSE
        try:
            if self._read_for(_SLICE):
                self._log.counts.is_behind = False
                self._steps = None
                self._log.complain(None)
                self.flush()
                return
        except (SpoolError, FileError, OSError) as error:
            LOG.warning("events cannot be derived from the spool: %s", error)
            self._log.complain(f"events cannot be derived from the spool: {error}")
            self._steps, delay = None, _RETRY_AFTER
        except Exception:
            LOG.exception("events cannot be derived from the spool")
            self._log.complain("events cannot be derived from the spool: see the server's log")
            self._steps, delay = None, _RETRY_AFTER
        self.flush()
        self._read_later(delay if self._log.has_room else _RETRY_AFTER if self._log.fault else _FLUSH_AFTER)

    def _read_for(self, seconds: float) -> bool:
        """Read back as long as this, or until there is no room; whether all is read."""
        clock = self._log.clock
        assert self._steps is not None  # noqa: S101  # see _read_on
        until = clock.monotonic() + seconds
        return all(has_room and clock.monotonic() < until for has_room in self._steps)

    # -- checkpoints

    def _on_saved(self, position: LogPosition) -> None:
        if self._spool is not None and not self._is_closed:
            self._spool.events_written(position)
            self.flush()

    def _on_rewound(self) -> None:
        """What was written is taken away: it is derived again."""
        self._fall_behind()

    # -- the end

    async def close(self) -> None:
        """Write what is left, and say up to where; what the disk does not take is derived at the next start. To be called after the last record."""
        for timer in (self._flush_timer, self._write_timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        self._is_closed = True
        while self._is_live and self._groups:
            self._write()
        self._log.flush()
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
            self._log.close()

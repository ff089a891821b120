"""Puts the event log on stable storage about once a second, and says up to where.

First the lines are synced, then the names of new files, then a checkpoint is saved (``penstock.events.checkpoint``), and then the lanes are
told that they need not keep what is before. The syncing is done beside the loop.

What could not be synced is not relied upon: the log is rewound to where the last checkpoint was, and what is behind it is derived again.
A checkpoint that could not be saved is tried again: the one before holds as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from penstock.events import checkpoint
from penstock.events.checkpoint import Checkpoint
from penstock.events.log import EventLog, Syncing
from penstock.mail.duration import Seconds
from penstock.scribe.aside import Aside
from penstock.scribe.lane import Lane
from penstock.scribe.writing import State, Writing

LOG = logging.getLogger(__name__)

_INTERVAL: Final = Seconds(1.0)


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Do not make it."""


class Timers(Protocol):
    """What calls later; an event loop does."""

    def call_later(self, delay: Seconds, callback: Callable[[], None], /) -> Timer:
        """Call ``callback`` in ``delay`` seconds, never from inside this call."""


class _Job:
    """A checkpoint that is being made. ``is_synced``: the lines are on stable storage."""

    __slots__ = ("_checkpoint", "_log", "is_synced", "state", "syncing")

    def __init__(self, log: EventLog, state: State, syncing: Syncing) -> None:
        self.syncing = syncing
        self.state = state
        self.is_synced = False
        self._log = log
        end = state.end
        self._checkpoint = Checkpoint(
            checkpoint.FORMAT,
            state.lanes,
            end.file.name if end.file is not None else "",
            end.offset,
            log.clock.wall(),
            state.totals,
            state.tenant_totals,
            state.packed,
        )

    def run(self) -> None:
        """All of it, beside the loop. OSError."""
        files, directory = self._log.files, self._log.directory
        for descriptor in self.syncing.sizes:
            files.sync(descriptor)
        if self.syncing.has_new_files:
            files.sync_directory(directory)
        self.is_synced = True
        checkpoint.save(files, directory, checkpoint.encode(self._checkpoint))


class Checkpoints:
    """Makes them of what is written, and of how far the lanes are. ``on_saved`` is told each, ``on_rewound`` that all was set back to one."""

    __slots__ = (
        "_aside",
        "_has_failed",
        "_idle",
        "_is_last",
        "_job",
        "_lanes",
        "_on_rewound",
        "_on_saved",
        "_saved",
        "_timer",
        "_timers",
        "_writing",
    )

    def __init__(
        self,
        writing: Writing,
        lanes: Callable[[], Iterable[Lane]],
        timers: Timers,
        aside: Aside,
        on_saved: Callable[[State], None],
        on_rewound: Callable[[State], None],
    ) -> None:
        self._writing = writing
        self._lanes = lanes
        self._timers = timers
        self._aside = aside
        self._on_saved = on_saved
        self._on_rewound = on_rewound
        self._timer: Timer | None = None
        self._job: _Job | None = None
        #: the last one came to nothing, so the next one waits for its time
        self._has_failed = False
        #: the state of the last one, or of the start
        self._saved: State | None = None
        #: whether the last one was begun, and who is told of its end
        self._is_last = False
        self._idle: Callable[[], None] | None = None

    def begin(self, state: State) -> None:
        """An earlier process has come so far."""
        self._saved = state

    def expect(self, *, is_urgent: bool = False) -> None:
        """Something was written: make one within a second, or at once if it is urgent or there is much."""
        if self._saved is None:
            return
        is_due = (is_urgent or self._writing.log.needs_sync) and not self._has_failed
        if not (is_due and self._begin_one()):
            self._try_later()

    def finish(self, idle: Callable[[], None]) -> None:
        """Make a last one, if there is something to say. ``idle`` is called when that has come to its end, well or not."""
        if self._timer is not None:
            self._timer.cancel()
        self._idle = idle
        self._conclude()

    def _conclude(self) -> None:
        if self._job is None and not self._is_last:
            self._is_last = True
            self._make()
        if self._job is None and self._idle is not None:
            self._idle()

    def _on_time(self) -> None:
        self._timer = None
        self._make()

    def _make(self) -> None:
        """Begin one, if there is something to say; later, if not everything is written."""
        if not self._begin_one() and self._writing.log.end is None:
            self._try_later()

    def _begin_one(self) -> bool:
        """Begin one, if everything is written, none is being made, and there is something to say; whether that is so."""
        log = self._writing.log
        end = log.end
        if self._job is not None or self._saved is None or end is None:
            return False
        state = self._writing.state(self._lanes(), end)
        if state.end == self._saved.end and state.lanes == self._saved.lanes:
            return False
        job = self._job = _Job(log, state, log.syncing())
        self._aside(job.run, lambda error: self._done(job, error))
        return True

    def _try_later(self) -> None:
        if self._timer is None and self._idle is None:
            self._timer = self._timers.call_later(_INTERVAL, self._on_time)

    def _done(self, job: _Job, error: Exception | None) -> None:
        self._job = None
        self._has_failed = error is not None
        log = self._writing.log
        if error is None:
            self._saved = job.state
            log.settle(job.syncing)
            log.complain(None)
            self._on_saved(job.state)
        else:
            self._failed(job, error)
        if self._idle is not None:
            self._conclude()
        elif log.needs_sync or error is not None:
            self._try_later()

    def _failed(self, job: _Job, error: Exception) -> None:
        log = self._writing.log
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        if job.is_synced:
            log.complain(f"{log.directory}: the checkpoint cannot be saved: {reason}")
            LOG.warning("the checkpoint of the event log cannot be saved: %s", reason)
            return
        assert self._saved is not None  # noqa: S101  # else no job was begun
        log.complain(f"{log.directory}: what was written cannot be synced: {reason}")
        LOG.error("the event log cannot be synced (%s): what is not synced is written again", reason)
        log.rewind(self._saved.end)
        self._on_rewound(self._saved)

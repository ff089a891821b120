"""Puts the event log on stable storage about once a second, and says up to where.

First the lines are synced, then the names of new files, then a checkpoint is saved (``penstock.events.checkpoint``), and then the spool is
told that it need not keep what is before. The syncing is done beside the loop.

What could not be synced is not relied upon: the log is rewound to where the last checkpoint was, and what is behind it is derived again.
A checkpoint that could not be saved is tried again: the one before holds as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from penstock.events import checkpoint
from penstock.events.checkpoint import Checkpoint, LanePlace, Mark
from penstock.events.log import Syncing
from penstock.mail.duration import Seconds
from penstock.mail.ports import LogPosition
from penstock.worker.aside import Aside
from penstock.worker.derivation import Derivation, State

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

    def __init__(self, derivation: Derivation, syncing: Syncing) -> None:
        self.syncing = syncing
        self.state = derivation.state(syncing.end)
        self.is_synced = False
        self._log = derivation.log
        mark = self.state.mark
        self._checkpoint = Checkpoint(
            checkpoint.FORMAT,
            {checkpoint.FIRST_LANE: LanePlace(self.state.position, None, derivation.epoch_behind)},
            mark.file,
            mark.offset,
            self._log.clock.wall(),
            mark.totals,
            mark.tenant_totals,
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
    """Makes them for a derivation. ``on_saved`` is told the position of each, ``on_rewound`` that the derivation was set back."""

    __slots__ = (
        "_aside",
        "_derivation",
        "_has_failed",
        "_idle",
        "_is_last",
        "_job",
        "_on_rewound",
        "_on_saved",
        "_saved",
        "_timer",
        "_timers",
    )

    def __init__(
        self,
        derivation: Derivation,
        timers: Timers,
        aside: Aside,
        on_saved: Callable[[LogPosition], None],
        on_rewound: Callable[[], None],
    ) -> None:
        self._derivation = derivation
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

    @property
    def mark(self) -> Mark:
        """Where the next start has to look, as things are on stable storage."""
        return self._saved.mark if self._saved is not None else Mark()

    def expect(self) -> None:
        """Something was written: make one within a second, or at once if there is much."""
        if self._saved is None:
            return
        if self._derivation.log.needs_sync and not self._has_failed:
            self._make()
        else:
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
        """Begin one, if everything is written and none is being made."""
        derivation = self._derivation
        if self._job is not None or self._saved is None:
            return
        if derivation.log.end is None:
            self._try_later()
            return
        if derivation.position == self._saved.position and derivation.log.end == self._saved.end:
            return
        job = self._job = _Job(derivation, derivation.log.syncing())
        self._aside(job.run, lambda error: self._done(job, error))

    def _try_later(self) -> None:
        if self._timer is None and self._idle is None:
            self._timer = self._timers.call_later(_INTERVAL, self._on_time)

    def _done(self, job: _Job, error: Exception | None) -> None:
        self._job = None
        self._has_failed = error is not None
        log = self._derivation.log
        if error is None:
            self._saved = job.state
            log.settle(job.syncing)
            log.complain(None)
            self._derivation.forget_epochs(job.state.position)
            self._on_saved(job.state.position)
        else:
            self._failed(job, error)
        if self._idle is not None:
            self._conclude()
        elif log.needs_sync or error is not None:
            self._try_later()

    def _failed(self, job: _Job, error: Exception) -> None:
        log = self._derivation.log
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        if job.is_synced:
            log.complain(f"{log.directory}: the checkpoint cannot be saved: {reason}")
            LOG.warning("the checkpoint of the event log cannot be saved: %s", reason)
            return
        assert self._saved is not None  # noqa: S101  # else no job was begun
        log.complain(f"{log.directory}: what was written cannot be synced: {reason}")
        LOG.error("the event log cannot be synced (%s): what is not synced is written again", reason)
        log.rewind(self._saved.end)
        self._derivation.restore(self._saved)
        self._on_rewound()

"""Keeps the directory of the event log small: finished files are packed, and those that are too old or too many removed. Beside the loop.

No file goes, and none is packed, before a checkpoint says that all in it is on stable storage, for a start begins to read where the last one
says.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from penstock.events.files import PACKED, log_files
from penstock.events.log import EventLog
from penstock.events.packing import UNFINISHED, pack
from penstock.events.retention import Kept, may_go, to_pack
from penstock.mail.configuration import EventsConfig
from penstock.mail.duration import Seconds, WallTime
from penstock.scribe.aside import Aside
from penstock.scribe.checkpoints import Timer, Timers

LOG = logging.getLogger(__name__)

#: How often it is looked what is to be done, and how soon the next file is packed when there is one.
_EVERY: Final = Seconds(10.0)
_AT_ONCE: Final = Seconds(0.1)
_AFTER_FAULT: Final = Seconds(60.0)
#: Threads of the lowest of the usual priorities get what others leave (setpriority(2); it is of one thread on Linux).
_NICENESS: Final = 19


class Keeping:
    """See the module. ``saved_file`` tells which file the last checkpoint names, None before the first."""

    def __init__(
        self,
        log: EventLog,
        config: EventsConfig,
        saved_file: Callable[[], str | None],
        timers: Timers,
        aside: Aside,
    ) -> None:
        self._log = log
        self._saved_file = saved_file
        self._config = config
        self._timers = timers
        self._aside = aside
        self._timer: Timer | None = None
        self._is_closed = False
        self._has_more = False
        #: files that were packed, and removed
        self.packed = 0
        self.removed = 0

    def start(self) -> None:
        """Look now and then."""
        self._later(_EVERY)

    def use(self, config: EventsConfig) -> None:
        """Keep as this says from now on."""
        self._config = config

    def close(self) -> None:
        """Begin nothing more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _later(self, delay: Seconds) -> None:
        if not self._is_closed:
            self._timer = self._timers.call_later(delay, self._on_time)

    def _on_time(self) -> None:
        until = self._saved_file()
        if until is None:
            self._later(_EVERY)
            return
        now, config = self._log.clock.wall(), self._config
        self._aside(lambda: self._work(until, now, config), self._done)

    def _done(self, error: Exception | None) -> None:
        if error is None:
            self._later(_AT_ONCE if self._has_more else _EVERY)
            return
        LOG.warning("files of the event log cannot be kept as they should: %s", error)
        self._later(_AFTER_FAULT)

    def _work(self, until: str, now: WallTime, config: EventsConfig) -> None:
        """In a thread: remove what may go, and pack one file. OSError."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        files, directory = self._log.files, self._log.directory
        for path in directory.glob(f"*{PACKED}{UNFINISHED}"):
            files.remove(path)
        kept = [Kept(path, path.stat().st_size) for path in log_files(directory)]
        gone = may_go(kept, until, now, config.retention, config.max_total_size)
        for path in gone:
            LOG.info("%s goes: it is too old, or there is too much", path)
            files.remove(path)
        if gone:
            files.sync_directory(directory)
            self.removed += len(gone)
        left = kept[len(gone) :]
        path_to_pack = to_pack(left, until)
        self._has_more = path_to_pack is not None
        if path_to_pack is not None:
            pack(files, path_to_pack, config.compression_level)
            self.packed += 1

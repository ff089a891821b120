"""A ``Syncer`` for a simulated disk, which syncs when a test says so."""

from __future__ import annotations

import errno as errors
from collections.abc import Callable, Sequence

from penstock.sim.file_system.faults import Switches
from penstock.spool.files import File, FileError


class SimulatedSyncer:
    """One request at a time, as the real one; ``done`` is called from ``complete`` or ``die``, never from ``sync``."""

    def __init__(self, switches: Switches = Switches()) -> None:  # noqa: B008 - it is frozen
        self._switches = switches
        self._request: tuple[list[File], Callable[[FileError | None], None]] | None = None
        self._is_started = False

    def start(self) -> None:
        """See Syncer."""
        self._is_started = True

    @property
    def is_waiting(self) -> bool:
        """Whether a sync was asked for that is not done."""
        return self._request is not None

    def sync(self, files: Sequence[File], done: Callable[[FileError | None], None]) -> None:
        """See Syncer."""
        if not self._is_started:
            raise RuntimeError("the syncer is not started")
        if self._request is not None:
            raise RuntimeError("a sync is under way")
        if not files:
            raise ValueError("a sync is of one file at least")
        self._request = list(files), done

    def complete(self) -> None:
        """Sync what was asked for, each file a step of its disk, and say how it went. RuntimeError if nothing was."""
        files, done = self._take()
        if self._switches.sync_only_first_file:
            files = files[:1]
        if self._switches.sync_only_last_file:
            files = files[-1:]
        if self._switches.answers_before_sync:
            done(None)
            _sync(files)
        else:
            done(_sync(files))

    def complete_all(self, limit: int = 1000) -> None:
        """Complete until nothing is asked for any more; RuntimeError if something still is after ``limit`` syncs."""
        for _ in range(limit):
            if self._request is None:
                return
            self.complete()
        raise RuntimeError(f"after {limit} syncs there is still one asked for")

    def die(self, *, synced: int = 0) -> None:
        """As if the helper died: so many of the files have been synced, nobody knows which, and the request fails."""
        files, done = self._take()
        _sync(files[:synced])
        paths = ", ".join(file.path for file in files)
        done(FileError("sync", paths, errors.EIO, reason="the sync helper died"))

    def _take(self) -> tuple[list[File], Callable[[FileError | None], None]]:
        if self._request is None:
            raise RuntimeError("no sync was asked for")
        request, self._request = self._request, None
        return request


def _sync(files: Sequence[File]) -> FileError | None:
    for file in files:
        try:
            file.sync()
        except FileError as error:
            return error
    return None

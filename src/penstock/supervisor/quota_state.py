"""What the broker has to know again after a restart, in tables of ``state.db``: how far ahead of time each slow rate is.

An instant is written as monotonic time, with both clocks as they are. In the same boot of the system it holds as it is; in another one, what
the wall clock says has passed since, and nothing if that is less than nothing. All calls block.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from penstock.mail.ports import Clock
from penstock.supervisor.state import StateError

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS rate (
    key TEXT PRIMARY KEY, arrival REAL NOT NULL, monotonic REAL NOT NULL, wall REAL NOT NULL, boot TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS broker (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), is_clean INTEGER NOT NULL) STRICT;
"""
_KEEP: Final = """
INSERT INTO rate VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
    arrival = excluded.arrival, monotonic = excluded.monotonic, wall = excluded.wall, boot = excluded.boot
"""


class Found(NamedTuple):
    """Arrival times by key, in monotonic time; and whether the broker before had nothing lent when it ended."""

    arrivals: dict[str, float]
    is_clean: bool


def boot_id() -> str:
    """What tells this boot of the system from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class QuotaState:
    """The tables. StateError from everything. ``boot`` is what ``boot_id`` says."""

    def __init__(self, connection: apsw.Connection, clock: Clock, boot: str) -> None:
        self._connection = connection
        self._clock = clock
        self._boot = boot

    def begin(self) -> Found:
        """What was kept. From now on the end was not in order, unless ``end`` is called. Rates whose time has come are forgotten."""
        try:
            with self._connection:
                self._connection.execute(_TABLES)
                row = self._connection.execute("SELECT is_clean FROM broker").fetchone()
                self._connection.execute("INSERT OR REPLACE INTO broker VALUES (1, 0)")
                arrivals = self._arrivals()
                self._connection.execute("DELETE FROM rate")
                self._put(arrivals)
        except apsw.Error as error:
            raise _error(error) from error
        # where nothing was ever lent, nothing is
        return Found(arrivals, row is None or bool(row[0]))

    def keep(self, arrivals: Mapping[str, float]) -> None:
        """Keep these in the place of what is there for their keys. They are on stable storage when this returns."""
        try:
            with self._connection:
                self._put(arrivals)
        except apsw.Error as error:
            raise _error(error) from error

    def forget(self) -> None:
        """Forget rates whose time has come."""
        try:
            self._connection.execute(
                "DELETE FROM rate WHERE boot = ? AND arrival < ?", (self._boot, self._clock.monotonic())
            )
        except apsw.Error as error:
            raise _error(error) from error

    def end(self, arrivals: Mapping[str, float]) -> None:
        """Keep these, and that nothing is lent."""
        try:
            with self._connection:
                self._put(arrivals)
                self._connection.execute("INSERT OR REPLACE INTO broker VALUES (1, 1)")
        except apsw.Error as error:
            raise _error(error) from error

    def _put(self, arrivals: Mapping[str, float]) -> None:
        clocks = (self._clock.monotonic(), self._clock.wall(), self._boot)
        self._connection.executemany(_KEEP, ((key, arrival, *clocks) for key, arrival in arrivals.items()))

    def _arrivals(self) -> dict[str, float]:
        now, wall = self._clock.monotonic(), self._clock.wall()
        found = {}
        for key, arrival, monotonic, written, boot in self._connection.execute("SELECT * FROM rate"):
            ahead = arrival - now if boot == self._boot else arrival - monotonic - max(0.0, wall - written)
            if ahead > 0:
                found[str(key)] = now + ahead
        return found


def _error(error: apsw.Error) -> StateError:
    return StateError(f"state.db: {error}; if it is damaged, move it away: a new one is made")

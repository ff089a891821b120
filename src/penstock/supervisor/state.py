"""``data_dir/state.db``: what the server has to know again after a restart. Epochs, and which lanes sites live in.

SQLite with a write-ahead log, synced at each change. Every call blocks; the supervisor makes them in a thread of their own, one at a time. Others
keep tables of theirs beside these, through ``connection``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import apsw
import msgspec

from penstock.mail.duration import WallTime

#: Epochs that are kept, the latest: to look up what an event happened under.
EPOCHS_KEPT: Final = 100
_BUSY_MILLISECONDS: Final = 5000
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS epoch (number INTEGER PRIMARY KEY, kept REAL NOT NULL, program TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS epoch_file (
    number INTEGER NOT NULL REFERENCES epoch(number) ON DELETE CASCADE, path TEXT NOT NULL, octets BLOB NOT NULL,
    PRIMARY KEY (number, path)
) STRICT;
CREATE TABLE IF NOT EXISTS placement (site TEXT PRIMARY KEY, lane TEXT NOT NULL) STRICT;
"""


class StateError(Exception):
    """``state.db`` cannot be read or written; ``str()`` of it says why."""


class StoredEpoch(msgspec.Struct, frozen=True):
    """An epoch as it is kept: its number, and the octets of its files by path."""

    number: int
    files: dict[str, bytes]


class State:
    """The database of a data directory; made if it is missing. StateError from everything."""

    def __init__(self, data_dir: str | Path) -> None:
        self.path = Path(data_dir) / "state.db"
        try:
            self.connection = apsw.Connection(str(self.path))
            self.path.chmod(0o600)
            self.connection.set_busy_timeout(_BUSY_MILLISECONDS)
            for name, value in (("journal_mode", "wal"), ("synchronous", "full"), ("foreign_keys", "on")):
                self.connection.pragma(name, value)
            self.connection.execute(_TABLES)
        except (apsw.Error, OSError) as error:
            raise self._error(error) from error

    def epoch(self) -> StoredEpoch | None:
        """The epoch that was kept last; None before the first."""
        try:
            row = self.connection.execute("SELECT max(number) FROM epoch").fetchone()
            if row is None or row[0] is None:
                return None
            files = self.connection.execute("SELECT path, octets FROM epoch_file WHERE number = ?", row)
            return StoredEpoch(int(row[0]), dict(files))
        except apsw.Error as error:
            raise self._error(error) from error

    def keep_epoch(self, epoch: StoredEpoch, at: WallTime, program: str) -> None:
        """Keep an epoch as the one in force. It is on stable storage when this returns."""
        try:
            with self.connection:
                self.connection.execute("INSERT INTO epoch VALUES (?, ?, ?)", (epoch.number, at, program))
                self.connection.executemany(
                    "INSERT INTO epoch_file VALUES (?, ?, ?)",
                    ((epoch.number, path, octets) for path, octets in epoch.files.items()),
                )
                self.connection.execute("DELETE FROM epoch WHERE number <= ?", (epoch.number - EPOCHS_KEPT,))
        except apsw.Error as error:
            raise self._error(error) from error

    def placement(self) -> dict[str, str]:
        """The lanes of sites that are not where the hash would have them."""
        try:
            return dict(self.connection.execute("SELECT site, lane FROM placement"))
        except apsw.Error as error:
            raise self._error(error) from error

    def keep_placement(self, table: Mapping[str, str]) -> None:
        """Keep another such table in the place of the old one."""
        try:
            with self.connection:
                self.connection.execute("DELETE FROM placement")
                self.connection.executemany("INSERT INTO placement VALUES (?, ?)", table.items())
        except apsw.Error as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Let go of it."""
        self.connection.close()

    def _error(self, error: Exception) -> StateError:
        return StateError(f"{self.path}: {error}; if it is damaged, move it away: a new one is made")

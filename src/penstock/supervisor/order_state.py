"""Directives in force, and sweeps with how far they are, in tables of ``state.db``: they outlive the server. All calls block.

What is in a row is JSON of its record; ``FORMAT`` is the version of those. A newer one is refused, for what it says would not be done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import apsw
import msgspec

from penstock.mail.control import SweepState
from penstock.mail.directive import Directive
from penstock.supervisor.state import StateError

FORMAT: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS order_format (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), number INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS directive (id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sweep (id TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT;
"""
_encode: Final = msgspec.json.encode
_directive: Final = msgspec.json.Decoder(Directive).decode
_sweep: Final = msgspec.json.Decoder(SweepState).decode


class Kept(NamedTuple):
    """What was kept, oldest first."""

    directives: tuple[Directive, ...]
    sweeps: tuple[SweepState, ...]


class OrderState:
    """The tables. StateError from everything; then nothing has changed. What was changed is on stable storage when a call returns."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def begin(self) -> Kept:
        """What was kept. Made on the first start."""
        try:
            with self._connection:
                self._connection.execute(_TABLES)
                row = self._connection.execute("SELECT number FROM order_format").fetchone()
                if row is not None and int(row[0]) > FORMAT:
                    raise StateError(
                        f"state.db: its directives are of format {row[0]}, and this version of Penstock knows {FORMAT}: run the newer one"
                    )
                self._connection.execute("INSERT OR REPLACE INTO order_format VALUES (1, ?)", (FORMAT,))
                rows = self._connection.execute("SELECT record FROM directive ORDER BY id")
                directives = tuple(_directive(row[0]) for row in rows)
                rows = self._connection.execute("SELECT record FROM sweep ORDER BY id")
                sweeps = tuple(_sweep(row[0]) for row in rows)
        except (apsw.Error, msgspec.DecodeError) as error:
            raise _error(error) from error
        return Kept(directives, sweeps)

    def give(self, directive: Directive | None, sweep: SweepState | None, replaced: str | None) -> None:
        """Keep these, and forget what was replaced, all or nothing."""
        try:
            with self._connection:
                if replaced is not None:
                    self._remove([replaced])
                if directive is not None:
                    row = (directive.id, _encode(directive))
                    self._connection.execute("INSERT INTO directive VALUES (?, ?)", row)
                if sweep is not None:
                    self._put([sweep])
        except apsw.Error as error:
            raise _error(error) from error

    def keep_progress(self, sweeps: Iterable[SweepState]) -> None:
        """Keep how far these are, of those that are kept at all."""
        try:
            with self._connection:
                self._connection.executemany(
                    "UPDATE sweep SET record = ? WHERE id = ?",
                    [(_encode(state), state.sweep.order.id) for state in sweeps],
                )
        except apsw.Error as error:
            raise _error(error) from error

    def remove(self, ids: Iterable[str]) -> None:
        """Forget directives and sweeps with these ids."""
        try:
            with self._connection:
                self._remove(ids)
        except apsw.Error as error:
            raise _error(error) from error

    def remove_directives(self, ids: Iterable[str]) -> None:
        """Forget directives with these ids; their sweeps go on."""
        try:
            with self._connection:
                self._connection.executemany("DELETE FROM directive WHERE id = ?", [(each,) for each in ids])
        except apsw.Error as error:
            raise _error(error) from error

    def _remove(self, ids: Iterable[str]) -> None:
        rows = [(identity,) for identity in ids]
        self._connection.executemany("DELETE FROM directive WHERE id = ?", rows)
        self._connection.executemany("DELETE FROM sweep WHERE id = ?", rows)

    def _put(self, sweeps: Iterable[SweepState]) -> None:
        rows = [(state.sweep.order.id, _encode(state)) for state in sweeps]
        self._connection.executemany("INSERT OR REPLACE INTO sweep VALUES (?, ?)", rows)


def _error(error: Exception) -> StateError:
    return StateError(f"state.db: {error}; if it is damaged, move it away: a new one is made")

"""SQLite for hooks: ``row = await tenants.row("SELECT tenant FROM domains WHERE name = ?", domain)``.

A database has one thread of its own, so the event loop never waits for a disk, and statements follow each other. Values go in as parameters,
never into the text of a statement. A hook that is stopped stops its statement too. The file is opened at the first use and closed with the
policy. By apsw (docs/decisions/0010-policy.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from pathlib import Path
from typing import Final

import apsw

from penstock.policy.scope import SCOPE

#: What SQLite stores.
Value = str | int | float | bytes | None
Row = tuple[Value, ...]
#: Seconds to wait for another program's lock.
BUSY_TIMEOUT: Final = 1.0
#: Rows that a statement may give. More is a mistake in a hook.
ROWS_LIMIT: Final = 10_000
#: Statements that wait for their turn.
WAITING_LIMIT: Final = 1000


class DatabaseError(Exception):
    """A statement could not be carried out. ``str()`` of it is SQLite's reason."""


class _Statement:
    __slots__ = ("future", "is_over", "parameters", "text")

    def __init__(
        self, text: str, parameters: tuple[Value, ...], future: asyncio.Future[tuple[list[Row], int]]
    ) -> None:
        self.text = text
        self.parameters = parameters
        self.future = future
        self.is_over = False


class Database:
    """The SQLite database in a file. Unless ``writable`` it is opened for reading only, and has to exist.

    A plain function uses it with ``wait``: ``wait(tenants.row(...))``.
    """

    def __init__(
        self, path: str | Path, *, writable: bool = False, busy_timeout: float = BUSY_TIMEOUT
    ) -> None:
        self._path = str(path)
        self._writable = writable
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()
        self._statements: queue.SimpleQueue[_Statement | None] = queue.SimpleQueue()
        self._connection: apsw.Connection | None = None
        self._running: _Statement | None = None
        self._thread: threading.Thread | None = None

    async def rows(self, statement: str, *parameters: Value) -> list[Row]:
        """Every row that a statement gives, at most ROWS_LIMIT; ``?`` in it stand for ``parameters``. DatabaseError if it fails."""
        return (await self._do(statement, parameters))[0]

    async def row(self, statement: str, *parameters: Value) -> Row | None:
        """The first row, None if there is none; DatabaseError if it fails."""
        rows = await self.rows(statement, *parameters)
        return rows[0] if rows else None

    async def change(self, statement: str, *parameters: Value) -> int:
        """Carry out a statement that writes, in a transaction of its own; how many rows it changed. DatabaseError if it fails."""
        return (await self._do(statement, parameters))[1]

    async def _do(self, text: str, parameters: tuple[Value, ...]) -> tuple[list[Row], int]:
        future: asyncio.Future[tuple[list[Row], int]] = asyncio.get_running_loop().create_future()
        statement = _Statement(text, parameters, future)
        self._begin()
        if self._statements.qsize() >= WAITING_LIMIT:
            raise DatabaseError(f"{WAITING_LIMIT} statements wait already")
        self._statements.put(statement)
        try:
            return await future
        finally:
            self._stop(statement)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"sqlite {self._path}", daemon=True)
                self._thread.start()
        scope = SCOPE.get()
        if scope is not None:
            scope.once(self, lambda: self, Database.close)

    def _stop(self, statement: _Statement) -> None:
        """Nobody waits for this statement any more."""
        with self._lock:
            statement.is_over = True
            if self._running is statement and self._connection is not None:
                self._connection.interrupt()

    async def close(self) -> None:
        """Close the file. Another use opens it again."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            if self._connection is not None:
                self._connection.interrupt()
            self._statements.put(None)
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

    # -- in the database's thread

    def _run(self) -> None:
        while (statement := self._statements.get()) is not None:
            with self._lock:
                if statement.is_over:
                    continue
                self._running = statement
            try:
                result: tuple[list[Row], int] | DatabaseError = self._carry_out(statement)
            except (apsw.Error, DatabaseError, TypeError, ValueError, OverflowError) as error:
                result = DatabaseError(f"{Path(self._path).name}: {error}")
            with self._lock:
                self._running = None
            _tell(statement, result)
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _carry_out(self, statement: _Statement) -> tuple[list[Row], int]:
        connection = self._connection
        if connection is None:
            connection = self._open()
        before = connection.total_changes()
        rows: list[Row] = []
        for row in connection.execute(statement.text, statement.parameters):
            rows.append(row)
            if len(rows) > ROWS_LIMIT:
                raise DatabaseError(f"the statement gives more than {ROWS_LIMIT} rows")
        if connection.in_transaction:
            connection.execute("ROLLBACK")
            raise DatabaseError("a statement is a transaction of its own, and leaves none open")
        return rows, connection.total_changes() - before

    def _open(self) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY
        if self._writable:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(self._path, flags=flags)
        connection.set_busy_timeout(int(self._busy_timeout * 1000))
        with self._lock:
            self._connection = connection
        return connection


def _tell(statement: _Statement, result: tuple[list[Row], int] | DatabaseError) -> None:
    def settle() -> None:
        if statement.future.done():
            return
        if isinstance(result, DatabaseError):
            statement.future.set_exception(result)
        else:
            statement.future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        statement.future.get_loop().call_soon_threadsafe(settle)

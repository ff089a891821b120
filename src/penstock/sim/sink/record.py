"""Where received messages are written down: a file of JSON lines, a directory with a file per message.

A line is in the file, with the operating system, before the message is answered. With ``sync`` it is on stable storage before:
messages that arrive while a sync is under way share the next one, which runs in a thread so that the loop goes on.
Opening and writing are done on the loop: a sink waits for its own disk, and only its clients notice.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import msgspec

from penstock.sim.sink.message import MessageRecord, SinkMessage, record_of

#: Called once a message is written down (None), or could not be (the fault).
Done = Callable[[OSError | None], None]

_DUMPED = re.compile(r"([0-9]{8,})\.eml", re.ASCII)


class Recorder:
    """Writes messages to ``record`` (appended) and ``dump`` (a directory that is made if missing); either may be None.

    OSError from the constructor if one cannot be opened.
    """

    def __init__(self, record: Path | None, dump: Path | None, *, sync: bool = False) -> None:
        self._encoder = msgspec.json.Encoder()
        self._dump = dump
        self._dumped = 0
        self._sync = sync
        self._torn = False
        self._waiting: list[Done] = []
        self._unsynced: list[FileIO] = []
        self._sync_task: asyncio.Task[None] | None = None
        if dump is not None:
            dump.mkdir(parents=True, exist_ok=True)
            numbers = (_DUMPED.fullmatch(entry.name) for entry in dump.iterdir())
            self._dumped = max((int(match[1]) for match in numbers if match), default=0)
        self._file: FileIO | None = record.open("ab", buffering=0) if record is not None else None
        if record is not None and sync:
            _sync_directory(record.parent)

    def write(self, message: SinkMessage, done: Done) -> None:
        """Write ``message`` down and call ``done``: before this returns, or after the next sync."""
        try:
            dumped = self._write_dump(message)
            self._write_line(record_of(message, dumped))
        except OSError as error:
            done(error)
            return
        if not self._sync:
            done(None)
            return
        self._waiting.append(done)
        if self._sync_task is None:
            self._sync_task = asyncio.get_running_loop().create_task(
                self._sync_waiting(), name="sink record sync"
            )

    async def settle(self) -> None:
        """Wait until everything written so far is synced and has been called ``done``."""
        if self._sync_task is not None:
            await self._sync_task

    async def close(self) -> None:
        """Close the files, once what is being synced is."""
        await self.settle()
        if self._file is not None:
            self._file.close()

    def _write_dump(self, message: SinkMessage) -> str | None:
        if self._dump is None:
            return None
        self._dumped += 1
        path = self._dump / f"{self._dumped:08}.eml"
        file = path.open("xb", buffering=0)
        try:
            _write_all(file, message.content)
        except OSError:
            file.close()
            path.unlink()
            raise
        if self._sync:
            self._unsynced.append(file)
        else:
            file.close()
        return path.name

    def _write_line(self, record: MessageRecord) -> None:
        if self._file is None:
            return
        line = self._encoder.encode(record) + b"\n"
        # A line that failed half-way stays as it is; the next one begins on a line of its own.
        prefix = b"\n" if self._torn else b""
        self._torn = True
        _write_all(self._file, prefix + line)
        self._torn = False

    async def _sync_waiting(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            files, self._unsynced = self._unsynced, []
            fault: OSError | None = None
            try:
                await asyncio.to_thread(self._sync_files, files)
            except OSError as error:
                fault = error
            for done in waiting:
                done(fault)
        self._sync_task = None

    def _sync_files(self, files: list[FileIO]) -> None:
        try:
            for file in files:
                os.fsync(file.fileno())
        finally:
            for file in files:
                file.close()
        if files and self._dump is not None:
            _sync_directory(self._dump)
        if self._file is not None:
            os.fsync(self._file.fileno())


def _write_all(file: FileIO, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""Journals of what was said and seen: an entry counts once it is on stable storage, so that none is about something that a crash took back.

A line of JSON each. Entries that come while a sync is under way share the next one.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar


class Entry(Protocol):
    """A named tuple of what JSON can say."""

    def _asdict(self) -> dict[str, Any]: ...


class Sent(NamedTuple):
    """A transaction as its client knows it. ``code`` is that of the last reply: to the end of data, or what kept it from coming to that.

    0: the end of data may have been sent, and no reply came. ``recipients`` were accepted at RCPT, ``refused`` were not. ``stage`` is
    the command that the reply answers. ``digest`` is of the message as it must arrive; ``at`` is the monotonic time of the reply.
    """

    number: int
    recipients: tuple[str, ...]
    refused: tuple[str, ...]
    digest: str
    code: int
    stage: str
    text: str
    at: float

    @property
    def is_accepted(self) -> bool:
        """Whether the server has taken it over."""
        return self.code == 250

    @property
    def is_unknown(self) -> bool:
        """Whether the server may have taken it over and could not say so."""
        return self.code == 0


class Arrived(NamedTuple):
    """A message that came to its destination, written down before that said 250. ``digest`` is without the field that a hop adds."""

    recipients: tuple[str, ...]
    digest: str
    at: float


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class Journal(Generic[AnyEntry]):
    """Entries in a file, as a context; any thread may write. OSError of the disk goes to whoever writes, or asks for the entries."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = threading.Condition()
        self._pending: list[AnyEntry] = []
        self._entries: list[AnyEntry] = []
        self._given = 0
        self._fault: OSError | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        os.close(self._file)

    def note(self, entry: AnyEntry) -> None:
        """Write an entry; it counts a little later."""
        with self._changed:
            self._raise_fault()
            self._pending.append(entry)
            self._given += 1
            self._changed.notify_all()

    def write(self, entry: AnyEntry) -> None:
        """Write an entry; it counts when this returns."""
        with self._changed:
            self.note(entry)
            place = self._given
            self._changed.wait_for(lambda: self._fault or len(self._entries) >= place)
            self._raise_fault()

    def entries(self, first: int = 0) -> list[AnyEntry]:
        """What counts, from the entry with number ``first`` on; those given before this was called are among them."""
        with self._changed:
            place = self._given
            self._changed.wait_for(lambda: self._fault or len(self._entries) >= place)
            self._raise_fault()
            return self._entries[first:]

    def __len__(self) -> int:
        """How many entries count."""
        with self._changed:
            return len(self._entries)

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise OSError(self._fault.errno, self._fault.strerror, str(self._path))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closing)
                batch, self._pending = self._pending, []
                if not batch:
                    return
            fault = self._sync(batch)
            with self._changed:
                self._fault = fault
                if fault is None:
                    self._entries += batch
                self._changed.notify_all()
                if fault is not None:
                    return

    def _sync(self, batch: list[AnyEntry]) -> OSError | None:
        rest = memoryview(b"".join(json.dumps(entry._asdict()).encode() + b"\n" for entry in batch))
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fdatasync(self._file)
        except OSError as fault:
            return fault
        return None

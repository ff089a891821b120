"""Spools to be looked at: on a disk, and while something happens to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.inspection.view import View
from tests.spool.files_in_memory import MemoryFile, MemoryFiles
from tests.spool.writing import live_of


def put_on_disk(files: MemoryFiles, root: Path) -> None:
    """What is in memory as a directory, with the modes that a server gives."""
    root.mkdir(mode=0o700)
    for folder in sorted(files.folders - {""}):
        (root / folder).mkdir(mode=0o700)
    for path, octets in files.octets.items():
        (root / path).write_bytes(octets)
        (root / path).chmod(0o600)


def on_disk(files: MemoryFiles, root: Path) -> ReadOnlyFiles:
    """The same, opened to be read."""
    put_on_disk(files, root)
    return ReadOnlyFiles(root)


def live(view: View) -> dict[tuple[int, int, int], dict[str, Any]]:
    """What is live, as ``tests.spool.writing.live`` has it."""
    return live_of(view.queued)


class Moving:
    """A tree in which something happens right before a file is opened: ``events`` by path, each once."""

    def __init__(self, files: MemoryFiles, events: dict[str, Callable[[], None]]) -> None:
        self._files = files
        self._events = dict(events)
        self.opened: list[str] = []

    def open(self, path: str) -> MemoryFile:
        """See Tree."""
        self.opened.append(path)
        event = self._events.pop(path, None)
        if event is not None:
            event()
        return self._files.open(path)

    def names(self, folder: str = "") -> list[str]:
        """See Tree."""
        return self._files.names(folder)


class Hasty(MemoryFile):
    """A file that is read while it is written: the first read of each place gives what ``before`` has, later ones what is there now."""

    def __init__(self, file: MemoryFile, before: bytes) -> None:
        super().__init__(file.path, file.octets, [])
        self._before = before
        self._seen: set[int] = set()

    def read(self, size: int, offset: int) -> bytes:
        """See File."""
        if offset in self._seen:
            return super().read(size, offset)
        self._seen.add(offset)
        return self._before[offset : offset + size]

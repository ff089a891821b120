"""The event log as a check reads it while it grows: packed files and plain ones, each line once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from penstock.events.files import log_files, plain_name
from penstock.events.packing import opened

_CHUNK = 1024 * 1024


class EventFiles:
    """Whole lines only: a file that a crash has shortened, or left with a torn line, is passed over once there is a newer one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[str, int] = {}

    def lines(self) -> Iterator[bytes]:
        """What has come since the last time, oldest first; the sums that files open with too."""
        if not self._folder.exists():
            return
        for path in log_files(self._folder):
            name = plain_name(path.name)
            offset = self._offsets.get(name, 0)
            rest = b""
            with closing(opened(path, offset)) as source:
                while octets := source.read(_CHUNK):
                    whole, end, rest = (rest + octets).rpartition(b"\n")
                    offset += len(whole) + len(end)
                    self._offsets[name] = offset
                    yield from whole.splitlines()

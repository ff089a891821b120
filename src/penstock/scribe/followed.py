"""A lane's log as its process tells of it: which segments there are, and how far they are stored. Read from the files, without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from penstock.mail.ports import LogPosition
from penstock.spool.frame import Identity
from penstock.spool.head import Head
from penstock.spool.history import History
from penstock.spool.inspection.read_only import ReadOnlyFiles
from penstock.spool.names import segment_path
from penstock.spool.shelf import Shelf, Shelved


class FollowedLog:
    """See ``lane.LaneLog``. ``tell`` is told how far its events are on stable storage. FileError if there is no such folder."""

    def __init__(self, folder: Path, synced: LogPosition, tell: Callable[[LogPosition], None]) -> None:
        self._files = ReadOnlyFiles(folder)
        self._shelf = Shelf(self._files)
        self._history = History(self._shelf, lambda: self.synced)
        self._tell = tell
        self._told = LogPosition(0, 0)
        self.synced = synced

    def use_segments(self, segments: Sequence[tuple[int, int, int]]) -> None:
        """The segments that there are: number, salt, and before which offset frames count."""
        shelf = self._shelf
        there = {number for number, _, _ in segments}
        for number in [item.identity.number for item in shelf if item.identity.number not in there]:
            shelf.remove(number)
        for number, salt, end in segments:
            known = shelf.get(number)
            if known is None:
                identity = Identity(number, salt)
                shelf.add(Shelved(identity, segment_path(identity), 0, end))
            else:
                known.end = end

    def salt(self, segment: int) -> int | None:
        """See LaneLog."""
        found = self._shelf.get(segment)
        return found.identity.salt if found is not None else None

    def heads(self, start: LogPosition) -> Iterator[tuple[Head | None, LogPosition]]:
        """See LaneLog."""
        return self._history.heads(start)

    def head(self, segment: int, offset: int) -> Head:
        """See LaneLog."""
        return self._history.head(segment, offset)

    def events_written(self, position: LogPosition) -> None:
        """See LaneLog."""
        if position > self._told:
            self._told = position
            self._tell(position)

    def close(self) -> None:
        """Give all files back."""
        self._shelf.close()
        self._files.close()

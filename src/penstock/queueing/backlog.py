"""What may concern a million messages and waits for no time: it is done in turns, a slice for each of those that have such work.

That is: queues going to their hop's path, or to another; the mail of a hop or a path failing for good; paths taking up a new configuration.
"""

from __future__ import annotations

from collections import deque

import msgspec

from penstock.mail.configuration import PathConfig
from penstock.queueing.places import Places
from penstock.queueing.queues import Hop, Path
from penstock.queueing.rows import NONE


def _connects_otherwise(before: PathConfig, after: PathConfig) -> bool:
    """Whether a connection that could not be made may be made now: anything but their number has changed."""
    return msgspec.structs.replace(before, connection_limit=after.connection_limit) != after


class Backlog:
    """Hops and paths with work left: a hop with a ``cursor`` or a ``doom``, a path with a ``doom``; and lists of paths to be configured."""

    __slots__ = ("_owners", "_places")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._owners: deque[Hop | Path | list[Path]] = deque()

    def __bool__(self) -> bool:
        return bool(self._owners)

    def add(self, owner: Hop | Path) -> None:
        """A hop or a path has work, if it had none already."""
        if not owner.is_behind:
            owner.is_behind = True
            self._owners.append(owner)

    def configure(self, paths: list[Path], now: int, size: int) -> None:
        """Configure these paths, in a list of our own from now on: up to ``size`` at once, the others in turns."""
        self._configure(paths, now, size)
        if paths:
            self._owners.append(paths)

    def take_turn(self, now: int, size: int) -> int:
        """Do up to ``size`` rows, queues or paths of the first, which then goes to the end if it is not done; how many, and one for the look."""
        if not self._owners:
            return 0
        owner = self._owners.popleft()
        if isinstance(owner, list):
            done = self._configure(owner, now, size)
            is_done = not owner
        elif isinstance(owner, Path):
            done = self._fail_path(owner, now, size)
            is_done = owner.doom is None
        else:
            done = self._move(owner, now, size) if owner.doom is None else self._fail_hop(owner, now, size)
            is_done = owner.doom is None and owner.cursor is None
        if not is_done:
            self._owners.append(owner)
        elif not isinstance(owner, list):
            owner.is_behind = False
        return done + 1

    def _configure(self, paths: list[Path], now: int, size: int) -> int:
        places = self._places
        due = paths[-size:]
        del paths[-size:]
        for path in due:
            if not path.is_dropped:
                before, path.config = path.config, places.path_config(path.site)
                if path.hold is not None and _connects_otherwise(before, path.config):
                    places.supply.try_again(path, now)
                places.supply.serve(path, now)
        return len(due)

    def _move(self, hop: Hop, now: int, size: int) -> int:
        done = 0
        while done < size and (queue := hop.cursor) is not None:
            done += 1
            hop.cursor = queue.after
            self._places.move(queue, now)
        return done

    def _fail_path(self, path: Path, now: int, size: int) -> int:
        places, reply = self._places, path.doom
        assert reply is not None  # noqa: S101 -- it would not be here
        for done in range(size):
            row = places.take_off(path)
            if row == NONE:
                path.doom = None
                places.drop_if_unused(path)
                return done
            places.fail(places.queue_of(row), row, path.site, reply, now)
        return size

    def _fail_hop(self, hop: Hop, now: int, size: int) -> int:
        places, reply = self._places, hop.doom
        assert reply is not None  # noqa: S101 -- it would not be here
        for done in range(size):
            queue = hop.first
            if queue is None:
                hop.doom = None
                return done
            row = queue.ready_rows.head
            places.calendar.remove(row)
            places.fail(queue, row, places.take_out(queue, row), reply, now)
        return size

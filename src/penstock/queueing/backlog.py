"""What may concern a million messages and waits for no time: it is done in turns, a slice for each of those that have such work.

That is: queues going to their hop's path, or to another; the mail of a hop or a path failing for good, as far as there is room for its ends; paths
being looked at, because of a new configuration or because all were held.
"""

from __future__ import annotations

from collections import deque

import msgspec

from penstock.mail.configuration import PathConfig
from penstock.queueing.places import Places
from penstock.queueing.queues import Hop, Path


def _connects_otherwise(before: PathConfig, after: PathConfig) -> bool:
    """Whether a connection that could not be made may be made now: anything but their number has changed."""
    return msgspec.structs.replace(before, connection_limit=after.connection_limit) != after


class Backlog:
    """What has work left: hops with a ``cursor``, hops and paths with a ``doom``, and the paths to be looked at.

    True while any of it can be done.
    """

    __slots__ = ("_doomed", "_moving", "_places", "_unseen")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._moving: deque[Hop] = deque()
        self._doomed: deque[Hop | Path] = deque()
        self._unseen: list[Path] = []

    def __bool__(self) -> bool:
        if self._moving or self._unseen:
            return True
        return bool(self._doomed) and self._places.ends_room > 0

    def add(self, owner: Hop | Path) -> None:
        """A hop or a path has work, if it had none already."""
        if not owner.is_behind:
            owner.is_behind = True
            if owner.doom is None and isinstance(owner, Hop):
                self._moving.append(owner)
            else:
                self._doomed.append(owner)

    def look_at(self, paths: list[Path], now: int, size: int) -> None:
        """Configure and serve these paths, which are all that there are: up to ``size`` at once, the others in turns."""
        self._unseen = paths
        self._look(now, size)

    def take_turn(self, now: int, size: int) -> int:
        """Do up to ``size`` rows, queues or paths of each kind of work, of the owner whose turn it is; how many, and one for each look."""
        done = 0
        if self._unseen:
            done += self._look(now, size)
        if self._moving:
            done += 1 + self._move_first(now, size)
        room = self._places.ends_room
        if self._doomed and room:
            done += 1 + self._fail_first(now, min(size, room))
        return done

    def _move_first(self, now: int, size: int) -> int:
        hop = self._moving.popleft()
        done = self._move(hop, now, size) if hop.doom is None else 0
        self._again(hop, is_done=hop.doom is None and hop.cursor is None)
        return done

    def _fail_first(self, now: int, size: int) -> int:
        owner = self._doomed.popleft()
        if isinstance(owner, Path):
            done = self._fail_path(owner, size)
            self._again(owner, is_done=owner.doom is None)
        else:
            done = self._fail_hop(owner, size)
            self._again(owner, is_done=owner.doom is None and owner.cursor is None)
        return done

    def _again(self, owner: Hop | Path, *, is_done: bool) -> None:
        """To the end, if there is more to do."""
        owner.is_behind = False
        if not is_done:
            self.add(owner)

    def _look(self, now: int, size: int) -> int:
        places = self._places
        due = self._unseen[-size:]
        del self._unseen[-size:]
        for path in due:
            if not path.is_dropped:
                places.supply.use_lane(path, places.home("", path.site), now)
                before, path.config = path.config, places.path_config(path.site)
                path.sharing.reweigh()
                if path.lane is None and path.hold is not None and _connects_otherwise(before, path.config):
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

    def _fail_path(self, path: Path, size: int) -> int:
        places, reply = self._places, path.doom
        assert reply is not None  # noqa: S101 -- it would not be here
        for done in range(size):
            queue = path.sharing.next()
            if queue is None:
                path.doom = None
                places.drop_if_unused(path)
                return done
            places.fail(queue, places.take_off(path, queue), path.site, reply)
        return size

    def _fail_hop(self, hop: Hop, size: int) -> int:
        places, reply = self._places, hop.doom
        assert reply is not None  # noqa: S101 -- it would not be here
        for done in range(size):
            queue = hop.first
            if queue is None:
                hop.doom = None
                return done
            row = queue.ready_rows.head
            places.calendar.remove(row)
            places.fail(queue, row, places.take_out(queue, row), reply)
        return size

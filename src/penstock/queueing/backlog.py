"""What may concern a million messages and waits for no time: it is done in turns, a slice for each of those that have such work.

That is: queues going to their hop's path, or to another; the mail of a hop or a path failing for good, or ended by a directive, as far as there is
room for its ends; paths being looked at, because of a new configuration or because all were held; queues being looked at, because of a new
configuration or a directive, and let go because one is over.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from penstock.mail.configuration import PathConfig
from penstock.mail.directive import Criteria
from penstock.queueing.places import Places
from penstock.queueing.postings import Walk
from penstock.queueing.queues import Hop, Path
from penstock.queueing.turnstile import Turnstile

#: Rows or queues that are done in one turn: for one of the backlog's, and for time.
TURN: Final = 64
#: Looks at some queues that wait for one another; for more, one at all queues is made.
_LOOKS: Final = 16


def _connects_otherwise(before: PathConfig, after: PathConfig) -> bool:
    """Whether a connection that could not be made may be made now: more has changed than how many there may be, and what goes by them."""
    same = msgspec.structs.replace(
        before,
        connection_limit=after.connection_limit,
        max_message_rate=after.max_message_rate,
        share_by=after.share_by,
        origins=after.origins,
    )
    return same != after


class Backlog:
    """What has work left: hops with a ``cursor``, hops and paths with a ``doom``, the paths and queues to be looked at, and the gates' parkings.

    True while any of it can be done.
    """

    __slots__ = ("_doomed", "_looks", "_moving", "_places", "_turnstile", "_unseen")

    def __init__(self, places: Places, turnstile: Turnstile) -> None:
        self._places = places
        self._turnstile = turnstile
        self._moving: deque[Hop] = deque()
        self._doomed: deque[Hop | Path] = deque()
        self._unseen: list[Path] = []
        self._looks: deque[Walk] = deque()

    def __bool__(self) -> bool:
        gates = self._places.gates
        if self._moving or self._unseen or self._looks or gates.releasing:
            return True
        return bool(self._doomed or gates.dropping) and self._places.ends_room > 0

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

    def review(self, criteria: Criteria) -> None:
        """Look at the queues that match, in turns: something is in force now that may hold them, or not any more."""
        if len(self._looks) == _LOOKS:
            self._looks.clear()
            criteria = Criteria()
        self._looks.append(self._places.postings.walk(criteria))

    def take_turn(self, now: int, size: int) -> int:
        """Do up to ``size`` rows, queues or paths of each kind of work, of the owner whose turn it is; how many, and one for each look."""
        done = 0
        if self._unseen:
            done += self._look(now, size)
        if self._moving:
            done += 1 + self._move_first(now, size)
        gates = self._places.gates
        if self._looks:
            done += 1 + self._review_first(now, size)
        if gates.releasing:
            done += 1 + self._release_first(now, size)
        room = self._places.ends_room
        if self._doomed and room:
            done += 1 + self._fail_first(now, min(size, room))
        room = self._places.ends_room
        if gates.dropping and room:
            done += 1 + self._drop_first(now, min(size, room))
        return done

    def _review_first(self, now: int, size: int) -> int:
        look = self._looks[0]
        for queue in look.take(size):
            self._turnstile.review(queue, now)
        if look.is_over:
            self._looks.popleft()
        return size

    def _release_first(self, now: int, size: int) -> int:
        releasing = self._places.gates.releasing
        for done in range(size):
            queue = releasing[0].first
            if queue is None:
                releasing.popleft()
                return done
            self._turnstile.release(queue, now)
        return size

    def _drop_first(self, now: int, size: int) -> int:
        dropping = self._places.gates.dropping
        parking = dropping[0]
        for done in range(size):
            queue = parking.first
            if queue is None or parking.directive is None:
                parking.is_behind = False
                dropping.popleft()
                return done
            self._places.drop(queue, parking.directive, now)
        return size

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
                before = path.config
                places.configure(path, places.path_config(path.site), now)
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

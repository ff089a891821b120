"""A queued message looked for by its id, while the spool is at work.

Nobody keeps a map of ids. An id begins with the time at which it was made, which is when its message was accepted: so the columns of what is
queued are gone through for messages of that time, some thousand at a time, and the ids of those few are read from their frames, beside the
loop. First those of the same few milliseconds, which is enough; then those of the same second. Where the clock had jumped between two runs,
messages are as much older or younger than their ids say, as each lane measured it: these times are looked at too, and some minutes about them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from penstock.mail.ports import Found, SpoolError
from penstock.spool.frame import Damaged, Identity, Place
from penstock.spool.inspection.read_only import Tree
from penstock.spool.inspection.stored import Gone, StoredReader
from penstock.spool.loop import Loop
from penstock.spool.queued import Queued
from penstock.spool.reading import Background
from penstock.spool.recent import Recent
from penstock.spool.shelf import Shelf

#: 48 bits of milliseconds, then the version (``penstock.mail.ids``).
_ID: Final = re.compile(r"([0-9a-f]{12})7[0-9a-f]{19}")
#: Seconds between the time in an id and that of its message: first, then; and for those that come with a jump of the clock, which lanes do not
#: measure alike, for they note the time once a minute.
_NEAR: Final = (0.005, 0.5)
_NEAR_A_JUMP: Final = 150.0
#: Messages that one step looks at: half a millisecond.
_AT_ONCE: Final = 5_000
#: Frames of which one job reads the ids.
_READ_AT_ONCE: Final = 200
#: How often what was copied meanwhile is looked for again.
_ROUNDS: Final = 5


class Finding:
    """See the module. ``original`` says where a message can be read that is being copied, ``offsets`` how much later than its id it may be."""

    __slots__ = ("_background", "_loop", "_offsets", "_original", "_queued", "_recent", "_shelf", "_tree")

    def __init__(
        self,
        tree: Tree,
        shelf: Shelf,
        queued: Queued,
        recent: Recent,
        loop: Loop,
        background: Background,
        original: Callable[[Place], Place],
        offsets: Callable[[], Sequence[float]],
    ) -> None:
        self._tree = tree
        self._shelf = shelf
        self._queued = queued
        self._recent = recent
        self._loop = loop
        self._background = background
        self._original = original
        self._offsets = offsets

    def find(self, message_id: str, done: Found) -> None:
        """See Spool."""
        match = _ID.fullmatch(message_id)
        if match is None:
            self._loop.call_soon(done, None)
            return
        search = _Search(message_id, int(match[1], 16) / 1000, self._offsets(), done)
        self._loop.call_soon(self._look, search)

    def _look(self, search: _Search) -> None:
        """Look at some rows more; at the end of them read what was found."""
        queued, recent, first = self._queued, self._recent, search.row
        created = queued.created[first : first + _AT_ONCE]
        rows = [
            row
            for low, high in search.spans()
            for row, moment in enumerate(created, first)
            if low <= moment <= high and queued.waiting[row]
        ]
        for row in rows:
            if row in queued.held:
                continue  # another lane's, perhaps
            record = recent.get(row)
            if record is None:
                search.rows.append((row, self._original(queued.place(row))))
            elif record.id == search.id:
                search.done(row)
                return
        search.row += _AT_ONCE
        if created:
            self._loop.call_soon(self._look, search)
        else:
            self._read(search)

    def _read(self, search: _Search) -> None:
        """Read the ids of some of what was found; of what lies nearest first."""
        some = search.take()
        if some:
            segments = {item.identity.number: item.identity for item in self._shelf}
            job = partial(_read, self._tree, segments, search.id, [place for _, place in some])
            self._background.submit(job, partial(self._have_read, search, some))
        elif search.widen():
            self._loop.call_soon(self._look, search)
        else:
            search.done(None)

    def _have_read(
        self, search: _Search, some: Sequence[tuple[int, Place]], found: tuple[int | None, bool] | Exception
    ) -> None:
        if isinstance(found, Exception):
            search.done(SpoolError(str(found)))
            return
        index, is_partial = found
        queued = self._queued
        if index is None:
            search.is_partial = search.is_partial or is_partial
            self._read(search)
            return
        row, place = some[index]
        if queued.waiting[row] and self._original(queued.place(row)) == place:
            search.done(row)
        else:  # it was copied meanwhile, or is gone and its row another's
            search.is_partial = True
            self._read(search)


class _Search:
    """One search: rows that it has come to, those that may be it with their places, and how near in time."""

    __slots__ = (
        "_levels",
        "_offsets",
        "_read",
        "_rounds",
        "done",
        "id",
        "is_partial",
        "made",
        "row",
        "rows",
    )

    def __init__(self, message_id: str, made: float, offsets: Sequence[float], done: Found) -> None:
        self.id = message_id
        self.made = made
        self.done = done
        self.row = 0
        self.rows: list[tuple[int, Place]] = []
        #: something that was to be read was not there any more
        self.is_partial = False
        self._offsets = offsets
        #: how near is still to be looked
        self._levels = list(_NEAR)
        self._rounds = 0
        self._read: set[tuple[int, Place]] = set()

    def spans(self) -> list[tuple[float, float]]:
        """From when to when its message may have been accepted, as times are counted now."""
        near = self._levels[0] if self._levels else _NEAR_A_JUMP
        jumps = self._offsets if self._levels else self._offsets[1:]
        return [(self.made + offset - near, self.made + offset + near) for offset in jumps]

    def take(self) -> list[tuple[int, Place]]:
        """Some that are to be read."""
        some: list[tuple[int, Place]] = []
        while self.rows and len(some) < _READ_AT_ONCE:
            item = self.rows.pop()
            if item not in self._read:
                some.append(item)
        self._read.update(some)
        return some

    def widen(self) -> bool:
        """Begin again, farther away in time; or for what was copied meanwhile. False if all was done that can be."""
        if self.is_partial and self._rounds < _ROUNDS:
            self._rounds += 1
            self._read.clear()
        elif self._levels:
            del self._levels[0]
            if not self._levels and len(self._offsets) == 1:
                return False  # no clock has jumped
        else:
            return False
        self.row, self.rows, self.is_partial = 0, [], False
        return True


def _read(
    tree: Tree, segments: dict[int, Identity], message_id: str, places: Sequence[Place]
) -> tuple[int | None, bool]:
    """Which of the places has this message, and whether some are not there any more; blocks. FileError, NewerFormat."""
    reader = StoredReader(tree, segments)
    is_partial = False
    last: tuple[int, int] | None = None
    ids: tuple[str, ...] = ()
    try:
        for index, (segment, offset, part) in enumerate(places):
            try:
                if last != (segment, offset):
                    last, ids = (segment, offset), ()
                    ids = reader.ids(segment, offset)
            except Gone:
                is_partial = True
            except Damaged:
                continue  # whoever reads it to deliver it finds out
            if part < len(ids) and ids[part] == message_id:
                return index, is_partial
    finally:
        reader.close()
    return None, is_partial

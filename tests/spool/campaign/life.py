"""One process with a spool on a simulated disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence

from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import LogPosition, SpoolError
from penstock.mail.records import MessageRecord, QueuedMessage, SpoolRecord, StoredMessage
from penstock.sim.file_system import SimulatedDisk, SimulatedSyncer
from penstock.sim.loop import AtOnce, SimulatedLoop
from penstock.spool.frame import SEGMENT_HEADER_SIZE
from penstock.spool.log import SpoolLog, SpoolOptions
from tests.spool.campaign.model import State, Violation

#: Seconds in which a sync that is wanted begins.
_MOMENT = 0.003
#: Turns after which something goes on for ever.
_TURNS = 10_000

OnStored = Callable[[Sequence[SpoolRecord], LogPosition], None]


class Life:
    """See the module. ``draw`` is where its salts come from; ``now`` what time it is at first."""

    def __init__(
        self, disk: SimulatedDisk, draw: random.Random, now: float, segment_size: int, on_stored: OnStored
    ) -> None:
        self.disk = disk
        self.loop = SimulatedLoop(now)
        self.syncer = SimulatedSyncer(disk.switches)
        self.files = disk.process()
        self.is_recovered = False
        self.told: list[QueuedMessage] = []
        self.spool = SpoolLog(
            self.files, self.syncer, self.loop, AtOnce(self.loop), self.loop, IdSource(draw.getrandbits(42)),
            lambda: draw.getrandbits(32), on_stored, SpoolOptions(memory=4096, segment_size=segment_size),
        )  # fmt: skip

    def start(self) -> Iterator[None]:
        """Read what was there, step by step; ``told`` has what was told of it. FileError."""
        yield from self.spool.restore(self.told.extend)
        self.is_recovered = True

    def settle(self) -> None:
        """Let everything happen that can happen now, syncs too."""
        for _ in range(_TURNS):
            self.loop.advance(_MOMENT)
            if not self.syncer.is_waiting:
                return
            self.syncer.complete()
        raise Violation("the spool comes to rest", f"not within {_TURNS} syncs")

    def read(self, position: int) -> StoredMessage | SpoolError:
        """A message, fetched if need be."""
        found: list[StoredMessage | SpoolError] = []
        try:
            now = self.spool.get(position)
        except SpoolError as fault:
            return fault
        if now is not None:
            return now
        self.spool.fetch(position, found.append)
        self.loop.run()
        if not found:
            raise Violation("whoever asks for a message is answered", f"position {position}")
        return found[0]

    def history(self, start: LogPosition) -> list[tuple[SpoolRecord, LogPosition]]:
        """The records from a position on, each with a position that is behind its frame."""
        found: list[tuple[SpoolRecord, LogPosition]] = []
        waiting: list[SpoolRecord] = []
        last = start
        for record, position in self.spool.history(start):
            if record is not None:
                waiting.append(record)
            # the first messages of a frame have the position before it, which may be where a segment begins
            if position > last and position.offset > SEGMENT_HEADER_SIZE:
                found += [(item, position) for item in waiting]
                waiting.clear()
                last = position
        return found + [(item, last) for item in waiting]

    def stop(self) -> None:
        """End as the server does: in peace if all is stored, else when the time that it is given is over."""
        asyncio.run(self.spool.close(Seconds(0.0)))


def state_of(stored: StoredMessage, queued: QueuedMessage, shift: float) -> State:
    """What is known of a message that was told of, its times less ``shift``."""
    due = queued.due - shift if queued.due is not None else None
    return State(frozenset(stored.waiting), stored.attempts, due, queued.queue)


def difference(stored: StoredMessage, record: MessageRecord) -> str:
    """What is not as it was handed over; "" if all is."""
    if stored.record == record:
        return ""
    for field in record.__struct_fields__:
        was, found = getattr(record, field), getattr(stored.record, field)
        if was != found:
            return f"{record.id}: {field} was {was!r:.100}, and is {found!r:.100}"
    return f"{record.id} is another"

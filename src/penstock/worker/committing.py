"""Where a transaction is stored that came in here: in the lane that is the home of all of it, or in ours.

Ours is the anchor of whatever is not all of one other lane: parts with homes in several lanes, a domain whose site is not known within
``PATIENCE``, a home that is away, ill or standing still. Such mail is moved later, before its first attempt. If ours is ill, another lane is the
anchor. What is refused is nowhere; where nobody can know, nothing is said (``queueing.handover``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from penstock.lane import parcels
from penstock.lane.handing_over import Neighbour, Transfer
from penstock.lane.neighbours import Neighbours
from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import Clock, Spool, SpoolError, SpoolUncertain
from penstock.mail.records import MessageRecord
from penstock.queueing.handover import Fate
from penstock.routing.placement import Homes
from penstock.routing.plan import Route, Unroutable
from penstock.spool import passing
from penstock.spool.codec import INLINE_LIMIT, Body, version_of

LOG = logging.getLogger(__name__)

#: How long a transaction waits for the sites of its domains, all together.
PATIENCE: Final = Seconds(0.25)

#: Told that a transaction is stored (None), or that it is not, or that nobody knows.
Done = Callable[[SpoolError | None], None]
#: Takes over messages that are stored here, with their positions.
Deliver = Callable[[Sequence[tuple[int, MessageRecord]]], None]


class Routes(Protocol):
    """Who knows where domains are routed to."""

    def route_cached(self, domain: str, now: MonotonicTime) -> Route | Unroutable | None:
        """What is known of ``domain``; None if it has to be asked."""

    def expect(self, domain: str) -> asyncio.Task[Route | Unroutable] | None:
        """Begin to ask about a domain; None if too much is being asked."""


class Committer:
    """See the module. ``life`` tells this run of the lane from the one before, in names of parcels in the folder ``parcels``."""

    def __init__(
        self,
        *,
        spool: Spool,
        deliver: Deliver,
        homes: Homes,
        routes: Routes,
        neighbours: Neighbours,
        clock: Clock,
        folder: Path,
        life: int,
    ) -> None:
        self.routes = routes
        self._spool = spool
        self._deliver = deliver
        self._homes = homes
        self._neighbours = neighbours
        self._clock = clock
        self._folder = folder
        self._life = life
        self._packed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        #: octets of contents that are being packed
        self._packing = 0
        self._is_alone = homes.is_alone

    def use_placement(self) -> None:
        """Go by what ``homes`` says from now on, and be connected to the lanes that there are."""
        placement = self._homes.placement
        self._is_alone = self._homes.is_alone
        self._neighbours.use(placement.general, placement.dedicated)

    @property
    def held_bytes(self) -> int:
        """Memory that is under way to other lanes, in octets."""
        return 0 if self._is_alone else self._neighbours.octets + self._packing

    def has_room(self) -> bool:  # hot: throughput
        """Whether a transaction may begin: somebody would store it."""
        return self._spool.has_room() or (not self._is_alone and self._neighbours.anchor() is not None)

    def expect(self, domain: str) -> None:  # hot: throughput
        """There is a recipient of ``domain`` in a transaction: ask where it goes, if that is not known."""
        if not self._is_alone and self.routes.route_cached(domain, self._clock.monotonic()) is None:
            self.routes.expect(domain)

    def commit(self, records: Sequence[MessageRecord], done: Done) -> None:  # hot: throughput
        """Have the messages of a transaction stored, all or none; ``done`` is called once, from inside or later."""
        if self._is_alone:
            self._store(records, done)
            return
        lane, unknown = self._home(records)
        if unknown:
            self._spawn(self._find_out(records, unknown, done), "resolve the domains of a transaction")
        else:
            self._commit_to(lane, records, done)

    def _home(self, records: Sequence[MessageRecord]) -> tuple[str | None, list[str]]:  # hot: micro_handover
        """The other lane that all of it has its home in, None for ours; and the domains to be known before that can be said."""
        home: str | None = None
        unknown: list[str] = []
        now = self._clock.monotonic()
        for record in records:
            domain = record.queue.next_hop
            route = self.routes.route_cached(domain, now)
            if route is None:
                unknown.append(domain)
                continue
            lane = self._homes.routed(domain, route.site) if isinstance(route, Route) else None
            if lane is None or (home is not None and lane != home):
                return None, []
            home = lane
        return home, unknown

    async def _find_out(self, records: Sequence[MessageRecord], unknown: list[str], done: Done) -> None:
        asked = {task for task in map(self.routes.expect, unknown) if task is not None}
        if asked:
            await asyncio.wait(asked, timeout=PATIENCE)
        lane, unknown = self._home(records)
        self._commit_to(None if unknown else lane, records, done)

    def _commit_to(self, lane: str | None, records: Sequence[MessageRecord], done: Done) -> None:
        neighbour = self._neighbours.get(lane) if lane is not None else None
        if neighbour is not None:
            self._hand_over(neighbour, records, done, lambda _: self._anchor(records, done))
        else:
            self._anchor(records, done)

    def _anchor(self, records: Sequence[MessageRecord], done: Done) -> None:
        """Store it here; if we are ill, where anybody takes it."""
        other = None if self._spool.has_room() else self._neighbours.anchor()
        if other is not None:
            self._hand_over(other, records, done, lambda _: self._store(records, done))
        else:
            self._store(records, done)

    # -- here

    def _store(self, records: Sequence[MessageRecord], done: Done) -> None:  # hot: throughput
        try:
            self._spool.store(records, partial(self._stored, records, done))
        except SpoolError as fault:
            done(fault)

    def _stored(
        self, records: Sequence[MessageRecord], done: Done, positions: Sequence[int], fault: SpoolError | None
    ) -> None:  # hot: throughput
        if fault is None:
            self._deliver(list(zip(positions, records, strict=True)))
        done(fault)

    # -- there

    def _hand_over(
        self,
        neighbour: Neighbour,
        records: Sequence[MessageRecord],
        done: Done,
        otherwise: Callable[[Fate], None],
    ) -> None:  # hot: micro_handover
        """Have another lane store it; ``otherwise`` if it does not, and never will."""
        if not neighbour.is_taking:
            otherwise(Fate.UNSENT)
        elif len(records[0].content) > INLINE_LIMIT:
            self._spawn(self._pack(neighbour, records, done, otherwise), "pack a large content")
        else:
            told = partial(_told, done, otherwise)
            pieces = passing.encoded(records)
            if not neighbour.hand_over(Transfer(pieces, len(records), 0, told, version_of(records))):
                otherwise(Fate.UNSENT)

    async def _pack(
        self,
        neighbour: Neighbour,
        records: Sequence[MessageRecord],
        done: Done,
        otherwise: Callable[[Fate], None],
    ) -> None:
        self._packed += 1
        name = parcels.name_of(self._homes.own, self._life, self._packed)
        content = records[0].content
        loop = asyncio.get_running_loop()
        self._packing += len(content)
        try:
            body: Body | None = await asyncio.to_thread(parcels.pack, self._folder, name, content)
        except OSError as error:
            LOG.warning("a large content cannot be handed over: %s", error)
            body = None
        finally:
            self._packing -= len(content)
        if body is None:
            otherwise(Fate.UNSENT)
            return

        def told(fate: Fate) -> None:
            if fate is not Fate.STORED:
                loop.run_in_executor(None, parcels.remove, self._folder, name)
            _told(done, otherwise, fate)

        pieces = passing.encoded(records, body)
        transfer = Transfer(pieces, len(records), body.size, told, version_of(records))
        if not neighbour.hand_over(transfer):
            told(Fate.UNSENT)

    # -- tasks and the end

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            LOG.error("task %s failed", task.get_name(), exc_info=fault)

    async def close(self) -> None:
        """Nobody waits any more: leave the other lanes."""
        for task in tuple(self._tasks):
            task.cancel()
        await self._neighbours.close()


def _told(done: Done, otherwise: Callable[[Fate], None], fate: Fate) -> None:  # hot: micro_handover
    if fate is Fate.STORED:
        done(None)
    elif fate is Fate.UNCERTAIN:
        done(SpoolUncertain("another lane may have stored it or not"))
    else:
        otherwise(fate)

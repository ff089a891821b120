"""Carries out what the scheduler asks for: routes found, connections made, mail offered, failures and expiries recorded.

The lane decides nothing about mail. Everything that happens ends in ``work_done``, which takes the scheduler's effects until there are none,
and sets the one timer for the next instant at which something is due. While the spool cannot record outcomes, the scheduler is paused and no
connection is begun; the spool says when that is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Final

from penstock.lane.connection import LaneConnection
from penstock.lane.delivery import Delivery
from penstock.lane.fetching import AFTER_FAULT, Fetcher, Fetching
from penstock.lane.opening import NoConnection, Opener
from penstock.lane.slots import Slots
from penstock.lane.turns import Turns
from penstock.lane.undeliverable import Undeliverable
from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, WallTime
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, Draw, Spool
from penstock.mail.queue_name import QueueName
from penstock.mail.records import INTERNAL, MessageRecord, QueuedMessage
from penstock.mail.reply import reply
from penstock.net.router import Router
from penstock.net.tls import ClientContexts
from penstock.net.zones import zone_of
from penstock.queueing.effects import Connect, Effect, Move, Offer
from penstock.queueing.queues import Hop, Path
from penstock.queueing.scheduler import Scheduler
from penstock.routing.plan import Route, Unroutable
from penstock.shaping.ports import Rates

LOG = logging.getLogger(__name__)

#: A loop's worth of effects; what is more waits for the others' turn.
_EFFECTS_AT_ONCE: Final = 500
#: Seconds for what was cancelled to end.
_LAST_WORDS: Final = 1.0


class Lane:
    """The delivery side of a worker. Made on a running loop.

    ``own_names`` are the names by which our listeners greet: a peer that greets so is ourselves. ``connection_limit``
    bounds its connections over all paths; what is over it waits for one to end. ``contexts`` verify other hosts' certificates. ``rates`` are
    in wall time; ``opened`` is to be called for them. ``weight_of`` gives a tenant's weight, and may give another after ``reconfigure``.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        router: Router,
        clock: Clock,
        draw: Draw,
        ids: IdSource,
        ehlo_name: str,
        own_names: Iterable[str],
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
        connection_limit: int,
        contexts: ClientContexts,
        weight_of: Callable[[str | None], float],
        rates: Rates,
    ) -> None:
        self.scheduler = Scheduler(
            queue_config, path_config, weight_of=weight_of, rates=rates, zone_of=zone_of
        )
        self.connections: set[LaneConnection] = set()
        self.connections_total = 0
        self.route_hits = 0
        self.route_misses = 0
        self._spool = spool
        self.turns = Turns(clock)
        self._fetcher = Fetcher(self.scheduler, spool, clock, draw, self.turns)
        self._undeliverable = Undeliverable(self.scheduler, spool, clock, self.work_done)
        self._router = router
        self._clock = clock
        self._draw = draw
        self._opener = Opener(self, router, clock, ids, ehlo_name, own_names, contexts)
        self._slots = Slots(connection_limit, self._begin)
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Path, list[LaneConnection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._effects: deque[Effect] = deque()
        self._empty = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: WallTime | None = None
        self._is_working = False
        self._is_scheduled = False
        self._is_arming = False
        self._is_draining = False
        self._move: Callable[[Path], None] = _nowhere
        spool.watch(self._watch)
        self._watch()

    # -- mail in

    def submit(self, stored: Sequence[tuple[int, MessageRecord]]) -> None:  # hot: throughput
        """Take over messages that the spool has."""
        now = self._clock.wall()
        add = self.scheduler.add
        for position, record in stored:
            add(
                record.queue,
                position,
                record.size,
                created=record.created,
                now=now,
                schedule=record.schedule,
            )
        self.work_done()

    def restore(self, messages: Sequence[QueuedMessage]) -> None:
        """Take over messages from before the start, but for those that are held: those that are overdue in the order in which they were due."""
        now = self._clock.wall()
        for message in sorted([item for item in messages if not item.is_held], key=_was_due):
            self.scheduler.add(
                message.queue,
                message.position,
                message.size,
                created=message.created,
                now=now,
                attempts=message.attempts,
                due=message.due,
                schedule=message.schedule,
            )
        self.work_done()

    def _watch(self) -> None:
        """Pause or go on, as the spool can record outcomes."""
        can_record, now = self._spool.can_record(), self._clock.wall()
        if not can_record:
            self.scheduler.pause("spool", "outcomes cannot be recorded", now)
            self._slots.hold()
        elif self.scheduler.hold is not None:
            self.scheduler.resume(now)
            self._slots.release()
        self.work_done()

    def reconfigure(
        self,
        own_names: Iterable[str],
        queue_config: Callable[[QueueName], QueueConfig],
        path_config: Callable[[str], PathConfig],
    ) -> None:
        """Go on with another configuration."""
        self._opener.own_names = frozenset(own_names)
        self.scheduler.reconfigure(queue_config, path_config, self._clock.wall())
        self.work_done()

    def reread(self, name: QueueName) -> None:
        """The options of a queue are others now."""
        self.scheduler.reread(name, self._clock.wall())
        self.work_done()

    def use_homes(self, home: Callable[[str, str], str | None], move: Callable[[Path], None]) -> None:
        """Go by these homes of sites (``Scheduler``) from now on; ``move`` is told the paths whose mail is to be moved to another lane."""
        self._move = move
        self.scheduler.rehome(home, self._clock.wall())
        self.work_done()

    def opened(self, key: str) -> None:
        """A limit that refused mail may have a token."""
        self.scheduler.opened(key, self._clock.wall())
        self.work_done()

    def use_router(self, router: Router) -> None:
        """Ask another router from now on; routes that are known hold for their time."""
        self._router = self._opener.router = router

    def use_contexts(self, contexts: ClientContexts) -> None:
        """Verify certificates by these from now on; connections keep what they began with."""
        self._opener.contexts = contexts

    # -- effects

    def work_done(self) -> None:  # hot: throughput
        """Do what the scheduler asks for, and see that it is called when something is due."""
        if self._is_working:
            return
        if self._effects or self.scheduler.is_busy:
            self._is_working = True
            try:
                self._work()
            finally:
                self._is_working = False
        if not self._is_arming:
            # once for all that happens in this round of the loop
            self._is_arming = True
            self._loop.call_soon(self._arm)

    @property
    def _has_work(self) -> bool:
        scheduler = self.scheduler
        return (
            scheduler.has_effects
            or bool(self._effects)
            or scheduler.is_behind
            or self._undeliverable.has_work
        )

    def _work(self) -> None:
        scheduler, effects = self.scheduler, self._effects
        for _ in range(_EFFECTS_AT_ONCE):
            if scheduler.has_effects:
                effects.extend(scheduler.take_effects())
            if effects:
                self._do(effects.popleft())
            elif self._undeliverable.has_work:
                # a great many may end at once, and each is recorded
                if not self.turns.has_time():
                    break
                self._undeliverable.take()
            elif not scheduler.is_behind:
                return
            elif scheduler.tick(self._clock.wall()):
                break
        if self._has_work and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        self.work_done()

    def _do(self, effect: Effect) -> None:  # hot: throughput
        if isinstance(effect, Offer):
            self._offer(effect.path)
        elif isinstance(effect, Connect):
            self._slots.take(effect.path)
        elif isinstance(effect, Move):
            self._move(effect.path)
        else:
            self._resolve(effect.hop)

    def _arm(self) -> None:
        """Have the timer stand at the next instant at which something is due."""
        self._is_arming = False
        wake = self.scheduler.next_wake()
        if wake == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = wake
        if wake is not None:
            self._timer = self._loop.call_later(max(0.0, wake - self._clock.wall()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        if self.scheduler.tick(self._clock.wall()) and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._go_on)
        self.work_done()

    # -- routes

    def _resolve(self, hop: Hop) -> None:
        if self._is_draining:
            return  # nothing is begun any more, and nobody waits for it
        known = self._router.route_cached(hop.name, self._clock.monotonic())
        if known is not None:
            self.route_hits += 1
            self._routed(hop, known)
        else:
            self.route_misses += 1
            self._spawn(self._ask_route(hop), f"route {hop.name}")

    async def _ask_route(self, hop: Hop) -> None:
        try:
            self._routed(hop, await self._router.route(hop.name))
        except BaseException:
            now = self._clock.wall()
            fault = reply(451, "4.4.3", INTERNAL + "the route could not be found: internal error")
            self.scheduler.route_failed(hop, fault, WallTime(now + AFTER_FAULT), now, is_permanent=False)
            raise
        finally:
            self.work_done()

    def _routed(self, hop: Hop, answer: Route | Unroutable) -> None:
        now = self._clock.wall()
        if isinstance(answer, Route):
            self.scheduler.route_found(hop, answer, self._to_wall(answer.expires), now)
        else:
            self.scheduler.route_failed(
                hop, answer.reply, self._to_wall(answer.until), now, is_permanent=answer.is_permanent
            )

    def _to_wall(self, instant: MonotonicTime) -> WallTime:
        return WallTime(self._clock.wall() + (instant - self._clock.monotonic()))

    # -- connections

    def _begin(self, path: Path) -> None:
        self._spawn(self._open(path), f"connect {path.site}")

    async def _open(self, path: Path) -> None:
        """Make a connection of ``path``, and let it pull."""
        is_open = False
        try:
            try:
                opened = await self._opener.open(path)
            except BaseException:
                self.scheduler.connect_failed(path, "internal error", self._clock.wall(), self._draw())
                raise
            is_open = isinstance(opened, LaneConnection)
            self._opened(path, opened)
        finally:
            if not is_open:
                self._slots.free()
            self.work_done()

    def _opened(self, path: Path, opened: LaneConnection | NoConnection) -> None:
        now = self._clock.wall()
        if isinstance(opened, LaneConnection):
            self.connections.add(opened)
            self.connections_total += 1
            self.scheduler.connected(path, now)
            opened.pull()
        elif opened.reply is not None:
            self.scheduler.path_failed(path, opened.reply, now)
        else:
            self.scheduler.connect_failed(path, opened.reason, now, self._draw())

    def _offer(self, path: Path) -> None:  # hot: throughput
        idle = self._idle.get(path)
        if idle:
            connection = idle.pop()
            if not idle:
                del self._idle[path]
            connection.is_idle = False
            self.scheduler.idle_ended(path)
            connection.pull()

    def pull(self, connection: LaneConnection) -> Delivery | Fetching | None:  # hot: throughput
        """A message for a connection of ours, or one that it is to wait for; None if there is none, and then it is idle."""
        path = connection.path
        scheduler = self.scheduler
        is_current = connection.config is path.config or connection.config == path.config
        while is_current and not self._is_draining:
            row = scheduler.pull(path, self._clock.wall())
            if row < 0:
                break
            pulled = self._fetcher.take(connection, path, row)
            if pulled is not None:
                return pulled
        scheduler.idle_began(path)
        if is_current and not self._is_draining:
            connection.is_idle = True
            self._idle.setdefault(path, []).append(connection)
        else:
            # the last of its messages was the last: we are stopping, or the path is configured otherwise by now
            connection.is_closing = True
            scheduler.closing_began(path, self._clock.wall())
            self._loop.call_soon(connection.leave)
        return None

    def closing_began(self, connection: LaneConnection) -> None:
        """An idle connection is being closed."""
        path = connection.path
        idle = self._idle.get(path, [])
        with suppress(ValueError):
            idle.remove(connection)
        if not idle:
            self._idle.pop(path, None)
        self.scheduler.closing_began(path, self._clock.wall())

    def ended(self, connection: LaneConnection) -> None:
        """A connection's socket is closed; one that was counted leaves room for another."""
        if connection in self.connections:
            self.connections.discard(connection)
            if not self.connections:
                self._empty.set()
            self.scheduler.connection_closed(
                connection.path, self._clock.wall(), was_closing=connection.is_closing
            )
            self._slots.free()

    # -- tasks and the end

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            LOG.error("task %s failed", task.get_name(), exc_info=fault)

    async def stop(self, grace: float) -> None:
        """Begin nothing more; let messages that are on a connection end within ``grace`` seconds; then close everything."""
        self._is_draining = True
        self._slots.close()
        self._undeliverable.stop()
        for connection in tuple(self.connections):
            connection.leave()
        await self._wait_until_empty(grace)
        for connection in tuple(self.connections):
            connection.abort()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=_LAST_WORDS)
        await self._wait_until_empty(_LAST_WORDS)
        if self._timer is not None:
            self._timer.cancel()
        self._is_arming = True  # and never again

    async def _wait_until_empty(self, seconds: float) -> None:
        if self.connections:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()


def _nowhere(path: Path) -> None:
    raise RuntimeError(f"{path.name} has its home in a lane that nobody is told of")


def _was_due(message: QueuedMessage) -> float:
    return message.created if message.due is None else message.due

"""A scheduler that is swept, and a naive list of its messages: who is owed what, and who has got it.

A sweep owes its order to each message that was queued when it was given, was accepted by then, and is in a queue that matches; a flush only to those
that waited, until they are ready. When it is over nothing is owed. It does nothing to any other message, and nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.directive import Criteria, Order, Rebinding, Sweep, SweepAction
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.queueing.effects import Connect, Drop, Flush, Rebind
from penstock.queueing.queues import Path
from penstock.queueing.rows import ENDING, WAITING
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

BEGIN = 1_763_668_800.0
#: Ends that wait to be taken: few, so that a sweep often has to wait.
ENDS_LIMIT = 3
#: Calls after which there must be an end.
PATIENCE = 3000
ENDLESS = WallTime(BEGIN + 1e9)
NOTHING = Rebinding()


@dataclass
class Message:
    """``owed`` are the ids of sweeps that it is still to get an order from; ``flushes`` of those that are to flush it."""

    position: int
    queue: QueueName
    created: float
    size: int
    attempts: int
    row: int = -1
    owed: set[str] = field(default_factory=set)
    flushes: set[str] = field(default_factory=set)
    flushed: set[str] = field(default_factory=set)
    #: how many orders had been given when the rebind was that has put it into its queue
    rebound: int = 0
    #: orders that cannot be recorded before that time
    put_off: dict[str, float] = field(default_factory=dict)


class SweepWorld:
    """The scheduler, its lane, and the list. ``make`` makes the scheduler."""

    def __init__(self, make: Callable[..., Scheduler] = Scheduler) -> None:
        self.scheduler = make(
            lambda name: QueueConfig(Seconds(600.0), Seconds(2000.0), Seconds(1e6)),
            lambda site: PathConfig(connection_limit=3),
            ends_limit=ENDS_LIMIT,
        )
        self.now = BEGIN
        self.messages: dict[int, Message] = {}
        self.sweeps: dict[str, Sweep] = {}
        #: orders about one message, and its position
        self.orders: dict[str, tuple[Order, int]] = {}
        #: with the messages that had been taken by then
        self.cancelled: dict[str, set[int]] = {}
        #: all of them in the order in which they were given
        self._numbers: dict[str, int] = {}
        self.recorded: Counter[str] = Counter()
        self.in_flight: list[tuple[Path, int]] = []
        #: taken, and not recorded yet
        self.ends: list[Drop | Rebind | Flush] = []
        self._positions = 0

    @property
    def time(self) -> WallTime:
        return WallTime(self.now)

    def place(self, message: Message) -> int:
        """The state of its row."""
        return self.scheduler.rows.state[message.row]

    def at(self, row: int) -> Message:
        """The message of a row."""
        return next(message for message in self.messages.values() if message.row == row)

    # -- mail

    def add(self, name: QueueName, *, due: float = 0.0, age: float = 0.0, attempts: int = 0) -> None:
        """A message comes in, or is recovered; sweeps under way are about it too, if it is old enough."""
        self._positions += 1
        message = Message(self._positions, name, self.now - age, self._positions % 7, attempts)
        owing = [identity for identity in self.sweeps if self._is_under_way(identity)]
        message.row = self.scheduler.add(
            name,
            message.position,
            message.size,
            created=WallTime(message.created),
            now=self.time,
            attempts=attempts,
            due=WallTime(self.now + due) if due else None,
        )
        self.messages[message.position] = message
        for identity in owing:
            self._owe(identity, message)
        self.answer()

    def answer(self) -> None:
        """Routes are found at once, connections are made, and pull one message each."""
        scheduler = self.scheduler
        for _ in range(PATIENCE):
            effects = scheduler.take_effects()
            for hop in [hop for hop in scheduler.hops.values() if hop.is_resolving]:
                route = Route("mx.example", (Exchange(10, "mx.example"),), MonotonicTime(0.0))
                scheduler.route_found(hop, route, ENDLESS, self.time)
            for effect in effects:
                if isinstance(effect, Connect):
                    self._connect(effect.path)
            if not effects:
                return
        raise AssertionError("the scheduler wants ever more")

    def _connect(self, path: Path) -> None:
        self.scheduler.connected(path, self.time)
        self._pull(path)

    def _pull(self, path: Path) -> None:
        row = self.scheduler.pull(path, self.time)
        if row < 0:
            self.scheduler.connection_closed(path, self.time)
            return
        self.in_flight.append((path, row))
        self._observe()

    def finish(self, number: int, what: str) -> None:
        """A connection is done with its message, and pulls the next: "settled", "deferred" or "put back"."""
        path, row = self.in_flight.pop(number)
        message = self.at(row)
        if what == "settled":
            del self.messages[message.position]
            self.scheduler.settled(path, row, self.time)
        elif what == "deferred":
            message.attempts += 1
            self.scheduler.deferred(path, row, WallTime(self.now + 600.0))
        else:
            self.scheduler.put_back(path, row, self.time)
        self._pull(path)
        self.answer()
        self.check()

    # -- orders

    def _is_under_way(self, identity: str) -> bool:
        return not self.scheduler.sweeps[identity].is_over and identity not in self.cancelled

    def sweep(
        self, action: SweepAction, criteria: Criteria, *, rebinding: Rebinding = NOTHING, ago: float = 0.0
    ) -> str:
        """A sweep is given, that is about mail accepted up to then."""
        identity = f"sweep-{len(self.sweeps)}"
        order = Order(identity, action, "because", rebinding=rebinding)
        sweep = self.sweeps[identity] = Sweep(order, criteria, WallTime(self.now - ago))
        self._numbers[identity] = len(self._numbers) + 1
        self.scheduler.sweep(sweep)
        for message in self.messages.values():
            self._owe(identity, message)
        return identity

    def _owe(self, identity: str, message: Message) -> None:
        if self._is_owed(identity, message):
            message.owed.add(identity)
        elif (
            self._order(identity).action is SweepAction.FLUSH
            and self._is_about(identity, message)
            and self.place(message) == WAITING
            and self.scheduler.rows.wake[message.row] > round(self.now * 1e6)
        ):
            message.flushes.add(identity)

    def _order(self, identity: str) -> Order:
        return self.sweeps[identity].order if identity in self.sweeps else self.orders[identity][0]

    def _is_about(self, identity: str, message: Message) -> bool:
        order = self._order(identity)
        if order.action is SweepAction.REBIND and order.rebinding.of(message.queue) == message.queue:
            return False
        if identity in self.orders:
            return self.orders[identity][1] == message.position
        sweep = self.sweeps[identity]
        return message.created <= sweep.given and sweep.criteria.matches(message.queue)

    def _is_owed(self, identity: str, message: Message) -> bool:
        """Whether a message is to get the order, in the queue where it is now, as long as it is queued."""
        return (
            self._is_under_way(identity)
            and self._order(identity).action is not SweepAction.FLUSH
            and self._is_about(identity, message)
            and not self._has_been_overtaken(identity, message)
        )

    def _has_been_overtaken(self, identity: str, message: Message) -> bool:
        """Whether a later rebind has put it where it is, so that this one leaves it there."""
        is_rebind = self._order(identity).action is SweepAction.REBIND
        return is_rebind and self._numbers[identity] < message.rebound

    def order(self, message: Message, action: SweepAction, rebinding: Rebinding = NOTHING) -> str:
        """An order about one message."""
        identity = f"order-{len(self.orders)}"
        order = Order(identity, action, "because", rebinding=rebinding)
        self.orders[identity] = (order, message.position)
        self._numbers[identity] = len(self._numbers) + 1
        self.scheduler.order(message.row, order)
        self._owe(identity, message)
        return identity

    def cancel(self, identity: str) -> None:
        """A sweep is to do nothing more."""
        was_under_way = not self.scheduler.sweeps[identity].is_over
        assert self.scheduler.cancel_sweep(identity) == was_under_way
        if was_under_way:
            taken = {position for position, item in self.messages.items() if self.place(item) == ENDING}
            self.cancelled.setdefault(identity, taken)
            for message in self.messages.values():
                message.owed.discard(identity)
                message.flushes.discard(identity)

    # -- the lane

    def tick(self, budget: int = 1) -> bool:
        """A slice; whether there is more to do."""
        is_unfinished = self.scheduler.tick(self.time, budget)
        assert len(self.scheduler._places.ends) <= ENDS_LIMIT, "more ends than may wait"
        self._observe()
        self.answer()
        self.check()
        return is_unfinished

    def take_ends(self) -> None:
        """The lane begins to read what is to be recorded."""
        while (end := self.scheduler.take_end()) is not None:
            assert isinstance(end, Drop | Rebind | Flush), "mail that ends by itself"
            self._check_end(end)
            self.ends.append(end)

    def _check_end(self, end: Drop | Rebind | Flush) -> None:
        message = self.messages[end.position]
        assert (end.row, end.attempts, end.queue.name) == (message.row, message.attempts, message.queue)
        assert self.place(message) == ENDING
        order = end.order
        assert order == self._order(order.id)
        assert end.position in self.cancelled.get(order.id, {end.position}), (
            "a sweep that was cancelled goes on"
        )
        assert self._is_about(order.id, message), "an order that is not about this message"
        assert not self._has_been_overtaken(order.id, message), "a rebind that undoes a later one"
        assert self.now >= message.put_off.get(order.id, 0.0), "tried again before the time that was said"
        if isinstance(end, Rebind):
            assert end.name == order.rebinding.of(message.queue) != message.queue
        elif isinstance(end, Flush):
            assert order.id not in message.flushed, "flushed twice"
            message.flushed.add(order.id)

    def record(self, number: int, what: str) -> None:
        """The lane records an end: "recorded", or it is "put back" or "put off" or "lost"."""
        end = self.ends.pop(number)
        message = self.messages[end.position]
        if what == "put back":
            self.scheduler.end_put_back(end)
            assert self.scheduler.take_end() is end, "an end that was put back is not the next"
            self.ends.append(end)
            return
        if what == "put off":
            message.flushed.discard(end.order.id)
            message.put_off[end.order.id] = self.now + 30.0
            self.scheduler.end_put_off(end, WallTime(self.now + 30.0))
            return
        self.recorded[end.order.id] += 1
        self._settle(end, message, is_lost=what == "lost")
        if what == "lost":
            self.scheduler.end_lost(end, self.time)
        else:
            self.scheduler.end_recorded(end, self.time)
            assert isinstance(end, Drop) or self.place(message) != WAITING, (
                "mail that waits after a flush or a rebind"
            )
        self.answer()
        self.check()

    def _settle(self, end: Drop | Rebind | Flush, message: Message, *, is_lost: bool) -> None:
        if isinstance(end, Drop) or is_lost:
            del self.messages[message.position]
        elif isinstance(end, Flush):
            message.flushes.clear()
        else:
            message.queue = end.name
            message.rebound = self._numbers[end.order.id]
            message.flushes.clear()
            message.owed = {
                identity for identity in (*self.sweeps, *self.orders) if self._is_owed(identity, message)
            }

    def advance(self, seconds: float) -> None:
        """Time passes, and wakes the scheduler when it said, at no other time."""
        until = self.now + seconds
        for _ in range(PATIENCE):
            wake = self.scheduler.next_wake()
            if wake is None or wake > until:
                break
            self.now = max(self.now, wake)
            for _ in range(PATIENCE):
                if not self.tick(50):
                    break
            else:
                raise AssertionError("there is always more to do at once")
            if self.scheduler.next_wake() == wake:
                raise AssertionError("woken again for nothing")
        self.now = until

    # -- what must be true

    def _observe(self) -> None:
        """Mail that is ready, or on its way, needs no flush any more; nor what another order has taken: it ends, or is due then."""
        for message in self.messages.values():
            if self.place(message) != WAITING:
                message.flushes.clear()

    def check(self) -> None:
        """Compare everything."""
        self._observe()
        scheduler, rows = self.scheduler, self.scheduler.rows
        assert len(scheduler) == len(self.messages), "messages lost, or not forgotten"
        octets: Counter[str | None] = Counter()
        counts: Counter[QueueName] = Counter()
        for message in self.messages.values():
            octets[message.queue.tenant] += message.size
            counts[message.queue] += 1
            assert rows.position[message.row] == message.position
            assert rows.attempts[message.row] == message.attempts, (
                "attempts that were not made, or are forgotten"
            )
            assert rows.created[message.row] == round(message.created * 1e6), "another age"
            assert scheduler.queue_of(message.row).name == message.queue, "a message in another queue"
        assert scheduler.octets == +octets, "octets of a tenant that it has not, or has no more"
        for name, queue in scheduler.queues.items():
            assert len(queue) == counts[name], "a queue's counts"
            assert queue.octets == sum(item.size for item in self.messages.values() if item.queue == name)
            assert len(queue) or queue.timer, "an empty queue that is kept for good"
        self._check_progress()

    def _check_progress(self) -> None:
        for identity, progress in self.scheduler.sweeps.items():
            assert progress.done == self.recorded[identity], "what is done is not what was recorded"
            assert progress.matched >= progress.done
            if progress.is_over:
                assert progress.matched == progress.done
                assert not any(end.order.id == identity for end in self.ends), "over before it is recorded"
                for message in self.messages.values():
                    assert identity not in message.owed, "a sweep that is over and owes"
                    assert identity not in message.flushes, "a flush that is over and owes"

    def end(self) -> None:
        """Everything comes to its end: then every sweep is over, and nobody is owed anything."""
        for _ in range(PATIENCE):
            if self.scheduler.hold is not None:
                self.scheduler.resume(self.time)
                self.answer()
            self.take_ends()
            if self.ends:
                self.record(0, "recorded")
            elif self.scheduler.is_behind:
                self.tick(50)
            elif self.in_flight:
                self.finish(
                    0, "deferred" if any(message.owed for message in self.messages.values()) else "settled"
                )
            elif not self.messages:
                break
            else:
                self.advance(600.0)
        sweeping = self.scheduler._sweeping
        assert not self.messages, "mail that does not end"
        self.advance(30.0)
        assert all(progress.is_over for progress in self.scheduler.sweeps.values()), (
            "a sweep that is never over"
        )
        assert not (sweeping.runs or sweeping._taken or sweeping._awaited or sweeping._put_off), (
            "something is kept"
        )
        self.advance(1300.0)
        assert self.scheduler.next_wake() is None
        assert not self.scheduler.queues

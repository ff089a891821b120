"""One run by chance: mail, outcomes, retries, and everything that may go wrong, as the server would see it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.ports import SpoolError, Unreadable
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    Move,
    NoteRecord,
    RebindRecord,
    RejectionRecord,
    RemovalRecord,
    Verdict,
)
from penstock.sim.file_system import Switches
from penstock.spool.arrivals import Arrival
from tests.spool import samples
from tests.spool.campaign import orders
from tests.spool.campaign.life import difference
from tests.spool.campaign.model import Message, OfMessage, Standing, State, Violation
from tests.spool.campaign.oracle import judge_history
from tests.spool.campaign.processes import FAULTS, LOOKS, STATES, Processes
from tests.spool.campaign.world import LARGE

#: After so many of the longest delays between two tries everything is stored that was in want of a segment.
_RETRIES: Final = 4
_LONGEST_DELAY: Final = 31.0
#: Of the starts those in which something is wrong with the disk.
_BAD_STARTS: Final = 0.15
#: By how many days a clock jumps.
_JUMPS: Final = (-5 * 365.0, -1.0, 30.0, 365.0)


class Run(Processes):
    """See the module."""

    def __init__(
        self,
        seed: int,
        *,
        switches: Switches = Switches(),  # noqa: B008 -- it is frozen
        looks: float = LOOKS,
        states: int = STATES,
        size: int | None = None,
    ) -> None:
        super().__init__(seed, switches=switches, looks=looks, states=states, size=size)
        self._numbers = itertools.count(1)
        self.times = itertools.count(1)
        self._moves = itertools.count(1)
        actions: tuple[tuple[float, Callable[[], None]], ...] = (
            (24, self.store), (24, self.attempt), (3, self.expire), (2, self.note), (10, self.turn), (12, self.sync),
            (10, self.settle), (10, self.wait), (10, self.write_events), (5, self.read), (2, self.read_history),
            (5, self.fail), (2, self.lose_helper), (3, self.die), (1, self.stop), (0.7, self.jump), (6, self.go_on_recovering),
            (4, self.rest), (4, self.deliver_all), (5, self.hold), (6, self.decide), (4, self.forget),
            (5, partial(orders.rebind, self)), (3, partial(orders.flush, self)), (2, partial(orders.remove, self)),
        )  # fmt: skip
        self._actions = [action for _, action in actions]
        #: each run has another temper
        self._weights = [weight * self.draw.choice((0.4, 1.0, 1.0, 2.0)) for weight, _ in actions]
        self.bad_starts = _BAD_STARTS
        self._accepted = self.draw.choice((0.3, 0.7, 0.95))

    def go(self, actions: int) -> None:
        """All of it: so many actions, then a start that finds what is there."""
        self.begin()
        self.check()
        for _ in range(actions):
            self.act()
        self.die()
        self.check()
        self.recover()
        self.check()

    # -- what the server does

    def act(self) -> None:
        """One thing more."""
        self.draw.choices(self._actions, self._weights)[0]()
        self.check()

    def store(self) -> None:
        """A transaction of one message or of several, for one recipient or several."""
        draw, number = self.draw, next(self._numbers)
        parts = draw.choice((1, 1, 1, 2, 3))
        size = draw.choice((20, 100, 300, LARGE, LARGE + 1, 1500) if draw.random() < 0.4 else (20, 100))
        content = b"%d:" % number + draw.randbytes(size - 6 if size > 20 else 10)
        records = [
            orders.timed(
                self,
                samples.message(
                    number * 10 + part, draw.choice((1, 1, 2, 3, 5)), content, f"{draw.choice('abc')}.test"
                ),
            )
            for part in range(parts)
        ]
        self.hand_over(records)

    def hand_over(self, records: Sequence[MessageRecord]) -> None:
        """Have the spool store a transaction."""
        self.kinds["transactions"] += 1
        self.kinds["transactions of several messages"] += len(records) > 1
        self.kinds["large contents"] += len(records[0].content) > LARGE
        can_record = self.life.spool.can_record()
        self.model.asked(records)
        try:
            self.life.spool.store(records, lambda positions, fault: self._answered(records, positions, fault))
        except SpoolError as fault:
            self._answered(records, (), fault)
        else:
            if not can_record:
                raise Violation("D6 a spool that cannot write takes nothing", records[0].id)

    def _answered(
        self, records: Sequence[MessageRecord], positions: Sequence[int], fault: SpoolError | None
    ) -> None:
        try:
            self.model.answered(records, fault)
            if fault is not None:
                self.kinds[
                    "refused"
                    if self.model.messages[records[0].id].standing is Standing.REFUSED
                    else "uncertain"
                ] += 1
                return
            if len(set(positions)) != len(records) or not self.known.keys().isdisjoint(positions):
                raise Violation(
                    "no position is given twice", f"{positions} are given, {sorted(self.known)} are"
                )
            self.known.update(zip(positions, [record.id for record in records], strict=True))
        except Violation as violation:
            self.violation = self.violation or violation

    def some(self) -> tuple[int, MessageRecord, tuple[int, ...]] | None:
        """A message that the server knows, and some of its waiting recipients."""
        if not self.known:
            return None
        position = self.draw.choice(sorted(self.known))
        message = self.model.messages[self.known[position]]
        waiting = sorted(message.waiting)
        chosen = self.draw.sample(waiting, self.draw.randint(1, len(waiting)))
        return position, message.as_it_is, tuple(sorted(chosen))

    def attempt(self) -> None:
        """Outcomes of some recipients of a message."""
        some = self.some()
        if some is None:
            return
        position, record, recipients = some
        message = self.model.messages[record.id]
        others = (Verdict.DEFERRED, Verdict.DEFERRED, Verdict.FAILED)
        chosen = [
            (index, Verdict.ACCEPTED if self.draw.random() < self._accepted else self.draw.choice(others))
            for index in recipients
        ]
        self.record_attempt(position, message, chosen)
        self.kinds["partial outcomes"] += len(recipients) < len(record.recipients)

    def record_attempt(
        self, position: int, message: Message, verdicts: Sequence[tuple[int, Verdict]]
    ) -> None:
        """Record an attempt with these verdicts by recipient."""
        record = message.as_it_is
        settled = {index for index, verdict in verdicts if verdict is not Verdict.DEFERRED}
        due = self.now + 60.0 * next(self.times) if message.waiting - settled else None
        spent = max([message.base.attempts, *[change.attempts for change in message.changes]])
        made = samples.attempt(record, spent + 1, *verdicts, due=due)
        fields = {field: getattr(made, field) for field in made.__struct_fields__}
        self.record(position, AttemptRecord(**{**fields, "time": WallTime(self.now + next(self.times))}))
        self.kinds["retries"] += spent > 0

    def expire(self) -> None:
        """Some recipients of a message are given up."""
        some = self.some()
        if some is None:
            return
        position, record, recipients = some
        message = self.model.messages[record.id]
        spent = max([message.base.attempts, *[change.attempts for change in message.changes]])
        time = WallTime(self.now + next(self.times))
        self.record(position, ExpirationRecord(record, time, spent, "mx.a.test", recipients, samples.LATER))
        self.kinds["expirations"] += 1

    def record(self, position: int, record: OfMessage) -> None:
        """Have the spool record what became of a message."""
        self.model.recorded(record)
        if not self.model.messages[record.message.id].waiting:
            del self.known[position]
        spool = self.life.spool
        match record:
            case AttemptRecord():
                spool.record_attempt(position, record)
            case ExpirationRecord():
                spool.record_expiration(position, record)
            case RemovalRecord():
                spool.record_removal(position, record)
            case RebindRecord():
                spool.record_rebind(position, record)
            case FlushRecord():
                spool.record_flush(position, record)
        self.kinds["outcomes while nothing can be written"] += not self.life.spool.can_record()

    def hold(self) -> None:
        """Messages come from another lane, with some of their recipients settled and some attempts spent."""
        draw, number = self.draw, next(self._numbers)
        size = draw.choice((20, 100, 300, LARGE + 1))
        content = b"%d:" % number + draw.randbytes(size)
        records = [
            orders.timed(
                self,
                samples.message(
                    number * 10 + part, draw.choice((1, 2, 3)), content, f"{draw.choice('abc')}.test"
                ),
            )
            for part in range(draw.choice((1, 1, 2)))
        ]
        self.hand_over_held(records)

    def hand_over_held(self, records: Sequence[MessageRecord]) -> None:
        """Have the spool hold messages of another lane."""
        draw, offer = self.draw, MessageId(f"{next(self._moves):032x}")
        states: list[State] = []
        arrivals: list[Arrival] = []
        for part, record in enumerate(records):
            waiting = sorted(
                draw.sample(range(len(record.recipients)), draw.randint(1, len(record.recipients)))
            )
            attempts = draw.choice((0, 2))
            due = WallTime(self.now + 60.0 * next(self.times)) if attempts else None
            states.append(State(frozenset(waiting), attempts, due, record.queue))
            arrivals.append(Arrival(record, Move("other", offer, part), tuple(waiting), attempts, due))
        self.model.asked(records, states)
        self.kinds["messages from other lanes"] += len(records)

        def done(positions: Sequence[int], fault: SpoolError | None) -> None:
            known, self.known = self.known, self.held
            self._answered(records, positions, fault)
            self.known = known

        try:
            self.life.spool.arrivals.hold(arrivals, done)
        except SpoolError as fault:
            done((), fault)

    def decide(self) -> None:
        """The other lane says what is to become of a message that it gave."""
        if not self.held:
            return
        self.decide_on(self.draw.choice(sorted(self.held)), is_dropped=self.draw.random() < 0.3)

    def decide_on(self, position: int, *, is_dropped: bool) -> None:
        """Have a held message released, or dropped."""
        name = self.held.pop(position)
        move = dict(self.life.spool.arrivals.held())[position]
        self.model.decided(name, f"moved in {move.id} {move.part}", is_gone=is_dropped)
        if is_dropped:
            self.life.spool.arrivals.drop(position, _nothing)
            self.kinds["held messages dropped"] += 1
            return
        self.known[position] = name
        self.life.spool.arrivals.release(position, _nothing)
        self.kinds["held messages released"] += 1

    def forget(self) -> None:
        """A message has gone to another lane."""
        if self.known:
            self.forget_at(self.draw.choice(sorted(self.known)))

    def forget_at(self, position: int) -> None:
        """Have this message gone to another lane."""
        name = self.known.pop(position)
        move = Move("other", MessageId(f"{next(self._moves):032x}"), 0)
        self.model.decided(name, f"moved out {move.id} {move.part}", is_gone=True)
        self.life.spool.departures.forget(position, move, _nothing)
        if self.draw.random() < 0.7:
            self.life.spool.departures.confirm(move)
        self.kinds["messages gone to other lanes"] += 1

    def note(self) -> None:
        """Something that is no message."""
        number = MessageId(f"{next(self._numbers):032x}")
        record: NoteRecord = RejectionRecord(
            number, WallTime(self.now), samples.RECEPTION, samples.LATER, "RCPT", "s@x.test", "r@y.test"
        )
        if self.draw.random() < 0.5:
            record = msgspec.structs.replace(samples.DIRECTIVE, id=number)
        self.model.noted(record)
        self.life.spool.note(record)
        self.kinds["notes"] += 1

    # -- what happens meanwhile

    def turn(self) -> None:
        """The loop goes on; syncs are under way."""
        self.life.loop.run()

    def sync(self) -> None:
        """The sync that is under way comes to its end."""
        self.life.loop.advance(0.003)
        if self.life.syncer.is_waiting:
            self.life.syncer.complete()

    def settle(self) -> None:
        """Everything comes to its end."""
        self.life.settle()

    def wait(self) -> None:
        """Time passes."""
        self.life.loop.advance(self.draw.choice((0.06, 0.06, 1.1, 5.0, 40.0, 70.0)))

    def rest(self) -> None:
        """Nothing comes for a while, and events are written."""
        for _ in range(self.draw.choice((2, 4))):
            self.settle()
            self.write_events_up_to(1.0)
            self.life.loop.advance(1.1)

    def deliver_all(self) -> None:
        """Most of what is known is delivered."""
        for position, name in sorted(self.known.items()):
            if self.draw.random() < 0.8:
                message = self.model.messages[name]
                verdicts = [(index, Verdict.ACCEPTED) for index in sorted(message.waiting)]
                self.record_attempt(position, message, verdicts)
                if self.draw.random() < 0.2:
                    self.settle()

    def come_to_rest(self) -> None:
        """Nothing is wrong any more, and nothing new comes: all that was asked for comes to its end."""
        self.disk.faults.clear()
        for _ in range(_RETRIES):
            self.life.settle()
            self.life.loop.advance(_LONGEST_DELAY)
        self.life.settle()
        self.check()
        self.model.is_quiet()

    def lose_helper(self) -> None:
        """The helper dies while it syncs."""
        self.life.loop.advance(0.003)
        if self.life.syncer.is_waiting:
            self.life.syncer.die(synced=self.draw.choice((0, 1, 9)))
            self.kinds["deaths of the helper"] += 1

    def fail(self) -> None:
        """Something is wrong with the disk, for a while; or not any more."""
        if self.draw.random() < 0.3:
            self.disk.faults.clear()
            return
        self.disk.faults.add(self.draw.choice(FAULTS))
        self.kinds["faults of the disk"] += 1

    def write_events(self) -> None:
        """Events are written up to some record that was shown."""
        self.write_events_up_to(0.6)

    def write_events_up_to(self, newest: float) -> None:
        """Events are written up to the last record that was shown, with this probability, or up to another one."""
        positions = sorted({shown.position for shown in self.model.shown})
        if positions and self.life.is_recovered:
            position = positions[-1] if self.draw.random() < newest else self.draw.choice(positions)
            self.model.written(position)
            self.life.spool.events_written(position)

    def read(self) -> None:
        """A message is read, to be sent again."""
        if not self.known:
            return
        position = self.draw.choice(sorted(self.known))
        message = self.model.messages[self.known[position]]
        stored = self.life.read(position)
        if isinstance(stored, Unreadable):
            raise Violation("D1 what is queued can be read", str(stored))
        if isinstance(stored, SpoolError):
            return
        if text := difference(stored, message.as_it_is):
            raise Violation("D1 every octet is there", text)
        if frozenset(stored.waiting) != message.waiting:
            raise Violation("what waits is told as it is", f"{stored.waiting} of {message.record.id}")
        self.kinds["messages read back"] += 1

    def read_history(self) -> None:
        """The history is read, from where it is needed."""
        if self.life.is_recovered:
            self.disk.faults.clear()
            judge_history(self.model, self.life.history(self.model.events))
            self.kinds["histories read"] += 1

    def go_on_recovering(self) -> None:
        """Some steps of the recovery, or all."""
        self.recover(self.draw.choice((1, 2, 5, 1_000_000)))

    # -- ends

    def die(self) -> None:
        """The power fails, or the process is killed."""
        if self.draw.random() < 0.6:
            self.cut()
        else:
            self.kill()

    def jump(self) -> None:
        """The process ends, and before the next one the clock jumps."""
        if not self.life.is_recovered:
            return
        self.jump_by(self.draw.choice(_JUMPS))

    def stop(self) -> None:
        """The server is stopped."""
        self._count_end()
        if self.draw.random() < 0.7:
            self.come_to_rest()
            self.kinds["stops in peace"] += 1
        self.life.stop()
        self._end_process()
        self.kinds["stops"] += 1
        self.begin()


def _nothing() -> None:
    """Nobody waits for it."""

"""One run: a spool is used as the server uses it, by chance, and every step of its disk is a place where the power may fail.

It may fail in earnest too: then the run goes on from one of the states that are left, in another process; or the process is killed, or
stopped, and goes on with the disk as it is.
"""

from __future__ import annotations

import errno
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.ports import LogPosition, SpoolError, Unreadable
from penstock.mail.records import AttemptRecord, ExpirationRecord, MessageRecord, RejectionRecord, SpoolRecord, Verdict
from penstock.sim.file_system import FailedSync, Fault, Operation, SimulatedDisk, Step, Switches
from penstock.spool.files import FileError
from tests.spool import samples
from tests.spool.campaign.life import Life, difference
from tests.spool.campaign.model import Message, Model, Standing, Violation
from tests.spool.campaign.oracle import Oracle, inspect, judge_found, judge_history
from tests.spool.campaign.world import LARGE

#: Octets of a segment.
SIZES: Final = (3 * 1024, 6 * 1024, 12 * 1024)
#: Of the steps that change something, the share at which the power may fail, and states of each.
LOOKS: Final = 0.2
STATES: Final = 3
DAY: Final = 86_400.0
#: Of the samples of states, the share that begins with the corners.
_CORNERS: Final = 0.2
#: Starts that are tried before something must be wrong.
_STARTS: Final = 6
#: After so many of the longest delays between two tries everything is stored that was in want of a segment.
_RETRIES: Final = 4

SEGMENT: Final = "segments/*"
#: What goes wrong with the disk.
FAULTS: Final[tuple[Fault, ...]] = (
    Fault(Operation.SYNC, errno.EIO, path=SEGMENT),
    Fault(Operation.SYNC, errno.EIO, times=3, path=SEGMENT),
    Fault(Operation.SYNC, errno.EIO, path=SEGMENT, takes_effect=True),
    Fault(Operation.SYNC, errno.EIO, path="bodies/*"),
    Fault(Operation.SYNC_FOLDER, errno.EIO, path="segments"),
    Fault(Operation.SYNC_FOLDER, errno.EIO, path="bodies"),
    Fault(Operation.WRITE, errno.ENOSPC, path=SEGMENT),
    Fault(Operation.WRITE, errno.EIO, path=SEGMENT, written=700),
    Fault(Operation.WRITE, errno.EIO, path=SEGMENT, takes_effect=True),
    Fault(Operation.WRITE, errno.ENOSPC, path="bodies/*", written=100),
    Fault(Operation.CREATE, errno.ENOSPC, times=2, path=SEGMENT),
    Fault(Operation.CREATE, errno.EMFILE, path="bodies/*"),
    Fault(Operation.ALLOCATE, errno.ENOSPC, times=2, path=SEGMENT),
    Fault(Operation.TRUNCATE, errno.EIO, path=SEGMENT),
    Fault(Operation.RENAME, errno.EIO),
    Fault(Operation.REMOVE, errno.EIO, path=SEGMENT),
    Fault(Operation.REMOVE, errno.EIO, path="bodies/*"),
    Fault(Operation.REMOVE, errno.EIO, path=SEGMENT, takes_effect=True),
    Fault(Operation.READ, errno.EIO, path=SEGMENT),
    Fault(Operation.OPEN, errno.EMFILE, path=SEGMENT),
)


class Run:
    """See the module. ``kinds`` counts what has happened."""

    def __init__(
        self,
        seed: int,
        *,
        switches: Switches = Switches(),  # noqa: B008 -- it is frozen
        looks: float = LOOKS,
        states: int = STATES,
        size: int | None = None,
    ) -> None:
        self.seed = seed
        self.draw = random.Random(seed)
        self.model = Model()
        self.size = size or self.draw.choice(SIZES)
        self.oracle = Oracle(self.model, random.Random(seed + 1), self.size)
        self.kinds: Counter[str] = Counter()
        self.disk = SimulatedDisk(switches=switches, failed_sync=self.draw.choice(list(FailedSync)))
        self.life: Life
        self.now = 1_700_000_000.0
        #: by position, the ids of messages that the server knows
        self.known: dict[int, str] = {}
        self.violation: Violation | None = None
        self._looks = looks
        self._states = states
        self._look_draw = random.Random(seed + 2)
        self._numbers = itertools.count(1)
        self._times = itertools.count(1)
        self._recovery: Iterator[None] = iter(())
        actions: tuple[tuple[float, Callable[[], None]], ...] = (
            (24, self.store), (24, self.attempt), (3, self.expire), (2, self.note), (10, self.turn), (12, self.sync),
            (10, self.settle), (10, self.wait), (10, self.write_events), (5, self.read), (2, self.read_history),
            (5, self.fail), (2, self.lose_helper), (3, self.die), (1, self.stop), (0.7, self.jump), (6, self.go_on_recovering),
            (4, self.rest), (4, self.deliver_all),
        )  # fmt: skip
        self._actions = [action for _, action in actions]
        #: each run has another temper
        self._weights = [weight * self.draw.choice((0.4, 1.0, 1.0, 2.0)) for weight, _ in actions]
        self._accepted = self.draw.choice((0.3, 0.7, 0.95))

    # -- looking

    def look(self, step: Step) -> None:
        """After each step of the disk."""
        if not step.is_change or self.violation is not None or self._look_draw.random() >= self._looks:
            return
        seed, corners = self._look_draw.getrandbits(30), self._look_draw.random() < _CORNERS
        states = self.disk.crash_states(self._states, seed, corners=corners)
        try:
            for state in states:
                story = state.story
                self.oracle.judge(state, self.life.loop.wall() + 1.0)
        except Violation as violation:
            violation.add_note(story)
            self.violation = violation

    def check(self) -> None:
        """Say what was found."""
        if self.violation is not None:
            raise self.violation

    # -- processes

    def begin(self) -> None:
        """A process is started on the disk; if it cannot, it is tried again, in the end without faults."""
        for attempt in range(_STARTS):
            self.disk.on_step = self.look
            if attempt == _STARTS - 1:
                self.disk.faults.clear()
            self.life = Life(self.disk, self.draw, self.now, self.size, self._on_stored)
            self.known.clear()
            self.model.begin()
            try:
                self.life.spool.open()
            except FileError:
                self.kinds["starts that failed"] += 1
                self._end_process()
                continue
            self._recovery = self.life.start()
            if not self.model.position < self.life.spool.synced:
                raise Violation("D9 positions go up", f"{self.life.spool.synced} after {self.model.position}")
            return
        raise Violation("D5 a start succeeds", "not without faults either")

    def _end_process(self) -> None:
        """Nothing of the process is left; the disk is as it is."""
        self.now = float(self.life.loop.wall()) + self.draw.choice((0.0, 1.0, 500.0))
        self.disk.on_step = None
        self.disk = self.disk.after_kill()

    def recover(self, steps: int = 1_000_000) -> None:
        """Go on with the recovery; when it is done compare all with what is known, and take it as it is from then on."""
        life = self.life
        if life.is_recovered:
            return
        for _ in range(steps):
            try:
                next(self._recovery)
            except StopIteration:
                break
            except FileError:
                self.kinds["recoveries that failed"] += 1
                self._end_process()
                self.begin()
                return
        else:
            return
        self.check()
        self.disk.faults.clear()
        self._take_over()

    def _take_over(self) -> None:
        life, model = self.life, self.model
        if life.spool.counts.quarantined and not model.is_spoiled:
            raise Violation("D5 a power cut damages nothing that was stored", f"{life.spool.counts.quarantined} damaged")
        found = inspect(life, model)
        history = life.history(model.events)
        judge_found(model, model.old, found, history)
        for name, item in found.items():
            model.found(name, item.state, item.shift)
            self.known[item.position] = name
        model.started(set(found), history)
        self.kinds["messages restored"] += len(found)

    def _on_stored(self, records: Sequence[SpoolRecord], position: LogPosition) -> None:
        try:
            self.model.told(records, position)
        except Violation as violation:
            self.violation = self.violation or violation

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
            samples.message(number * 10 + part, draw.choice((1, 1, 2, 3, 5)), content, f"{draw.choice('abc')}.test")
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

    def _answered(self, records: Sequence[MessageRecord], positions: Sequence[int], fault: SpoolError | None) -> None:
        try:
            self.model.answered(records, fault)
            if fault is not None:
                self.kinds["refused" if self.model.messages[records[0].id].standing is Standing.REFUSED else "uncertain"] += 1
                return
            if len(set(positions)) != len(records) or not self.known.keys().isdisjoint(positions):
                raise Violation("no position is given twice", f"{positions} are given, {sorted(self.known)} are")
            self.known.update(zip(positions, [record.id for record in records], strict=True))
        except Violation as violation:
            self.violation = self.violation or violation

    def _some(self) -> tuple[int, MessageRecord, tuple[int, ...]] | None:
        """A message that the server knows, and some of its waiting recipients."""
        if not self.known:
            return None
        position = self.draw.choice(sorted(self.known))
        message = self.model.messages[self.known[position]]
        waiting = sorted(message.waiting)
        chosen = self.draw.sample(waiting, self.draw.randint(1, len(waiting)))
        return position, message.record, tuple(sorted(chosen))

    def attempt(self) -> None:
        """Outcomes of some recipients of a message."""
        some = self._some()
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

    def record_attempt(self, position: int, message: Message, verdicts: Sequence[tuple[int, Verdict]]) -> None:
        """Record an attempt with these verdicts by recipient."""
        record = message.record
        settled = {index for index, verdict in verdicts if verdict is not Verdict.DEFERRED}
        due = self.now + 60.0 * next(self._times) if message.waiting - settled else None
        spent = max([message.base.attempts, *[change.attempts for change in message.changes]])
        made = samples.attempt(record, spent + 1, *verdicts, due=due)
        fields = {field: getattr(made, field) for field in made.__struct_fields__}
        self.record(position, AttemptRecord(**{**fields, "time": WallTime(self.now + next(self._times))}))
        self.kinds["retries"] += spent > 0

    def expire(self) -> None:
        """Some recipients of a message are given up."""
        some = self._some()
        if some is None:
            return
        position, record, recipients = some
        message = self.model.messages[record.id]
        spent = max([message.base.attempts, *[change.attempts for change in message.changes]])
        time = WallTime(self.now + next(self._times))
        self.record(position, ExpirationRecord(record, time, spent, "mx.a.test", recipients, samples.LATER))
        self.kinds["expirations"] += 1

    def record(self, position: int, record: AttemptRecord | ExpirationRecord) -> None:
        """Have the spool record what became of a message."""
        self.model.recorded(record)
        if not self.model.messages[record.message.id].waiting:
            del self.known[position]
        if isinstance(record, AttemptRecord):
            self.life.spool.record_attempt(position, record)
        else:
            self.life.spool.record_expiration(position, record)
        self.kinds["outcomes while nothing can be written"] += not self.life.spool.can_record()

    def note(self) -> None:
        """Something that is no message."""
        number = MessageId(f"{next(self._numbers):032x}")
        record = RejectionRecord(
            number, WallTime(self.now), samples.RECEPTION, samples.LATER, "RCPT", "s@x.test", "r@y.test"
        )
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
        if text := difference(stored, message.record):
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

    def cut(self) -> None:
        """The power fails, and the run goes on from what is left."""
        self._count_end()
        states = self.disk.crash_states(12, self.draw.getrandbits(30))
        self.disk = self.draw.choice(list(states))
        self.now = float(self.life.loop.wall()) + self.draw.choice((0.0, 1.0, 500.0))
        self.kinds["power cuts that the run went on from"] += 1
        self.begin()

    def kill(self) -> None:
        """The process is killed, and another one begins."""
        self._count_end()
        self._end_process()
        self.kinds["kills"] += 1
        self.begin()

    def spoil(self, record: MessageRecord) -> None:
        """Change an octet of a message's content, wherever it lies: of all messages with this content."""
        model = self.model
        model.is_spoiled = True
        for name in model.messages[record.id].transaction:
            model.messages[name].is_spoiled = True
        files = self.life.files
        for path in [f"{folder}/{name}" for folder in ("segments", "bodies") for name in files.names(folder)]:
            file = files.open(path)
            at = file.read(file.size(), 0).find(record.content)
            file.close()
            if at >= 0:
                self.disk.spoil(path, at + len(record.content) // 2)
                self.kinds["octets spoiled"] += 1

    def jump(self) -> None:
        """The process ends, and before the next one the clock jumps."""
        if not self.life.is_recovered:
            return
        self.jump_by(self.draw.choice((-5 * 365.0, -1.0, 30.0, 365.0)))

    def jump_by(self, days: float) -> None:
        """The process ends, the clock jumps by so many days, and another process begins."""
        self._count_end()
        self.life.stop()
        self._end_process()
        jump = days * DAY
        self.now += jump
        # the last note of the time may be as old as the process
        self.model.jumped(jump - 1.0, jump + 10_000.0)
        self.kinds["jumps of the clock"] += 1
        self.begin()

    def stop(self) -> None:
        """The server is stopped."""
        self._count_end()
        if self.draw.random() < 0.7:
            self.disk.faults.clear()
            for _ in range(_RETRIES):
                self.life.settle()
                self.life.loop.advance(31.0)
            self.life.settle()
            self.model.is_quiet()
            self.kinds["stops in peace"] += 1
        self.life.stop()
        self._end_process()
        self.kinds["stops"] += 1
        self.begin()

    def _count_end(self) -> None:
        counts = self.life.spool.counts
        self.kinds["segments abandoned"] += counts.abandoned
        self.kinds["segments removed"] += counts.removed_segments
        self.kinds["octets copied forward"] += counts.copied
        self.kinds["syncs that failed"] += counts.failed_syncs
        self.kinds["ended before it was recovered"] += not self.life.is_recovered

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

"""The contract, as judged on what a power cut has left: a spool is started on it, and all that it says is compared with what is known.

D1   what was answered with positions is there, octet for octet, with every recipient that was not settled
D2   a transaction is there whole or not at all
D3   what was refused is not there, nor ever shown
D4   an outcome that was shown is not forgotten; state is that of the last shown outcome or of a later one
D5   every start succeeds, finds no damage, and is the same again; nothing is there twice; no body file stays behind or is missing
M1   what is held stays held until it is released, over copies and starts; no other message is ever held
O1   a message is in the queue that it was put into last, and its records say which one it was in; its schedule is told with it
D9   history tells every shown record once; recipients shown as accepted wait, or are settled by a record, and never both
D11  the spool that was started stores, delivers and remembers
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from penstock.mail.ports import LogPosition, SpoolError, Unreadable
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    MessageRecord,
    MovedRecord,
    OrderRecord,
    SpoolRecord,
    Verdict,
)
from penstock.sim.file_system import SimulatedDisk, Step
from penstock.spool.names import BODIES
from penstock.spool.recovery import prepare, recover
from tests.spool import reader, samples
from tests.spool.campaign.life import Life, difference, state_of
from tests.spool.campaign.model import (
    Message,
    Model,
    OfMessage,
    Standing,
    State,
    Violation,
    key_of,
    settled_by,
)
from tests.spool.campaign.world import LARGE
from tests.spool.writing import live

#: Of the states that are judged, shares that are judged in these ways too.
_CUT_AGAIN = 0.02
_GO_ON = 0.12
_READER = 0.05
#: Seconds that times may differ by for being added to.
_SAME_TIME: Final = 0.001
#: States of a start that is cut.
_STATES_AGAIN = 2

History = Sequence[tuple[SpoolRecord, LogPosition]]


class Found(NamedTuple):
    """A message that a start has told of. Of its ``state`` the times are as before a jump of the clock, ``shift`` is how far they were moved."""

    position: int
    state: State
    shift: float
    is_held: bool = False


class Oracle:
    """Judges states for one model. ``states`` counts them; ``kinds`` how each was looked at."""

    def __init__(self, model: Model, draw: random.Random, segment_size: int) -> None:
        self._model = model
        self._draw = draw
        self._segment_size = segment_size
        self.states = 0
        self.kinds: Counter[str] = Counter()

    def judge(self, disk: SimulatedDisk, now: float, *, is_first: bool = True) -> None:
        """A disk as a power cut has left it. Violation, with the disk's story in a note."""
        self.states += 1
        try:
            if is_first and not self._model.is_spoiled and self._draw.random() < _READER:
                self._ask_the_reader(disk)
            if is_first and self._draw.random() < _CUT_AGAIN:
                self._cut_again(disk, now)
            life = self._start(disk, now)
            found = inspect(life, self._model)
            judge_found(self._model, self._model.open, found, life.history(self._model.events))
            if is_first and self._draw.random() < _GO_ON:
                self._go_on(life, found)
        except Violation:
            raise
        except Exception as error:
            raise Violation("D5 a start succeeds", repr(error)) from error

    def _start(self, disk: SimulatedDisk, now: float) -> Life:
        life = Life(disk, self._draw, now, self._segment_size, lambda _records, _position: None)
        life.spool.open()
        for _ in life.start():
            pass
        if life.spool.counts.quarantined and not self._model.is_spoiled:
            raise Violation(
                "D5 a power cut damages nothing that was stored", f"{life.spool.counts.quarantined} damaged"
            )
        return life

    def _ask_the_reader(self, disk: SimulatedDisk) -> None:
        """The reader that was written from the format's description finds what the recovery finds."""
        self.kinds["compared with the independent reader"] += 1
        process = disk.after_kill().process()
        prepare(process)
        paths = [f"{folder}/{name}" for folder in ("segments", BODIES) for name in process.names(folder)]
        octets = {}
        for path in paths:
            file = process.open(path)
            octets[path] = file.read(file.size(), 0)
        if reader.Spool(octets).live != live(recover(process)):
            raise Violation(
                "the format's description is right", "the independent reader finds something else"
            )

    def _cut_again(self, disk: SimulatedDisk, now: float) -> None:
        """The power goes again while the spool is being started."""
        self.kinds["cut again during the recovery"] += 1
        again = disk.after_kill()

        def look(step: Step) -> None:
            if step.is_change:
                for state in again.crash_states(_STATES_AGAIN, self._draw.getrandbits(30), corners=False):
                    self.judge(state, now + 5.0, is_first=False)

        again.on_step = look
        self._start(again, now)
        again.on_step = None

    def _go_on(self, life: Life, found: Mapping[str, Found]) -> None:
        """Store and deliver on it; cut the power once more; all of it is there."""
        self.kinds["gone on with, and cut once more"] += 1
        expected = {name: item.state for name, item in found.items()}
        new = samples.message(
            self._draw.getrandbits(100) | 1 << 100, content=b"z" * self._draw.choice((9, LARGE + 1))
        )
        answers: list[SpoolError | None] = []
        life.spool.store([new], lambda _positions, fault: answers.append(fault))
        free = sorted(name for name, item in found.items() if not item.is_held)
        chosen = self._draw.choice(free) if free else None
        if chosen is not None:
            expected[chosen] = self._defer(life, chosen, found[chosen])
        life.loop.advance(0.1)
        life.settle()
        life.loop.advance(self._draw.choice((0.0, 2.5)))
        life.settle()
        if answers != [None]:
            raise Violation("D11 the spool goes on after a power cut", f"new mail is answered {answers}")
        expected[new.id] = State(frozenset((0,)), 0, None, new.queue)
        state = self._draw.choice(
            list(itertools.islice(life.disk.crash_states(6, self._draw.getrandbits(30)), 6))
        )
        again = self._start(state, life.loop.wall() + 5.0)
        model = Model()
        model.messages = {**self._model.messages, new.id: Message(new, (new.id,))}
        states = {name: item.state for name, item in inspect(again, model).items()}
        if {name: item.rounded() for name, item in states.items()} != {
            name: item.rounded() for name, item in expected.items()
        }:
            raise Violation("D5 a start is the same again", f"{states} after {expected}")
        large = [name for name in expected if len(model.messages[name].record.content) > LARGE]
        transactions = {model.messages[name].transaction for name in large}
        if len(again.files.names(BODIES)) > len(transactions) and not self._model.is_spoiled:
            # while something is damaged, and be it by the power cut, none is removed; that is over with the next start
            again = self._start(again.disk.after_kill(), again.loop.wall())
            if len(bodies := again.files.names(BODIES)) > len(transactions):
                raise Violation("D5 no body file is left for ever", f"{bodies} for {transactions}")

    def _defer(self, life: Life, name: str, found: Found) -> State:
        record = self._model.messages[name].record
        attempt = samples.attempt(
            record, found.state.attempts + 1, *[(index, Verdict.DEFERRED) for index in sorted(found.state.waiting)],
            due=life.loop.wall() + 900.0,
        )  # fmt: skip
        life.spool.record_attempt(found.position, attempt)
        due = attempt.due - found.shift if attempt.due is not None else None
        return found.state._replace(attempts=attempt.attempts, due=due)


def inspect(life: Life, model: Model) -> dict[str, Found]:
    """What a start has told, by id: all of it read, and compared with what was handed over."""
    found: dict[str, Found] = {}
    positions: set[int] = set()
    for queued in life.told:
        stored = life.read(queued.position)
        if isinstance(stored, Unreadable) and model.is_spoiled:
            continue
        if isinstance(stored, SpoolError):
            raise Violation("D1 what is queued can be read", str(stored))
        name = stored.record.id
        if name not in model.messages:
            raise Violation("D5 nothing is made up", name)
        if name in found or queued.position in positions:
            raise Violation("D5 nothing is there twice", f"{name} at {queued.position}")
        # in which queue it may be is judged with the rest of its state
        record = msgspec.structs.replace(model.messages[name].record, queue=queued.queue)
        if text := difference(stored, record):
            raise Violation("D1 every octet is there", text)
        if (queued.schedule, queued.size, queued.recipients) != (
            record.schedule,
            record.size,
            len(stored.waiting),
        ):
            raise Violation("D1 the scheduler is told what is stored", f"{queued} for {name}")
        positions.add(queued.position)
        shift = queued.created - model.messages[name].created
        if abs(shift) < _SAME_TIME:
            shift = 0.0
        least, most = model.messages[name].jump
        if not least <= shift <= most:
            raise Violation(
                "D5 no message is older for a jump of the clock",
                f"{name} is moved by {shift}, not {least} to {most}",
            )
        found[name] = Found(queued.position, state_of(stored, queued, shift), shift, queued.is_held)
    return found


def judge_found(
    model: Model, wanted: Mapping[str, Message], found: Mapping[str, Found], history: History
) -> None:
    """Violation unless the contract allows what a start has found; ``wanted`` are the messages that may be there."""
    for name, item in found.items():
        message = model.messages[name]
        if name not in wanted:
            raise Violation(_rule_of(message.standing), name)
        message.judge(item.state)
        message.judge_holding(is_held=item.is_held)
    for name, message in wanted.items():
        if name not in found:
            if not message.may_be_absent:
                raise Violation("D1 what was accepted is there", name)
            parts = [part for part in message.transaction if part in found]
            if parts and message.standing is not Standing.STORED and not message.is_spoiled:
                raise Violation("D2 a transaction is there whole or not at all", f"{parts} without {name}")
    judge_history(model, history)
    judge_ledger(model, wanted, found, history)


def _rule_of(standing: Standing) -> str:
    if standing is Standing.REFUSED:
        return "D3 what was refused is not there"
    if standing is Standing.SETTLED:
        return "D4 what is settled stays settled"
    return "D5 what was not there at a start is never there again"


def judge_history(model: Model, history: History) -> None:
    """Every record that was shown behind ``events`` once, as it was; none from before, none that cannot be."""
    told = Counter(key_of(record) for record, _ in history)
    behind = {shown.key for shown in model.shown}
    for key in behind:
        if told[key] != 1 and not model.is_spoiled:
            raise Violation("D9 history tells every record once", f"{key}: {told[key]} times")
    for record, _ in history:
        key = key_of(record)
        if key in behind:
            _compare(record, model.records[key])
        elif key in model.shown_keys:
            raise Violation("D9 history begins where it is asked to", key)
        elif key in model.never:
            raise Violation("D3 what was refused is never shown", key)
        elif key in model.records:
            _compare(record, model.records[key])
        elif isinstance(record, MessageRecord | OfMessage):
            raise Violation("D9 nothing is made up", key)


def _compare(record: SpoolRecord, known: SpoolRecord) -> None:
    if record == known:
        return
    if isinstance(record, MessageRecord) and isinstance(known, MessageRecord):
        content = bytes(len(known.content)) if len(known.content) > LARGE else known.content
        is_same = record == _with_content(known, content)
    elif isinstance(record, AttemptRecord) and isinstance(known, AttemptRecord):
        is_same = (record.outcomes, record.due, record.attempts, record.message.queue) == (
            known.outcomes,
            known.due,
            known.attempts,
            known.message.queue,
        )
    elif isinstance(record, ExpirationRecord) and isinstance(known, ExpirationRecord):
        is_same = (record.recipients, record.reply, record.message.queue) == (
            known.recipients,
            known.reply,
            known.message.queue,
        )
    elif isinstance(record, OrderRecord) and isinstance(known, OrderRecord):
        # of a large content only the size is real
        mail = _with_content(known.message, record.message.content)
        is_same = record == msgspec.structs.replace(known, message=mail)
    else:
        is_same = False
    if not is_same:
        raise Violation("D9 a record is told as it was", f"{record!r:.300} was {known!r:.300}")


def _with_content(record: MessageRecord, content: bytes) -> MessageRecord:
    fields = {field: getattr(record, field) for field in record.__struct_fields__}
    return MessageRecord(**{**fields, "content": content})


def judge_ledger(
    model: Model, wanted: Mapping[str, Message], found: Mapping[str, Found], history: History
) -> None:
    """Recipients of messages that were shown wait, or were settled by a record: one of the two (D9)."""
    settled = {name: message.settled for name, message in wanted.items()}
    told = {name for name in wanted if f"message {name}" in model.shown_keys}
    held = {name for name, item in found.items() if item.is_held}
    for record, _ in history:
        if isinstance(record, MessageRecord):
            told.add(record.id)
        elif isinstance(record, MovedRecord):
            name, gone = model.moves.get(key_of(record), ("", frozenset()))
            settled[name] = settled.get(name, frozenset()) | gone
            if record.is_in:
                told.add(name)
        elif isinstance(record, OfMessage):
            name = record.message.id
            settled[name] = settled.get(name, frozenset()) | settled_by(record)
    for name, message in wanted.items():
        if message.is_spoiled:
            continue
        waiting = found[name].state.waiting if name in found else frozenset()
        if waiting and name not in told and name not in held:
            raise Violation("D9 what is queued was told", name)
        everybody = frozenset(range(len(message.record.recipients)))
        if name in told and (waiting | settled[name] != everybody or waiting & settled[name]):
            raise Violation(
                "D9 every recipient waits or is settled",
                f"{name}: {set(waiting)} wait, {set(settled[name])} are settled",
            )

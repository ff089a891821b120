"""What the spool was asked and has told, and what may be there after a power cut by the contract.

The model believes only what was told: an answer, a record shown as stored, a message given at a start. What was asked and not told may
be there or not, in no other state than one of those that were asked for. A start tells what is there; from then on that is how it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from penstock.mail.ports import LogPosition, SpoolError, SpoolUncertain
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    ExpirationRecord,
    FlushRecord,
    MessageRecord,
    MovedRecord,
    OrderRecord,
    QuarantineRecord,
    RebindRecord,
    RemovalRecord,
    SpoolRecord,
    Verdict,
)

#: Records of what became of a message.
OfMessage = AttemptRecord | ExpirationRecord | OrderRecord


class Violation(Exception):
    """The contract is broken. ``rule`` is its name, ``detail`` what was found."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class Standing(Enum):
    """What has been told of a message."""

    ASKED = "nothing was told of it"
    UNCERTAIN = "nobody knew"
    STORED = "it was told to be stored"
    REFUSED = "it was refused"
    SETTLED = "its last recipient was settled"
    LOST = "it was not there at a start"


#: What may be live.
OPEN: Final = frozenset({Standing.ASKED, Standing.UNCERTAIN, Standing.STORED})


class State(NamedTuple):
    """What is known of a live message: indices of the recipients waiting, attempts spent, when it is due, the queue that it is in."""

    waiting: frozenset[int]
    attempts: int
    due: float | None
    queue: QueueName

    def rounded(self) -> State:
        """With a time that is the same although a jump of the clock has been added and taken away."""
        return self._replace(due=round(self.due, 2) if self.due is not None else None)


class Change:
    """What was recorded of a message. ``is_shown``: it was told to be stored."""

    __slots__ = ("attempts", "due", "is_shown", "keeps_due", "key", "queue", "settled")

    def __init__(
        self,
        key: str,
        settled: frozenset[int],
        attempts: int,
        due: float | None,
        *,
        keeps_due: bool,
        queue: QueueName | None = None,
    ) -> None:
        #: the queue that the message is in from then on; None is the one that it was in
        self.queue = queue
        self.key = key
        self.settled = settled
        self.attempts = attempts
        self.keeps_due = keeps_due
        self.due = due
        self.is_shown = False

    @classmethod
    def of(cls, record: OfMessage) -> Change:
        """What a record makes of its message."""
        due = record.due if isinstance(record, AttemptRecord | RebindRecord | FlushRecord) else None
        keeps_due = due is None and not isinstance(record, AttemptRecord)
        queue = record.queue if isinstance(record, RebindRecord) else None
        return cls(key_of(record), settled_by(record), record.attempts, due, keeps_due=keeps_due, queue=queue)


class Message:
    """A message. ``base`` is how it was when it was stored, or last told of by a start; ``changes`` are what was recorded since."""

    __slots__ = (
        "base",
        "changes",
        "created",
        "holding",
        "is_spoiled",
        "jump",
        "record",
        "settled",
        "standing",
        "transaction",
    )

    def __init__(self, record: MessageRecord, transaction: Sequence[str]) -> None:
        self.record = record
        self.transaction = transaction
        self.standing = Standing.ASKED
        self.base = State(frozenset(range(len(record.recipients))), 0, None, record.queue)
        self.changes: list[Change] = []
        self.created = float(record.created)
        #: seconds by which the next start may move its times: from, to
        self.jump = (0.0, 0.0)
        #: recipients of which a record was shown that settles them
        self.settled: frozenset[int] = frozenset()
        #: what is known of its being held: True, it is; False, it is not, and what is None may be so or so
        self.holding: bool | None = False
        #: somebody has changed its octets on the disk
        self.is_spoiled = False

    @property
    def waiting(self) -> frozenset[int]:
        """The recipients that wait as the spool was told, stored or not."""
        return self.base.waiting.difference(*[change.settled for change in self.changes])

    @property
    def queue(self) -> QueueName:
        """The queue that it is in as the spool was told, stored or not."""
        return next(
            (change.queue for change in reversed(self.changes) if change.queue is not None), self.base.queue
        )

    @property
    def as_it_is(self) -> MessageRecord:
        """The message in that queue."""
        return msgspec.structs.replace(self.record, queue=self.queue)

    @property
    def may_be_absent(self) -> bool:
        """Whether it need not be there."""
        return self.standing is not Standing.STORED or not self.waiting or self.is_spoiled

    def judge_holding(self, *, is_held: bool) -> None:
        """Violation unless a live message may be held, or not."""
        if self.holding is not None and is_held is not self.holding:
            what = "is held" if is_held else "is not held any more"
            raise Violation(
                "M1 what is held stays held until it is released, and no longer", f"{self.record.id} {what}"
            )

    def judge(self, found: State) -> None:
        """Violation unless a live message may be in this state."""
        shown = [change for change in self.changes if change.is_shown]
        unshown = [change for change in self.changes if not change.is_shown]
        gone = self.base.waiting - found.waiting
        name = self.record.id
        again = found.waiting - self.base.waiting.difference(*[change.settled for change in shown])
        if again:
            raise Violation(
                "D4 what is settled stays settled", f"recipients {set(again)} of {name} wait again"
            )
        if not self.waiting <= found.waiting:
            raise Violation(
                "D1 every recipient is there", f"of {name} {set(self.waiting - found.waiting)} are missing"
            )
        if any(change.settled & gone not in (frozenset(), change.settled) for change in unshown):
            raise Violation(
                "D2 a record is stored whole", f"a part of an outcome of {name} is there: {found}"
            )
        last = shown[-1] if shown else None
        if found.attempts not in {
            last.attempts if last else self.base.attempts,
            *[c.attempts for c in unshown],
        }:
            raise Violation("D4 attempts are those of the last outcome", f"{name} is found as {found}")
        queues = [change.queue for change in shown if change.queue is not None]
        if found.queue not in {
            queues[-1] if queues else self.base.queue,
            *[change.queue for change in unshown],
        }:
            raise Violation("O1 a message is in the queue that it was put into last", f"{name} is {found}")
        dues = [change.due for change in shown if not change.keeps_due]
        possible = {dues[-1] if dues else self.base.due, *[c.due for c in unshown if not c.keeps_due]}
        if not any(_is_same(found.due, due) for due in possible):
            raise Violation(
                "D4 a message is due as the last outcome says", f"{name} is found as {found}, not {possible}"
            )


class Shown(NamedTuple):
    """A record that was told to be stored, and a place in the log behind it."""

    key: str
    position: LogPosition


class Model:
    """See the module. ``events``: what is before has become events; the spool need not keep it."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        #: those that may be live
        self.open: dict[str, Message] = {}
        self.records: dict[str, SpoolRecord] = {}
        #: behind ``events``, in the order of the log
        self.shown: list[Shown] = []
        self.shown_keys: set[str] = set()
        #: what this process was handed
        self.fresh: set[str] = set()
        #: what can never be shown any more
        self.never: set[str] = set()
        self.events = LogPosition(0, 0)
        self.position = LogPosition(0, 0)
        #: by key, of which message a record of a move is, and which recipients it settles
        self.moves: dict[str, tuple[str, frozenset[int]]] = {}
        #: octets of some record were changed on the disk
        self.is_spoiled = False

    # -- what is asked

    def begin(self) -> None:
        """Another process begins."""
        self.fresh.clear()

    def asked(self, records: Sequence[MessageRecord], states: Sequence[State] = ()) -> None:
        """A transaction is handed over; with ``states``, to be held, for it comes from another lane."""
        ids = tuple([record.id for record in records])
        for index, record in enumerate(records):
            message = self.messages[record.id] = self.open[record.id] = Message(record, ids)
            if states:
                message.base = states[index]
                message.settled = frozenset(range(len(record.recipients))) - states[index].waiting
                message.holding = True
            self._take(record)

    def _take(self, record: SpoolRecord) -> None:
        key = key_of(record)
        self.records[key] = record
        self.fresh.add(key)

    @property
    def old(self) -> dict[str, Message]:
        """Messages that may be live and were handed to an earlier process."""
        return {name: message for name, message in self.open.items() if f"message {name}" not in self.fresh}

    def recorded(self, record: OfMessage) -> None:
        """An outcome is handed over."""
        self.messages[record.message.id].changes.append(Change.of(record))
        self._take(record)

    def decided(self, name: str, key: str, *, is_gone: bool) -> None:
        """A message has gone to another lane, or is dropped; or it is released."""
        message = self.messages[name]
        settled = message.waiting if is_gone else frozenset()
        message.changes.append(Change(key, settled, self.spent(name), None, keeps_due=True))
        message.holding = None if message.holding is not False else False
        self.moves[key] = (name, settled)
        self.fresh.add(key)

    def spent(self, name: str) -> int:
        """Attempts that were spent on a message."""
        message = self.messages[name]
        return max([message.base.attempts, *[change.attempts for change in message.changes]])

    def noted(self, record: SpoolRecord) -> None:
        """A note is handed over."""
        self._take(record)

    # -- what is told

    def answered(self, records: Sequence[MessageRecord], fault: SpoolError | None) -> None:
        """A transaction is answered, once."""
        for record in records:
            message = self.messages[record.id]
            if message.standing is not Standing.ASKED:
                raise Violation(
                    "D3 one answer", f"{record.id} was answered, and is again: {fault or 'stored'}"
                )
            if fault is None:
                message.standing = Standing.STORED
            elif isinstance(fault, SpoolUncertain):
                message.standing = Standing.UNCERTAIN
            else:
                self._close(message, Standing.REFUSED)
                self.never.add(key_of(record))

    def told(self, records: Iterable[SpoolRecord], position: LogPosition) -> None:
        """Records are shown as stored."""
        if position < self.position:
            raise Violation("D9 positions go up", f"{position} after {self.position}")
        for record in records:
            key = key_of(record)
            if key in self.shown_keys:
                raise Violation("D9 a record is shown once", key)
            self._show(record, key, position)
        self.position = position

    def _show(self, record: SpoolRecord, key: str, position: LogPosition) -> None:
        if isinstance(record, OfMessage | MessageRecord) and key not in self.records:
            raise Violation("D9 nothing is made up", key)
        if key in self.never:
            raise Violation("D3 what was refused is never shown", key)
        if isinstance(record, MovedRecord):
            self._show_move(record, key)
        elif isinstance(record, OfMessage):
            if f"message {record.message.id}" not in self.shown_keys:
                raise Violation("D9 a message is shown before its outcomes", key)
            message = self.messages[record.message.id]
            message.settled |= settled_by(record)
            for change in message.changes:
                change.is_shown = change.is_shown or change.key == key
            self._settle(message)
        elif isinstance(record, MessageRecord) and self.messages[record.id].standing in (
            Standing.ASKED,
            Standing.UNCERTAIN,
        ):
            raise Violation(
                "D9 a message is shown when it is stored", f"{key} is shown, and was not told to be"
            )
        self.records[key] = record
        self.shown_keys.add(key)
        self.shown.append(Shown(key, position))

    def _show_move(self, record: MovedRecord, key: str) -> None:
        if key not in self.moves:
            raise Violation("D9 nothing is made up", key)
        name, settled = self.moves[key]
        message = self.messages[name]
        if record.is_in:
            message.holding = False
            # that it came is told now, for now it is ours
            self.shown_keys.add(f"message {name}")
        message.settled |= settled
        for change in message.changes:
            change.is_shown = change.is_shown or change.key == key
        self._settle(message)

    def _settle(self, message: Message) -> None:
        shown = [change.settled for change in message.changes if change.is_shown]
        if message.standing is Standing.STORED and not message.base.waiting.difference(*shown):
            self._close(message, Standing.SETTLED)

    def _close(self, message: Message, standing: Standing) -> None:
        message.standing = standing
        self.open.pop(message.record.id, None)

    def written(self, position: LogPosition) -> None:
        """Everything before the position has become events that are on stable storage."""
        self.events = position
        self.shown = [shown for shown in self.shown if shown.position > position]

    def jumped(self, least: float, most: float) -> None:
        """The clock has jumped: the next start moves all times of what is there, by so many seconds."""
        for message in self.open.values():
            message.jump = (least, most)

    def is_quiet(self) -> None:
        """Everything that was handed to this process has come to its end."""
        for name, message in self.open.items():
            if message.standing is Standing.ASKED and f"message {name}" in self.fresh:
                raise Violation("D3 every transaction is answered", name)
        if missing := [
            key for key in self.fresh - self.shown_keys - self.never if not key.startswith("message")
        ]:
            raise Violation("D4 every record is stored in the end", f"{sorted(missing)}")

    # -- starts

    def found(self, name: str, state: State, shift: float, *, is_held: bool = False) -> None:
        """A start tells that a message is live, and how it is; all its times are later by ``shift`` now."""
        message = self.messages[name]
        if message.standing not in OPEN:
            raise Violation(f"D3 {message.standing.value}, and is there", name)
        message.judge(state)
        message.judge_holding(is_held=is_held)
        message.holding = is_held
        message.standing = Standing.STORED
        message.base = state._replace(due=state.due + shift if state.due is not None else None)
        message.changes = []
        message.created += shift
        message.jump = (0.0, 0.0)

    def started(self, names: set[str], history: Sequence[tuple[SpoolRecord, LogPosition]]) -> None:
        """A start has come to its end: these messages are live, this is what was recorded behind ``events``."""
        for message in self.old.values():
            if message.record.id in names:
                continue
            if message.standing is Standing.STORED and message.may_be_absent:
                self._close(message, Standing.SETTLED)
            elif message.standing is Standing.STORED:
                raise Violation("D1 what was accepted is there", message.record.id)
            else:
                self._close(message, Standing.LOST)
        known = {shown.key for shown in self.shown}
        self.shown.clear()
        for record, position in history:
            key = key_of(record)
            if key in known:
                self.shown.append(Shown(key, position))
            elif key not in self.shown_keys:
                self._show(record, key, position)
            self.position = max(self.position, position)
        self.never.update(key for key in self.records if key not in self.shown_keys and key not in self.fresh)


def key_of(record: SpoolRecord) -> str:
    """What a record is known by; each attempt and expiration of a run has a time of its own."""
    if isinstance(record, MessageRecord):
        return f"message {record.id}"
    if isinstance(record, AttemptRecord):
        return f"attempt {record.message.id} {record.time}"
    if isinstance(record, ExpirationRecord):
        return f"expiration {record.message.id} {record.time}"
    if isinstance(record, RemovalRecord | RebindRecord | FlushRecord):
        return f"{record.order.action.value} {record.message.id} {record.time}"
    if isinstance(record, MovedRecord):
        return f"moved {'in' if record.is_in else 'out'} {record.move.id} {record.move.part}"
    return f"{'quarantine' if isinstance(record, QuarantineRecord) else 'note'} {record.id}"


def settled_by(record: SpoolRecord) -> frozenset[int]:
    """The recipients that a record settles."""
    if isinstance(record, AttemptRecord):
        return frozenset(item.recipient for item in record.outcomes if item.verdict is not Verdict.DEFERRED)
    return (
        frozenset(record.recipients) if isinstance(record, ExpirationRecord | RemovalRecord) else frozenset()
    )


def _is_same(found: float | None, due: float | None) -> bool:
    """Times that a clock's jump has moved are not the same to the last bit."""
    return found == due or (found is not None and due is not None and abs(found - due) < 0.001)

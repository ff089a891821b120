"""Records to the payloads of frames (``docs/spool-format.md``, "Payloads"). ``decoding`` is the way back.

A record is never refused for the words in it, for an outcome that is not written is a message sent twice: see ``parts``. What orders did is
in ``orders``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Generic, TypeVar
from zlib import crc32

import msgspec

from penstock.mail.directive import Action
from penstock.mail.dsn import EnvelopeDsn
from penstock.mail.ports import LogPosition
from penstock.mail.queue_name import QueueName
from penstock.mail.records import (
    AttemptRecord,
    DirectiveChange,
    DirectiveRecord,
    ExpirationRecord,
    MessageRecord,
    MetaValue,
    Move,
    MovedRecord,
    NoteRecord,
    Outcome,
    Peer,
    QuarantineRecord,
    Reception,
    RejectionRecord,
    SpoolHealthRecord,
    Verdict,
)
from penstock.mail.schedule import Schedule
from penstock.mail.tls import TlsFacts
from penstock.spool import forms
from penstock.spool.frame import SECOND, VERSION, FrameType, Place, frame_size
from penstock.spool.meaning import Abandoned, Change, Listed, Meaning, State
from penstock.spool.names import is_body_name
from penstock.spool.parts import (
    octets_of,
    octets_of_unicode,
    optional_queue,
    queue_form,
    reply_form,
    schedule_form,
)

#: A larger content goes into a body file.
INLINE_LIMIT: Final = 256 * 1024
#: A place counts the messages of a frame in 16 bits.
MESSAGES_LIMIT: Final = 1 << 16
EIGHT_BIT: Final = 1
SMTPUTF8: Final = 2
CANONICAL: Final = 4
VERDICTS: Final = (Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.FAILED)
_VERDICT_NUMBERS: Final = {verdict: number for number, verdict in enumerate(VERDICTS)}
#: What directives do, and what becomes of them, by their numbers in frames.
ACTIONS: Final = (Action.SUSPEND, Action.BOUNCE, Action.SUSPEND_PATH, Action.SUSPEND_SOURCE)
CHANGES: Final = (DirectiveChange.GIVEN, DirectiveChange.CANCELLED, DirectiveChange.EXPIRED)

T = TypeVar("T")

HEAD_LENGTH: Final = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
#: Sessions whose reception is kept ready: those that send at the same time.
_RECEPTIONS: Final = 256


class Body(msgspec.Struct, frozen=True):
    """A content in a file of its own: its name, octets and CRC-32."""

    name: str
    size: int
    checksum: int


class Payload:
    """What a frame is going to hold, as buffers to write one after the other, and what that means.

    ``length``: octets of all buffers; ``size``: those of the whole frame.
    """

    __slots__ = ("buffers", "length", "meaning", "size", "version")

    def __init__(self, buffers: tuple[bytes, ...], meaning: Meaning, version: int = VERSION) -> None:
        self.buffers = buffers
        self.meaning = meaning
        self.version = version
        self.length = sum(map(len, buffers))
        self.size = frame_size(self.length)


def body_of(name: str, content: bytes) -> Body:
    """What a frame says of ``content`` in the body file called ``name``; ValueError if none can be called so."""
    if not is_body_name(name):
        raise ValueError(f"a body file cannot be called {name!r:.80}")
    return Body(name, len(content), crc32(content))


def encode_transaction(
    records: Sequence[MessageRecord], body: Body | None = None
) -> Payload:  # hot: throughput
    """One TRANSACTION: the messages of a transaction, in order. ``body`` says that their content is in that file, else it is in the frame.

    ValueError if there are none or too many, or they are of different receptions or contents.
    """
    return _encode_messages(FrameType.TRANSACTION, records, (), body)


def as_encoded(records: Sequence[MessageRecord], octets: bytes) -> Payload:  # hot: micro_handover
    """The TRANSACTION that ``octets`` are, which hold these messages and their content."""
    size = len(records[0].content)
    schedules = schedules_of(records)
    listing = tuple([listed(record, size) for record in records])
    meaning = Meaning(FrameType.TRANSACTION, listing, schedules=schedules)
    return Payload((octets,), meaning, SECOND if schedules else VERSION)


def schedules_of(records: Sequence[MessageRecord]) -> tuple[tuple[int, Schedule], ...]:  # hot: throughput
    """The schedules of those messages that have one, each with the message's part. A frame with any has the second version."""
    return tuple([(part, item.schedule) for part, item in enumerate(records) if item.schedule is not None])


def version_of(records: Sequence[MessageRecord]) -> int:
    """The version of a frame that holds these messages."""
    return SECOND if schedules_of(records) else VERSION


def encode_copy(
    records: Sequence[MessageRecord], states: Sequence[State], body: Body | None = None
) -> Payload:
    """One COPY, or one MOVED if any of them is held: messages of one transaction that are still live, each with its state.

    Otherwise as ``encode_transaction``.
    """
    if len(records) != len(states):
        raise ValueError("a copy has one state for each message")
    return _encode_messages(kind_of(states), records, tuple(states), body)


def kind_of(states: Sequence[State]) -> FrameType:
    """The type of a frame whose messages have these states."""
    if not states:
        return FrameType.TRANSACTION
    return FrameType.MOVED if any(state.held is not None for state in states) else FrameType.COPY


def _state(state: State) -> tuple[object, ...]:
    """As a StateForm, without what most have none of."""
    return state if state.held is not None else state[:-1]


def _encode_messages(
    kind: FrameType, records: Sequence[MessageRecord], states: tuple[State, ...], body: Body | None
) -> Payload:
    if len(records) != 1:
        _check_shared(records)
    first = records[0]
    content, reception, meta = first.content, first.reception, first.meta
    try:
        head = _encode(
            (
                _ready_reception(reception),
                [_message(record, meta) for record in records],
                meta,
                (body.name, body.size, body.checksum) if body is not None else None,
                [_state(state) for state in states],
            )
        )
    except UnicodeEncodeError:
        head = _transaction_of_unicode(records, states, body)
    size = len(content)
    listing = (
        [listed(record, size, state.shift) for record, state in zip(records, states, strict=True)]
        if states
        else [listed(record, size) for record in records]
    )
    schedules = schedules_of(records)
    name = body.name if body is not None else None
    meaning = Meaning(kind, tuple(listing), name, states, schedules=schedules)
    head = HEAD_LENGTH.pack(len(head)) + head
    buffers = (head,) if body is not None else (head, content)
    return Payload(buffers, meaning, SECOND if schedules else VERSION)


def _check_shared(records: Sequence[MessageRecord]) -> None:
    """ValueError unless these can be the messages of one frame."""
    if not 0 < len(records) <= MESSAGES_LIMIT:
        raise ValueError(f"a frame holds 1 to {MESSAGES_LIMIT} messages, not {len(records)}")
    content, reception = records[0].content, records[0].reception
    for record in records:
        if (record.content is not content and record.content != content) or (
            record.reception is not reception and record.reception != reception
        ):
            raise ValueError("messages of one frame have one content and one reception")


def listed(record: MessageRecord, content_size: int, shift: float = 0.0) -> Listed:
    """A message as an index has it."""
    return Listed(
        record.created + shift, len(record.added_header) + content_size, len(record.recipients), record.queue
    )


def encode_attempt(
    record: AttemptRecord, place: Place, queue: QueueName | None = None
) -> Payload:  # hot: throughput
    """One ATTEMPT about the message at ``place``; the message itself is not written. ``queue`` is the one that it was in, None for its own."""
    outcomes = record.outcomes
    form: tuple[object, ...] = (
        place,
        record.time,
        record.attempts,
        record.site,
        record.source,
        _ready_peer(record.peer) if record.peer is not None else None,
        [_outcome(item) for item in outcomes],
        record.due,
    )
    if queue is not None:
        form = (*form, queue_form(queue))
    try:
        octets = _encode(form)
    except UnicodeEncodeError:
        octets = _attempt_of_unicode(record, place, queue)
    settled = tuple([item.recipient for item in outcomes if item.verdict is not Verdict.DEFERRED])
    change = Change(place, record.attempts, record.due, settled)
    return Payload((octets,), Meaning(FrameType.ATTEMPT, change=change))


def encode_expiration(record: ExpirationRecord, place: Place, queue: QueueName | None = None) -> Payload:
    """One EXPIRATION about the message at ``place``; ``queue`` as of ``encode_attempt``."""
    form: tuple[object, ...] = (
        place, record.time, record.attempts, record.site, record.recipients, reply_form(record.reply),
    )  # fmt: skip
    if queue is not None:
        form = (*form, queue_form(queue))
    change = Change(place, record.attempts, None, record.recipients)
    return Payload((octets_of(form),), Meaning(FrameType.EXPIRATION, change=change))


def encode_quarantine(
    record: QuarantineRecord, place: Place, attempts: int, recipients: tuple[int, ...]
) -> Payload:
    """One QUARANTINE about the message at ``place``: these ``recipients`` were waiting."""
    form = forms.QuarantineForm(
        place, record.id, record.time, attempts, queue_form(record.queue), recipients, record.size,
        record.place, record.reason,
    )  # fmt: skip
    change = Change(place, attempts, None, recipients)
    return Payload((octets_of(form),), Meaning(FrameType.QUARANTINE, change=change))


def encode_forget(
    record: MovedRecord, place: Place, attempts: int, recipients: tuple[int, ...], confirmed: LogPosition
) -> Payload:
    """One FORGET about the message at ``place``, whose ``recipients`` were waiting; of those before ``confirmed`` the other lanes know."""
    form = forms.ForgetForm(
        place, record.time, attempts, queue_form(record.queue), _move(record.move), recipients,
        (confirmed.segment, confirmed.offset),
    )  # fmt: skip
    change = Change(place, attempts, None, recipients)
    return Payload((octets_of(form),), Meaning(FrameType.FORGET, change=change))


def encode_release(
    record: MovedRecord, place: Place, attempts: int, recipients: tuple[int, ...], *, is_dropped: bool
) -> Payload:
    """One RELEASE about the held message at ``place``, whose ``recipients`` were waiting."""
    form = forms.ReleaseForm(
        place, record.time, attempts, queue_form(record.queue), _move(record.move), recipients, is_dropped
    )
    change = Change(place, attempts, None, recipients if is_dropped else ())
    return Payload((octets_of(form),), Meaning(FrameType.RELEASE, change=change))


def _move(move: Move) -> forms.MoveForm:
    return forms.MoveForm(*move)


def encode_note(record: NoteRecord) -> Payload:
    """One NOTE."""
    form: msgspec.Struct
    if isinstance(record, RejectionRecord):
        form = forms.RejectionForm(
            record.id, record.time, _reception(record.reception), reply_form(record.reply), record.command,
            record.reverse_path, record.recipient, record.tenant,
        )  # fmt: skip
    elif isinstance(record, SpoolHealthRecord):
        form = forms.SpoolHealthForm(
            record.id, record.time, record.is_refusing, record.is_paused, record.text
        )
    elif isinstance(record, DirectiveRecord):
        form = forms.DirectiveForm(
            record.id, record.time, CHANGES.index(record.change), record.directive,
            ACTIONS.index(record.action), record.about, record.reason, record.author, record.expires,
            record.messages, record.tenant,
        )  # fmt: skip
        return Payload((octets_of(form),), Meaning(FrameType.NOTE), SECOND)
    else:
        said = reply_form(record.reply) if record.reply is not None else None
        form = forms.PolicyErrorForm(
            record.id, record.time, _reception(record.reception), record.hook, record.error, said
        )
    return Payload((octets_of(form),), Meaning(FrameType.NOTE))


def encode_abandon(abandoned: Abandoned) -> Payload:
    """One ABANDON."""
    return Payload(
        (octets_of(forms.AbandonForm(*abandoned)),), Meaning(FrameType.ABANDON, abandoned=abandoned)
    )


@lru_cache(maxsize=_RECEPTIONS)
def _reception(reception: Reception) -> forms.ReceptionForm:
    return forms.ReceptionForm(
        reception.protocol,
        reception.peer_address,
        reception.peer_port,
        reception.ehlo_domain,
        reception.listener,
        reception.hostname,
        reception.session_id,
        _tls(reception.tls),
        reception.authentication_id,
        reception.authorization_id,
        reception.proxy_address,
    )


class _Ready(Generic[T]):
    """Records that many frames have, encoded once: those of the sessions that are under way, known by their identity."""

    __slots__ = ("_encode", "_known")

    def __init__(self, encode: Callable[[T], bytes]) -> None:
        self._encode = encode
        self._known: dict[int, tuple[T, msgspec.Raw]] = {}

    def __call__(self, record: T) -> msgspec.Raw:  # hot: throughput
        known = self._known.get(id(record))
        if known is None:
            if len(self._known) >= _RECEPTIONS:
                self._known.clear()
            # with the record itself, so that no other takes its identity
            known = self._known[id(record)] = (record, msgspec.Raw(self._encode(record)))
        return known[1]


_ready_reception: Final = _Ready[Reception](lambda reception: octets_of(_reception(reception)))
_ready_peer: Final = _Ready[Peer](lambda peer: octets_of(_peer(peer)))


def _message(record: MessageRecord, meta: dict[str, MetaValue]) -> tuple[object, ...]:  # hot: throughput
    """A MessageForm, as a tuple: making the structs takes as long as encoding them."""
    sender, dsn, queue = record.reverse_path, record.dsn, record.queue
    form: tuple[object, ...] = (
        record.id,
        (queue.domain, queue.tenant, queue.campaign, queue.routing_domain),
        (sender.local_part, sender.domain) if sender is not None else None,
        [(address.local_part, address.domain) for address in record.recipients],
        record.added_header,
        record.created,
        record.eight_bit * EIGHT_BIT | record.smtputf8 * SMTPUTF8 | record.is_canonical * CANONICAL,
        _dsn(dsn) if dsn is not None else None,
        None if record.meta is meta else record.meta,
    )
    return form if record.schedule is None else (*form, schedule_form(record.schedule))


def _transaction_of_unicode(
    records: Sequence[MessageRecord], states: tuple[State, ...], body: Body | None
) -> bytes:
    """The head of a transaction with text that is no Unicode."""
    meta = records[0].meta
    form = (
        _reception(records[0].reception),
        [_message(record, meta) for record in records],
        meta,
        (body.name, body.size, body.checksum) if body is not None else None,
        [_state(state) for state in states],
    )
    return octets_of_unicode(form)


def _attempt_of_unicode(record: AttemptRecord, place: Place, queue: QueueName | None) -> bytes:
    """An ATTEMPT with text that is no Unicode."""
    form = (
        place, record.time, record.attempts, record.site, record.source,
        _peer(record.peer) if record.peer is not None else None,
        [_outcome(item) for item in record.outcomes],
        record.due, optional_queue(queue),
    )  # fmt: skip
    return octets_of_unicode(form)


def _dsn(dsn: EnvelopeDsn) -> forms.DsnForm:
    return forms.DsnForm(
        dsn.ret, dsn.envelope_id, tuple([(item.notify, item.original) for item in dsn.recipients])
    )


@lru_cache(maxsize=_RECEPTIONS)
def _tls(tls: TlsFacts | None) -> forms.TlsForm | None:
    if tls is None:
        return None
    return forms.TlsForm(
        tls.version, tls.cipher, tls.peer_subject, tls.peer_names, tls.is_verified, tls.is_resumed
    )


def _peer(peer: Peer) -> forms.PeerForm:
    return forms.PeerForm(
        peer.name,
        peer.address,
        peer.port,
        peer.source_address,
        peer.session_id,
        _tls(peer.tls),
        peer.protocol,
    )


def _outcome(outcome: Outcome) -> tuple[object, ...]:  # hot: throughput
    """An OutcomeForm, as a tuple."""
    return (
        outcome.recipient,
        _VERDICT_NUMBERS[outcome.verdict],
        reply_form(outcome.reply),
        outcome.command,
        outcome.is_uncertain,
    )

"""The shapes that records have in frames: msgpack arrays, element by element as ``docs/spool-format.md`` ("Payloads") has them.

They are not the records of ``penstock.mail``: those may change, these may not. A form may be given more elements at its end, with defaults;
any other change is a new version of its frame's type, with forms of its own beside these.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from penstock.mail.records import MetaValue

#: A 32-bit number: of a segment, an offset, a recipient, attempts.
Word = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
#: Which message of a frame.
PartNumber = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
#: An octet count that may be large.
Octets = Annotated[int, msgspec.Meta(ge=0, le=0x7FFFFFFFFFFFFFFF)]
PlaceForm = tuple[Word, Word, PartNumber]
#: A day of the week, and a time of day in microseconds.
Day = Annotated[int, msgspec.Meta(ge=0, le=6)]
OfDay = Annotated[int, msgspec.Meta(ge=0, lt=86_400_000_000)]
#: Local part and domain.
AddressForm = tuple[str, str]
#: Code, enhanced status code, text.
ReplyForm = tuple[int, tuple[int, int, int] | None, str]


class TlsForm(msgspec.Struct, frozen=True, array_like=True):
    """TlsFacts."""

    version: str
    cipher: str
    peer_subject: str
    peer_names: tuple[str, ...]
    is_verified: bool
    is_resumed: bool


class ReceptionForm(msgspec.Struct, frozen=True, array_like=True):
    """Reception."""

    protocol: str
    peer_address: str
    peer_port: int
    ehlo_domain: str
    listener: str
    hostname: str
    session_id: str
    tls: TlsForm | None
    authentication_id: str
    authorization_id: str
    proxy_address: str


class QueueForm(msgspec.Struct, frozen=True, array_like=True):
    """QueueName."""

    domain: str
    tenant: str | None
    campaign: str | None
    routing_domain: str | None


class DsnForm(msgspec.Struct, frozen=True, array_like=True):
    """EnvelopeDsn; of each recipient NOTIFY and ORCPT."""

    ret: str
    envelope_id: str
    recipients: tuple[tuple[tuple[str, ...], str], ...]


class WindowForm(msgspec.Struct, frozen=True, array_like=True):
    """Window: days from 0, which is Monday; start and end in microseconds since midnight."""

    days: tuple[Day, ...]
    zone: str
    start: OfDay
    end: OfDay


class ScheduleForm(msgspec.Struct, frozen=True, array_like=True):
    """Schedule."""

    first_attempt: float | None
    window: WindowForm | None
    expires: float | None


class MessageForm(msgspec.Struct, frozen=True, array_like=True):
    """MessageRecord without what the frame holds once. ``meta`` None: the frame's. ``flags``: the sum of the numbers of ``codec``."""

    id: str
    queue: QueueForm
    reverse_path: AddressForm | None
    recipients: tuple[AddressForm, ...]
    added_header: bytes
    created: float
    flags: int
    dsn: DsnForm | None
    meta: dict[str, MetaValue] | None
    schedule: ScheduleForm | None = None


class BodyForm(msgspec.Struct, frozen=True, array_like=True):
    """A content in a file of its own: the file's name, octets, and their CRC-32."""

    name: str
    size: Octets
    checksum: Word


class MoveForm(msgspec.Struct, frozen=True, array_like=True):
    """Move: the other lane, the move's id, which of its messages."""

    lane: str
    id: str
    part: PartNumber


class StateForm(msgspec.Struct, frozen=True, array_like=True):
    """What had become of a message when it was copied: the place that the copy replaces, recipients waiting, attempts, due.

    ``shift``: seconds that ``created`` is to be counted later, for the clock has jumped since. ``held``: by which move it came, if it is held.
    """

    replaces: PlaceForm
    waiting: tuple[Word, ...]
    attempts: Word
    due: float | None
    shift: float = 0.0
    held: MoveForm | None = None


class TransactionForm(msgspec.Struct, frozen=True, array_like=True):
    """The head of a TRANSACTION, a COPY and a MOVED; the content is behind it unless ``body`` names it.

    ``states`` are a COPY's or a MOVED's, one a message.
    """

    reception: ReceptionForm
    messages: tuple[MessageForm, ...]
    meta: dict[str, MetaValue]
    body: BodyForm | None
    states: tuple[StateForm, ...] = ()


class OutcomeForm(msgspec.Struct, frozen=True, array_like=True):
    """Outcome. ``verdict``: 0 Accepted, 1 Deferred, 2 Failed."""

    recipient: Word
    verdict: Annotated[int, msgspec.Meta(ge=0, le=2)]
    reply: ReplyForm
    command: str | None
    is_uncertain: bool


class PeerForm(msgspec.Struct, frozen=True, array_like=True):
    """Peer."""

    name: str
    address: str
    port: int
    source_address: str
    session_id: str
    tls: TlsForm | None
    protocol: str = "ESMTP"


class AttemptForm(msgspec.Struct, frozen=True, array_like=True):
    """AttemptRecord, its message by its place. ``queue`` is the one it was in, None where that is the message's own."""

    place: PlaceForm
    time: float
    attempts: Word
    site: str
    source: str
    peer: PeerForm | None
    outcomes: tuple[OutcomeForm, ...]
    due: float | None
    queue: QueueForm | None = None


class ExpirationForm(msgspec.Struct, frozen=True, array_like=True):
    """ExpirationRecord, its message by its place; ``queue`` as of AttemptForm."""

    place: PlaceForm
    time: float
    attempts: Word
    site: str
    recipients: tuple[Word, ...]
    reply: ReplyForm
    queue: QueueForm | None = None


class OrderForm(msgspec.Struct, frozen=True, array_like=True):
    """Order. ``action``: the number that ``codec.SWEEP_ACTIONS`` gives it; ``rebinding``: tenant, campaign, routing domain."""

    id: str
    action: Annotated[int, msgspec.Meta(ge=0, le=3)]
    reason: str
    author: str
    rebinding: tuple[str | None, str | None, str | None]
    suppress_logging: bool


class RemovalForm(msgspec.Struct, frozen=True, array_like=True):
    """RemovalRecord, its message by its place; ``queue`` as of AttemptForm."""

    place: PlaceForm
    time: float
    attempts: Word
    site: str
    recipients: tuple[Word, ...]
    reply: ReplyForm
    order: OrderForm
    queue: QueueForm | None


class RebindForm(msgspec.Struct, frozen=True, array_like=True):
    """RebindRecord, its message by its place; ``queue`` as of AttemptForm, ``new_queue`` is where it goes."""

    place: PlaceForm
    time: float
    attempts: Word
    recipients: tuple[Word, ...]
    new_queue: QueueForm
    due: float | None
    order: OrderForm
    queue: QueueForm | None


class FlushForm(msgspec.Struct, frozen=True, array_like=True):
    """FlushRecord, its message by its place; ``queue`` as of AttemptForm."""

    place: PlaceForm
    time: float
    attempts: Word
    recipients: tuple[Word, ...]
    due: float
    order: OrderForm
    queue: QueueForm | None


class QuarantineForm(msgspec.Struct, frozen=True, array_like=True):
    """QuarantineRecord, its message by its place; ``recipients`` are those that are settled by it."""

    place: PlaceForm
    id: str
    time: float
    attempts: Word
    queue: QueueForm
    recipients: tuple[Word, ...]
    size: Octets
    where: str
    reason: str


class ForgetForm(msgspec.Struct, frozen=True, array_like=True):
    """MovedRecord of a message that went out, its message by its place; ``recipients`` were waiting.

    ``confirmed``: of all FORGET frames before that segment and offset the other lanes know, for good.
    """

    place: PlaceForm
    time: float
    attempts: Word
    queue: QueueForm
    move: MoveForm
    recipients: tuple[Word, ...]
    confirmed: tuple[Word, Word]


class ReleaseForm(msgspec.Struct, frozen=True, array_like=True):
    """MovedRecord of a message that came in, its message by its place; ``recipients`` were waiting.

    ``is_dropped``: the other lane has kept it, and it is gone from here.
    """

    place: PlaceForm
    time: float
    attempts: Word
    queue: QueueForm
    move: MoveForm
    recipients: tuple[Word, ...]
    is_dropped: bool


class RejectionForm(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """RejectionRecord; its first element is 0."""

    id: str
    time: float
    reception: ReceptionForm
    reply: ReplyForm
    command: str
    reverse_path: str
    recipient: str
    tenant: str | None = None


class PolicyErrorForm(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """PolicyErrorRecord; its first element is 1."""

    id: str
    time: float
    reception: ReceptionForm
    hook: str
    error: str
    reply: ReplyForm | None = None


class SpoolHealthForm(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """SpoolHealthRecord; its first element is 2."""

    id: str
    time: float
    is_refusing: bool
    is_paused: bool
    text: str


class DirectiveForm(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """DirectiveRecord; its first element is 3. ``change`` and ``action``: numbers of ``codec``."""

    id: str
    time: float
    change: Annotated[int, msgspec.Meta(ge=0, le=2)]
    directive: str
    action: Annotated[int, msgspec.Meta(ge=0, le=3)]
    about: str
    reason: str
    author: str
    expires: float
    messages: Octets
    tenant: str | None


class AbandonForm(msgspec.Struct, frozen=True, array_like=True):
    """Frames of this segment count only if they begin before ``offset``."""

    segment: Word
    offset: Word


class SealForm(msgspec.Struct, frozen=True, array_like=True):
    """An index. ``messages``, ``copies``, ``changes`` and ``rebinds`` are columns, each a string of little-endian numbers (``penstock.spool.index``).

    ``queue_names`` are arrays of QueueForm, ``schedules`` of ListedSchedule, so that a large index is decoded piece by piece.
    """

    messages: tuple[bytes, ...]
    queue_names: tuple[msgspec.Raw, ...]
    bodies: tuple[tuple[Word, str], ...]
    copies: tuple[bytes, ...]
    changes: tuple[bytes, ...]
    notes: Word
    schedules: tuple[msgspec.Raw, ...] = ()
    rebinds: tuple[bytes, ...] = ()


#: A row of the messages, and that message's schedule.
ListedSchedule = tuple[Word, ScheduleForm]

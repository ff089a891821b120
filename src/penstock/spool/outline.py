"""What a frame tells whoever makes events of it, from its head alone, with no more made of it than that takes.

The reception of a transaction and the peer of an attempt stay octets: many frames have the same, so who looks at them does it once.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import msgspec

from penstock.mail.records import MetaValue, NoteRecord, Peer, QuarantineRecord, Reception
from penstock.spool import decoding, forms
from penstock.spool.codec import HEAD_LENGTH
from penstock.spool.decoding import Note, Quarantine
from penstock.spool.frame import Damaged, Frame, FrameType
from penstock.spool.head import MESSAGES, Head

_Form = TypeVar("_Form")


class MessageOutline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """forms.MessageForm; what no event tells is left as it is."""

    id: str
    queue: msgspec.Raw
    reverse_path: forms.AddressForm | None
    recipients: tuple[forms.AddressForm, ...]
    added_header: bytes
    created: float
    flags: int
    dsn: msgspec.Raw
    meta: dict[str, MetaValue] | None


class _TransactionForm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """forms.TransactionForm."""

    reception: msgspec.Raw
    messages: tuple[MessageOutline, ...]
    meta: dict[str, MetaValue]
    body: forms.BodyForm | None
    states: msgspec.Raw = msgspec.Raw(b"\x90")


class _AttemptForm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """forms.AttemptForm."""

    place: forms.PlaceForm
    time: float
    attempts: forms.Word
    site: str
    source: str
    peer: msgspec.Raw
    outcomes: tuple[forms.OutcomeForm, ...]
    due: float | None = None
    queue: msgspec.Raw = msgspec.Raw(b"\xc0")


class Messages(NamedTuple):
    """A transaction: its ``size`` is that of the content. ``is_copy``: the messages are known already, from another place or another lane."""

    reception: bytes
    messages: tuple[MessageOutline, ...]
    meta: dict[str, MetaValue]
    size: int
    is_copy: bool


class Attempt(NamedTuple):
    """An attempt; ``peer`` is b"" where there was no session, and ``queue`` where the message was in its own."""

    place: tuple[int, int, int]
    time: float
    attempts: int
    site: str
    source: str
    peer: bytes
    outcomes: tuple[forms.OutcomeForm, ...]
    queue: bytes


_TRANSACTION: Final = msgspec.msgpack.Decoder(_TransactionForm)
_ATTEMPT: Final = msgspec.msgpack.Decoder(_AttemptForm)
_EXPIRATION: Final = msgspec.msgpack.Decoder(forms.ExpirationForm)
_REMOVAL: Final = msgspec.msgpack.Decoder(forms.RemovalForm)
_REBIND: Final = msgspec.msgpack.Decoder(forms.RebindForm)
_FLUSH: Final = msgspec.msgpack.Decoder(forms.FlushForm)
_RECEPTION: Final = msgspec.msgpack.Decoder(forms.ReceptionForm)
_QUEUE: Final = msgspec.msgpack.Decoder(forms.QueueForm)
_PEER: Final = msgspec.msgpack.Decoder(forms.PeerForm)
_NIL: Final = b"\xc0"
# members of an enumeration take much longer to find and to compare
_IS_ATTEMPT: Final = int(FrameType.ATTEMPT)
_IS_TRANSACTION: Final = int(FrameType.TRANSACTION)
_HOLDS_MESSAGES: Final = frozenset(map(int, MESSAGES))

#: What orders did.
Ordered = forms.RemovalForm | forms.RebindForm | forms.FlushForm
Outline = Messages | Attempt | forms.ExpirationForm | Ordered | QuarantineRecord | NoteRecord


def outline(head: Head) -> Outline | None:  # hot: benchmarks/events_feed.py
    """What a frame of a known type and version tells; None if that is nothing of which events are made. Damaged."""
    kind = head.type
    if kind == _IS_ATTEMPT:
        attempt = _read(_ATTEMPT, head.octets)
        peer, queue_name = bytes(attempt.peer), bytes(attempt.queue)
        return Attempt(
            attempt.place, attempt.time, attempt.attempts, attempt.site, attempt.source,
            peer if peer != _NIL else b"", attempt.outcomes, queue_name if queue_name != _NIL else b"",
        )  # fmt: skip
    if kind in _HOLDS_MESSAGES:
        form = _read(_TRANSACTION, memoryview(head.octets)[HEAD_LENGTH.size :])
        size = form.body.size if form.body is not None else head.content_size
        return Messages(bytes(form.reception), form.messages, form.meta, size, kind != _IS_TRANSACTION)
    return _rare(head)


def _rare(head: Head) -> Outline | None:
    kind = head.type
    if kind == FrameType.EXPIRATION:
        return _read(_EXPIRATION, head.octets)
    if kind == FrameType.REMOVAL:
        return _read(_REMOVAL, head.octets)
    if kind == FrameType.REBIND:
        return _read(_REBIND, head.octets)
    if kind == FrameType.FLUSH:
        return _read(_FLUSH, head.octets)
    if kind in (FrameType.NOTE, FrameType.QUARANTINE):
        decoded = decoding.decode(Frame(head.offset, kind, head.version, head.octets))
        if isinstance(decoded, Note):
            return decoded.record
        if isinstance(decoded, Quarantine):
            return decoded.record()
    return None


def queue(octets: bytes) -> forms.QueueForm:
    """The queue of a message. Damaged."""
    return _read(_QUEUE, octets)


def reception(octets: bytes) -> Reception:
    """The reception of a transaction. Damaged."""
    return decoding.reception(_read(_RECEPTION, octets))


def peer(octets: bytes) -> Peer:
    """The peer of an attempt. Damaged."""
    return decoding.peer(_read(_PEER, octets))


def _read(decoder: msgspec.msgpack.Decoder[_Form], octets: bytes | memoryview) -> _Form:
    try:
        return decoder.decode(octets)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(f"a record is not as its type has it: {error}"[:300]) from error

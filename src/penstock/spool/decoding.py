"""The payloads of frames to records: the way back from ``codec``.

Any octets give a record or are Damaged, whatever they are: checksums keep accidents away, not malice, and not a mistake of ours.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, TypeVar
from zlib import crc32

import msgspec

from penstock.mail.address import Address
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId, SessionId
from penstock.mail.ports import LogPosition
from penstock.mail.records import (
    AttemptRecord,
    DirectiveRecord,
    ExpirationRecord,
    MessageRecord,
    Move,
    MovedRecord,
    NoteRecord,
    Outcome,
    Peer,
    PolicyErrorRecord,
    QuarantineRecord,
    Reception,
    RejectionRecord,
    SpoolHealthRecord,
)
from penstock.mail.tls import TlsFacts
from penstock.spool import forms
from penstock.spool.codec import (
    ACTIONS,
    CANONICAL,
    CHANGES,
    EIGHT_BIT,
    HEAD_LENGTH,
    SMTPUTF8,
    VERDICTS,
    Body,
    kind_of,
)
from penstock.spool.frame import Damaged, Frame, FrameType, Place
from penstock.spool.meaning import NOWHERE, Abandoned, Change, Listed, Meaning, State
from penstock.spool.names import is_body_name
from penstock.spool.orders import Flush, Rebind, Removal
from penstock.spool.parts import queue_of, rebound, reply_of, schedule_of

_Form = TypeVar("_Form")
_NoteForm = forms.RejectionForm | forms.PolicyErrorForm | forms.SpoolHealthForm | forms.DirectiveForm
_TRANSACTION: Final = msgspec.msgpack.Decoder(forms.TransactionForm)
_ATTEMPT: Final = msgspec.msgpack.Decoder(forms.AttemptForm)
_EXPIRATION: Final = msgspec.msgpack.Decoder(forms.ExpirationForm)
_QUARANTINE: Final = msgspec.msgpack.Decoder(forms.QuarantineForm)
_FORGET: Final = msgspec.msgpack.Decoder(forms.ForgetForm)
_RELEASE: Final = msgspec.msgpack.Decoder(forms.ReleaseForm)
_REMOVAL: Final = msgspec.msgpack.Decoder(forms.RemovalForm)
_REBIND: Final = msgspec.msgpack.Decoder(forms.RebindForm)
_FLUSH: Final = msgspec.msgpack.Decoder(forms.FlushForm)
_NOTE: Final = msgspec.msgpack.Decoder(_NoteForm)
_ABANDON: Final = msgspec.msgpack.Decoder(forms.AbandonForm)


class Transaction:
    """A TRANSACTION, a COPY or a MOVED. ``content`` is None where it is in the file ``body``; ``states``: one a message, but of a TRANSACTION."""

    __slots__ = ("_form", "body", "content", "states")

    def __init__(self, form: forms.TransactionForm, content: bytes) -> None:
        body = form.body
        if not form.messages or len(form.states) not in (0, len(form.messages)):
            raise Damaged("a transaction without messages, or with states for some of them")
        if body is not None and (content or not is_body_name(body.name)):
            raise Damaged("a transaction with two contents, or with a body file that cannot be ours")
        self._form = form
        self.body = Body(body.name, body.size, body.checksum) if body is not None else None
        self.content = content if body is None else None
        self.states = tuple(
            [
                State(
                    Place(*item.replaces), item.waiting, item.attempts, item.due, item.shift,
                    _move(item.held) if item.held is not None else None,
                )
                for item in form.states
            ]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._form.messages)

    def message(self, part: int, content: bytes | None = None) -> MessageRecord:
        """One of the messages. ``content`` is that of the body file, where there is one; Damaged if it is not what was stored, or no such part."""
        form = self._form
        if not 0 <= part < len(form.messages):
            raise Damaged(f"a frame of {len(form.messages)} messages has none at {part}")
        body = self.body
        if body is None:
            content = self.content
        elif content is not None and (len(content) != body.size or crc32(content) != body.checksum):
            raise Damaged(f"the body file {body.name} does not match its checksum")
        if content is None:
            raise Damaged(f"the body file {body.name if body else ''} is missing")
        return _message(form, part, content)

    def sized(self, part: int, content: bytes) -> MessageRecord:
        """One of the messages with a ``content`` that is not looked at: for whoever wants to know no more than its size."""
        return _message(self._form, part, content)

    def meaning(self) -> Meaning:
        """What the frame means, as its writer had it."""
        size = self.body.size if self.body is not None else len(self.content or b"")
        items = self._form.messages
        shifts = [state.shift for state in self.states] or [0.0] * len(items)
        messages = tuple(
            [
                Listed(
                    item.created + shift,
                    len(item.added_header) + size,
                    len(item.recipients),
                    queue_of(item.queue),
                )
                for item, shift in zip(items, shifts, strict=True)
            ]
        )
        name = self.body.name if self.body is not None else None
        schedules = tuple(
            [
                (part, schedule_of(item.schedule))
                for part, item in enumerate(items)
                if item.schedule is not None
            ]
        )
        return Meaning(kind_of(self.states), messages, name, self.states, schedules=schedules)


class Attempt:
    """An ATTEMPT: ``place`` is its message's; ``record`` needs the message."""

    __slots__ = ("_form", "place")

    def __init__(self, form: forms.AttemptForm) -> None:
        self._form = form
        self.place = Place(*form.place)

    def record(self, message: MessageRecord) -> AttemptRecord:
        """The record, ``message`` being what is at ``place``."""
        form = self._form
        return AttemptRecord(
            rebound(message, form.queue),
            WallTime(form.time),
            form.attempts,
            form.site,
            form.source,
            peer(form.peer) if form.peer is not None else None,
            tuple([_outcome(item) for item in form.outcomes]),
            WallTime(form.due) if form.due is not None else None,
        )

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        settled = tuple([item.recipient for item in form.outcomes if item.verdict != 1])
        return Meaning(FrameType.ATTEMPT, change=Change(self.place, form.attempts, form.due, settled))


class Expiration:
    """An EXPIRATION: ``place`` is its message's; ``record`` needs the message."""

    __slots__ = ("_form", "place")

    def __init__(self, form: forms.ExpirationForm) -> None:
        self._form = form
        self.place = Place(*form.place)

    def record(self, message: MessageRecord) -> ExpirationRecord:
        """The record, ``message`` being what is at ``place``."""
        form = self._form
        return ExpirationRecord(
            rebound(message, form.queue), WallTime(form.time), form.attempts, form.site, form.recipients,
            reply_of(form.reply),
        )  # fmt: skip

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        return Meaning(FrameType.EXPIRATION, change=Change(self.place, form.attempts, None, form.recipients))


class Quarantine:
    """A QUARANTINE: ``place`` is its message's."""

    __slots__ = ("_form", "place")

    def __init__(self, form: forms.QuarantineForm) -> None:
        self._form = form
        self.place = Place(*form.place)

    def record(self) -> QuarantineRecord:
        """The record."""
        form = self._form
        return QuarantineRecord(
            MessageId(form.id), WallTime(form.time), queue_of(form.queue), len(form.recipients), form.size,
            form.where, form.reason,
        )  # fmt: skip

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        return Meaning(FrameType.QUARANTINE, change=Change(self.place, form.attempts, None, form.recipients))


class Forget:
    """A FORGET: ``place`` is its message's, NOWHERE if it is one that was said before. ``confirmed``: of those before, the other lanes know."""

    __slots__ = ("_form", "confirmed", "move", "place")

    def __init__(self, form: forms.ForgetForm) -> None:
        self._form = form
        self.place = Place(*form.place)
        self.move = _move(form.move)
        self.confirmed = LogPosition(*form.confirmed)

    def record(self) -> MovedRecord | None:
        """The record; None if it was said before."""
        form = self._form
        if self.place == NOWHERE:
            return None
        return MovedRecord(
            queue_of(form.queue), WallTime(form.time), self.move, len(form.recipients), is_in=False
        )

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        return Meaning(FrameType.FORGET, change=Change(self.place, form.attempts, None, form.recipients))


class Release:
    """A RELEASE: ``place`` is its message's."""

    __slots__ = ("_form", "is_dropped", "move", "place")

    def __init__(self, form: forms.ReleaseForm) -> None:
        self._form = form
        self.place = Place(*form.place)
        self.move = _move(form.move)
        self.is_dropped = form.is_dropped

    def record(self) -> MovedRecord:
        """The record."""
        form = self._form
        recipients = 0 if form.is_dropped else len(form.recipients)
        return MovedRecord(queue_of(form.queue), WallTime(form.time), self.move, recipients, is_in=True)

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        settled = form.recipients if form.is_dropped else ()
        return Meaning(FrameType.RELEASE, change=Change(self.place, form.attempts, None, settled))


class Note:
    """A NOTE."""

    __slots__ = ("record",)

    def __init__(self, form: _NoteForm) -> None:
        self.record: NoteRecord = _note(form)

    def meaning(self) -> Meaning:
        """What the frame means: nothing is queued by it."""
        return Meaning(FrameType.NOTE)


class Abandon:
    """An ABANDON."""

    __slots__ = ("abandoned",)

    def __init__(self, form: forms.AbandonForm) -> None:
        self.abandoned = Abandoned(form.segment, form.offset)

    def meaning(self) -> Meaning:
        """What the frame means."""
        return Meaning(FrameType.ABANDON, abandoned=self.abandoned)


#: Of one message, which their records need.
Outcomes = Attempt | Expiration | Removal | Rebind | Flush
Decoded = Transaction | Outcomes | Quarantine | Forget | Release | Note | Abandon


def decode(frame: Frame) -> Decoded:
    """What a frame of a known type and version holds; Damaged if it cannot be that. A SEAL is ``index.Index``'s to read."""
    payload = frame.payload
    match frame.type:
        case FrameType.TRANSACTION | FrameType.COPY | FrameType.MOVED:
            transaction = read_transaction(payload)
            if kind_of(transaction.states) != frame.type:
                raise Damaged("messages whose states are not those of the frame's type")
            return transaction
        case FrameType.ATTEMPT:
            return Attempt(_read(_ATTEMPT, payload))
        case FrameType.EXPIRATION:
            return Expiration(_read(_EXPIRATION, payload))
        case FrameType.QUARANTINE:
            return Quarantine(_read(_QUARANTINE, payload))
        case FrameType.FORGET:
            return Forget(_read(_FORGET, payload))
        case FrameType.RELEASE:
            return Release(_read(_RELEASE, payload))
        case FrameType.REMOVAL:
            return Removal(_read(_REMOVAL, payload))
        case FrameType.REBIND:
            return Rebind(_read(_REBIND, payload))
        case FrameType.FLUSH:
            return Flush(_read(_FLUSH, payload))
        case FrameType.NOTE:
            return Note(_read(_NOTE, payload))
        case FrameType.ABANDON:
            return Abandon(_read(_ABANDON, payload))
    raise Damaged(f"a frame of type {frame.type} is no record")


def _move(form: forms.MoveForm) -> Move:
    return Move(form.lane, MessageId(form.id), form.part)


def read_transaction(payload: bytes | memoryview) -> Transaction:
    """What the payload of a TRANSACTION, a COPY or a MOVED holds; Damaged if it is none."""
    try:
        end = HEAD_LENGTH.size + HEAD_LENGTH.unpack_from(payload)[0]
    except struct.error as error:
        raise Damaged("a transaction is shorter than its length field") from error
    if end > len(payload):
        raise Damaged("a transaction's head goes on past its end")
    return Transaction(_read(_TRANSACTION, memoryview(payload)[HEAD_LENGTH.size : end]), bytes(payload[end:]))


def _read(decoder: msgspec.msgpack.Decoder[_Form], octets: bytes | memoryview) -> _Form:
    try:
        return decoder.decode(octets)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(f"a record is not as its type has it: {error}"[:300]) from error


def _message(form: forms.TransactionForm, part: int, content: bytes) -> MessageRecord:
    item = form.messages[part]
    flags = item.flags
    return MessageRecord(
        MessageId(item.id),
        queue_of(item.queue),
        Address(*item.reverse_path) if item.reverse_path is not None else None,
        tuple([Address(*pair) for pair in item.recipients]),
        item.added_header,
        content,
        WallTime(item.created),
        reception(form.reception),
        bool(flags & EIGHT_BIT),
        bool(flags & SMTPUTF8),
        bool(flags & CANONICAL),
        _dsn(item.dsn) if item.dsn is not None else None,
        item.meta if item.meta is not None else form.meta,
        schedule_of(item.schedule) if item.schedule is not None else None,
    )


@lru_cache(maxsize=256)
def reception(form: forms.ReceptionForm) -> Reception:
    """The reception that a form stands for; the same object for the messages of a session that are read one after the other."""
    return Reception(
        form.protocol,
        form.peer_address,
        form.peer_port,
        form.ehlo_domain,
        form.listener,
        form.hostname,
        SessionId(form.session_id),
        _tls(form.tls),
        form.authentication_id,
        form.authorization_id,
        form.proxy_address,
    )


def _dsn(form: forms.DsnForm) -> EnvelopeDsn:
    return EnvelopeDsn(form.ret, form.envelope_id, tuple([RecipientDsn(*item) for item in form.recipients]))


def _tls(form: forms.TlsForm | None) -> TlsFacts | None:
    if form is None:
        return None
    return TlsFacts(
        form.version, form.cipher, form.peer_subject, form.peer_names, form.is_verified, form.is_resumed
    )


def peer(form: forms.PeerForm) -> Peer:
    """The peer that a form stands for."""
    return Peer(
        form.name,
        form.address,
        form.port,
        form.source_address,
        SessionId(form.session_id),
        _tls(form.tls),
        form.protocol,
    )


def _outcome(form: forms.OutcomeForm) -> Outcome:
    return Outcome(
        form.recipient, VERDICTS[form.verdict], reply_of(form.reply), form.command, form.is_uncertain
    )


def _note(form: _NoteForm) -> NoteRecord:
    identity, time = MessageId(form.id), WallTime(form.time)
    if isinstance(form, forms.SpoolHealthForm):
        return SpoolHealthRecord(identity, time, form.is_refusing, form.is_paused, form.text)
    if isinstance(form, forms.DirectiveForm):
        return DirectiveRecord(
            identity, time, CHANGES[form.change], form.directive, ACTIONS[form.action], form.about,
            form.reason, form.author, WallTime(form.expires), form.messages, form.tenant,
        )  # fmt: skip
    origin = reception(form.reception)
    if isinstance(form, forms.RejectionForm):
        return RejectionRecord(
            identity, time, origin, reply_of(form.reply), form.command, form.reverse_path, form.recipient,
            form.tenant,
        )  # fmt: skip
    said = reply_of(form.reply) if form.reply is not None else None
    return PolicyErrorRecord(identity, time, origin, form.hook, form.error, said)

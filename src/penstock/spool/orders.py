"""What orders did to messages, to the payloads of frames and back (``docs/spool-format.md``: REMOVAL, REBIND, FLUSH).

A message that an order has put into another queue is in that one from then on. Its frame still has the queue that it was accepted for, so every
later record about it says which one it was in, also when it has been copied forward by then, with the queue that it was in.
"""

from __future__ import annotations

from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.records import FlushRecord, MessageRecord, RebindRecord, RemovalRecord
from penstock.spool import forms
from penstock.spool.codec import Payload
from penstock.spool.frame import FrameType, Place
from penstock.spool.meaning import Change, Meaning
from penstock.spool.parts import (
    octets_of,
    optional_queue,
    order_form,
    order_of,
    queue_form,
    queue_of,
    rebound,
    reply_form,
    reply_of,
)


def encode_removal(record: RemovalRecord, place: Place, queue: QueueName | None = None) -> Payload:
    """One REMOVAL about the message at ``place``; ``queue`` is the one that it was in, None for its own."""
    form = forms.RemovalForm(
        place, record.time, record.attempts, record.site, record.recipients, reply_form(record.reply),
        order_form(record.order), optional_queue(queue),
    )  # fmt: skip
    return Payload((octets_of(form),), Removal(form).meaning())


def encode_rebind(record: RebindRecord, place: Place, queue: QueueName | None = None) -> Payload:
    """One REBIND about the message at ``place``; ``queue`` is the one that it was in, None for its own."""
    form = forms.RebindForm(
        place, record.time, record.attempts, record.recipients, queue_form(record.queue), record.due,
        order_form(record.order), optional_queue(queue),
    )  # fmt: skip
    return Payload((octets_of(form),), Rebind(form).meaning())


def encode_flush(record: FlushRecord, place: Place, queue: QueueName | None = None) -> Payload:
    """One FLUSH about the message at ``place``; ``queue`` is the one that it was in, None for its own."""
    form = forms.FlushForm(
        place, record.time, record.attempts, record.recipients, record.due, order_form(record.order),
        optional_queue(queue),
    )  # fmt: skip
    return Payload((octets_of(form),), Flush(form).meaning())


class Removal:
    """A REMOVAL: ``place`` is its message's; ``record`` needs the message."""

    __slots__ = ("_form", "place")

    def __init__(self, form: forms.RemovalForm) -> None:
        self._form = form
        self.place = Place(*form.place)

    def record(self, message: MessageRecord) -> RemovalRecord:
        """The record, ``message`` being what is at ``place``."""
        form = self._form
        return RemovalRecord(
            rebound(message, form.queue), WallTime(form.time), form.attempts, form.site, form.recipients,
            reply_of(form.reply), order_of(form.order),
        )  # fmt: skip

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        return Meaning(FrameType.REMOVAL, change=Change(self.place, form.attempts, None, form.recipients))


class Rebind:
    """A REBIND: ``place`` is its message's; ``record`` needs the message."""

    __slots__ = ("_form", "place")

    def __init__(self, form: forms.RebindForm) -> None:
        self._form = form
        self.place = Place(*form.place)

    def record(self, message: MessageRecord) -> RebindRecord:
        """The record, ``message`` being what is at ``place``."""
        form = self._form
        return RebindRecord(
            rebound(message, form.queue), WallTime(form.time), form.attempts, form.recipients,
            queue_of(form.new_queue), WallTime(form.due) if form.due is not None else None,
            order_of(form.order),
        )  # fmt: skip

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        change = Change(self.place, form.attempts, form.due, ())
        return Meaning(FrameType.REBIND, change=change, queue=queue_of(form.new_queue))


class Flush:
    """A FLUSH: ``place`` is its message's; ``record`` needs the message."""

    __slots__ = ("_form", "place")

    def __init__(self, form: forms.FlushForm) -> None:
        self._form = form
        self.place = Place(*form.place)

    def record(self, message: MessageRecord) -> FlushRecord:
        """The record, ``message`` being what is at ``place``."""
        form = self._form
        return FlushRecord(
            rebound(message, form.queue), WallTime(form.time), form.attempts, form.recipients,
            WallTime(form.due), order_of(form.order),
        )  # fmt: skip

    def meaning(self) -> Meaning:
        """What the frame means."""
        form = self._form
        return Meaning(FrameType.FLUSH, change=Change(self.place, form.attempts, form.due, ()))

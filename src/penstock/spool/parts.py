"""Parts that many records have, to their forms and back: queues, replies, schedules, orders; and a form to its octets.

Text that is no Unicode (lone surrogates, which no UTF-8 holds) is written with U+FFFD in their place.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from typing import Final

import msgspec

from penstock.mail.directive import Order, Rebinding, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord
from penstock.mail.reply import EnhancedCode, Reply
from penstock.mail.schedule import Schedule, Window
from penstock.spool import forms

#: What an order does, by its number in frames.
SWEEP_ACTIONS: Final = (SweepAction.BOUNCE, SweepAction.DELETE, SweepAction.REBIND, SweepAction.FLUSH)
_SECOND: Final = 1_000_000
#: Schedules that are kept ready, for messages that were given the same hours.
_SCHEDULES: Final = 256
_encode = msgspec.msgpack.Encoder().encode
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def octets_of(form: object) -> bytes:
    """A form as msgpack."""
    try:
        return _encode(form)
    except UnicodeEncodeError:
        return octets_of_unicode(form)


def octets_of_unicode(form: object) -> bytes:
    """A form with text that is no Unicode."""
    return _encode(_unicode(msgspec.to_builtins(form, builtin_types=(bytes,))))


def _unicode(value: object) -> object:
    """Lists, mappings and what is in them, with U+FFFD for every lone surrogate."""
    match value:
        case str():
            return _SURROGATES.sub("\ufffd", value)
        case list() | tuple():
            return [_unicode(item) for item in value]
        case dict():
            return {_unicode(name): _unicode(item) for name, item in value.items()}
    return value


def queue_form(queue: QueueName) -> forms.QueueForm:
    """A queue's name, as frames have it."""
    return forms.QueueForm(queue.domain, queue.tenant, queue.campaign, queue.routing_domain)


def queue_of(form: forms.QueueForm) -> QueueName:
    """The queue's name."""
    return QueueName(form.domain, form.tenant, form.campaign, form.routing_domain)


def optional_queue(queue: QueueName | None) -> forms.QueueForm | None:
    """As ``queue_form``, of one that may be none."""
    return queue_form(queue) if queue is not None else None


def reply_form(reply: Reply) -> forms.ReplyForm:
    """A reply, as frames have it."""
    code = reply.enhanced
    return reply.code, (code.class_, code.subject, code.detail) if code is not None else None, reply.text


def reply_of(form: forms.ReplyForm) -> Reply:
    """The reply."""
    code, enhanced, text = form
    return Reply(code, EnhancedCode(*enhanced) if enhanced is not None else None, text)


def schedule_form(schedule: Schedule) -> forms.ScheduleForm:
    """A schedule, as frames have it."""
    window = schedule.window
    hours = (
        forms.WindowForm(
            tuple(sorted(window.days)),
            window.zone,
            _since_midnight(window.start),
            _since_midnight(window.end),
        )
        if window is not None
        else None
    )
    return forms.ScheduleForm(schedule.first_attempt, hours, schedule.expires)


@lru_cache(maxsize=_SCHEDULES)
def schedule_of(form: forms.ScheduleForm) -> Schedule:
    """The schedule; the same object for messages that have the same and are read one after the other."""
    window = form.window
    hours = (
        Window(frozenset(window.days), window.zone, _time_of_day(window.start), _time_of_day(window.end))
        if window is not None
        else None
    )
    return Schedule(_moment(form.first_attempt), hours, _moment(form.expires))


def _moment(value: float | None) -> WallTime | None:
    return WallTime(value) if value is not None else None


def _since_midnight(time: dt.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * _SECOND + time.microsecond


def _time_of_day(microseconds: int) -> dt.time:
    seconds, rest = divmod(microseconds, _SECOND)
    return dt.time(seconds // 3600, seconds // 60 % 60, seconds % 60, rest)


def order_form(order: Order) -> forms.OrderForm:
    """An order, as frames have it."""
    change = order.rebinding
    return forms.OrderForm(
        order.id,
        SWEEP_ACTIONS.index(order.action),
        order.reason,
        order.author,
        (change.tenant, change.campaign, change.routing_domain),
        order.suppress_logging,
    )


def order_of(form: forms.OrderForm) -> Order:
    """The order."""
    action = SWEEP_ACTIONS[form.action]
    return Order(form.id, action, form.reason, form.author, Rebinding(*form.rebinding), form.suppress_logging)


def rebound(message: MessageRecord, queue: forms.QueueForm | None) -> MessageRecord:
    """The message in the queue that it was in then; None is its own."""
    return message if queue is None else msgspec.structs.replace(message, queue=queue_of(queue))

"""Events of orders: what they did to messages, and directives that were given or are over.

An order whose events are not wanted makes events all the same, which are counted and never written (``UnloggedEvent``): so the sums are right.

- Bounced and deleted recipients have one event each, with ids and sequence numbers as those of an expiration: a recipient is settled once.
- A message that goes into another queue, or is due now, has one event for all recipients that wait. It can happen again with the same number
  of attempts, so its id ends in the time of the record, in microseconds. It has the sequence number of the last outcome before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from penstock.events.envelope import Envelope, in_queue, unconnected
from penstock.events.event import Event, EventType, Response, UnloggedEvent
from penstock.events.field import CONTENT_LIMIT, NAME_LIMIT, SITE_LIMIT
from penstock.events.text import clean
from penstock.mail.directive import Order, SweepAction
from penstock.mail.queue_name import QueueName

_REMOVALS: Final[dict[SweepAction, EventType]] = {
    SweepAction.BOUNCE: "AdminBounce",
    SweepAction.DELETE: "AdminDelete",
}


def removal_events(
    envelope: Envelope,
    time: float,
    attempts: int,
    site: str,
    places: Iterable[int],
    response: Response,
    order: Order,
    node: str,
    epoch: int,
) -> list[Event]:
    """One event for each recipient that was taken out of the queue. IndexError for a recipient that is none."""
    kind = _REMOVALS.get(order.action, "AdminBounce")
    first = (2 * attempts + 1) * len(envelope.recipients) + 1
    event = _event(kind, envelope, time, attempts, response, order, node, epoch)
    return [
        _as_wanted(
            msgspec.structs.replace(
                event,
                recipient=envelope.recipients[place],
                site=clean(site, SITE_LIMIT),
                event_id=f"{envelope.id}-{place}-{attempts}-{kind}",
                sequence=first + place,
            ),
            order,
        )
        for place in places
    ]


def rebind_event(
    envelope: Envelope,
    time: float,
    attempts: int,
    recipients: int,
    queue: QueueName,
    order: Order,
    node: str,
    epoch: int,
) -> Event:
    """A message has gone into ``queue``, with so many recipients; ``envelope`` has the queue before."""
    text = _with_reason(f"Rebound from {envelope.queue} to {queue}", order)
    after = in_queue(envelope, queue)
    event = _of_all("AdminRebind", after, time, attempts, recipients, text, order, node, epoch)
    return _as_wanted(
        msgspec.structs.replace(event, previous_queue=envelope.queue, previous_tenant=envelope.tenant), order
    )


def flush_event(
    envelope: Envelope, time: float, attempts: int, recipients: int, order: Order, node: str, epoch: int
) -> Event:
    """A message is due now."""
    text = _with_reason("Due now", order)
    return _as_wanted(
        _of_all("AdminFlush", envelope, time, attempts, recipients, text, order, node, epoch), order
    )


def _with_reason(text: str, order: Order) -> str:
    return f"{text}: {order.reason}" if order.reason else text


def _of_all(
    kind: EventType,
    envelope: Envelope,
    time: float,
    attempts: int,
    recipients: int,
    text: str,
    order: Order,
    node: str,
    epoch: int,
) -> Event:
    """The event of a whole message."""
    response = Response(250, None, clean(text, CONTENT_LIMIT), None)
    event = _event(kind, envelope, time, attempts, response, order, node, epoch)
    return msgspec.structs.replace(
        event,
        event_id=f"{envelope.id}-all-{attempts}-{kind}-{int(time * 1_000_000)}",
        sequence=(2 * attempts + 1) * len(envelope.recipients),
        num_recipients=recipients,
    )


def _event(
    kind: EventType,
    envelope: Envelope,
    time: float,
    attempts: int,
    response: Response,
    order: Order,
    node: str,
    epoch: int,
) -> Event:
    return msgspec.structs.replace(
        unconnected(kind, envelope, time, attempts, response, node, epoch),
        order_id=clean(order.id, NAME_LIMIT),
        author=clean(order.author, NAME_LIMIT),
    )


def _as_wanted(event: Event, order: Order) -> Event:
    """The event, or one that is never written."""
    if not order.suppress_logging:
        return event
    return UnloggedEvent(**{name: getattr(event, name) for name in event.__struct_fields__})

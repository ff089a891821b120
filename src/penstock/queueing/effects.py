"""What the scheduler asks the shell to do. Effects are collected while it works, and taken and carried out by the lane, in order.

Ends are messages that end without a connection. They wait with the scheduler, a bounded number of them, until the lane takes them one by one, for
they may have to be read from a disk first: nothing else waits for them. Those that orders make come by the million: the garbage collector need not
know of them, for nothing that they name leads back to them.
"""

from __future__ import annotations

import msgspec

from penstock.mail.directive import Order, SweepAction
from penstock.mail.duration import WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.queueing.queues import Hop, Path, ScheduledQueue


class Resolve(msgspec.Struct, frozen=True):
    """Find the route of a hop, and report it by ``route_found`` or ``route_failed``."""

    hop: Hop


class Connect(msgspec.Struct, frozen=True):
    """Open a connection of a path, and report it by ``connected`` or ``connect_failed``. It counts from now on."""

    path: Path


class Offer(msgspec.Struct, frozen=True):
    """Let an idle connection of a path pull."""

    path: Path


class Expire(msgspec.Struct, frozen=True):
    """A message's time is over: record it. It is queued until its end is told to be recorded."""

    queue: ScheduledQueue
    row: int
    position: int
    attempts: int
    site: str


class Fail(msgspec.Struct, frozen=True):
    """A message can never be delivered: record it, with this reply. It is queued until its end is told to be recorded."""

    queue: ScheduledQueue
    row: int
    position: int
    attempts: int
    site: str
    reply: Reply


class Drop(msgspec.Struct, frozen=True, gc=False):
    """A message is taken out of the queue, because of an order: record it, with this reply. It is queued until its end is told to be recorded."""

    queue: ScheduledQueue
    row: int
    position: int
    attempts: int
    site: str
    reply: Reply
    order: Order


def removal_reply(order: Order) -> Reply:
    """What is said of a message that an order takes out of the queue."""
    what = "bounced" if order.action is SweepAction.BOUNCE else "deleted"
    return reply(
        551, "5.7.1", f"{INTERNAL}{what} by an administrator" + (f": {order.reason}" if order.reason else "")
    )


class Rebind(msgspec.Struct, frozen=True, gc=False):
    """A message goes into the queue called ``name``, because of an order: record it. It stands still until that is told to be recorded.

    ``due`` is when it may be tried from then on; None if that stays as it was.
    """

    queue: ScheduledQueue
    row: int
    position: int
    attempts: int
    site: str
    name: QueueName
    due: WallTime | None
    order: Order


class Flush(msgspec.Struct, frozen=True, gc=False):
    """A message is due at ``due``, which is now, because of an order: record it. It stands still until that is told to be recorded."""

    queue: ScheduledQueue
    row: int
    position: int
    attempts: int
    site: str
    due: WallTime
    order: Order


class Move(msgspec.Struct, frozen=True):
    """Ready mail of a path whose home is another lane: move it there, by ``move_next`` until there is no more."""

    path: Path


Effect = Resolve | Connect | Offer | Move
End = Expire | Fail | Drop | Rebind | Flush

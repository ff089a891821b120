"""What a frame means to whoever only counts what is queued: the messages that it holds and the changes that it makes, no more.

The writer of a segment and its scanner make the same of every frame, and the index of a sealed segment is all of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from penstock.mail.queue_name import QueueName
from penstock.mail.records import Move
from penstock.mail.schedule import Schedule
from penstock.spool.frame import FrameType, Place


class Listed(NamedTuple):
    """A message as the scheduler needs it. ``size`` is as it is sent, in octets; ``recipients`` is how many."""

    created: float
    size: int
    recipients: int
    queue: QueueName


class Change(NamedTuple):
    """What a later frame says of the message at ``about``: attempts spent in all, when it is due, and recipients settled by this frame.

    Of a COPY or a MOVED the recipients that were settled before it, and ``about`` is the copy itself. An EXPIRATION, a QUARANTINE, a FORGET, a
    RELEASE and a REMOVAL leave ``due`` as it was, and so does a REBIND where it is None.
    """

    about: Place
    attempts: int
    due: float | None
    settled: tuple[int, ...]


class State(NamedTuple):
    """What had become of a message when it was copied forward from ``replaces``, or came from another lane. ``waiting`` are indices of recipients.

    ``shift``: seconds to be added to when it was created, as clocks have jumped since (``penstock.spool.times``). ``held``: by which move it came,
    if it is not to be delivered yet; one that came by a move and was not copied since replaces NOWHERE.
    """

    replaces: Place
    waiting: tuple[int, ...]
    attempts: int
    due: float | None
    shift: float = 0.0
    held: Move | None = None


#: No message is there, nor ever was.
NOWHERE: Final = Place(0, 0, 0)


class Abandoned(NamedTuple):
    """Frames of ``segment`` count only if they begin before ``offset``."""

    segment: int
    offset: int


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """What a frame means. ``body`` names the body file of its messages; ``states`` are a COPY's or a MOVED's, one a message.

    ``schedules`` are those of its messages that have one, by their parts; ``queue`` is where a REBIND has the message go.
    """

    kind: FrameType
    messages: tuple[Listed, ...] = ()
    body: str | None = None
    states: tuple[State, ...] = ()
    change: Change | None = None
    abandoned: Abandoned | None = None
    schedules: tuple[tuple[int, Schedule], ...] = ()
    queue: QueueName | None = None

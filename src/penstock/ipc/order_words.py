"""What supervisor and lanes say to each other about orders: directives, sweeps, and questions about queued mail.

A lane is told everything there is before it begins, and each change from then on, in order: one that has answered a change goes by all that were
told before, too.

Instants are of the supervisor's wall clock. Those of processes may differ, for each has read the system's at its start, and the system's may have
been set since; so ``offset`` says how far the supervisor's is ahead of the monotonic clock, which all of them share.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.mail.directive import Criteria, Directive, Order, Progress, Sweep
from penstock.mail.ids import MessageId
from penstock.mail.queue_name import QueueName
from penstock.mail.reason import Reason
from penstock.mail.records import DirectiveRecord
from penstock.mail.survey import Grouping, Survey

#: Octets of a message in one answer.
CONTENT_AT_ONCE: Final = 4 * 1024 * 1024


class LaneOrdersUse(msgspec.Struct, frozen=True):
    """These directives are in force, and these sweeps to be done; no others are. A note."""

    offset: float
    directives: tuple[Directive, ...] = ()
    sweeps: tuple[Sweep, ...] = ()


class LaneDirectiveGive(msgspec.Struct, frozen=True):
    """Go by this directive from now on; ``sweep`` is what it begins with. Answered with nothing when it is so."""

    offset: float
    directive: Directive
    sweep: Sweep | None = None


class LaneSweepGive(msgspec.Struct, frozen=True):
    """Begin this sweep, again if it was done before. Answered with nothing when it is known here."""

    offset: float
    sweep: Sweep


class LaneOrdersCancel(msgspec.Struct, frozen=True):
    """These directives, and these sweeps, are no more, by their ids. Answered with nothing when it is so."""

    directives: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()


class LaneOrdersNote(msgspec.Struct, frozen=True):
    """Write this into the log, so that an event is made of it. A note."""

    record: DirectiveRecord


class SupervisorSweepsTell(msgspec.Struct, frozen=True):
    """How far sweeps are here, by id. A note."""

    progress: dict[str, Progress]


class LaneSurveyAsk(msgspec.Struct, frozen=True):
    """Count what these criteria match, by this, in up to ``limit`` groups. Answered with LaneSurveyed."""

    criteria: Criteria
    by: Grouping | None
    limit: int


class LaneSurveyed(msgspec.Struct, frozen=True):
    """The count."""

    survey: Survey


class LaneQueueExplain(msgspec.Struct, frozen=True):
    """Why does this queue not move? Answered with LaneExplained."""

    name: QueueName


class LaneMessageExplain(msgspec.Struct, frozen=True):
    """Why does this message not move? Answered with LaneExplained."""

    id: MessageId


class LaneExplained(msgspec.Struct, frozen=True):
    """What the gates say; ``queue`` "": there is no such thing here."""

    queue: str = ""
    state: str = ""
    reasons: tuple[Reason, ...] = ()


class LaneMessageShow(msgspec.Struct, frozen=True):
    """What is this message? Answered with LaneMessageShown; with its octets from ``offset`` on, up to CONTENT_AT_ONCE of them, if that is given."""

    id: MessageId
    offset: int | None = None


class LaneMessageOrder(msgspec.Struct, frozen=True):
    """Do this to this message. Answered with LaneMessageShown, as it was before."""

    id: MessageId
    order: Order


class LaneMessageShown(msgspec.Struct, frozen=True):
    """A queued message; ``queue`` "": it is not here. ``content`` is part of what would be sent, ``size`` octets in all."""

    queue: str = ""
    sender: str = ""
    waiting: tuple[str, ...] = ()
    recipients: int = 0
    size: int = 0
    created: float = 0.0
    attempts: int = 0
    state: str = ""
    due: float | None = None
    expires: float | None = None
    meta: dict[str, str | int | float | bool | None] = {}
    content: bytes = b""


#: In the order in which they are part of a bus's vocabulary.
ORDER_WORDS = (
    LaneOrdersUse,
    LaneDirectiveGive,
    LaneSweepGive,
    LaneOrdersCancel,
    LaneOrdersNote,
    SupervisorSweepsTell,
    LaneSurveyAsk,
    LaneSurveyed,
    LaneQueueExplain,
    LaneMessageExplain,
    LaneExplained,
    LaneMessageShow,
    LaneMessageOrder,
    LaneMessageShown,
)

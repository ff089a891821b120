"""What the supervisor and its children say to each other. A word is named after who is told, and what.

A child's first words come from the supervisor: ``WorkerAssign``, then the epoch in force, prepared and committed; with the commit it begins.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.ipc.broker_words import BROKER_WORDS
from penstock.ipc.door_words import LaneDoorsTell, SupervisorDoorsTell
from penstock.ipc.order_words import ORDER_WORDS
from penstock.ipc.vocabulary import Vocabulary
from penstock.mail.duration import Seconds
from penstock.mail.lanes import Assignment
from penstock.mail.problem import Problem
from penstock.mail.status import Snapshot, Status


class WorkerAssign(msgspec.Struct, frozen=True):
    """Who the worker is, which file its configuration comes from, and for each SMTP listener the descriptors of the sockets that it has.

    ``unused`` are descriptors that it has inherited, and is to close.
    """

    assignment: Assignment
    config: str
    listeners: tuple[tuple[int, ...], ...] = ()
    unused: tuple[int, ...] = ()


class WorkerPrepareEpoch(msgspec.Struct, frozen=True):
    """Read this epoch, its files' octets by path, and say what is wrong with it: WorkerPreparedEpoch."""

    number: int
    files: dict[str, bytes]


class WorkerPreparedEpoch(msgspec.Struct, frozen=True):
    """What is wrong with the epoch here; nothing: it can be committed."""

    problems: tuple[Problem, ...] = ()


class WorkerCommitEpoch(msgspec.Struct, frozen=True):
    """Go by the epoch that was prepared last; the first time, begin. Answered with nothing when it is so."""

    number: int


class WorkerDrain(msgspec.Struct, frozen=True):
    """End: no more mail, and so many seconds for what is under way. Said again, with less, it is to be quicker."""

    grace: Seconds


class WorkerTellStatus(msgspec.Struct, frozen=True):
    """How is it? Answered with Status."""


class WorkerTellSnapshot(msgspec.Struct, frozen=True):
    """The numbers, please. Answered with Snapshot."""


class WorkerOutlive(msgspec.Struct, frozen=True):
    """The supervisor is about to become another program: this bus ends, and the worker goes on until SIGTERM tells it to drain."""


class SupervisorJoin(msgspec.Struct, frozen=True):
    """A lane has come by itself, started by a service of its own. Answered with nothing, or a fault if it is not wanted."""

    lane: str
    pid: int


class WorkerUseTable(msgspec.Struct, frozen=True):
    """The homes of settled sites have changed: these are they, by site."""

    table: dict[str, str]


class SupervisorFoundHome(msgspec.Struct, frozen=True):
    """The site goes with a domain that ``[[lane]]`` has given to this lane; others should know."""

    site: str
    lane: str


class SupervisorTick(msgspec.Struct, frozen=True):
    """The worker's loop goes round; said once a second. ``fault`` is why it takes no mail."""

    fault: str | None = None


class SupervisorReady(msgspec.Struct, frozen=True):
    """The worker has recovered its spool: so many messages from before its start are queued."""

    recovered: int


class SupervisorEnding(msgspec.Struct, frozen=True):
    """The worker ends, because somebody else told it to, within so many seconds."""

    grace: Seconds


class SupervisorEnded(msgspec.Struct, frozen=True):
    """The last word of a worker that has drained: how many messages its spool has; None: it had not read it to the end."""

    left: int | None


class SupervisorFailed(msgspec.Struct, frozen=True):
    """The last word of a worker that cannot go on, and why."""

    reason: str


BUS: Final = Vocabulary(
    WorkerAssign,
    WorkerPrepareEpoch,
    WorkerPreparedEpoch,
    WorkerCommitEpoch,
    WorkerDrain,
    WorkerTellStatus,
    WorkerTellSnapshot,
    WorkerOutlive,
    Status,
    Snapshot,
    SupervisorJoin,
    SupervisorTick,
    SupervisorReady,
    SupervisorEnding,
    SupervisorEnded,
    SupervisorFailed,
    WorkerUseTable,
    SupervisorFoundHome,
    *BROKER_WORDS,
    SupervisorDoorsTell,
    LaneDoorsTell,
    *ORDER_WORDS,
)

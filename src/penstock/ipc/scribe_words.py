"""What the supervisor and the scribe say to each other on the scribe's bus. The scribe's first word from it is ``ScribeBegin``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from penstock.ipc.vocabulary import Vocabulary
from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.status import EventLogCounts, Snapshot


class ScribeBegin(msgspec.Struct, frozen=True):
    """Begin, with this epoch: its number, its root file, and its files' octets by path; for each HTTP listener the descriptors of its sockets.

    Answered with nothing when events are taken, and HTTP is served.
    """

    number: int
    root: str
    files: Mapping[str, bytes]
    listeners: tuple[tuple[int, ...], ...] = ()


class ScribeDrain(msgspec.Struct, frozen=True):
    """All lanes have ended, or will not be waited for: write down what they have told, and end."""


class ScribeServerFault(msgspec.Struct, frozen=True):
    """Why the server takes no mail; None while it does. Said once a second, and that is how the scribe knows that the supervisor is there."""

    fault: str | None


class ScribeTellCounts(msgspec.Struct, frozen=True):
    """How is it? Answered with ScribeCounts."""


class ScribeCounts(msgspec.Struct, frozen=True):
    """What the scribe has done, how late its loop ran, and the memory that it takes."""

    event_log: EventLogCounts
    loop_lag: Seconds
    memory: ByteCount


class SupervisorScribeTick(msgspec.Struct, frozen=True):
    """The scribe's loop goes round; said once a second."""


class SupervisorScribeFailed(msgspec.Struct, frozen=True):
    """The last word of a scribe that cannot go on, and why."""

    reason: str


class SupervisorTellNumbers(msgspec.Struct, frozen=True):
    """The numbers of the whole server, please. Answered with Snapshot."""


SCRIBE_BUS: Final = Vocabulary(
    ScribeBegin,
    ScribeDrain,
    ScribeServerFault,
    ScribeTellCounts,
    ScribeCounts,
    SupervisorScribeTick,
    SupervisorScribeFailed,
    SupervisorTellNumbers,
    Snapshot,
)

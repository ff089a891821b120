"""What a case of the table is, and the words that its expectations are written in."""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from penstock.sim.hostile import Manners, Script
from penstock.sim.hostile.peer import KEYWORDS

#: The message that a case sends, where it does not say otherwise.
CONTENT = b"Subject: y\r\n\r\nbody\r\n"
RECIPIENTS = ("one", "two", "three")
LOCK_STEP = tuple(keyword for keyword in KEYWORDS if keyword != "PIPELINING")
CHUNKING = (*KEYWORDS, "CHUNKING")


class Where(Enum):
    """Where a case can be run."""

    BOTH = "on the core and on sockets"
    CORE = "on the core"
    SOCKETS = "on sockets"


class Case(msgspec.Struct, frozen=True):
    """One thing that a server does, and what must come of it.

    ``verdicts`` has a letter for each recipient, and one such word for each message, one message after the other on the same session where
    that is possible; several words for one message, parted by ``|``, are all right:

        A   accepted
        D   deferred: the peer cannot have it
        U   deferred, and uncertain: the peer may have it
        F   failed for good
        H   held: there was no session to send it on, and no attempt was spent
        N   not begun: the session had ended before; it goes over another

    ``on_sockets`` are the verdicts there, if they are others: what is not begun is begun again. ``is_over``: no more mail goes over that session.
    ``needs_deadline``: only the client's deadline ends it. ``path`` are options of the path; ``again`` is the script of later connections.
    ``never`` must not be in any command. ``is_large``: tens of megabytes; not for every run.
    """

    code: str
    script: Script
    verdicts: tuple[str, ...]
    is_over: bool = True
    manners: Manners = Manners()
    on_sockets: tuple[str, ...] = ()
    needs_deadline: bool = False
    path: dict[str, object] = {}
    again: Script | None = None
    content: bytes = CONTENT
    never: tuple[str, ...] = ()
    where: Where = Where.BOTH
    is_large: bool = False

    @property
    def verdicts_on_sockets(self) -> tuple[str, ...]:
        """The verdicts that the whole server must come to."""
        return self.on_sockets or self.verdicts

    @property
    def domain(self) -> str:
        """A domain of its own."""
        return re.sub(r"[^a-z0-9]+", "-", self.code.lower()) + ".test"


def both_ways(case: Case) -> list[Case]:
    """The case with a server that offers PIPELINING, and with one that does not."""
    manners = msgspec.structs.replace(case.manners, keywords=LOCK_STEP)
    return [case, msgspec.structs.replace(case, code=f"{case.code}-lock-step", manners=manners)]

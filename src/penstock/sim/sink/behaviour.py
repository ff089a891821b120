"""What the sink does instead of accepting: an action at a stage, and the grammar by which a recipient's local part names one.

    behaviour  = "accept" / refusal / slow / cut          ; anything else is accepted too
    refusal    = ("tempfail" / "permfail") ["-" code] ["-" stage] ["-" count "-then-accept"]
    slow       = "slow-" seconds ["-" stage]
    cut        = ("disconnect" / "reset") "-" stage
    code       = 3DIGIT                                   ; 4yz after tempfail, 5yz after permfail
    seconds    = 1*5DIGIT ["." 1*3DIGIT]                  ; up to 86400
    count      = 1*4DIGIT                                 ; at least 1
    stage      = "connect" / "banner" / "ehlo" / "starttls" / "auth" / "mail" / "rcpt" / "data" / "body" / "dot" / "quit"

Case does not matter. A ``+suffix`` is cut off first. The stage is ``rcpt`` where none is given. A local part that begins like a
behaviour and is none (``tempfail-550``, ``slow-down``) is refused with 553 rather than silently accepted.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final

import msgspec

from penstock.mail.duration import Seconds

SLOWEST: Final = 86400.0
#: Longest text of a scripted reply: the line stays within 512 octets (RFC 5321 4.5.3.1.5).
TEXT_LIMIT: Final = 400


class Stage(Enum):
    """A moment of a session at which the sink can be told to misbehave."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"
    QUIT = "quit"


class Kind(Enum):
    """What is done there."""

    ACCEPT = "accept"
    TEMPFAIL = "tempfail"
    PERMFAIL = "permfail"
    SLOW = "slow"
    DISCONNECT = "disconnect"
    RESET = "reset"
    RAW = "raw"


class Action(msgspec.Struct, frozen=True):
    """One thing the sink does: ``kind`` at ``stage``, after ``delay`` seconds.

    ``code``, ``enhanced`` and ``text`` are of a refusal's reply (empty ones are filled in), ``octets`` are what RAW sends.
    ``times`` above 0 limits a refusal to the first so many attempts of one recipient.
    """

    kind: Kind
    stage: Stage
    code: int = 0
    enhanced: str = ""
    text: str = ""
    delay: Seconds = Seconds(0.0)
    octets: bytes = b""
    times: int = 0

    @property
    def reply_code(self) -> int:
        """The code of a refusal: the given one, or what fits the stage."""
        return self.code or _CODES[self.kind].get(self.stage, _DEFAULT_CODE[self.kind])

    def reply(self, *, with_enhanced: bool) -> bytes:
        """The reply line of a refusal; without an enhanced status code where the sink does not offer them (RFC 2034)."""
        code = self.reply_code
        enhanced = self.enhanced or f"{code // 100}.{_SUBJECT.get(self.stage, '3.0')}"
        text = self.text or f"scripted {self.kind.value} at {self.stage.value}"
        line = f"{code} {enhanced} {text}" if with_enhanced else f"{code} {text}"
        return line.encode() + b"\r\n"


_DEFAULT_CODE: Final = {Kind.TEMPFAIL: 451, Kind.PERMFAIL: 550}
#: 421 and 554 are the refusals that RFC 5321 3.1 and 3.8 know at the start of a session and in the middle of nothing;
#: 554 is the one for a transaction that failed as a whole (4.2.3); 454 and 535 are those of RFC 3207 and RFC 4954.
_CODES: Final = {
    Kind.TEMPFAIL: {
        Stage.CONNECT: 421, Stage.BANNER: 421, Stage.BODY: 421, Stage.STARTTLS: 454, Stage.AUTH: 454,
    },
    Kind.PERMFAIL: {
        Stage.CONNECT: 554, Stage.BANNER: 554, Stage.BODY: 554, Stage.DATA: 554, Stage.DOT: 554, Stage.STARTTLS: 502, Stage.AUTH: 535,
    },
}  # fmt: skip
#: Subject and detail of RFC 3463: other address status, delivery not authorised, other mail system status.
_SUBJECT: Final = {
    Stage.RCPT: "1.0", Stage.MAIL: "7.1", Stage.DOT: "7.1", Stage.STARTTLS: "7.0", Stage.AUTH: "7.8",
}  # fmt: skip

_STAGE: Final = "|".join(stage.value for stage in Stage)
_REFUSAL = re.compile(
    rf"(tempfail|permfail)(?:-([45][0-9]{{2}}))?(?:-({_STAGE}))?(?:-([0-9]{{1,4}})-then-accept)?"
)
_SLOW = re.compile(rf"slow-([0-9]{{1,5}}(?:\.[0-9]{{1,3}})?)(?:-({_STAGE}))?")
_CUT = re.compile(rf"(disconnect|reset)-({_STAGE})")
_SCRIPTED = re.compile(r"(?:tempfail|permfail|slow|disconnect|reset)(?:-|\Z)")


class BehaviourError(ValueError):
    """The local part begins like a behaviour and is none; ``str()`` of it says why, in words fit for a reply."""


@lru_cache(maxsize=4096)
def parse_behaviour(local_part: str) -> Action | None:
    """The action that a local part asks for, None if it is to be accepted; BehaviourError for a slip of the pen.

    >>> parse_behaviour("slow-2.5-dot+anything").delay
    2.5
    """
    name = local_part.partition("+")[0].lower()
    if not _SCRIPTED.match(name):
        return None
    if match := _CUT.fullmatch(name):
        return Action(Kind(match[1]), Stage(match[2]))
    if match := _SLOW.fullmatch(name):
        delay = float(match[1])
        if delay > SLOWEST:
            raise BehaviourError(f"slower than {SLOWEST:.0f} seconds is not possible")
        return Action(Kind.SLOW, Stage(match[2] or "rcpt"), delay=Seconds(delay))
    if match := _REFUSAL.fullmatch(name):
        kind, code, times = Kind(match[1]), int(match[2] or 0), int(match[4] or 0)
        wanted = 4 if kind is Kind.TEMPFAIL else 5
        if code and code // 100 != wanted:
            raise BehaviourError(f"{kind.value} takes a code of {wanted}00 to {wanted}99")
        if match[4] and not times:
            raise BehaviourError("the count before then-accept is at least 1")
        return Action(kind, Stage(match[3] or "rcpt"), code=code, times=times)
    raise BehaviourError("no such behaviour; see penstock sink --help")

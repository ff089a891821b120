"""What a row of the table is: a listener, a dialogue, and what must come of it.

A row expects the least that is safe. Where standards leave a choice, ``answers`` name every acceptable reply. Some things are
expected of every row, and not repeated in any: replies are whole lines of printable ASCII; nothing is stored but ``stores``; a session
that goes on answers QUIT with 221; no secret is in an event.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final

import msgspec

from penstock.mail.configuration import LineEndings, TlsMode


class Proxy(Enum):
    """The PROXY header on a listener."""

    NONE = "not from this client"
    ALLOWED = "this client is trusted with it"
    REQUIRED = "nothing else is served"


class Setup(msgspec.Struct, frozen=True):
    """A listener in the words of its options, and this client's standing with it.

    ``may_relay``: the client is among ``relay_hosts``. ``has_auth``: a policy answers AUTH; it knows one user, ``USER`` with ``PASSWORD``.
    """

    max_message_size: int = 20 * 1024 * 1024
    line_length_hard_limit: int = 998
    max_recipients_per_message: int = 1024
    max_messages_per_connection: int = 10_000
    invalid_line_endings: LineEndings = LineEndings.DENY
    tls: TlsMode = TlsMode.STARTTLS
    may_relay: bool = True
    has_auth: bool = False
    allow_auth_without_tls: bool = False
    may_xclient: bool = False
    proxy: Proxy = Proxy.NONE
    discard_ehlo_keywords: tuple[str, ...] = ()


USER: Final = "ursula"
PASSWORD: Final = "p3n-5t0ck-pencil"

#: A client that may relay, on a listener as it is without any option.
PLAIN: Final = Setup()
#: Limits that a short dialogue comes to.
SMALL: Final = Setup(max_message_size=200, line_length_hard_limit=100, max_recipients_per_message=3)
#: A client that nobody knows.
STRANGER: Final = Setup(may_relay=False)


class Turn(msgspec.Struct, frozen=True):
    """Octets to send, and what must be answered before anything else is sent.

    ``answers``: a pattern for each reply, in order, such as ``"250"``, ``"501 5.1.3|553"`` or ``"5"``; None if their number is not the
    point, then each must match ``each``. ``closes``: whether the session must end here; None if it may, the rest of the dialogue being
    left out then. ``is_common``: the way to where the attack begins, sent whole always. ``together``: places in ``sent`` where the octets
    before and after must arrive in one segment, because that is the attack. ``has`` and ``lacks``: what must and must not be among the
    replies. ``ends_input``: the client half-closes behind it (sockets).
    """

    sent: bytes
    answers: tuple[str, ...] | None = ()
    closes: bool | None = False
    is_common: bool = False
    together: tuple[int, ...] = ()
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()
    each: str = "2|3|4|5"


class Handshake(msgspec.Struct, frozen=True):
    """TLS begins here, with a client's handshake that succeeds."""


Step = Turn | Handshake


class Where(Enum):
    """What a row is played on."""

    BOTH = "core and sockets"
    CORE = "core"
    SOCKETS = "sockets"


class Case(msgspec.Struct, frozen=True):
    """One row.

    ``code`` is unique; what stands before its first ``-`` is its group. ``stores`` are the contents of the messages that must be
    stored, in order; None for any. ``absent``: what must be in no reply and reach no policy. ``secrets``: what must be in no record.
    ``held`` bounds the octets that the session may hold at any time. ``has_quit``: QUIT must be answered at the end, if there has been none.
    ``is_flood``: a hundred thousand commands, which the suite has no time for.
    """

    code: str
    what: str
    steps: tuple[Step, ...]
    setup: Setup = PLAIN
    stores: tuple[bytes, ...] | None = ()
    absent: tuple[bytes, ...] = ()
    secrets: tuple[bytes, ...] = ()
    held: int | None = None
    where: Where = Where.BOTH
    has_quit: bool = True
    is_flood: bool = False

    @property
    def group(self) -> str:
        """The kind of attack: the code up to its first dash."""
        return self.code.partition("-")[0]


class Waiting(msgspec.Struct, frozen=True):
    """A row that cannot be played yet, or is played elsewhere, and for what it waits."""

    code: str
    what: str
    waits_for: str

    @property
    def group(self) -> str:
        """The kind of attack: the code up to its first dash."""
        return self.code.partition("-")[0]


# Reply-line = Reply-code [ SP textstring ] CRLF (RFC 5321 4.2); what is written down here is stricter: an octet of ours is printable ASCII
_LINE: Final = re.compile(rb"([2-5][0-5][0-9])([ -])([ -~]*)")
_REPLY_LINE_LIMIT: Final = 512


@lru_cache(4096)
def replies_in(output: bytes) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The replies that a server wrote, each the text of its lines joined by LF; and what is wrong with them as lines."""
    *lines, rest = output.split(b"\r\n")
    faults = [f"a reply does not end: {rest!r}"] if rest else []
    replies: list[bytes] = []
    is_open = False
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or len(line) + 2 > _REPLY_LINE_LIMIT:
            faults.append(f"no reply line: {line[:80]!r}")
            continue
        text = match[1] + b" " + match[3]
        if is_open and replies[-1][:3] != match[1]:
            faults.append(f"two codes in one reply: {line[:80]!r}")
        if is_open:
            replies[-1] += b"\n" + text
        else:
            replies.append(text)
        is_open = match[2] == b"-"
    return tuple(replies), tuple(faults)


def matches(reply: bytes, pattern: str) -> bool:
    """Whether a reply begins as one of the pattern's alternatives says."""
    return reply.startswith(tuple(alternative.encode() for alternative in pattern.split("|")))


def faults_of(turn: Turn, output: bytes, *, is_closed: bool) -> list[str]:
    """What is wrong with what a turn was answered."""
    replies, wrong = replies_in(output)
    faults = list(wrong)
    if turn.answers is None:
        faults += [
            f"{reply[:80]!r} came, not {turn.each}" for reply in replies if not matches(reply, turn.each)
        ]
    elif len(replies) != len(turn.answers):
        faults.append(f"{len(replies)} replies, not {len(turn.answers)}: {replies[:5]}")
    else:
        faults += [
            f"{reply[:80]!r} came, not {pattern}"
            for reply, pattern in zip(replies, turn.answers, strict=True)
            if not matches(reply, pattern)
        ]
    faults += [f"{text!r} is not among the replies" for text in turn.has if text not in output]
    faults += [f"{text!r} is among the replies" for text in turn.lacks if text in output]
    if turn.closes is not None and turn.closes is not is_closed:
        faults.append("the session went on" if turn.closes else "the session ended")
    return [f"{fault}; to {turn.sent[:60]!r}" for fault in faults]

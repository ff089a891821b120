"""What a client session tells its shell: what it waits for, what has happened, and what became of each recipient."""

from __future__ import annotations

from enum import Enum

import msgspec

from penstock.mail.reply import Reply


class Stage(Enum):
    """What the session waits for."""

    __hash__ = object.__hash__  # hot: throughput; Enum's own is written in Python

    BANNER = "the banner"
    EHLO = "the reply to EHLO"
    HELO = "the reply to HELO"
    LHLO = "the reply to LHLO"
    STARTTLS = "the reply to STARTTLS"
    TLS = "the TLS handshake"
    AUTH = "the reply to AUTH"
    IDLE = "something to send"
    RSET = "the reply to RSET"
    MAIL = "the reply to MAIL"
    RCPT = "the reply to RCPT"
    DATA = "the reply to DATA"
    DOT = "the reply to mail data"
    QUIT = "the reply to QUIT"
    CLOSED = "nothing"


class TlsGranted(msgspec.Struct, frozen=True):
    """The peer has said 220 to STARTTLS: the shell shakes hands, and says ``secured`` or ``lost``."""


class Introduced(msgspec.Struct, frozen=True):
    """The peer has answered EHLO, and AUTH if there was one to be: transactions may be sent."""


class SessionRefused(msgspec.Struct, frozen=True):
    """There will be no mail on this session; it is over. ``reply`` is the peer's, or ours where what it offers does not do."""

    stage: Stage
    reply: Reply


class Result(msgspec.Struct, frozen=True):
    """The reply that decided about a recipient (an index into the transmission's), and the command it answered."""

    recipient: int
    reply: Reply
    command: str | None
    is_uncertain: bool = False


class Finished(msgspec.Struct, frozen=True):
    """The transaction is over, with one result for each of its recipients."""

    results: tuple[Result, ...]


class NotBegun(msgspec.Struct, frozen=True):
    """The session, which had served others, ended before the peer took notice of this transaction: nothing was tried."""


class Broken(msgspec.Struct, frozen=True):
    """The session is over, for the peer broke the protocol or the connection ended; ``stage`` is what was waited for.

    What that means for a transaction comes before it, in Finished or NotBegun.
    """

    reason: str
    stage: Stage


ClientEvent = TlsGranted | Introduced | SessionRefused | Finished | NotBegun | Broken

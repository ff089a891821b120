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
    IDLE = "something to send"
    RSET = "the reply to RSET"
    MAIL = "the reply to MAIL"
    RCPT = "the reply to RCPT"
    DATA = "the reply to DATA"
    DOT = "the reply to mail data"
    QUIT = "the reply to QUIT"
    CLOSED = "nothing"


class Introduced(msgspec.Struct, frozen=True):
    """The peer has answered EHLO: transactions may be sent."""


class SessionRefused(msgspec.Struct, frozen=True):
    """The peer does not want this session; it is over."""

    stage: Stage
    reply: Reply


class Result(msgspec.Struct, frozen=True):
    """The reply that decided about a recipient (an index into the transmission's), and the command it answered."""

    recipient: int
    reply: Reply
    command: str | None
    is_uncertain: bool = False


class Finished(msgspec.Struct, frozen=True):
    """The transaction is over, with one result for each of its recipients. ``is_reusable``: another may be sent on this session."""

    results: tuple[Result, ...]
    is_reusable: bool


class Broken(msgspec.Struct, frozen=True):
    """The peer broke the protocol, or closed a session without a transaction; it is over. Results come before it, in Finished."""

    reason: str


ClientEvent = Introduced | SessionRefused | Finished | Broken

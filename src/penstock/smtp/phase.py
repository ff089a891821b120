"""The states of an SMTP server session and what may follow what (RFC 5321 4.1.4).

A session starts when the banner has been sent. EHLO (or HELO) introduces the client, MAIL opens a transaction, each accepted RCPT adds a
forward-path, DATA leads into mail data, and the end of mail data closes the transaction. EHLO and RSET abandon an open transaction.
NOOP, VRFY, HELP, RSET and QUIT are permitted in every phase in which commands are read. An absent pair is answered 503 5.5.1.

With CHUNKING (RFC 3030), the first BDAT takes the place of DATA; from then on the transaction takes nothing but chunks. STARTTLS
(RFC 3207), AUTH (RFC 4954) and XCLIENT stand between transactions, after EHLO; STARTTLS and XCLIENT lead back to the start, AUTH does not.

Mail data is no command phase: from 354 until the end of data, and within a chunk, octets belong to ``data`` and ``chunk``; after the 334
of AUTH, a line is a response and belongs to ``auth``; while the shell decides about an event, nothing is read at all.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Verb(Enum):
    """The commands that this server knows: RFC 5321 4.1.1, 3207, 4954 and 3030, and Postfix's XCLIENT."""

    __hash__ = object.__hash__  # hot: throughput; Enum's own is written in Python

    HELO = b"HELO"
    EHLO = b"EHLO"
    MAIL = b"MAIL"
    RCPT = b"RCPT"
    DATA = b"DATA"
    BDAT = b"BDAT"
    STARTTLS = b"STARTTLS"
    AUTH = b"AUTH"
    XCLIENT = b"XCLIENT"
    RSET = b"RSET"
    NOOP = b"NOOP"
    VRFY = b"VRFY"
    HELP = b"HELP"
    QUIT = b"QUIT"


class Phase(Enum):
    """Where a session stands."""

    __hash__ = object.__hash__  # hot: throughput

    CONNECTED = "nothing has been said"
    START = "greeted, not yet introduced"
    READY = "no transaction"
    MAIL = "reverse-path given"
    RCPT = "at least one forward-path accepted"
    DATA = "receiving mail data"
    CHUNKS = "receiving mail data in chunks"
    TLS = "told to begin the handshake"
    CLOSED = "nothing more is read"


_ANYWHERE: Final = (Verb.NOOP, Verb.VRFY, Verb.HELP)


def _staying(phase: Phase, **moves: Phase) -> dict[Verb, Phase]:
    table = dict.fromkeys(_ANYWHERE, phase)
    table[Verb.QUIT] = Phase.CLOSED
    table[Verb.HELO] = table[Verb.EHLO] = Phase.READY
    table[Verb.RSET] = Phase.START if phase is Phase.START else Phase.READY
    table.update({Verb[name]: target for name, target in moves.items()})
    return table


#: phase -> verb -> phase after a positive reply. An absent pair is answered 503 5.5.1 (RFC 5321 4.1.4).
TRANSITIONS: Final[dict[Phase, dict[Verb, Phase]]] = {
    Phase.CONNECTED: {},
    Phase.START: _staying(Phase.START),
    Phase.READY: _staying(
        Phase.READY, MAIL=Phase.MAIL, STARTTLS=Phase.TLS, AUTH=Phase.READY, XCLIENT=Phase.START
    ),
    Phase.MAIL: _staying(Phase.MAIL, RCPT=Phase.RCPT),
    Phase.RCPT: _staying(Phase.RCPT, RCPT=Phase.RCPT, DATA=Phase.DATA, BDAT=Phase.CHUNKS),
    Phase.DATA: {},
    Phase.CHUNKS: _staying(Phase.CHUNKS, BDAT=Phase.CHUNKS),
    Phase.TLS: {},
    Phase.CLOSED: {},
}

#: What to say to a command out of order, by the phase it came in.
EXPECTED: Final[dict[Phase, str]] = {
    Phase.START: "send EHLO first",
    Phase.READY: "send MAIL first",
    Phase.MAIL: "send RCPT first; a transaction is open already",
    Phase.RCPT: "a transaction is open already",
    Phase.CHUNKS: "the message is coming in chunks; send BDAT or RSET",
}

"""The replies that a server session gives by itself, those to commands that every client sends ready to be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.mail.reply import Reply, reply
from penstock.smtp import extension
from penstock.smtp.auth import MECHANISMS
from penstock.smtp.phase import Verb
from penstock.smtp.server_events import ServerLimits
from penstock.smtp.xclient import ATTRIBUTES


class Ready(msgspec.Struct, frozen=True):
    """A reply and its octets."""

    reply: Reply
    octets: bytes


def ready(answer: Reply) -> Ready:
    """A reply with its octets."""
    return Ready(answer, answer.to_bytes())


MAIL_OK: Final = ready(reply(250, "2.1.0", "sender ok"))
RCPT_OK: Final = ready(reply(250, "2.1.5", "recipient ok"))
DATA_GO: Final = ready(reply(354, None, "send mail data; end with <CRLF>.<CRLF>"))
#: To commands that change nothing but the transaction.
SIMPLE: Final[dict[Verb, Ready]] = {
    Verb.RSET: ready(reply(250, "2.0.0", "flushed")),
    Verb.NOOP: ready(reply(250, "2.0.0", "ok")),
    Verb.VRFY: ready(reply(252, "2.5.0", "not verified here; send a message and see (RFC 5321 3.5.3)")),
    Verb.HELP: ready(
        reply(
            214,
            "2.0.0",
            "commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nsee RFC 5321",
        )
    ),
}
STARVED: Final = reply(452, "4.3.1", "not enough memory for this message now; try again later")
TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "too many errors; closing connection")
TOO_MANY_MESSAGES: Final = reply(421, "4.7.0", "enough messages for one connection; connect again")
TOO_MANY_FAILURES: Final = reply(421, "4.7.0", "too many failed authentications; closing connection")
TALKS_EARLY: Final = reply(
    554, "5.5.0", "mail data before it was asked for (RFC 2920 3.1); closing connection"
)
TALKS_FIRST: Final = reply(
    554, "5.5.0", "the client talks before the greeting (RFC 5321 4.3.1); closing connection"
)
TALKS_BEHIND_STARTTLS: Final = reply(
    554, "5.5.0", "commands behind STARTTLS, before the handshake (RFC 3207 6); closing connection"
)
TLS_GO: Final = reply(220, "2.0.0", "begin the handshake")
TLS_NOT_OFFERED: Final = reply(502, "5.5.1", "STARTTLS is not offered here")
TLS_ACTIVE: Final = reply(503, "5.5.1", "TLS is in use already")
AUTH_NOT_OFFERED: Final = reply(502, "5.5.1", "AUTH is not offered here")
AUTH_DONE: Final = reply(503, "5.5.1", "authenticated already")
AUTH_OK: Final = reply(235, "2.7.0", "authenticated")


def too_big(limits: ServerLimits) -> Reply:
    """What a message over the limit is told, at MAIL, at its end (RFC 1870 6.1), or at each chunk."""
    size = limits.max_message_size
    return reply(552, "5.3.4", f"the message is larger than the {size} octets that are accepted here")


def chunk_received(size: int) -> Reply:
    """What a chunk that is not the last is told (RFC 3030 2)."""
    return reply(250, "2.0.0", f"{size} octets received")


def banner(limits: ServerLimits) -> Reply:
    """The greeting (RFC 5321 3.1)."""
    return Reply(220, None, f"{limits.hostname} {limits.banner}")


def hello(limits: ServerLimits, offered: Sequence[str]) -> Reply:
    """The positive reply to EHLO, with what is offered (RFC 5321 4.1.1.1), or to HELO, which is offered nothing."""
    values = {
        extension.SIZE: str(limits.max_message_size),
        extension.AUTH: " ".join(MECHANISMS),
        extension.XCLIENT: " ".join(ATTRIBUTES),
    }
    lines = [f"{keyword} {values[keyword]}" if keyword in values else keyword for keyword in offered]
    return Reply(250, None, "\n".join((limits.hostname, *lines)))

"""The replies that a server session gives by itself, those to commands that every client sends ready to be written."""

from __future__ import annotations

from typing import Final

from penstock.mail.reply import Reply, reply
from penstock.smtp.phase import Verb
from penstock.smtp.server_events import ServerLimits

MAIL_OK: Final = reply(250, "2.1.0", "sender ok").to_bytes()
RCPT_OK: Final = reply(250, "2.1.5", "recipient ok").to_bytes()
DATA_GO: Final = b"354 send mail data; end with <CRLF>.<CRLF>\r\n"
#: To commands that change nothing but the transaction.
SIMPLE: Final[dict[Verb, bytes]] = {
    Verb.RSET: reply(250, "2.0.0", "flushed").to_bytes(),
    Verb.NOOP: reply(250, "2.0.0", "ok").to_bytes(),
    Verb.VRFY: reply(252, "2.5.0", "not verified here; send a message and see (RFC 5321 3.5.3)").to_bytes(),
    Verb.HELP: reply(
        214, "2.0.0", "commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\nsee RFC 5321"
    ).to_bytes(),
}
STARVED: Final = reply(452, "4.3.1", "not enough memory for this message now; try again later")
TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "too many errors; closing connection")
TOO_MANY_MESSAGES: Final = reply(421, "4.7.0", "enough messages for one connection; connect again")
TALKS_EARLY: Final = reply(
    554, "5.5.0", "mail data before it was asked for (RFC 2920 3.1); closing connection"
)


def too_big(limits: ServerLimits) -> Reply:
    """What a message over the limit is told, at MAIL or at its end (RFC 1870 6.1)."""
    size = limits.max_message_size
    return reply(552, "5.3.4", f"the message is larger than the {size} octets that are accepted here")


def hello(limits: ServerLimits, *, is_extended: bool) -> bytes:
    """The positive reply to EHLO, with what is offered (RFC 5321 4.1.1.1), or to HELO."""
    if not is_extended:
        return Reply(250, None, limits.hostname).to_bytes()
    keywords = (
        "PIPELINING",
        f"SIZE {limits.max_message_size}",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "HELP",
    )
    return Reply(250, None, "\n".join((limits.hostname, *keywords))).to_bytes()

"""What becomes of a client's standing when a command is accepted or refused, what it is told, and by which verb the session moves on."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.mail.reply import Reply, reply
from penstock.smtp import extension, replies
from penstock.smtp.check import Standing
from penstock.smtp.phase import Verb
from penstock.smtp.replies import Ready
from penstock.smtp.server_events import (
    AuthGiven,
    DataAsked,
    Hello,
    MailGiven,
    MessageGiven,
    RecipientGiven,
    Refused,
    ServerEvent,
    TlsAsked,
    XclientGiven,
)
from penstock.smtp.transaction import Transaction

_NAMES: Final[dict[type, str]] = {
    TlsAsked: "STARTTLS",
    AuthGiven: "AUTH",
    XclientGiven: "XCLIENT",
    MailGiven: "MAIL",
    RecipientGiven: "RCPT",
    DataAsked: "DATA",
}


class Applied(NamedTuple):
    """What to say to ``name``, and the verb to move by, None to stay. ``is_final``: it is a refusal, and the end of the session."""

    said: Ready
    name: str
    verb: Verb | None = None
    is_final: bool = False


_MAIL: Final = Applied(replies.MAIL_OK, "MAIL", Verb.MAIL)
_RCPT: Final = Applied(replies.RCPT_OK, "RCPT", Verb.RCPT)
_DATA: Final = Applied(replies.DATA_GO, "DATA", Verb.DATA)
_TOO_EARLY: Final = Applied(replies.ready(replies.TALKS_EARLY), "DATA", is_final=True)
_AUTH: Final = Applied(replies.ready(replies.AUTH_OK), "AUTH", Verb.AUTH)
_STARTTLS: Final = Applied(replies.ready(replies.TLS_GO), "STARTTLS", Verb.STARTTLS)
_INJECTED: Final = Applied(replies.ready(replies.TALKS_BEHIND_STARTTLS), "STARTTLS", is_final=True)


def apply(
    event: ServerEvent, standing: Standing, positive: Reply | None, *, has_input: bool
) -> Applied:  # hot: micro_smtp
    """Accept ``event``; ``positive`` is the reply to a message. ``has_input``: octets came behind it, where a client has to wait for the reply."""
    if isinstance(event, MailGiven):
        standing.transaction = Transaction(event.command)
        return _MAIL
    if isinstance(event, RecipientGiven):
        assert standing.transaction is not None  # noqa: S101 -- nothing is read while an event waits
        standing.transaction.add(event.forward_path, event.dsn)
        return _RCPT
    if isinstance(event, DataAsked):
        return _TOO_EARLY if has_input else _DATA
    if isinstance(event, MessageGiven):
        standing.messages += 1
        standing.transaction = None
        return Applied(replies.ready(positive or reply(250, "2.0.0", "OK")), event.command)
    if isinstance(event, Hello):
        return _hello(event, standing)
    if isinstance(event, AuthGiven):
        standing.is_authenticated = True
        standing.offered -= {extension.AUTH}
        return _AUTH
    if isinstance(event, XclientGiven):
        standing.begin_anew()
        return Applied(replies.ready(replies.banner(standing.limits)), "XCLIENT", Verb.XCLIENT)
    if isinstance(event, TlsAsked):
        # what is there is not even read: the handshake would make it the client's, whoever put it there (CVE-2011-0411)
        return _INJECTED if has_input else _STARTTLS
    raise TypeError(f"{type(event).__name__} is answered by say")


def _hello(event: Hello, standing: Standing) -> Applied:
    standing.offered = event.could_offer.intersection(event.offered)
    standing.transaction = None
    said = replies.ready(replies.hello(standing.limits, event.offered))
    return Applied(said, "EHLO" if event.is_extended else "HELO", Verb.EHLO)


def refused(event: ServerEvent, negative: Reply, standing: Standing) -> Refused:
    """The refusal of ``event``, as it is recorded."""
    name = _NAMES.get(type(event), "HELO")
    recipient = ""
    if isinstance(event, Hello):
        name = "EHLO" if event.is_extended else "HELO"
    elif isinstance(event, RecipientGiven):
        recipient = str(event.forward_path)
    elif isinstance(event, MailGiven):
        return Refused(negative, name, str(event.command.reverse_path or ""), "")
    elif isinstance(event, MessageGiven):
        name = event.command
    return Refused(negative, name, standing.sender(), recipient)

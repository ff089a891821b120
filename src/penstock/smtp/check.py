"""Whether a command in its turn may be carried out, and what it asks for: an event for the policy, or the Refusal to answer with.

Nothing here changes anything; a command is applied once its event has been accepted.
"""

from __future__ import annotations

from penstock.mail.reply import reply
from penstock.smtp import auth, command, extension, replies, xclient
from penstock.smtp.command import Refusal
from penstock.smtp.phase import Verb
from penstock.smtp.server_events import (
    DataAsked,
    Hello,
    MailGiven,
    RecipientGiven,
    ServerEvent,
    ServerLimits,
    TlsAsked,
    XclientGiven,
)
from penstock.smtp.transaction import Transaction


class Standing:
    """What is known of a client: what it may do, what it was ``offered``, and its open transaction."""

    __slots__ = ("is_authenticated", "is_secure", "limits", "messages", "offered", "transaction")

    def __init__(self, limits: ServerLimits, *, is_secure: bool) -> None:
        self.limits = limits
        self.is_secure = is_secure
        self.is_authenticated = False
        self.offered: frozenset[str] = frozenset()
        self.transaction: Transaction | None = None
        self.messages = 0

    def begin_anew(self) -> None:
        """Nothing of what was said before counts any more."""
        self.is_authenticated = False
        self.offered = frozenset()
        self.transaction = None

    def sender(self) -> str:
        """The reverse-path of the open transaction, "" for none."""
        transaction = self.transaction
        return str(transaction.mail.reverse_path or "") if transaction is not None else ""

    def offer(self) -> tuple[str, ...]:
        """The extensions that this client may use now, as EHLO lists them."""
        limits = self.limits
        unwanted = {extension.STARTTLS} if self.is_secure else set()
        if self.is_authenticated or (limits.auth_needs_tls and not self.is_secure):
            unwanted.add(extension.AUTH)
        return tuple([word for word in extension.ORDER if word in limits.extensions and word not in unwanted])


def check(verb: Verb, argument: bytes, standing: Standing) -> ServerEvent | None:  # hot: micro_smtp
    """The event of a command that asks for one, None for one that the session answers by itself; Refusal."""
    if verb is Verb.MAIL:
        return _mail(argument, standing)
    if verb is Verb.RCPT:
        return _rcpt(argument, standing)
    if verb is Verb.DATA:
        if argument:
            raise Refusal(command.SYNTAX)
        return DataAsked()
    if verb is Verb.EHLO:
        offered = standing.offer()
        return Hello(command.parse_hello(argument), True, offered, frozenset(offered))
    if verb is Verb.HELO:
        return Hello(command.parse_hello(argument), is_extended=False)
    if verb is Verb.STARTTLS:
        return _starttls(argument, standing)
    if verb is Verb.XCLIENT:
        if extension.XCLIENT not in standing.limits.extensions:
            raise Refusal(xclient.NOT_ALLOWED)
        return XclientGiven(xclient.parse_xclient(argument))
    if verb is Verb.VRFY:
        command.check_vrfy(argument)
    elif verb in (Verb.RSET, Verb.QUIT) and argument:
        raise Refusal(command.SYNTAX)
    return None


def _mail(argument: bytes, standing: Standing) -> MailGiven:
    limits = standing.limits
    if standing.messages >= limits.max_messages_per_connection:
        raise Refusal(replies.TOO_MANY_MESSAGES, 0)
    mail = command.parse_mail(argument, standing.offered)
    if mail.size > limits.max_message_size:
        raise Refusal(replies.too_big(limits), 0)
    return MailGiven(mail)


def _rcpt(argument: bytes, standing: Standing) -> RecipientGiven:
    transaction, limits = standing.transaction, standing.limits
    assert transaction is not None  # noqa: S101 -- the table lets RCPT in after MAIL only
    given = command.parse_rcpt(
        argument, standing.offered, smtputf8=transaction.mail.smtputf8, hostname=limits.hostname
    )
    if len(transaction.recipients) >= limits.max_recipients_per_message:
        raise Refusal(reply(452, "4.5.3", "too many recipients"), 0, str(given.forward_path))
    return RecipientGiven(given.forward_path, given.dsn)


def _starttls(argument: bytes, standing: Standing) -> TlsAsked:
    if standing.is_secure:
        raise Refusal(replies.TLS_ACTIVE)
    if extension.STARTTLS not in standing.offered:
        raise Refusal(replies.TLS_NOT_OFFERED)
    if argument:
        raise Refusal(command.SYNTAX)
    return TlsAsked()


def begin_auth(argument: bytes, standing: Standing) -> tuple[auth.Exchange, bytes | None]:
    """The exchange that AUTH begins, and the initial response if there is one; Refusal."""
    limits = standing.limits
    if standing.is_authenticated:
        raise Refusal(replies.AUTH_DONE)
    if extension.AUTH not in limits.extensions:
        raise Refusal(replies.AUTH_NOT_OFFERED)
    if limits.auth_needs_tls and not standing.is_secure:
        raise Refusal(auth.NEEDS_TLS)
    if extension.AUTH not in standing.offered:
        raise Refusal(replies.AUTH_NOT_OFFERED)
    return auth.begin(argument)

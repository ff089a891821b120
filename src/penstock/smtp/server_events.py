"""What a server session is told and what it tells: its limits, and what the client asks for, each to be answered by the shell."""

from __future__ import annotations

import msgspec

from penstock.mail.address import Address
from penstock.mail.configuration import LineEndings
from penstock.mail.dsn import EnvelopeDsn, RecipientDsn
from penstock.mail.reply import Reply
from penstock.smtp import extension
from penstock.smtp.auth import Credentials
from penstock.smtp.command import MailCommand
from penstock.smtp.xclient import Xclient


class ServerLimits(msgspec.Struct, frozen=True):
    """What a session allows, by the names of the listener's options; sizes in octets.

    ``extensions`` are those that may be offered (``extension``): STARTTLS until it is in use, AUTH until it was done, and under TLS only where
    ``auth_needs_tls``. ``reviews_replies``: the shell wants to see each reply before it is said (``Replying``).
    """

    hostname: str
    banner: str
    max_message_size: int
    max_messages_per_connection: int
    max_recipients_per_message: int
    line_length_hard_limit: int
    invalid_line_endings: LineEndings
    extensions: frozenset[str] = extension.STANDARD
    auth_needs_tls: bool = True
    reviews_replies: bool = False


class Hello(msgspec.Struct, frozen=True):
    """EHLO or HELO with the client's name.

    ``offered`` are the keywords that it is answered with, of which those in ``could_offer`` may then be used: ``accept_as`` with fewer keywords
    takes their extensions away, with others only says them.
    """

    name: str
    is_extended: bool
    offered: tuple[str, ...] = ()
    could_offer: frozenset[str] = frozenset()


class TlsAsked(msgspec.Struct, frozen=True):
    """STARTTLS: once accepted and written, the handshake follows, and ``secured``."""


class AuthGiven(msgspec.Struct, frozen=True):
    """AUTH: the client has said who it is; None: it has said what nobody can be."""

    credentials: Credentials | None


class XclientGiven(msgspec.Struct, frozen=True):
    """XCLIENT: a trusted proxy says whom it speaks for; once accepted, the session begins anew."""

    client: Xclient


class MailGiven(msgspec.Struct, frozen=True, gc=False):
    """MAIL: a transaction is to begin."""

    command: MailCommand


class RecipientGiven(msgspec.Struct, frozen=True, gc=False):
    """RCPT: a forward-path is to be added."""

    forward_path: Address
    dsn: RecipientDsn | None = None


class DataAsked(msgspec.Struct, frozen=True):
    """DATA: mail data is to come."""


class MessageGiven(msgspec.Struct, frozen=True):
    """The end of mail data: the transaction is complete; ``accept`` takes the reply with its ids.

    ``content`` is the mail data without transparency; its line ends are as the listener wants them. ``is_canonical``: every line ends with
    CRLF and none begins with a dot. ``dsn`` None: nothing was asked about notifications. ``command`` is what brought it, DATA or BDAT.
    """

    mail: MailCommand
    forward_paths: tuple[Address, ...]
    content: bytes
    is_canonical: bool
    dsn: EnvelopeDsn | None = None
    command: str = "DATA"


class Replying(msgspec.Struct, frozen=True):
    """A reply is about to be said; ``say`` answers it. ``command`` is what it answers, "" where it answers none."""

    reply: Reply
    command: str


ServerEvent = (
    Hello
    | TlsAsked
    | AuthGiven
    | XclientGiven
    | MailGiven
    | RecipientGiven
    | DataAsked
    | MessageGiven
    | Replying
)


class Refused(msgspec.Struct, frozen=True):
    """A negative reply as it was given: to which command, and how far the transaction had come."""

    reply: Reply
    command: str
    reverse_path: str
    recipient: str

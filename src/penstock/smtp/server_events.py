"""What a server session is told and what it tells: its limits, and what the client asks for, each to be answered by the shell."""

from __future__ import annotations

import msgspec

from penstock.mail.address import Address
from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply
from penstock.smtp.command import MailCommand


class ServerLimits(msgspec.Struct, frozen=True):
    """What a session allows, by the names of the listener's options; sizes in octets."""

    hostname: str
    banner: str
    max_message_size: int
    max_messages_per_connection: int
    max_recipients_per_message: int
    line_length_hard_limit: int
    invalid_line_endings: LineEndings


class Hello(msgspec.Struct, frozen=True):
    """EHLO or HELO with the client's name."""

    name: str
    is_extended: bool


class MailGiven(msgspec.Struct, frozen=True, gc=False):
    """MAIL: a transaction is to begin."""

    command: MailCommand


class RecipientGiven(msgspec.Struct, frozen=True, gc=False):
    """RCPT: a forward-path is to be added."""

    forward_path: Address


class DataAsked(msgspec.Struct, frozen=True):
    """DATA: mail data is to come."""


class MessageGiven(msgspec.Struct, frozen=True):
    """The end of mail data: the transaction is complete; ``accept`` takes the reply with its ids.

    ``content`` is the mail data without transparency; its line ends are as the listener wants them. ``is_canonical``: every line ends with
    CRLF and none begins with a dot.
    """

    mail: MailCommand
    forward_paths: tuple[Address, ...]
    content: bytes
    is_canonical: bool


ServerEvent = Hello | MailGiven | RecipientGiven | DataAsked | MessageGiven


class Refused(msgspec.Struct, frozen=True):
    """A negative reply as it was given: to which command, and how far the transaction had come."""

    reply: Reply
    command: str
    reverse_path: str
    recipient: str

"""A message as the sink received it, and what it notices about the octets.

Nothing here is shared with ``penstock.mail.message`` or ``penstock.smtp``: see ``penstock.sim.sink``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from penstock.mail.duration import MonotonicTime, WallTime
from penstock.sim.tls import TlsSeen

#: RFC 5321 4.5.3.1.6: octets of a text line with its CRLF, the doubled dot not counted.
_LINE_LIMIT: Final = 1000
_UNDOUBLED_DOT = re.compile(rb"(?:\A|\r\n)\.(?!\.)")
# field-name = 1*ftext (RFC 5322 2.2), with obsolete white space before the colon (4.5)
_FIELD_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_HEADER_LIMIT: Final = 262_144
_FIELD_LIMIT: Final = 1000
_VALUE_LIMIT: Final = 8192


def text_of(octets: bytes) -> str:
    r"""Octets as text: UTF-8 where they are that, ``\xNN`` for every octet that is not."""
    return octets.decode("utf-8", "backslashreplace")


class SinkEnvelope(msgspec.Struct, frozen=True):
    """The envelope. ``sender`` ``""`` is the null reverse-path; ``parameters`` are those of MAIL, as they came, such as ``SIZE=12``.

    ``recipient_parameters`` are those of each RCPT, in the order of ``recipients``; ``()`` if none had any.
    """

    sender: str
    recipients: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    recipient_parameters: tuple[tuple[str, ...], ...] = ()


class SinkMessage(msgspec.Struct, frozen=True):
    """One message whose mail data came to its end.

    ``wire`` is the mail data as it came, before its dots were taken out; ``via`` is how: ``DATA``, or ``BDAT``, which doubles none.
    ``reply`` is what was answered, None if the connection was cut instead; of the ``replies`` of LMTP, one for each recipient, the first that
    is positive, or else the first. ``at`` and ``received`` are the instant its last octet was read, ``begun`` that of its MAIL.
    ``authenticated`` is the user of AUTH, "" for none.
    """

    at: WallTime
    received: MonotonicTime
    listener: str
    peer: str
    helo: str
    session: int
    envelope: SinkEnvelope
    wire: bytes
    reply: str | None
    replies: tuple[str | None, ...] = ()
    via: str = "DATA"
    tls: TlsSeen | None = None
    authenticated: str = ""
    begun: WallTime = WallTime(0.0)

    @property
    def content(self) -> bytes:
        """The mail data: the first octet of each line that began with a dot taken out (RFC 5321 4.5.2), unless it came in chunks."""
        content = self.wire
        if self.via != "DATA":
            return content
        if b"\r\n." in content:
            content = content.replace(b"\r\n.", b"\r\n")
        return content[1:] if content.startswith(b".") else content

    @property
    def is_accepted(self) -> bool:
        """Whether the reply was positive."""
        return self.reply is not None and self.reply.startswith("2")

    @property
    def accepted_recipients(self) -> tuple[str, ...]:
        """The recipients that got a positive reply."""
        recipients = self.envelope.recipients
        if not self.replies:
            return recipients if self.is_accepted else ()
        return tuple(
            recipient
            for recipient, reply in zip(recipients, self.replies, strict=True)
            if reply is not None and reply.startswith("2")
        )

    @property
    def irregularities(self) -> tuple[str, ...]:
        """What no conforming client sends (RFC 5321 2.3.8, 4.5.2, 4.5.3.1.6; RFC 6152): empty for good mail data."""
        wire = self.wire
        line_ends = wire.count(b"\r\n")
        found = []
        if wire.count(b"\n") != line_ends:
            found.append("bare LF")
        if wire.count(b"\r") != line_ends:
            found.append("bare CR")
        if self.via != "DATA":
            if wire and not wire.endswith(b"\r\n"):
                found.append("last line without its end")
        elif _UNDOUBLED_DOT.search(wire):
            found.append("dot not doubled")
        if _has_long_line(wire, has_doubled_dots=self.via == "DATA"):
            found.append("line over 998 octets")
        if b"\0" in wire:
            found.append("NUL")
        if not wire.isascii() and not any(word.upper() in _EIGHT_BIT for word in self.envelope.parameters):
            found.append("8-bit data not declared")
        return tuple(found)


_EIGHT_BIT: Final = ("BODY=8BITMIME", "SMTPUTF8")


def _has_long_line(wire: bytes, *, has_doubled_dots: bool) -> bool:
    position = 0
    while len(wire) - position > _LINE_LIMIT - 2:
        limit = _LINE_LIMIT + (has_doubled_dots and wire.startswith(b".", position))
        line_end = wire.rfind(b"\n", position, position + limit)
        if line_end < 0:
            return True
        position = line_end + 1
    return False


def header_fields(content: bytes) -> list[tuple[str, str]]:
    """Names and values of the header section, unfolded; it ends at the first line that is no field.

    At most a thousand fields of the first 256 KiB are given, and 8 KiB of a value.
    """
    header = content[:_HEADER_LIMIT]
    found: list[tuple[str, str]] = []
    position = 0
    while len(found) < _FIELD_LIMIT and (match := _FIELD_NAME.match(header, position)):
        end = header.find(b"\r\n", match.end())
        while end >= 0 and header[end + 2 : end + 3] in (b" ", b"\t"):
            end = header.find(b"\r\n", end + 2)
        end = len(header) if end < 0 else end
        value = _FOLD.sub(b"", header[match.end() : end]).strip(b" \t")
        found.append((match[1].decode("ascii"), text_of(value[:_VALUE_LIMIT])))
        position = end + 2
    return found


class MessageRecord(msgspec.Struct, frozen=True):
    """One line of ``--record``: who sent what to whom, when, and what was answered. ``size`` and ``sha256`` are of the content."""

    time: float
    begun: float
    listener: str
    peer: str
    helo: str
    session: int
    sender: str
    recipients: tuple[str, ...]
    parameters: tuple[str, ...]
    recipient_parameters: tuple[tuple[str, ...], ...]
    size: int
    sha256: str
    headers: list[tuple[str, str]]
    irregularities: tuple[str, ...]
    reply: str | None
    replies: tuple[str | None, ...]
    via: str
    tls: TlsSeen | None
    authenticated: str
    dumped: str | None


def record_of(message: SinkMessage, dumped: str | None) -> MessageRecord:
    """The record of a message; ``dumped`` is the name of the file with its content, if one was written."""
    content = message.content
    return MessageRecord(
        time=message.at,
        begun=message.begun,
        listener=message.listener,
        peer=message.peer,
        helo=message.helo,
        session=message.session,
        sender=message.envelope.sender,
        recipients=message.envelope.recipients,
        parameters=message.envelope.parameters,
        recipient_parameters=message.envelope.recipient_parameters,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        headers=header_fields(content),
        irregularities=message.irregularities,
        reply=message.reply,
        replies=message.replies,
        via=message.via,
        tls=message.tls,
        authenticated=message.authenticated,
        dumped=dumped,
    )

"""What one transaction sends: the envelope's commands and the mail data, written so that nothing in them can be read as something else.

Everything is checked again here, at the last place before the wire, whoever checked it before: an address that is not one path is
refused, a bare CR or LF never leaves, and every line that begins with a dot is given another (RFC 5321 4.5.2). The one thing believed is
``is_canonical``, which ``data`` found when the message came in: looking again costs as much as all the rest of a transaction.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.address import Address, ReversePath
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.smtp.data import has_bare_line_end, has_dot_line, with_crlf

# What is one path and nothing more, however lenient: a local part without anything that ends a path or a line or begins a parameter (or a
# source route), or a quoted string, which may hold all but controls; then a domain without such a thing.
_PATH = re.compile(
    rb"(?:[^\x00-\x20\x7f<>\"@]++|\"(?:[^\"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*+\")@[^\x00-\x20\x7f<>\"@,]++"
)


# What a name may be to stand behind EHLO: no space, nothing that ends a line.
_WORD = re.compile(r"[!-~]{1,255}")


class Transmission(msgspec.Struct, frozen=True):
    """One transaction to be made: ``header`` goes before ``content``; both as they are stored, without transparency.

    ``is_canonical`` says that ``content`` was found to need nothing: every line ends with CRLF and none begins with a dot.
    """

    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    header: bytes
    content: bytes
    eight_bit: bool
    smtputf8: bool
    is_canonical: bool = False

    @property
    def size(self) -> int:
        """Octets of the message."""
        return len(self.header) + len(self.content)


class Capabilities(msgspec.Struct, frozen=True):
    """What the peer's EHLO offered. ``size`` is its limit in octets, 0 for none given (RFC 1870)."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size: int = 0
    has_size: bool = False


#: RFC 1870 4: at most 20 digits.
_SIZE_DIGITS: Final = re.compile(r"[0-9]{1,20}", re.ASCII)


def capabilities(ehlo: Reply) -> Capabilities:
    """What an EHLO reply offers (RFC 5321 4.1.1.1): one keyword a line after the first."""
    pipelining = eight_bit = smtputf8 = has_size = False
    size = 0
    for line in ehlo.text.split("\n")[1:]:
        keyword, _, value = line.strip().partition(" ")
        match keyword.upper():
            case "PIPELINING":
                pipelining = True
            case "8BITMIME":
                eight_bit = True
            case "SMTPUTF8":
                smtputf8 = True
            case "SIZE":
                has_size = True
                size = int(value) if _SIZE_DIGITS.fullmatch(value) else 0
            case _:
                pass
    return Capabilities(pipelining, eight_bit, smtputf8, size, has_size)


def unsendable(message: Transmission, peer: Capabilities) -> Reply | None:
    """Why this peer cannot be given this message at all, or None. It is permanent: the message will not change."""
    if message.eight_bit and not peer.eight_bit:
        return reply(
            554, "5.6.3", INTERNAL + "the message has 8-bit content, and the next hop does not offer 8BITMIME"
        )
    if message.header and not is_safe_header(message.header):
        return reply(554, "5.6.0", INTERNAL + "an added header field is malformed")
    needs_utf8 = message.smtputf8 or (message.reverse_path is not None and not message.reverse_path.is_ascii)
    if needs_utf8 and not peer.smtputf8:
        return reply(
            554, "5.6.7", INTERNAL + "the message needs SMTPUTF8, and the next hop does not offer it"
        )
    if peer.size and (size := _sent_size(message)) > peer.size:
        return reply(
            552, "5.3.4", INTERNAL + f"the message has {size} octets; the next hop takes {peer.size}"
        )
    return None


def unsendable_recipient(recipient: Address, peer: Capabilities) -> Reply | None:
    """Why this peer cannot be given this recipient, or None."""
    if not recipient.is_ascii and not peer.smtputf8:
        return reply(
            554, "5.6.7", INTERNAL + "the address needs SMTPUTF8, and the next hop does not offer it"
        )
    return None


def is_printable_word(text: str) -> bool:
    """Whether ``text`` can be one argument of a command."""
    return _WORD.fullmatch(text) is not None


def _path(address: Address) -> bytes:  # hot: micro_smtp
    octets = f"{address.local_part}@{address.domain}".encode()
    if not _PATH.fullmatch(octets):
        raise ValueError("an address cannot be written as a path")
    return octets


def mail_command(message: Transmission, peer: Capabilities) -> bytes:  # hot: micro_smtp
    """The MAIL command with the parameters that this peer understands; ValueError if the reverse-path cannot be written."""
    line = b"MAIL FROM:<%b>" % (_path(message.reverse_path) if message.reverse_path is not None else b"")
    if peer.has_size:
        line += b" SIZE=%d" % _sent_size(message)
    if peer.eight_bit and message.eight_bit:
        line += b" BODY=8BITMIME"
    if peer.smtputf8 and _uses_utf8(message):
        line += b" SMTPUTF8"
    return line + b"\r\n"


def _uses_utf8(message: Transmission) -> bool:
    if message.smtputf8:
        return True
    if message.reverse_path is not None and not message.reverse_path.is_ascii:
        return True
    return not all(recipient.is_ascii for recipient in message.recipients)


def rcpt_command(recipient: Address) -> bytes:  # hot: micro_smtp
    """The RCPT command; ValueError if the recipient cannot be written."""
    return b"RCPT TO:<%b>\r\n" % _path(recipient)


def _sent_size(message: Transmission) -> int:
    """Octets of the message with the line ends that it is sent with, without transparency (RFC 1870 3)."""
    content = message.content
    if message.is_canonical:
        return message.size
    added = 2 if content and not content.endswith((b"\n", b"\r")) else 0
    if has_bare_line_end(content):
        added += content.count(b"\n") + content.count(b"\r") - 2 * content.count(b"\r\n")
    return message.size + added


def mail_data(message: Transmission) -> bytes:  # hot: micro_smtp
    """The message as mail data, with transparency and its end."""
    header, content = message.header, message.content
    if not message.is_canonical:
        content = _transparent(content)
    if content.endswith(b"\r\n") or not content:
        return b"%b%b.\r\n" % (header, content)
    return b"%b%b\r\n.\r\n" % (header, content)


def is_safe_header(header: bytes) -> bool:  # hot: micro_smtp
    """Whether added header fields can go on the wire as they are: whole lines, none of them empty or beginning with a dot."""
    return (
        header.endswith(b"\r\n")
        and not header.startswith(b"\r\n")
        and b"\r\n\r\n" not in header
        and not has_dot_line(header)
        and not has_bare_line_end(header)
    )


def _transparent(content: bytes) -> bytes:
    """``content`` with CRLF for every line end, and another dot before every line that begins with one."""
    if has_bare_line_end(content):
        content = with_crlf(content)
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..") if b"\r\n." in content else content

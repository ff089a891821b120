"""What one transaction sends: the envelope's commands and the mail data, written so that nothing in them can be read as something else.

Everything is checked again here, at the last place before the wire, whoever checked it before: an address that is not one path and a
notification parameter that is not one word are refused, a bare CR or LF never leaves, and every line that begins with a dot is given
another (RFC 5321 4.5.2). A chunk has no transparency; its octets are counted instead (RFC 3030 2). The one thing believed is
``is_canonical``, which ``data`` found when the message came in: looking again costs as much as all the rest of a transaction.

What was asked about notifications is passed on where DSN is offered. Where it is not, none of it may be said (RFC 3461 5.2.2), and the
notifications that were asked for become ours to send; ``docs/decisions/0009-client-session.md`` says which.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.address import Address, ReversePath
from penstock.mail.dsn import NOTHING_ASKED, EnvelopeDsn, RecipientDsn, is_envelope_id, is_original_recipient
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.smtp.capabilities import Capabilities
from penstock.smtp.data import has_bare_line_end, has_dot_line, with_crlf

# What is one path and nothing more, however lenient: a local part without anything that ends a path or a line or begins a parameter (or a
# source route), or a quoted string, which may hold all but controls; then a domain without such a thing.
_PATH = re.compile(
    rb"(?:[^\x00-\x20\x7f<>\"@]++|\"(?:[^\"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*+\")@[^\x00-\x20\x7f<>\"@,]++"
)
_RET: Final = frozenset({"FULL", "HDRS"})
_NOTIFY: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_NEVER: Final = ("NEVER",)


class Unwritable(ValueError):
    """A command cannot be written as it would have to be; ``reply`` says so to whoever asks why the mail failed."""

    def __init__(self, code: int, enhanced: str, what: str) -> None:
        super().__init__(what)
        self.reply = reply(code, enhanced, INTERNAL + what)


class Transmission(msgspec.Struct, frozen=True):
    """One transaction to be made: ``header`` goes before ``content``; both as they are stored, without transparency.

    ``is_canonical`` says that ``content`` was found to need nothing: every line ends with CRLF and none begins with a dot. ``dsn`` has
    something for each of ``recipients``, in their order; None where nothing was asked.
    """

    reverse_path: ReversePath
    recipients: tuple[Address, ...]
    header: bytes
    content: bytes
    eight_bit: bool
    smtputf8: bool
    is_canonical: bool = False
    dsn: EnvelopeDsn | None = None

    @property
    def size(self) -> int:
        """Octets of the message."""
        return len(self.header) + len(self.content)


def unsendable(
    message: Transmission, peer: Capabilities, *, ignore_8bit_checks: bool = False
) -> Reply | None:
    """Why this peer cannot be given this message at all, or None. It is permanent: the message will not change."""
    if message.eight_bit and not peer.eight_bit and not ignore_8bit_checks:
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


def _path(address: Address) -> bytes | None:  # hot: micro_smtp
    """The address as a path without its brackets; None if it cannot be written as one."""
    try:
        octets = f"{address.local_part}@{address.domain}".encode()
    except UnicodeEncodeError:
        return None
    return octets if _PATH.fullmatch(octets) else None


def mail_command(message: Transmission, peer: Capabilities) -> bytes:  # hot: micro_smtp
    """The MAIL command with the parameters that this peer understands; Unwritable if one of them, or the path, cannot be written."""
    path = _path(message.reverse_path) if message.reverse_path is not None else b""
    if path is None:
        raise Unwritable(553, "5.1.7", "the reverse-path cannot be written as a path")
    line = b"MAIL FROM:<%b>" % path
    if peer.has_size:
        line += b" SIZE=%d" % _sent_size(message)
    if peer.eight_bit and message.eight_bit:
        line += b" BODY=8BITMIME"
    if peer.smtputf8 and _uses_utf8(message):
        line += b" SMTPUTF8"
    if message.dsn is not None and peer.dsn:
        line += _envelope_parameters(message.dsn)
    return line + b"\r\n"


def _envelope_parameters(dsn: EnvelopeDsn) -> bytes:
    """RET and ENVID (RFC 3461 4.3, 4.4), those that were given."""
    parameters = b""
    if dsn.ret:
        if dsn.ret not in _RET:
            raise Unwritable(501, "5.5.4", "the parameter RET cannot be written")
        parameters += b" RET=%b" % dsn.ret.encode()
    if dsn.envelope_id:
        envelope_id = dsn.envelope_id.encode("utf-8", "surrogatepass")
        if not is_envelope_id(envelope_id):
            raise Unwritable(501, "5.5.4", "the parameter ENVID cannot be written")
        parameters += b" ENVID=%b" % envelope_id
    return parameters


def _recipient_parameters(dsn: RecipientDsn) -> bytes:
    """NOTIFY and ORCPT (RFC 3461 4.1, 4.2), those that were given."""
    parameters = b""
    if notify := dsn.notify:
        if notify != _NEVER and (len(set(notify)) != len(notify) or not _NOTIFY.issuperset(notify)):
            raise Unwritable(501, "5.5.4", "the parameter NOTIFY cannot be written")
        parameters += b" NOTIFY=%b" % ",".join(notify).encode()
    if dsn.original:
        original = dsn.original.encode("utf-8", "surrogatepass")
        if not is_original_recipient(original):
            raise Unwritable(501, "5.5.4", "the parameter ORCPT cannot be written")
        parameters += b" ORCPT=%b" % original
    return parameters


def _uses_utf8(message: Transmission) -> bool:
    if message.smtputf8:
        return True
    if message.reverse_path is not None and not message.reverse_path.is_ascii:
        return True
    return not all(recipient.is_ascii for recipient in message.recipients)


def rcpt_command(recipient: Address, dsn: RecipientDsn = NOTHING_ASKED) -> bytes:  # hot: micro_smtp
    """The RCPT command with what is asked about notifications; Unwritable if that, or the recipient, cannot be written."""
    path = _path(recipient)
    if path is None:
        raise Unwritable(553, "5.1.3", "the address cannot be written as a path")
    if dsn is NOTHING_ASKED:
        return b"RCPT TO:<%b>\r\n" % path
    return b"RCPT TO:<%b>%b\r\n" % (path, _recipient_parameters(dsn))


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


def chunk(message: Transmission) -> bytes:  # hot: micro_smtp
    """The message as one BDAT command and its only chunk (RFC 3030): its octets are counted, and dots are nothing special."""
    header, content = message.header, message.content
    if not message.is_canonical and has_bare_line_end(content):
        content = with_crlf(content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    return b"BDAT %d LAST\r\n%b%b" % (len(header) + len(content), header, content)


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

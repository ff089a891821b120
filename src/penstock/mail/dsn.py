"""What a client asks about delivery status notifications (RFC 3461), kept with a message and passed on as it came.

All texts are as on the wire, xtext not decoded: what was checked on its way in is what is checked again on its way out.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

# xtext = *( xchar / hexchar ); hexchar = "+" 2(%x30-39 / %x41-46) (RFC 3461 4)
_XTEXT: Final = rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
# ORCPT=addr-type;xtext (RFC 3461 4.2); addr-type is an atom
_ORIGINAL_RECIPIENT: Final = re.compile(rb"[A-Za-z0-9-]{1,60};" + _XTEXT + rb"{1,440}")
# ENVID has at most 100 characters (RFC 3461 4.4)
_ENVELOPE_ID: Final = re.compile(_XTEXT + rb"{1,100}")
# EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}" (RFC 6533 3), of the address type utf-8
_EMBEDDED: Final = re.compile(rb"\\x\{([0-9A-Fa-f]{1,8})\}")
_DECODED: Final = re.compile(rb"\+([0-9A-F]{2})")


class RecipientDsn(msgspec.Struct, frozen=True, gc=False):
    """NOTIFY and ORCPT of one recipient. ``notify`` is ``()`` where not given, else ``NEVER`` alone or some of SUCCESS, FAILURE, DELAY."""

    notify: tuple[str, ...] = ()
    original: str = ""


class EnvelopeDsn(msgspec.Struct, frozen=True, gc=False):
    """RET (``FULL``, ``HDRS`` or "") and ENVID of a message, and what was asked of each of its recipients, in their order."""

    ret: str = ""
    envelope_id: str = ""
    recipients: tuple[RecipientDsn, ...] = ()


NOTHING_ASKED: Final = RecipientDsn()


def decoded_xtext(wire: bytes) -> bytes:
    """The octets that an xtext stands for."""
    return _DECODED.sub(lambda match: bytes([int(match[1], 16)]), wire)


def _is_printable(octets: bytes) -> bool:
    return all(0x20 <= octet <= 0x7E for octet in octets)


def is_envelope_id(wire: bytes) -> bool:
    """Whether ``wire`` can be the value of ENVID. What decodes to controls cannot: it is copied into header fields (CVE-2020-28026)."""
    return _ENVELOPE_ID.fullmatch(wire) is not None and _is_printable(decoded_xtext(wire))


def is_original_recipient(wire: bytes) -> bool:
    """Whether ``wire`` can be the value of ORCPT: an address type, a semicolon, an xtext without controls in it.

    It may stand for UTF-8: Postfix writes the addresses of SMTPUTF8 so, under the type rfc822.
    """
    if not _ORIGINAL_RECIPIENT.fullmatch(wire):
        return False
    decoded = decoded_xtext(wire)
    if any(octet < 0x20 or octet == 0x7F for octet in decoded):
        return False
    return not any(_is_control(int(match[1], 16)) for match in _EMBEDDED.finditer(decoded))


def _is_control(code_point: int) -> bool:
    """C0, C1, DEL, or no character at all."""
    return code_point < 0x20 or 0x7F <= code_point < 0xA0 or code_point > 0x10FFFF

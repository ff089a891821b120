"""Which protocols a client asks for in its ClientHello (ALPN, RFC 7301).

OpenSSL by way of Python goes on where no protocol is common to both sides. RFC 7301 3.2 has it refused, and so do we: a browser that was led
here (ALPACA) offers HTTP, and must not get as far as sending anything. Clients that offer nothing, as most mail servers,
are not concerned. Only what is needed to find the extension is parsed; whatever is not a ClientHello is left to OpenSSL to refuse.
"""

from __future__ import annotations

from typing import Final

#: Protocol names that are SMTP. Neither is registered with IANA; these are the ones in use (Exim's ``tls_alpn``).
SMTP_PROTOCOLS: Final = ("smtp", "esmtp")
#: RFC 8446 6: a fatal alert, no_application_protocol(120), in a record of TLS 1.2, which all versions read at this point.
NO_APPLICATION_PROTOCOL: Final = bytes((21, 3, 3, 0, 2, 2, 120))

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16
_RECORD_HEADER: Final = 5
#: RFC 8446 4.1.2: the message's type and length (4), legacy_version (2), random (32).
_FIXED: Final = 38


def offered_protocols(octets: bytes | bytearray) -> tuple[str, ...] | None:
    """The protocol names in the ClientHello that ``octets`` begin with; ``()`` if it has none, or this is no ClientHello; None if more is needed."""
    message = bytearray()
    at = 0
    while True:
        if len(octets) < at + _RECORD_HEADER:
            return None if not octets or octets[0] == _HANDSHAKE else ()
        if octets[at] != _HANDSHAKE:
            return ()
        end = at + _RECORD_HEADER + int.from_bytes(octets[at + 3 : at + _RECORD_HEADER], "big")
        message += octets[at + _RECORD_HEADER : end]
        if message and message[0] != _CLIENT_HELLO:
            return ()
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return _protocols(bytes(message))
        if len(octets) < end:
            return None
        if end == at + _RECORD_HEADER:
            return ()  # an empty record, RFC 8446 5.1: not allowed
        at = end


def _protocols(message: bytes) -> tuple[str, ...]:
    try:
        return _names(_extension(message))
    except IndexError:
        return ()


def _extension(message: bytes) -> bytes:
    """The content of the ALPN extension, ``b""`` if there is none; IndexError if the message does not hold what it says."""
    at = _FIXED
    at += 1 + message[at]  # legacy_session_id<0..32>
    at += 2 + _number(message, at)  # cipher_suites<2..2^16-2>
    at += 1 + message[at]  # legacy_compression_methods<1..2^8-1>
    end = at + 2 + _number(message, at)
    at += 2
    while at < end:
        kind, length = _number(message, at), _number(message, at + 2)
        if kind == _ALPN:
            return message[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def _names(extension: bytes) -> tuple[str, ...]:
    """The names of a ProtocolNameList (RFC 7301 3.1)."""
    names = []
    at = 2
    while at < len(extension):
        length = extension[at]
        names.append(extension[at + 1 : at + 1 + length].decode("ascii", "backslashreplace"))
        at += 1 + length
    return tuple(names)


def _number(message: bytes, at: int) -> int:
    return message[at] << 8 | message[at + 1]

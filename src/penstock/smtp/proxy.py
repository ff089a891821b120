"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): who a connection is from, said before its first octet.

A header is whole and right, or the connection is closed without a word: what stands behind a wrong one is not known.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

# "PROXY" SP protocol SP source SP destination SP port SP port CRLF; UNKNOWN may be followed by anything
_TEXT = re.compile(
    rb"PROXY (?:(TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) ([0-9]{1,5}) ([0-9]{1,5})|UNKNOWN(?: [^\r\n]*)?)\r\n"
)
#: Octets of a header of version 1, CRLF included.
_TEXT_LIMIT: Final = 107
_TEXT_START: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
#: Addresses take 36 octets at most here; what follows them (TLVs) is skipped, within reason.
_LENGTH_LIMIT: Final = 4096
_TCP4: Final = 0x11
_TCP6: Final = 0x21


class ProxyError(Exception):
    """This is no PROXY header; ``str()`` of it says why. The connection is to be closed."""


class ProxyHeader(msgspec.Struct, frozen=True):
    """Who the connection is from and to; ``is_local`` says that the proxy speaks for itself, or cannot say."""

    source_address: str = ""
    source_port: int = 0
    destination_address: str = ""
    destination_port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the connection's own addresses hold."""
        return not self.source_address


class ProxyReader:
    """Collects a header from the first octets of a connection. ``rest`` is what came behind it."""

    __slots__ = ("_buffer", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take octets; the header once it is whole. ProxyError if there will be none."""
        buffer = self._buffer = self._buffer + data
        if buffer[: len(_SIGNATURE)] == _SIGNATURE[: len(buffer)]:
            return self._binary(buffer)
        if buffer[: len(_TEXT_START)] == _TEXT_START[: len(buffer)]:
            return self._text(buffer)
        raise ProxyError("the connection does not begin with a PROXY header")

    def _text(self, buffer: bytes) -> ProxyHeader | None:
        end = buffer.find(b"\r\n", 0, _TEXT_LIMIT)
        if end < 0:
            if len(buffer) >= _TEXT_LIMIT or b"\n" in buffer:
                raise ProxyError("a PROXY header of version 1 has at most 107 octets")
            return None
        match = _TEXT.fullmatch(buffer[: end + 2])
        if match is None:
            raise ProxyError("a PROXY header of version 1 is malformed")
        self.rest = buffer[end + 2 :]
        if match[1] is None:
            return ProxyHeader()
        family = IPv4Address if match[1] == b"TCP4" else IPv6Address
        try:
            source, destination = (str(family(match[place].decode("ascii"))) for place in (2, 3))
        except AddressValueError:
            raise ProxyError("a PROXY header of version 1 has no valid addresses") from None
        ports = int(match[4]), int(match[5])
        if max(ports) > 65_535:
            raise ProxyError("a PROXY header of version 1 has no valid ports")
        return ProxyHeader(source, ports[0], destination, ports[1])

    def _binary(self, buffer: bytes) -> ProxyHeader | None:
        if len(buffer) < _FIXED:
            return None
        version, command, family = buffer[12] >> 4, buffer[12] & 0x0F, buffer[13]
        length = int.from_bytes(buffer[14:16], "big")
        if version != 2 or command > 1 or length > _LENGTH_LIMIT:
            raise ProxyError("a PROXY header of version 2 is malformed")
        if len(buffer) < _FIXED + length:
            return None
        self.rest = buffer[_FIXED + length :]
        if command == 0 or family not in (_TCP4, _TCP6):
            return ProxyHeader()
        return _addresses(buffer[_FIXED : _FIXED + length], 4 if family == _TCP4 else 16)


def _addresses(block: bytes, width: int) -> ProxyHeader:
    """src_addr, dst_addr, src_port, dst_port, in network order."""
    if len(block) < 2 * width + 4:
        raise ProxyError("a PROXY header of version 2 is too short for its addresses")
    kind = IPv4Address if width == 4 else IPv6Address
    ports = block[2 * width : 2 * width + 4]
    return ProxyHeader(
        str(kind(block[:width])),
        int.from_bytes(ports[:2], "big"),
        str(kind(block[width : 2 * width])),
        int.from_bytes(ports[2:], "big"),
    )

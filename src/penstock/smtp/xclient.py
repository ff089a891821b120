"""XCLIENT (Postfix's XCLIENT_README): a trusted proxy says for whom it speaks. Of its attributes, those of addresses and ports."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import msgspec

from penstock.mail.dsn import decoded_xtext
from penstock.mail.reply import reply
from penstock.smtp.command import Refusal

ATTRIBUTES: Final = ("ADDR", "PORT", "DESTADDR", "DESTPORT")
NOT_ALLOWED: Final = reply(550, "5.7.1", "this client may not use XCLIENT")
_SYNTAX: Final = reply(
    501, "5.5.4", f"the syntax is XCLIENT attribute=value...; attributes are {' '.join(ATTRIBUTES)}"
)
_ATTRIBUTE = re.compile(rb"([A-Za-z]{1,20})=((?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2}){1,255})")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
#: Said where the proxy does not know.
_UNKNOWN: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


class Xclient(msgspec.Struct, frozen=True):
    """The client's address and port and those that it connected to; "" and 0 where nothing was said about them."""

    address: str = ""
    port: int = 0
    destination_address: str = ""
    destination_port: int = 0


def parse_xclient(argument: bytes) -> Xclient:
    """XCLIENT's argument; Refusal if there is anything in it that is not understood."""
    found: dict[str, str] = {}
    for word in argument.split():
        match = _ATTRIBUTE.fullmatch(word)
        name = match[1].decode("ascii").upper() if match is not None else ""
        if match is None or name not in ATTRIBUTES or name in found:
            raise Refusal(_SYNTAX)
        found[name] = decoded_xtext(match[2].upper()).decode("ascii", "replace")
    if not found:
        raise Refusal(_SYNTAX)
    return Xclient(
        _address(found.get("ADDR", _UNKNOWN[0])),
        _port(found.get("PORT", _UNKNOWN[0])),
        _address(found.get("DESTADDR", _UNKNOWN[0])),
        _port(found.get("DESTPORT", _UNKNOWN[0])),
    )


def _address(text: str) -> str:
    if text in _UNKNOWN:
        return ""
    try:
        if text.startswith("IPV6:"):
            return str(IPv6Address(text[5:]))
        return str(IPv4Address(text))
    except AddressValueError:
        raise Refusal(_SYNTAX) from None


def _port(text: str) -> int:
    if text in _UNKNOWN:
        return 0
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65_536:
        raise Refusal(_SYNTAX)
    return int(text)

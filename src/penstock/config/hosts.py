"""Kinds that name machines: domain names, addresses, endpoints, networks, MX answers.

Addresses are kept in the canonical text of ``ipaddress``. IPv6 zones (``fe80::1%eth0``) are refused: they mean something on one machine only,
and nothing else here does.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from penstock.config.kinds import Kind
from penstock.config.refusal import quote, refused, unexpected
from penstock.mail.address import DOMAIN_LIMIT, AddressError, parse_domain
from penstock.mail.configuration import Endpoint
from penstock.mail.network import Network

_PORT_MOST: Final = 65535
# address [":" port]; an IPv6 address with a port is in brackets
_ENDPOINT = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<four>[^\[\]:]*))(?::(?P<port>[^:]*))?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PREFIX = re.compile(r"[0-9]{1,3}", re.ASCII)
# preference SP host
_MX = re.compile(r"(?:(?P<preference>[0-9]{1,5}) +)?(?P<host>\S+)", re.ASCII)
#: For an MX that is given without one. Only its being equal for all such matters.
MX_PREFERENCE: Final = 10
#: RFC 7505: the exchange of a null MX.
ROOT: Final = "."


def _text(value: object, expected: str, example: str) -> str:
    if not isinstance(value, str):
        raise unexpected(expected, value, f"write {example}")
    return value


def _address(text: str, hint: str) -> IPv4Address | IPv6Address:
    try:
        if "%" not in text and len(text) <= DOMAIN_LIMIT:
            return ipaddress.ip_address(text)
    except ValueError:
        pass
    zone = " (zones are not supported)" if "%" in text else ""
    raise refused(f"{quote(text)} is no IP address{zone}", hint)


def _domain_name(value: object) -> str:
    text = _text(value, "a domain name", '"mta1.example.com"')
    try:
        # a literal is where mail goes, not what a machine or a zone is called
        if len(text) <= DOMAIN_LIMIT and not text.startswith("["):
            return parse_domain(text)
    except AddressError:
        pass
    raise refused(f"{quote(text)} is no valid domain name", 'write a name such as "mta1.example.com"')


def _endpoint(value: object, default_port: int | None, lowest: int, example: str) -> Endpoint:
    hint = f"write {example}"
    text = _text(value, "an address with a port", example)
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        # "::1:53" without brackets is an address of its own
        raise refused(
            f"{quote(text)} is no address with a port", 'an IPv6 address needs brackets: "[::1]:2525"'
        )
    bracketed = match["six"] is not None
    address = _address(match["six"] if bracketed else match["four"], hint)
    if bracketed != (address.version == 6):
        raise refused(f"{quote(text)} has an IPv4 address in brackets", f"write {address} without them")
    port = match["port"]
    if port is None and default_port is not None:
        return Endpoint(str(address), default_port)
    if port is None:
        raise refused(f"{quote(text)} has no port", hint)
    return Endpoint(str(address), _port(port, lowest))


def _port(text: str, lowest: int) -> int:
    if not _PORT.fullmatch(text) or not lowest <= int(text) <= _PORT_MOST:
        raise refused(f"{quote(text)} is no port", f"write {lowest} to {_PORT_MOST}")
    return int(text)


def _network(value: object) -> Network:
    example = '"192.0.2.0/24" or "192.0.2.1"'
    text = _text(value, "a network or an address", example)
    base, slash, prefix = text.partition("/")
    address = _address(base, f"write {example}")
    width = address.max_prefixlen
    if slash and (not _PREFIX.fullmatch(prefix) or int(prefix) > width):
        raise refused(
            f"{quote('/' + prefix)} is no prefix length", f"write /0 to /{width}, as in {address}/{width}"
        )
    network = ipaddress.ip_network((address, int(prefix) if slash else width), strict=False)
    if network.network_address != address:
        raise refused(
            f"{quote(text)} has bits set beyond its prefix",
            f'write "{network}" for the network, or "{address}" for the one address',
        )
    return network


def _ipv4(value: object) -> str:
    text = _text(value, "an IPv4 address", '"192.0.2.1"')
    address = _address(text, 'write "192.0.2.1"')
    if address.version != 4:
        raise refused(f"{quote(text)} is no IPv4 address", "give it under aaaa")
    return str(address)


def _ipv6(value: object) -> str:
    text = _text(value, "an IPv6 address", '"2001:db8::1"')
    address = _address(text, 'write "2001:db8::1"')
    if address.version != 6:
        raise refused(f"{quote(text)} is no IPv6 address", "give it under a")
    return str(address)


def _mx(value: object) -> tuple[int, str]:
    example = '"mx.example.com" or "10 mx.example.com"'
    text = _text(value, "an MX host", example)
    match = _MX.fullmatch(text.strip(" "))
    if match is None:
        raise refused(f"{quote(text)} is no MX", f"write {example}")
    preference = int(match["preference"]) if match["preference"] else MX_PREFERENCE
    if preference > _PORT_MOST:
        raise refused(f"the preference {preference} is out of range", "write 0 to 65535")
    return preference, ROOT if match["host"] == ROOT else _domain_name(match["host"])


def _pattern(value: object) -> str:
    if isinstance(value, str) and value.startswith("*."):
        return f"*.{_domain_name(value[2:])}"
    return _domain_name(value)


def _mail_domain(value: object) -> str:
    if isinstance(value, str) and value.startswith("[") and len(value) <= DOMAIN_LIMIT:
        try:
            return parse_domain(value)
        except AddressError:
            raise refused(f"{quote(value)} is no address literal", 'write "[192.0.2.1]"') from None
    return _domain_name(value)


def _mail_domain_pattern(value: object) -> str:
    if value == "*":
        raise refused('"*" is no domain', "what holds for all domains is in [queue.default]")
    return _pattern(value) if isinstance(value, str) and value.startswith("*.") else _mail_domain(value)


#: A domain name, or ``*.`` in front of one for all names below it.
DOMAIN_PATTERN = Kind("domain name, or `*.` and one", _pattern)
#: A name of a host or domain, in lower-case A-labels; no address literal.
DOMAIN_NAME = Kind("domain name", _domain_name)
#: A domain that mail is for: a name, or an address literal.
MAIL_DOMAIN = Kind("domain name or address literal", _mail_domain)
#: The same for the name of a table, or ``*.`` in front of a name for all names below it.
MAIL_DOMAIN_PATTERN = Kind("domain name, `*.` and one, or address literal", _mail_domain_pattern)
#: Where a listener listens; port 0 is any free one.
ENDPOINT = Kind("address and port", lambda value: _endpoint(value, None, 0, '"127.0.0.1:2525"'))
#: Where a name server answers; port 53 if none is given.
NAMESERVER = Kind("address, and port or 53", lambda value: _endpoint(value, 53, 1, '"127.0.0.1:53"'))
#: A network in CIDR notation without host bits, or one address.
NETWORK: Kind[Network] = Kind("network or address", _network)
#: The same for the name of a table, in canonical text.
NETWORK_NAME = Kind(NETWORK.name, lambda value: str(_network(value)))
IPV4 = Kind("IPv4 address", _ipv4)
IPV6 = Kind("IPv6 address", _ipv6)
#: (preference, host); the host "." is the null MX of RFC 7505.
MX = Kind('"host" or "preference host"', _mx)

"""DNS for hooks: addresses, MX, TXT and PTR records, and DNS lists (RFC 5782).

``await dns.a("example.com")`` gives what there is, an empty tuple where there is nothing, and raises ``LookupFailed`` where nobody knows:
a timeout, a server that fails. A hook that lets it pass has the mail deferred. Nothing is remembered here; ``cached`` does that.

Questions go to the system's nameservers, or to those that ``use_nameservers`` was given. Names are absolute: search domains are never used.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename

from penstock.mail.configuration import Endpoint
from penstock.mail.network import parse_ip
from penstock.mail.reply import printable

#: Seconds for one question, its repetitions included, and for one nameserver to answer before the next is asked.
LIFETIME: Final = 3.0
_TRY: Final = 1.0
_EDNS_PAYLOAD: Final = 1232
#: Records of an answer that are given, in its order; characters of one text.
RECORDS_LIMIT: Final = 100
_TEXT_LIMIT: Final = 4096
_LOOPBACK: Final = ip_network("127.0.0.0/8")
#: Codes by which lists say that they do not answer this client (Spamhaus, SURBL and others).
_REFUSED: Final = ip_network("127.255.255.0/24")


class LookupFailed(Exception):
    """Nobody could say now whether there is such a record. ``str()`` of it says why."""


class _Resolving:
    """The resolver that is asked; None until the first question."""

    nameservers: tuple[Endpoint, ...] = ()
    resolver: dns.asyncresolver.Resolver | None = None


def use_nameservers(nameservers: Sequence[Endpoint | str]) -> None:
    """Ask these from now on, written ``address:port`` or ``[address]:port``; none for the system's. ValueError for what is no such."""
    _Resolving.nameservers = tuple(
        given if isinstance(given, Endpoint) else _endpoint(given) for given in nameservers
    )
    _Resolving.resolver = None


def _endpoint(text: str) -> Endpoint:
    address, colon, port = text.rpartition(":")
    try:
        checked = str(ip_address(address.removeprefix("[").removesuffix("]")))
        if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"a nameserver is written '192.0.2.53:53' or '[2001:db8::53]:53', not {text!r}"
        ) from error
    return Endpoint(checked, int(port))


async def a(name: str) -> tuple[str, ...]:
    """The IPv4 addresses of a host."""
    return await _texts(name, dns.rdatatype.A)


async def aaaa(name: str) -> tuple[str, ...]:
    """The IPv6 addresses of a host."""
    return await _texts(name, dns.rdatatype.AAAA)


async def mx(name: str) -> tuple[tuple[int, str], ...]:
    """The MX records of a domain, as (preference, host) in order of preference; the null MX (RFC 7505) is ``((0, ""),)``."""
    found = await _records(_absolute(name), name, dns.rdatatype.MX)
    return tuple(sorted((int(record.preference), _host(record.exchange)) for record in found))


async def txt(name: str) -> tuple[str, ...]:
    """The TXT records of a name, the strings of each put together (RFC 7208 3.3), as UTF-8."""
    found = await _records(_absolute(name), name, dns.rdatatype.TXT)
    return tuple(b"".join(record.strings)[:_TEXT_LIMIT].decode("utf-8", "replace") for record in found)


async def ptr(address: str) -> tuple[str, ...]:
    """The host names of an IP address (RFC 1035 3.5), ValueError if it is none. Anyone can claim any name: ask for its addresses too."""
    reverse = dns.reversename.from_address(str(ip_address(address)))
    return tuple(_host(record.target) for record in await _records(reverse, address, dns.rdatatype.PTR))


async def rbl(address: str, zone: str) -> tuple[str, ...] | None:
    """What a DNS list says of an IP address: its codes, such as ``("127.0.0.2",)``, or None if it is not listed (RFC 5782 2.1).

    ValueError for what is no address. LookupFailed where the list answers nobody, or not us, or with something that is no code.
    """
    labels = parse_ip(address).reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    codes = await a(f"{labels}.{zone.rstrip('.')}")
    for code in codes:
        if ip_address(code) not in _LOOPBACK:
            raise LookupFailed(f"{zone} answers {code}, which is no code of a list")
        if ip_address(code) in _REFUSED:
            raise LookupFailed(f"{zone} does not answer questions of this server ({code})")
    return codes or None


async def _texts(name: str, kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
    return tuple(record.to_text() for record in await _records(_absolute(name), name, kind))


async def _records(name: dns.name.Name, asked: str, kind: dns.rdatatype.RdataType) -> list[Any]:
    """The records of one type, of that type's class; LookupFailed if nobody knows whether there are any."""
    try:
        answer = await _resolver().resolve(
            name,
            kind,
            search=False,
            raise_on_no_answer=False,
            lifetime=LIFETIME,
            backend=dns.asyncbackend.get_backend("asyncio"),
        )
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise LookupFailed(f"{kind.name} of {printable(asked)}: {_reason(error)}") from None
    return list(answer.rrset or ())[:RECORDS_LIMIT]


def _resolver() -> dns.asyncresolver.Resolver:
    if _Resolving.resolver is None:
        given = [dns.nameserver.Do53Nameserver(item.address, item.port) for item in _Resolving.nameservers]
        made = dns.asyncresolver.Resolver(configure=not given)
        if given:
            made.nameservers = given
        made.timeout = _TRY
        made.use_edns(0, 0, _EDNS_PAYLOAD)
        _Resolving.resolver = made
    return _Resolving.resolver


def _absolute(name: str) -> dns.name.Name:
    """``name`` as labels; LookupFailed if DNS cannot carry it."""
    try:
        return dns.name.Name([*(label.encode("utf-8") for label in name.rstrip(".").split(".")), b""])
    except (dns.exception.DNSException, UnicodeError):
        raise LookupFailed(f"{printable(name[:100])} is no name that DNS can carry") from None


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _reason(error: Exception) -> str:
    match error:
        case dns.exception.Timeout():
            return "timeout"
        case dns.resolver.NoNameservers():
            return "no nameserver gives an answer"
        case dns.resolver.NoResolverConfiguration():
            return "no nameserver is configured"
        case OSError():
            return "no nameserver can be reached"
        case _:
            return "malformed answer"

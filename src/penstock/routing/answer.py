"""What DNS said, as values. Names are texts as they came: nothing here has been validated, and ``plan`` is where hostile ones end.

An answer that says "there is none" (``NoSuchDomain``, ``NoData``) is knowledge and may settle a message's fate; ``LookupFailed`` is the lack
of it, and never settles anything (RFC 5321 5.1: a failed lookup is reported as a temporary error).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import msgspec

from penstock.mail.duration import Seconds

IPAddress = IPv4Address | IPv6Address


class Exchange(msgspec.Struct, frozen=True, order=True):
    """One MX record (RFC 1035 3.3.9): a lower ``preference`` is tried first. Its order is that of an MX plan, names settling ties."""

    preference: int
    host: str


class MxAnswer(msgspec.Struct, frozen=True):
    """The MX records of a domain, in no order. ``ttl`` is the smallest of the alias chain and the records."""

    exchanges: tuple[Exchange, ...]
    ttl: Seconds


class AddressAnswer(msgspec.Struct, frozen=True):
    """The IPv6 and IPv4 addresses of a host, at least one."""

    addresses: tuple[IPAddress, ...]
    ttl: Seconds


class NoSuchDomain(msgspec.Struct, frozen=True):
    """NXDOMAIN: the name has no records of any type, nor has any name below it (RFC 8020). ``ttl`` is None where no SOA came along."""

    ttl: Seconds | None = None


class NoData(msgspec.Struct, frozen=True):
    """The name exists, with no records of the type asked for (RFC 2308 2.2). ``ttl`` is None where no SOA came along."""

    ttl: Seconds | None = None


class LookupFailed(msgspec.Struct, frozen=True):
    """Nobody knows: a timeout, SERVFAIL, REFUSED, no nameserver, a malformed answer. ``reason`` is short, ours, and fit for a reply."""

    reason: str


MxResult = MxAnswer | NoSuchDomain | NoData | LookupFailed
AddressResult = AddressAnswer | NoSuchDomain | NoData | LookupFailed

#: A host of which only one family could be looked up is asked again after this at the latest: the other may answer by then.
HALF_ANSWER_TTL = Seconds(300.0)


def merge_addresses(ipv4: AddressResult, ipv6: AddressResult) -> AddressResult:
    """What the A and the AAAA answer of one host say together: addresses if there are any; unknown if either is; else that there are none."""
    results = (ipv6, ipv4)
    found = [result for result in results if isinstance(result, AddressAnswer)]
    failed = [result for result in results if isinstance(result, LookupFailed)]
    if found:
        ttl = min(answer.ttl for answer in found)
        addresses = tuple(address for answer in found for address in answer.addresses)
        return AddressAnswer(addresses, min(ttl, HALF_ANSWER_TTL) if failed else ttl)
    if failed:
        return failed[0]
    missing = [result for result in results if isinstance(result, NoSuchDomain | NoData)]
    ttls = [result.ttl for result in missing if result.ttl is not None]
    ttl_or_none = min(ttls) if ttls else None
    if any(isinstance(result, NoSuchDomain) for result in missing):
        return NoSuchDomain(ttl_or_none)
    return NoData(ttl_or_none)

"""From a domain's MX answer to its route, or to the reason why there is none (RFC 5321 5.1, RFC 7505).

Two steps, because the second needs lookups that the first names: ``plan_route`` orders the MX hosts, ``confirm_route`` holds their addresses
against them. Preferences are part of a route, not of its site: two domains with the same hosts in another order share a site.

What is permanent: the domain does not exist, or says that it takes no mail. All else is temporary, because the operator of the domain may not
have meant it and late mail is better than lost mail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import msgspec

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.records import INTERNAL
from penstock.mail.reply import Reply, reply
from penstock.routing import lifetime
from penstock.routing.answer import (
    AddressAnswer,
    AddressResult,
    Exchange,
    IPAddress,
    LookupFailed,
    MxResult,
    NoData,
    NoSuchDomain,
)
from penstock.routing.site import host_name, site_name

#: MX hosts of a domain beyond these, the least preferred, are left out. More than ``targets.TARGET_LIMIT``, so that hosts without
#: addresses leave enough of the others; the largest providers list about ten.
EXCHANGE_LIMIT: Final = 32


class Route(msgspec.Struct, frozen=True):
    """Where a domain's mail goes: the site, and its MX hosts in the order of their preference. Believed until ``expires``."""

    site: str
    exchanges: tuple[Exchange, ...]
    expires: MonotonicTime


class Unroutable(msgspec.Struct, frozen=True):
    """Why a domain's mail goes nowhere, as the reply that the message gets. Asked again after ``until``.

    ``failures`` counts the failed lookups in a row that led here; 0 where the answer was clear.
    """

    reply: Reply
    is_permanent: bool
    until: MonotonicTime
    failures: int = 0


def literal_address(domain: str) -> IPAddress | None:
    """The address of an address literal in its canonical form, such as ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``; None for a name."""
    if not domain.startswith("["):
        return None
    inner = domain[1:-1]
    return IPv6Address(inner[5:]) if inner.startswith("IPv6:") else IPv4Address(inner)


def literal_route(domain: str, now: MonotonicTime) -> Route:
    """The route of an address literal: the address itself, a site of its own (RFC 5321 2.3.5, 4.1.3). Nothing is looked up for it."""
    return Route(domain, (Exchange(0, domain),), MonotonicTime(now + lifetime.CEILING))


def plan_route(domain: str, mx: MxResult, now: MonotonicTime, failures: int = 0) -> Route | Unroutable:
    """The route that a domain's MX answer gives, its hosts' addresses not yet known.

    ``failures`` is how many lookups of this domain had failed in a row before.
    """
    match mx:
        case LookupFailed():
            return lookup_failed(f"MX records of {domain}", mx, now, failures)
        case NoSuchDomain():
            return refusal(550, "5.1.2", "domain does not exist", now, lifetime.negative(mx.ttl))
        case NoData():
            # RFC 5321 5.1: the implicit MX, of preference 0
            return _route(domain, [Exchange(0, domain)], now, lifetime.negative(mx.ttl))
        case _:
            if mx.exchanges and all(exchange.host == "." for exchange in mx.exchanges):
                # RFC 7505 3. Beside other records such an entry means nothing and is dropped with the other invalid names.
                text = "domain accepts no mail (null MX)"
                return refusal(556, "5.1.10", text, now, lifetime.positive(mx.ttl))
            return _route(domain, mx.exchanges, now, lifetime.positive(mx.ttl))


def _route(domain: str, listed: Iterable[Exchange], now: MonotonicTime, keep: Seconds) -> Route | Unroutable:
    best: dict[str, int] = {}
    for exchange in listed:
        host = host_name(exchange.host)
        if host is not None:
            best[host] = min(exchange.preference, best.get(host, exchange.preference))
    exchanges = sorted(Exchange(preference, host) for host, preference in best.items())[:EXCHANGE_LIMIT]
    if not exchanges:
        text = f"no MX host of {domain} has a valid name"
        return refusal(451, "4.4.4", text, now, min(keep, lifetime.NEGATIVE_CEILING))
    site = site_name(exchange.host for exchange in exchanges)
    return Route(site, tuple(exchanges), MonotonicTime(now + keep))


def confirm_route(
    domain: str,
    route: Route,
    addresses: Mapping[str, AddressResult],
    now: MonotonicTime,
    failures: int = 0,
) -> Route | Unroutable:
    """``route`` if any of its hosts has an address. ``addresses`` is by host; one that is absent did not answer in time."""
    missing: list[Seconds] = []
    failed: tuple[str, LookupFailed] | None = None
    for exchange in route.exchanges:
        result = addresses.get(exchange.host, NO_ANSWER)
        match result:
            case AddressAnswer():
                return route
            case LookupFailed():
                failed = failed or (exchange.host, result)
            case _:
                missing.append(lifetime.negative(result.ttl))
    if failed is not None:
        return lookup_failed(f"addresses of {failed[0]}", failed[1], now, failures)
    return no_hosts(domain, now, min(missing))


#: Stands for the answer of a host that had none by the deadline.
NO_ANSWER: Final = LookupFailed("timeout")


def refusal(
    code: int, enhanced: str, text: str, now: MonotonicTime, keep: Seconds, failures: int = 0
) -> Unroutable:
    """The decision that mail goes nowhere, for ``keep`` seconds; ``text`` is without the prefix of our own replies."""
    answer = reply(code, enhanced, INTERNAL + text)
    return Unroutable(answer, answer.is_permanent, MonotonicTime(now + keep), failures)


def lookup_failed(what: str, result: LookupFailed, now: MonotonicTime, failures: int) -> Unroutable:
    """The temporary refusal after a lookup that failed; ``failures`` were before it."""
    count = failures + 1
    text = f"DNS lookup failed: {what}: {result.reason}"
    return refusal(451, "4.4.3", text, now, lifetime.failure(count), count)


def no_hosts(domain: str, now: MonotonicTime, keep: Seconds) -> Unroutable:
    """The temporary refusal where no MX host has an address."""
    return refusal(451, "4.4.4", f"no MX host of {domain} has an address", now, keep)

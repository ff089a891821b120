"""From a route to the addresses to connect to, in the order to try them (RFC 5321 5.1).

Preferences in order; hosts of equal preference, and addresses of one host, in an order drawn anew each time, so that load spreads although
answers are cached. The families of a host take turns, IPv6 first (RFC 8305 4): whichever is missing here or broken there, the next try is
of the other one.

Invariants: no target is prohibited, ours, or behind us in preference; no address twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Final, TypeVar

import msgspec

from penstock.mail.duration import MonotonicTime
from penstock.mail.network import Network, unwrapped
from penstock.mail.ports import Draw
from penstock.routing import lifetime
from penstock.routing.answer import AddressAnswer, AddressResult, Exchange, IPAddress, LookupFailed
from penstock.routing.plan import (
    NO_ANSWER,
    Route,
    Unroutable,
    literal_address,
    lookup_failed,
    no_hosts,
    refusal,
)

#: Postfix's smtp_mx_address_limit, but for each host: five addresses say enough about whether it can be reached.
ADDRESSES_PER_HOST: Final = 5
#: In all. With a connect timeout of 60 s, an attempt on a dead site ends within 20 minutes, the default first retry.
TARGET_LIMIT: Final = 20

#: Whether an address and port is one of our own listeners.
IsOurselves = Callable[[IPAddress, int], bool]

T = TypeVar("T")


class Target(msgspec.Struct, frozen=True):
    """One address to connect to, and the MX host that it is of."""

    host: str
    address: str
    port: int


def connection_plan(
    route: Route,
    addresses: Mapping[str, AddressResult],
    *,
    prohibited: Sequence[Network],
    is_ourselves: IsOurselves,
    port: int,
    draw: Draw,
    now: MonotonicTime,
) -> tuple[Target, ...] | Unroutable:
    """The targets of ``route``, at least one, or why there is none.

    ``addresses`` is by host; one that is absent did not answer in time. Temporary as long as any host is unknown or none has an address;
    permanent where we are the best MX host ourselves (RFC 5321 5.1), or every address known is prohibited.
    """
    known = {exchange.host: _addresses_of(exchange.host, addresses) for exchange in route.exchanges}
    exchanges = _before_ourselves(route.exchanges, known, is_ourselves, port)
    if not exchanges:
        text = f"mail for {route.site} loops back to this server"
        return refusal(554, "5.4.6", text, now, lifetime.NEGATIVE_CEILING)
    permitted = {
        exchange.host: [
            address
            for address in known[exchange.host]
            if not any(address in network for network in prohibited)
        ]
        for exchange in exchanges
    }
    targets = _targets(exchanges, permitted, port, draw)
    if targets:
        return targets
    for exchange in exchanges:
        result = addresses.get(exchange.host, NO_ANSWER)
        if isinstance(result, LookupFailed) and not known[exchange.host]:
            return lookup_failed(f"addresses of {exchange.host}", result, now, 0)
    if any(known[exchange.host] for exchange in exchanges):
        text = f"all addresses of {route.site} are in prohibited_hosts"
        return refusal(550, "5.4.4", text, now, lifetime.NEGATIVE_CEILING)
    return no_hosts(route.site, now, lifetime.NEGATIVE_CEILING)


def _addresses_of(host: str, addresses: Mapping[str, AddressResult]) -> Sequence[IPAddress]:
    literal = literal_address(host)
    if literal is not None:
        return (unwrapped(literal),)
    result = addresses.get(host)
    if not isinstance(result, AddressAnswer):
        return ()
    return tuple(dict.fromkeys(unwrapped(address) for address in result.addresses))


def _before_ourselves(
    exchanges: Sequence[Exchange],
    known: Mapping[str, Sequence[IPAddress]],
    is_ourselves: IsOurselves,
    port: int,
) -> Sequence[Exchange]:
    """The exchanges that are preferred to our own; all of them if we are none. RFC 5321 5.1: never to an equal or a higher number."""
    ours = [
        exchange.preference
        for exchange in exchanges
        if any(is_ourselves(address, port) for address in known[exchange.host])
    ]
    limit = min(ours, default=None)
    return exchanges if limit is None else [item for item in exchanges if item.preference < limit]


def _targets(
    exchanges: Sequence[Exchange], permitted: Mapping[str, Sequence[IPAddress]], port: int, draw: Draw
) -> tuple[Target, ...]:
    targets: list[Target] = []
    used: set[IPAddress] = set()
    for _, equals in groupby(exchanges, key=lambda exchange: exchange.preference):
        for exchange in shuffled(equals, draw):
            fresh = [address for address in permitted[exchange.host] if address not in used]
            for address in list(_in_turn(fresh, draw))[:ADDRESSES_PER_HOST]:
                used.add(address)
                targets.append(Target(exchange.host, str(address), port))
    return tuple(targets[:TARGET_LIMIT])


def _in_turn(addresses: Sequence[IPAddress], draw: Draw) -> Iterator[IPAddress]:
    ipv6 = shuffled((address for address in addresses if address.version == 6), draw)
    ipv4 = shuffled((address for address in addresses if address.version == 4), draw)
    for pair in zip_longest(ipv6, ipv4):
        yield from (address for address in pair if address is not None)


def shuffled(items: Iterable[T], draw: Draw) -> list[T]:
    """The items in an order that ``draw`` decides, each order as likely as any other (Fisher-Yates); one draw an item but the first."""
    order = list(items)
    for last in range(len(order) - 1, 0, -1):
        chosen = int(draw() * (last + 1))
        order[last], order[chosen] = order[chosen], order[last]
    return order

"""IP addresses as peers and operators write them, and the networks that they are in. An IPv4 address in IPv6 is the IPv4 address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def unwrapped(address: IPAddress) -> IPAddress:
    """The IPv4 address in an IPv4-mapped IPv6 one (RFC 4291 2.5.5.2), which is where a connection goes; any other as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def parse_ip(text: str) -> IPAddress:
    """The address that ``text`` writes, unwrapped and without the zone of a link-local one; ValueError if it writes none."""
    return unwrapped(ip_address(text.partition("%")[0]))


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks; what is no address is in none."""
    try:
        parsed = parse_ip(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)

"""Whether an address and port is one of our own listeners: mail sent there would come back (RFC 5321 5.1).

A listener on one address is that address. A listener on all addresses (``0.0.0.0``, ``::``) is every address of this host, and those come and
go, so the kernel is asked each time: a UDP socket that is connected to an address (which sends nothing) has the very same address on its own
side if, and only if, the address is local. Binding would be no such test: with ``net.ipv4.ip_nonlocal_bind`` it succeeds for any address.
An address that only a translating router has is not seen here; the name in the peer's greeting is what tells then.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address

from penstock.mail.configuration import Endpoint
from penstock.mail.network import unwrapped
from penstock.routing.answer import IPAddress


class OwnEndpoints:
    """The addresses and ports that we listen on, as bound; call it with an address and port to know whether that is us."""

    __slots__ = ("_bound", "_wildcards")

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        bound = {(unwrapped(ip_address(endpoint.address)), endpoint.port) for endpoint in endpoints}
        self._bound = frozenset(bound)
        self._wildcards = frozenset(
            (address.version, port) for address, port in bound if address.is_unspecified
        )

    def __call__(self, address: IPAddress, port: int) -> bool:
        """Whether a connection to ``address`` and ``port`` would be one to ourselves."""
        address = unwrapped(address)
        if address.is_unspecified:
            # connect(2) takes 0.0.0.0 and :: for the loopback address
            address = ip_address("127.0.0.1" if isinstance(address, IPv4Address) else "::1")
        if (address, port) in self._bound:
            return True
        return (address.version, port) in self._wildcards and is_local(address)


def is_local(address: IPAddress) -> bool:
    """Whether ``address`` is one of this host's."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Port 9 is discard; nothing is sent. A broadcast address is refused here, and is not ours.
            probe.connect((str(address), 9))
            return ip_address(str(probe.getsockname()[0]).partition("%")[0]) == address
    except OSError:
        return False

"""Who is asked: the resolver, as an interface. ``net.dns`` and ``net.static`` are the real ones, ``sim.resolver`` a scripted one."""

from __future__ import annotations

from typing import Protocol

from penstock.routing.answer import AddressResult, MxResult


class Resolver(Protocol):
    """Answers questions about names. A name is absolute: lower-case A-labels without a final dot.

    Neither method raises for anything that DNS, the network or the peer does: that is ``LookupFailed``. Both end within a bounded time.
    """

    async def mx(self, name: str) -> MxResult:
        """The MX records of a domain."""

    async def addresses(self, name: str) -> AddressResult:
        """The IPv6 and IPv4 addresses of a host, together."""

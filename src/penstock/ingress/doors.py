"""What clients and tenants have under way, here and in other lanes, and what tenants have queued.

A client is an address (``clients.client_key``). A tenant is known when the policy has named it for the session or the transaction, or when the
message has; what comes in before that is the client's alone. Numbers of other lanes are a fraction of a second old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penstock.ingress.clients import client_key
from penstock.shaping.shares import Shares


def _nothing() -> None:
    """Nobody wants to know."""


class Doors:
    """Of a whole process. ``queued`` says how many octets are queued here by tenant."""

    __slots__ = (
        "_queued",
        "client_connections",
        "client_octets",
        "queued_elsewhere",
        "stirred",
        "tenant_connections",
        "tenant_octets",
    )

    def __init__(self, queued: Callable[[], Mapping[str | None, int]] = dict) -> None:
        self._queued = queued
        self.queued_elsewhere: Mapping[str, int] = {}
        #: called when a connection is let in
        self.stirred: Callable[[], None] = _nothing
        self.client_connections: Shares[str] = Shares()
        self.client_octets: Shares[str] = Shares()
        self.tenant_connections: Shares[str] = Shares()
        self.tenant_octets: Shares[str] = Shares()

    def queued(self, tenant: str) -> int:
        """Octets of a tenant in the queues of all lanes."""
        return self._queued().get(tenant, 0) + self.queued_elsewhere.get(tenant, 0)

    def queued_here(self) -> Mapping[str | None, int]:
        """Octets by tenant in the queues of this lane."""
        return self._queued()


class Visit:
    """What one connection takes. ``tenant`` is whose connection it is, as far as that is known."""

    __slots__ = ("_client", "_doors", "_octets", "_payer", "tenant")

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._client = ""
        self._octets = 0
        #: whose mail it is that is coming in
        self._payer: str | None = None
        self.tenant: str | None = None

    def enter(self, address: str) -> None:
        """It is let in, and counted until ``leave``."""
        self._client = client_key(address)
        self._doors.client_connections.add(self._client, 1)
        self._doors.stirred()

    def become(self, tenant: str | None) -> None:
        """It is known whose it is, or that this is not known any more."""
        if tenant != self.tenant:
            if self.tenant is not None:
                self._doors.tenant_connections.add(self.tenant, -1)
            if tenant is not None:
                self._doors.tenant_connections.add(tenant, 1)
            self.tenant = tenant
        self.bring(tenant)

    def bring(self, tenant: str | None) -> None:  # hot: throughput
        """What comes in is this tenant's mail, or it is not known whose."""
        if tenant == self._payer:
            return
        octets, doors = self._octets, self._doors
        if octets and self._payer is not None:
            doors.tenant_octets.add(self._payer, -octets)
        if octets and tenant is not None:
            doors.tenant_octets.add(tenant, octets)
        self._payer = tenant

    def hold(self, octets: int) -> None:  # hot: throughput
        """So much of what it sends is in memory now."""
        more, self._octets = octets - self._octets, octets
        if more and self._client:
            self._doors.client_octets.add(self._client, more)
        if more and self._payer is not None:
            self._doors.tenant_octets.add(self._payer, more)

    def other_octets_of_client(self) -> int:
        """What its client has under way on other connections."""
        return self._doors.client_octets.of(self._client) - self._octets

    def other_octets_of(self, tenant: str) -> int:
        """What a tenant has under way on other connections."""
        own = self._octets if tenant == self._payer else 0
        return self._doors.tenant_octets.of(tenant) - own

    def leave(self) -> None:
        """It is over."""
        self.hold(0)
        self.become(None)
        if self._client:
            self._doors.client_connections.add(self._client, -1)
            self._client = ""

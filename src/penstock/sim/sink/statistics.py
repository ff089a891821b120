"""What a sink has seen, by recipient domain and in all. Recipients are counted under accepted, tempfailed, permfailed and disconnected."""

from __future__ import annotations

from typing import Final

import msgspec

#: Domains counted apart. Those beyond are counted together, under this name.
DOMAIN_LIMIT: Final = 10_000
OTHER_DOMAINS: Final = "(others)"


class DomainStatistics(msgspec.Struct, eq=False):
    """Counts of one domain.

    Of recipients: ``accepted``, ``tempfailed``, ``permfailed``, and ``disconnected`` (the sink cut the connection before their verdict).
    ``messages`` are transactions accepted with at least one recipient here, ``bytes`` their mail data; ``connections`` named the domain.
    """

    accepted: int = 0
    tempfailed: int = 0
    permfailed: int = 0
    disconnected: int = 0
    messages: int = 0
    bytes: int = 0
    connections: int = 0

    @property
    def messages_per_connection(self) -> float:
        """Messages accepted on each connection that named the domain; 0.0 where none did."""
        return self.messages / self.connections if self.connections else 0.0


class DomainReport(msgspec.Struct, frozen=True):
    """The counts of one domain, or of all, at one moment."""

    accepted: int
    tempfailed: int
    permfailed: int
    disconnected: int
    messages: int
    bytes: int
    connections: int
    messages_per_connection: float


class SinkReport(msgspec.Struct, frozen=True):
    """A sink's statistics at one moment.

    ``total`` counts a message to two domains once, and every connection that came. ``refused_connections`` came above the limit, or were
    turned away by a script before they had said anything; ``protocol_errors`` are commands answered 5yz because of their form or order.
    """

    total: DomainReport
    domains: dict[str, DomainReport]
    refused_connections: int
    protocol_errors: int


class SinkStatistics:
    """Counters of a running sink."""

    __slots__ = ("_by_wire", "_domains", "protocol_errors", "refused_connections", "total")

    def __init__(self) -> None:
        self.total = DomainStatistics()
        self.refused_connections = 0
        self.protocol_errors = 0
        self._domains: dict[str, DomainStatistics] = {}
        self._by_wire: dict[bytes, DomainStatistics] = {}

    def of_wire(self, domain: bytes) -> DomainStatistics:  # hot: throughput
        """The counters of a domain as a client wrote it."""
        counters = self._by_wire.get(domain)
        if counters is None:
            counters = self.domain(domain.decode("utf-8", "backslashreplace").lower())
            if len(self._by_wire) < DOMAIN_LIMIT:
                self._by_wire[domain] = counters
        return counters

    def domain(self, name: str) -> DomainStatistics:
        """The counters of ``name``, or of all others together once there are too many domains."""
        counters = self._domains.get(name)
        if counters is None:
            if len(self._domains) >= DOMAIN_LIMIT:
                name = OTHER_DOMAINS
            counters = self._domains.setdefault(name, DomainStatistics())
        return counters

    def report(self) -> SinkReport:
        """The counts as they are now, domains in alphabetical order."""
        return SinkReport(
            total=_report(self.total),
            domains={name: _report(self._domains[name]) for name in sorted(self._domains)},
            refused_connections=self.refused_connections,
            protocol_errors=self.protocol_errors,
        )


def _report(counters: DomainStatistics) -> DomainReport:
    return DomainReport(
        accepted=counters.accepted,
        tempfailed=counters.tempfailed,
        permfailed=counters.permfailed,
        disconnected=counters.disconnected,
        messages=counters.messages,
        bytes=counters.bytes,
        connections=counters.connections,
        messages_per_connection=round(counters.messages_per_connection, 3),
    )

"""What the operator has said of which queues, in layers; what holds of one queue is laid together from those that are about it.

From the widest to the narrowest, and what a narrower one says wins, key by key: all queues, those of a domain, of a tenant, of a tenant's campaign,
of a domain and tenant, of a domain, tenant and campaign. A table of domains is about the names below one if it is written ``*.example.com``. Of
several that would fit, the most specific one counts, alone: a domain's own, else that with the longest name.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from penstock.mail.rate import Rate

#: Domain or pattern, tenant, campaign; None is any.
LayerKey = tuple[str | None, str | None, str | None]


class Limit(msgspec.Struct, frozen=True):
    """A rate that holds mail: the gate that it is (``mail.reason``), its ``key``, the same in all lanes, and what has set it.

    ``is_here``: no other lane has anything to do with it, so nobody else need be asked.
    """

    gate: str
    key: str
    rate: Rate
    origin: str = ""
    is_here: bool = False


class QueueLayer(msgspec.Struct, frozen=True):
    """What one table says: values by the fields of ``QueueConfig``, and where each was said, a file and key (``mail.reason``).

    ``overall`` is a rate that all queues of the table's tenant or campaign share; of it ``overall_origin`` says where.
    """

    options: dict[str, object] = {}
    origins: dict[str, str] = {}
    routing_domain: str | None = None
    overall: Rate | None = None
    overall_origin: str = ""


class QueueLayers(msgspec.Struct, frozen=True):
    """All tables. ``patterns`` are the domains and patterns that have any; ``routing`` is whether any table says a ``routing_domain``."""

    tables: dict[LayerKey, QueueLayer] = {}
    patterns: frozenset[str] = frozenset()
    routing: bool = False

    def pattern_of(self, domain: str) -> str | None:
        """The domain or pattern whose tables are about ``domain``; None if there is none."""
        if domain in self.patterns:
            return domain
        if not self.patterns or domain.startswith("["):
            return None
        above = domain.partition(".")[2]
        while above:
            pattern = f"*.{above}"
            if pattern in self.patterns:
                return pattern
            above = above.partition(".")[2]
        return None

    def key_of(self, domain: str, tenant: str | None, campaign: str | None) -> LayerKey:
        """What ``about`` goes by: the tables of two queues with the same key are the same."""
        tables, pattern = self.tables, self.pattern_of(domain)
        named = (tenant, campaign)
        if (None, *named) in tables or (pattern, *named) in tables:
            return pattern, tenant, campaign
        if (None, tenant, None) in tables or (pattern, tenant, None) in tables:
            return pattern, tenant, None
        return pattern, None, None

    def about(self, key: LayerKey) -> Iterator[QueueLayer]:
        """The tables that are about the queues of a key, the widest first."""
        pattern, tenant, campaign = key
        keys: tuple[LayerKey, ...] = (
            (None, None, None),
            (pattern, None, None),
            (None, tenant, None),
            (None, tenant, campaign),
            (pattern, tenant, None),
            (pattern, tenant, campaign),
        )
        for each in dict.fromkeys(keys):
            layer = self.tables.get(each)
            if layer is not None:
                yield layer

    def merged(self, key: LayerKey) -> QueueLayer:
        """What holds of the queues of a key; of ``overall`` nothing, for which several hold at once."""
        options: dict[str, object] = {}
        origins: dict[str, str] = {}
        for layer in self.about(key):
            options.update(layer.options)
            origins.update(layer.origins)
        return QueueLayer(options, origins)

    def overall(self, key: LayerKey) -> Iterator[Limit]:
        """The rates that the queues of a key share with others: their campaign's, their tenant's."""
        _, tenant, campaign = key
        if campaign is not None:
            yield from self._limit((None, tenant, campaign), "campaign-rate", f"campaign:{campaign}:{tenant}")
        if tenant is not None:
            yield from self._limit((None, tenant, None), "tenant-rate", f"tenant:{tenant}")

    def _limit(self, key: LayerKey, gate: str, name: str) -> Iterator[Limit]:
        layer = self.tables.get(key)
        if layer is not None and layer.overall is not None:
            yield Limit(gate, name, layer.overall, layer.overall_origin)

    def routing_domain_of(self, domain: str, tenant: str | None, campaign: str | None) -> str | None:
        """What mail is routed by instead of its domain; None for the domain itself."""
        if not self.routing:
            return None
        routing_domain = None
        for layer in self.about(self.key_of(domain, tenant, campaign)):
            routing_domain = layer.routing_domain or routing_domain
        return routing_domain if routing_domain != domain else None

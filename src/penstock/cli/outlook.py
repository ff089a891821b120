"""What will hold under a configuration, in a few lines for ``penstock check``: tenants and their limits, tables of queues, what has no effect yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.mail.configuration import Configuration, PathConfig, QueuesConfig

#: Tenants that are told of by name.
_TENANTS_SHOWN: Final = 20
_UNSPECIFIED: Final = "unspecified"


def outlook(configuration: Configuration) -> Iterator[str]:
    """Lines about what differs from the defaults; none if nothing does."""
    queues = configuration.queues
    yield from _tenants(queues)
    yield from _tables(queues)
    yield from _path(configuration.shaping.default)
    yield from _pools(queues)


def _tenants(queues: QueuesConfig) -> Iterator[str]:
    told = {tenant: words for tenant in sorted(queues.tenants) if (words := _tenant(queues, tenant))}
    for tenant in list(told)[:_TENANTS_SHOWN]:
        yield f"Tenant {tenant}: {', '.join(told[tenant])}."
    if len(told) > _TENANTS_SHOWN:
        yield f"And {len(told) - _TENANTS_SHOWN} more tenants with options of their own."


def _tenant(queues: QueuesConfig, tenant: str) -> list[str]:
    options, layer = queues.options_of(tenant), queues.layers.tables.get((None, tenant, None))
    words = []
    if layer is not None and layer.overall is not None:
        words.append(f"{layer.overall} over all queues")
    if layer is not None and (rate := layer.options.get("max_message_rate")) is not None:
        words.append(f"{rate} for each queue")
    if options.share != 1:
        words.append(f"share {options.share:g}")
    if options.require_authz is not None:
        words.append(f"sent for by {', '.join(sorted(options.require_authz)) or 'nobody but the policy'}")
    campaigns = [
        campaign
        for pattern, owner, campaign in queues.layers.tables
        if pattern is None and owner == tenant and campaign is not None
    ]
    if campaigns:
        words.append(f"{len(campaigns)} campaign{'s' if len(campaigns) > 1 else ''} with options")
    return words


def _tables(queues: QueuesConfig) -> Iterator[str]:
    count = len(queues.layers.patterns)
    if count:
        yield f"Queues of {count} domain{'s' if count > 1 else ''} have options of their own; see penstock queues config NAME."


def _path(path: PathConfig) -> Iterator[str]:
    if path.max_message_rate is not None:
        yield f"Each path: {path.max_message_rate}, shared by {path.share_by.value}."


def _pools(queues: QueuesConfig) -> Iterator[str]:
    pools = {str(layer.options.get("egress_pool", _UNSPECIFIED)) for layer in queues.layers.tables.values()}
    pools.discard(_UNSPECIFIED)
    if pools:
        yield (
            f"Warning: sources are not yet supported in this version, so mail of the egress pools {', '.join(sorted(pools))} "
            "goes out from this host's own address."
        )

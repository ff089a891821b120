"""Makes of the tables of ``queues.toml`` what ``penstock.mail.queue_layers`` goes by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from penstock.config.queues_file import QUEUE_OPTIONS
from penstock.config.tree import Tree
from penstock.mail.queue_layers import LayerKey, QueueLayer, QueueLayers

_NAMES: Final = frozenset(option.name for option in QUEUE_OPTIONS)


def layers(folder: Path, queues: Tree) -> QueueLayers:
    """What ``queues.toml`` says of queues; a table that says nothing is none. ``folder`` is the root file's."""
    tables = {key: layer for key, tree in _tables(queues) if (layer := _layer(folder, tree)) is not None}
    patterns = frozenset(pattern for pattern, _, _ in tables if pattern is not None)
    is_routing = any(layer.routing_domain is not None for layer in tables.values())
    return QueueLayers(tables, patterns, is_routing)


def origins_of(folder: Path, tree: Tree) -> dict[str, str]:
    """Where each value of a table was given: file and key, the file as seen from ``folder``."""
    return {name: _origin(folder, tree, name) for name in tree.given}


def _origin(folder: Path, tree: Tree, name: str) -> str:
    place = tree.given[name].place
    path = Path(place.file)
    shown = path.relative_to(folder) if path.is_relative_to(folder) else path
    return f"{shown}: {place.key}"


def _tables(queues: Tree) -> Iterator[tuple[LayerKey, Tree]]:
    of_queues = queues.tables["queue"]
    yield (None, None, None), of_queues.tables["default"]
    for tenant, tree in queues.tables["tenant"].tables.items():
        yield (None, tenant, None), tree
        for campaign, inner in tree.tables["campaigns"].tables.items():
            yield (None, tenant, campaign), inner
    for domain, tree in of_queues.members.items():
        yield (domain, None, None), tree
        for tenant, of_tenant in tree.members.items():
            yield (domain, tenant, None), of_tenant
            for campaign, inner in of_tenant.members.items():
                yield (domain, tenant, campaign), inner


def _layer(folder: Path, tree: Tree) -> QueueLayer | None:
    options: dict[str, Any] = {name: tree.given[name].value for name in tree.given if name in _NAMES}
    origins = {name: _origin(folder, tree, name) for name in options}
    overall = tree.given.get("overall_max_message_rate")
    if not options and overall is None:
        return None
    return QueueLayer(
        options,
        origins,
        options.pop("routing_domain", None),
        overall.value if overall is not None else None,
        _origin(folder, tree, overall.option.name) if overall is not None else "",
    )

"""Makes the records of ``penstock.mail.configuration`` from trees that have no problems."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec

from penstock.config.layers import layers, origins_of
from penstock.config.root_file import DATA_DIR
from penstock.config.texts import PATH
from penstock.config.tree import Tree
from penstock.mail.configuration import (
    Configuration,
    DnsConfig,
    EventsConfig,
    HttpListenerConfig,
    LaneConfig,
    ListenerOverride,
    NodeConfig,
    PathConfig,
    QueuesConfig,
    ShapingConfig,
    SmtpListenerConfig,
    SpoolConfig,
    StaticAnswer,
    TenantConfig,
)


def assemble(folder: Path, hostname: str, root: Tree, queues: Tree, shaping: Tree) -> Configuration:
    """The configuration. ``folder`` is the root file's, ``hostname`` our own name where none other is given."""
    listener = root.tables["listener"]
    return Configuration(
        node=_node(folder, hostname, root.tables["node"]),
        smtp_listeners=tuple(_listener(folder, hostname, each) for each in listener.arrays["smtp"]),
        http_listeners=tuple(HttpListenerConfig(**each.fields()) for each in listener.arrays["http"]),
        dns=_dns(root.tables["dns"]),
        spool=SpoolConfig(**root.tables["spool"].fields()),
        lanes=tuple(
            LaneConfig(**lane.fields(), domains=lane.tables["match"].value("domain"))
            for lane in root.arrays["lane"]
        ),
        events=EventsConfig(**root.tables["events"].fields()),
        queues=_queues(folder, queues),
        shaping=_shaping(folder, shaping.tables["default"]),
    )


def absolute(folder: Path, path: str) -> str:
    """A path that the root file in ``folder`` says, wherever the command is run."""
    return str((folder / path).absolute())


def _fields(folder: Path, tree: Tree) -> dict[str, Any]:
    """The values of a table of the root file by the fields they fill, its paths absolute."""
    paths = {name for name, given in tree.given.items() if given.option.kind is PATH}
    return {
        name: absolute(folder, value) if name in paths else value for name, value in tree.fields().items()
    }


def _node(folder: Path, hostname: str, node: Tree) -> NodeConfig:
    data_dir = absolute(folder, DATA_DIR)
    return NodeConfig(**{"data_dir": data_dir, **_fields(folder, node), "hostname": hostname})


def _listener(folder: Path, hostname: str, listener: Tree) -> SmtpListenerConfig:
    overrides = {
        name: tuple(
            ListenerOverride(ip_network(network), _changes(folder, table))
            for network, table in listener.tables[name].tables.items()
        )
        for name in ("via", "peer")
    }
    return SmtpListenerConfig(**{"hostname": hostname, **_fields(folder, listener), **overrides})


def _changes(folder: Path, override: Tree) -> dict[str, object]:
    changes = _fields(folder, override)
    if "tls_certificate" in changes:
        # the listener's own key is not this certificate's
        changes.setdefault("tls_private_key", None)
    return changes


def _shaping(folder: Path, default: Tree) -> ShapingConfig:
    return ShapingConfig(default=PathConfig(**default.fields(), origins=origins_of(folder, default)))


def _dns(dns: Tree) -> DnsConfig:
    static = {name: StaticAnswer(**table.fields()) for name, table in dns.tables["static"].tables.items()}
    return DnsConfig(**dns.fields(), static=static)


def _queues(folder: Path, queues: Tree) -> QueuesConfig:
    tenants = queues.tables["tenant"].tables
    return QueuesConfig(
        **queues.fields(),
        tenants=frozenset(tenants),
        tenant_options={
            name: TenantConfig(**_of_record(tenant, TenantConfig), origins=origins_of(folder, tenant))
            for name, tenant in tenants.items()
        },
        layers=layers(folder, queues),
    )


def _of_record(tree: Tree, record: type[msgspec.Struct]) -> dict[str, Any]:
    """Of the values of a table those that are fields of this record."""
    return {name: value for name, value in tree.fields().items() if name in record.__struct_fields__}

"""Makes the records of ``penstock.mail.configuration`` from trees that have no problems."""

from __future__ import annotations

from pathlib import Path

from penstock.config.root_file import DATA_DIR
from penstock.config.tree import Tree
from penstock.mail.configuration import (
    Configuration,
    DnsConfig,
    EventsConfig,
    HttpListenerConfig,
    NodeConfig,
    PathConfig,
    QueueConfig,
    QueuesConfig,
    ShapingConfig,
    SmtpListenerConfig,
    StaticAnswer,
)


def assemble(folder: Path, hostname: str, root: Tree, queues: Tree, shaping: Tree) -> Configuration:
    """The configuration. ``folder`` is the root file's, ``hostname`` our own name where none other is given."""
    listener = root.tables["listener"]
    return Configuration(
        node=_node(folder, hostname, root.tables["node"]),
        smtp_listeners=tuple(
            SmtpListenerConfig(**{"hostname": hostname, **each.fields()}) for each in listener.arrays["smtp"]
        ),
        http_listeners=tuple(HttpListenerConfig(**each.fields()) for each in listener.arrays["http"]),
        dns=_dns(root.tables["dns"]),
        events=EventsConfig(**root.tables["events"].fields()),
        queues=_queues(queues),
        shaping=ShapingConfig(default=PathConfig(**shaping.tables["default"].fields())),
    )


def _node(folder: Path, hostname: str, node: Tree) -> NodeConfig:
    policy = node.value("policy")
    paths = {
        "data_dir": str((folder / node.value("data_dir", DATA_DIR)).absolute()),
        "policy": None if policy is None else str((folder / policy).absolute()),
    }
    return NodeConfig(**{**node.fields(), "hostname": hostname, **paths})


def _dns(dns: Tree) -> DnsConfig:
    static = {name: StaticAnswer(**table.fields()) for name, table in dns.tables["static"].tables.items()}
    return DnsConfig(**dns.fields(), static=static)


def _queues(queues: Tree) -> QueuesConfig:
    return QueuesConfig(
        **queues.fields(),
        tenants=frozenset(queues.tables["tenant"].tables),
        default=QueueConfig(**queues.tables["queue"].tables["default"].fields()),
    )

"""The configuration as values: what ``penstock.toml`` and the files beside it say, checked, with every default filled in.

Defaults here are the documented ones (``docs/configuration.md``); the ``config`` package reads files into these records and says what is
wrong with them. Durations are seconds, sizes octets.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from penstock.mail.duration import ByteCount, Seconds

Network = IPv4Network | IPv6Network

LOOPBACK: Final[tuple[Network, ...]] = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))
#: Never connected to, unless the operator says otherwise: ourselves and "this network".
PROHIBITED_HOSTS: Final[tuple[Network, ...]] = (
    IPv4Network("127.0.0.0/8"),
    IPv4Network("0.0.0.0/32"),
    IPv6Network("::1/128"),
    IPv6Network("::/128"),
)


class Endpoint(msgspec.Struct, frozen=True):
    """An address and port, written ``127.0.0.1:2525`` or ``[::1]:2525``."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class LineEndings(Enum):
    """What happens to mail data with a bare CR or LF: refused, turned into CRLF, or kept (and turned into CRLF when it is sent on)."""

    DENY = "Deny"
    FIX = "Fix"
    ALLOW = "Allow"


class NodeConfig(msgspec.Struct, frozen=True):
    """``[node]``. ``workers`` is 1 in this version; ``memory_limit`` None is a share of the machine's; ``policy`` a file's path or None."""

    hostname: str
    data_dir: str
    workers: int = 1
    memory_limit: ByteCount | None = None
    policy: str | None = None


class SmtpListenerConfig(msgspec.Struct, frozen=True):
    """``[[listener.smtp]]``: where mail comes in, who may relay, and every limit on a session."""

    listen: tuple[Endpoint, ...]
    hostname: str
    banner: str = "Penstock ESMTP"
    relay_hosts: tuple[Network, ...] = LOOPBACK
    max_message_size: ByteCount = ByteCount(20 * 1024 * 1024)
    max_messages_per_connection: int = 10_000
    max_recipients_per_message: int = 1024
    max_connections: int = 32_768
    client_timeout: Seconds = Seconds(60.0)
    data_buffer_size: ByteCount = ByteCount(128 * 1024)
    data_processing_timeout: Seconds = Seconds(300.0)
    invalid_line_endings: LineEndings = LineEndings.DENY
    line_length_hard_limit: int = 998


class HttpListenerConfig(msgspec.Struct, frozen=True):
    """``[[listener.http]]``: liveness and metrics. Metrics are for ``trusted_hosts`` alone."""

    listen: tuple[Endpoint, ...]
    trusted_hosts: tuple[Network, ...] = LOOPBACK


class StaticAnswer(msgspec.Struct, frozen=True):
    """All that ``[dns.static]`` says of one name. MX pairs are (preference, host); a name given here has no records but these."""

    mx: tuple[tuple[int, str], ...] = ()
    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()


class DnsConfig(msgspec.Struct, frozen=True):
    """``[dns]``: nameservers (none: the system's) and the answers that win over DNS, by lower-case name."""

    nameservers: tuple[Endpoint, ...] = ()
    static: dict[str, StaticAnswer] = {}


class EventsConfig(msgspec.Struct, frozen=True):
    """``[events]``: when a file of the event log is full."""

    max_file_size: ByteCount = ByteCount(256 * 1024 * 1024)
    max_segment_duration: Seconds = Seconds(3600.0)


class QueueConfig(msgspec.Struct, frozen=True):
    """The retry schedule of a scheduled queue. ``max_retry_interval`` None caps nothing."""

    retry_interval: Seconds = Seconds(20 * 60.0)
    max_retry_interval: Seconds | None = None
    max_age: Seconds = Seconds(7 * 86400.0)


class QueuesConfig(msgspec.Struct, frozen=True):
    """``queues.toml``: the header fields that assign tenant and campaign (lower case), the tenants that exist, and the default queue.

    ``default_tenant`` is for mail that names none; a name that is not among ``tenants`` is refused.
    """

    tenant_header: str | None = None
    remove_tenant_header: bool = True
    campaign_header: str | None = None
    remove_campaign_header: bool = True
    default_tenant: str | None = None
    tenants: frozenset[str] = frozenset()
    default: QueueConfig = QueueConfig()


class PathConfig(msgspec.Struct, frozen=True):
    """``shaping.toml``: how connections of a path are made and how long each of their commands may take."""

    smtp_port: int = 25
    prohibited_hosts: tuple[Network, ...] = PROHIBITED_HOSTS
    connection_limit: int = 32
    enable_tls: str = "Disabled"
    connect_timeout: Seconds = Seconds(60.0)
    banner_timeout: Seconds = Seconds(60.0)
    ehlo_timeout: Seconds = Seconds(300.0)
    mail_from_timeout: Seconds = Seconds(300.0)
    rcpt_to_timeout: Seconds = Seconds(300.0)
    data_timeout: Seconds = Seconds(300.0)
    data_dot_timeout: Seconds = Seconds(300.0)
    rset_timeout: Seconds = Seconds(5.0)
    idle_timeout: Seconds = Seconds(5.0)


class ShapingConfig(msgspec.Struct, frozen=True):
    """``shaping.toml``: what holds for every path."""

    default: PathConfig = PathConfig()


class Configuration(msgspec.Struct, frozen=True):
    """One checked configuration. ``epoch`` counts the configurations that this server has committed, from 1."""

    node: NodeConfig
    smtp_listeners: tuple[SmtpListenerConfig, ...]
    http_listeners: tuple[HttpListenerConfig, ...] = ()
    dns: DnsConfig = DnsConfig()
    events: EventsConfig = EventsConfig()
    queues: QueuesConfig = QueuesConfig()
    shaping: ShapingConfig = ShapingConfig()
    epoch: int = 1

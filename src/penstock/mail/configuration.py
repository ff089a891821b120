"""The configuration as values: what ``penstock.toml`` and the files beside it say, checked, with every default filled in.

Defaults here are the documented ones (``docs/configuration.md``); the ``config`` package reads files into these records and says what is
wrong with them. Durations are seconds, sizes octets.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

import msgspec

from penstock.mail.duration import ByteCount, Seconds
from penstock.mail.network import Network, parse_ip
from penstock.mail.queue_layers import LayerKey, QueueLayers
from penstock.mail.queue_layers import Limit as Limit
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import Rate

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


class TlsMode(Enum):
    """Encryption on a listener: none, offered by STARTTLS (RFC 3207), or from the first octet on (RFC 8314)."""

    OFF = "off"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class EnableTls(Enum):
    """Encryption of a path. The insecure ones take any certificate.

    Opportunistic: used where offered, then with a valid certificate; a handshake or certificate that fails does not lead to plain text.
    OpportunisticInsecure: used where offered. Required: nothing without it.
    """

    OPPORTUNISTIC = "Opportunistic"
    OPPORTUNISTIC_INSECURE = "OpportunisticInsecure"
    REQUIRED = "Required"
    REQUIRED_INSECURE = "RequiredInsecure"
    DISABLED = "Disabled"

    @property
    def is_required(self) -> bool:
        """Whether mail may go with TLS only."""
        return self in (EnableTls.REQUIRED, EnableTls.REQUIRED_INSECURE)

    @property
    def is_verified(self) -> bool:
        """Whether the certificate has to be valid for the host's name."""
        return self in (EnableTls.OPPORTUNISTIC, EnableTls.REQUIRED)


class Secret(str):
    """A text that is shown nowhere: its ``repr``, and so that of every record that has it, leaves it out. ``str`` methods give it as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(...)"


class ListenerOverride(msgspec.Struct, frozen=True):
    """``via`` or ``peer``: listener options, by field name, for connections that come to, or from, an address of ``network``.

    A certificate is never without its key here: ``tls_private_key`` is there, if only as None, where ``tls_certificate`` is.
    """

    network: Network
    changes: dict[str, object]

    @property
    def meta(self) -> dict[str, str]:
        """The ``meta`` among the changes."""
        meta = self.changes.get("meta")
        return meta if isinstance(meta, dict) else {}


class NodeConfig(msgspec.Struct, frozen=True):
    """``[node]``. ``workers`` None is one for each processor; ``user`` None is who starts the server; ``memory_limit`` None is a share of the
    machine's; ``policy`` a file's path or None.

    ``policy_threads`` run plain functions of the policy; ``policy_timeout`` is how long any hook may take. ``tls_ca_file`` holds the
    certificates that other hosts' certificates are verified by, None for the system's.
    """

    hostname: str
    data_dir: str
    workers: int | None = None
    user: str | None = None
    memory_limit: ByteCount | None = None
    policy: str | None = None
    policy_threads: int = 4
    policy_timeout: Seconds = Seconds(5.0)
    tls_ca_file: str | None = None


class SmtpListenerConfig(msgspec.Struct, frozen=True):
    """``[[listener.smtp]]``: where mail comes in, who may relay, and every limit on a session.

    ``min_data_rate`` is in octets a second. ``max_connections_per_client``, ``max_failures_per_client`` and ``max_auth_failures`` are of
    one client address (an IPv6 /64); clients in ``relay_hosts`` are exempt from all but the last. A failed AUTH is answered after
    ``auth_failure_delay``. ``session_timeout`` ends a session
    that has not got a message accepted for so long.
    """

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
    tls: TlsMode = TlsMode.STARTTLS
    tls_certificate: str | None = None
    tls_private_key: str | None = None
    tls_required_client_ca: str | None = None
    allow_auth_without_tls: bool = False
    allow_xclient: tuple[Network, ...] = ()
    allow_proxy: tuple[Network, ...] = ()
    require_proxy_protocol: bool = False
    discard_ehlo_keywords: frozenset[str] = frozenset()
    max_received_fields: int = 100
    max_connections_per_client: int = 100
    max_bytes_in_flight_per_client: ByteCount = ByteCount(128 * 1024 * 1024)
    max_failures_per_client: Rate = Rate(600, Seconds(60.0), 600)
    max_auth_failures: Rate = Rate(10, Seconds(60.0), 10)
    auth_failure_delay: Seconds = Seconds(1.0)
    min_data_rate: ByteCount = ByteCount(500)
    session_timeout: Seconds = Seconds(3600.0)
    meta: dict[str, str] = {}
    via: tuple[ListenerOverride, ...] = ()
    peer: tuple[ListenerOverride, ...] = ()

    def for_connection(self, local_address: str, peer_address: str) -> SmtpListenerConfig:
        """What holds for a connection from ``peer_address`` to ``local_address``: of ``via`` the most specific network's, over it of ``peer``.

        An IPv4 address in IPv6 (``::ffff:192.0.2.1``) is the IPv4 address. ``meta`` is laid over key by key.
        """
        if not self.via and not self.peer:
            return self
        changes: dict[str, object] = {}
        meta = dict(self.meta)
        for overrides, address in ((self.via, local_address), (self.peer, peer_address)):
            override = _most_specific(overrides, address)
            if override is not None:
                changes.update(override.changes)
                meta.update(override.meta)
        return msgspec.structs.replace(self, **{**changes, "meta": meta}) if changes else self


def _most_specific(overrides: tuple[ListenerOverride, ...], address: str) -> ListenerOverride | None:
    try:
        given = parse_ip(address)
    except ValueError:  # a proxy does not know its client's
        return None
    matching = [override for override in overrides if given in override.network]
    return max(matching, key=lambda override: override.network.prefixlen, default=None)


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
    """``[events]``: when a file of the event log is full, how long files are kept, how much they may take, and how well they are packed (1 to 19)."""

    max_file_size: ByteCount = ByteCount(256 * 1024 * 1024)
    max_segment_duration: Seconds = Seconds(3600.0)
    retention: Seconds = Seconds(30 * 86400.0)
    max_total_size: ByteCount = ByteCount(10 * 1024 * 1024 * 1024)
    compression_level: int = 3


class Reserve(msgspec.Struct, frozen=True):
    """What is to be left free of a file system: a share of it (0 to 1), or so many octets; whichever is more."""

    share: float = 0.0
    octets: ByteCount = ByteCount(0)


class SpoolConfig(msgspec.Struct, frozen=True):
    """``[spool]``: what is kept free for the outcomes of stored mail, and when mail counts as stored.

    ``fsync``: on stable storage; ``os``: in the operating system's memory, where a power cut finds it.
    """

    durability: Literal["fsync", "os"] = "fsync"
    min_free_space: Reserve = Reserve(share=0.05)


class QueueConfig(msgspec.Struct, frozen=True):
    """What holds for one scheduled queue. ``max_retry_interval`` None caps nothing.

    ``max_message_rate`` is this queue's own; ``overall`` are those that it shares, its campaign's and its tenant's, in that order. ``reap_interval``
    is how long it is remembered when empty. ``origins`` says for options that somebody has set where: a file and key (``mail.reason``).
    """

    retry_interval: Seconds = Seconds(20 * 60.0)
    max_retry_interval: Seconds | None = None
    max_age: Seconds = Seconds(7 * 86400.0)
    max_message_rate: Rate | None = None
    overall: tuple[Limit, ...] = ()
    egress_pool: str = "unspecified"
    reap_interval: Seconds = Seconds(600.0)
    origins: dict[str, str] = {}


class TenantConfig(msgspec.Struct, frozen=True):
    """``[tenant.'name']``: what one tenant may take of the server, over all lanes. ``share`` is its weight on every path that others use too.

    ``require_authz`` are the authorization ids that may send for it; None: whoever may name tenants may name this one. ``origins`` as those of
    ``QueueConfig``.
    """

    max_queued_bytes: ByteCount = ByteCount(10 * 1024**3)
    max_connections: int = 2000
    max_bytes_in_flight: ByteCount = ByteCount(256 * 1024 * 1024)
    share: float = 1.0
    require_authz: frozenset[str] | None = None
    origins: dict[str, str] = {}


_ANY_TENANT: Final = TenantConfig()


class QueuesConfig(msgspec.Struct, frozen=True):
    """``queues.toml``: the header fields that assign tenant, campaign and schedule (lower case), the tenants that exist, and what holds of queues.

    ``default_tenant`` is for mail that names none; a name that is not among ``tenants`` is refused. ``tenant_options`` need
    not have all of them.
    """

    scheduling_header: str | None = None
    tenant_header: str | None = None
    remove_tenant_header: bool = True
    campaign_header: str | None = None
    remove_campaign_header: bool = True
    default_tenant: str | None = None
    tenants: frozenset[str] = frozenset()
    tenant_options: dict[str, TenantConfig] = {}
    layers: QueueLayers = QueueLayers()

    def options_of(self, tenant: str) -> TenantConfig:
        """What holds for one tenant."""
        return self.tenant_options.get(tenant, _ANY_TENANT)

    def weight_of(self, tenant: str | None) -> float:
        """A tenant's weight on a path; 1 for mail without one."""
        return self.tenant_options.get(tenant, _ANY_TENANT).share if tenant is not None else 1.0

    def resolve(self, name: QueueName) -> QueueConfig:
        """What holds for a queue."""
        return self.of_key(self.layers.key_of(name.domain, name.tenant, name.campaign))

    def of_key(self, key: LayerKey) -> QueueConfig:
        """What holds for the queues of a key of ``layers``."""
        merged = self.layers.merged(key)
        overall = tuple(self.layers.overall(key))
        return msgspec.structs.replace(
            QueueConfig(), **merged.options, overall=overall, origins=merged.origins
        )


class ShareBy(Enum):
    """What a message costs its tenant of a path's turns: one, or its recipients, or its octets."""

    MESSAGES = "messages"
    RECIPIENTS = "recipients"
    BYTES = "bytes"


class PathConfig(msgspec.Struct, frozen=True):
    """``shaping.toml``: how connections of a path are made and how long each of their commands may take.

    ``origins`` says for options that somebody has set where, as that of ``QueueConfig`` does.
    ``smtp_auth_plain_username`` None is no AUTH; with a name, mail goes only once the peer has accepted it.
    """

    smtp_port: int = 25
    prohibited_hosts: tuple[Network, ...] = PROHIBITED_HOSTS
    connection_limit: int = 32
    max_message_rate: Rate | None = None
    share_by: ShareBy = ShareBy.MESSAGES
    enable_tls: EnableTls = EnableTls.OPPORTUNISTIC
    enable_pipelining: bool = True
    enable_rset: bool = True
    ignore_8bit_checks: bool = False
    use_lmtp: bool = False
    smtp_auth_plain_username: str | None = None
    smtp_auth_plain_password: Secret | None = None
    allow_smtp_auth_plain_without_tls: bool = False
    allow_smtp_auth_plain_without_valid_certificate: bool = False
    starttls_timeout: Seconds = Seconds(5.0)
    auth_timeout: Seconds = Seconds(60.0)
    connect_timeout: Seconds = Seconds(60.0)
    banner_timeout: Seconds = Seconds(60.0)
    ehlo_timeout: Seconds = Seconds(300.0)
    mail_from_timeout: Seconds = Seconds(300.0)
    rcpt_to_timeout: Seconds = Seconds(300.0)
    data_timeout: Seconds = Seconds(300.0)
    data_dot_timeout: Seconds = Seconds(300.0)
    rset_timeout: Seconds = Seconds(5.0)
    idle_timeout: Seconds = Seconds(5.0)
    origins: dict[str, str] = {}


class ShapingConfig(msgspec.Struct, frozen=True):
    """``shaping.toml``: what holds for every path."""

    default: PathConfig = PathConfig()


class LaneConfig(msgspec.Struct, frozen=True):
    """``[[lane]]``: a lane of its own for destinations; a ``standalone`` one is not started by the server."""

    name: str
    domains: tuple[str, ...]
    standalone: bool = False


class Configuration(msgspec.Struct, frozen=True):
    """One checked configuration. ``epoch`` counts the configurations that this server has committed, from 1."""

    node: NodeConfig
    smtp_listeners: tuple[SmtpListenerConfig, ...]
    http_listeners: tuple[HttpListenerConfig, ...] = ()
    dns: DnsConfig = DnsConfig()
    spool: SpoolConfig = SpoolConfig()
    events: EventsConfig = EventsConfig()
    queues: QueuesConfig = QueuesConfig()
    shaping: ShapingConfig = ShapingConfig()
    lanes: tuple[LaneConfig, ...] = ()
    epoch: int = 1

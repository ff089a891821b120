"""``penstock.toml``: the node, its listeners, name servers, spool, event log, lanes, and the files beside it."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.config.hosts import (
    DOMAIN_NAME,
    DOMAIN_PATTERN,
    ENDPOINT,
    IPV4,
    IPV6,
    MX,
    NAMESERVER,
    NETWORK,
    NETWORK_NAME,
)
from penstock.config.kinds import BOOLEAN, Kind, choice, either, list_of, one_or_more, set_of
from penstock.config.numbers import RATE, duration, integer, reserve, size
from penstock.config.schema import Named, Option, Section, Sections, Table
from penstock.config.texts import BANNER, DATA_FILE, KEYWORD, KEYWORDS, LANE_NAME, META, PATH, USER
from penstock.mail.configuration import LineEndings, TlsMode
from penstock.mail.duration import Seconds

DATA_DIR: Final = "/var/lib/penstock"
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB
_TIB: Final = 1024 * _GIB
_LISTEN: Final = 'listen = ["127.0.0.1:2525"]'
_ANY_SIZE: Final = size(16 * _MIB, _TIB)
_COUNT: Final = integer(1)
#: As many as the largest machines have processors; each takes some 40 MB.
_WORKERS: Final = integer(1, 256)


NODE: Final = Table(
    (
        Option("hostname", DOMAIN_NAME, "Our own name: in the greeting, in EHLO and in Received fields.",
               example='"mta1.example.com"', otherwise="the host's name"),
        Option("data_dir", PATH, "Where the server keeps what it writes; made at start. Relative to this file.",
               example='"/srv/penstock"', default=f'"{DATA_DIR}"'),
        Option("workers", either("auto", None, Kind(_WORKERS.name, _WORKERS.parse)),
               'How many processes take mail and deliver it, besides those of `[[lane]]`; `"auto"` is one for each processor.',
               example="4", default='"auto"'),
        Option("user", USER, "Whom the server runs as, with that user's groups, once it has its addresses. Only root can become another user.",
               example='"penstock"', otherwise="who starts it"),
        Option("memory_limit", either("auto", None, Kind(_ANY_SIZE.name, _ANY_SIZE.parse)),
               'How much memory the server may use before it refuses mail; `"auto"` is a share of the machine\'s.',
               example='"4GiB"', default='"auto"'),
        Option("policy", PATH, "A Python file with the operator's hooks. Relative to this file.",
               example='"policy.py"', otherwise="none"),
        Option("policy_threads", integer(1, 256), "How many hooks that are plain functions may run at once.", example="8", default="4"),
        Option("policy_timeout", duration(), "How long a hook may take; then the client is told to come again later (451).",
               example='"2s"', default='"5s"'),
        Option("tls_ca_file", PATH, "Certificates, in PEM, of the authorities that other hosts' certificates are verified by. Relative to this file.",
               example='"tls/authorities.pem"', otherwise="the system's"),
    )
)  # fmt: skip

_LISTENER_OPTIONS: Final = (
    Option("listen", list_of(ENDPOINT, '["0.0.0.0:2525", "[::]:2525"]', at_least=1),
           "Where to listen. Port 0 is any free one.", example='["0.0.0.0:2525", "[::]:2525"]', required=True),
    Option("hostname", DOMAIN_NAME, "Our name on this listener: in its greeting and in the Received fields of its mail.",
           example='"in.example.com"', otherwise="`node.hostname`"),
    Option("banner", BANNER, "What follows the name in the greeting.", example='"Example ESMTP"', default='"Penstock ESMTP"'),
    Option("relay_hosts", list_of(NETWORK, '["192.0.2.0/24"]'),
           "Who may send mail to everywhere, besides those whom the policy's `on_auth` lets in. "
           "The tenant header is believed from `relay_hosts` alone.",
           example='["127.0.0.1", "192.0.2.0/24"]', default='["127.0.0.1/32", "::1/128"]'),
    Option("tls", choice({each.value: each for each in TlsMode}),
           "Encryption: none, when the client asks for it (RFC 3207), or from the first octet on (RFC 8314). TLS 1.2 or later.",
           example='"starttls"', default='"starttls"'),
    Option("tls_certificate", PATH, "The certificate and those that signed it, in PEM, our own first. Read again when it changes. "
           "Relative to this file.",
           example='"tls/cert.pem"', otherwise="a self-signed one"),
    Option("tls_private_key", PATH, "Its key, in PEM, without a passphrase. Read again when it changes. Relative to this file.",
           example='"tls/key.pem"', otherwise="in the file of `tls_certificate`"),
    Option("tls_required_client_ca", PATH, "Clients that use TLS must show a certificate that one of these, in PEM, has signed. "
           "Relative to this file.",
           example='"tls/clients.pem"', otherwise="none is asked for"),
    Option("allow_auth_without_tls", BOOLEAN, "Whether AUTH is offered, and passwords are taken, without encryption too.",
           example="true", default="false"),
    Option("allow_xclient", list_of(NETWORK, '["192.0.2.1"]'),
           "Proxies that may say by XCLIENT which client they speak for. They can say anybody: name your own machines, never `0.0.0.0/0`.",
           example='["192.0.2.7"]', default="[]"),
    Option("allow_proxy", list_of(NETWORK, '["192.0.2.1"]'),
           "Proxies whose connections begin with a PROXY header (v1 or v2) that says which client they speak for. As above: never `0.0.0.0/0`.",
           example='["192.0.2.8"]', default="[]"),
    Option("require_proxy_protocol", BOOLEAN, "Whether connections from others than `allow_proxy` are closed at once.",
           example="true", default="false"),
    Option("discard_ehlo_keywords", set_of(KEYWORD, '["CHUNKING"]'),
           "Service extensions that are neither offered nor served: " + ", ".join(f"`{each}`" for each in KEYWORDS) + ".",
           example='["CHUNKING", "DSN"]', default="[]"),
    Option("max_message_size", size(1, 2 * _GIB), "Larger mail is refused with 552 5.3.4, and announced by SIZE.",
           example='"50MiB"', default='"20MiB"'),
    Option("max_messages_per_connection", _COUNT, "A client that begins another one is refused, and its connection closed.",
           example="500", default="10_000"),
    Option("max_recipients_per_message", _COUNT, "Recipients beyond are refused with 452 4.5.3.", example="100", default="1024"),
    Option("max_connections", _COUNT, "Connections beyond are refused with 421 4.3.2.", example="2000", default="32_768"),
    Option("client_timeout", duration(), "A client that says nothing for so long is closed with 421 4.4.2.",
           example='"5m"', default='"1m"'),
    Option("data_buffer_size", size(_KIB, 64 * _MIB), "How much of a message is read at once.", example='"256KiB"', default='"128KiB"'),
    Option("data_processing_timeout", duration(), "How long accepting a message may take after its end; then the connection is closed "
           "without a reply, for a refusal could be untrue.",
           example='"2m"', default='"5m"'),
    Option("invalid_line_endings", choice({each.value: each for each in LineEndings}),
           "Mail data with a bare CR or LF: refused with 550 5.5.2, mended, or kept until it is sent on (and mended then).",
           example='"Fix"', default='"Deny"'),
    Option("line_length_hard_limit", integer(78, 1_000_000), "Longer lines of mail data are refused with 500 5.2.3. In octets, without CRLF.",
           example="2000", default="998"),
    Option("max_received_fields", integer(1, 10_000), "Mail with more Received fields goes in circles, and is refused with 554 5.4.6.",
           example="50", default="100"),
    Option("max_connections_per_client", _COUNT, "Connections beyond, of one client address (an IPv6 /64), are refused with 421 4.7.0. "
           "Not for `relay_hosts`.",
           example="20", default="100"),
    Option("max_bytes_in_flight_per_client", size(1024**2, 1024**4), "Octets of mail that one client address is sending, over all lanes; with more, "
           "mail is refused with 452 4.3.1. One message at a time always may come in. Not for `relay_hosts`.",
           example='"64MiB"', default='"128MiB"'),
    Option("max_failures_per_client", RATE, "Refused commands of one client address; beyond, its connections are closed with 421 4.7.0. "
           "Not for `relay_hosts`.",
           example='"100/minute"', default='"600/minute"'),
    Option("max_auth_failures", RATE, "Refused passwords of one client address, and of one name; beyond, none is looked at.",
           example='"20/hour"', default='"10/minute"'),
    Option("auth_failure_delay", duration(Seconds(0.0)), "How long a client waits to hear that its password was refused.",
           example='"3s"', default='"1s"'),
    Option("min_data_rate", size(1, _GIB), "Octets of mail data each second, after `client_timeout`. A slower client is closed with 421 4.4.2.",
           example='"2KiB"', default="500"),
    Option("session_timeout", duration(), "A session that has had no message accepted for so long is closed with 421 4.4.2.",
           example='"10m"', default='"1h"'),
    Option("meta", META, "What every session here begins with as metadata, for the policy.", example='{ entrance = "front" }', default="{}"),
)  # fmt: skip
_LISTENER_LATER: Final = frozenset({"deferred_spool", "deferred_queue", "batch_handling", "trace_headers"})

#: What is settled before a connection's addresses are known, or holds for all connections together.
_SETTLED: Final = frozenset({
    "listen", "max_connections", "data_buffer_size", "allow_xclient", "allow_proxy", "require_proxy_protocol",
})  # fmt: skip


def _overriding(option: Option) -> Option:
    """An option as it may be changed for some connections."""
    if option.name != "tls":
        return option
    may_be = choice({each.value: each for each in TlsMode if each is not TlsMode.IMPLICIT})
    return msgspec.structs.replace(option, kind=may_be)


#: ``via`` and ``peer``: the listener's options for connections to, or from, a network.
LISTENER_OVERRIDE: Final = Table(
    tuple(_overriding(option) for option in _LISTENER_OPTIONS if option.name not in _SETTLED), later=_LISTENER_LATER
)  # fmt: skip

SMTP_LISTENER: Final = Table(
    (*_LISTENER_OPTIONS, Named("via", NETWORK_NAME, LISTENER_OVERRIDE), Named("peer", NETWORK_NAME, LISTENER_OVERRIDE)),
    later=_LISTENER_LATER,
)  # fmt: skip

HTTP_LISTENER: Final = Table(
    (
        Option("listen", list_of(ENDPOINT, '["127.0.0.1:8000"]', at_least=1),
               "Where to listen. Port 0 is any free one.", example='["127.0.0.1:8000"]', required=True),
        Option("trusted_hosts", list_of(NETWORK, '["192.0.2.0/24"]'), "Who may read more than liveness, such as metrics.",
               example='["127.0.0.1", "192.0.2.0/24"]', default='["127.0.0.1/32", "::1/128"]'),
    ),
    later=frozenset({"hostname", "request_body_limit", "tls", "use_tls", "tls_certificate", "tls_private_key"}),
)  # fmt: skip

FILES: Final = Table(
    (
        Option("queues", one_or_more(DATA_FILE, '["queues.toml"]'),
               "Tenants and retry schedule. Of several files, later ones are laid over earlier ones.",
               example='"queues.toml"', otherwise="none"),
        Option("shaping", one_or_more(DATA_FILE, '["shaping.toml"]'), "How connections are made. Several files as above.",
               example='["shaping.toml", "local.toml"]', otherwise="none"),
    ),
    later=frozenset({"sources", "listener_domains", "dkim", "sqmail_control"}),
)  # fmt: skip

DNS_STATIC: Final = Table(
    (
        Option("mx", list_of(MX, '["10 mx.example.com"]'), "Mail exchangers; the preference is 10 if none is given, `.` is the null MX of RFC 7505.",
               example='["10 mx1.example.com", "20 mx2.example.com"]', default="[]"),
        Option("a", list_of(IPV4, '["192.0.2.1"]'), "IPv4 addresses.", example='["192.0.2.1"]', default="[]"),
        Option("aaaa", list_of(IPV6, '["2001:db8::1"]'), "IPv6 addresses.", example='["2001:db8::1"]', default="[]"),
    )
)  # fmt: skip

DNS: Final = Table(
    (
        Option("nameservers", list_of(NAMESERVER, '["192.0.2.53:53"]'), "Name servers to ask; the port is 53 if none is given. None: the system's.",
               example='["192.0.2.53", "[2001:db8::53]:5353"]', default="[]"),
        Named("static", DOMAIN_NAME, DNS_STATIC),
    )
)  # fmt: skip

SPOOL: Final = Table(
    (
        Option("durability", choice({"fsync": "fsync", "os": "os"}),
               'When mail is accepted: `"fsync"` once it is on stable storage; `"os"` once the operating system has it, which is faster, and '
               "**loses accepted mail when the power fails**.",
               example='"fsync"', default='"fsync"'),
        Option("min_free_space", reserve(_TIB), "What is kept free of the spool's file system; with less, new mail is refused (452 4.3.1), and what "
               "is queued is delivered on.",
               example='"2GiB"', default='"5%"'),
    ),
    later=frozenset({"min_free_inodes", "kind", "path", "flush", "name", "rocks_params"}),
)  # fmt: skip

EVENTS: Final = Table(
    (
        Option("max_file_size", size(4 * _KIB, _TIB), "A file of the event log that reaches this is closed and the next one begun.",
               example='"1GiB"', default='"256MiB"'),
        Option("max_segment_duration", duration(Seconds(1.0)), "So is a file that is as old as this, when the next event comes.",
               example='"15m"', default='"1h"'),
        Option("retention", duration(Seconds(60.0)), "A finished file goes when its youngest event is as old as this.",
               example='"90d"', default='"30d"'),
        Option("max_total_size", size(_MIB, 1024 * _TIB), "With more on the disk than this, the oldest finished files go.",
               example='"100GiB"', default='"10GiB"'),
        Option("compression_level", integer(1, 19), "How well finished files are packed, by Zstandard's levels: more takes longer.",
               example="6", default="3"),
    ),
    later=frozenset({
        "log_dir", "back_pressure", "meta", "headers", "min_free_space", "min_free_inodes", "filter_event", "per_record",
    }),
)  # fmt: skip

LANE_MATCH: Final = Table(
    (
        Option("domain", list_of(DOMAIN_PATTERN, '["example.com"]', at_least=1),
               "Destination domains; `*.example.com` is every name below that one. Mail to others that have the same mail exchangers goes with them.",
               example='["example.com", "*.example.net"]', required=True),
    ),
    later=frozenset({"pool", "provider"}),
)  # fmt: skip

LANE: Final = Table(
    (
        Option("name", LANE_NAME, "What it is called in `penstock status`, in the log, and in `data_dir`.",
               example='"slow"', required=True),
        Option("standalone", BOOLEAN, "Whether it is started by itself, with `penstock serve --lane NAME`, and not by the server.",
               example="true", default="false"),
        Section("match", LANE_MATCH),
    )
)  # fmt: skip

ROOT_FILE: Final = Table(
    (
        Section("node", NODE),
        Section("listener", Table((Sections("smtp", SMTP_LISTENER, required=_LISTEN), Sections("http", HTTP_LISTENER)))),
        Section("files", FILES),
        Section("dns", DNS),
        Section("spool", SPOOL),
        Section("events", EVENTS),
        Sections("lane", LANE),
    )
)  # fmt: skip

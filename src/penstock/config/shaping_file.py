"""``shaping.toml``, as KumoMTA's shaping helper reads it: how connections are made, and how long each command may take.

Several files may be given; a later one is laid over an earlier one, key by key.
"""

from __future__ import annotations

from typing import Final

from penstock.config.hosts import NETWORK
from penstock.config.kinds import BOOLEAN, choice, list_of
from penstock.config.numbers import RATE, duration, integer, limit
from penstock.config.queues_file import is_domain_like
from penstock.config.schema import Option, Section, Table
from penstock.config.texts import CREDENTIAL
from penstock.mail.configuration import EnableTls, ShareBy

PATH_DEFAULT: Final = Table(
    (
        Option("smtp_port", integer(1, 65535), "The port of the hosts that mail is sent to.", example="2525", default="25"),
        Option("prohibited_hosts", list_of(NETWORK, '["127.0.0.0/8"]'), "Addresses that are never connected to; `[]` allows all, loopback too.",
               example='["127.0.0.0/8", "10.0.0.0/8"]', default='["127.0.0.0/8", "0.0.0.0", "::1", "::"]'),
        Option("connection_limit", limit(1), "Connections of one source to one site at a time.", example='"1,000"', default="32"),
        Option("max_message_rate", RATE, "How many messages of one source may be tried at one site; more wait, and no connection is made for them.",
               example='"100/s"', otherwise="no limit"),
        Option("share_by", choice({each.value: each for each in ShareBy}), "What tenants' shares of a path are counted in.",
               example='"bytes"', default='"messages"'),
        Option("enable_tls", choice({each.value: each for each in EnableTls}),
               "Encryption by STARTTLS: where offered, or always; with a valid certificate, or (Insecure) any.",
               example='"Required"', default='"Opportunistic"'),
        Option("enable_pipelining", BOOLEAN, "Whether commands are sent without waiting for replies, where PIPELINING is offered.",
               example="false", default="true"),
        Option("enable_rset", BOOLEAN, "Whether RSET goes before each transaction but a connection's first.", example="false", default="true"),
        Option("ignore_8bit_checks", BOOLEAN, "Whether 8-bit mail is sent, as it is, to hosts that do not offer 8BITMIME or SMTPUTF8; else it fails.",
               example="true", default="false"),
        Option("use_lmtp", BOOLEAN, "Whether LMTP (RFC 2033) is spoken, which answers for each recipient.", example="true", default="false"),
        Option("smtp_auth_plain_username", CREDENTIAL, "Who we are, by AUTH PLAIN. No mail is sent until the host has accepted it.",
               example='"relay-user"', otherwise="no AUTH"),
        Option("smtp_auth_plain_password", CREDENTIAL, "Its password. It is shown nowhere; let others not read this file.",
               example='"correct horse battery staple"', otherwise="none"),
        Option("allow_smtp_auth_plain_without_tls", BOOLEAN, "Whether the password is given without encryption.", example="true", default="false"),
        Option("allow_smtp_auth_plain_without_valid_certificate", BOOLEAN, "Whether the password is given to a host whose certificate is not valid.",
               example="true", default="false"),
        Option("connect_timeout", duration(), "How long until a connection is made.", example='"30s"', default='"60s"'),
        Option("banner_timeout", duration(), "How long until the greeting has come.", example='"30s"', default='"60s"'),
        Option("ehlo_timeout", duration(), "How long until EHLO is answered.", example='"1m"', default='"5m"'),
        Option("starttls_timeout", duration(), "How long until STARTTLS is answered, and then until TLS is ready.", example='"20s"', default='"5s"'),
        Option("auth_timeout", duration(), "How long until AUTH is answered.", example='"30s"', default='"60s"'),
        Option("mail_from_timeout", duration(), "How long until MAIL is answered.", example='"1m"', default='"5m"'),
        Option("rcpt_to_timeout", duration(), "How long until RCPT is answered.", example='"1m"', default='"5m"'),
        Option("data_timeout", duration(), "How long until DATA is answered.", example='"30s"', default='"5m"'),
        Option("data_dot_timeout", duration(), "How long until the end of the mail data is answered.", example='"10m"', default='"5m"'),
        Option("rset_timeout", duration(), "How long until RSET is answered.", example='"10s"', default='"5s"'),
        Option("idle_timeout", duration(), "How long a connection without work is kept open.", example='"1m"', default='"5s"'),
    ),
    later=frozenset({
        # of an egress path
        "additional_connection_limits", "max_connection_rate", "additional_message_rate_throttles",
        "source_selection_rate", "additional_source_selection_rates", "max_deliveries_per_connection", "max_recipients_per_batch",
        "max_ready", "consecutive_connection_failures_before_delay", "ehlo_domain", "system_shutdown_timeout",
        "dispatcher_progress_watchdog_timeout", "enable_mta_sts", "enable_dane", "tls_prefer_openssl", "openssl_cipher_list",
        "openssl_cipher_suites", "openssl_options", "rustls_cipher_suites", "tls_certificate", "tls_private_key", "remember_broken_tls",
        "opportunistic_tls_reconnect_on_failed_handshake", "skip_hosts", "ip_lookup_strategy", "reconnect_strategy",
        "try_next_host_on_transport_error", "refresh_interval", "refresh_strategy", "dispatcher_wakeup_strategy",
        "maintainer_wakeup_strategy", "low_memory_reduction_policy", "no_memory_reduction_policy", "provider_name", "readyq_pool_name",
        "aggressive_connection_opening",
        # of the shaping file
        "mx_rollup", "replace_base", "sources", "automation",
    }),
)  # fmt: skip

SHAPING_FILE: Final = Table(
    (Section("default", PATH_DEFAULT),), later=frozenset({"provider"}), is_later=is_domain_like
)

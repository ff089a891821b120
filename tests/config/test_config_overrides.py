"""What differs for connections to, or from, some networks: how it is read, and which of it holds."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from penstock import config
from penstock.mail.configuration import (
    EnableTls,
    Endpoint,
    ListenerOverride,
    SmtpListenerConfig,
    TlsMode,
)
from penstock.mail.duration import Seconds
from penstock.mail.rate import Rate

LISTEN = (Endpoint("127.0.0.1", 25),)


def listener(folder: Path, text: str) -> SmtpListenerConfig:
    """The one listener of a root file, on a host that calls itself host.example."""
    path = folder / "penstock.toml"
    path.write_text(f'[[listener.smtp]]\nlisten = ["127.0.0.1:25"]\n{text}')
    return config.load(path, hostname=lambda: "host.example").smtp_listeners[0]


def over(network: str, **changes: object) -> ListenerOverride:
    """An override."""
    return ListenerOverride(ip_network(network), changes)


def test_options_of_a_network_arrive_by_the_fields_they_fill(tmp_path: Path) -> None:
    """Parsed as the listener's are, paths relative to the root file."""
    loaded = listener(
        tmp_path,
        """
        [listener.smtp.via."192.0.2.25"]
        hostname = "Mail.Example.net"
        tls_certificate = "tls/net.pem"
        tls_private_key = "/etc/net.key"
        [listener.smtp.peer]
        "10.0.0.0/8" = { tls = "off", max_auth_failures = "5/h", discard_ehlo_keywords = ["dsn"] }
        "2001:db8::/32" = {}
        """,
    )
    assert loaded.via == (
        over(
            "192.0.2.25",
            hostname="mail.example.net",
            tls_certificate=str(tmp_path / "tls/net.pem"),
            tls_private_key="/etc/net.key",
        ),
    )
    assert loaded.peer == (
        over(
            "10.0.0.0/8",
            tls=TlsMode.OFF,
            max_auth_failures=Rate(5, Seconds(3600.0), 5),
            discard_ehlo_keywords=frozenset({"DSN"}),
        ),
        over("2001:db8::/32"),
    )


def test_a_certificate_of_a_network_is_not_used_with_the_listeners_key(tmp_path: Path) -> None:
    """They go together: without a key beside it, the key is in its file."""
    loaded = listener(
        tmp_path,
        'tls_certificate = "a.pem"\ntls_private_key = "a.key"\n[listener.smtp.via."::1"]\ntls_certificate = "both.pem"\n',
    )
    here = loaded.for_connection("::1", "192.0.2.1")
    assert (here.tls_certificate, here.tls_private_key) == (str(tmp_path / "both.pem"), None)
    other = loaded.for_connection("::2", "192.0.2.1")
    assert (other.tls_certificate, other.tls_private_key) == (
        str(tmp_path / "a.pem"),
        str(tmp_path / "a.key"),
    )


CONFIG = SmtpListenerConfig(
    LISTEN,
    "host.example",
    banner="listener",
    meta={"a": "listener", "b": "listener"},
    via=(over("0.0.0.0/0", hostname="any.example"), over("192.0.2.0/24", hostname="net.example", banner="via")),
    peer=(
        over("10.0.0.0/8", banner="peer", meta={"b": "ten", "c": "ten"}),
        over("10.1.0.0/16", max_message_size=1),
        over("2001:db8::/32", banner="six"),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("local", "peer", "hostname", "banner"),
    [
        ("198.51.100.1", "203.0.113.1", "any.example", "listener"),
        ("192.0.2.1", "203.0.113.1", "net.example", "via"),
        ("192.0.2.1", "10.0.0.1", "net.example", "peer"),
        ("192.0.2.1", "10.1.0.1", "net.example", "via"),
        ("198.51.100.1", "10.1.0.1", "any.example", "listener"),
        ("::1", "2001:db8::1", "host.example", "six"),
        ("::1", "2001:db9::1", "host.example", "listener"),
        ("::ffff:192.0.2.1", "::ffff:10.0.0.1", "net.example", "peer"),
        ("fe80::1%eth0", "fe80::2%eth0", "host.example", "listener"),
    ],
)
def test_the_most_specific_network_holds_and_peer_over_via(
    local: str, peer: str, hostname: str, banner: str
) -> None:
    """One of each; what it does not give is the listener's."""
    found = CONFIG.for_connection(local, peer)
    assert (found.hostname, found.banner) == (hostname, banner)
    assert found.max_message_size == (1 if peer.startswith("10.1.") else 20 << 20)
    assert found.listen == LISTEN


def test_metadata_is_laid_over_name_by_name() -> None:
    """All other values are replaced."""
    assert CONFIG.for_connection("192.0.2.1", "10.0.0.1").meta == {"a": "listener", "b": "ten", "c": "ten"}
    assert CONFIG.meta == {"a": "listener", "b": "listener"}


def test_a_listener_without_networks_is_the_same_for_everybody() -> None:
    """Nothing is made anew."""
    plain = SmtpListenerConfig(LISTEN, "host.example")
    assert plain.for_connection("127.0.0.1", "127.0.0.1") is plain


def test_what_is_no_address_is_in_no_network() -> None:
    """A trusted proxy may not know its client's."""
    assert CONFIG.for_connection("", "") is CONFIG


def test_credentials_and_encryption_of_paths_are_read(tmp_path: Path) -> None:
    """And the password is not in what a configuration shows of itself."""
    (tmp_path / "shaping.toml").write_text(
        '[default]\nenable_tls = "Required"\nsmtp_auth_plain_username = "me"\nsmtp_auth_plain_password = "hunter2"\n'
    )
    (tmp_path / "penstock.toml").write_text(
        '[node]\ntls_ca_file = "ca.pem"\n[[listener.smtp]]\nlisten = ["127.0.0.1:25"]\n[files]\nshaping = "shaping.toml"\n'
    )
    loaded = config.load(tmp_path / "penstock.toml", hostname=lambda: "host.example")
    path = loaded.shaping.default
    assert (path.enable_tls, path.smtp_auth_plain_username) == (EnableTls.REQUIRED, "me")
    assert path.smtp_auth_plain_password == "hunter2"
    assert "hunter2" not in repr(loaded)
    assert loaded.node.tls_ca_file == str(tmp_path / "ca.pem")


def test_certificates_are_in_the_outline_with_the_tables_that_name_them(tmp_path: Path) -> None:
    """For checks of the host; a key that was refused leaves its certificate out, or it would be looked for there."""
    (tmp_path / "penstock.toml").write_text(
        '[[listener.smtp]]\nlisten = ["127.0.0.1:25"]\ntls_certificate = "a.pem"\ntls_private_key = 5\n'
        '[listener.smtp.via."::1"]\ntls_certificate = "b.pem"\n'
    )
    outline = config.examine(tmp_path / "penstock.toml").outline
    assert [(files.certificate, table) for files, table in outline.tls_files] == [
        (None, "listener.smtp[0]"),
        (str(tmp_path / "b.pem"), 'listener.smtp[0].via."::1"'),
    ]

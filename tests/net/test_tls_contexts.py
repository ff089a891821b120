"""The contexts of listeners and of clients: certificates as they are on disk, sessions as long as they may be resumed."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from penstock.mail.configuration import Endpoint, SmtpListenerConfig
from penstock.mail.duration import Seconds
from penstock.mail.problem import ConfigError
from penstock.net.tls import ClientContexts, ServerContexts, SessionKey, TlsChannel, TlsError
from penstock.net.tls.facts import described, printable
from penstock.sim.clock import FakeClock
from tests.net.certificates import Pair, authority, pair
from tests.net.test_tls_channel import HOST, Wire, trusting

LISTEN = (Endpoint("127.0.0.1", 0),)
KEY = SessionKey(HOST, "192.0.2.1", 25, is_verified=False)


def listener(
    certificate: str | None = None, key: str | None = None, client_ca: str | None = None, hostname: str = HOST
) -> SmtpListenerConfig:
    """A listener with these files."""
    return SmtpListenerConfig(
        LISTEN, hostname, tls_certificate=certificate, tls_private_key=key, tls_required_client_ca=client_ca
    )


def shown(context: ssl.SSLContext) -> tuple[str, ...]:
    """The names in the certificate that a listener shows."""
    return Wire(context).shake_hands().client.facts().peer_names


def replace(path: str, content: bytes) -> None:
    """As certificate tools do it: a new file that takes the name of the old."""
    other = Path(f"{path}.new")
    other.write_bytes(content)
    other.replace(path)


def test_a_listener_without_a_certificate_shows_one_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """For its name, made once, in memory."""
    clock = FakeClock()
    contexts = ServerContexts(clock)
    context = contexts.context_for(listener())
    facts = Wire(context).shake_hands().client.facts()
    assert (facts.peer_subject, facts.peer_names) == (f"CN={HOST}", (HOST,))
    clock.advance(Seconds(3600.0))
    assert contexts.context_for(listener()) is context
    assert shown(contexts.context_for(listener(hostname="in.example.test"))) == ("in.example.test",)
    assert not caplog.records


def test_a_long_name_is_in_the_alternative_names_alone() -> None:
    """X.520 allows 64 characters in a common name; ours may have 253."""
    name = ".".join(["a" * 60] * 4)
    facts = (
        Wire(ServerContexts(FakeClock()).context_for(listener(hostname=name))).shake_hands().client.facts()
    )
    assert (facts.peer_subject, facts.peer_names) == ("", (name,))


def test_contexts_of_invented_names_are_bounded() -> None:
    """The ones used last are kept."""
    contexts = ServerContexts(FakeClock())
    first = contexts.context_for(listener(hostname="first.example"))
    for number in range(300):
        contexts.context_for(listener(hostname=f"{number}.example"))
        assert contexts.context_for(listener(hostname="first.example")) is first
    assert len(contexts._entries) == 256


def test_files_are_looked_at_once_a_second_and_read_when_they_changed(tmp_path: Path) -> None:
    """A certificate that was renewed is shown without a restart; a connection that has begun keeps the old one."""
    clock = FakeClock()
    contexts = ServerContexts(clock)
    certificate, key = pair("old.example").write(tmp_path)
    config = listener(certificate, key)
    before = contexts.context_for(config)
    renewed = authority().sign("new.example")
    replace(certificate, renewed.certificate)
    replace(key, renewed.key)
    under_way = Wire(before)
    assert contexts.context_for(config) is before
    clock.advance(Seconds(0.9))
    assert contexts.context_for(config) is before
    clock.advance(Seconds(0.1))
    after = contexts.context_for(config)
    assert shown(after) == ("new.example",)
    assert under_way.shake_hands().client.facts().peer_names == ("old.example",)
    clock.advance(Seconds(1.0))
    assert contexts.context_for(config) is after


def test_a_file_of_the_same_size_and_time_is_seen_to_be_another(tmp_path: Path) -> None:
    """``cp -p`` and ``mv`` keep times; inode and change time tell."""
    clock = FakeClock()
    contexts = ServerContexts(clock)
    one, two = pair("one.example"), authority().sign("two.example")
    combined = tmp_path / "both.pem"
    length = max(len(each.key + each.certificate) for each in (one, two))
    combined.write_bytes((one.key + one.certificate).ljust(length, b"\n"))
    os.utime(combined, ns=(0, 0))
    config = listener(str(combined))
    contexts.context_for(config)
    replace(str(combined), (two.key + two.certificate).ljust(length, b"\n"))
    os.utime(combined, ns=(0, 0))
    clock.advance(Seconds(1.0))
    assert shown(contexts.context_for(config)) == ("two.example",)


def test_half_a_pair_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Tools replace one file after the other; the second one's change is seen too."""
    clock = FakeClock()
    contexts = ServerContexts(clock)
    certificate, key = pair("old.example").write(tmp_path)
    config = listener(certificate, key)
    before = contexts.context_for(config)
    renewed = authority().sign("new.example")
    replace(certificate, renewed.certificate)
    for _ in range(3):
        clock.advance(Seconds(1.0))
        assert contexts.context_for(config) is before
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert (
        f"the private key in {key} is not that of the first certificate in {certificate} (put " in caplog.text
    )
    assert "PRIVATE" not in caplog.text
    replace(key, renewed.key)
    clock.advance(Seconds(1.0))
    assert shown(contexts.context_for(config)) == ("new.example",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "host.pem does not exist (name a file that does, relative to the configuration file)"),
        (
            b"",
            "host.pem has no certificate in PEM (name a file with lines such as -----BEGIN CERTIFICATE-----)",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n",
            "host.pem has a certificate that cannot be read (ask for it again)",
        ),
    ],
    ids=["gone", "empty", "cut short"],
)
def test_a_certificate_that_is_gone_or_cut_short_leaves_the_old_one_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None, said: str
) -> None:
    """Told as ``penstock check`` does; and when it is back, it is used."""
    clock = FakeClock()
    contexts = ServerContexts(clock)
    certificate, key = pair("old.example").write(tmp_path)
    config = listener(certificate, key)
    before = contexts.context_for(config)
    Path(certificate).unlink() if content is None else Path(certificate).write_bytes(content)
    clock.advance(Seconds(1.0))
    assert contexts.context_for(config) is before
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "the changed certificate files are not used, the ones before stay in"
    )
    assert record.getMessage().endswith(f": {tmp_path}/{said}")
    pair("old.example").write(tmp_path)
    clock.advance(Seconds(1.0))
    assert shown(contexts.context_for(config)) == ("old.example",)


def test_a_listener_whose_files_never_worked_has_no_context(tmp_path: Path) -> None:
    """The file is named; the next connection tries again."""
    contexts = ServerContexts(FakeClock())
    config = listener(str(tmp_path / "host.pem"), str(tmp_path / "host.key"))
    with pytest.raises(TlsError, match="host\\.pem"):
        contexts.context_for(config)
    pair(HOST).write(tmp_path)
    assert shown(contexts.context_for(config)) == (HOST,)


def client_with(tmp_path: Path, shows: Pair | None) -> ssl.SSLContext:
    """A client's context that shows a certificate."""
    context = trusting()
    if shows is not None:
        context.load_cert_chain(*shows.write(tmp_path, "client"))
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_have_to_show_a_certificate_where_an_authority_is_named(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """One that it has signed; then the server knows the subject."""
    certificate, key = pair(HOST).write(tmp_path)
    config = listener(certificate, key, authority("Clients' Authority").write(tmp_path))
    context = ServerContexts(FakeClock()).context_for(config)
    known = authority("Clients' Authority").sign("client.example")
    for shows, why in (
        (None, "the peer showed no certificate"),
        (pair("client.example"), "the certificate does not hold"),
    ):
        client = client_with(tmp_path, shows)
        client.maximum_version = version
        wire = Wire(context, client)
        with pytest.raises(TlsError, match=why):
            wire.shake_hands()
        assert not wire.server.is_ready
    client = client_with(tmp_path, known)
    client.maximum_version = version
    facts = Wire(context, client).shake_hands().server.facts()
    assert (facts.peer_subject, facts.peer_names, facts.is_verified) == (
        "CN=client.example",
        ("client.example",),
        True,
    )


def test_subjects_are_text_that_can_be_shown() -> None:
    """A subject is a stranger's words, and goes to logs and events."""
    name = x509.Name([
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, 'A, "B"\x1b[2J\r\n250 ok\u2028'),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 60),
    ])  # fmt: skip
    signed = authority().sign("a.example", subject=name)
    subject, names = described(ssl.PEM_cert_to_DER_cert(signed.certificate.decode()))
    assert subject.isprintable()
    assert subject.startswith("CN=xxx")
    assert '\\, \\"B\\"\\1B[2J\\0D\\0A250 ok\\E2\\80\\A8' in subject
    assert names == ("a.example",)
    assert described(b"\x30\x03\x02\x01\x00") == ("", ())
    assert printable("y" * 2000, 100) == "y" * 100 + "…"


def test_a_certificate_with_a_thousand_names_is_cut(tmp_path: Path) -> None:
    """Bounded, like everything of a peer."""
    signed = authority().sign(*(f"{number}.example" for number in range(1000)))
    assert len(described(ssl.PEM_cert_to_DER_cert(signed.certificate.decode()))[1]) == 100


@pytest.fixture
def server() -> ssl.SSLContext:
    """A listener's context."""
    return ServerContexts(FakeClock()).context_for(listener())


def resumable(contexts: ClientContexts, server: ssl.SSLContext, **options: int) -> TlsChannel:
    """A client's channel that has been in use, with the session of ``KEY`` if there is one."""
    context = contexts.context(False)
    for name, value in options.items():
        setattr(context, name, value)
    wire = Wire(server, context, session=contexts.recall(KEY)).shake_hands()
    wire.server.write(b"250 ok\r\n")
    assert wire.to_client() == b"250 ok\r\n"
    return wire.client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(server: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """The certificate is known from the first time."""
    contexts = ClientContexts(None, FakeClock())
    assert contexts.recall(KEY) is None
    first = resumable(contexts, server, maximum_version=version)
    assert not first.facts().is_resumed
    contexts.remember(KEY, first)
    second = resumable(contexts, server)
    assert second.facts().is_resumed
    assert second.facts().peer_names == (HOST,)
    contexts.remember(KEY, second)
    assert resumable(contexts, server).facts().is_resumed


def test_a_session_is_kept_for_one_host_address_port_and_kind_of_verification(server: ssl.SSLContext) -> None:
    """What was found out under one of them says nothing about another."""
    contexts = ClientContexts(None, FakeClock())
    contexts.remember(KEY, resumable(contexts, server))
    for other in (
        SessionKey("mx2.example.test", "192.0.2.1", 25, is_verified=False),
        SessionKey(HOST, "192.0.2.2", 25, is_verified=False),
        SessionKey(HOST, "192.0.2.1", 465, is_verified=False),
        SessionKey(HOST, "192.0.2.1", 25, is_verified=True),
    ):
        assert contexts.recall(other) is None


def test_a_session_of_the_context_that_takes_any_certificate_is_no_verified_one(
    server: ssl.SSLContext,
) -> None:
    """Not even if it is handed in as one."""
    contexts = ClientContexts(None, FakeClock())
    verified = SessionKey(HOST, "192.0.2.1", 25, is_verified=True)
    channel = resumable(contexts, server)
    contexts.remember(verified, channel)
    assert contexts.recall(verified) is None
    with pytest.raises(TlsError):
        TlsChannel(contexts.context(True), server_side=False, server_name=HOST, session=channel.session)


def test_an_hour_after_the_certificate_was_looked_at_it_is_looked_at_again(server: ssl.SSLContext) -> None:
    """However often the session was resumed in between."""
    clock = FakeClock()
    contexts = ClientContexts(None, clock)
    contexts.remember(KEY, resumable(contexts, server))
    for _ in range(3):
        clock.advance(Seconds(1000.0))
        channel = resumable(contexts, server)
        assert channel.facts().is_resumed
        contexts.remember(KEY, channel)
    clock.advance(Seconds(600.0))
    late = resumable(contexts, server)
    assert not late.facts().is_resumed
    contexts.remember(KEY, channel)
    assert contexts.recall(KEY) is None


def test_what_cannot_be_resumed_is_not_kept(server: ssl.SSLContext) -> None:
    """A handshake under way; a TLS 1.3 session without its ticket."""
    contexts = ClientContexts(None, FakeClock())
    contexts.remember(KEY, TlsChannel(contexts.context(False), server_side=False, server_name=HOST))
    wire = Wire(server, contexts.context(False))
    wire.to_server()
    wire.to_client()
    assert wire.client.is_ready
    contexts.remember(KEY, wire.client)
    assert contexts.recall(KEY) is None


def test_sessions_are_bounded(server: ssl.SSLContext) -> None:
    """The ones used last are kept."""
    contexts = ClientContexts(None, FakeClock())
    channel = resumable(contexts, server)
    for port in range(1, 4200):
        contexts.remember(SessionKey(HOST, "192.0.2.1", port, is_verified=False), channel)
    assert len(contexts._sessions) == 4096
    assert contexts.recall(SessionKey(HOST, "192.0.2.1", 4199, is_verified=False)) is not None
    assert contexts.recall(SessionKey(HOST, "192.0.2.1", 1, is_verified=False)) is None


def test_authorities_that_cannot_be_read_are_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    """The file is named."""
    path = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match=r"ca\.pem does not exist"):
        ClientContexts(str(path))
    path.write_text("nothing\n")
    with pytest.raises(ConfigError, match=r"ca\.pem has no certificate in PEM"):
        ClientContexts(str(path))

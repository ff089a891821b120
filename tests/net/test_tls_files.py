"""What is wrong with certificates and keys is said with the file, the option, and what would be right."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from penstock.mail.duration import WallTime
from penstock.mail.problem import Problem
from penstock.mail.tls import TlsFiles
from penstock.net.tls import check_authorities, check_certificates
from tests.net.certificates import BEGINNING, END, authority, pair

TABLE = "listener.smtp[0]"
NOW = WallTime(dt.datetime(2026, 1, 31, tzinfo=dt.UTC).timestamp())
OWN = pair("mx.example.test")


def problems(*files: str | None, now: WallTime = NOW) -> list[Problem]:
    """What is wrong with a certificate, a key, and an authority of clients."""
    return check_certificates([(TlsFiles(*files), TABLE)], "penstock.toml", now)


def test_files_that_go_together_have_no_problem(tmp_path: Path) -> None:
    """Two files, one file with both in either order, a chain, none; and a client's authority."""
    assert problems(None, None) == []
    assert problems(*OWN.write(tmp_path), authority().write(tmp_path)) == []
    both = tmp_path / "both.pem"
    for content in (OWN.certificate + OWN.key, OWN.key + OWN.certificate):
        both.write_bytes(content + authority().certificate)
        assert problems(str(both), None) == []


@pytest.mark.parametrize(
    ("certificate", "key", "option", "what"),
    [
        (None, OWN.key, "tls_certificate", "host.pem does not exist"),
        (b"", OWN.key, "tls_certificate", "host.pem has no certificate in PEM"),
        (b"\x30\x82\x01\x00\xff", OWN.key, "tls_certificate", "host.pem has no certificate in PEM"),
        (OWN.key, OWN.key, "tls_certificate", "host.pem has no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", OWN.key, "tls_certificate", "host.pem has a certificate that cannot be"),
        (OWN.certificate, None, "tls_private_key", "host.key does not exist"),
        (OWN.certificate, OWN.certificate, "tls_private_key", "host.key has no private key in PEM"),
        (OWN.certificate, OWN.key.replace(b"\nM", b"\nA"), "tls_private_key", "the private key in "),
        (OWN.certificate, pair("other.example").key, "tls_private_key", "is not that of the first certificate in "),
        (authority().certificate + OWN.certificate, OWN.key, "tls_private_key", "is not that of the first certificate in "),
    ],
    ids=["no certificate", "empty", "DER", "a key for a certificate", "broken", "no key", "a certificate for a key", "a broken key", "another's key",
         "the chain upside down"],
)  # fmt: skip
def test_what_is_wrong_with_a_pair_is_told(
    tmp_path: Path, certificate: bytes | None, key: bytes | None, option: str, what: str
) -> None:
    """One problem, under the option that names the file, and nothing of the key's content."""
    paths = tmp_path / "host.pem", tmp_path / "host.key"
    for path, content in zip(paths, (certificate, key), strict=True):
        if content is not None:
            path.write_bytes(content)
    (problem,) = problems(*map(str, paths))
    assert problem.key == f"{TABLE}.{option}"
    assert what in problem.what
    assert problem.hint
    assert str(problem).isprintable()


def test_everything_wrong_with_a_pair_is_told_at_once(tmp_path: Path) -> None:
    """Of both files, and of the authority."""
    found = problems(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c"))
    options = ["tls_certificate", "tls_private_key", "tls_required_client_ca"]
    assert [problem.key for problem in found] == [f"{TABLE}.{option}" for option in options]


def test_a_certificate_without_a_key_beside_it_needs_it_in_its_file(tmp_path: Path) -> None:
    """Told under the one option that there is."""
    certificate, _ = OWN.write(tmp_path)
    (problem,) = problems(certificate, None)
    assert (problem.key, problem.hint) == (
        f"{TABLE}.tls_certificate",
        "name the file that has it as tls_private_key",
    )


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    """Nobody is there to type a passphrase."""
    certificate, key = OWN.write(tmp_path)
    loaded = serialization.load_pem_private_key(OWN.key, None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    Path(key).write_bytes(
        loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )
    (problem,) = problems(certificate, key)
    assert "is encrypted" in problem.what


@pytest.mark.parametrize(
    ("beginning", "end", "what"),
    [
        (BEGINNING, dt.datetime(2026, 1, 30, 12, tzinfo=dt.UTC), "expired at 2026-01-30 12:00 UTC"),
        (dt.datetime(2026, 2, 1, tzinfo=dt.UTC), END, "is not valid before 2026-02-01 00:00 UTC"),
    ],
)
def test_a_certificate_out_of_its_time_is_refused(
    tmp_path: Path, beginning: dt.datetime, end: dt.datetime, what: str
) -> None:
    """At the time of the check."""
    paths = authority().sign("mx.example.test", beginning=beginning, end=end).write(tmp_path)
    (problem,) = problems(*paths)
    assert what in problem.what
    assert check_certificates([(TlsFiles(*paths), TABLE)]) == []


def test_a_key_that_openssl_will_not_take_is_refused(tmp_path: Path) -> None:
    """What looks right is loaded, as the listener would."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak.example")])
    signed = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), BEGINNING, END
    ).sign(key, hashes.SHA256())
    certificate, private = tmp_path / "host.pem", tmp_path / "host.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (problem,) = problems(str(certificate), str(private))
    assert "the key of the certificate is too small" in problem.what


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    """A pipe would keep the server waiting."""
    os.mkfifo(tmp_path / "pipe")
    (problem,) = problems(str(tmp_path / "pipe"), None)
    assert "is no file" in problem.what
    (problem,) = problems(str(tmp_path), None)
    assert "is no file" in problem.what


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "does not exist"), (OWN.key, "no certificate"), (b"#" * (4 << 20 | 1), "too big")],
)
def test_authorities_that_cannot_be_used_are_told(tmp_path: Path, content: bytes | None, what: str) -> None:
    """Those that clients are verified by, and those that other hosts are."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems(None, None, str(path))
    assert (problem.key, what in problem.what) == (f"{TABLE}.tls_required_client_ca", True)
    (problem,) = check_authorities(str(path))
    assert (problem.key, what in problem.what) == ("node.tls_ca_file", True)
    path.write_bytes(authority().certificate)
    assert check_authorities(str(path)) == []


def test_a_host_without_authorities_verifies_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All mail to hosts with TLS would wait until it is too old; so it is told before."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    (problem,) = check_authorities(None)
    assert "no certificates of authorities" in problem.what
    assert "ca-certificates" in problem.hint
    monkeypatch.setenv("SSL_CERT_FILE", authority().write(tmp_path))
    assert check_authorities(None) == []

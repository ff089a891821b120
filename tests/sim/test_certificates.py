"""Certificates for simulated peers."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from penstock.sim.certificates import Authority, Certificate

AUTHORITY = Authority()


def shake_hands(certificate: Certificate, name: str) -> None:
    """Verify ``certificate`` as a client does that trusts the authority; ssl.SSLError if it is not good for ``name``."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_into(server_context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client_context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.parametrize("name", ["mx.here.test", "*.wild.test", "127.0.0.1", "x" * 63 + ".y" * 10 + ".test"])
def test_a_certificate_is_good_for_its_names(name: str) -> None:
    """Host names, wildcards, addresses, and names longer than a common name may be."""
    shake_hands(AUTHORITY.issue(name), name.replace("*", "a"))


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (AUTHORITY.issue("mx.other.test"), "Hostname mismatch"),
        (AUTHORITY.issue("mx.here.test", is_expired=True), "expired"),
        (Authority().issue("mx.here.test"), "certificate verify failed"),
        (AUTHORITY.issue(), "Hostname mismatch"),
    ],
    ids=["another name", "expired", "another authority", "no name"],
)
def test_a_bad_certificate_is_bad(certificate: Certificate, reason: str) -> None:
    """Each in its way."""
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake_hands(certificate, "mx.here.test")


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    """As any key file."""
    _, private_key = AUTHORITY.issue("a.test").write(tmp_path)
    assert private_key.stat().st_mode & 0o077 == 0

"""Certificates for simulated peers: an authority of our own, and what it issues, good ones and bad ones.

They are made of P-256 keys in a millisecond. Their times are fixed, so no test depends on today's date.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2120, 1, 1, tzinfo=UTC)
_OVER: Final = datetime(2021, 1, 1, tzinfo=UTC)
#: X.509's limit of a common name (RFC 5280 A.1, ub-common-name).
_COMMON_NAME_LIMIT: Final = 64


class Certificate:
    """A certificate with its private key, as PEM; ``chain`` is the certificate alone or with those that stand behind it."""

    __slots__ = ("chain", "private_key")

    def __init__(self, chain: bytes, private_key: bytes) -> None:
        self.chain = chain
        self.private_key = private_key

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """Write ``name.pem`` and ``name.key``; their paths."""
        certificate, private_key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(self.chain)
        private_key.touch(mode=0o600)
        private_key.write_bytes(self.private_key)
        return certificate, private_key

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have ``context`` present it. The standard library reads files only, so it is in some for that long."""
        with _directory() as directory:
            context.load_cert_chain(*self.write(directory))


class Authority:
    """A certificate authority. Who trusts ``pem`` trusts what it issues."""

    def __init__(self, name: str = "Penstock simulated authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(self._name, self._name, self._key.public_key(), _UNTIL)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *names: str, is_expired: bool = False) -> Certificate:
        """A certificate for these host names and addresses; ``is_expired``: its time was over in 2021."""
        key = ec.generate_private_key(ec.SECP256R1())
        common_name = (names[0] if names else "nobody")[:_COMMON_NAME_LIMIT]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(subject, self._name, key.public_key(), _OVER if is_expired else _UNTIL)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return Certificate(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(until)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=is_authority, crl_sign=is_authority, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        yield Path(name)

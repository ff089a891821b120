"""An authority for tests, and certificates by it; keys are made once for each process."""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

#: When the tests' clocks stand, near enough (``FakeClock``); but OpenSSL looks at the system's clock.
BEGINNING = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str = "host") -> tuple[str, str]:
        """The two as files; their paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        return str(certificate), str(key)


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        built = self._builder(self._name, self._key.public_key(), BEGINNING, END).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._own = built.sign(self._key, hashes.SHA256())

    @property
    def certificate(self) -> bytes:
        """The authority's own, in PEM."""
        return self._own.public_bytes(serialization.Encoding.PEM)

    def write(self, folder: Path, name: str = "ca") -> str:
        """Its certificate as a file; the path."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.certificate)
        return str(path)

    def sign(
        self,
        *names: str,
        subject: x509.Name | None = None,
        beginning: dt.datetime = BEGINNING,
        end: dt.datetime = END,
    ) -> Pair:
        """A certificate for these DNS names, with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = subject or x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        built = self._builder(who, key.public_key(), beginning, end).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signed = built.sign(self._key, hashes.SHA256())
        return Pair(signed.public_bytes(serialization.Encoding.PEM), private)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, beginning: dt.datetime, end: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(beginning)
            .not_valid_after(end)
        )


@functools.cache
def authority(name: str = "Example Authority") -> Authority:
    """One for each name."""
    return Authority(name)


@functools.cache
def pair(*names: str) -> Pair:
    """A certificate of the usual authority, the same one each time."""
    return authority().sign(*names)

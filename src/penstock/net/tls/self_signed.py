"""The certificate of a listener that was given none: it keeps mail from being read on the way, and proves nothing."""

from __future__ import annotations

import datetime as dt
from typing import Final

from penstock.mail.duration import WallTime

#: It is made anew at each start, so it only has to outlive a process; the day before is for clients whose clocks are behind.
_VALID_FOR: Final = dt.timedelta(days=3650)
_VALID_BEFORE: Final = dt.timedelta(days=1)
#: X.520's upper bound of a common name. A longer host name is in the subject alternative name alone (RFC 5280 4.1.2.6).
_COMMON_NAME_LIMIT: Final = 64


def self_signed(hostname: str, now: WallTime) -> bytes:
    """A new ECDSA P-256 key and a certificate of it for ``hostname`` (A-labels), in PEM. Takes a third of a millisecond."""
    from cryptography import x509  # loaded where TLS is used: it takes 13 MB
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    is_short = len(hostname) <= _COMMON_NAME_LIMIT
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hostname)] if is_short else [])
    today = dt.datetime.fromtimestamp(now, dt.UTC).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _VALID_BEFORE)
        .not_valid_after(today + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=not is_short)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)

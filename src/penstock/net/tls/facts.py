"""What a peer's certificate says of it, as text that can be shown: subjects and names come from strangers."""

from __future__ import annotations

import functools
import ssl
from typing import Final

from penstock.mail.tls import TlsFacts

#: How much of a subject is kept, in characters, and how many names. Large certificates of content networks have a hundred.
_SUBJECT_LIMIT: Final = 1024
_NAMES_LIMIT: Final = 100
_NAME_LIMIT: Final = 255


def facts_of(tls: ssl.SSLObject) -> TlsFacts:
    """What is known of a connection whose handshake is done."""
    cipher = tls.cipher()
    certificate = tls.getpeercert(True)
    subject, names = described(certificate) if certificate else ("", ())
    return TlsFacts(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        peer_subject=subject,
        peer_names=names,
        # a handshake does not end where what is required does not hold
        is_verified=certificate is not None and tls.context.verify_mode is ssl.CERT_REQUIRED,
        is_resumed=bool(tls.session_reused),
    )


@functools.lru_cache(maxsize=512)  # connections to one host show one certificate; parsing takes some 30 µs
def described(certificate: bytes) -> tuple[str, tuple[str, ...]]:
    """Subject (RFC 4514) and DNS names of a certificate in DER; empty where it does not say, or cannot be read."""
    from cryptography import x509  # loaded where TLS is used: it takes 13 MB

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        subject = parsed.subject.rfc4514_string()
    except ValueError:
        return "", ()
    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        names = []
    return printable(subject, _SUBJECT_LIMIT), tuple(
        printable(name, _NAME_LIMIT) for name in names[:_NAMES_LIMIT]
    )


def printable(text: str, limit: int) -> str:
    """``text``, its tail cut beyond ``limit``, with what is not printable written as RFC 4514 2.4 writes it: a backslash and hexadecimal octets."""
    shown = text if len(text) <= limit else text[:limit] + "…"
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() else "".join(f"\\{octet:02X}" for octet in char.encode("utf-8", "replace"))
        for char in shown
    )

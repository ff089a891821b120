"""Gives a context the files of a listener: a certificate with its key, and the authorities of clients. TlsError names the file and the reason."""

from __future__ import annotations

import ssl

from penstock.net.tls.faults import TlsError, reason_of


def load_pair(context: ssl.SSLContext, certificate: str, private_key: str | None) -> None:
    """Give a context its certificate and key (None: in the certificate's file); TlsError if they do not go together, or cannot be read."""
    key_file = certificate if private_key is None else private_key

    def no_passphrase() -> str:  # OpenSSL would ask on the terminal
        raise TlsError(
            f"{key_file}: the private key is encrypted, and nobody is there to give its passphrase"
        )

    try:
        context.load_cert_chain(certificate, private_key, password=no_passphrase)
    except OSError as error:
        both = certificate if private_key is None else f"{certificate} and {private_key}"
        raise TlsError(f"{both}: {_reason(error)}") from error


def load_client_authorities(context: ssl.SSLContext, path: str) -> None:
    """Have clients show a certificate that one of the file's has signed; TlsError if the file cannot be used."""
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise TlsError(f"{path}: {_reason(error)}") from error
    context.verify_mode = ssl.CERT_REQUIRED


def _reason(error: OSError) -> str:
    """OpenSSL has no name for a file that ends too early."""
    is_nameless = isinstance(error, ssl.SSLError) and not error.reason
    return "what is in it is not whole, or not PEM" if is_nameless else reason_of(error)

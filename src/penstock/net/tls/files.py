"""What is wrong with certificates, keys and authorities on disk, in words for an operator; OpenSSL's own say little.

Looks only. A file that passes is loaded by OpenSSL itself as the last test, so that what passes here is what a listener can use.
"""

from __future__ import annotations

import datetime as dt
import re
import ssl
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.mail.duration import WallTime
from penstock.mail.problem import Problem
from penstock.mail.tls import TlsFiles
from penstock.net.tls.faults import TlsError
from penstock.net.tls.pair import load_client_authorities, load_pair

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: All authorities of the world are 220 KB.
_SIZE_LIMIT: Final = 4 * 1024 * 1024
# RFC 7468 2, 10, 11, and the older names of a single algorithm
_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----.*?-----END ([A-Z]+ )?PRIVATE KEY-----", re.DOTALL)
_PEM: Final = "name a file with lines such as -----BEGIN CERTIFICATE-----"
_KEY_PEM: Final = "name a file with a line such as -----BEGIN PRIVATE KEY-----"


class _Wrong(Exception):
    """A file that cannot be used: what is wrong, what would be right."""


def check_certificates(
    listeners: Iterable[tuple[TlsFiles, str]], file: str = "penstock.toml", now: WallTime | None = None
) -> list[Problem]:
    """What keeps these files from being used. ``str`` is the key path of the table in ``file`` that names them; ``now`` None expires nothing."""
    problems: list[Problem] = []
    for files, table in listeners:
        if files.certificate is not None:
            found = _check_pair(files.certificate, files.private_key, now)
            problems += [Problem(file, f"{table}.{option}", what, hint) for option, what, hint in found]
        if files.client_ca is not None:
            try:
                _check_client_ca(files.client_ca)
            except _Wrong as wrong:
                problems.append(Problem(file, f"{table}.tls_required_client_ca", *wrong.args))
    return problems


def check_authorities(
    ca_file: str | None, file: str = "penstock.toml", key: str = "node.tls_ca_file"
) -> list[Problem]:
    """What keeps other hosts' certificates from being verified: by ``ca_file``, or (None) by the system's authorities, which may not be installed."""
    try:
        if ca_file is None:
            _check_system()
        else:
            certificates_in(ca_file)
            _try_authorities(ca_file)
    except _Wrong as wrong:
        return [Problem(file, key, *wrong.args)]
    return []


def certificates_in(path: str) -> list[Certificate]:
    """The certificates of a PEM file, at least one."""
    from cryptography import x509  # loaded where TLS is used: it takes 13 MB

    octets = _read(path)
    try:
        return x509.load_pem_x509_certificates(octets)
    except (ValueError, x509.InvalidVersion):
        if b"-----BEGIN CERTIFICATE-----" in octets:
            raise _Wrong(f"{path} has a certificate that cannot be read", "ask for it again") from None
        raise _Wrong(f"{path} has no certificate in PEM", _PEM) from None


def _check_pair(
    certificate: str, private_key: str | None, now: WallTime | None
) -> Iterator[tuple[str, str, str]]:
    """The option that names what is wrong, what, and what would be right."""
    key_option = "tls_certificate" if private_key is None else "tls_private_key"
    leaf = key = public = None
    try:
        leaf = certificates_in(certificate)[0]
        public = _key_of(certificate, leaf)
        _check_time(certificate, leaf, now)
    except _Wrong as wrong:
        yield ("tls_certificate", *wrong.args)
    if leaf is None and private_key is None:
        return  # one file, and it is told
    try:
        key = _public_part(certificate if private_key is None else private_key, private_key is None)
    except _Wrong as wrong:
        yield (key_option, *wrong.args)
    if public is None or key is None:
        return
    if public != key:
        yield (
            key_option,
            f"the private key in {private_key or certificate} is not that of the first certificate in {certificate}",
            "put the server's own certificate first, then those that signed it; and name its key",
        )
        return
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, private_key)
    except TlsError as error:
        yield (
            "tls_certificate",
            str(error),
            "use an RSA key of 2048 bits or more, or an ECDSA or Ed25519 key",
        )


def _key_of(path: str, leaf: Certificate) -> object:
    """The public key of a certificate."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise _Wrong(
            f"the key of the certificate in {path} cannot be used",
            "make an RSA key of 2048 bits or more, or an ECDSA or Ed25519 key, and ask for a certificate",
        ) from None


def _check_time(path: str, leaf: Certificate, now: WallTime | None) -> None:
    if now is None:
        return
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    if leaf.not_valid_after_utc < today:
        raise _Wrong(
            f"the certificate in {path} expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", "renew it"
        )
    if leaf.not_valid_before_utc > today:
        raise _Wrong(
            f"the certificate in {path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            "wait until then, or set the clock of this host",
        )


def _public_part(path: str, is_certificate_file: bool) -> object:
    """The public key of the private key in a file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = _KEY.search(_read(path))
    if found is None and is_certificate_file:
        raise _Wrong(f"{path} has no private key in PEM", "name the file that has it as tls_private_key")
    if found is None:
        raise _Wrong(f"{path} has no private key in PEM", _KEY_PEM)
    try:
        return load_pem_private_key(found[0] + b"\n", None).public_key()
    except TypeError:
        what = f"the private key in {path} is encrypted, and nobody is there to give its passphrase"
        raise _Wrong(what, "decrypt it with 'openssl pkey', and let only Penstock's user read it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _Wrong(
            f"the private key in {path} cannot be read", "make a new key and ask for a certificate"
        ) from None


def _check_client_ca(path: str) -> None:
    certificates_in(path)
    try:
        load_client_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), path)
    except TlsError as error:
        raise _Wrong(str(error), _PEM) from None


def _try_authorities(path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise _Wrong(f"{path} cannot be used: {error.strerror or error}", _PEM) from None


def _check_system() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_default_verify_paths()
    folder = ssl.get_default_verify_paths().capath
    if not context.cert_store_stats()["x509_ca"] and not (folder and any(Path(folder).iterdir())):
        raise _Wrong(
            "is missing, and this host has no certificates of authorities: no other host's certificate could be verified",
            'install the package ca-certificates, name a file, or set enable_tls = "OpportunisticInsecure" in shaping.toml',
        )


def _read(path: str) -> bytes:
    """The octets of a regular file."""
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):
            raise _Wrong(f"{path} is no file", "name a file in PEM")
        if found.st_size > _SIZE_LIMIT:
            raise _Wrong(f"{path} is too big for certificates", _PEM)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise _Wrong(
            f"{path} does not exist", "name a file that does, relative to the configuration file"
        ) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise _Wrong(f"{path} cannot be read: {why}", "let the user that Penstock runs as read it") from None

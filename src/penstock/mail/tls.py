"""What is known of an encrypted connection, as a value: for policy, records and events."""

from __future__ import annotations

import msgspec


class TlsFacts(msgspec.Struct, frozen=True, gc=False):
    """One connection's TLS.

    ``version`` is as OpenSSL writes it (``TLSv1.3``), ``cipher`` its name. ``peer_subject`` is the subject of the peer's certificate (RFC 4514,
    "" for none), ``peer_names`` its DNS names. ``is_verified``: the certificate was verified; on a client's side, for the name that was asked for.
    """

    version: str
    cipher: str
    peer_subject: str = ""
    peer_names: tuple[str, ...] = ()
    is_verified: bool = False
    is_resumed: bool = False


class TlsFiles(msgspec.Struct, frozen=True, gc=False):
    """The PEM files of a listener, as absolute paths: a certificate with its chain, its key (None: in the same file), and who signs clients'.

    No certificate: the listener shows a self-signed one.
    """

    certificate: str | None = None
    private_key: str | None = None
    client_ca: str | None = None

"""TLS for SMTP (RFC 3207, RFC 8314) by the standard library's ``ssl``, over memory BIOs: octets in, octets out, no I/O of its own.

- ``channel``: one connection's TLS; ``client_hello``: what is looked at before the library sees it; ``facts``: what is known once it is up
- ``server``: the contexts of listeners, with their certificates as they are on disk; ``self_signed``: what a listener without one shows
- ``client``: the contexts towards other hosts, and sessions for resumption
- ``pair``: what loads certificates, keys and authorities into a context; ``files``: what is wrong with certificates and keys, for ``penstock check``
- ``faults``: ``TlsError``, and OpenSSL's reasons in words

Versions are TLS 1.2 and 1.3; there is no compression and no renegotiation. Choices and their reasons: ``docs/decisions/0008-tls.md``.
"""

from penstock.net.tls.channel import TlsChannel
from penstock.net.tls.client import ClientContexts, SessionKey
from penstock.net.tls.faults import TlsError
from penstock.net.tls.files import check_authorities, check_certificates
from penstock.net.tls.server import ServerContexts

__all__ = [
    "ClientContexts",
    "ServerContexts",
    "SessionKey",
    "TlsChannel",
    "TlsError",
    "check_authorities",
    "check_certificates",
]

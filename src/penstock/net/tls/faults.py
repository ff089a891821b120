"""What ends a connection's TLS, in one line for people. OpenSSL's reasons are names of constants; the frequent ones have words here."""

from __future__ import annotations

import re
import ssl
from typing import Final

#: The peer's own alerts: SSLV3_ALERT_BAD_CERTIFICATE, TLSV1_ALERT_UNKNOWN_CA, TLSV13_ALERT_CERTIFICATE_REQUIRED.
_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_ALERT_([A-Z0-9_]+)", re.ASCII)
_NOT_TLS: Final = "the peer sends something other than TLS"
_NO_VERSION: Final = "no version in common: TLS 1.2 or later is needed"
_WORDS: Final = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "HTTPS_PROXY_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "VERSION_TOO_LOW": _NO_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "NO_SHARED_CIPHER": "no cipher in common",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer showed no certificate, and one is required",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was changed on the way",
    "EE_KEY_TOO_SMALL": "the key of the certificate is too small",
    "CA_MD_TOO_WEAK": "a signature among the certificates is too weak",
}


class TlsError(Exception):
    """A connection whose TLS is over, or did not come about: ``str`` is one line with the reason, for people, and without secrets.

    Nothing further is plain text. What is still to be written may be an alert that tells the peer.
    """


def reason_of(error: Exception) -> str:
    """Why, in words, without a final full stop."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = str(error.verify_message).rstrip(".")
        return f"the certificate does not hold: {said[:1].lower()}{said[1:]}"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
        return error.strerror.lower()
    if not isinstance(error, ssl.SSLError):
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    name = error.reason or ""
    if name in _WORDS:
        return _WORDS[name]
    alert = _ALERT.fullmatch(name)
    if alert is not None:
        return f"the peer refuses: {alert[1].replace('_', ' ').lower()}"
    return name.replace("_", " ").lower() or "OpenSSL gives no reason"

"""The contexts towards other hosts, and the sessions by which a later connection to the same host needs a shorter handshake.

Resuming a session takes over what the full handshake has found out about the certificate. So a session is kept under everything that this
depended on (``SessionKey``), is used with the context it came from alone, and for an hour at most: a certificate that has expired, or whose
authority is trusted no more, does not live on in it.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from typing import Final

import msgspec

from penstock.mail.duration import MonotonicTime, Seconds
from penstock.mail.ports import Clock
from penstock.mail.problem import ConfigError
from penstock.net.clock import SystemClock
from penstock.net.tls.channel import TlsChannel
from penstock.net.tls.files import check_authorities

#: Sessions kept, the ones longest unused go first. One takes 2 to 6 KB, with the peer's chain.
_KEPT: Final = 4096
#: How long one is good for. RFC 8446 4.6.1 allows seven days, servers mostly give two hours.
_LIFETIME: Final = Seconds(3600.0)


class SessionKey(msgspec.Struct, frozen=True):
    """Everything that has to be the same for a session to be resumed: the host by name, its address and port, and whether it is verified."""

    server_name: str
    address: str
    port: int
    is_verified: bool


class ClientContexts:
    """The two contexts of a client: one that verifies (a certificate valid for the host's name, by ``ca_file`` or the system's), one that takes any.

    ConfigError if ``ca_file`` cannot be used. Takes some 40 ms, for the system's certificates. Without a ``clock``, the system's.
    """

    __slots__ = ("_clock", "_contexts", "_sessions")

    def __init__(self, ca_file: str | None, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._contexts = {True: _verifying(ca_file), False: _trusting()}
        self._sessions: OrderedDict[SessionKey, tuple[ssl.SSLSession, MonotonicTime]] = OrderedDict()

    def context(self, verified: bool) -> ssl.SSLContext:
        """The context for a connection whose peer's certificate has to hold, or may be anybody's."""
        return self._contexts[verified]

    def recall(self, key: SessionKey) -> ssl.SSLSession | None:
        """A session to resume with ``context(key.is_verified)``, or None. The server may not want it; then a full handshake follows."""
        found = self._sessions.get(key)
        if found is None:
            return None
        session, end = found
        if self._clock.monotonic() >= end:
            del self._sessions[key]
            return None
        self._sessions.move_to_end(key)
        return session

    def remember(self, key: SessionKey, channel: TlsChannel) -> None:
        """Keep a connection's session; nothing is kept that cannot be resumed. Call it when the connection is done with.

        With TLS 1.3 the server's tickets come after the handshake, with its first plain text.
        """
        if not channel.is_ready or channel.context is not self._contexts[key.is_verified]:
            return
        session = channel.session
        if session is None:
            return
        before = self._sessions.pop(key, None)
        end = MonotonicTime(self._clock.monotonic() + min(_LIFETIME, session.timeout))
        if channel.is_resumed:
            # The certificate was looked at when the first of the row was made; so the row ends with that one.
            if before is None:
                return
            end = min(end, before[1])
        self._sessions[key] = (session, end)
        if len(self._sessions) > _KEPT:
            self._sessions.popitem(last=False)


def _verifying(ca_file: str | None) -> ssl.SSLContext:
    context = _context()
    if ca_file is None:
        context.set_default_verify_paths()
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise ConfigError(check_authorities(ca_file, ca_file, "")) from error
    return context


def _trusting() -> ssl.SSLContext:
    context = _context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # A weak key, which distributions refuse by their default level of 2, is better than the plain text that would be sent instead.
    context.set_ciphers("DEFAULT:@SECLEVEL=1")
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context

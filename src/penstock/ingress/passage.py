"""What stands between the octets of a connection and those of its session: a PROXY header in front, and TLS around.

Whatever is wrong here ends the connection: ``Impassable``. An alert that TLS leaves behind is among the octets to be written.
"""

from __future__ import annotations

import ssl

from penstock.mail.tls import TlsFacts
from penstock.net.tls import TlsChannel, TlsError
from penstock.smtp.proxy import ProxyError, ProxyHeader, ProxyReader


class Impassable(Exception):
    """Nothing more comes through in either direction; ``str()`` of it says why. ``is_handshake``: TLS was not up yet."""

    def __init__(self, why: object, *, is_handshake: bool = False) -> None:
        super().__init__(str(why))
        self.is_handshake = is_handshake


class Passage:
    """The way of one connection; free, unless a header or a handshake is waited for."""

    __slots__ = ("_channel", "_proxy", "_was_ready")

    def __init__(self) -> None:
        self._channel: TlsChannel | None = None
        self._proxy: ProxyReader | None = None
        self._was_ready = False

    @property
    def is_open(self) -> bool:
        """Whether the session can be read from and written to."""
        return self._proxy is None and (self._channel is None or self._channel.is_ready)

    @property
    def is_plain(self) -> bool:
        """Whether octets go through as they are."""
        return self._channel is None and self._proxy is None

    def expect_header(self) -> None:
        """A PROXY header comes first."""
        self._proxy = ProxyReader()

    @property
    def is_headed(self) -> bool:
        """Whether a PROXY header is waited for."""
        return self._proxy is not None

    def read_header(self, octets: bytes) -> tuple[ProxyHeader, bytes] | None:
        """Take octets of the header; it, and what came behind it, once it is whole. Impassable."""
        proxy = self._proxy
        assert proxy is not None  # noqa: S101 -- called while a header is waited for
        try:
            header = proxy.feed(octets)
        except ProxyError as error:
            raise Impassable(error) from None
        if header is None:
            return None
        self._proxy = None
        return header, proxy.rest

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """A handshake comes next."""
        self._channel = TlsChannel(context, server_side=True)

    @property
    def has_tls(self) -> bool:
        """Whether TLS has begun."""
        return self._channel is not None

    def inward(self, octets: bytes) -> bytes:  # hot: throughput
        """The session's octets in those that came. Impassable."""
        channel = self._channel
        if channel is None:
            return octets
        try:
            return channel.feed(octets) if octets else b""
        except TlsError as error:
            raise Impassable(error, is_handshake=not self._was_ready) from None

    def just_secured(self) -> TlsFacts | None:
        """The facts of a handshake that has been done since the last call."""
        channel = self._channel
        if channel is None or self._was_ready or not channel.is_ready:
            return None
        self._was_ready = True
        return channel.facts()

    @property
    def has_ended(self) -> bool:
        """Whether the client has ended TLS."""
        return self._channel is not None and self._channel.has_ended

    def outward(self, octets: bytes) -> bytes:  # hot: throughput
        """The octets to be written for the session's. Impassable where the client hears nothing any more."""
        channel = self._channel
        if channel is None:
            return octets
        try:
            channel.write(octets)
        except TlsError as error:
            raise Impassable(error) from None
        return channel.take_output()

    def left_over(self) -> bytes:
        """What is to be written besides: a handshake, an alert."""
        return self._channel.take_output() if self._channel is not None else b""

    def closed(self) -> bytes:
        """The last octets to be written."""
        if self._channel is None:
            return b""
        self._channel.close()
        return self._channel.take_output()

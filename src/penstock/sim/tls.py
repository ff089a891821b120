"""TLS of simulated servers: memory BIOs between a connection and its protocol.

asyncio's own upgrade of a running connection hands over octets that came before it; here nothing that came in plain text can get in.
Nothing is shared with ``penstock.net.tls``, which this judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import weakref
from pathlib import Path
from typing import Any, Final

import msgspec

_READ: Final = 65_536


class TlsSeen(msgspec.Struct, frozen=True):
    """The TLS of one connection: version and cipher as OpenSSL names them, the name that the client asked for (SNI, "" for none).

    ``is_resumed``: the session was one from before.
    """

    version: str
    cipher: str
    server_name: str
    is_resumed: bool


class ServerTls:
    """A certificate and its key (None: in the same file), from PEM files, or made for ``hostname`` where there are none.

    OSError if they cannot be used.
    """

    def __init__(
        self, hostname: str, certificate: Path | None = None, private_key: Path | None = None
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._note_name
        self._names: weakref.WeakKeyDictionary[ssl.SSLObject, str] = weakref.WeakKeyDictionary()
        if certificate is None:
            # here, because importing it takes longer than all else, and most sinks need none
            from penstock.sim.certificates import Authority

            Authority().issue(hostname).load_into(self.context)
        else:
            # an empty passphrase, or OpenSSL would ask on the terminal
            self.context.load_cert_chain(certificate, private_key, password="")

    def _note_name(self, channel: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self._names[channel] = name or ""

    def name_asked(self, channel: ssl.SSLObject) -> str:
        """The server name that a client asked for."""
        return self._names.get(channel, "")


class SecureTransport(asyncio.Transport):
    """What a protocol writes to once its connection is encrypted: asyncio's transport, as far as simulated servers use one."""

    def __init__(self, transport: asyncio.Transport, tls: ServerTls) -> None:
        super().__init__()
        self._transport = transport
        self._tls = tls
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._channel = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_ready = self._has_ended = False
        self._early: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """The plain text in octets of the client; ssl.SSLError if they are no TLS. After its close_notify nothing is taken any more."""
        if self._has_ended:
            return b""
        self._incoming.write(data)
        try:
            plain = self._read() if self._shake_hands() else b""
        finally:
            self._flush()
        return plain

    def _shake_hands(self) -> bool:
        if not self._is_ready:
            try:
                self._channel.do_handshake()
            except ssl.SSLWantReadError:
                return False
            self._is_ready = True
            early, self._early = self._early, []
            for octets in early:
                self._channel.write(octets)
        return True

    def _read(self) -> bytes:
        pieces = []
        try:
            while octets := self._channel.read(_READ):
                pieces.append(octets)
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLZeroReturnError:
            pass
        self._has_ended = True
        self.close()
        return b"".join(pieces)

    def _flush(self) -> None:
        if self._outgoing.pending and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    @property
    def facts(self) -> TlsSeen | None:
        """What was agreed on; None before the handshake is over."""
        cipher = self._channel.cipher()
        if not self._is_ready or cipher is None:
            return None
        name = self._tls.name_asked(self._channel)
        return TlsSeen(self._channel.version() or "", cipher[0], name, bool(self._channel.session_reused))

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and write; what is said before the handshake is over waits for that."""
        if not self._is_ready:
            self._early.append(bytes(data))
            return
        try:
            self._channel.write(data)
        except ssl.SSLError:
            self.give_up()
        else:
            self._flush()

    def close(self) -> None:
        """Say close_notify, then end the connection."""
        if self._is_ready and not self._transport.is_closing():
            with contextlib.suppress(ssl.SSLError):  # the client's own close_notify is not waited for
                self._channel.unwrap()
            self._flush()
        self._transport.close()

    def give_up(self) -> None:
        """End a connection that TLS has failed on; its alert is said."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the connection is ending."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read nothing for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the connection under it knows."""
        return self._transport.get_extra_info(name, default)

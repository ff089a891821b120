"""One connection's TLS: octets of the network in, plain text out, and the other way. Where they come from and go to is the shell's.

What is fed is worked off at once: the library's buffers hold at most one record that is not yet complete, and what is to be sent leaves them
slice by slice (a memory BIO keeps the size that it once had). A peer can make a channel neither grow nor run for nothing: handshakes are
bounded in octets, and so is what comes after one without any plain text (KeyUpdate, tickets, attempts to renegotiate, empty records).

Nothing is plain text that came after close_notify (RFC 8446 6.1; CVE-2026-45185), after a fault, or after our own ``close``.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

from penstock.mail.tls import TlsFacts
from penstock.net.tls.client_hello import NO_APPLICATION_PROTOCOL, SMTP_PROTOCOLS, offered_protocols
from penstock.net.tls.facts import facts_of
from penstock.net.tls.faults import TlsError, reason_of

#: RFC 8446 5.1: the most plain text that a record holds.
_RECORD: Final = 16 * 1024
#: What a memory BIO is given at most before it is emptied. Larger ones are no faster (measured to 1 MiB), smaller ones are slower.
_SLICE: Final = 32 * 1024
#: Octets of a whole handshake. OpenSSL takes 100 KiB of certificates; a chain of five with its signatures is some 10 KiB.
_HANDSHAKE_LIMIT: Final = 256 * 1024
#: A ClientHello has up to some 4 KB, with a large ticket and a post-quantum key; in longer ones nobody looks for protocols.
_HELLO_LIMIT: Final = 16 * 1024
#: Octets after a handshake without any plain text: two records under way, and more tickets than any server sends.
_BARREN_LIMIT: Final = 64 * 1024


class TlsChannel:
    """TLS on one connection, as server or as client.

    ``server_name`` is the host that a client wants, a DNS name (then also sent, RFC 6066 3) or an IP address; a context that verifies needs it.
    ``session`` is one that ``ClientContexts.recall`` gave for the same context. A client's first octets can be taken at once.

    TlsError: the name is none that TLS can carry, or the session is another context's.
    """

    __slots__ = (
        "_barren", "_fault", "_handshake", "_hello", "_incoming", "_is_closed", "_outgoing", "_ready_output", "_tls",
        "has_ended", "is_ready",
    )  # fmt: skip

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        #: The handshake is done, on our side: a peer may still refuse it.
        self.is_ready = False
        #: The peer's close_notify came: there is no more plain text to come. Without it, an end of the connection cuts something off.
        self.has_ended = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ready_output: list[bytes] = []
        self._fault = ""
        self._is_closed = False
        self._handshake = 0
        self._barren = 0
        self._hello = bytearray() if server_side else None
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name, session)
        except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: a NUL in the name
            raise TlsError(f"TLS cannot begin: {reason_of(error)}") from error
        if not server_side:
            self._shake_hands()

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:  # hot: every octet of mail under TLS
        """The plain text in octets that came from the network, ``b""`` while shaking hands or where they complete no record.

        TlsError: it is over, and what this call had deciphered is dropped; ``take_output`` may have an alert to send. Look at ``has_ended``
        and ``is_ready`` after each call. After ``has_ended`` or ``close``, whatever comes is passed over.
        """
        if self.has_ended or self._is_closed:
            return b""
        if self._fault:
            raise TlsError(self._fault)
        if len(data) > _SLICE:
            whole = memoryview(data)
            return b"".join(
                [self.feed(whole[start : start + _SLICE]) for start in range(0, len(whole), _SLICE)]
            )
        if self._hello is not None:
            self._look_at_hello(self._hello, data)
        self._incoming.write(data)
        return self._read() if self.is_ready or self._shake_hands() else self._count_handshake(len(data))

    def _read(self) -> bytes:  # hot: every octet of mail under TLS
        incoming, tls = self._incoming, self._tls
        self._barren += incoming.pending
        plain = []
        try:
            while True:
                text = tls.read(_RECORD)
                if not text:
                    self.has_ended = True
                    break
                plain.append(text)
                # Asking on until SSLWantReadError is raised would cost 2 µs for each call.
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except OSError as error:
            self._fail(f"TLS failed: {reason_of(error)}", error)
        if plain:
            self._barren = 0
            return plain[0] if len(plain) == 1 else b"".join(plain)
        if self._barren > _BARREN_LIMIT:
            self._fail("TLS failed: the peer sends much that is no mail")
        return b""

    def write(self, data: bytes | bytearray | memoryview) -> None:  # hot: every octet of mail under TLS
        """Plain text to send; ``take_output`` then has it. TlsError: it is over, or we have said close_notify.

        May be called once ``is_ready``, and also after ``has_ended``: the peer may still be reading.
        """
        if not self.is_ready:
            raise RuntimeError("plain text before the end of the handshake")
        if self._fault or self._is_closed:
            raise TlsError(self._fault or "TLS is closed")
        tls, outgoing = self._tls, self._outgoing
        whole = memoryview(data)
        sent = 0
        try:
            while sent < len(whole):
                sent += tls.write(whole[sent : sent + _RECORD])
                if outgoing.pending >= _SLICE:
                    self._ready_output.append(outgoing.read())
        except OSError as error:
            self._fail(f"TLS failed: {reason_of(error)}", error)

    def take_output(self) -> bytes:  # hot: every octet of mail under TLS
        """What is to be written to the network since the last call; look for it after every other call, also one that raised."""
        last = self._outgoing.read()
        if not self._ready_output:
            return last
        self._ready_output.append(last)
        output = b"".join(self._ready_output)
        self._ready_output.clear()
        return output

    def close(self) -> None:
        """Say close_notify, where there is a connection to close; from now on nothing is read. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self.is_ready or self._fault:
            return
        # It would wait for the peer's close_notify, which we do not, or meets data in its place.
        with contextlib.suppress(OSError):
            self._tls.unwrap()

    def facts(self) -> TlsFacts:
        """What is known of this connection and its peer, once it ``is_ready``."""
        return facts_of(self._tls)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a client needs to resume; with TLS 1.3 there is something only after the server's first plain text (RFC 8446 4.6.1)."""
        session = self._tls.session
        return session if session is not None and session.id else None

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return bool(self._tls.session_reused)

    @property
    def context(self) -> ssl.SSLContext:
        """The context it was made with; a session is good for that one only."""
        return self._tls.context

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except OSError as error:
            self._fail(f"TLS handshake failed: {reason_of(error)}", error)
        self.is_ready = True
        self._hello = None
        return True

    def _count_handshake(self, octets: int) -> bytes:
        self._handshake += octets
        if self._handshake > _HANDSHAKE_LIMIT:
            self._fail("TLS handshake failed: it is too long")
        return b""

    def _look_at_hello(self, hello: bytearray, data: bytes | bytearray | memoryview) -> None:
        """Refuse a client that offers protocols, but not ours, before OpenSSL has its ClientHello whole."""
        hello += data
        offered = offered_protocols(hello)
        if offered is None and len(hello) <= _HELLO_LIMIT:
            return
        self._hello = None
        if offered and not set(offered) & set(SMTP_PROTOCOLS):
            self._ready_output.append(NO_APPLICATION_PROTOCOL)
            self._fail("TLS handshake failed: the client wants to speak another protocol than SMTP")

    def _fail(self, why: str, cause: Exception | None = None) -> None:
        self._fault = why
        raise TlsError(why) from cause

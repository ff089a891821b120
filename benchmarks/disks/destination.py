"""Where the mail of a trial goes: accepts, defers and refuses by what the recipients' addresses say, and writes down what it accepts, first.

A thread per connection, on plain sockets: the judge shares no code with what it judges. It is there all the time, whatever becomes of the server.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Final

from benchmarks.capture import Captured
from benchmarks.disks.letters import behaviour_of, digest
from benchmarks.journals import Arrived, Journal
from benchmarks.messages import without_received
from benchmarks.processes import LOOPBACK

_END: Final = b"\r\n.\r\n"
_LINE_LIMIT: Final = 4096
_PIECE: Final = 1 << 18


class Destination:
    """The server, as a context, on a free port of loopback. While ``is_deferring`` it takes nothing: 451 to every MAIL."""

    def __init__(self, journal: Journal[Arrived]) -> None:
        self.is_deferring = False
        self._journal = journal
        self._lock = threading.Lock()
        self._tried: set[str] = set()
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Destination:
        self._server = socket.create_server((LOOPBACK, 0), backlog=1024)
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="destination", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            connections = list(self._connections)
        for endpoint in [self._server, *connections]:
            with contextlib.suppress(OSError):
                endpoint.shutdown(socket.SHUT_RDWR)
            endpoint.close()

    def is_due(self, recipient: str) -> bool:
        """Whether a recipient is accepted this time."""
        with self._lock:
            again = recipient in self._tried
            self._tried.add(recipient)
        return behaviour_of(recipient) != "later" or again

    def keep(self, recipients: tuple[str, ...], data: bytes) -> None:
        """Write a message down: it counts when this returns. OSError if it cannot be."""
        at = time.monotonic()
        message = Captured(b"", (), data).message
        self._journal.write(Arrived(recipients, digest(without_received(message)[1]), at))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed: the context has ended
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="destination session", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            _Session(self, connection).run()
        with self._lock:
            self._connections.discard(connection)


class _Session:
    """One connection."""

    def __init__(self, destination: Destination, connection: socket.socket) -> None:
        self._destination = destination
        self._connection = connection
        self._buffer = bytearray()
        self._recipients: list[str] = []

    def run(self) -> None:
        """Serve until QUIT or the end of the connection."""
        self._say(b"220 destination.test ESMTP")
        while (line := self._through(b"\r\n", _LINE_LIMIT)) is not None:
            verb, _, argument = line[:-2].partition(b" ")
            match verb.upper():
                case b"EHLO":
                    self._say(
                        b"250-destination.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"
                    )
                case b"MAIL":
                    self._recipients = []
                    self._say(b"451 4.3.2 later" if self._destination.is_deferring else b"250 2.1.0 Ok")
                case b"RCPT":
                    self._say(self._rcpt(argument))
                case b"DATA" if not self._recipients:
                    self._say(b"554 5.5.1 No valid recipients")
                case b"DATA":
                    self._say(b"354 Go")
                    if not self._take():
                        return
                case b"QUIT":
                    self._say(b"221 2.0.0 Bye")
                    return
                case b"RSET" | b"NOOP":
                    self._recipients = []
                    self._say(b"250 2.0.0 Ok")
                case _:
                    self._say(b"500 5.5.2 What?")

    def _rcpt(self, argument: bytes) -> bytes:
        recipient = argument.partition(b"<")[2].partition(b">")[0].decode("ascii", "replace")
        if self._destination.is_deferring:
            return b"451 4.3.2 later"
        if behaviour_of(recipient) == "never":
            return b"550 5.1.1 nobody of that name"
        if not self._destination.is_due(recipient):
            return b"451 4.2.1 later"
        self._recipients.append(recipient)
        return b"250 2.1.5 Ok"

    def _take(self) -> bool:
        # a CRLF in front makes "CRLF dot CRLF" the end of an empty message too (RFC 5321 4.1.1.4)
        self._buffer[:0] = b"\r\n"
        data = self._through(_END)
        if data is None:
            return False
        self._destination.keep(tuple(self._recipients), data[2:-3])
        self._recipients = []
        self._say(b"250 2.0.0 Ok")
        return True

    def _through(self, end: bytes, limit: int | None = None) -> bytes | None:
        """Everything up to and including ``end``; None if the connection ends first, or nothing ends within ``limit``."""
        searched = 0
        while (found := self._buffer.find(end, searched)) < 0:
            if limit is not None and len(self._buffer) > limit:
                return None
            searched = max(0, len(self._buffer) - len(end) + 1)
            octets = self._connection.recv(_PIECE)
            if not octets:
                return None
            self._buffer += octets
        through = bytes(self._buffer[: found + len(end)])
        del self._buffer[: found + len(end)]
        return through

    def _say(self, line: bytes) -> None:
        self._connection.sendall(line + b"\r\n")

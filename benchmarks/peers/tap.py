"""A tap: passes on every octet between a client and a server, and remembers the dialogue. For sessions in the clear."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from types import TracebackType
from typing import Final

from benchmarks.peers.peer import Use
from benchmarks.processes import LOOPBACK

#: How what a client said shows what it used. A stretch is all that it said without an answer between.
_SAID: Final = {
    Use.PIPELINING: re.compile(rb"^MAIL FROM:[^\r\n]*\r\nRCPT TO:", re.IGNORECASE | re.MULTILINE),
    Use.BDAT: re.compile(rb"^BDAT [0-9]+ LAST\r\n", re.IGNORECASE | re.MULTILINE),
    Use.EIGHT_BIT: re.compile(rb"^MAIL FROM:[^\r\n]* BODY=8BITMIME", re.IGNORECASE | re.MULTILINE),
    Use.UTF8: re.compile(rb"^MAIL FROM:[^\r\n]* SMTPUTF8", re.IGNORECASE | re.MULTILINE),
    Use.DSN: re.compile(rb"^RCPT TO:[^\r\n]* NOTIFY=", re.IGNORECASE | re.MULTILINE),
    Use.TLS: re.compile(rb"^STARTTLS\r\n", re.IGNORECASE | re.MULTILINE),
    Use.AUTH: re.compile(rb"^AUTH ", re.IGNORECASE | re.MULTILINE),
}


class Tap:
    """The tap, as a context, on a free port of loopback; what comes there goes to ``target``."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._stretches: list[bytearray] = []

    def __enter__(self) -> Tap:
        self._server = socket.create_server((LOOPBACK, 0), backlog=256)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="tap", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            sockets = [self._server, *self._sockets]
        for endpoint in sockets:
            with contextlib.suppress(OSError):
                endpoint.shutdown(socket.SHUT_RDWR)
            endpoint.close()

    def uses(self) -> set[Use]:
        """What clients have used so far."""
        with self._lock:
            stretches = [bytes(stretch) for stretch in self._stretches]
        return {use for use, pattern in _SAID.items() if any(map(pattern.search, stretches))}

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:  # closed: the context has ended
                return
            threading.Thread(target=self._serve, args=(client,), name="tap session", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection((LOOPBACK, self._target)) as server,
        ):
            with self._lock:
                self._sockets += [client, server]
            session = _Session(self._lock, self._stretches)
            answers = threading.Thread(
                target=session.answer, args=(server, client), name="tap answers", daemon=True
            )
            answers.start()
            session.ask(client, server)
            answers.join()


class _Session:
    """One connection: its stretches are added to the list, in which those of other sessions are as well."""

    def __init__(self, lock: threading.Lock, stretches: list[bytearray]) -> None:
        self._lock = lock
        self._stretches = stretches
        self._stretch: bytearray | None = None

    def ask(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the client says, until it ends."""
        with contextlib.suppress(OSError):
            while octets := client.recv(65_536):
                with self._lock:
                    if self._stretch is None:
                        self._stretch = bytearray()
                        self._stretches.append(self._stretch)
                    self._stretch += octets
                server.sendall(octets)
            server.shutdown(socket.SHUT_WR)

    def answer(self, server: socket.socket, client: socket.socket) -> None:
        """Pass on what the server says, until it ends; each answer ends a stretch."""
        with contextlib.suppress(OSError):
            while octets := server.recv(65_536):
                with self._lock:
                    self._stretch = None
                client.sendall(octets)
            client.shutdown(socket.SHUT_WR)

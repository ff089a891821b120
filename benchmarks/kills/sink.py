"""The server that all mail goes to: it treats each recipient as the letter says, and writes down what it takes before it says so."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from hashlib import sha256
from io import BufferedReader
from types import TracebackType
from typing import Final

from benchmarks.kills.journal import Journal
from benchmarks.kills.letters import Manner, manner_of
from benchmarks.messages import without_received
from benchmarks.processes import LOOPBACK, wait_until

KEYWORDS: Final = (b"sink.test", b"PIPELINING", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES")
_LATER = b"451 4.7.1 Later"


class Sink:
    """The server, as a context, on a free port of loopback. Until ``take_all`` recipients for LATER are deferred."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._takes_all = False
        self._lock = threading.Lock()
        #: recipients that have been deferred once
        self._deferred: set[str] = set()
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Sink:
        self._server = socket.create_server((LOOPBACK, 0), backlog=1024)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="sink", daemon=True).start()
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

    def take_all(self) -> None:
        """Take what is for LATER from now on."""
        self._takes_all = True

    def wait_until_left(self, seconds: float = 5.0) -> None:
        """Wait until every connection has ended: a server that is dead has left octets behind, which count as its own."""

        def is_left() -> bool:
            with self._lock:
                return not self._connections

        wait_until(is_left, seconds, "the end of a dead server's connections", interval=0.001)

    def answer_to_recipient(self, recipient: str) -> bytes:
        """The reply to RCPT."""
        try:
            manner = manner_of(recipient)
        except ValueError:
            manner = Manner.TAKEN  # nobody's: the journal will say that it is a ghost
        if manner is Manner.NEVER:
            self.journal.turned_away(recipient)
            return b"550 5.1.1 Never"
        if manner is Manner.LATER and not self._takes_all:
            return _LATER
        if manner is Manner.RCPT_ONCE and self._is_first(recipient):
            return _LATER
        return b"250 2.1.5 Ok"

    def answer_to_data(self, reverse_path: str, recipients: list[str], message: bytes) -> bytes:
        """The reply to the end of data; what is taken is written down."""
        once = [recipient for recipient in recipients if recipient.startswith(Manner.DATA_ONCE.value + ".")]
        if sum(map(self._is_first, once)):  # not any(): each is asked
            return _LATER
        digest = sha256(without_received(message)[1]).digest()
        self.journal.took(recipients, reverse_path, digest, time.monotonic())
        return b"250 2.0.0 Ok"

    def _is_first(self, recipient: str) -> bool:
        with self._lock:
            if recipient in self._deferred:
                return False
            self._deferred.add(recipient)
            return True

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed: the context has ended
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="sink session", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            _Session(self, connection).run(lines)
        with self._lock:
            self._connections.discard(connection)


class _Session:
    """One connection: lines in, replies out."""

    def __init__(self, sink: Sink, connection: socket.socket) -> None:
        self._sink = sink
        self._connection = connection
        self._reverse_path = ""
        self._recipients: list[str] = []

    def run(self, lines: BufferedReader) -> None:
        """Serve until QUIT or the end of the connection."""
        self._say(b"220 sink.test ESMTP")
        while line := lines.readline():
            verb, _, argument = line.rstrip(b"\r\n").partition(b" ")
            match verb.upper():
                case b"EHLO":
                    self._say(*(b"250-" + keyword for keyword in KEYWORDS[:-1]), b"250 " + KEYWORDS[-1])
                case b"MAIL":
                    self._reverse_path, self._recipients = _path(argument), []
                    self._say(b"250 2.1.0 Ok")
                case b"RCPT":
                    self._recipient(_path(argument))
                case b"DATA" if self._recipients:
                    if not self._data(lines):
                        return
                case b"QUIT":
                    self._say(b"221 2.0.0 Bye")
                    return
                case b"DATA":
                    self._say(b"554 5.5.1 No recipient was taken")
                case b"RSET" | b"NOOP":
                    self._recipients = []
                    self._say(b"250 2.0.0 Ok")
                case _:
                    self._say(b"500 5.5.2 What?")

    def _recipient(self, recipient: str) -> None:
        answer = self._sink.answer_to_recipient(recipient)
        if answer.startswith(b"250"):
            self._recipients.append(recipient)
        self._say(answer)

    def _data(self, lines: BufferedReader) -> bool:
        self._say(b"354 Go")
        message: list[bytes] = []
        while (line := lines.readline()) != b".\r\n":
            if not line:
                return False
            message.append(line[1:] if line.startswith(b".") else line)
        self._say(self._sink.answer_to_data(self._reverse_path, self._recipients, b"".join(message)))
        self._recipients = []
        return True

    def _say(self, *lines: bytes) -> None:
        self._connection.sendall(b"".join(line + b"\r\n" for line in lines))


def _path(argument: bytes) -> str:
    """What is between the angle brackets."""
    return argument.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace")

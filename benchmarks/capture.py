"""An SMTP server that keeps every octet: what ``smtp-sink`` rewrites (line ends, dots), this one keeps as it came.

A thread per connection, a buffer, and the few commands that a relay says. It accepts everything. It is the judge of what Penstock sends,
so it shares no code with it, and finds the end of mail data by the only sequence that is one: CRLF, dot, CRLF (RFC 5321 4.1.1.4).
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NamedTuple

from benchmarks.processes import LOOPBACK, ProgramFaultError

#: What the server says it can, so that a client has no reason to convert or refuse.
KEYWORDS: Final = (
    b"capture.test",
    b"PIPELINING",
    b"8BITMIME",
    b"SMTPUTF8",
    b"ENHANCEDSTATUSCODES",
    b"SIZE 0",
)
#: A dot that begins a line, where the client has to have put a second one (RFC 5321 4.5.2).
_LINE_DOT = re.compile(rb"(^|\r\n)\.")
#: A CR or an LF alone (RFC 5321 2.3.8).
BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")


class Captured(NamedTuple):
    """A transaction: the arguments of MAIL and of each RCPT, and the mail data as it came, up to the CRLF before the final dot."""

    mail: bytes
    recipients: tuple[bytes, ...]
    data: bytes

    @property
    def message(self) -> bytes:
        """The message without dot transparency."""
        return _LINE_DOT.sub(rb"\1", self.data)

    def wire_faults(self) -> list[str]:
        """What is wrong with these octets as mail data: bare CR or LF, dots at line starts that were not doubled."""
        faults = [f"bare {match[0]!r} at {match.start()}" for match in BARE_LINE_END.finditer(self.data)]
        faults += [
            f"dot not doubled at {match.end() - 1}"
            for match in _LINE_DOT.finditer(self.data)
            if self.data[match.end() : match.end() + 1] != b"."
        ]
        return faults


class Capture:
    """The server, as a context, on a free port of loopback. ``more`` are keywords that it says besides (such as ``DSN``: it keeps parameters)."""

    def __init__(self, more: Sequence[bytes] = ()) -> None:
        self._keywords = [*KEYWORDS, *more]
        self._messages: list[Captured] = []
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self.sessions = 0

    def __enter__(self) -> Capture:
        self._server = socket.create_server((LOOPBACK, 0), backlog=1024)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="capture", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            connections = list(self._connections)
        for endpoint in [self._server, *connections]:
            with contextlib.suppress(OSError):
                endpoint.shutdown(socket.SHUT_RDWR)
            endpoint.close()

    def messages(self) -> list[Captured]:
        """Everything captured so far, in order of arrival."""
        with self._changed:
            return list(self._messages)

    def take(self) -> list[Captured]:
        """Everything captured so far; the list begins anew."""
        with self._changed:
            messages, self._messages = self._messages, []
            return messages

    def wait_for(self, enough: Callable[[list[Captured]], bool], seconds: float, what: str) -> list[Captured]:
        """The messages once they are enough; ProgramFaultError at the deadline."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not enough(self._messages):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise ProgramFaultError(
                        f"{what}: not within {seconds:g} s ({len(self._messages)} messages arrived)"
                    )
            return list(self._messages)

    def wait_for_recipients(self, count: int, seconds: float = 30.0) -> list[Captured]:
        """The messages once they have so many recipients in all."""
        return self.wait_for(
            lambda messages: sum(len(message.recipients) for message in messages) >= count,
            seconds,
            f"mail for {count} recipients",
        )

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed: the context has ended
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._connections.add(connection)
                self.sessions += 1
            threading.Thread(
                target=self._serve, args=(connection,), name="capture session", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            _Session(connection, self._keep, self._keywords).run()
        with self._changed:
            self._connections.discard(connection)

    def _keep(self, captured: Captured) -> None:
        with self._changed:
            self._messages.append(captured)
            self._changed.notify_all()


class _Session:
    """One connection: lines in, replies out, messages kept."""

    def __init__(
        self, connection: socket.socket, keep: Callable[[Captured], None], keywords: Sequence[bytes]
    ) -> None:
        self._connection = connection
        self._keep = keep
        self._keywords = keywords
        self._buffer = bytearray()
        self._mail = b""
        self._recipients: list[bytes] = []

    def run(self) -> None:
        """Serve until QUIT or the end of the connection."""
        self._say(b"220 capture.test ESMTP")
        while (line := self._through(b"\r\n")) is not None:
            verb, _, argument = line[:-2].partition(b" ")
            match verb.upper():
                case b"EHLO":
                    self._say(
                        *(b"250-" + keyword for keyword in self._keywords[:-1]), b"250 " + self._keywords[-1]
                    )
                case b"MAIL":
                    self._mail, self._recipients = argument, []
                    self._say(b"250 2.1.0 Ok")
                case b"RCPT":
                    self._recipients.append(argument)
                    self._say(b"250 2.1.5 Ok")
                case b"DATA" if self._recipients:
                    self._say(b"354 Go")
                    if not self._take_data():
                        return
                case b"QUIT":
                    self._say(b"221 2.0.0 Bye")
                    return
                case b"HELO" | b"RSET" | b"NOOP":
                    self._mail, self._recipients = b"", []
                    self._say(b"250 2.0.0 Ok")
                case _:
                    self._say(b"500 5.5.2 What?")

    def _take_data(self) -> bool:
        # A CRLF in front makes "CRLF dot CRLF" the end of an empty message too: the CRLF of DATA counts (RFC 5321 4.1.1.4)
        self._buffer[:0] = b"\r\n"
        data = self._through(b"\r\n.\r\n")
        if data is None:
            return False
        self._keep(Captured(self._mail, tuple(self._recipients), data[2:-3]))
        self._mail, self._recipients = b"", []
        self._say(b"250 2.0.0 Ok")
        return True

    def _through(self, end: bytes) -> bytes | None:
        """Everything up to and including ``end``; None if the connection ends first."""
        searched = 0
        while (found := self._buffer.find(end, searched)) < 0:
            searched = max(0, len(self._buffer) - len(end) + 1)
            octets = self._connection.recv(1 << 20)
            if not octets:
                return None
            self._buffer += octets
        through = bytes(self._buffer[: found + len(end)])
        del self._buffer[: found + len(end)]
        return through

    def _say(self, *lines: bytes) -> None:
        self._connection.sendall(b"".join(line + b"\r\n" for line in lines))

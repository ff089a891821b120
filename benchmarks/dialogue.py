"""An SMTP client that says exactly the octets it is given, on plain sockets: nothing is added, encoded, waited for or corrected."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, NamedTuple

from benchmarks.processes import LOOPBACK, ProgramFaultError

END_OF_DATA: Final = b"\r\n.\r\n"
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})([ -])([^\r\n]*)\r\n")


class Reply(NamedTuple):
    """A whole reply; the lines of its text joined by LF."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class DialogueError(ProgramFaultError):
    """The server closed the connection, was silent for too long, or said something other than it should."""


class Dialogue:
    """One connection. Every wait ends after ``seconds``; that, and the connection's end, is a DialogueError."""

    def __init__(self, port: int, seconds: float = 20.0, *, greeted: bool = True) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        try:
            if greeted:
                self.expect(220)
        except DialogueError:
            self.socket.close()
            raise

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Put these octets on the wire in one piece."""
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise DialogueError(f"while sending {len(octets)} octets: {error}") from error

    def send_slowly(self, pieces: Iterable[bytes], pause: float = 0.0002) -> None:
        """Put each piece on the wire as a segment of its own."""
        for piece in pieces:
            self.send(piece)
            time.sleep(pause)

    def reply(self) -> Reply:
        """The next reply of the server."""
        texts: list[str] = []
        while True:
            match = _REPLY_LINE.match(self._received)
            if match is None:
                if b"\n" in self._received:
                    raise DialogueError(f"this is no reply: {self._received[:100]!r}")
                self._receive()
                continue
            self._received = self._received[match.end() :]
            texts.append(match[3].decode("utf-8", "replace"))
            if match[2] == b" ":
                return Reply(int(match[1]), "\n".join(texts))

    def expect(self, *codes: int) -> Reply:
        """The next reply, which must have one of these codes (DialogueError otherwise)."""
        reply = self.reply()
        if reply.code not in codes:
            raise DialogueError(f"expected {' or '.join(map(str, codes))}, not: {reply}")
        return reply

    def command(self, line: bytes, *codes: int) -> Reply:
        """Say one command line (CRLF is added) and return its reply, held against ``codes`` if there are any."""
        self.send(line + b"\r\n")
        return self.expect(*codes) if codes else self.reply()

    def begin(self, reverse_path: bytes, forward_paths: Sequence[bytes], parameters: bytes = b"") -> None:
        """EHLO if it is the first transaction, MAIL, each RCPT, DATA; all must be accepted. Commands after EHLO are pipelined."""
        lines = [b"MAIL FROM:<" + reverse_path + b">" + parameters]
        lines += [b"RCPT TO:<" + path + b">" for path in forward_paths]
        self.send(b"".join(line + b"\r\n" for line in lines))
        for _ in lines:
            self.expect(250)
        self.command(b"DATA", 354)

    def rest(self, seconds: float) -> bytes:
        """Whatever else the server says until it closes or is silent for ``seconds``."""
        self.socket.settimeout(seconds)
        try:
            while True:
                self._receive()
        except DialogueError:
            rest, self._received = self._received, b""
            return rest

    def _receive(self) -> None:
        try:
            octets = self.socket.recv(65_536)
        except OSError as error:
            raise DialogueError(f"while waiting for a reply: {error}") from error
        if not octets:
            raise DialogueError(f"the server closed the connection (last words: {self._received[:100]!r})")
        self._received += octets


def stuffed(message: bytes) -> bytes:
    """A message as it goes over the wire: dots at line starts doubled, the final dot added (RFC 5321 4.5.2). It must end in CRLF or be empty."""
    if message and not message.endswith(b"\r\n"):
        raise ValueError("the last line of a message ends in CRLF")
    doubled = message.replace(b"\r\n.", b"\r\n..")
    return (b"." if doubled.startswith(b".") else b"") + doubled + b".\r\n"


def send_message(
    port: int, reverse_path: bytes, forward_paths: Sequence[bytes], message: bytes, parameters: bytes = b""
) -> Reply:
    """One message in a session of its own; returns the reply to the final dot."""
    with Dialogue(port) as client:
        client.command(b"EHLO source.test", 250)
        client.begin(reverse_path, forward_paths, parameters)
        client.send(stuffed(message))
        reply = client.reply()
        client.command(b"QUIT", 221)
        return reply

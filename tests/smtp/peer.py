"""A scripted peer of a client session: answers commands as it is told, one reply for each, and may hang up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.mail.address import Address
from penstock.smtp.client import ClientEvent, ClientSession, Finished
from penstock.smtp.transmission import Transmission

RECIPIENTS = tuple(Address(name, "d.example") for name in ("one", "two", "three"))
MESSAGE = Transmission(
    Address("a", "b.example"),
    RECIPIENTS,
    b"Received: x\r\n",
    b"Subject: y\r\n\r\nbody\r\n",
    eight_bit=False,
    smtputf8=False,
)
ALL_KEYWORDS = ("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
GOOD = {
    "RSET": "250 ok",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go",
    ".": "250 taken",
    "QUIT": "221 bye",
}
#: In a script: no reply, the connection ends instead.
CLOSE = "close"


def changed(**fields: object) -> Transmission:
    """The message with other fields."""
    return msgspec.structs.replace(MESSAGE, **fields)


def ehlo(*keywords: str) -> bytes:
    """A positive reply to EHLO that offers these."""
    lines = ["d.example", *keywords]
    return "".join(f"250{' ' if line is lines[-1] else '-'}{line}\r\n" for line in lines).encode()


def introduced(*keywords: str) -> ClientSession:
    """A session that has had its banner and its reply to EHLO."""
    session = ClientSession("mta.example")
    session.receive(b"220 d.example ESMTP\r\n")
    session.take_output()
    session.receive(ehlo(*keywords))
    session.take_output()
    return session


class Peer:
    """Takes what a client writes and answers by ``script``: replies by ``MAIL``, ``RCPT 0``, ``RCPT``, ``DATA``, ``.`` and so on.

    ``log`` has the commands that came; ``data`` what came as mail data.
    """

    def __init__(self, script: Mapping[str, str] | None = None) -> None:
        self.script = {**GOOD, **(script or {})}
        self.log: list[str] = []
        self.data: list[bytes] = []
        self.has_closed = False
        self._rest = b""
        self._in_data = False
        self._recipients = 0
        self._has_mail = False

    def take(self, octets: bytes) -> bytes:
        """The replies to these octets."""
        self._rest += octets
        replies = b""
        while not self.has_closed and (answer := self._next()) is not None:
            if answer == CLOSE:
                self.has_closed = True
            elif answer:
                replies += answer.encode() + b"\r\n"
        return replies

    def _next(self) -> str | None:
        if self._in_data:
            end = (b"\r\n" + self._rest).find(b"\r\n.\r\n")
            if end < 0:
                return None
            self.data.append(self._rest[:end])
            self._rest = self._rest[end + 3 :]
            self._in_data = False
            self._has_mail = False
            return self.script["."]
        line, crlf, rest = self._rest.partition(b"\r\n")
        if not crlf:
            return None
        self._rest = rest
        self.log.append(line.decode())
        return self._command(line.decode())

    def _command(self, line: str) -> str:
        verb = line[:4]
        if verb == "MAIL":
            self._recipients = 0
            self._has_mail = self.script["MAIL"].startswith("2")
        elif verb == "RCPT":
            answer = self.script.get(f"RCPT {self._recipients}", self.script["RCPT"])
            self._recipients += 1
            return answer if self._has_mail else self.script.get("RCPT without MAIL", "503 MAIL first")
        elif verb == "DATA":
            answer = (
                self.script["DATA"]
                if self._has_mail
                else self.script.get("DATA without MAIL", "503 MAIL first")
            )
            self._in_data = answer.startswith("3")
            return answer
        return self.script.get(verb, "500 what")


def converse(session: ClientSession, peer: Peer, *, octet_by_octet: bool = False) -> list[ClientEvent]:
    """Carry octets between the two until neither has any, or the peer hangs up; the session's events."""
    events: list[ClientEvent] = []
    while not session.is_closed and (output := session.take_output()):
        replies = peer.take(output)
        size = 1 if octet_by_octet else max(len(replies), 1)
        for start in range(0, len(replies), size):
            events += session.receive(replies[start : start + size])
        if peer.has_closed:
            events += session.lost("the peer closed the connection")
    return events


def transact(session: ClientSession, peer: Peer, message: Transmission = MESSAGE) -> Finished:
    """One transaction; there is exactly one Finished, and it names every recipient once."""
    local = session.send(message)
    events = [local] if local is not None else converse(session, peer)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert [result.recipient for result in finished.results] == list(range(len(message.recipients)))
    return finished


def results(finished: Finished) -> list[tuple[int, str | None, bool]]:
    """The code, the command and the uncertainty of each recipient's result."""
    return [(result.reply.code, result.command, result.is_uncertain) for result in finished.results]

"""A scripted peer of a client session: answers commands as it is told, and may hang up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.mail.address import Address
from penstock.smtp.client import ClientEvent, ClientSession, Finished, SessionOptions
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
#: What makes mail data go as a chunk.
CHUNKING = ("CHUNKING", "ENHANCEDSTATUSCODES")
GOOD = {
    "RSET": "250 ok",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go",
    "BDAT": "250 taken",
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


def new_session(**options: object) -> ClientSession:
    """A session that has not begun, with these options."""
    return ClientSession(msgspec.structs.replace(SessionOptions("mta.example"), **options))


def introduced(*keywords: str, **options: object) -> ClientSession:
    """A session that has had its banner and its reply to EHLO."""
    session = new_session(**options)
    session.receive(b"220 d.example ESMTP\r\n")
    session.take_output()
    session.receive(ehlo(*keywords))
    session.take_output()
    return session


class Peer:
    """Takes what a client writes and answers by ``script``: replies by ``MAIL``, ``RCPT 0``, ``RCPT``, ``DATA``, ``.``, ``BDAT`` and so on.

    With LMTP, mail data is answered for each recipient that was accepted: ``. 0``, else ``.``. ``log`` has the commands that came; ``data`` what
    came as mail data, or as a chunk.
    """

    def __init__(self, script: Mapping[str, str] | None = None, *, is_lmtp: bool = False) -> None:
        self.script = {**GOOD, **(script or {})}
        self.log: list[str] = []
        self.data: list[bytes] = []
        self.has_closed = False
        self._is_lmtp = is_lmtp
        self._rest = b""
        self._in_data = False
        self._chunk = -1
        self._recipients = 0
        self._accepted: list[int] = []
        self._has_mail = False
        self._answers: list[str] = []

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
        if self._answers:
            return self._answers.pop(0)
        if self._in_data:
            end = (b"\r\n" + self._rest).find(b"\r\n.\r\n")
            return self._take_data(end, end + 3, ".") if end >= 0 else None
        if self._chunk >= 0:
            return (
                self._take_data(self._chunk, self._chunk, "BDAT") if len(self._rest) >= self._chunk else None
            )
        line, crlf, rest = self._rest.partition(b"\r\n")
        if not crlf:
            return None
        self._rest = rest
        self.log.append(line.decode())
        return self._command(line.decode())

    def _take_data(self, size: int, used: int, key: str) -> str:
        self.data.append(self._rest[:size])
        self._rest = self._rest[used:]
        self._in_data, self._chunk, self._has_mail = False, -1, False
        if self._is_lmtp:
            self._answers = [self.script.get(f"{key} {index}", self.script[key]) for index in self._accepted]
            return ""
        return self.script[key]

    def _command(self, line: str) -> str:
        verb = line[:4]
        if verb == "MAIL":
            self._recipients = 0
            self._accepted = []
            self._has_mail = self.script["MAIL"].startswith("2")
        elif verb == "RCPT":
            answer = self.script.get(f"RCPT {self._recipients}", self.script["RCPT"])
            if not self._has_mail:
                answer = self.script.get("RCPT without MAIL", "503 MAIL first")
            if answer.startswith("2"):
                self._accepted.append(self._recipients)
            self._recipients += 1
            return answer
        elif verb == "DATA":
            answer = (
                self.script["DATA"]
                if self._has_mail
                else self.script.get("DATA without MAIL", "503 MAIL first")
            )
            self._in_data = answer.startswith("3")
            return answer
        elif verb == "BDAT":
            self._chunk = int(line.split()[1])
            return ""
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

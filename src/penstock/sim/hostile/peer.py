"""A hostile server without I/O: octets of the client in, acts out."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import msgspec

from penstock.sim.hostile.acts import Act, Move, Script, acts_of

KEYWORDS: Final = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000", "ENHANCEDSTATUSCODES")
#: Commands, and octets of mail data, that are remembered.
_COMMANDS_LIMIT: Final = 10_000
_DATA_LIMIT: Final = 64 * 1024**2
_BDAT = re.compile(rb"(?i)BDAT ([0-9]{1,9})( LAST)?")
_REPLIES: Final = {
    "STARTTLS": "220 2.0.0 go ahead",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    "BDAT": "250 2.0.0 ok",
    ".": "250 2.0.0 taken",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
}


class Manners(msgspec.Struct, frozen=True):
    """What a server says where its script says nothing. ``tls_keywords`` None: within TLS the ``keywords`` but STARTTLS."""

    keywords: tuple[str, ...] = KEYWORDS
    tls_keywords: tuple[str, ...] | None = None
    hostname: str = "d.example"
    is_lmtp: bool = False


class HostilePeer:
    """One session. ``commands`` are the lines that were heard, ``data`` what came as mail data, by DATA as on the wire, or by BDAT."""

    def __init__(self, script: Script, manners: Manners | None = None) -> None:
        self.commands: list[str] = []
        self.data: list[bytes] = []
        self.is_secured = False
        self._script = script
        self._manners = manners or Manners()
        self._moments: Counter[str] = Counter()
        self._rest = b""
        self._is_in_data = False
        self._has_begun = False
        self._awaits_handshake = False
        self._chunks: list[bytes] = []
        self._recipients = 0
        self._kept = 0

    def greet(self) -> list[Act]:
        """What is done as soon as there is a connection."""
        protocol = "LMTP" if self._manners.is_lmtp else "ESMTP"
        return self._at("banner", f"220 {self._manners.hostname} {protocol}")

    def secured(self) -> None:
        """The handshake is over: what comes is from within TLS."""
        self.is_secured = True
        self._rest = b""

    def hear(self, octets: bytes) -> list[Act]:
        """Take octets of the client; what is done about them, in order. Behind SECURE, nothing of them is looked at."""
        self._rest += octets
        acts: list[Act] = []
        while (done := self._next()) is not None:
            acts += done
            if Move.SECURE in done:
                break
        return acts

    def _next(self) -> list[Act] | None:
        """What the next whole thing that came leads to; None if there is none."""
        if self._awaits_handshake:
            return self._take_handshake()
        if self._is_in_data:
            return self._take_data()
        line, crlf, rest = self._rest.partition(b"\r\n")
        if not crlf:
            return None
        chunk = _BDAT.fullmatch(line)
        if chunk is not None and len(rest) < int(chunk[1]):
            return None
        self._rest = rest
        if len(self.commands) < _COMMANDS_LIMIT:
            self.commands.append(line.decode("utf-8", "backslashreplace"))
        if chunk is not None:
            return self._take_chunk(int(chunk[1]), is_last=chunk[2] is not None)
        return self._take_command(self.commands[-1])

    def _take_handshake(self) -> list[Act] | None:
        """The client shakes hands, and nobody is there to shake them with."""
        if not self._rest:
            return None
        self._rest = b""
        return self._at("handshake", ())

    def _take_data(self) -> list[Act] | None:
        if not self._has_begun and self._rest:
            self._has_begun = True
            return self._at("body", ())
        end = (b"\r\n" + self._rest).find(b"\r\n.\r\n")
        if end < 0:
            return None
        self._keep(self._rest[:end])
        self._rest = self._rest[end + 3 :]
        self._is_in_data = False
        return self._end_of_data()

    def _take_chunk(self, size: int, *, is_last: bool) -> list[Act]:
        self._chunks.append(self._rest[:size])
        self._rest = self._rest[size:]
        if not is_last:
            return self._at("BDAT", _REPLIES["BDAT"])
        self._keep(b"".join(self._chunks))
        self._chunks.clear()
        return self._end_of_data()

    def _end_of_data(self) -> list[Act]:
        replies = self._recipients if self._manners.is_lmtp else 1
        self._recipients = 0
        return self._at(".", (_REPLIES["."],) * replies)

    def _keep(self, data: bytes) -> None:
        self._kept += len(data)
        self.data.append(data if self._kept <= _DATA_LIMIT else b"")

    def _take_command(self, line: str) -> list[Act]:
        verb = line.partition(" ")[0].upper()
        if verb in ("EHLO", "LHLO"):
            return self._at(verb, self._introduction())
        acts = self._at(verb, self._good_reply(verb))
        said = b"".join(act for act in acts if isinstance(act, bytes))
        if verb == "RCPT":
            self._recipients += said.startswith(b"2")
        elif verb == "DATA" and b"354" in said:
            self._is_in_data, self._has_begun = True, False
        elif verb == "STARTTLS":
            self._awaits_handshake = said.startswith(b"220") and Move.SECURE not in acts
        return acts

    def _good_reply(self, verb: str) -> str | Act | tuple[str | Act, ...]:
        if verb == "HELO":
            return f"250 {self._manners.hostname}"
        if verb == "STARTTLS":
            return _REPLIES[verb], Move.SECURE
        if verb == "QUIT":
            return _REPLIES[verb], Move.CLOSE
        return _REPLIES.get(verb, "500 5.5.2 command unknown")

    def _introduction(self) -> tuple[str, ...]:
        manners = self._manners
        keywords = manners.keywords
        if self.is_secured:
            keywords = tuple(keyword for keyword in keywords if keyword != "STARTTLS")
            keywords = keywords if manners.tls_keywords is None else manners.tls_keywords
        lines = (manners.hostname, *keywords)
        return tuple(f"250{' ' if index == len(keywords) else '-'}{line}" for index, line in enumerate(lines))

    def _at(self, moment: str, good: str | Act | tuple[str | Act, ...]) -> list[Act]:
        """What is done at a moment: as scripted, or else what is good."""
        self._moments[moment] += 1
        names = [f"{moment} {self._moments[moment]}", moment]
        if self.is_secured:
            names = [f"tls {name}" for name in names] + ([] if moment in ("EHLO", "LHLO") else names)
        for name in names:
            if name in self._script:
                return acts_of(self._script[name])
        return acts_of(good)

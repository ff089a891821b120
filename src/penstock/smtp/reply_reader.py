"""Reads a peer's replies (RFC 5321 4.2), each bounded, none guessed.

A reply is lines of one code, each ``ddd-text`` and the last ``ddd text`` or ``ddd``, ended by CRLF. Anything else (other codes in one
reply, no separator, a bare CR or LF, a line or a reply without end) is a violation: from there on nobody knows which reply answers which
command, so the session is over. What came before it is still told: those replies were whole.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.mail.reply import Reply, parse_enhanced, printable

#: RFC 5321 4.5.3.1.5 allows 512 octets a line; real peers exceed it a little.
REPLY_LINE_LIMIT: Final = 4096
REPLY_LINES_LIMIT: Final = 128
#: Octets of all the lines of one reply.
REPLY_LIMIT: Final = 65_536

# Reply-code = %x32-35 %x30-35 %x30-39, then "-" or SP and text, or nothing (RFC 5321 4.2); digits beyond 5 in the middle do occur
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*+))?")
#: Replies of at most this many octets are remembered: a peer says the same to every MAIL and RCPT.
_MEMORABLE: Final = 128


class ProtocolViolation(Exception):
    """The peer broke the protocol; ``str()`` of it says how. The session cannot be used any further."""


class ReplyReader:
    """Collects replies from octets as they come."""

    __slots__ = ("_buffer", "_code", "_lines", "_size", "violation")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._code = b""
        self._size = 0
        #: what the peer did wrong, None as long as it did not; nothing is read after it
        self.violation: ProtocolViolation | None = None

    def feed(self, data: bytes) -> list[Reply]:  # hot: micro_smtp
        """The replies that ``data`` completes, in order, up to a ``violation``."""
        replies: list[Reply] = []
        if self.violation is None:
            try:
                self._read(self._buffer + data if self._buffer else data, replies)
            except ProtocolViolation as violation:
                self.violation = violation
                self._buffer = b""
                self._lines = []
        return replies

    def _read(self, buffer: bytes, replies: list[Reply]) -> None:  # hot: micro_smtp
        start = 0
        while (end := buffer.find(b"\r\n", start)) >= 0:
            line = buffer[start:end]
            start = end + 2
            answer = _whole(line) if not self._lines and len(line) <= _MEMORABLE else None
            if answer is None:
                answer = self._add(line)
            if answer is not None:
                replies.append(answer)
        rest = buffer[start:]
        if len(rest) > REPLY_LINE_LIMIT + 1:  # the CR of its end may have come
            raise ProtocolViolation("a reply line is too long")
        if b"\n" in rest:
            raise ProtocolViolation("a reply line is malformed")
        self._buffer = rest

    def _add(self, line: bytes) -> Reply | None:
        """Take a line; the reply, if it is the last of one."""
        if len(line) > REPLY_LINE_LIMIT:
            raise ProtocolViolation("a reply line is too long")
        match = _LINE.fullmatch(line)
        if match is None:
            raise ProtocolViolation("a reply line is malformed")
        code, separator, text = match.groups()
        lines = self._lines
        if lines and code != self._code:
            raise ProtocolViolation("the lines of one reply have different codes")
        self._size += len(line)
        if len(lines) == REPLY_LINES_LIMIT or self._size > REPLY_LIMIT:
            raise ProtocolViolation("a reply is too long")
        lines.append(text or b"")
        if separator == b"-":
            self._code = code
            return None
        self._lines = []
        self._size = 0
        return _reply(code, lines)

    @property
    def is_idle(self) -> bool:
        """Whether no reply has been begun."""
        return not self._buffer and not self._lines


@lru_cache(maxsize=512)
def _whole(line: bytes) -> Reply | None:  # hot: micro_smtp
    """The reply that is this one line; None if it is none."""
    match = _LINE.fullmatch(line)
    return _reply(match[1], [match[3] or b""]) if match is not None and match[2] != b"-" else None


def _reply(code: bytes, lines: list[bytes]) -> Reply:
    enhanced, first = parse_enhanced(printable(lines[0].decode("utf-8", "replace")))
    texts = [first]
    for line in lines[1:]:
        text = printable(line.decode("utf-8", "replace"))
        repeated, rest = parse_enhanced(text)
        texts.append(rest if repeated is not None and repeated == enhanced else text)
    return Reply(int(code), enhanced, "\n".join(texts))

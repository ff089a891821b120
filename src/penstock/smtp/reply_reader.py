"""Reads a peer's replies (RFC 5321 4.2), each bounded, none guessed.

A reply is lines of one code, each ``ddd-text`` and the last ``ddd text`` or ``ddd``, ended by CRLF. Anything else (other codes in one
reply, no separator, a bare LF, a line or a reply without end) is a violation: from there on nobody knows which reply answers which
command, so the session is over.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.mail.reply import Reply, parse_enhanced, printable

#: RFC 5321 4.5.3.1.5 allows 512 octets a line; real peers exceed it a little.
REPLY_LINE_LIMIT: Final = 4096
REPLY_LINES_LIMIT: Final = 128

# Reply-code = %x32-35 %x30-35 %x30-39, then "-" or SP and text, or nothing (RFC 5321 4.2); digits beyond 5 in the middle do occur
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?")


class ProtocolViolation(Exception):
    """The peer broke the protocol; ``str()`` of it says how. The session cannot be used any further."""


class ReplyReader:
    """Collects replies from octets as they come."""

    __slots__ = ("_buffer", "_code", "_lines")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._code = b""

    def feed(self, data: bytes) -> list[Reply]:  # hot: throughput
        """The replies that ``data`` completes, in order; ProtocolViolation if the peer said something else."""
        buffer = self._buffer + data if self._buffer else data
        replies: list[Reply] = []
        start = 0
        while (end := buffer.find(b"\r\n", start)) >= 0:
            match = _LINE.fullmatch(buffer, start, end)
            if match is None or end - start > REPLY_LINE_LIMIT:
                raise ProtocolViolation("a reply line is malformed")
            start = end + 2
            code, separator, text = match.groups()
            if self._lines and code != self._code:
                raise ProtocolViolation("the lines of one reply have different codes")
            if separator == b"-":
                self._code = code
                self._lines.append(text)
                if len(self._lines) >= REPLY_LINES_LIMIT:
                    raise ProtocolViolation(f"a reply has more than {REPLY_LINES_LIMIT} lines")
                continue
            self._lines.append(text or b"")
            replies.append(_reply(code, self._lines))
            self._lines = []
        rest = buffer[start:] if start else buffer
        if len(rest) > REPLY_LINE_LIMIT:
            raise ProtocolViolation(f"a reply line is longer than {REPLY_LINE_LIMIT} octets")
        if b"\n" in rest:
            raise ProtocolViolation("a reply line ends with a bare LF")
        self._buffer = rest
        return replies

    @property
    def is_idle(self) -> bool:
        """Whether no reply has been begun."""
        return not self._buffer and not self._lines


def _reply(code: bytes, lines: list[bytes]) -> Reply:
    enhanced, first = parse_enhanced(printable(lines[0].decode("utf-8", "replace")))
    if len(lines) == 1:
        return Reply(int(code), enhanced, first)
    texts = [first]
    prefix = f"{enhanced} " if enhanced else ""
    for line in lines[1:]:
        text = printable(line.decode("utf-8", "replace"))
        texts.append(text.removeprefix(prefix) if prefix else text)
    return Reply(int(code), enhanced, "\n".join(texts))

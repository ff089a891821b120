"""Mail data on its way in: where it ends, and what of it may be kept (RFC 5321 4.1.1.4, 4.5.2).

Only CR LF "." CR LF ends mail data, whatever else looks like it: bare CRs and LFs are data, judged once the true end has been read, so that
nothing after a look-alike is ever taken for a command. Past the size limit octets are dropped, and the end is still found.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply, reply

_END: Final = b"\r\n.\r\n"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")

BARE_LINE_END: Final = reply(
    550, "5.5.2", "mail data has a bare CR or LF; lines end with CRLF (RFC 5321 2.3.8)"
)


class DataReader:
    """Collects the mail data of one transaction, up to ``size_limit`` octets as they come in."""

    __slots__ = ("_chunks", "_has_dots", "_limit", "_tail", "is_over", "is_starved", "size")

    def __init__(self, size_limit: int) -> None:
        self._chunks: list[bytes] = []
        self._tail = b"\r\n"  # the CRLF of DATA itself: "." CRLF right after it is the end of empty mail data
        self._limit = size_limit
        self._has_dots = False
        self.size = 0
        self.is_over = False
        self.is_starved = False

    def feed(self, data: bytes) -> int:  # hot: throughput
        """Take octets; the number of them up to and with the end of data, or -1 if the end is not among them."""
        tail = self._tail
        window = tail + data
        end = window.find(b"\r\n.")
        if end >= 0 and not window.startswith(b"\r\n", end + 3):
            # one search serves both questions, until a line with a dot is seen that is not the end
            self._has_dots = True
            end = window.find(_END, end)
        if end >= 0:
            used = end + len(_END) - len(tail)
            if not self.is_over:
                self._keep(data if used == len(data) else data[:used])
            return used
        self._tail = window[-4:]
        if not self.is_over:
            self._keep(data)
        return -1

    def _keep(self, data: bytes) -> None:
        self.size += len(data)
        # three octets of grace for the dot that ends it; the sender's dots are counted as they come
        if self.size > self._limit + 3:
            self.drop()
        else:
            self._chunks.append(data)

    def drop(self) -> None:
        """Keep nothing of this transaction any more; its end will still be found."""
        self.is_over = True
        self._chunks.clear()
        self.size = 0

    def content(self) -> tuple[bytes, bool]:  # hot: throughput
        """The mail data without its end and the dots that transparency added (RFC 5321 4.5.2), and whether there were any.

        After the end only.
        """
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        data = data[:-3]
        if not self._has_dots:
            return data, False
        if data.startswith(b"."):
            data = data[1:]
        return data.replace(b"\r\n.", b"\r\n"), True


def has_bare_line_end(content: bytes) -> bool:  # hot: throughput
    """Whether there is a CR without LF or an LF without CR."""
    pairs = content.count(b"\r\n")
    return content.count(b"\n") != pairs or content.count(b"\r") != pairs


def with_crlf(content: bytes) -> bytes:
    """``content`` with every bare CR and every bare LF turned into CRLF."""
    return _BARE.sub(b"\r\n", content)


def longest_line_exceeds(content: bytes, limit: int) -> bool:  # hot: throughput
    """Whether a line is longer than ``limit`` octets, its CRLF not counted (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1)."""
    position, end = 0, len(content)
    while end - position > limit:
        # the last line end that keeps this line within the limit; with none, the line is too long
        line_end = content.rfind(b"\r\n", position, position + limit + 2)
        if line_end < 0:
            return True
        position = line_end + 2
    return False


def judge(content: bytes, line_endings: LineEndings, line_limit: int) -> tuple[bytes, bool] | Reply:
    """What to keep of mail data and whether all its line ends are CRLF, or the reply that refuses it."""
    is_clean = not has_bare_line_end(content)
    if not is_clean:
        if line_endings is LineEndings.DENY:
            return BARE_LINE_END
        if line_endings is LineEndings.FIX:
            content, is_clean = with_crlf(content), True
    if longest_line_exceeds(content, line_limit):
        return reply(500, "5.2.3", f"mail data has a line of more than {line_limit} octets")
    return content, is_clean

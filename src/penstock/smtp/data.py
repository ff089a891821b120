"""Mail data on its way in: where it ends, and what of it may be kept (RFC 5321 4.1.1.4, 4.5.2).

Only CR LF "." CR LF ends mail data, whatever else looks like it: bare CRs and LFs are data, judged once the true end has been read, so that
nothing after a look-alike is ever taken for a command. Past the size limit, or in a line that does not end, octets are dropped, and the end
is still found.
"""

from __future__ import annotations

import io
from typing import Final

from penstock.mail.configuration import LineEndings
from penstock.mail.reply import Reply, reply
from penstock.smtp.pieces import Pieces

_END: Final = b"\r\n.\r\n"

BARE_LINE_END: Final = reply(
    550, "5.5.2", "mail data has a bare CR or LF; lines end with CRLF (RFC 5321 2.3.8)"
)


class DataReader(Pieces):
    """Collects the mail data of one transaction, up to ``size_limit`` octets without the dots that transparency added (RFC 1870 3).

    ``is_endless``: there was a line of more than ``line_limit``; not every such line is seen here, but none is held in memory beyond the
    segments that it came in.
    """

    __slots__ = ("_dots", "_limit", "_line", "_line_limit", "_tail", "is_endless")

    def __init__(self, size_limit: int, line_limit: int = 1 << 62) -> None:
        super().__init__()
        self._tail = b"\r\n"  # the CRLF of DATA itself: "." CRLF right after it is the end of empty mail data
        self._limit = size_limit
        self._dots = 0  # lines that began with a dot so far
        self._line_limit = line_limit + 1  # with the dot that transparency may have added
        self._line = 0  # octets since the last line end
        self.is_endless = False

    def feed(self, data: bytes) -> int:  # hot: micro_smtp
        """Take octets; the number of them up to and with the end of data, or -1 if the end is not among them."""
        tail = self._tail
        window = tail + data
        size = len(window)
        is_last = window.endswith(_END)
        # one search serves both questions, as long as no line but the last begins with a dot; backwards takes half the time of forwards
        if window.rfind(b"\r\n.", 0, size - 3 if is_last else size) < 0:
            end = size - len(_END) if is_last else -1
        else:
            end = window.find(_END)
            self._count_dots(window, len(tail), end)
        if end >= 0:
            if end + 2 < len(tail):
                self._dots -= 1  # the dot of the end itself, which came before its CRLF
            used = end + len(_END) - len(tail)
            self.take(data if used == len(data) else data[:used])
        else:
            used = -1
            self._tail = window[-4:]
            self._follow_line(data)
            self.take(data)
        if self.received - self._dots > self._limit + 3:  # three for the end
            self.overflow()
        return used

    def _follow_line(self, data: bytes) -> None:
        """Note how long the last line has become, a bare CR or LF being an end too."""
        line_end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line = len(data) - line_end - 1 if line_end >= 0 else self._line + len(data)
        if self._line > self._line_limit:
            self.is_endless = True
            self.drop()

    def _count_dots(self, window: bytes, tail: int, end: int) -> None:
        """Count the lines that begin with a dot, of those whose dot is new, up to the end."""
        self._dots += window.count(b"\r\n.", max(tail - 2, 0), end if end >= 0 else len(window))

    def content(self) -> bytes:  # hot: micro_smtp
        """The mail data without its end and the dots that transparency added (RFC 5321 4.5.2). After the end only, and if none was dropped."""
        data = self.joined()[:-3]
        if not self._dots:
            return data
        if data.startswith(b"."):
            data = data[1:]
        return data.replace(b"\r\n.", b"\r\n")

    @property
    def has_dots(self) -> bool:
        """Whether transparency added dots: without any, no line of the content begins with one."""
        return self._dots > 0


def has_bare_line_end(content: bytes) -> bool:  # hot: micro_smtp
    """Whether there is a CR without LF or an LF without CR."""
    # This decoder notes in C which line ends it has seen, in one pass: three times as fast as counting CR, LF and CRLF.
    decoder = io.IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(content.decode("latin-1"), final=True)
    return decoder.newlines is not None and decoder.newlines != "\r\n"


def with_crlf(content: bytes) -> bytes:
    """``content`` with every bare CR and every bare LF turned into CRLF."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def has_dot_line(content: bytes) -> bool:
    """Whether a line begins with a dot, lines being parted by CRLF."""
    return content.startswith(b".") or b"\r\n." in content


def longest_line_exceeds(content: bytes, limit: int) -> bool:  # hot: micro_smtp
    """Whether a line is longer than ``limit`` octets, its CRLF not counted (RFC 5321 4.5.3.1.6, RFC 5322 2.1.1)."""
    position, end = 0, len(content)
    while end - position > limit:
        # the last line end that keeps this line within the limit; with none, the line is too long
        line_end = content.rfind(b"\r\n", position, position + limit + 2)
        if line_end < 0:
            return True
        position = line_end + 2
    return False


def line_too_long(limit: int) -> Reply:
    """The reply to mail data with a line of more than ``limit`` octets. It comes before others that the line itself may deserve."""
    return reply(500, "5.2.3", f"mail data has a line of more than {limit} octets")


def judge(
    content: bytes, line_endings: LineEndings, line_limit: int, *, has_dots: bool = True
) -> tuple[bytes, bool] | Reply:
    """What to keep of mail data and whether it is canonical (every line ends with CRLF, none begins with a dot), or the reply that refuses it.

    ``has_dots`` False says that no line, as CRLF parts them, begins with a dot: it need not be looked for.
    """
    is_clean = not has_bare_line_end(content)
    lines = content if is_clean else with_crlf(content)
    if longest_line_exceeds(lines, line_limit):
        return line_too_long(line_limit)
    if not is_clean:
        if line_endings is LineEndings.DENY:
            return BARE_LINE_END
        # what was no line before may be one now, and a dot at its beginning the end of mail data
        has_dots = True
        if line_endings is LineEndings.FIX:
            content, is_clean = lines, True
    return content, is_clean and not (has_dots and has_dot_line(content))

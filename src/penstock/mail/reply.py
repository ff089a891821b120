"""Replies of SMTP (RFC 5321 4.2) and their enhanced status codes (RFC 3463, RFC 2034)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

#: What a reply line may hold besides its code: printable text. Everything else is replaced before it reaches a wire or a log.
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\x80-\U0010ffff]|[\x80-\x9f\u2028\u2029\ud800-\udfff]")
# enhanced-status-code = class "." subject "." detail (RFC 3463 2); class 2, 4 or 5
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?= |\Z)", re.ASCII)
#: RFC 5321 4.5.3.1.5: 512 octets a line, code, separator and CRLF included.
_TEXT_LIMIT: Final = 500


class EnhancedCode(msgspec.Struct, frozen=True, gc=False, rename={"class_": "class"}):
    """An enhanced status code: ``5.1.1`` is ``EnhancedCode(5, 1, 1)``."""

    class_: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.class_}.{self.subject}.{self.detail}"


def parse_enhanced(text: str) -> tuple[EnhancedCode | None, str]:
    """The enhanced status code at the start of a reply's text, and what follows it; None and the text itself if there is none."""
    match = _ENHANCED.match(text)
    if match is None:
        return None, text
    return EnhancedCode(int(match[1]), int(match[2]), int(match[3])), text[match.end() + 1 :]


def printable(text: str) -> str:  # hot: micro_smtp
    """``text`` with everything that could end a line, or drive a terminal, replaced by ``?``."""
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub("?", text)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply: ``code`` 200 to 599, an enhanced status code or None, and the text, its lines parted by ``\\n``.

    The text may be anything; what leaves by ``str()`` and ``to_bytes()`` is printable.
    """

    code: int
    enhanced: EnhancedCode | None
    text: str

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3yz: go on."""
        return 300 <= self.code < 400

    @property
    def is_temporary(self) -> bool:
        """4yz: later, perhaps."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: never."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        """One line, as rules match it: ``550 5.1.1 no such user``."""
        flat = printable(self.text.replace("\n", " "))
        return f"{self.code} {self.enhanced} {flat}" if self.enhanced else f"{self.code} {flat}"

    def to_bytes(self) -> bytes:  # hot: micro_smtp
        """The reply as it goes on the wire: every line with its code, no line over 512 octets, nothing in it that could end a line."""
        enhanced, text = self.enhanced, self.text
        prefix = f"{enhanced.class_}.{enhanced.subject}.{enhanced.detail} " if enhanced is not None else ""
        if "\n" not in text:
            return b"%d %b\r\n" % (self.code, _line(prefix, text))
        *lines, last = [_line(prefix, line) for line in text.split("\n")]
        return b"".join([b"%d-%b\r\n" % (self.code, line) for line in lines]) + b"%d %b\r\n" % (
            self.code,
            last,
        )


def _line(prefix: str, text: str) -> bytes:
    """One line's text as UTF-8, as much of it as a line holds and no half character at its end."""
    octets = (prefix + printable(text)).encode("utf-8")
    if len(octets) > _TEXT_LIMIT:
        octets = octets[:_TEXT_LIMIT].decode("utf-8", "ignore").encode("utf-8")
    return octets


def reply(code: int, enhanced: str | None, text: str) -> Reply:
    """A reply of our own, its enhanced status code written as text: ``reply(250, "2.1.0", "sender ok")``.

    >>> str(reply(550, "5.7.1", "relaying not permitted"))
    '550 5.7.1 relaying not permitted'
    """
    return Reply(code, parse_enhanced(enhanced)[0] if enhanced else None, text)

"""Text of header fields, both ways: what a field says, decoded, and text as a field may carry it, encoded and folded.

Both are bounded and do no more work than the field is long. What is decoded has no control characters left in it, so that it can be
compared, logged and put into another field. Sources: RFC 5322 2.2.3, RFC 2047, RFC 6532.
"""

from __future__ import annotations

import binascii
import codecs
import re
from email.header import Header
from typing import Final

from penstock.mail.reply import printable
from penstock.policy.refusal import LimitExceeded

#: Octets of a value that is decoded. A References field of a long thread has a few thousand.
VALUE_LIMIT: Final = 64 * 1024
#: RFC 5322 2.1.1: a line should have at most 78 characters, and must not have more than 998.
_LINE: Final = 78
_LINE_HARD: Final = 998
# encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=" (RFC 2047 2, RFC 2231 5); no part of it holds a "?"
_ENCODED_WORD: Final = re.compile(
    rb"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z0-9-]{1,40})?\?([BbQq])\?([^?\s]*)\?="
)
_WORDS: Final = re.compile(r"([ \t]*)([^ \t]+)")
# Everything below space but tab, DEL, C1, what some software takes for line ends, and lone surrogates
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
#: Character sets of mail. Python knows codecs that are no character sets, and some that take quadratic time.
_CHARSETS: Final = re.compile(
    r"utf-8|ascii|iso8859-\d{1,2}|cp125[0-8]|cp874|cp932|cp949|koi8-[ru]|gb2312|gbk|gb18030|big5|euc[_-](?:jp|kr)|shift_jis|iso2022_jp|mac-roman"
)


def decoded_octets(octets: bytes, charset: str) -> str:
    """``octets`` of a character set that mail uses; of another, or a wrong one, as UTF-8. What cannot be decoded is U+FFFD."""
    try:
        name = codecs.lookup(charset).name if len(charset) <= 40 and charset.isascii() else "utf-8"
    except (LookupError, ValueError):
        name = "utf-8"
    return octets.decode(name if _CHARSETS.fullmatch(name) else "utf-8", "replace")


def decoded_value(value: bytes) -> str:
    """What an unfolded field value says: encoded words decoded, other octets as UTF-8, controls replaced; LimitExceeded if it is too long."""
    if len(value) > VALUE_LIMIT:
        raise LimitExceeded(f"a header field is longer than {VALUE_LIMIT} octets")
    if b"=?" not in value:
        return printable(value.decode("utf-8", "replace").replace("\t", " "))
    pieces: list[str] = []
    position = 0
    pending, charset = b"", ""
    for match in _ENCODED_WORD.finditer(value):
        between = value[position : match.start()]
        name = match[1].decode("ascii").lower()
        # a character may be parted between two words of one set, and white space between words means nothing (RFC 2047 6.2)
        if pending and (between.strip(b" \t") or name != charset):
            pieces.append(decoded_octets(pending, charset))
            pending = b""
        if not position or between.strip(b" \t"):
            pieces.append(between.decode("utf-8", "replace"))
        pending, charset = pending + _unpacked(match[2], match[3]), name
        position = match.end()
    if pending:
        pieces.append(decoded_octets(pending, charset))
    pieces.append(value[position:].decode("utf-8", "replace"))
    return printable("".join(pieces).replace("\t", " "))


def _unpacked(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Qq":
        return binascii.a2b_qp(text, header=True)
    try:
        return binascii.a2b_base64(text + b"==")
    except binascii.Error:
        return text


def field_octets(name: str, value: str, *, utf8: bool) -> bytes:
    """A whole field with its CRLF: ``value`` folded, and unless ``utf8`` its words beyond ASCII encoded. ValueError if it cannot be one.

    A line end or control character in ``value`` is refused and not mended: it is how one field becomes two.
    """
    if not isinstance(value, str):
        raise ValueError(f"the value of {name} is a str, not {type(value).__name__}")
    if _FORBIDDEN.search(value):
        raise ValueError(f"the value of {name} has a line end or control character in it")
    value = value.strip(" \t")
    if len(value) > VALUE_LIMIT:
        raise ValueError(f"the value of {name} is longer than {VALUE_LIMIT} characters")
    words = [(match[1], match[2]) for match in _WORDS.finditer(value)]
    if not utf8 and not value.isascii():
        words = _encoded(words)
    return _folded(name, words)


def _encoded(words: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """``words``, each run of those beyond ASCII as encoded words; the others stay, so that addresses do."""
    result: list[tuple[str, str]] = []
    position = 0
    while position < len(words):
        gap, word = words[position]
        position += 1
        if word.isascii():
            result.append((gap, word))
            continue
        run = word
        while position < len(words) and not words[position][1].isascii():
            run += "".join(words[position])
            position += 1
        for part in Header(run, "utf-8", maxlinelen=_LINE - 3).encode(splitchars="").split("\n"):
            result.append((gap, part.strip()))
            gap = " "
    return result


def _folded(name: str, words: list[tuple[str, str]]) -> bytes:
    lines: list[str] = []
    line = f"{name}:"
    gap = " "
    for own_gap, word in words:
        gap = own_gap or gap
        if len(line) + len(gap) + len(word) > _LINE and len(line) > len(name) + 1:
            lines.append(line)
            line = ""
        line += gap + word
        gap = ""
    lines.append(line)
    octets = [line.encode() for line in lines]
    if max(map(len, octets)) > _LINE_HARD:
        raise ValueError(f"the value of {name} has a word too long for a line of {_LINE_HARD} octets")
    return b"\r\n".join(octets) + b"\r\n"

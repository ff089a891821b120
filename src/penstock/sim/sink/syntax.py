"""How the sink reads commands: its own grammar of RFC 5321 4.1.1 and 4.1.2, strict, and shared with nobody."""

from __future__ import annotations

import re
from typing import Final

from penstock.sim.sink.options import Extension

# Mailbox = Local-part "@" Domain, in octets: a quoted string, or anything without white space, controls and specials that would end it.
# "postmaster" alone has no domain (RFC 5321 4.1.1.3).
_MAILBOX: Final = (
    rb'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"|[^"<>@\\\x00-\x20\x7f]+)@[^<>@\\\x00-\x20\x7f]+'
)
_PARAMETERS: Final = rb"(?: ([^\x00-\x1f\x7f]+))?"
MAIL = re.compile(rb"(?i:MAIL FROM:)<(" + _MAILBOX + rb"|)>" + _PARAMETERS)
RCPT = re.compile(rb"(?i:RCPT TO:)<(" + _MAILBOX + rb"|(?i:postmaster))>" + _PARAMETERS)
# esmtp-param = esmtp-keyword ["=" esmtp-value]
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?")
HELO = re.compile(rb"(?i:EHLO|HELO) ([^\x00-\x20\x7f]{1,255}) *")
#: A RCPT among commands that came in one piece, its local part alone.
PIPELINED_RCPT = re.compile(rb"(?i:\r\nRCPT TO:)<([^\"<>@\\\x00-\x20\x7f]+)@([^<>@\\\x00-\x20\x7f]+)>")

_OFFERED_WITH: Final = {
    b"SIZE": Extension.SIZE,
    b"BODY": Extension.EIGHT_BIT,
    b"SMTPUTF8": Extension.SMTPUTF8,
}


class ParameterError(ValueError):
    """A parameter of MAIL is refused; ``reply`` is the reply line."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


def mail_parameters(
    text: bytes, extensions: frozenset[Extension], size_limit: int
) -> tuple[tuple[str, ...], bool]:
    """The parameters of MAIL as written, and whether SMTPUTF8 is one of them; ParameterError with the reply otherwise.

    Each is possible only if its extension was offered. SIZE above ``size_limit`` is refused (RFC 1870 6.1).
    """
    seen: set[bytes] = set()
    for word in text.split(b" "):
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise ParameterError(b"501 5.5.4 malformed parameter\r\n")
        keyword, value = match[1].upper(), match[2]
        if keyword in seen:
            raise ParameterError(b"501 5.5.4 the same parameter twice\r\n")
        seen.add(keyword)
        if _OFFERED_WITH.get(keyword) not in extensions:
            raise ParameterError(b"555 5.5.4 parameter not offered\r\n")
        _check(keyword, value, size_limit)
    return tuple(word.decode("utf-8", "backslashreplace") for word in text.split(b" ")), b"SMTPUTF8" in seen


def _check(keyword: bytes, value: bytes | None, size_limit: int) -> None:
    if keyword == b"SIZE":
        # bytes.isdigit knows ASCII digits only; 20 of them at most (RFC 1870 4)
        if value is None or not value.isdigit() or len(value) > 20:
            raise ParameterError(b"501 5.5.4 SIZE is a number of octets\r\n")
        if int(value) > size_limit:
            raise ParameterError(b"552 5.3.4 message too big\r\n")
    elif keyword == b"BODY":
        if value is None or value.upper() not in (b"7BIT", b"8BITMIME"):
            raise ParameterError(b"501 5.5.4 BODY is 7BIT or 8BITMIME\r\n")
    elif value is not None:
        raise ParameterError(b"501 5.5.4 SMTPUTF8 takes no value\r\n")

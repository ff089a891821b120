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
HELO = re.compile(rb"(?i:EHLO|HELO|LHLO) ([^\x00-\x20\x7f]{1,255}) *")
# BDAT SP chunk-size [SP "LAST"] (RFC 3030 2)
BDAT = re.compile(rb"(?i:BDAT) ([0-9]{1,20})( (?i:LAST))?")
# AUTH mechanism [SP initial-response] (RFC 4954 4); "=" is an empty one
AUTH = re.compile(rb"(?i:AUTH) ([A-Za-z0-9_-]{1,20})(?: ([^\x00-\x20\x7f]+))?")
#: A RCPT among commands that came in one piece, its local part alone.
PIPELINED_RCPT = re.compile(rb"(?i:\r\nRCPT TO:)<([^\"<>@\\\x00-\x20\x7f]+)@([^<>@\\\x00-\x20\x7f]+)>")

_OFFERED_WITH: Final = {
    b"SIZE": Extension.SIZE,
    b"BODY": Extension.EIGHT_BIT,
    b"SMTPUTF8": Extension.SMTPUTF8,
    b"RET": Extension.DSN,
    b"ENVID": Extension.DSN,
}
# xtext = *( xchar / hexchar ) (RFC 3461 4)
_XTEXT: Final = rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
_MAILBOX_XTEXT = re.compile(_XTEXT + rb"+")
#: What the values of RFC 3461's parameters may be, and how that is said.
_DSN_VALUES: Final[dict[bytes, tuple[re.Pattern[bytes], bytes]]] = {
    b"RET": (re.compile(rb"(?i:FULL|HDRS)"), b"501 5.5.4 RET is FULL or HDRS\r\n"),
    b"ENVID": (re.compile(_XTEXT + rb"{1,100}"), b"501 5.5.4 ENVID is an xtext of up to 100 characters\r\n"),
    b"NOTIFY": (
        re.compile(rb"(?i:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2})"),
        b"501 5.5.4 NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY\r\n",
    ),
    b"ORCPT": (
        re.compile(rb"[A-Za-z0-9-]+;" + _XTEXT + rb"+"),
        b"501 5.5.4 ORCPT is an address type, a semicolon and an xtext\r\n",
    ),
}


class ParameterError(ValueError):
    """A parameter of MAIL is refused; ``reply`` is the reply line."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


def mail_parameters(
    text: bytes, extensions: frozenset[Extension], size_limit: int, *, is_authenticated: bool = False
) -> tuple[tuple[str, ...], bool]:
    """The parameters of MAIL as written, and whether SMTPUTF8 is one of them; ParameterError with the reply otherwise.

    Each is possible only if its extension was offered; AUTH (RFC 4954 5) only behind AUTH. SIZE above ``size_limit`` is refused (RFC 1870 6.1).
    """
    found = _parameters(text)
    for keyword, value in found.items():
        if not (is_authenticated if keyword == b"AUTH" else _OFFERED_WITH.get(keyword) in extensions):
            raise ParameterError(b"555 5.5.4 parameter not offered\r\n")
        _check(keyword, value, size_limit)
    return _as_written(text), b"SMTPUTF8" in found


def rcpt_parameters(text: bytes, extensions: frozenset[Extension]) -> tuple[str, ...]:
    """The parameters of RCPT as written (RFC 3461 4.1, 4.2); ParameterError with the reply otherwise."""
    for keyword, value in _parameters(text).items():
        if keyword not in (b"NOTIFY", b"ORCPT") or Extension.DSN not in extensions:
            raise ParameterError(b"555 5.5.4 parameter not offered\r\n")
        _check_dsn(keyword, value)
    return _as_written(text)


def _parameters(text: bytes) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {}
    for word in text.split(b" "):
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise ParameterError(b"501 5.5.4 malformed parameter\r\n")
        keyword = match[1].upper()
        if keyword in found:
            raise ParameterError(b"501 5.5.4 the same parameter twice\r\n")
        found[keyword] = match[2]
    return found


def _as_written(text: bytes) -> tuple[str, ...]:
    return tuple(word.decode("utf-8", "backslashreplace") for word in text.split(b" "))


def _check_dsn(keyword: bytes, value: bytes | None) -> None:
    pattern, complaint = _DSN_VALUES[keyword]
    if value is None or pattern.fullmatch(value) is None:
        raise ParameterError(complaint)


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
    elif keyword in _DSN_VALUES:
        _check_dsn(keyword, value)
    elif keyword == b"AUTH":
        if value is None or _MAILBOX_XTEXT.fullmatch(value) is None:
            raise ParameterError(b"501 5.5.4 AUTH is an xtext\r\n")
    elif value is not None:
        raise ParameterError(b"501 5.5.4 SMTPUTF8 takes no value\r\n")

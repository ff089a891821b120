"""F1 and F2: 8-bit mail and UTF-8 addresses (RFC 6152, RFC 6531)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.hostile.case import Case, Turn, Waiting
from tests.hostile.table.dialogue import EHLO, MAIL, OPENED, RCPT, command, row, way

_EIGHT_BIT: Final = "Subject: x\r\n\r\nblåbär\r\n".encode()


def _f1() -> Iterator[Case]:
    yield row(
        "F1-declared",
        "8-bit content behind BODY=8BITMIME goes on octet for octet",
        EHLO,
        command(b"MAIL FROM:<a@from.test> BODY=8BITMIME", "250"),
        RCPT,
        way(b"DATA", "354"),
        Turn(_EIGHT_BIT + b".\r\n", ("250",)),
        stores=(_EIGHT_BIT,),
    )
    yield row(
        "F1-undeclared",
        "8-bit content without BODY goes on as it is, too, or is refused",
        *OPENED,
        Turn(_EIGHT_BIT + b".\r\n", ("250",)),
        stores=(_EIGHT_BIT,),
    )
    octets = b"Subject: x\r\n\r\n" + bytes(set(range(256)) - {10, 13}) + b"\r\n"
    yield row(
        "F1-every-octet",
        "every octet but CR and LF in one line",
        EHLO,
        command(b"MAIL FROM:<a@from.test> BODY=8BITMIME", "250"),
        RCPT,
        way(b"DATA", "354"),
        Turn(octets + b".\r\n", ("250",)),
        stores=(octets,),
    )


_INVALID: Final[dict[str, bytes]] = {
    "ff": b"\xff",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond": b"\xf4\x90\x80\x80",
    "cut": b"\xc3",
    "continuation": b"\x80",
    "overlong-nul": b"\xc0\x80",
    "c1": b"\xc2\x85",
    "line-separator": b"\xe2\x80\xa8",
    "paragraph-separator": b"\xe2\x80\xa9",
}
_DOMAINS: Final[dict[str, tuple[str, str]]] = {
    "u-label": ("bücher.test", "250"),
    "u-label-nfd": ("bücher.test", "250|501|553"),
    "sharp-s": ("faß.test", "250"),
    "roman-numeral": ("ⅰ.test", "250|501|553"),
    "full-width-dot": ("a。test", "250|501|553"),
    "zwj": ("a\u200db.test", "501|553"),
    "zwj-alone": ("\u200d.test", "501|553"),
    "right-to-left": ("a\u202eb.test", "501|553"),
    "emoji": ("💩.test", "250|501|553"),
    "long": ("ü" * 64 + ".test", "501|553"),
    "hyphens": ("ab--ü.test", "501|553|250"),
}


_UTF8: Final = b" SMTPUTF8"

_F2_ROWS: Final[tuple[Case, ...]] = (
    row(
        "F2-header-undeclared",
        "a header in UTF-8 without SMTPUTF8 is 8-bit mail, or is refused",
        *OPENED,
        Turn("Subject: blåbär\r\n\r\nx\r\n.\r\n".encode(), ("250|5",)),
        stores=None,
    ),
    row(
        "F2-last-moment",
        "SMTPUTF8 of one transaction is forgotten in the next",
        EHLO,
        way(b"MAIL FROM:<>" + _UTF8, "250"),
        command("RCPT TO:<é@a.test>".encode(), "250"),
        command(b"RSET", "250"),
        MAIL,
        command("RCPT TO:<é@a.test>".encode(), "553 5.6.7|501|550"),
    ),
)


def _f2() -> Iterator[Case]:
    for what, octets in _INVALID.items():
        yield row(
            f"F2-invalid-{what}",
            f"{octets!r} in a local part and in a domain, with SMTPUTF8",
            EHLO,
            command(b"MAIL FROM:<" + octets + b"@b.test>" + _UTF8, "501|553"),
            command(b"MAIL FROM:<a@" + octets + b".test>" + _UTF8, "501|553"),
            command(b"MAIL FROM:<>" + _UTF8, "250"),
            command(b"RCPT TO:<" + octets + b"@a.test>", "501|553"),
            command(b"RCPT TO:<c@" + octets + b".test>", "501|553"),
        )
    for what, (domain, answer) in _DOMAINS.items():
        yield row(
            f"F2-domain-{what}",
            f"the domain {domain!a} with SMTPUTF8",
            EHLO,
            way(b"MAIL FROM:<>" + _UTF8, "250"),
            command(f"RCPT TO:<c@{domain}>".encode(), answer),
        )
    for form, local in {"nfc": "é", "nfd": "e\u0301"}.items():
        yield row(
            f"F2-{form}",
            f"a local part in {form.upper()} is taken as it is",
            EHLO,
            way(b"MAIL FROM:<>" + _UTF8, "250"),
            command(f"RCPT TO:<{local}@a.test>".encode(), "250"),
        )


CASES: Final[tuple[Case, ...]] = (*_f1(), *_F2_ROWS, *_f2())
WAITING: Final = (
    Waiting(
        "F1-conversion",
        "8-bit content converted to quoted-printable or base64 before it is signed",
        "conversion at reception (check_fix_conformance)",
    ),
)

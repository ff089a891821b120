"""E, addresses: what RFC 5321 4.1.2 and its limits allow, in MAIL and in RCPT, and everything beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.hostile.case import Case, Waiting
from tests.hostile.table.dialogue import EHLO, MAIL, command, row

_LABEL_63: Final = b"d" * 63
_DOMAIN_253: Final = b".".join((_LABEL_63, _LABEL_63, _LABEL_63, b"e" * 61))


def _addresses() -> Iterator[tuple[str, bytes, bool]]:
    """Name, path without its angle brackets, and whether RFC 5321 4.1.2 and its limits allow it."""
    good = {
        "plain": b"a@b.test",
        "local-64": b"l" * 64 + b"@b.test",
        "label-63": b"a@" + _LABEL_63 + b".test",
        "path-256": b"l" * 64 + b"@" + b".".join((_LABEL_63, _LABEL_63, b"e" * 61)),
        "one-label": b"a@b",
        "atext": b"!#$%&'*+-/=?^_`{|}~@b.test",
        "digits": b"1234567890@b.test",
        "dots": b"a.b.c@b.test",
        "quoted-space": b'"a b"@b.test',
        "quoted-quote": b'"a\\"b"@b.test',
        "quoted-backslash": b'"a\\\\b"@b.test',
        "quoted-at": b'"a@c"@b.test',
        "quoted-angle": b'"a>b"@b.test',
        "quoted-dots": b'"a..b"@b.test',
        "quoted-empty": b'""@b.test',
        "quoted-pair": b'"\\a"@b.test',
        "upper": b"A@B.TEST",
        "digit-label": b"a@1b.test",
        "hyphens": b"a@b-c--d.test",
        "literal": b"a@[192.0.2.1]",
        "literal-6": b"a@[IPv6:2001:db8::1]",
        "literal-6-lower": b"a@[ipv6:2001:db8::1]",
        "literal-6-mapped": b"a@[IPv6:::ffff:192.0.2.1]",
        "a-label": b"a@xn--bcher-kva.test",
    }
    bad = {
        "local-65": b"l" * 65 + b"@b.test",
        "label-64": b"a@" + b"d" * 64 + b".test",
        "domain-256": b"a@" + _DOMAIN_253 + b".ee",
        "path-257": b"l" * 64 + b"@" + b".".join((_LABEL_63, _LABEL_63, b"e" * 62)),
        "path-300": b"l" * 40 + b"@" + _DOMAIN_253 + b"e",
        "dots-inside": b"a..b@c.test",
        "dot-first": b".a@b.test",
        "dot-last": b"a.@b.test",
        "hyphen-first": b"a@-b.test",
        "hyphen-last": b"a@b-.test",
        "domain-dots": b"a@b..test",
        "domain-dot-first": b"a@.b.test",
        "domain-dot-last": b"a@b.test.",
        "space-in-domain": b"a@b c.test",
        "space-first": b" a@b.test",
        "space-last": b"a@b.test ",
        "space-local": b"a b@c.test",
        "quote-open": b'"a@b.test',
        "quote-inside": b'a"b"@c.test',
        "quote-behind": b'"a"b@c.test',
        "quoted-dot-string": b'"a".b@c.test',
        "quote-alone": b'"@b.test',
        "xn-bad": b"a@xn---.test",
        "xn-nothing": b"a@xn--.test",
        "no-local": b"@b.test",
        "no-domain": b"a@",
        "no-at": b"a",
        "at": b"@",
        "comma": b"a,b@c.test",
        "colon": b"a:b@c.test",
        "semicolon": b"a;b@c.test",
        "parenthesis": b"a(b)@c.test",
        "bracket": b"a[b]@c.test",
        "backslash": b"a\\b@c.test",
        "domain-colon": b"a@b.test:25",
        "domain-slash": b"a@b/c.test",
        "domain-percent": b"a@b%c.test",
        "domain-star": b"a@*.test",
        "domain-quote": b'a@"b".test',
        "literal-open": b"a@[192.0.2.1",
        "literal-no": b"a@[]",
        "literal-256": b"a@[256.0.0.1]",
        "literal-3": b"a@[192.0.2]",
        "literal-octal": b"a@[0300.0.2.1]",
        "literal-6-bad": b"a@[IPv6:1:2]",
        "literal-6-zone": b"a@[IPv6:fe80::1%eth0]",
        "literal-6-untagged": b"a@[2001:db8::1]",
        "literal-tag": b"a@[X400:c=de]",
        "literal-tail": b"a@[192.0.2.1]x",
        "number": b"a@192.0.2.1",
        "nested": b"<a@b.test>",
        "source-route": b"@x.test,@y.test:a@b.test",
        "two-ats": b"a@b@c.test",
        "arabic-literal": "a@[١٩٢.0.2.1]".encode(),
    }
    for what, path in good.items():
        yield what, path, True
    for what, path in bad.items():
        yield what, path, False


_UNBRACKETED: Final[dict[str, bytes]] = {
    "junk": b"<a@b.test>junk",
    "no-brackets": b"a@b.test",
    "open": b"<a@b.test",
    "close": b"a@b.test>",
    "nothing": b"",
    "spaces": b"   ",
    "name": b"A User <a@b.test>",
    "comment": b"<a@b.test> (x)",
    "two-spaces": b"  <a@b.test>",
    "two-paths": b"<a@b.test><c@d.test>",
    "two-paths-space": b"<a@b.test> <c@d.test>",
    "tab": b"\t<a@b.test>",
}


_E2_ROWS: Final[tuple[Case, ...]] = (
    row(
        "E2-mail-space",
        "MAIL FROM: <a@b.test>, as many clients write it",
        EHLO,
        command(b"MAIL FROM: <a@b.test>", "250|501"),
    ),
    row("E2-mail-null", "MAIL FROM:<>", EHLO, command(b"MAIL FROM:<>", "250")),
    row("E2-rcpt-null", "RCPT TO:<>", EHLO, MAIL, command(b"RCPT TO:<>", "501|550|553")),
    row("E2-mail-alone", "MAIL alone", EHLO, command(b"MAIL", "501|500")),
    row("E2-rcpt-alone", "RCPT alone", EHLO, MAIL, command(b"RCPT", "501|500")),
    row("E2-mail-to", "MAIL TO:<a@b.test>", EHLO, command(b"MAIL TO:<a@b.test>", "501")),
    row("E2-mail-no-colon", "MAIL FROM <a@b.test>", EHLO, command(b"MAIL FROM <a@b.test>", "501")),
    row("E2-mail-space-colon", "MAIL FROM :<a@b.test>", EHLO, command(b"MAIL FROM :<a@b.test>", "501")),
    row("E2-mail-twice", "MAIL in a transaction", EHLO, MAIL, command(b"MAIL FROM:<a@b.test>", "503")),
    row("E2-mail-verb", "MAILFROM:<a@b.test>", EHLO, command(b"MAILFROM:<a@b.test>", "500")),
)


def _e2() -> Iterator[Case]:
    for what, path, is_valid in _addresses():
        answer = "250" if is_valid else "501|553"
        yield row(
            f"E2-mail-{what}",
            f"MAIL FROM:<{_shown(path)}>",
            EHLO,
            command(b"MAIL FROM:<" + path + b">", answer),
        )
        yield row(
            f"E2-rcpt-{what}",
            f"RCPT TO:<{_shown(path)}>",
            EHLO,
            MAIL,
            command(b"RCPT TO:<" + path + b">", answer),
        )
    for what, argument in _UNBRACKETED.items():
        yield row(
            f"E2-mail-form-{what}",
            f"MAIL FROM:{_shown(argument)}",
            EHLO,
            command(b"MAIL FROM:" + argument, "501|555"),
            command(b"RCPT TO:<c@a.test>", "503"),
        )
        yield row(
            f"E2-rcpt-form-{what}",
            f"RCPT TO:{_shown(argument)}",
            EHLO,
            MAIL,
            command(b"RCPT TO:" + argument, "501|555"),
            command(b"DATA", "503|554"),
        )
    for what, line in {
        "hello-nothing": b"EHLO",
        "hello-spaces": b"EHLO  ",
        "hello-two": b"EHLO a b",
        "hello-angle": b"EHLO <a>",
    }.items():
        yield row(f"E2-{what}", line.decode(), command(line, "501"), command(b"MAIL FROM:<a@b.test>", "503"))


def _shown(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace")
    return text if len(text) <= 40 and text.isprintable() else repr(text[:30])[1:-1] + "..."


CASES: Final[tuple[Case, ...]] = (
    *_E2_ROWS,
    *_e2(),
)
WAITING: Final[tuple[Waiting, ...]] = ()

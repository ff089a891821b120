"""A: smuggling inwards. Only CRLF "." CRLF ends mail data (RFC 5321 4.1.1.4), only CRLF ends a command (2.3.7, 2.3.8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.mail.configuration import LineEndings
from penstock.sim.smuggling import SEQUENCES, attack_stream
from tests.hostile.case import SMALL, STRANGER, Case, Setup, Turn, Waiting, Where
from tests.hostile.outgoing import with_crlf
from tests.hostile.table.dialogue import (
    EHLO,
    NO_RELAY,
    NOOP,
    OPENED,
    command,
    good_message,
    mail_data,
    row,
    way,
)

#: Sequences without a bare CR or LF: their message is one message, and may be taken.
HARMLESS: Final = frozenset(
    name for name, octets in SEQUENCES.items() if not {13, 10} & set(octets.replace(b"\r\n", b""))
)
#: The last line of everything smuggled here, which no policy and no reply may ever see.
SMUGGLED: Final = b"smuggled@b.test"
GOOD: Final = b"Subject: good\r\n\r\ngood\r\n"
_END: Final = b".\r\n"
_NUMBERS: Final = {name: f"{number:02}" for number, name in enumerate(SEQUENCES, 1)}


def without_dots(sent: bytes) -> bytes:
    """Mail data as sent, up to its end, without the dots of transparency (RFC 5321 4.5.2)."""
    lines = sent.removesuffix(_END).split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


def _a1() -> Iterator[Case]:
    for name, sequence in SEQUENCES.items():
        attack = attack_stream(sequence)
        kept = without_dots(attack)
        is_harmless = name in HARMLESS
        yield row(
            f"A1-{_NUMBERS[name]}",
            f"{name} in mail data",
            *OPENED,
            Turn(attack, ("250" if is_harmless else "550 5.5.2",)),
            NOOP,
            *good_message(),
            stores=(kept, GOOD) if is_harmless else (GOOD,),
            absent=(SMUGGLED,),
        )
        for mode in (LineEndings.FIX, LineEndings.ALLOW):
            yield row(
                f"A1-{_NUMBERS[name]}-{mode.value.lower()}",
                f"{name}, where invalid_line_endings is {mode.value}",
                *OPENED,
                Turn(attack, ("250",)),
                NOOP,
                setup=Setup(invalid_line_endings=mode),
                stores=(with_crlf(kept) if mode is LineEndings.FIX else kept,),
                absent=(SMUGGLED,),
            )


#: What is wrong with a message before the sequence comes, and what it is told.
_FILLINGS: Final = {
    "size": (b"x" * 70 + b"\r\n") * 3,
    "line": b"x" * 120 + b"\r\n",
    "bare": b"bare\n",
    "policy": b"X-Tenant: nobody\r\n",
}
_LOOPING: Final = b"Received: x\r\n" * 101


def _a2() -> Iterator[Case]:
    for name, sequence in SEQUENCES.items():
        for filling, octets in _FILLINGS.items():
            yield row(
                f"A2-{_NUMBERS[name]}-{filling}",
                f"{name} in a message that is refused for its {filling}",
                *OPENED,
                Turn(octets + attack_stream(sequence), ("552|550|500",)),
                NOOP,
                setup=SMALL if filling != "policy" else Setup(line_length_hard_limit=100),
                absent=(SMUGGLED,),
            )
        yield row(
            f"A2-{_NUMBERS[name]}-loop",
            f"{name} in a message with 101 Received fields",
            *OPENED,
            Turn(_LOOPING, is_common=True),
            Turn(attack_stream(sequence), ("554 5.4.6|550 5.5.2",)),
            NOOP,
            absent=(SMUGGLED,),
            where=Where.SOCKETS,
        )


def _a3() -> Iterator[Case]:
    head = b"MAIL FROM:<a@from.test>\r\n"
    for name, sequence in SEQUENCES.items():
        body = attack_stream(sequence)
        streams = {
            "no-rcpt": (Setup(), head + b"DATA\r\n" + body),
            "bad-rcpt": (STRANGER, head + b"RCPT TO:<c@a.test>\r\nDATA\r\n" + body),
            "no-mail": (Setup(), b"DATA\r\n" + body),
            "argument": (Setup(), head + b"RCPT TO:<c@a.test>\r\nDATA now\r\n" + body),
        }
        for what, (setup, stream) in streams.items():
            yield row(
                f"A3-{_NUMBERS[name]}-{what}",
                f"{name} pipelined behind a DATA that is refused: {what}",
                EHLO,
                Turn(stream, None, closes=True),
                setup=setup,
                absent=(SMUGGLED, b"354"),
            )
    yield row(
        "A3-commands-first",
        "mail data behind a refused DATA that begins with lines which happen to be commands",
        EHLO,
        Turn(b"DATA\r\nNOOP\r\n" + b"Subject: x\r\n" * 30, None, closes=True, has=(b"421 4.7.0",)),
    )
    yield row(
        "A3-waits",
        "a client that waits for the reply to DATA, is refused, and goes on with commands",
        EHLO,
        way(b"MAIL FROM:<a@from.test>", "250"),
        command(b"RCPT TO:<c@a.test>", NO_RELAY),
        command(b"DATA", "503|554"),
        command(b"RSET", "250"),
        setup=STRANGER,
    )


def _a4() -> Iterator[Case]:
    rows: dict[str, tuple[bytes, bytes | None]] = {
        "empty": (b".\r\n", b""),
        "dot": (b"..\r\n.\r\n", b".\r\n"),
        "x": (b".x\r\n.\r\n", b"x\r\n"),
        "empty-line": (b"\r\n.\r\n", b"\r\n"),
        "two-dots": (b"...\r\n.\r\n", b"..\r\n"),
        "last-line": (b"x\r\n..\r\n.\r\n", b"x\r\n.\r\n"),
        "dot-cr-dot": (b".\r.\r\n.\r\n", None),
        "dots": (b"..\r\n..\r\n..\r\n.\r\n", b".\r\n.\r\n.\r\n"),
        "inner": (b"x\r\n.y\r\n.\r\n", b"x\r\ny\r\n"),
        "space": (b"x\r\n .\r\n.\r\n", b"x\r\n .\r\n"),
        "header-only": (b"Subject: x\r\n.\r\n", b"Subject: x\r\n"),
    }
    for what, (sent, content) in rows.items():
        yield row(
            f"A4-{what}",
            f"mail data {sent!r}",
            *OPENED,
            Turn(sent, ("250",) if content is not None else ("550 5.5.2",)),
            NOOP,
            *good_message(),
            stores=(content, GOOD) if content is not None else (GOOD,),
        )


def _a5() -> Iterator[Case]:
    lines = {
        "lf": b"MAIL FROM:<a@from.test>\nRCPT TO:<c@a.test>\nDATA\n\r\n",
        "cr": b"MAIL FROM:<a@from.test>\rRCPT TO:<c@a.test>\rDATA\r\r\n",
        "lf-first": b"NOOP\nMAIL FROM:<a@from.test>\r\n",
        "cr-first": b"NOOP\rMAIL FROM:<a@from.test>\r\n",
        "crcrlf": b"MAIL FROM:<a@from.test>\r\r\n",
        "lf-alone": b"\nMAIL FROM:<a@from.test>\r\n",
        "cr-in-path": b"MAIL FROM:<a\rb@from.test>\r\n",
        "lf-quoted": b'MAIL FROM:<"a\nb"@from.test>\r\n',
        "lf-behind-quit": b"QUIT\nNOOP\r\n",
        "nul": b"NOOP\x00\r\n",
        "vt": b"NOOP\x0bMAIL FROM:<a@from.test>\r\n",
        "nel": b"NOOP \xc2\x85MAIL FROM:<a@from.test>\x00\r\n",
    }
    for what, line in lines.items():
        yield row(
            f"A5-{what}",
            f"the command line {line!r}",
            EHLO,
            Turn(line, ("500|501 5.5.2",)),
            command(b"RCPT TO:<c@a.test>", "503"),
            absent=(b"354",),
        )
    yield row(
        "A5-lf-only",
        "commands that end with LF, and nothing behind them",
        EHLO,
        Turn(b"MAIL FROM:<a@from.test>\nRCPT TO:<c@a.test>\nDATA\n", ("500|501 5.5.2",)),
        has_quit=False,
    )


_EXIM_0900: Final = (
    b"Subject: test\r\n\r\nfoo\r\n.\nmail from:<smuggled@b.test>\r\nrcpt to:<c@a.test>\r\nbdat 86 last\r\n"
    b"From: <smuggled@b.test>\r\nSubject: smuggled\r\n\r\nbar"
)


def _a6() -> Iterator[Case]:
    yield row(
        "A6-exim-0900",
        "a dot line that ends with LF, a transaction and BDAT, all in mail data",
        *OPENED,
        mail_data(_EXIM_0900, "550 5.5.2"),
        NOOP,
        absent=(SMUGGLED,),
    )
    for mode in (LineEndings.FIX, LineEndings.ALLOW):
        content = without_dots(_EXIM_0900 + b"\r\n" + _END)
        yield row(
            f"A6-exim-0900-{mode.value.lower()}",
            f"the same, where invalid_line_endings is {mode.value}",
            *OPENED,
            mail_data(_EXIM_0900, "250"),
            setup=Setup(invalid_line_endings=mode),
            stores=(with_crlf(content) if mode is LineEndings.FIX else content,),
            absent=(SMUGGLED,),
        )


def _a7() -> Iterator[Case]:
    head = b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\nDATA\r\n"
    early = {
        "body": attack_stream(SEQUENCES["LF . LF"]),
        "octet": b"x",
        "empty": b".\r\n",
        "crlf": b"\r\n",
        "quit": b"QUIT\r\n",
    }
    for what, octets in early.items():
        yield row(
            f"A7-{what}",
            f"{octets[:12]!r} behind DATA, in one segment with it",
            EHLO,
            Turn(head + octets, ("250", "250", "554 5.5.0"), closes=True, together=(len(head),)),
            absent=(SMUGGLED, b"354"),
        )


CASES: Final[tuple[Case, ...]] = (*_a1(), *_a2(), *_a3(), *_a4(), *_a5(), *_a6(), *_a7())
WAITING: Final[tuple[Waiting, ...]] = ()

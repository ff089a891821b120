"""F3: mail data in chunks (RFC 3030). What follows BDAT is octets, whatever is said to it; what cannot be counted ends the session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.mail.configuration import LineEndings
from penstock.sim.smuggling import SEQUENCES, attack_stream
from tests.hostile.case import Case, Setup, Turn, Waiting
from tests.hostile.table.dialogue import EHLO, MAIL, NOOP, RCPT, command, good_message, row, way
from tests.hostile.table.smuggling import HARMLESS, SMUGGLED
from tests.hostile.table.starttls import GOOD, STARTTLS, TLS

_CLOSING: Final = "5|421"
#: Arguments of BDAT that can be no chunk's: what follows them cannot be told from commands.
_MALFORMED: Final[dict[str, bytes]] = {
    "nothing": b"BDAT",
    "spaces": b"BDAT   ",
    "word": b"BDAT x",
    "minus": b"BDAT -1",
    "plus": b"BDAT +5",
    "underscore": b"BDAT 1_0",
    "arabic": "BDAT ٣".encode(),
    "hex": b"BDAT 0x10",
    "fraction": b"BDAT 5.0",
    "lastx": b"BDAT 5 LASTX",
    "las": b"BDAT 5 LAS",
    "two-lasts": b"BDAT 5 LAST LAST",
    "joined": b"BDAT 5LAST",
    "last-first": b"BDAT LAST 5",
    "huge": b"BDAT 99999999999999999999 LAST",
    "huger": b"BDAT " + b"9" * 400 + b" LAST",
    "terabytes": b"BDAT 9999999999999",
    "tab": b"BDAT\t5",
    "nul": b"BDAT 5\x00",
    "lf": b"BDAT 5\n",
    "cr": b"BDAT 5\r",
    "long": b"BDAT 5 " + b" " * 3000 + b"LAST",
    "utf-8": "BDAT 5 LASſT".encode(),
    "eight-bit": b"BDAT 5\xff",
}
_SMUGGLING: Final = b"RSET\r\nMAIL FROM:<smuggled@b.test>\r\nRCPT TO:<c@a.test>\r\nDATA\r\n"
_LIMITED: Final = Setup(max_message_size=50, line_length_hard_limit=100)


def bdat(content: bytes, *, is_last: bool = True) -> bytes:
    """A chunk with its command."""
    return b"BDAT %d%b\r\n%b" % (len(content), b" LAST" if is_last else b"", content)


def _chunk(content: bytes, *answers: str, is_last: bool = True) -> Turn:
    return Turn(bdat(content, is_last=is_last), answers)


def _f3_malformed() -> Iterator[Case]:
    for what, line in _MALFORMED.items():
        yield row(
            f"F3-malformed-{what}",
            f"{line[:30]!r}, with commands where its octets would be: the end",
            EHLO,
            MAIL,
            RCPT,
            Turn(line + b"\r\n" + _SMUGGLING, None, closes=True, each=_CLOSING, lacks=(b"250", b"354")),
            absent=(SMUGGLED,),
        )


_CONTENT: Final = b"Subject: x\r\n\r\nx\r\n"

_F3_ORDER_ROWS: Final[tuple[Case, ...]] = (
    row(
        "F3-good",
        "a message in one chunk",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250"),
        NOOP,
        stores=(_CONTENT,),
    ),
    row(
        "F3-two",
        "a message in two chunks",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        _chunk(_CONTENT, "250"),
        stores=(_CONTENT + _CONTENT,),
    ),
    row(
        "F3-pipelined",
        "a whole session in one segment, chunks and all",
        EHLO,
        Turn(
            MAIL.sent
            + RCPT.sent
            + bdat(_CONTENT, is_last=False)
            + bdat(b"")
            + MAIL.sent
            + RCPT.sent
            + bdat(_CONTENT),
            ("250", "250", "250", "250", "250", "250", "250"),
        ),
        stores=(_CONTENT, _CONTENT),
    ),
    row(
        "F3-empty",
        "BDAT 0 LAST alone: an empty message",
        EHLO,
        MAIL,
        RCPT,
        _chunk(b"", "250|5"),
        NOOP,
        stores=None,
    ),
    row(
        "F3-zero",
        "BDAT 0, then the rest",
        EHLO,
        MAIL,
        RCPT,
        _chunk(b"", "250", is_last=False),
        _chunk(_CONTENT, "250"),
        stores=(_CONTENT,),
    ),
    row(
        "F3-zero-last",
        "the content, then BDAT 0 LAST",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        _chunk(b"", "250"),
        stores=(_CONTENT,),
    ),
    row(
        "F3-before-ehlo",
        "a chunk before anything was offered: the end",
        Turn(bdat(_SMUGGLING), None, closes=True, each="502|503|421"),
        absent=(SMUGGLED,),
    ),
    row(
        "F3-refused-rcpt",
        "a chunk pipelined behind a RCPT that is refused",
        EHLO,
        Turn(
            MAIL.sent + b"RCPT TO:<c@a.test>\r\n" + bdat(_SMUGGLING), ("250", "550 5.7.1|530", "503|554|550")
        ),
        NOOP,
        absent=(SMUGGLED,),
        setup=Setup(may_relay=False),
    ),
    row(
        "F3-then-data",
        "DATA behind a chunk",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        command(b"DATA", "503"),
        _chunk(_CONTENT, "250"),
        stores=(_CONTENT + _CONTENT,),
    ),
    row(
        "F3-then-mail",
        "MAIL and RCPT behind a chunk",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        command(b"MAIL FROM:<b@from.test>", "503"),
        command(b"RCPT TO:<d@a.test>", "503"),
        _chunk(b"", "250"),
        stores=(_CONTENT,),
    ),
    row(
        "F3-rset",
        "RSET between chunks: nothing is left of them",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        command(b"RSET", "250"),
        _chunk(_CONTENT, "503"),
        MAIL,
        RCPT,
        _chunk(b"other\r\n", "250"),
        stores=(b"other\r\n",),
    ),
    row(
        "F3-ehlo",
        "EHLO between chunks: nothing is left of them",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        EHLO,
        _chunk(_CONTENT, "503"),
    ),
    row(
        "F3-quit",
        "QUIT between chunks: nothing is stored",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        command(b"QUIT", "221", closes=True),
    ),
    row(
        "F3-noop",
        "NOOP and VRFY between chunks",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250", is_last=False),
        command(b"NOOP", "250"),
        command(b"VRFY x", "252|502"),
        _chunk(b"", "250"),
        stores=(_CONTENT,),
    ),
    row(
        "F3-after-last",
        "a chunk behind the last one",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_CONTENT, "250"),
        _chunk(_CONTENT, "503"),
        stores=(_CONTENT,),
    ),
    row(
        "F3-helo",
        "BDAT behind HELO",
        way(b"HELO x", "250"),
        MAIL,
        RCPT,
        Turn(bdat(_SMUGGLING), None, closes=True, each=_CLOSING),
        absent=(SMUGGLED,),
    ),
    row(
        "F3-not-offered",
        "BDAT where discard_ehlo_keywords takes CHUNKING away: 502 and the end",
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"CHUNKING",)),
        MAIL,
        RCPT,
        Turn(bdat(_SMUGGLING), None, closes=True, each="502|421", has=(b"502",)),
        absent=(SMUGGLED,),
        setup=Setup(discard_ehlo_keywords=("CHUNKING",)),
    ),
)


def _f3_order() -> Iterator[Case]:
    for what, before in {"before-mail": (EHLO,), "before-rcpt": (EHLO, MAIL)}.items():
        yield row(
            f"F3-{what}",
            "a chunk out of order: its octets are no commands",
            *before,
            Turn(bdat(_SMUGGLING), ("503",)),
            NOOP,
            absent=(SMUGGLED,),
        )


_F3_CONTENT_ROWS: Final[tuple[Case, ...]] = (
    row(
        "F3-crlf-across",
        "CR at the end of a chunk, LF at the beginning of the next: one CRLF",
        EHLO,
        MAIL,
        RCPT,
        _chunk(b"x: y\r", "250", is_last=False),
        _chunk(b"\n\r\nz\r\n", "250"),
        stores=(b"x: y\r\n\r\nz\r\n",),
    ),
    row(
        "F3-end-across",
        "CRLF . CRLF across three chunks is text",
        EHLO,
        MAIL,
        RCPT,
        _chunk(b"x: y\r\n", "250", is_last=False),
        _chunk(b".", "250", is_last=False),
        _chunk(b"\r\nRSET\r\n", "250"),
        stores=(b"x: y\r\n.\r\nRSET\r\n",),
    ),
    row(
        "F3-line-across",
        "a line that is too long across two chunks",
        EHLO,
        MAIL,
        RCPT,
        _chunk(b"x" * 500, "250", is_last=False),
        _chunk(b"x" * 500 + b"\r\n", "500 5.2.3"),
    ),
    row(
        "F3-tls-records",
        "a chunk split across TLS records",
        EHLO,
        STARTTLS,
        TLS,
        EHLO,
        MAIL,
        RCPT,
        Turn(bdat(b"x: y\r\n" * 10), ("250",)),
        stores=(b"x: y\r\n" * 10,),
    ),
)


def _f3_content() -> Iterator[Case]:
    for content, what in (
        (
            b"x\r\n.\r\nMAIL FROM:<smuggled@b.test>\r\n",
            "an end of mail data and a command in a chunk are text",
        ),
        (b".\r\n", "a chunk of one dot line"),
        (b"..\r\n.x\r\n", "dots are not doubled in chunks"),
        (b"x: y\r\n\r\nno line end", "a message that does not end with a line end"),
        (b"QUIT\r\n", "a chunk that is QUIT"),
    ):
        yield row(
            f"F3-content-{len(content)}",
            what,
            EHLO,
            MAIL,
            RCPT,
            _chunk(content, "250"),
            *good_message(),
            stores=(content, GOOD),
            absent=(SMUGGLED,),
        )
    for what, content in {
        "lf": b"a\nb\r\n",
        "cr": b"a\rb\r\n",
        "cr-last": b"ab\r",
        "lf-first": b"\nab\r\n",
    }.items():
        yield row(
            f"F3-bare-{what}",
            f"{content!r} in a chunk: as in DATA",
            EHLO,
            MAIL,
            RCPT,
            _chunk(content, "550 5.5.2"),
            *good_message(),
            stores=(GOOD,),
        )
    for number, (name, sequence) in enumerate(SEQUENCES.items(), 1):
        attack = attack_stream(sequence)
        is_harmless = name in HARMLESS
        yield row(
            f"F3-smuggling-{number:02}",
            f"{name} in a chunk",
            EHLO,
            MAIL,
            RCPT,
            _chunk(attack, "250" if is_harmless else "550 5.5.2"),
            NOOP,
            stores=(attack,) if is_harmless else (),
            absent=(SMUGGLED,),
        )
        yield row(
            f"F3-smuggling-{number:02}-fix",
            f"{name} in a chunk, where invalid_line_endings is Fix",
            EHLO,
            MAIL,
            RCPT,
            _chunk(attack, "250"),
            NOOP,
            stores=None,
            absent=(SMUGGLED,),
            setup=Setup(invalid_line_endings=LineEndings.FIX),
        )
    for length, answer in ((998, "250"), (999, "500 5.2.3")):
        content = b"x" * length + b"\r\n"
        yield row(
            f"F3-line-{length}",
            f"a line of {length} octets in a chunk",
            EHLO,
            MAIL,
            RCPT,
            _chunk(content, answer),
            NOOP,
            stores=(content,) if answer == "250" else (),
        )


_TEN: Final = b"x" * 8 + b"\r\n"
_TOO_BIG: Final = "552 5.3.4"

_F3_LIMITS_ROWS: Final[tuple[Case, ...]] = (
    row(
        "F3-over-second",
        "the limit crossed by the second chunk: drained, refused, and so on until RSET",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_TEN * 3, "250", is_last=False),
        _chunk(_TEN * 3, _TOO_BIG, is_last=False),
        _chunk(_SMUGGLING, _TOO_BIG, is_last=False),
        command(b"RSET", "250"),
        MAIL,
        RCPT,
        _chunk(_TEN, "250"),
        setup=_LIMITED,
        stores=(_TEN,),
        absent=(SMUGGLED,),
        held=200,
    ),
    row(
        "F3-over-last",
        "the limit crossed by the second chunk, then the last: refused, and the transaction is over",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_TEN * 3, "250", is_last=False),
        _chunk(_TEN * 3, _TOO_BIG, is_last=False),
        _chunk(_TEN, _TOO_BIG),
        command(b"RCPT TO:<d@a.test>", "503"),
        MAIL,
        RCPT,
        _chunk(_TEN, "250"),
        setup=_LIMITED,
        stores=(_TEN,),
    ),
    row(
        "F3-over-first",
        "one chunk over the limit: drained to its last octet",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_SMUGGLING * 10, _TOO_BIG),
        command(b"NOOP", "250"),
        setup=_LIMITED,
        absent=(SMUGGLED,),
        held=1000,
    ),
    row(
        "F3-over-exact",
        "chunks that are the limit to the octet",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_TEN * 3, "250", is_last=False),
        _chunk(_TEN * 2, "250"),
        setup=_LIMITED,
        stores=(_TEN * 5,),
    ),
    row(
        "F3-over-one",
        "chunks that are one octet over the limit",
        EHLO,
        MAIL,
        RCPT,
        _chunk(_TEN * 3, "250", is_last=False),
        _chunk(_TEN * 2 + b"x", _TOO_BIG),
        setup=_LIMITED,
    ),
    row(
        "F3-million",
        "a hundred thousand chunks of one octet",
        EHLO,
        MAIL,
        RCPT,
        Turn(b"BDAT 1\r\nx" * 100_000, None, closes=None, each="250|500|421|4|5"),
        has_quit=False,
        stores=None,
        is_flood=True,
    ),
    row(
        "F3-million-empty",
        "a hundred thousand empty chunks",
        EHLO,
        MAIL,
        RCPT,
        Turn(b"BDAT 0\r\n" * 100_000, None, closes=None, each="250|4|5"),
        has_quit=False,
        stores=None,
        held=1_000_000,
        is_flood=True,
    ),
)


CASES: Final[tuple[Case, ...]] = (
    *_f3_malformed(),
    *_F3_ORDER_ROWS,
    *_f3_order(),
    *_F3_CONTENT_ROWS,
    *_f3_content(),
    *_F3_LIMITS_ROWS,
)
WAITING: Final[tuple[Waiting, ...]] = ()

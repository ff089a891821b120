"""B: smuggling outwards. Whatever was taken in, what goes out is one message: every driver looks at the octets of every message it sees.

Rows bring in contents that are dangerous on their way out; ``core_driver`` writes each as mail data, ``socket_driver`` sees what a next hop got.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.mail.configuration import LineEndings
from penstock.sim.smuggling import SEQUENCES, attack_stream
from tests.hostile.case import Case, Setup, Turn, Waiting
from tests.hostile.table.dialogue import EHLO, MAIL, RCPT, command, row
from tests.hostile.table.smuggling import SMUGGLED

_ALLOW: Final = Setup(invalid_line_endings=LineEndings.ALLOW)
_FIX: Final = Setup(invalid_line_endings=LineEndings.FIX)
#: Where programs read and write in pieces.
_BORDERS: Final = tuple(border + step for border in (4096, 8192, 65_536) for step in (-3, -2, -1, 0, 1))


def _given(content: bytes, *, in_chunks: bool) -> Turn:
    """A message, as mail data or as a chunk."""
    if in_chunks:
        return Turn(b"BDAT %d LAST\r\n%b" % (len(content), content), ("250",))
    return Turn((b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n", ("250",))


def _b1() -> Iterator[Case]:
    for number, (name, sequence) in enumerate(SEQUENCES.items(), 1):
        attack = attack_stream(sequence)
        for setup in (_ALLOW, _FIX):
            mode = setup.invalid_line_endings.value
            yield row(
                f"B1-{number:02}-chunk-{mode.lower()}",
                f"{name} taken in by a chunk where invalid_line_endings is {mode}: what leaves has it as lines",
                EHLO,
                MAIL,
                RCPT,
                _given(attack, in_chunks=True),
                setup=setup,
                stores=None,
                absent=(SMUGGLED,),
            )


def _with_dot_at(offset: int) -> bytes:
    """Lines of text, and one that begins with a dot, right at this offset."""
    line = b"x" * 70 + b"\r\n"
    whole, left = divmod(offset, len(line))
    if 0 < left < 2 and whole:
        whole, left = whole - 1, left + len(line)
    return line * whole + (b"y" * (left - 2) + b"\r\n" if left else b"") + b".\r\n" + line


_CONTENTS: Final[dict[str, bytes]] = {
    "dot-first": b".x\r\n",
    "dot-alone": b".\r\n",
    "dots": b".\r\n" * 20,
    "dot-lines": b"..\r\n...\r\n....\r\n",
    "dot-last": b"x\r\n.\r\n",
    "end-first": b".\r\nMAIL FROM:<smuggled@b.test>\r\n",
    "million": b".\r\n" * 333_333,
    "empty": b"",
    "crlf": b"\r\n",
} | {f"dot-at-{offset}": _with_dot_at(offset) for offset in _BORDERS}


def _b2() -> Iterator[Case]:
    for what, content in _CONTENTS.items():
        for in_chunks in (False, True):
            if not content and in_chunks:
                continue
            yield row(
                f"B2-{what}-{'chunk' if in_chunks else 'data'}",
                f"{what}, taken in by {'BDAT' if in_chunks else 'DATA'}",
                EHLO,
                MAIL,
                RCPT,
                *(() if in_chunks else (Turn(b"DATA\r\n", ("354",), is_common=True),)),
                _given(content, in_chunks=in_chunks),
                stores=(content,),
                absent=(SMUGGLED,),
            )
    for what, content in {
        "no-end": b"x: y\r\n\r\nz",
        "no-end-dot": b"x: y\r\n\r\n.",
        "no-end-dots": b"..",
    }.items():
        yield row(
            f"B2-{what}",
            f"a message that does not end with a line end: {content!r}",
            EHLO,
            MAIL,
            RCPT,
            _given(content, in_chunks=True),
            stores=(content,),
        )
    for what, content in {
        "cr-last": b"x: y\r\n\r\nz\r",
        "lf-last": b"x: y\r\n\r\nz\n",
        "cr-dot": b"x\r.\r\n",
        "lf-dot-lf": b"x\n.\n",
        "cr-only": b"x\r.\rMAIL FROM:<smuggled@b.test>\r",
        "crcrlf": b"x\r\r\n.\r\r\n",
        "dot-behind-bare": b"x\n.smuggled\r\n",
    }.items():
        for setup in (_ALLOW, _FIX):
            yield row(
                f"B2-{what}-{setup.invalid_line_endings.value.lower()}",
                f"{content!r} where invalid_line_endings is {setup.invalid_line_endings.value}",
                EHLO,
                MAIL,
                RCPT,
                _given(content, in_chunks=True),
                setup=setup,
                stores=None,
            )


#: What would be a second command behind the path, if it were written as it is.
_INJECTIONS: Final[dict[str, bytes]] = {
    "crlf": b"a@b.test>\rRCPT TO:<evil@a.test",
    "lf": b"a@b.test>\nRCPT TO:<evil@a.test",
    "nul": b"a@b.test>\x00RCPT TO:<evil@a.test",
    "space": b"a@b.test> RCPT TO:<evil@a.test",
    "angle": b"a@b.test><evil@a.test",
    "parameter": b"a@b.test> BODY=8BITMIME> <x@y.test",
    "quoted-lf": b'"a\nRCPT TO:<evil@a.test>"@b.test',
    "quoted-pair-lf": b'"a\\\nRCPT TO:<evil@a.test>"@b.test',
    "domain-lf": b"a@b.test\nevil",
    "nel": "a@b.test\u0085evil".encode(),
    "line-separator": "a\u2028evil@b.test".encode(),
}


def _b4() -> Iterator[Case]:
    for what, path in _INJECTIONS.items():
        for parameters in (b"", b" SMTPUTF8"):
            suffix = "-utf8" if parameters else ""
            yield row(
                f"B4-sender-{what}{suffix}",
                f"MAIL FROM:<{path!r}>{parameters.decode()}",
                EHLO,
                command(b"MAIL FROM:<" + path + b">" + parameters, "501|553|555|500"),
                command(b"DATA", "503"),
                absent=(b"evil",),
            )
        yield row(
            f"B4-recipient-{what}",
            f"RCPT TO:<{path!r}>",
            EHLO,
            MAIL,
            command(b"RCPT TO:<" + path + b">", "501|553|555|500"),
            command(b"DATA", "503|554"),
            absent=(b"evil",),
        )
        yield row(
            f"B4-ehlo-{what}",
            f"EHLO {path!r}",
            command(b"EHLO " + path, "501|500"),
            command(b"MAIL FROM:<a@b.test>", "503"),
            absent=(b"evil",),
        )


_HTTP: Final = "the HTTP API: injection"

CASES: Final[tuple[Case, ...]] = (*_b1(), *_b2(), *_b4())
WAITING: Final = (
    Waiting(
        "B1-http",
        "each sequence in text, html, raw MIME, template values, header values and 8-bit attachments",
        _HTTP,
    ),
    Waiting("B4-http", "the same texts in the envelope of an injection request", _HTTP),
)

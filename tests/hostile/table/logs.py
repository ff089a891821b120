"""M, as far as it exists: strangers' texts in events, logs and metrics. One JSON object a line, printable, bounded, without secrets.

Rows send what ends up in records; both drivers look at every record that a row leaves, and ``socket_driver`` at the files.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from tests.hostile.case import PASSWORD, STRANGER, Case, Turn, Waiting
from tests.hostile.table.authentication import AUTH, FAILED, SECURE, encoded
from tests.hostile.table.dialogue import EHLO, MAIL, NO_RELAY, RCPT, command, row, way
from tests.hostile.table.starttls import SECRETS

#: Texts that break a log which trusts them.
TEXTS: Final[dict[str, str]] = {
    "fake-line": "x\n2026-01-01T00:00:00 fake",
    "cr": "x\ry",
    "escape": "\x1b[2Jx",
    "json": '","status":"delivered","x":"',
    "json-object": '{"type":"Delivery"}',
    "backslash": "\\u000a\\n",
    "line-separator": "x\u2028y",
    "paragraph-separator": "x\u2029y",
    "right-to-left": "x\u202ey",
    "nul": "x\x00y",
    "nel": "x\x85y",
    "format": "%s%n{0}{}",
    "html": "<b>x</b>",
    "csv": '=cmd|"/c calc"!A1',
    "prometheus": 'x"} 1\npenstock_fake 2',
    "long": "x" * 1500,
}


_M1_ROWS: Final[tuple[Case, ...]] = (
    row(
        "M1-user-invalid-utf-8",
        "AUTH of a user whose name is no UTF-8",
        *SECURE,
        command(b"AUTH PLAIN " + encoded("", b"\xff\xfe", "x"), FAILED + "|501"),
        setup=AUTH,
    ),
    row(
        "M1-mail-invalid-utf-8",
        "a message with what is no UTF-8 in every field",
        EHLO,
        MAIL,
        RCPT,
        way(b"DATA", "354"),
        Turn(b"Subject: \xff\xfe\r\nFrom: \x80\r\n\r\n\xc3\r\n.\r\n", ("250",)),
        stores=None,
    ),
)


def _m1() -> Iterator[Case]:
    for what, text in TEXTS.items():
        octets = text.encode()
        quoted = b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"@b.test'
        yield row(
            f"M1-ehlo-{what}",
            f"EHLO {text[:30]!a}",
            command(b"EHLO " + octets, "250|5"),
            EHLO,
            command(b"XYZZY", "500"),
        )
        yield row(
            f"M1-sender-{what}",
            f"a sender whose local part is {text[:30]!a}",
            EHLO,
            command(b"MAIL FROM:<" + quoted + b"> SMTPUTF8", "250|5"),
            command(b"RCPT TO:<c@a.test>", NO_RELAY + "|503"),
            setup=STRANGER,
        )
        yield row(
            f"M1-recipient-{what}",
            f"a recipient whose local part is {text[:30]!a}",
            EHLO,
            way(b"MAIL FROM:<> SMTPUTF8", "250"),
            command(b"RCPT TO:<" + quoted + b">", "5"),
            setup=STRANGER,
        )
        yield row(
            f"M1-command-{what}",
            f"the command {text[:30]!a}",
            EHLO,
            command(octets, "5"),
        )
        yield row(
            f"M1-user-{what}",
            f"AUTH of a user named {text[:30]!a}",
            *SECURE,
            command(b"AUTH PLAIN " + encoded("", text, "x"), FAILED + "|501|500"),
            setup=AUTH,
        )
    for name, field in {"tenant": b"X-Tenant: a\x1b[2J\r\n", "campaign": b'X-Campaign: ","x":"\r\n'}.items():
        yield row(
            f"M1-{name}",
            f"a message that names a {name} which is no label",
            EHLO,
            MAIL,
            RCPT,
            way(b"DATA", "354"),
            Turn(field + b"\r\nx\r\n.\r\n", ("5|250",)),
            stores=None,
        )


def _m1_secrets() -> Iterator[Case]:
    secrets = (*SECRETS, encoded(PASSWORD))
    for what, turns in {
        "good": (command(b"AUTH PLAIN " + encoded("", "ursula", PASSWORD), "235"),),
        "failed": (command(b"AUTH PLAIN " + encoded("", "nobody", PASSWORD), FAILED),),
        "other": (command(b"AUTH PLAIN " + encoded("admin", "ursula", PASSWORD), FAILED),),
        "malformed": (command(b"AUTH PLAIN " + encoded("", "ursula", PASSWORD, "x"), "501|535"),),
        "unknown-mechanism": (command(b"AUTH XOAUTH2 " + encoded("", "ursula", PASSWORD), "504"),),
        "mistyped": (command(b"AUHT PLAIN " + encoded("", "ursula", PASSWORD), "500"),),
        "login": (
            way(b"AUTH LOGIN", "334"),
            way(encoded("ursula"), "334"),
            command(encoded(PASSWORD), "235"),
        ),
        "login-clear": (way(b"AUTH LOGIN", "334"), command(PASSWORD.encode(), "501")),
        "as-argument": (command(b"AUTH PLAIN x " + PASSWORD.encode(), "501"),),
        "as-ehlo": (command(b"EHLO " + PASSWORD.encode() + b" x", "501"),),
    }.items():
        yield row(
            f"M1-secret-{what}",
            f"credentials are in no record: {what}",
            *SECURE,
            *turns,
            setup=AUTH,
            secrets=(*secrets, encoded("", "nobody", PASSWORD), encoded("admin", "ursula", PASSWORD)),
        )
    yield row(
        "M1-secret-clear",
        "credentials sent in plain text where TLS is needed are in no record",
        EHLO,
        command(b"AUTH PLAIN " + encoded("", "ursula", PASSWORD), "538|530"),
        setup=AUTH,
        secrets=secrets,
    )


def _m1_pipelined() -> Iterator[Case]:
    """AUTH LOGIN is refused, and its responses, sent without waiting, are read as commands: not even their beginnings are written down."""
    password = base64.b64encode(PASSWORD.encode())
    yield row(
        "M1-secret-pipelined",
        "credentials pipelined behind an AUTH that is refused",
        EHLO,
        Turn(
            b"AUTH LOGIN\r\n" + encoded("ursula") + b"\r\n" + password + b"\r\n",
            ("538|530", "500", "500"),
            lacks=(password, password[:4]),
        ),
        setup=AUTH,
        secrets=(*SECRETS, password, password[:4], password[:4].upper()),
    )


def _m3() -> Iterator[Case]:
    contents: dict[str, bytes] = {
        "fields": b"X: y\r\n" * 100_000 + b"\r\nx\r\n",
        "folds": b"X: y\r\n" + b" z\r\n" * 100_000 + b"\r\nx\r\n",
        "tenant-folds": b"X-Tenant: acme\r\n" + b" \r\n" * 100_000 + b"\r\nx\r\n",
        "no-colon": b"x" * 70 + b"\r\n" + b"y\r\n" * 10_000,
        "colons": b":" * 900 + b"\r\n\r\nx\r\n",
        "addresses": b"To: a@b.test" + b",\r\n a@b.test" * 20_000 + b"\r\n\r\nx\r\n",
        "nested": b"".join(
            b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(5000)
        ),
        "continuations": b"Content-Type: a/b"
        + b"".join(b";\r\n x*%d=a" % n for n in range(20_000))
        + b"\r\n\r\nx\r\n",
    }
    for what, content in contents.items():
        yield row(
            f"M3-{what}",
            f"{len(content):,} octets of {what}",
            EHLO,
            MAIL,
            RCPT,
            way(b"DATA", "354"),
            Turn(content + b".\r\n", ("250",)),
            stores=None,
        )


CASES: Final[tuple[Case, ...]] = (*_M1_ROWS, *_m1(), *_m1_secrets(), *_m1_pipelined(), *_m3())
WAITING: Final = (
    Waiting("M1-http-agent", "the User-Agent of an HTTP client in logs", "the HTTP API"),
    Waiting(
        "M1-labels",
        "ten thousand random domains and tenants as metric labels",
        "metrics by tenant and domain",
    ),
    Waiting(
        "M2-spool",
        "newline, NUL and JSON in every field round-trip; decoding never crashes; links and modes",
        "the spool on disk",
    ),
    Waiting("M3-http-json", "nested, endless and duplicate JSON", "the HTTP API"),
)

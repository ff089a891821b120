"""C: STARTTLS. What came in plain text is forgotten on both sides of it (RFC 3207 4.2, 6; CVE-2011-0411, CVE-2024-34083)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from penstock.mail.configuration import TlsMode
from tests.hostile.case import PASSWORD, USER, Case, Handshake, Setup, Turn, Waiting
from tests.hostile.table.dialogue import (
    EHLO,
    ENVELOPE,
    MAIL,
    NO_RELAY,
    OPENED,
    RCPT,
    command,
    good_message,
    row,
    way,
)

TLS: Final = Handshake()
STARTTLS: Final = way(b"STARTTLS", "220")
#: A stranger where a policy answers AUTH, in plain text too.
AUTH_IN_CLEAR: Final = Setup(may_relay=False, has_auth=True, allow_auth_without_tls=True)
PLAIN: Final = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
SECRETS: Final = (PASSWORD.encode(), PLAIN)
GOOD: Final = b"Subject: good\r\n\r\ngood\r\n"
_COMMAND: Final = b"STARTTLS\r\n"


def _c1() -> Iterator[Case]:
    injected = {
        "noop": b"NOOP injected\r\n",
        "rset": b"RSET\r\n",
        "ehlo": b"EHLO injected.test\r\n",
        "mail": b"MAIL FROM:<injected@b.test>\r\n",
        "transaction": b"EHLO x\r\nMAIL FROM:<injected@b.test>\r\nRCPT TO:<injected@a.test>\r\nDATA\r\n",
        "auth": b"AUTH PLAIN " + PLAIN + b"\r\n",
        "unfinished": b"MAIL FROM:<injected@",
        "crlf": b"\r\n",
        "octet": b"x",
        "client-hello": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        "starttls": b"STARTTLS\r\n",
        "quit": b"QUIT\r\n",
    }
    for what, octets in injected.items():
        yield row(
            f"C1-{what}",
            f"{octets[:20]!r} in plain text, in one segment with STARTTLS",
            EHLO,
            Turn(
                _COMMAND + octets,
                None,
                closes=None,
                together=(len(_COMMAND),),
                each="220|554 5.5.0",
                lacks=(b"250", b"503", b"235", b"221"),
            ),
            TLS,
            Turn(b"NOOP\r\n", ("250",)),
            command(b"MAIL FROM:<c@a.test>", "503"),
            absent=(b"injected",),
            setup=AUTH_IN_CLEAR if what == "auth" else None,
            secrets=SECRETS if what == "auth" else (),
        )
    yield row(
        "C1-pipelined-before",
        "commands in front of STARTTLS in one segment are answered, then TLS begins",
        EHLO,
        Turn(b"NOOP\r\nRSET\r\nSTARTTLS\r\n", ("250", "250", "220")),
        TLS,
        command(b"NOOP", "250"),
    )


_C2_ROWS: Final[tuple[Case, ...]] = (
    row(
        "C2-forgets-ehlo",
        "MAIL without an EHLO of its own under TLS",
        EHLO,
        STARTTLS,
        TLS,
        command(b"MAIL FROM:<a@from.test>", "503"),
        EHLO,
        *good_message(),
        stores=(GOOD,),
    ),
    row(
        "C2-forgets-helo",
        "HELO, then STARTTLS: nothing was offered, and nothing is left of it",
        way(b"HELO client.test", "250"),
        command(b"STARTTLS", "220|502|503", closes=None),
        absent=(b"from.test",),
        has_quit=False,
    ),
    row(
        "C2-forgets-auth",
        "AUTH in plain text, then STARTTLS: who the client was is forgotten",
        EHLO,
        way(b"AUTH PLAIN " + PLAIN, "235"),
        STARTTLS,
        TLS,
        EHLO,
        command(b"MAIL FROM:<a@from.test>", "250|530"),
        command(b"RCPT TO:<c@a.test>", NO_RELAY + "|503"),
        command(b"DATA", "503|554|530"),
        setup=AUTH_IN_CLEAR,
        secrets=SECRETS,
    ),
    row(
        "C2-auth-again",
        "AUTH under TLS after AUTH in plain text: it is the first of this session",
        EHLO,
        way(b"AUTH PLAIN " + PLAIN, "235"),
        STARTTLS,
        TLS,
        EHLO,
        command(b"AUTH PLAIN " + PLAIN, "235"),
        *good_message(),
        setup=AUTH_IN_CLEAR,
        secrets=SECRETS,
        stores=(GOOD,),
    ),
    row(
        "C2-forgets-transaction",
        "RCPT and DATA of a transaction that was begun and reset in plain text",
        EHLO,
        MAIL,
        RCPT,
        way(b"RSET", "250"),
        STARTTLS,
        TLS,
        command(b"RCPT TO:<c@a.test>", "503"),
        command(b"DATA", "503"),
    ),
    row(
        "C2-in-transaction",
        "STARTTLS between MAIL and RCPT, and behind RCPT",
        EHLO,
        MAIL,
        command(b"STARTTLS", "503"),
        RCPT,
        command(b"STARTTLS", "503"),
        way(b"DATA", "354"),
        Turn(b"x\r\n.\r\n", ("250",)),
        stores=(b"x\r\n",),
    ),
    row(
        "C2-in-chunks",
        "STARTTLS between two chunks",
        EHLO,
        MAIL,
        RCPT,
        Turn(b"BDAT 3\r\nx\r\n", ("250",), is_common=True),
        command(b"STARTTLS", "503"),
        way(b"RSET", "250"),
    ),
    row(
        "C2-in-auth",
        "STARTTLS where a response to AUTH was asked for is a response, and no good one",
        EHLO,
        way(b"AUTH LOGIN", "334"),
        command(b"STARTTLS", "334|501|535"),
        setup=AUTH_IN_CLEAR,
        has_quit=False,
    ),
    row(
        "C2-before-ehlo", "STARTTLS before EHLO", command(b"STARTTLS", "503|220", closes=None), has_quit=False
    ),
    row("C2-twice", "STARTTLS under TLS", EHLO, STARTTLS, TLS, EHLO, command(b"STARTTLS", "503|502")),
    row("C2-argument", "STARTTLS with an argument", EHLO, command(b"STARTTLS x", "501")),
    row(
        "C2-not-offered",
        "EHLO under TLS does not offer STARTTLS again",
        EHLO,
        STARTTLS,
        TLS,
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"STARTTLS",), has=(b"PIPELINING",)),
    ),
    row(
        "C2-offered-once",
        "EHLO in plain text offers it, and may be said twice",
        Turn(b"EHLO client.test\r\n", ("250",), has=(b"STARTTLS",)),
        Turn(b"EHLO client.test\r\n", ("250",), has=(b"STARTTLS",)),
        STARTTLS,
        TLS,
        EHLO,
        *good_message(),
        stores=(GOOD,),
    ),
    row(
        "C2-off",
        "STARTTLS on a listener without TLS",
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"STARTTLS",)),
        command(b"STARTTLS", "500|502|503"),
        setup=Setup(tls=TlsMode.OFF),
    ),
    row(
        "C2-discarded",
        "STARTTLS where the listener does not offer it by discard_ehlo_keywords",
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"STARTTLS",)),
        command(b"STARTTLS", "500|502|503"),
        setup=Setup(discard_ehlo_keywords=("STARTTLS",)),
    ),
    row(
        "C2-implicit",
        "STARTTLS where TLS began with the connection",
        TLS,
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"STARTTLS",)),
        command(b"STARTTLS", "503|502"),
        *good_message(),
        setup=Setup(tls=TlsMode.IMPLICIT),
        stores=(GOOD,),
    ),
    row(
        "C2-smuggling-in-tls",
        "a smuggling sequence under TLS",
        EHLO,
        STARTTLS,
        TLS,
        EHLO,
        ENVELOPE,
        Turn(b"x\n.\nMAIL FROM:<smuggled@b.test>\r\n.\r\n", ("550 5.5.2",)),
        absent=(b"smuggled",),
    ),
    row(
        "C2-pipelining-in-tls",
        "mail data behind DATA in one segment, under TLS",
        EHLO,
        STARTTLS,
        TLS,
        EHLO,
        Turn(
            b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\nDATA\r\nx",
            ("250", "250", "554 5.5.0"),
            closes=True,
            together=(len(b"MAIL FROM:<a@from.test>\r\nRCPT TO:<c@a.test>\r\nDATA\r\n"),),
        ),
    ),
)


_HTTP: Final = {
    "get": b"GET / HTTP/1.1\r\nHost: mta.test:25\r\n\r\n",
    "post": b"POST / HTTP/1.1\r\nHost: mta.test:25\r\nContent-Length: 60\r\n\r\nEHLO x\r\nMAIL FROM:<evil@b.test>\r\n",
    "connect": b"CONNECT mta.test:25 HTTP/1.1\r\nHost: mta.test:25\r\n\r\nEHLO x\r\n",
    "put": b"PUT /x HTTP/1.0\r\n\r\nMAIL FROM:<evil@b.test>\r\n",
    "options": b"OPTIONS * HTTP/1.1\r\n\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "head": b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\nEHLO x\r\nMAIL FROM:<evil@b.test>\r\n",
}


def _c6() -> Iterator[Case]:
    for what, request in _HTTP.items():
        for when, before in {"at-once": (), "behind-ehlo": (EHLO,)}.items():
            yield row(
                f"C6-{what}-{when}",
                f"a request of HTTP: {request[:14]!r}",
                *before,
                Turn(request, None, closes=True, each="5|421", lacks=(b"250",)),
                absent=(b"evil",),
            )
    yield row(
        "C6-in-mail-data",
        "a request of HTTP in mail data is text",
        *OPENED,
        Turn(b"GET / HTTP/1.1\r\n\r\n.\r\n", ("250",)),
        stores=(b"GET / HTTP/1.1\r\n\r\n",),
    )
    for what, request in {
        "redis": b"*1\r\n$4\r\nPING\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
        "imap": b"a1 LOGIN x y\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)) + b"\r\n",
    }.items():
        yield row(
            f"C6-{what}",
            f"{what} on the port of SMTP: errors, or the end",
            Turn(request, None, closes=None, each="4|5"),
            has_quit=False,
        )


_CLIENT: Final = (
    "nothing: our client is played against hostile servers by make show K=protocol-2 (tests/hostile_servers)"
)

CASES: Final[tuple[Case, ...]] = (*_c1(), *_C2_ROWS, *_c6())
WAITING: Final = (
    Waiting("C3-response-injection", "plain text behind the server's 220, before the handshake", _CLIENT),
    Waiting("C3-variants", "octets before ClientHello, 220 split, 220-multi", _CLIENT),
    Waiting(
        "C4-refusals",
        "454, 502, 421, RST, plain text or silence after STARTTLS; required never goes clear",
        _CLIENT,
    ),
    Waiting("C6-http-port", "EHLO on the port of HTTP is answered 400", "the HTTP listener's own table"),
)

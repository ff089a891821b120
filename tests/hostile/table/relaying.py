"""D4 to D9: no open relay under any form of address; whose mail it is; what belongs to parts that are still to come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.hostile.case import STRANGER, Case, Turn, Waiting, Where
from tests.hostile.table.dialogue import EHLO, ENVELOPE, NO_RELAY, command, row

#: Forward-paths that some server, somewhere, has relayed. ``mta.test`` is the listener's own name.
_PATHS: Final[dict[str, bytes]] = {
    "plain": b"ext@a.test",
    "percent-hack": b"ext%a.test@mta.test",
    "percent-alone": b"ext%a.test",
    "percent-literal": b"ext%a.test@[127.0.0.1]",
    "quoted-at": b'"ext@a.test"@mta.test',
    "quoted-percent": b'"ext%a.test"@mta.test',
    "quoted": b'"ext"@a.test',
    "quoted-alone": b'"ext@a.test"',
    "bang": b"a.test!ext@mta.test",
    "bang-alone": b"a.test!ext",
    "bang-mixed": b"ext!user@mta.test",
    "source-route": b"@mta.test:ext@a.test",
    "source-route-two": b"@mta.test,@b.test:ext@a.test",
    "source-route-literal": b"@[127.0.0.1]:ext@a.test",
    "two-ats": b"ext@a.test@mta.test",
    "two-ats-reversed": b"ext@mta.test@a.test",
    "literal": b"u@[127.0.0.1]",
    "literal-6": b"u@[IPv6:::1]",
    "literal-mapped": b"u@[IPv6:::ffff:127.0.0.1]",
    "literal-outside": b"u@[192.0.2.1]",
    "address": b"u@127.0.0.1",
    "decimal": b"u@2130706433",
    "trailing-dot": b"u@mta.test.",
    "trailing-dot-outside": b"ext@a.test.",
    "upper": b"u@MTA.TEST",
    "own-name": b"u@mta.test",
    "subdomain": b"u@x.mta.test",
    "localhost": b"u@localhost",
    "nul": b"u@mta.test\x00.a.test",
    "nul-path": b"ext\x00@a.test",
    "empty": b"",
    "postmaster": b"postmaster",
    "postmaster-upper": b"POSTMASTER",
    "postmaster-domain": b"postmaster@mta.test",
    "postmaster-outside": b"postmaster@a.test",
    "abuse": b"abuse@mta.test",
    "local-only": b"root",
    "pipe": b"|/bin/sh@mta.test",
    "slash": b"/etc/passwd@mta.test",
    "include": b'":include:/etc/passwd"@mta.test',
    "port": b"u@mta.test:2025",
    "port-outside": b"ext@a.test:2025",
    "routing": b"ext@a.test!b.test",
    "space": b"ext@a.test u@mta.test",
    "comma": b"u@mta.test,ext@a.test",
    "semicolon": b"u@mta.test;ext@a.test",
    "colon": b"group:ext@a.test;",
    "plus": b"u+ext=a.test@mta.test",
    "nested": b"<ext@a.test>",
    "angle-tail": b"u@mta.test><ext@a.test",
    "name": b"User <ext@a.test>",
    "comment": b"ext(x)@a.test",
    "backslash": b"ext\\@a.test@mta.test",
    "newline": b"u@mta.test\nRCPT TO:<ext@a.test",
    "crlf-escaped": b"u@mta.test%0d%0aRCPT TO:<ext@a.test",
    "full-width-at": "ext＠a.test@mta.test".encode(),
    "full-width-dot": "ext@a。test".encode(),
    "at-domain-only": b"@a.test",
    "local-at-only": b"ext@",
    "two-dots": b"ext@a..test",
    "xn-bad": b"ext@xn---.test",
}
_SENDERS: Final[dict[str, bytes]] = {
    "null": b"<>",
    "own": b"<root@mta.test>",
    "postmaster": b"<postmaster@mta.test>",
    "postmaster-literal": b"<postmaster@[127.0.0.1]>",
    "literal": b"<u@[127.0.0.1]>",
    "outside": b"<ext@a.test>",
    "localhost": b"<root@localhost>",
}
#: Nobody's: syntax, or no relaying.
_NOT: Final = f"{NO_RELAY}|501|553|555"


_D4_ROWS: Final[tuple[Case, ...]] = (
    row(
        "D4-one-of-two",
        "a transaction whose only recipient was refused has none",
        EHLO,
        Turn(
            b"MAIL FROM:<x@from.test>\r\nRCPT TO:<ext@a.test>\r\nRCPT TO:<postmaster>\r\nBDAT 3 LAST\r\nx\r\n",
            ("250", NO_RELAY, NO_RELAY, "503|554"),
        ),
        setup=STRANGER,
    ),
)


def _d4() -> Iterator[Case]:
    for what, path in _PATHS.items():
        yield row(
            f"D4-{what}",
            f"a stranger's RCPT TO:<{path.decode('utf-8', 'backslashreplace')}>".replace(
                "\x00", "\\0"
            ).replace("\n", "\\n"),
            EHLO,
            Turn(b"MAIL FROM:<x@from.test>\r\n", ("250",), is_common=True),
            Turn(b"RCPT TO:<" + path + b">\r\n", (_NOT,)),
            command(b"DATA", "503|554"),
            setup=STRANGER,
        )
        if not path.isascii():
            yield row(
                f"D4-{what}-smtputf8",
                f"the same with SMTPUTF8: {path.decode()}",
                EHLO,
                Turn(b"MAIL FROM:<x@from.test> SMTPUTF8\r\n", ("250",), is_common=True),
                Turn(b"RCPT TO:<" + path + b">\r\n", (_NOT,)),
                command(b"DATA", "503|554"),
                setup=STRANGER,
            )
    for what, path in _SENDERS.items():
        yield row(
            f"D4-from-{what}",
            f"a stranger's MAIL FROM:{path.decode()} opens nothing",
            EHLO,
            Turn(b"MAIL FROM:" + path + b"\r\n", ("250|4|5",), is_common=True),
            Turn(b"RCPT TO:<ext@a.test>\r\n", (NO_RELAY + "|503",)),
            command(b"DATA", "503|554"),
            setup=STRANGER,
        )
    for what, name in {
        "localhost": b"localhost",
        "literal": b"[127.0.0.1]",
        "own": b"mta.test",
        "null": b"-",
    }.items():
        yield row(
            f"D4-ehlo-{what}",
            f"EHLO {name.decode()} opens nothing",
            Turn(b"EHLO " + name + b"\r\n", ("250|501",)),
            EHLO,
            command(b"MAIL FROM:<x@from.test>", "250"),
            command(b"RCPT TO:<ext@a.test>", NO_RELAY),
            setup=STRANGER,
        )


#: Ways to write a field of the tenant, all of which must be gone from what is sent on; and the tenant that they name.
_ACME: Final[dict[str, bytes]] = {
    "plain": b"X-Tenant: acme\r\n",
    "lower": b"x-tenant: acme\r\n",
    "mixed": b"X-TeNaNt: acme\r\n",
    "no-space": b"X-Tenant:acme\r\n",
    "tab": b"X-Tenant:\tacme\r\n",
    "folded": b"X-Tenant:\r\n acme\r\n",
    "folded-twice": b"X-Tenant:\r\n \r\n\tacme\r\n",
    "space-before-colon": b"X-Tenant : acme\r\n",
    "twice-same": b"X-Tenant: acme\r\nX-Tenant: acme\r\n",
    "trailing-space": b"X-Tenant: acme \t\r\n",
    "last": b"X-Other: y\r\nX-Tenant: acme\r\n",
}
#: What looks like one and is none, or one that names nobody.
_NO_TENANT: Final[dict[str, tuple[bytes, str]]] = {
    "unknown": (b"X-Tenant: nobody\r\n", "550 5.7.1"),
    "two": (b"X-Tenant: acme\r\nX-Tenant: bluebird\r\n", "550 5.6.0"),
    "two-cases": (b"X-Tenant: acme\r\nx-tenant: bluebird\r\n", "550 5.6.0"),
    "homoglyph": ("X-Tenant: аcme\r\n".encode(), "550"),
    "case-of-value": (b"X-Tenant: ACME\r\n", "550 5.7.1"),
    "comma": (b"X-Tenant: acme, bluebird\r\n", "550 5.6.0"),
    "nul": (b"X-Tenant: acme\x00\r\n", "550"),
    "encoded-word": (b"X-Tenant: =?utf-8?q?acme?=\r\n", "550"),
    "comment": (b"X-Tenant: acme (x)\r\n", "550"),
    "quoted": (b'X-Tenant: "acme"\r\n', "550"),
    "colon": (b"X-Tenant: acme:x\r\n", "550 5.6.0"),
}
_PASSED: Final[dict[str, bytes]] = {
    "name-with-fs": b"X-Other: y\x1cX-Tenant: bluebird\r\n",
    "in-value": b"X-Other: X-Tenant: bluebird\r\n",
    "folded-name": b"X-Other: y\r\n X-Tenant: bluebird\r\n",
    "longer-name": b"X-Tenants: bluebird\r\n",
    "others": b"X-Kumo-Tenant: bluebird\r\nX-MT-Tenant: bluebird\r\nX-Virtual-MTA: bluebird\r\n",
    "in-part": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX-Tenant: bluebird\r\n\r\n--b--\r\n",
    "in-body": b"\r\nX-Tenant: bluebird\r\n",
}
_REST: Final = b"Subject: x\r\n\r\nbody\r\n"


def _d5() -> Iterator[Case]:
    for what, field in _ACME.items():
        others = b"X-Other: y\r\n" if what == "last" else b""
        yield row(
            f"D5-{what}",
            f"the field {field!r} assigns and does not leave",
            EHLO,
            ENVELOPE,
            Turn(field + _REST + b".\r\n", ("250",)),
            stores=(others + _REST,),
            where=Where.SOCKETS,
        )
    for what, (field, answer) in _NO_TENANT.items():
        yield row(
            f"D5-refused-{what}",
            f"the field {field!r} names nobody, or two",
            EHLO,
            ENVELOPE,
            Turn(field + _REST + b".\r\n", (answer,)),
            where=Where.SOCKETS,
        )
    for what, field in _PASSED.items():
        yield row(
            f"D5-no-field-{what}",
            f"{field[:40]!r} is no field of the tenant",
            EHLO,
            ENVELOPE,
            Turn(field + _REST + b".\r\n", ("250",)),
            stores=(field + _REST,),
            where=Where.SOCKETS,
        )


CASES: Final[tuple[Case, ...]] = (*_D4_ROWS, *_d4(), *_d5())

_DOMAINS: Final = "listener_domains: domains of our own, and who may send from and to them"
_API: Final = "the HTTP API: injection and administration"
_FEEDBACK: Final = "feedback: return-path tokens, tracking and reports of abuse"
_DKIM: Final = "signing: which tenant owns a domain and its keys"

WAITING: Final = (
    Waiting(
        "D4-local-forms",
        'ext%ext@local, "ext@ext"@local, @local:ext@ext with a local domain that is really ours',
        _DOMAINS,
    ),
    Waiting("D4-local-case", "u@LOCAL and u@local. are our domain, or are refused", _DOMAINS),
    Waiting(
        "D4-sender-local",
        "a local domain as the sender grants no relaying by itself (relay_from needs its network)",
        _DOMAINS,
    ),
    Waiting(
        "D5-authenticated",
        "an authenticated user may name only tenants that require_authz allows it",
        "queues.toml: require_authz",
    ),
    Waiting("D5-json", "tenant twice, Tenant, homoglyphs in JSON", _API),
    Waiting(
        "D6-from", "From, Sender, Resent-From and MAIL FROM of a domain that another tenant owns", _DOMAINS
    ),
    Waiting(
        "D6-two-from",
        "two From fields, group syntax, encoded words, a folded first field (espoofer a8 to a20)",
        _DOMAINS,
    ),
    Waiting("D6-dkim-d", "d= of a domain that another tenant owns", _DKIM),
    Waiting(
        "D7-tokens", "forged return-paths, trace fields and report ids are attributed to nobody", _FEEDBACK
    ),
    Waiting("D8-idor", "ids of another tenant's messages, queues, logs and webhooks are 404", _API),
    Waiting("D8-quota", "one tenant's full quota stops no other", "quotas of tenants"),
    Waiting(
        "D9-ssrf",
        "webhook addresses that lead inside: literal, redirected, rebound, mapped, decimal",
        "webhooks",
    ),
)

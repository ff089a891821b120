"""D3: ways around AUTH and around the client's own address (RFC 4954 3; Postfix's XCLIENT; HAProxy's PROXY protocol)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from tests.hostile.case import Case, Proxy, Setup, Turn, Waiting, Where
from tests.hostile.table.authentication import AUTH, FAILED, SECURE, encoded
from tests.hostile.table.dialogue import EHLO, NO_RELAY, command, good_message, row, way
from tests.hostile.table.starttls import GOOD, PLAIN, SECRETS

_MAIL: Final = b"MAIL FROM:<a@from.test>"
_RCPT: Final = b"RCPT TO:<c@a.test>"
_MAY_MAIL: Final = "250|530"


def _without() -> Iterator[Case]:
    tries: dict[str, tuple[Turn, ...]] = {
        "mail-rcpt": (
            command(_MAIL, _MAY_MAIL),
            command(_RCPT, NO_RELAY + "|503"),
            command(b"DATA", "503|530|554"),
        ),
        "rcpt": (command(_RCPT, "503|530"),),
        "data": (command(b"DATA", "503|530"),),
        "bdat": (command(b"BDAT 8 LAST\r\nx: y\r\n", "503|530|502"),),
        "vrfy": (command(b"VRFY c@a.test", "252|530|502"),),
        "expn": (command(b"EXPN list", "500|502|530"),),
        "etrn": (command(b"ETRN a.test", "500|502|530"),),
        "turn": (command(b"TURN", "500|502|530"),),
        "send": (
            command(b"SEND FROM:<a@from.test>", "500|502"),
            command(b"SAML FROM:<a@from.test>", "500|502"),
        ),
        "pipelined": (
            Turn(
                _MAIL + b"\r\n" + _RCPT + b"\r\nDATA\r\n",
                (_MAY_MAIL, NO_RELAY + "|503", "503|530|554"),
                closes=None,
            ),
        ),
    }
    for what, turns in tries.items():
        yield row(f"D3-before-{what}", f"{what} before AUTH, under TLS", *SECURE, *turns, setup=AUTH)
        failed = command(b"AUTH PLAIN " + encoded("", "nobody", "x"), FAILED)
        yield row(f"D3-failed-{what}", f"{what} after AUTH has failed", *SECURE, failed, *turns, setup=AUTH)
        cancelled = (way(b"AUTH LOGIN", "334"), command(b"*", "501"))
        yield row(
            f"D3-cancelled-{what}", f"{what} after AUTH was given up", *SECURE, *cancelled, *turns, setup=AUTH
        )


_GOOD_AUTH: Final = b"AUTH PLAIN " + PLAIN
_BAD_AUTH: Final = b"AUTH PLAIN " + encoded("", "nobody", "x")
_GROUP: Final = b"\r\n" + _MAIL + b"\r\n" + _RCPT + b"\r\nDATA\r\n"

_BEHIND_ROWS: Final[tuple[Case, ...]] = (
    row(
        "D3-rset",
        "RSET and EHLO do not undo AUTH",
        *SECURE,
        way(_GOOD_AUTH, "235"),
        command(b"RSET", "250"),
        *good_message(),
        EHLO,
        *good_message(),
        setup=AUTH,
        stores=(GOOD, GOOD),
        secrets=SECRETS,
    ),
    row(
        "D3-pipelined-good",
        "AUTH and a transaction in one segment: the transaction waits for what becomes of AUTH",
        *SECURE,
        Turn(_GOOD_AUTH + _GROUP, ("235", "250", "250", "354")),
        Turn(GOOD + b".\r\n", ("250",)),
        setup=AUTH,
        stores=(GOOD,),
        secrets=SECRETS,
    ),
    row(
        "D3-pipelined-bad",
        "AUTH that fails and a transaction in one segment",
        *SECURE,
        Turn(_BAD_AUTH + _GROUP, (FAILED, _MAY_MAIL, NO_RELAY + "|503", "503|530|554")),
        setup=AUTH,
    ),
    row(
        "D3-pipelined-login",
        "all of AUTH LOGIN and a transaction in one segment",
        *SECURE,
        Turn(
            b"AUTH LOGIN\r\n" + encoded("nobody") + b"\r\n" + encoded("x") + _GROUP,
            ("334", "334", FAILED, _MAY_MAIL, NO_RELAY + "|503", "503|530|554"),
        ),
        setup=AUTH,
    ),
    row(
        "D3-pipelined-response",
        "a transaction where a response was asked for is a response, line by line",
        *SECURE,
        Turn(b"AUTH PLAIN" + _GROUP, ("334", "501", "503|530", "503|530"), closes=None),
        setup=AUTH,
        absent=(b"from.test",),
    ),
    row(
        "D3-auth-parameter-not-offered",
        "MAIL with AUTH= where AUTH is not offered",
        EHLO,
        command(_MAIL + b" AUTH=<>", "555"),
    ),
)


def _behind() -> Iterator[Case]:
    for value, answer in {
        b"<x@y>": "250|501|530|555",
        b"x@y.test": "250|530",
        b"ursula@from.test": "250|530",
        b"<>": "250|530",
        b"postmaster@mta.test": "250|530",
    }.items():
        yield row(
            f"D3-auth-parameter-{value.decode().strip('<>') or 'null'}",
            f"MAIL with AUTH={value.decode()} grants nothing",
            *SECURE,
            command(_MAIL + b" AUTH=" + value, answer),
            command(_RCPT, NO_RELAY + "|503"),
            setup=AUTH,
        )


_UNTRUSTED: Final = {
    "xclient": (b"XCLIENT ADDR=127.0.0.1", "550|500|502"),
    "xclient-name": (b"XCLIENT NAME=localhost ADDR=127.0.0.1 LOGIN=ursula", "550|500|502"),
    "xclient-login": (b"XCLIENT LOGIN=ursula", "550|500|502"),
    "xforward": (b"XFORWARD ADDR=127.0.0.1", "550|500|502"),
    "proxy-v1": (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25", "500|501"),
    "xadr": (b"XADR 127.0.0.1", "500"),
}


def _untrusted() -> Iterator[Case]:
    stranger = Setup(may_relay=False)
    for what, (line, answer) in _UNTRUSTED.items():
        yield row(
            f"D3-untrusted-{what}",
            f"{line.decode()} from an address that nobody trusts with it",
            Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"XCLIENT", b"XFORWARD")),
            command(line, answer, closes=None),
            command(_MAIL, _MAY_MAIL),
            command(_RCPT, NO_RELAY),
            setup=stranger,
        )
        yield row(
            f"D3-untrusted-first-{what}",
            f"{line.decode()} as the first line",
            command(line, answer + "|503", closes=None),
            EHLO,
            command(_MAIL, _MAY_MAIL),
            command(_RCPT, NO_RELAY),
            setup=stranger,
        )
    yield row(
        "D3-untrusted-proxy-v2",
        "a PROXY header of version 2 from an address that nobody trusts with it",
        Turn(_version_2("127.0.0.1", "127.0.0.1"), None, closes=None, each="4|5"),
        setup=stranger,
        has_quit=False,
    )


_MAY_XCLIENT: Final = Setup(may_xclient=True)


_FOR_A_STRANGER: Final = Turn(b"XCLIENT ADDR=192.0.2.7 PORT=4711\r\n", ("220",))

_XCLIENT_ROWS: Final[tuple[Case, ...]] = (
    row(
        "D3-xclient-stranger",
        "who a trusted proxy speaks for counts, not the proxy",
        Turn(b"EHLO client.test\r\n", ("250",), has=(b"XCLIENT ADDR",)),
        _FOR_A_STRANGER,
        EHLO,
        command(_MAIL, "250"),
        command(_RCPT, NO_RELAY),
        setup=_MAY_XCLIENT,
    ),
    row(
        "D3-xclient-again",
        "the client behind the proxy may not speak for another",
        EHLO,
        _FOR_A_STRANGER,
        Turn(b"EHLO client.test\r\n", ("250",)),
        command(b"XCLIENT ADDR=127.0.0.1", "550|220|503"),
        setup=_MAY_XCLIENT,
        where=Where.SOCKETS,
    ),
    row(
        "D3-xclient-forgets",
        "after XCLIENT nothing of the session before it is left",
        EHLO,
        _FOR_A_STRANGER,
        command(_MAIL, "503"),
        EHLO,
        command(_RCPT, "503"),
        setup=_MAY_XCLIENT,
    ),
    row(
        "D3-xclient-in-transaction",
        "XCLIENT in a transaction",
        EHLO,
        way(_MAIL, "250"),
        command(b"XCLIENT ADDR=192.0.2.7", "503"),
        setup=_MAY_XCLIENT,
    ),
    row(
        "D3-xclient-before-ehlo",
        "XCLIENT before EHLO",
        command(b"XCLIENT ADDR=192.0.2.7", "503"),
        setup=_MAY_XCLIENT,
    ),
)


def _xclient() -> Iterator[Case]:
    for what, argument in {
        "nothing": b"",
        "no-value": b"ADDR=",
        "name": b"ADDR=localhost",
        "unknown": b"FOO=bar",
        "twice": b"ADDR=192.0.2.7 ADDR=127.0.0.1",
        "login": b"ADDR=192.0.2.7 LOGIN=ursula",
        "port": b"ADDR=192.0.2.7 PORT=65536",
        "port-sign": b"ADDR=192.0.2.7 PORT=+1",
        "port-zero": b"ADDR=192.0.2.7 PORT=0",
        "ipv6-bare": b"ADDR=::1",
        "ipv6-bad": b"ADDR=IPV6:::1::",
        "octal": b"ADDR=010.0.0.1",
        "decimal": b"ADDR=2130706433",
        "xtext": b"ADDR=127.0.0.1+0D+0ARSET",
        "xtext-bad": b"ADDR=+ZZ",
        "spaces": b"ADDR = 192.0.2.7",
        "long": b"ADDR=" + b"1" * 1000,
    }.items():
        yield row(
            f"D3-xclient-bad-{what}",
            f"XCLIENT {argument[:40].decode()}",
            EHLO,
            command(b"XCLIENT " + argument, "501"),
            command(b"NOOP", "250"),
            setup=_MAY_XCLIENT,
        )


#: The client is a proxy that is trusted with a header, and may relay itself: what the header says must count.
PROXIED: Final = Setup(proxy=Proxy.REQUIRED)
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"


def _version_2(source: str, destination: str, *, command_octet: int = 0x21, tail: bytes = b"") -> bytes:
    family = 0x21 if ":" in source else 0x11
    block = (
        ip_address(source).packed
        + ip_address(destination).packed
        + (4711).to_bytes(2, "big")
        + b"\x00\x19"
        + tail
    )
    return _SIGNATURE + bytes((command_octet, family)) + len(block).to_bytes(2, "big") + block


def _proxied(header: bytes) -> tuple[Turn, ...]:
    return Turn(header, ("220",)), EHLO


def _proxy() -> Iterator[Case]:
    relays = {
        "v1-stranger": (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n", False),
        "v1-ours": (b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n", True),
        "v1-stranger-6": (b"PROXY TCP6 2001:db8::7 ::1 4711 25\r\n", False),
        "v1-ours-6": (b"PROXY TCP6 ::1 ::1 4711 25\r\n", True),
        "v2-stranger": (_version_2("192.0.2.7", "127.0.0.1"), False),
        "v2-ours": (_version_2("127.0.0.1", "127.0.0.1"), True),
        "v2-stranger-6": (_version_2("2001:db8::7", "::1"), False),
        "v2-tlv": (_version_2("192.0.2.7", "127.0.0.1", tail=b"\x01\x00\x04smtp"), False),
    }
    for what, (header, is_ours) in relays.items():
        rest = good_message() if is_ours else (command(_MAIL, "250"), command(_RCPT, NO_RELAY))
        yield row(
            f"D3-proxy-{what}",
            "the address in the header decides about relaying",
            *_proxied(header),
            *rest,
            setup=PROXIED,
            stores=(GOOD,) if is_ours else (),
        )
    for what, header in _bad_headers().items():
        yield row(
            f"D3-proxy-bad-{what}",
            f"{header[:40]!r} where a PROXY header must come",
            Turn(header, (), closes=True),
            setup=PROXIED,
        )
    header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n"
    yield row(
        "D3-proxy-twice",
        "a second header is a command, and none that is known",
        *_proxied(header),
        command(b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 25", "500|501", closes=None),
        command(_MAIL, "250"),
        command(_RCPT, NO_RELAY),
        setup=PROXIED,
    )
    yield row(
        "A7-early-talk",
        "a client that talks before the banner: its EHLO comes in one segment with the proxy's header",
        Turn(header + b"EHLO client.test\r\n", ("554 5.5.0",), closes=True, together=(len(header),)),
        setup=PROXIED,
    )


def _bad_headers() -> dict[str, bytes]:
    version_2 = _version_2("192.0.2.7", "127.0.0.1")
    return {
        "none": b"EHLO client.test\r\n",
        "late": b"NOOP\r\nPROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        "108": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        "endless": b"PROXY UNKNOWN " + b"x" * 5000,
        "lower": b"proxy TCP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        "lf": b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\n",
        "lf-inside": b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\nEHLO x\r\n",
        "no-ports": b"PROXY TCP4 192.0.2.7 127.0.0.1\r\n",
        "port-65536": b"PROXY TCP4 192.0.2.7 127.0.0.1 65536 25\r\n",
        "port-sign": b"PROXY TCP4 192.0.2.7 127.0.0.1 +1 25\r\n",
        "port-arabic": "PROXY TCP4 192.0.2.7 127.0.0.1 ٣ 25\r\n".encode(),
        "name": b"PROXY TCP4 localhost 127.0.0.1 4711 25\r\n",
        "octal": b"PROXY TCP4 0127.0.0.1 127.0.0.1 4711 25\r\n",
        "family": b"PROXY TCP4 ::1 ::1 4711 25\r\n",
        "family-6": b"PROXY TCP6 127.0.0.1 127.0.0.1 4711 25\r\n",
        "zone": b"PROXY TCP6 fe80::1%lo ::1 4711 25\r\n",
        "udp": b"PROXY UDP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        "two-spaces": b"PROXY  TCP4 192.0.2.7 127.0.0.1 4711 25\r\n",
        "extra": b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25 x\r\n",
        "nul": b"PROXY TCP4 192.0.2.7\x00 127.0.0.1 4711 25\r\n",
        "v2-version": version_2[:12] + b"\x31" + version_2[13:],
        "v2-command": version_2[:12] + b"\x22" + version_2[13:],
        "v2-short": version_2[:14] + b"\x00\x04" + version_2[16:20],
        "v2-length-zero": version_2[:14] + b"\x00\x00",
        "v2-huge": version_2[:14] + b"\xff\xff" + b"\x00" * 65_535,
        "v2-signature": b"\r\n\r\n\x00\r\nQUIT\r" + version_2[12:],
        "tls": b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b",
    }


def _silent_proxies() -> Iterator[Case]:
    """Headers that name no client: the specification says the connection's own addresses hold then."""
    headers = {
        "v1-unknown": b"PROXY UNKNOWN\r\n",
        "v1-unknown-long": b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "v2-local": _SIGNATURE + b"\x20\x00\x00\x00",
    }
    for what, header in headers.items():
        yield row(
            f"D3-proxy-{what}",
            "a header that names no client (a health check): the session is the proxy's own",
            *_proxied(header),
            command(_MAIL, "250"),
            command(_RCPT, "250|" + NO_RELAY),
            setup=PROXIED,
        )


CASES: Final[tuple[Case, ...]] = (
    *_without(),
    *_BEHIND_ROWS,
    *_behind(),
    *_untrusted(),
    *_XCLIENT_ROWS,
    *_xclient(),
    *_proxy(),
    *_silent_proxies(),
)
WAITING: Final[tuple[Waiting, ...]] = ()

"""D1 and D2: AUTH (RFC 4954, RFC 4616): when it is offered, what may be given to it, and how often."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from tests.hostile.case import PASSWORD, USER, Case, Setup, Turn
from tests.hostile.table.dialogue import EHLO, MAIL, NO_RELAY, RCPT, command, good_message, row, way
from tests.hostile.table.starttls import AUTH_IN_CLEAR, GOOD, PLAIN, SECRETS, STARTTLS, TLS

#: A stranger where a policy answers AUTH, and the listener is as it is without any option.
AUTH: Final = Setup(may_relay=False, has_auth=True)
SECURE: Final = (EHLO, STARTTLS, TLS, EHLO)
_WRONG: Final = "wr0ng-pencil"
FAILED: Final = "535 5.7.8"


def encoded(*parts: str | bytes) -> bytes:
    """Parts joined by NUL, in base64."""
    return base64.b64encode(b"\0".join(part.encode() if isinstance(part, str) else part for part in parts))


_D1_ROWS: Final[tuple[Case, ...]] = (
    row(
        "D1-offered",
        "AUTH is offered under TLS and not before",
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"AUTH",)),
        STARTTLS,
        TLS,
        Turn(b"EHLO client.test\r\n", ("250",), has=(b"AUTH PLAIN LOGIN",)),
        setup=AUTH,
    ),
    row(
        "D1-offered-clear",
        "AUTH is offered in plain text where the listener says so",
        Turn(b"EHLO client.test\r\n", ("250",), has=(b"AUTH PLAIN LOGIN",)),
        setup=AUTH_IN_CLEAR,
    ),
    row(
        "D1-discarded",
        "AUTH where discard_ehlo_keywords takes it away",
        *SECURE[:-1],
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"AUTH",)),
        command(b"AUTH PLAIN " + PLAIN, "502|503"),
        setup=Setup(may_relay=False, has_auth=True, discard_ehlo_keywords=("AUTH",)),
        secrets=SECRETS,
    ),
    row(
        "D1-helo",
        "AUTH behind HELO was never offered",
        EHLO,
        STARTTLS,
        TLS,
        way(b"HELO client.test", "250"),
        command(b"AUTH PLAIN " + PLAIN, "502|503|235", closes=None),
        setup=AUTH,
        secrets=SECRETS,
        has_quit=False,
    ),
    row(
        "D1-no-policy",
        "EHLO under TLS offers no AUTH where no policy answers it",
        *SECURE[:-1],
        Turn(b"EHLO client.test\r\n", ("250",), lacks=(b"AUTH",)),
    ),
)


def _d1() -> Iterator[Case]:
    for mechanism, argument in {
        "plain": b"PLAIN " + PLAIN,
        "plain-waiting": b"PLAIN",
        "login": b"LOGIN",
        "login-initial": b"LOGIN " + encoded(USER),
        "lower": b"plain " + PLAIN,
    }.items():
        yield row(
            f"D1-clear-{mechanism}",
            f"AUTH {argument[:5].decode()} in plain text where it needs TLS",
            EHLO,
            command(b"AUTH " + argument, "538 5.7.11|530"),
            command(b"MAIL FROM:<a@from.test>", "250|530"),
            command(b"RCPT TO:<c@a.test>", NO_RELAY + "|503"),
            setup=AUTH,
            secrets=SECRETS,
        )
        yield row(
            f"D1-none-{mechanism}",
            f"AUTH {argument[:5].decode()} where no policy answers it",
            EHLO,
            command(b"AUTH " + argument, "502|503"),
            secrets=SECRETS,
        )
        yield row(
            f"D1-none-tls-{mechanism}",
            f"AUTH {argument[:5].decode()} under TLS where no policy answers it",
            *SECURE,
            command(b"AUTH " + argument, "502|503"),
            secrets=SECRETS,
        )


_SYNTAX: Final = "501"
_EITHER: Final = f"501|{FAILED}"
_RESPONSES: Final[dict[str, tuple[bytes, str, str]]] = {
    "good": (PLAIN, "235 2.7.0", "the right credentials"),
    "good-authzid": (encoded(USER, USER, PASSWORD), "235|535", "authzid is the user itself"),
    "authzid": (encoded("admin", USER, PASSWORD), FAILED, "an authzid that is somebody else"),
    "wrong": (encoded("", USER, _WRONG), FAILED, "a wrong password"),
    "nobody": (encoded("", "nobody", PASSWORD), FAILED, "an unknown user"),
    "empty": (b"=", _EITHER, "the empty response"),
    "one-part": (encoded(USER), _EITHER, "no NUL"),
    "two-parts": (encoded(USER, PASSWORD), _EITHER, "one NUL"),
    "four-parts": (encoded("", USER, PASSWORD, "x"), _EITHER, "three NULs"),
    "trailing-nul": (encoded("", USER, PASSWORD, ""), _EITHER, "a NUL behind the password"),
    "truncated-user": (encoded("", USER, "x", PASSWORD), _EITHER, "a NUL in the user's name"),
    "no-user": (encoded("", "", PASSWORD), _EITHER, "no user"),
    "no-password": (encoded("", USER, ""), _EITHER, "no password"),
    "nothing": (encoded("", "", ""), _EITHER, "nothing but NULs"),
    "upper-user": (encoded("", USER.upper(), PASSWORD), FAILED, "the user in capitals"),
    "space": (encoded("", USER, PASSWORD + " "), FAILED, "a space behind the password"),
    "newline": (
        encoded("", USER, PASSWORD + "\r\nMAIL FROM:<x@y>"),
        _EITHER,
        "a line end in the password",
    ),
    "utf-8": (encoded("", "üser", "pässwort"), FAILED, "UTF-8"),
    "nfd": (encoded("", "üser", PASSWORD), FAILED, "UTF-8, decomposed"),
    "latin-1": (encoded("", b"\xfcser", PASSWORD), _EITHER, "no UTF-8"),
    "overlong": (encoded("", b"\xc0\xafuser", PASSWORD), _EITHER, "overlong UTF-8"),
    "surrogate": (encoded("", b"\xed\xa0\x80", PASSWORD), _EITHER, "a surrogate"),
    "no-padding": (PLAIN.rstrip(b"=") if b"=" in PLAIN else PLAIN[:-1], _EITHER, "base64 cut off"),
    "too-much-padding": (PLAIN + b"=", _SYNTAX, "base64 with too many ="),
    "bad-digit": (b"!" + PLAIN[1:], _SYNTAX, "base64 with !"),
    "url-digits": (b"-_" + PLAIN[2:], _SYNTAX, "base64url"),
    "inner-padding": (b"QQ==" + PLAIN, _SYNTAX, "= in the middle"),
    "stray-bits": (b"AHU=" if PLAIN[-1:] == b"=" else b"AHV=", _EITHER, "base64 of too few octets"),
    "cancel-initial": (b"*", _SYNTAX, "* as the initial response"),
    "long": (encoded("", "u" * 600, PASSWORD), _EITHER, "a name of 600 octets"),
}


def _afterwards(answer: str) -> tuple[Turn, ...]:
    """What the client may do then: mail if it got in, else nothing."""
    if answer == "235 2.7.0":
        return good_message()
    if "235" in answer:
        return ()
    return (
        command(b"MAIL FROM:<a@from.test>", "250|530"),
        command(b"RCPT TO:<c@a.test>", NO_RELAY + "|503"),
    )


def _initial() -> Iterator[Case]:
    """PLAIN with an initial response, and the same as a response of its own."""
    for name, (response, answer, what) in _RESPONSES.items():
        for form, turns in {
            "initial": (command(b"AUTH PLAIN " + response, answer),),
            "asked": (way(b"AUTH PLAIN", "334"), command(response, answer)),
        }.items():
            yield row(
                f"D2-{name}-{form}",
                f"AUTH PLAIN: {what} ({form})",
                *SECURE,
                *turns,
                *_afterwards(answer),
                setup=AUTH,
                stores=(GOOD,) if answer == "235 2.7.0" else (),
                secrets=(*SECRETS, response) if len(response) > 8 else SECRETS,
            )


_SECRETS: Final = (*SECRETS, base64.b64encode(PASSWORD.encode()))

_D2_ROWS: Final[tuple[Case, ...]] = (
    row(
        "D2-cancel",
        "* gives up",
        *SECURE,
        way(b"AUTH PLAIN", "334"),
        command(b"*", "501 5.7.0"),
        command(b"NOOP", "250"),
        command(b"AUTH PLAIN " + PLAIN, "235"),
        setup=AUTH,
        secrets=_SECRETS,
    ),
    row("D2-no-mechanism", "AUTH alone", *SECURE, command(b"AUTH", "501"), setup=AUTH),
    row("D2-spaces", "AUTH with spaces only", *SECURE, command(b"AUTH   ", "501"), setup=AUTH),
    row(
        "D2-two-responses",
        "AUTH PLAIN with two initial responses",
        *SECURE,
        command(b"AUTH PLAIN " + PLAIN + b" " + PLAIN, "501"),
        setup=AUTH,
        secrets=_SECRETS,
    ),
    row(
        "D2-login-cancel-user",
        "AUTH LOGIN: * instead of the user",
        *SECURE,
        way(b"AUTH LOGIN", "334"),
        command(b"*", "501 5.7.0"),
        command(b"NOOP", "250"),
        setup=AUTH,
    ),
    row(
        "D2-login-nul-user",
        "AUTH LOGIN: a NUL in the user's name",
        *SECURE,
        way(b"AUTH LOGIN", "334"),
        way(encoded(USER + "\0x"), "334|501|535"),
        Turn(encoded(PASSWORD) + b"\r\n", None, closes=None, each="4|5"),
        setup=AUTH,
        secrets=_SECRETS,
        has_quit=False,
    ),
    row(
        "D2-response-endless",
        "a response of a million octets without a line end",
        *SECURE,
        way(b"AUTH PLAIN", "334"),
        Turn(b"A" * 1_000_000, None, closes=None, each="500 5.5.6|421"),
        setup=AUTH,
        held=12_400,
        has_quit=False,
    ),
    row(
        "D2-initial-4000",
        "an initial response that makes the command line too long",
        *SECURE,
        command(b"AUTH PLAIN " + b"A" * 4000, "500"),
        command(b"NOOP", "250"),
        setup=AUTH,
    ),
    row(
        "D2-lf-response",
        "a response that ends with LF, and a command behind it",
        *SECURE,
        way(b"AUTH PLAIN", "334"),
        Turn(PLAIN + b"\nMAIL FROM:<smuggled@b.test>\r\n", ("501|500",)),
        command(b"RCPT TO:<c@a.test>", "503|" + NO_RELAY),
        setup=AUTH,
        absent=(b"smuggled",),
        secrets=_SECRETS,
    ),
    row(
        "D2-cr-response",
        "a response with a CR in it",
        *SECURE,
        way(b"AUTH PLAIN", "334"),
        Turn(PLAIN[:8] + b"\r" + PLAIN[8:] + b"\r\n", ("501|500",)),
        setup=AUTH,
        secrets=_SECRETS,
    ),
    row(
        "D2-twice",
        "AUTH after AUTH has succeeded",
        *SECURE,
        way(b"AUTH PLAIN " + PLAIN, "235"),
        command(b"AUTH PLAIN " + PLAIN, "503"),
        command(b"AUTH LOGIN", "503"),
        *good_message(),
        command(b"AUTH PLAIN " + PLAIN, "503"),
        setup=AUTH,
        stores=(GOOD,),
        secrets=_SECRETS,
    ),
    row(
        "D2-in-transaction",
        "AUTH in a transaction",
        EHLO,
        MAIL,
        command(b"AUTH PLAIN " + PLAIN, "503"),
        RCPT,
        command(b"AUTH PLAIN " + PLAIN, "503"),
        setup=Setup(has_auth=True, allow_auth_without_tls=True),
        secrets=_SECRETS,
    ),
    row(
        "D2-three-failures",
        "three failures are the end",
        *SECURE,
        *(command(b"AUTH PLAIN " + encoded("", USER, f"{_WRONG}{number}"), FAILED) for number in range(2)),
        Turn(
            b"AUTH PLAIN " + encoded("", USER, _WRONG) + b"\r\nAUTH PLAIN " + PLAIN + b"\r\n",
            None,
            closes=True,
            each="535|421 4.7.0",
            has=(b"421 4.7.0",),
            lacks=(b"235",),
        ),
        setup=AUTH,
        secrets=_SECRETS,
    ),
    row(
        "D2-three-failures-ehlo",
        "EHLO, RSET and a message between them do not begin the count of failures anew",
        *SECURE,
        command(b"AUTH PLAIN " + encoded("", USER, _WRONG), FAILED),
        EHLO,
        way(b"RSET", "250"),
        command(b"AUTH LOGIN " + encoded("nobody"), "334"),
        command(encoded(_WRONG), FAILED),
        *good_message(),
        Turn(
            b"AUTH PLAIN " + encoded("", USER, _WRONG) + b"\r\n",
            None,
            closes=True,
            each="535|421",
            has=(b"421",),
        ),
        setup=Setup(has_auth=True),
        stores=(GOOD,),
        secrets=_SECRETS,
    ),
    row(
        "D2-same-answer",
        "an unknown user and a wrong password are told the same",
        *SECURE,
        Turn(
            b"AUTH PLAIN " + encoded("", USER, _WRONG) + b"\r\n",
            (FAILED,),
            lacks=(b"user", b"password", USER.encode()),
        ),
        Turn(
            b"AUTH PLAIN " + encoded("", "nobody", _WRONG) + b"\r\n",
            (FAILED,),
            lacks=(b"user", b"unknown", b"nobody"),
        ),
        setup=AUTH,
        secrets=_SECRETS,
    ),
    row(
        "D2-as-command",
        "credentials sent where commands are read are repeated to nobody",
        *SECURE,
        Turn(PLAIN + b"\r\n", ("500",), lacks=SECRETS),
        setup=AUTH,
        secrets=_SECRETS,
    ),
)


def _d2() -> Iterator[Case]:
    for name in ("CRAM-MD5", "XOAUTH2", "SCRAM-SHA-256", "ANONYMOUS", "EXTERNAL", "PLAINX", "P", "NTLM"):
        yield row(
            f"D2-unknown-{name.lower()}",
            f"AUTH {name}",
            *SECURE,
            command(b"AUTH " + name.encode(), "504 5.5.4"),
            command(b"NOOP", "250"),
            setup=AUTH,
        )
    for form, turns in {
        "asked": (way(b"AUTH LOGIN", "334 VXNlcm5hbWU6"), way(encoded(USER), "334 UGFzc3dvcmQ6")),
        "initial": (way(b"AUTH LOGIN " + encoded(USER), "334 UGFzc3dvcmQ6"),),
    }.items():
        for name, password, answer in (
            ("good", PASSWORD, "235 2.7.0"),
            ("wrong", _WRONG, FAILED),
            ("empty", "", f"501|{FAILED}"),
            ("nul", PASSWORD + "\0x", f"501|{FAILED}"),
        ):
            yield row(
                f"D2-login-{form}-{name}",
                f"AUTH LOGIN, user {form}: {name} password",
                *SECURE,
                *turns,
                command(encoded(password) or b"=", answer),
                setup=AUTH,
                secrets=_SECRETS,
            )
        yield row(
            f"D2-login-{form}-cancel",
            f"AUTH LOGIN, user {form}: * instead of the password",
            *SECURE,
            *turns,
            command(b"*", "501 5.7.0"),
            command(b"NOOP", "250"),
            setup=AUTH,
        )
        yield row(
            f"D2-login-{form}-bad-base64",
            f"AUTH LOGIN, user {form}: no base64 instead of the password",
            *SECURE,
            *turns,
            command(PASSWORD.encode(), "501 5.5.2"),
            command(b"NOOP", "250"),
            setup=AUTH,
            secrets=_SECRETS,
        )
    for length, answer in (
        (12_284, "501|535"),
        (12_286, "501|500|535"),
        (12_289, "500 5.5.6"),
        (65_537, "500 5.5.6"),
    ):
        yield row(
            f"D2-response-{length}",
            f"a response of {length} octets",
            *SECURE,
            way(b"AUTH PLAIN", "334"),
            command(b"A" * length, answer),
            command(b"NOOP", "250"),
            setup=AUTH,
            held=12_400,
        )


CASES: Final[tuple[Case, ...]] = (*_D1_ROWS, *_d1(), *_initial(), *_D2_ROWS, *_d2())
WAITING: Final = ()

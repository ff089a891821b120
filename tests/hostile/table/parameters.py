"""E, parameters of MAIL and RCPT: SIZE, BODY, SMTPUTF8, and those of DSN (RFC 1870, 6152, 6531, 3461; CVE-2020-28021, CVE-2020-28026)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.hostile.case import Case, Setup, Turn, Waiting
from tests.hostile.table.dialogue import EHLO, MAIL, command, row, way

_SIZES: Final[dict[str, tuple[str, str]]] = {
    "zero": ("0", "250"),
    "one": ("1", "250"),
    "zeros": ("00000000000000000012", "250"),
    "minus": ("-1", "501"),
    "plus": ("+1", "501"),
    "underscore": ("1_0", "501"),
    "arabic": ("٣", "501"),
    "full-width": ("１０", "501"),
    "superscript": ("1²", "501"),
    "hex": ("0x10", "501"),
    "fraction": ("1.0", "501"),
    "exponent": ("1e3", "501"),
    "comma": ("1,000", "501"),
    "21-digits": ("9" * 21, "501|552"),
    "400-digits": ("9" * 400, "501"),
    "20-digits": ("9" * 20, "552"),
    "empty": ("", "501"),
    "over": ("1001", "552 5.3.4"),
    "at": ("1000", "250"),
    "twice": ("1 SIZE=1", "501"),
    "twice-case": ("1 size=2", "501"),
    "equals": ("=1", "501"),
    "infinity": ("inf", "501"),
    "nan": ("nan", "501"),
}
_LIMITED: Final = Setup(max_message_size=1000)
_MAIL: Final[dict[str, tuple[str, str]]] = {
    "size-alone": ("SIZE", "501"),
    "body-7bit": ("BODY=7BIT", "250"),
    "body-8bitmime": ("BODY=8BITMIME", "250"),
    "body-foo": ("BODY=FOO", "501"),
    "body-binarymime": ("BODY=BINARYMIME", "501|555"),
    "body-alone": ("BODY", "501"),
    "body-twice": ("BODY=7BIT BODY=8BITMIME", "501"),
    "body-three": ("BODY=8BITMIME BODY=8BITMIME BODY=8BITMIME", "501"),
    "smtputf8-value": ("SMTPUTF8=1", "501"),
    "smtputf8-twice": ("SMTPUTF8 SMTPUTF8", "501"),
    "unknown": ("XYZZY", "555"),
    "unknown-value": ("COLOUR=blue", "555"),
    "unknown-twice": ("XYZZY XYZZY", "501|555"),
    "requiretls": ("REQUIRETLS", "555|250"),
    "mt-priority": ("MT-PRIORITY=9", "555"),
    "by": ("BY=120;R", "555"),
    "holdfor": ("HOLDFOR=100", "555"),
    "equals": ("=1", "501"),
    "hyphen": ("-X=1", "501"),
    "underscore": ("X_Y=1", "501"),
    "tab": ("SIZE=1\tBODY=7BIT", "501"),
    "two-equals": ("SIZE=1=2", "501"),
    "ret-full": ("RET=FULL", "250"),
    "ret-hdrs": ("RET=HDRS", "250"),
    "ret-lower": ("ret=hdrs", "250"),
    "ret-bad": ("RET=ALL", "501"),
    "ret-alone": ("RET", "501"),
    "ret-twice": ("RET=FULL RET=HDRS", "501"),
    "envid": ("ENVID=QQ314159", "250"),
    "envid-xtext": ("ENVID=a+2Bb", "250"),
    "envid-newline": ("ENVID=a+0D+0ARCPT", "501"),
    "envid-lf": ("ENVID=a+0ARCPT", "501"),
    "envid-nul": ("ENVID=a+00b", "501"),
    "envid-del": ("ENVID=a+7Fb", "501"),
    "envid-escape": ("ENVID=a+1B[2J", "501"),
    "envid-c1": ("ENVID=a+85b", "501"),
    "envid-eight": ("ENVID=a+FFb", "501"),
    "envid-zz": ("ENVID=+ZZ", "501"),
    "envid-short": ("ENVID=+4", "501"),
    "envid-lower": ("ENVID=a+2bb", "501"),
    "envid-plus": ("ENVID=a+", "501"),
    "envid-equals": ("ENVID=a=b", "501"),
    "envid-empty": ("ENVID=", "501"),
    "envid-alone": ("ENVID", "501"),
    "envid-101": ("ENVID=" + "x" * 101, "501"),
    "envid-utf-8": ("ENVID=é", "501"),
    "envid-twice": ("ENVID=a ENVID=b", "501"),
    "auth-newline": ("AUTH=a+0Ab", "501|555"),
    "notify-on-mail": ("NOTIFY=NEVER", "501|555"),
    "orcpt-on-mail": ("ORCPT=rfc822;x", "501|555"),
}
_RECIPIENT: Final[dict[str, tuple[str, str]]] = {
    "notify-never": ("NOTIFY=NEVER", "250"),
    "notify-all": ("NOTIFY=SUCCESS,FAILURE,DELAY", "250"),
    "notify-lower": ("notify=success", "250"),
    "notify-never-success": ("NOTIFY=NEVER,SUCCESS", "501"),
    "notify-success-never": ("NOTIFY=SUCCESS,NEVER", "501"),
    "notify-twice": ("NOTIFY=SUCCESS NOTIFY=NEVER", "501"),
    "notify-same": ("NOTIFY=SUCCESS,SUCCESS", "501|250"),
    "notify-unknown": ("NOTIFY=SOMETIMES", "501"),
    "notify-empty": ("NOTIFY=", "501"),
    "notify-comma": ("NOTIFY=SUCCESS,", "501"),
    "notify-alone": ("NOTIFY", "501"),
    "orcpt": ("ORCPT=rfc822;c@a.test", "250"),
    "orcpt-xtext": ("ORCPT=rfc822;c+2Bx@a.test", "250"),
    "orcpt-newline": ("ORCPT=rfc822;x+0Ay", "501"),
    "orcpt-cr": ("ORCPT=rfc822;x+0Dy", "501"),
    "orcpt-nul": ("ORCPT=rfc822;x+00y", "501"),
    "orcpt-no-type": ("ORCPT=c@a.test", "501"),
    "orcpt-no-address": ("ORCPT=rfc822;", "501"),
    "orcpt-type-newline": ("ORCPT=rfc+0A822;x", "501"),
    "orcpt-zz": ("ORCPT=rfc822;+ZZ", "501"),
    "orcpt-short": ("ORCPT=rfc822;+4", "501"),
    "orcpt-lower": ("ORCPT=rfc822;+4a", "501"),
    "orcpt-equals": ("ORCPT=rfc822;a=b", "501"),
    "orcpt-long": ("ORCPT=rfc822;" + "x" * 501, "501"),
    "orcpt-utf-8": ("ORCPT=rfc822;é", "501"),
    "orcpt-twice": ("ORCPT=rfc822;a ORCPT=rfc822;b", "501"),
    "size-on-rcpt": ("SIZE=1", "501|555"),
    "unknown": ("XYZZY=1", "555"),
}

_E4_ROWS: Final[tuple[Case, ...]] = (
    row(
        "E4-mail-thousand",
        "MAIL with more parameters than there are",
        EHLO,
        command(b"MAIL FROM:<a@b.test>" + b" X=1" * 400, "501|555"),
        command(b"MAIL FROM:<a@b.test>" + b" X=1" * 4000, "500"),
    ),
)


def _e4() -> Iterator[Case]:
    for what, (value, answer) in _SIZES.items():
        yield row(
            f"E4-size-{what}",
            f"SIZE={value[:20]}",
            EHLO,
            Turn(
                b"MAIL FROM:<a@b.test> SIZE=" + value.encode() + b"\r\n",
                (answer,),
                has=(b"5.3.4",) if answer == "552" else (),
            ),
            command(b"RSET", "250"),
            setup=_LIMITED,
        )
    for what, (parameters, answer) in _MAIL.items():
        yield row(
            f"E4-mail-{what}",
            f"MAIL with {parameters[:40]!r}",
            EHLO,
            Turn(f"MAIL FROM:<a@b.test> {parameters}\r\n".encode(), (answer,)),
            command(b"RSET", "250"),
        )
    for what, (parameters, answer) in _RECIPIENT.items():
        yield row(
            f"E4-rcpt-{what}",
            f"RCPT with {parameters[:40]!r}",
            EHLO,
            MAIL,
            Turn(f"RCPT TO:<c@a.test> {parameters}\r\n".encode(), (answer,)),
            command(b"DATA", "354" if answer == "250" else "503|354|554"),
            has_quit=False,
        )
    for what, (line, setup) in {
        "helo": (b"MAIL FROM:<a@b.test> SIZE=1", Setup()),
        "helo-dsn": (b"MAIL FROM:<a@b.test> RET=FULL", Setup()),
        "helo-utf8": (b"MAIL FROM:<a@b.test> SMTPUTF8", Setup()),
    }.items():
        yield row(
            f"E4-{what}",
            f"{line.decode()} behind HELO",
            way(b"HELO client.test", "250"),
            command(line, "555|501"),
            setup=setup,
        )
    for keyword, parameter in {
        "DSN": b"RET=FULL",
        "SIZE": b"SIZE=1",
        "8BITMIME": b"BODY=8BITMIME",
        "SMTPUTF8": b"SMTPUTF8",
    }.items():
        yield row(
            f"E4-discarded-{keyword.lower()}",
            f"{parameter.decode()} where discard_ehlo_keywords takes {keyword} away",
            Turn(b"EHLO client.test\r\n", ("250",), lacks=(keyword.encode(),)),
            command(b"MAIL FROM:<a@b.test> " + parameter, "555"),
            setup=Setup(discard_ehlo_keywords=(keyword,)),
        )


CASES: Final[tuple[Case, ...]] = (
    *_E4_ROWS,
    *_e4(),
)
WAITING: Final[tuple[Waiting, ...]] = ()

"""The whole table, what is not in it yet and why, and which things that servers do its cases answer for."""

from __future__ import annotations

from tests.hostile_servers.cases import Case
from tests.hostile_servers.contents import CONTENTS
from tests.hostile_servers.introductions import AUTH, BANNERS, EHLOS, STARTTLS
from tests.hostile_servers.transactions import (
    BDAT,
    LMTP,
    PIPELINING,
    RESOURCES,
    STRAY,
    SYNTAX,
    VERDICT_TABLE,
)

GROUPS: dict[str, list[Case]] = {
    "banner": BANNERS,
    "EHLO": EHLOS,
    "STARTTLS": STARTTLS,
    "AUTH": AUTH,
    "reply syntax": SYNTAX,
    "verdicts": VERDICT_TABLE,
    "pipelining": PIPELINING,
    "stray replies": STRAY,
    "LMTP": LMTP,
    "BDAT": BDAT,
    "resources": RESOURCES,
    "outbound": CONTENTS,
}
CASES: dict[str, Case] = {case.code: case for cases in GROUPS.values() for case in cases}

#: What servers do -> the beginning of its cases' codes.
ROWS: dict[str, tuple[str, ...]] = {
    "banner: none; bogus; 2200 x; 220 only; endless; 421; 521/554; 8-bit; 64 KB; LF-only; NULs; per byte; delayed": ("J-banner-",),
    "EHLO: mismatched codes; endless; 10 k keywords; duplicates; SIZE garbage; AUTH=; 502 to HELO; 250 then close; case; only before TLS": (
        "J-ehlo-", "J-helo-", "C3-capabilities-forgotten",
    ),
    "AUTH (D, from the client's side)": ("J-auth-",),
    "reply syntax": ("J-reply-",),
    "verdict table": ("J-verdict-", "J-banner-421", "J-ehlo-421"),
    "pipelining": ("J-pipelining-",),
    "stray": ("J-stray-", "J-lmtp-"),
    "resources": ("J-resources-",),
    "C3 STARTTLS injection": ("C3-",),
    "C4 STARTTLS refused, broken, or answered in plain text": ("C4-",),
    "B1 smuggling sequences through SMTP-normalise": ("B1-",),
    "B2 dots, line ends and places": ("B2-",),
    "B3 BDAT out": ("J-bdat-", "B1-lf-dot-lf-bdat"),
}  # fmt: skip
#: What cannot be tested yet: row -> what it waits for, or where else it is tested.
NOT_YET: dict[str, str] = {
    "banner split per byte, replies per byte": "test_on_core runs every case so; a socket gives no say in how octets are read",
    "banner delayed 4 min": "J-banner-none and J-banner-dripping: the deadline decides, whatever its length",
    "reply text sanitised in webhook and DSN": "there are no webhooks and no DSNs yet; the event log's text is looked at in every case",
    "B1 through HTTP, and templates": "there is no injection by HTTP yet",
    "B4 envelope to command injection at the API": "there is no API yet; the serializer's part is in tests/smtp/test_transmission.py",
    "C3 bytes before ClientHello as a record of TLS": "the client speaks first in TLS, so what is said before is in clear: C3-injected",
    "1,000 hosts at once beside a healthy destination": "make show K=protocol-2; a smaller number in tests/hostile_servers/test_fairness.py",
    "521/554 banner permanent by policy": "policy has no say in delivery yet; such mail is held and tried again, which loses nothing",
}

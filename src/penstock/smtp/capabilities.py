"""What a peer offers: its EHLO reply, read (RFC 5321 4.1.1.1).

A keyword counts in any case of its letters; a parameter that is garbage is none. The old ``AUTH=`` is not an offer, nor is what
stands on the first line, which names the peer.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.reply import Reply


class Capabilities(msgspec.Struct, frozen=True):
    """What the peer's EHLO offered. ``size`` is its limit in octets, 0 for none given (RFC 1870).

    ``auth`` are those of our mechanisms that it takes.
    """

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size: int = 0
    has_size: bool = False
    starttls: bool = False
    chunking: bool = False
    dsn: bool = False
    enhanced: bool = False
    auth: frozenset[str] = frozenset()


#: Mechanisms that we can speak.
PLAIN: Final = "PLAIN"
LOGIN: Final = "LOGIN"
#: RFC 1870 4: at most 20 digits.
_SIZE_DIGITS: Final = re.compile(r"[0-9]{1,20}", re.ASCII)


def capabilities(ehlo: Reply, *, enable_pipelining: bool = True) -> Capabilities:
    """What an EHLO reply offers, one keyword a line after the first; of a keyword that is said twice, the last parameter."""
    offered: dict[str, str] = {}
    for line in ehlo.text.split("\n")[1:]:
        keyword, _, parameters = line.strip().partition(" ")
        offered[keyword.upper()] = parameters
    size = offered.get("SIZE", "")
    return Capabilities(
        pipelining=enable_pipelining and "PIPELINING" in offered,
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        size=int(size) if _SIZE_DIGITS.fullmatch(size) else 0,
        has_size="SIZE" in offered,
        starttls="STARTTLS" in offered,
        chunking="CHUNKING" in offered,
        dsn="DSN" in offered,
        enhanced="ENHANCEDSTATUSCODES" in offered,
        auth=frozenset(offered.get("AUTH", "").upper().split()) & {PLAIN, LOGIN},
    )

"""Mailboxes as RFC 5321 4.1.2 writes them, and the paths that carry them.

Domains become lower-case A-labels (IDNA 2008 with UTS 46 mapping); local parts are kept as they came, octet for octet.
The grammar is checked in full: what passes here can be written on the wire again without a second look.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import idna
import msgspec

#: RFC 5321 4.5.3.1.1, 4.5.3.1.2 and 4.5.3.1.3, in octets. The path limit counts its angle brackets.
LOCAL_PART_LIMIT: Final = 64
DOMAIN_LIMIT: Final = 255
PATH_LIMIT: Final = 256

# Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str]; underscores occur in host names that resolve, and are let through.
_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
# Dot-string = Atom *("." Atom); atext of RFC 5322 3.2.3, and UTF8-non-ascii of RFC 6531 3.3.
_DOT_STRING = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x80-\U0010ffff]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x80-\U0010ffff]+)*"
)
# Quoted-string = DQUOTE *(qtextSMTP / quoted-pairSMTP) DQUOTE
_QUOTED_STRING = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*"')
# The common case in one step: an ASCII dot-string at an ASCII domain that is no literal. Lengths are checked behind it.
_SIMPLE = re.compile(
    rb"([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    rb"@([A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)+)"
)
# A-d-l = At-domain *( "," At-domain ), then ":"; recognised in order to be refused by name (RFC 5321 3.3: a server may decline them).
_SOURCE_ROUTE = re.compile(r"@[^:<>\"\s]+(?:,@[^:<>\"\s]+)*:")
# C0 and C1 controls, the invisible separators that some software takes for line ends, and surrogates, which no UTF-8 holds
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class AddressError(ValueError):
    """The text is no mailbox of RFC 5321; ``str()`` of it says why, in words fit for the peer."""


class Address(msgspec.Struct, frozen=True, gc=False):
    """One mailbox.

    ``local_part`` is as it came (quotes included); ``domain`` is a lower-case A-label name or an address literal in brackets.
    """

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"

    @property
    def is_ascii(self) -> bool:
        """Whether the address can travel without SMTPUTF8 (RFC 6531 3.3): its domain always can."""
        return self.local_part.isascii()

    @property
    def is_literal(self) -> bool:
        """Whether the domain is an address literal such as ``[192.0.2.1]``."""
        return self.domain.startswith("[")


#: RFC 5321 4.5.5: the null reverse-path ``<>`` of notifications is None.
ReversePath = Address | None


def parse_domain(text: str) -> str:
    """Lower-case A-labels of a domain name, or the canonical form of an address literal; AddressError if it is neither.

    A trailing dot is refused (RFC 5321 2.3.5 has none). ``[1.2.3.4]`` and ``[IPv6:2001:db8::1]`` are literals (4.1.3).
    """
    if text.startswith("["):
        return _parse_literal(text)
    if len(text) > DOMAIN_LIMIT:
        raise AddressError(f"the domain is longer than {DOMAIN_LIMIT} octets")
    if text.isascii():
        name = text.lower()
    else:
        try:
            name = idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
        except UnicodeError as error:  # IDNAError is one
            raise AddressError("the domain is not a valid internationalised name") from error
    if not _DOMAIN.fullmatch(name):
        raise AddressError("the domain is not a valid name")
    if name.rpartition(".")[2].isdigit():
        raise AddressError("the domain is not a valid name; an address needs brackets: [192.0.2.1]")
    if "xn--" in name:
        _check_a_labels(name)
    return name


def _check_a_labels(name: str) -> None:
    """Refuse what only looks like an A-label. One that IDNA 2008 would not make, such as an emoji's, may be looked up (RFC 5891 5.3)."""
    for label in name.split("."):
        if label.startswith("xn--"):
            try:
                decoded = label[4:].encode("ascii").decode("punycode").encode("utf-8")
            except UnicodeError:
                decoded = b""
            if decoded.isascii():
                raise AddressError("the domain has an A-label that decodes to nothing")


def _parse_literal(text: str) -> str:
    if not text.endswith("]"):
        raise AddressError("the address literal has no closing bracket")
    inner = text[1:-1]
    if "%" in inner:
        raise AddressError("the address literal has a zone")
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:]).compressed}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as error:
        raise AddressError("the address literal is neither [IPv4] nor [IPv6:...]") from error


def parse_address(text: str) -> Address:
    """A mailbox without angle brackets, such as ``user@example.com``; AddressError if it is none."""
    if _FORBIDDEN.search(text):
        raise AddressError("the address has a control character")
    if text.startswith('"'):
        match = _QUOTED_STRING.match(text)
        if match is None:
            raise AddressError("the quoted local part is not closed or not valid")
        local_part = match.group()
    else:
        local_part = text.partition("@")[0]
        if not _DOT_STRING.fullmatch(local_part):
            raise AddressError("the local part is not valid")
    rest = text[len(local_part) :]
    if not rest.startswith("@"):
        raise AddressError("the address has no domain")
    if len(local_part.encode()) > LOCAL_PART_LIMIT:
        raise AddressError(f"the local part is longer than {LOCAL_PART_LIMIT} octets")
    address = Address(local_part, parse_domain(rest[1:]))
    if len(local_part.encode()) + 1 + len(address.domain) + 2 > PATH_LIMIT:
        raise AddressError(f"the path is longer than {PATH_LIMIT} octets")
    return address


def parse_path(wire: bytes) -> Address:  # hot: throughput
    """The mailbox of a path's inside (between the angle brackets).

    ``wire`` is UTF-8; what is not, what no RFC allows, and a source route before the mailbox are an AddressError.
    """
    simple = _SIMPLE.fullmatch(wire)
    if simple is not None and len(wire) <= PATH_LIMIT - 2 and len(simple[1]) <= LOCAL_PART_LIMIT:
        domain = simple[2].lower()
        if len(domain) <= 253 and b"xn--" not in domain and not domain[-1:].isdigit():
            return Address(simple[1].decode("ascii"), domain.decode("ascii"))
    try:
        text = wire.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AddressError("the address is not valid UTF-8") from error
    if _SOURCE_ROUTE.match(text):
        raise AddressError("source routes are not accepted")
    return parse_address(text)

"""AUTH on the server's side (RFC 4954): PLAIN (RFC 4616) and LOGIN, up to the credentials that somebody else judges.

A response is base64 (RFC 4648 4) without anything else in it; ``=`` is the empty one, ``*`` gives up. Nothing of what came is repeated.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

import msgspec

from penstock.mail.reply import Reply, reply
from penstock.smtp.command import Refusal

#: RFC 4954 4: a client's response has at most 12,288 octets, its CRLF included.
RESPONSE_LIMIT: Final = 12_288
#: Octets of each part of the credentials: longer ones are nobody's (RFC 4616 2 has no limit below 2^32).
_PART_LIMIT: Final = 255
MECHANISMS: Final = ("PLAIN", "LOGIN")

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_MALFORMED: Final = reply(501, "5.5.2", "the response is no base64")
_CANCELLED: Final = reply(501, "5.7.0", "authentication cancelled")
_NOT_PLAIN: Final = reply(501, "5.5.2", "PLAIN is [authzid] NUL authcid NUL password")
FAILED: Final = reply(535, "5.7.8", "authentication failed")
TOO_LONG: Final = reply(500, "5.5.6", f"a response has at most {RESPONSE_LIMIT} octets")
UNKNOWN_MECHANISM: Final = reply(504, "5.5.4", "mechanism not supported; use PLAIN or LOGIN")
NEEDS_TLS: Final = reply(538, "5.7.11", "encryption is needed for authentication; use STARTTLS first")

#: 334 with "Username:" and "Password:" in base64, as every client of LOGIN expects.
_CHALLENGES: Final = {"PLAIN": (b"",), "LOGIN": (b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6")}


class Credentials(msgspec.Struct, frozen=True):
    """Who a client says it is (``authentication_id``), for whom it wants to act ("" for itself), and its password, which shows nowhere."""

    mechanism: str
    authorization_id: str
    authentication_id: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.mechanism!r}, {self.authorization_id!r}, {self.authentication_id!r})"


class Exchange:
    """One AUTH command: given responses one by one, it gives challenges, and credentials in the end."""

    __slots__ = ("_given", "mechanism")

    def __init__(self, mechanism: str) -> None:
        self.mechanism = mechanism
        self._given: list[bytes] = []

    def challenge(self) -> Reply:
        """What to ask next."""
        return Reply(334, None, _CHALLENGES[self.mechanism][len(self._given)].decode("ascii"))

    def take(self, response: bytes) -> None:
        """A response. Refusal: the exchange is over."""
        if response == b"*":
            raise Refusal(_CANCELLED)
        self._given.append(_decoded(response))
        if self.mechanism == "PLAIN" and self._given[0].count(b"\0") != 2:
            raise Refusal(_NOT_PLAIN)

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing more to ask."""
        return len(self._given) == len(_CHALLENGES[self.mechanism])

    def credentials(self) -> Credentials | None:
        """What the responses say; None if it can be nobody's: empty, endless, no UTF-8, or with a NUL or a control in it."""
        # message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 2)
        parts = self._given[0].split(b"\0") if self.mechanism == "PLAIN" else [b"", *self._given]
        if max(map(len, parts)) > _PART_LIMIT:
            return None
        try:
            authorization, authentication, password = (part.decode("utf-8") for part in parts)
        except UnicodeDecodeError:
            return None
        # a password may hold anything but NUL; the names are written into header fields, events and logs
        is_clean = (authorization + authentication).isprintable() and "\0" not in password
        if not authentication or not password or not is_clean:
            return None
        return Credentials(self.mechanism, authorization, authentication, password)


def _decoded(response: bytes) -> bytes:
    if response == b"=":
        return b""
    if not _BASE64.fullmatch(response):
        raise Refusal(_MALFORMED)
    return binascii.a2b_base64(response)


def begin(argument: bytes) -> tuple[Exchange, bytes | None]:
    """AUTH's argument: the exchange, and the initial response if there is one (RFC 4954 4)."""
    name, space, initial = argument.partition(b" ")
    mechanism = name.upper().decode("ascii", "replace")
    if not name:
        raise Refusal(reply(501, "5.5.4", "the syntax is AUTH mechanism [initial-response]"))
    if mechanism not in MECHANISMS:
        raise Refusal(UNKNOWN_MECHANISM)
    return Exchange(mechanism), initial if space else None

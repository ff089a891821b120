"""What a client session is told of itself before it begins: how it introduces itself, what it insists on, who it says it is."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.configuration import EnableTls

# What a name may be to stand behind EHLO: no space, nothing that ends a line.
_WORD: Final = re.compile(r"[!-~]{1,255}")


def is_printable_word(text: str) -> bool:
    """Whether ``text`` can be one argument of a command."""
    return _WORD.fullmatch(text) is not None


class Credentials(msgspec.Struct, frozen=True):
    """A user name and its password, for AUTH. Neither is in its ``repr``, so that neither comes into a log or a traceback."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(...)"


class SessionOptions(msgspec.Struct, frozen=True):
    """The options of a path that a session heeds (``PathConfig`` says what they mean). ValueError if ``ehlo_name`` is not one word.

    ``credentials`` None is no AUTH. ``is_lmtp``: the peer is spoken to by RFC 2033.
    """

    ehlo_name: str
    enable_tls: EnableTls = EnableTls.OPPORTUNISTIC
    credentials: Credentials | None = None
    allow_auth_without_tls: bool = False
    allow_auth_without_valid_certificate: bool = False
    enable_pipelining: bool = True
    enable_rset: bool = True
    ignore_8bit_checks: bool = False
    is_lmtp: bool = False

    def __post_init__(self) -> None:
        """Check the name: EHLO is a command too."""
        if not is_printable_word(self.ehlo_name):
            raise ValueError(f"{self.ehlo_name!r} is no name to introduce oneself with")

"""What a hostile server can do at a moment of a session."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from penstock.mail.duration import Seconds


class Move(Enum):
    """What is done to the connection."""

    CLOSE = "close it (FIN)"
    RESET = "reset it (RST)"
    END_OUTPUT = "say that nothing more will be said (half-close), and listen"
    DEAF = "read nothing any more: the client's window fills"
    SECURE = "begin TLS"


class Endless(msgspec.Struct, frozen=True):
    """Say ``octets`` again and again until the client has gone, ``limit`` octets at most."""

    octets: bytes
    limit: int = 64 * 1024**2


class Drip(msgspec.Struct, frozen=True):
    """Say ``octets`` one by one, the next each ``interval``; at the end begin again."""

    octets: bytes
    interval: Seconds = Seconds(0.01)


Act = bytes | Move | Endless | Drip
#: Moment -> reply line, or act, or several.
Script = Mapping[str, str | Act | tuple[str | Act, ...]]


def acts_of(scripted: str | Act | tuple[str | Act, ...]) -> list[Act]:
    """The acts that an entry of a script stands for."""
    listed = scripted if isinstance(scripted, tuple) else (scripted,)
    return [each.encode() + b"\r\n" if isinstance(each, str) else each for each in listed]

"""How a sink presents itself, and its limits."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from penstock.mail.duration import ByteCount, Seconds


class Extension(Enum):
    """A service extension the sink can offer, by its EHLO keyword."""

    PIPELINING = "PIPELINING"
    EIGHT_BIT = "8BITMIME"
    SMTPUTF8 = "SMTPUTF8"
    ENHANCED = "ENHANCEDSTATUSCODES"
    SIZE = "SIZE"


ALL_EXTENSIONS: Final = frozenset(Extension)


class SinkOptions(msgspec.Struct, frozen=True):
    """Settings of a sink. ``count`` 0 means no end; with N the sink is done once N messages were accepted, and refuses any more."""

    hostname: str = "sink.test"
    extensions: frozenset[Extension] = ALL_EXTENSIONS
    max_connections: int = 20_000
    max_message_size: ByteCount = ByteCount(64 * 1024**2)
    max_command_length: int = 4096
    max_recipients: int = 10_000
    idle_timeout: Seconds = Seconds(300.0)
    count: int = 0

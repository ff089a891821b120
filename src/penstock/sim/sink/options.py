"""How a sink presents itself, and its limits."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from penstock.mail.configuration import TlsMode
from penstock.mail.duration import ByteCount, Seconds


class Extension(Enum):
    """A service extension the sink can offer, by its EHLO keyword. STARTTLS and AUTH are offered by what they need: ``tls``, ``login``."""

    PIPELINING = "PIPELINING"
    EIGHT_BIT = "8BITMIME"
    SMTPUTF8 = "SMTPUTF8"
    ENHANCED = "ENHANCEDSTATUSCODES"
    SIZE = "SIZE"
    DSN = "DSN"
    CHUNKING = "CHUNKING"


ALL_EXTENSIONS: Final = frozenset(Extension)
#: Not CHUNKING: a client that knows it would use nothing else, and figures measured against a sink would no longer be those of DATA.
DEFAULT_EXTENSIONS: Final = ALL_EXTENSIONS - {Extension.CHUNKING}


class Login(msgspec.Struct, frozen=True):
    """Who may authenticate. The password is in no ``repr``."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class SinkOptions(msgspec.Struct, frozen=True):
    """Settings of a sink. ``count`` 0 means no end; with N the sink is done once N messages were accepted, and refuses any more.

    ``tls_certificate`` and ``tls_private_key`` are PEM files; without a key it is in the file of the certificate, and without both a certificate
    is made. With a ``login`` AUTH is offered, under TLS only where there is any; ``requires_auth``: no mail without it. ``lmtp``: LHLO, and a
    reply for each recipient (RFC 2033).
    """

    hostname: str = "sink.test"
    extensions: frozenset[Extension] = DEFAULT_EXTENSIONS
    max_connections: int = 20_000
    max_message_size: ByteCount = ByteCount(64 * 1024**2)
    max_command_length: int = 4096
    max_recipients: int = 10_000
    idle_timeout: Seconds = Seconds(300.0)
    count: int = 0
    tls: TlsMode = TlsMode.OFF
    tls_certificate: Path | None = None
    tls_private_key: Path | None = None
    login: Login | None = None
    requires_auth: bool = False
    lmtp: bool = False

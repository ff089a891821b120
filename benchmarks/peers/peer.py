"""What every peer is: where mail comes in, where it goes, and what was used on the way, as its log has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple, Protocol, Self

from benchmarks.peers.certificates import Certificate


class Use(Enum):
    """Something that two servers may use between them."""

    TLS = "TLS"
    AUTH = "AUTH"
    PIPELINING = "PIPELINING"
    BDAT = "BDAT"
    EIGHT_BIT = "8BITMIME"
    UTF8 = "SMTPUTF8"
    DSN = "DSN"


#: How a log shows that something was used.
Patterns = Mapping[Use, re.Pattern[str]]


class Login(NamedTuple):
    """A name and a password, for AUTH PLAIN."""

    name: str
    password: str


class Door(NamedTuple):
    """Who may relay through a peer: with a ``login`` only who has given it, under TLS; without one, everybody on loopback."""

    certificate: Certificate | None = None
    login: Login | None = None


class NextHop(NamedTuple):
    """Where a peer sends everything: a port of loopback. With an ``authority`` only over TLS, with a certificate of this authority."""

    port: int
    authority: Path | None = None
    login: Login | None = None


class Peer(Protocol):
    """A running mail server, as a context: ready when it greets, ended at the context's end."""

    name: ClassVar[str]
    #: What it uses as a server, if its client does, and as a client, if its next hop offers it. TLS and AUTH all can.
    takes: ClassVar[frozenset[Use]]
    gives: ClassVar[frozenset[Use]]
    #: How its log shows what was used with its client, and with its next hop; what is not here is not logged.
    incoming: ClassVar[Patterns]
    outgoing: ClassVar[Patterns]
    port: int

    def __init__(self, folder: Path, door: Door, hop: NextHop) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def whole_log(self) -> str:
        """Everything that it has logged."""
        ...


def uses(log: str, patterns: Patterns) -> set[Use]:
    """What a log shows to have been used."""
    return {use for use, pattern in patterns.items() if pattern.search(log)}

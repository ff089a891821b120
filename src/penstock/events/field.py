"""Fields of events: times, addresses, replies and facts of a connection, as the outside world has them.

Everything that a peer had a say in is made printable and cut to a length: see ``penstock.events.text``.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

from penstock.events.event import Response
from penstock.events.text import clean
from penstock.mail.address import Address
from penstock.mail.path_name import path_name
from penstock.mail.records import Reception
from penstock.mail.reply import Reply
from penstock.mail.tls import TlsFacts

#: The most characters of text that came from a peer. RFC 5321 4.5.3.1: a path has 256 octets, a domain 255, a command line 512.
CONTENT_LIMIT: Final = 2048
PATH_LIMIT: Final = 320
NAME_LIMIT: Final = 255
SITE_LIMIT: Final = 1024
COMMAND_LIMIT: Final = 512
_SUBJECT_LIMIT: Final = 512

UNCATEGORIZED: Final = "Uncategorized"
#: Of an event without headers.
NOTHING: Final[dict[str, str]] = {}
#: Without TLS: no cipher, version or subject.
PLAIN: Final[tuple[str | None, str | None, str | None]] = (None, None, None)
_NOBODY: Final = ("", "", "")


def tls_of(facts: TlsFacts | None) -> tuple[str | None, str | None, str | None]:
    """Cipher, version and the peer's subject."""
    if facts is None:
        return PLAIN
    subject = clean(facts.peer_subject, _SUBJECT_LIMIT) if facts.peer_subject else None
    return facts.cipher, facts.version, subject


def identity_of(reception: Reception) -> tuple[str, str, str]:
    """Who authenticated, whom they act for, and the proxy that passed them on."""
    if not reception.authentication_id:
        return ("", "", reception.proxy_address) if reception.proxy_address else _NOBODY
    return (
        clean(reception.authentication_id, NAME_LIMIT),
        clean(reception.authorization_id, NAME_LIMIT),
        reception.proxy_address,
    )


def response_of(reply: Reply, command: str | None) -> Response:
    """A reply, and what it answers."""
    return Response(
        reply.code,
        reply.enhanced,
        clean(reply.text, CONTENT_LIMIT),
        command and clean(command, COMMAND_LIMIT),
    )


def path_of(address: Address | None) -> str:
    """A reverse-path or forward-path; "" for the null one."""
    return "" if address is None else clean(f"{address.local_part}@{address.domain}", PATH_LIMIT)


@lru_cache(maxsize=4096)
def site_of(source: str, name: str) -> str:
    """The ready queue's name; "" where there was none."""
    return clean(path_name(source, name), SITE_LIMIT) if name else ""


def moment_of(moment: float) -> tuple[int, str]:
    """A time as unix seconds, and as RFC 3339 in UTC with microseconds."""
    microseconds = int(moment * 1_000_000)
    second = microseconds // 1_000_000
    return second, f"{_second(second)}.{microseconds % 1_000_000:06d}Z"


@lru_cache(maxsize=512)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))

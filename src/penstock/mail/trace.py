"""The Received field that every message is given (RFC 5321 4.4, RFC 3848, RFC 6531 3.7.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from penstock.mail.duration import WallTime
from penstock.mail.ids import MessageId
from penstock.mail.records import Reception

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=16)
def date_time(seconds: int) -> str:
    """The date of RFC 5322 3.3, in UTC: ``Fri, 20 Nov 2026 21:54:00 +0000``. Days and months are English whatever the locale."""
    when = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[when.weekday()], _MONTHS[when.month - 1]
    return f"{day}, {when.day} {month} {when.year} {when.hour:02}:{when.minute:02}:{when.second:02} +0000"


def address_literal(address: str) -> str:
    """An IP address as RFC 5321 4.1.3 writes it, which has no place for the zone of a link-local one; ``unknown`` for ""."""
    address = address.partition("%")[0]
    if not address:
        return "unknown"
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def received_prefix(reception: Reception, *, smtputf8: bool) -> bytes:
    """The part of the field that all messages of a session share, up to the id.

    A client's name with characters beyond ASCII is written as such only where the message is internationalised anyway.
    """
    name = reception.ehlo_domain or "unknown"
    if not smtputf8 and not name.isascii():
        name = name.encode("ascii", "replace").decode("ascii")
    # RFC 6531 4.3: UTF8SMTP, with the same letters behind it as ESMTP
    protocol = reception.protocol.replace("ESMTP", "UTF8SMTP") if smtputf8 else reception.protocol
    peer = address_literal(reception.peer_address)
    return f"Received: from {name} ({peer})\r\n\tby {reception.hostname} with {protocol} id ".encode()


def received_field(prefix: bytes, message: MessageId, now: WallTime) -> bytes:  # hot: throughput
    """The whole field, its CRLF included."""
    return b"%b%b;\r\n\t%b\r\n" % (prefix, message.encode("ascii"), date_time(int(now)).encode("ascii"))

"""What may leave: one message, whatever it holds, written so that no receiver, however careless, ends it early or sees a command in it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from penstock.mail.address import Address
from penstock.smtp.server_events import MessageGiven
from penstock.smtp.transmission import Transmission, mail_data

_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_END: Final = b"\r\n.\r\n"
_HEADER: Final = b"Received: from x by mta.test; now\r\n"


def with_crlf(content: bytes) -> bytes:
    """Every CR, LF and CRLF as CRLF."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def sent_for(given: MessageGiven) -> bytes:
    """The mail data that the client's side would write for a message."""
    return mail_data(
        Transmission(
            given.mail.reverse_path,
            (Address("c", "a.test"),),
            _HEADER,
            given.content,
            eight_bit=not given.content.isascii(),
            smtputf8=False,
            is_canonical=given.is_canonical,
        )
    )


@lru_cache(64)
def wire_faults(sent: bytes, content: bytes) -> tuple[str, ...]:
    """What is wrong with mail data as written for a message of ``content``, behind one header field."""
    faults = []
    if _BARE.search(sent):
        faults.append("a bare CR or LF leaves")
    if sent.find(_END) != len(sent) - len(_END):
        faults.append("mail data ends early, or not at all")
    lines = sent.removesuffix(b".\r\n").split(b"\r\n")[:-1]
    if any(line.startswith(b".") and not line.startswith(b"..") for line in lines):
        faults.append("a dot is not doubled")
    read = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    expected = with_crlf(content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    if read != _HEADER + expected:
        faults.append(f"what leaves is not what was stored: {read[:80]!r}")
    return tuple(faults)

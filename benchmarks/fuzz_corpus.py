"""What a fuzzer begins with, and how it changes it: dialogues as one side says them, words of SMTP, and ways to spoil a stream of octets."""

from __future__ import annotations

import base64
import random
import re
from typing import Final

from penstock.sim.smuggling import SEQUENCES, attack_stream

#: A stream never grows beyond this.
STREAM_LIMIT: Final = 8192

_PLAIN: Final = base64.b64encode(b"\0anna\0secret")
_ENVELOPE: Final = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
_EHLO: Final = b"EHLO client.example\r\n"
_PROXY_2: Final = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x02\x12\x34\x00\x19"

#: What clients say to a server.
CLIENTS: Final[tuple[bytes, ...]] = (
    _EHLO + _ENVELOPE + b"DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
    b"HELO x\r\n" + _ENVELOPE + b"DATA\r\n.\r\n" + _ENVELOPE + b"DATA\r\na\r\n.\r\n",
    _EHLO + b"MAIL FROM:<> SIZE=5 BODY=8BITMIME RET=HDRS ENVID=a+2Bb\r\nRCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;x+40y\r\nRSET\r\n",
    _EHLO + b"STARTTLS\r\n" + _EHLO + b"AUTH PLAIN " + _PLAIN + b"\r\n" + _ENVELOPE + b"DATA\r\nx\r\n.\r\n",
    _EHLO + b"AUTH PLAIN\r\n" + _PLAIN + b"\r\nAUTH LOGIN\r\nYW5uYQ==\r\nc2VjcmV0\r\nAUTH LOGIN YW5uYQ==\r\n*\r\n",
    _EHLO + _ENVELOPE + b"BDAT 5\r\nab\r\ncBDAT 4 LAST\r\n\nd\r\n" + _ENVELOPE + b"BDAT 0 LAST\r\nQUIT\r\n",
    _EHLO + _ENVELOPE + b"BDAT 6\r\nQUIT\r\nRSET\r\nBDAT 3\r\nabcDATA\r\n",
    _EHLO + b"XCLIENT ADDR=192.0.2.7 NAME=a.example HELO=b.example PORT=99 LOGIN=anna\r\n" + _EHLO + _ENVELOPE,
    _EHLO + b"NOOP\r\nVRFY x\r\nEXPN y\r\nHELP\r\nRSET\r\nMAIL FROM:<\xc3\xa9@b> SMTPUTF8\r\nRCPT TO:<\xc3\xbc@c>\r\nDATA\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    *(_EHLO + _ENVELOPE + b"DATA\r\n" + attack_stream(octets) for octets in SEQUENCES.values()),
)  # fmt: skip

_OFFER: Final = (
    b"220 d.example ESMTP\r\n250-d.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000\r\n"
)
_TAKEN: Final = (
    b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go\r\n250 2.0.0 taken\r\n"
)
#: What servers say to a client.
SERVERS: Final[tuple[bytes, ...]] = (
    _OFFER + _TAKEN + _TAKEN + b"221 bye\r\n",
    b"220-d\r\n220 x\r\n502 what\r\n250 d\r\n" + _TAKEN,
    b"220 d\r\n250-d\r\n250-STARTTLS\r\n250 PIPELINING\r\n220 go\r\n250-d\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE\r\n235 ok\r\n" + _TAKEN,
    b"220 d\r\n250-d\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n535 5.7.8 no\r\n",
    b"220 d\r\n250-d\r\n250-CHUNKING\r\n250-DSN\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n550 5.1.1 c\r\n250 d\r\n250 e\r\n" + _TAKEN,
    b"220 d LMTP\r\n250-d\r\n250 PIPELINING\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 f\r\n451 g\r\n550 h\r\n",
    _OFFER + b"450 a\r\n550 b\r\n503 c\r\n503 d\r\n503 e\r\n" + _TAKEN,
    _OFFER + b"250 a\r\n550 b\r\n550 c\r\n550 d\r\n354 e\r\n554 f\r\n250 rset\r\n" + _TAKEN,
    _OFFER + b"421 bye\r\n",
)  # fmt: skip
#: What proxies say first.
PROXIES: Final[tuple[bytes, ...]] = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\n" + _EHLO,
    b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
    b"PROXY UNKNOWN\r\n" + _EHLO,
    _PROXY_2 + _EHLO,
    _PROXY_2[:12] + b"\x20\x00\x00\x00" + _EHLO,
)

#: Words that decide something somewhere.
WORDS: Final[tuple[bytes, ...]] = (
    *b"\r\n|\r|\n|\x00|\xff| |.|\r\n.\r\n|<|>|@|\"|\\|=|*|+0A|-|250-|250 |SIZE=|1_0|PROXY |\xd9\xa3|\xc3\xa9|\xed\xa0\x80|\xe2\x80\xa8".split(b"|"),
    *b"354 go\r\n|220 x\r\n|221 bye\r\n|421 no\r\n|503 no\r\n|EHLO x\r\n|RSET\r\n|DATA\r\n|QUIT\r\n|STARTTLS\r\n".split(b"|"),
    *b"AUTH PLAIN =\r\n|BDAT 1\r\n|BDAT 0 LAST\r\n|BDAT 99999999999999999999\r\n".split(b"|"),
    b"9" * 30, b"x" * 600, b"y" * 2100, b"z" * 4200, b"\r\n\r\n\x00\r\nQUIT\n", *SEQUENCES.values(),
)  # fmt: skip


def mutated(stream: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """``stream``, spoiled in one way or several; ``others`` lend their parts."""
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place = chance.randrange(len(stream) + 1)
        end = min(len(stream), place + chance.choice((1, 1, 2, 5, 30)))
        match chance.randrange(8):
            case 0:
                stream = stream[:place] + chance.randbytes(chance.randint(1, 4)) + stream[place:]
            case 1:
                stream = stream[:place] + stream[end:]
            case 2:
                stream = stream[:place] + stream[place:end] * chance.choice((2, 3, 50)) + stream[end:]
            case 3:
                other = chance.choice(others)
                stream = stream[:place] + other[chance.randrange(len(other) + 1) :]
            case 4:
                stream = _without_a_line(stream, chance)
            case 5 if stream:
                place = min(place, len(stream) - 1)
                stream = (
                    stream[:place] + bytes([stream[place] ^ 1 << chance.randrange(8)]) + stream[place + 1 :]
                )
            case _:
                stream = (
                    stream[:place] + chance.choice(WORDS) + stream[end if chance.random() < 0.5 else place :]
                )
    return stream[:STREAM_LIMIT]


def _without_a_line(stream: bytes, chance: random.Random) -> bytes:
    """Lines in another order, or one less."""
    lines = stream.split(b"\r\n")
    line = lines.pop(chance.randrange(len(lines)))
    if chance.random() < 0.7:
        lines.insert(chance.randrange(len(lines) + 1), line)
    return b"\r\n".join(lines)


def pieces(stream: bytes, chance: random.Random) -> list[bytes]:
    """``stream`` in segments: one, each octet, each line, or any."""
    match chance.randrange(6):
        case 0:
            return [stream]
        case 1:
            return [stream[place : place + 1] for place in range(len(stream))]
        case 2 | 3 | 4:
            return re.findall(rb"[^\n]*\n|[^\n]+", stream)
        case _:
            found = []
            while stream:
                size = chance.choice((1, 2, 3, 10, 60, 500))
                found.append(stream[:size])
                stream = stream[size:]
            return found

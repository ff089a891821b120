"""B: what we send, whatever the message holds. The server behaves; its mail data is judged."""

from __future__ import annotations

import re

from penstock.sim.hostile import Manners
from penstock.sim.hostile.peer import KEYWORDS
from penstock.sim.smuggling import SEQUENCES, attack_stream
from tests.hostile_servers.cases import CHUNKING, Case, Where

_MANNERS = {"": Manners(keywords=KEYWORDS), "-bdat": Manners(keywords=CHUNKING)}
_SUBJECT = b"Subject: x\r\n\r\n"
_END = b"\r\n.\r\n"


def slug(name: str) -> str:
    """A name as it stands in a code."""
    return re.sub(r"[^a-z]+", "-", name.lower().replace(".", "dot")).strip("-")


#: Name -> a message that comes in where line endings are fixed (SMTP-normalise).
BODIES: dict[str, bytes] = {
    **{f"B1-{slug(name)}": attack_stream(octets).removesuffix(_END) + b"\r\n" for name, octets in SEQUENCES.items()},
    "B2-dot-first": b".\r\nx\r\n",
    "B2-dot-first-in-body": _SUBJECT + b".x\r\n",
    "B2-cr-last": _SUBJECT + b"x\r",
    "B2-lf-last": _SUBJECT + b"x\n",
    "B2-cr-cr-lf": _SUBJECT + b"x\r\r\n",
    "B2-dots-only": b"." * 900 + b"\r\n",
    "B2-dot-lines": _SUBJECT + b".\r\n" * 10_000,
    "B2-two-dot-lines": _SUBJECT + b"..\r\n" * 1000,
    "B2-empty": b"\r\n",
    **{
        f"B2-dot-at-{place}": (_SUBJECT + (b"x" * 62 + b"\r\n") * (place // 64 + 1))[: place - 2] + b"\r\n.y\r\n"
        for place in (4095, 4096, 4097, 8191, 8192, 8193, 65_535, 65_536, 65_537)
    },
}  # fmt: skip
#: What no client can send by SMTP: its last line has no end.
_NOT_BY_SMTP = ("B2-cr-last", "B2-lf-last")
CONTENTS = [
    Case(
        f"{name}{suffix}", {}, ("AAA",), is_over=False, manners=manners, content=content, where=Where.CORE if name in _NOT_BY_SMTP else Where.BOTH
    )
    for name, content in BODIES.items()
    for suffix, manners in _MANNERS.items()
]  # fmt: skip


def normalised(content: bytes) -> bytes:
    """What every hop behind us must see: CRLF for each line end, at the end too."""
    fixed = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return fixed if fixed.endswith(b"\r\n") or not fixed else fixed + b"\r\n"


def faults(wire: bytes, content: bytes, *, is_chunk: bool) -> list[str]:
    """What is wrong with mail data (without its end) that is ``content`` behind header fields of ours."""
    found = []
    if re.search(rb"(?<!\r)\n|\r(?!\n)", wire):
        found.append("bare CR or LF")
    if not is_chunk and re.search(rb"(?:\A|\r\n)\.(?!\.)", wire):
        found.append("a dot that is not doubled")
    plain = wire if is_chunk else re.sub(rb"(?m)(\A|(?<=\r\n))\.", b"", wire)
    if not plain.endswith(normalised(content)):
        found.append("not the message that was sent")
    return found

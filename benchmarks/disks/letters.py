"""The mail of a trial: everything about a message follows from the trial's seed and the message's number.

A recipient's address is used once in a trial, and says what its destination does: ``ok-12-0`` is accepted, ``later-12-1`` at the second try,
``never-12-2`` never. So whatever is found anywhere, of any recipient, is known for what it is.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmarks.messages import expected
from benchmarks.product import DOMAINS, TENANTS

KIB: Final = 1024
#: What destinations do, and how many in a hundred recipients get each.
BEHAVIOURS: Final = {"ok": 80, "later": 12, "never": 8}
RECIPIENT_LIMIT: Final = 6

_DOT_LINES: Final = b".\r\n..\r\n.x\r\n"


class Sizes(NamedTuple):
    """Octets of bodies: bounds, and how many in a hundred messages lie between them."""

    ranges: Sequence[tuple[int, int]]
    weights: Sequence[int]


#: Most mail is small; one in ten is over the 256 KiB that Penstock's log takes itself.
MIXED: Final = Sizes(
    ((0, 2 * KIB), (2 * KIB, 16 * KIB), (16 * KIB, 256 * KIB), (257 * KIB, 700 * KIB)), (45, 35, 12, 8)
)
LARGE: Final = Sizes(((300 * KIB, 900 * KIB), (1, 32 * KIB)), (90, 10))
SMALL: Final = Sizes(((0, 4 * KIB),), (1,))


class Letter(NamedTuple):
    """A message to send: ``message`` is what its client means (before dot transparency), ``digest`` is of what must arrive."""

    number: int
    reverse_path: str
    recipients: tuple[str, ...]
    message: bytes
    digest: str


def letter(seed: int, number: int, sizes: Sizes = MIXED) -> Letter:
    """The message with this number."""
    chance = random.Random(f"{seed}/{number}")  # the same for the same words, also in another process
    domains = chance.sample(DOMAINS, chance.choice((1, 1, 2, 3)))
    behaviours = chance.choices(
        list(BEHAVIOURS), list(BEHAVIOURS.values()), k=chance.randint(len(domains), RECIPIENT_LIMIT)
    )
    recipients = tuple(
        f"{behaviour}-{number}-{place}@{domains[place % len(domains)]}"
        for place, behaviour in enumerate(behaviours)
    )
    tenant = chance.choice((*TENANTS, None))
    label = f"X-Tenant: {tenant}\r\n" if tenant else ""
    low, high = chance.choices(sizes.ranges, sizes.weights)[0]
    text = base64.encodebytes(chance.randbytes(chance.randint(low, high) * 3 // 4)).replace(b"\n", b"\r\n")
    message = f"{label}From: s{number}@source.test\r\nSubject: {number}\r\n\r\n".encode() + _DOT_LINES + text
    return Letter(number, f"s{number}@source.test", recipients, message, digest(expected(message)))


def digest(message: bytes) -> str:
    """The SHA-256 of a message."""
    return hashlib.sha256(message).hexdigest()


def number_of(recipient: str) -> int | None:
    """The number of the message that an address was made for; None for an address that is none of ours."""
    words = recipient.partition("@")[0].split("-")
    return int(words[1]) if len(words) == 3 and words[0] in BEHAVIOURS and words[1].isdecimal() else None


def behaviour_of(recipient: str) -> str:
    """What the destination is to do with a recipient."""
    return recipient.partition("-")[0]

"""The mail of a run: each recipient says by its own name how the sink is to treat it, and is never used twice."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from enum import Enum
from hashlib import sha256
from typing import Final, NamedTuple

from benchmarks.messages import expected
from benchmarks.product import TENANTS

#: Contents over 256 KiB are files of their own in the spool.
LARGE: Final = 300 * 1024
_LINE: Final = b"All work and no play makes a dull relay, and a dull relay is what everybody wants.\r\n"


class Manner(Enum):
    """How the sink treats a recipient; the beginning of its local part."""

    TAKEN = "taken"
    RCPT_ONCE = "rcpt-once"  # the first RCPT is answered 451
    DATA_ONCE = "data-once"  # the first end of data is answered 451, for all of the transaction
    LATER = "later"  # RCPT is answered 451 until the sink is told to take everything
    NEVER = "never"  # RCPT is answered 550


class Letter(NamedTuple):
    """A message as its client means it. ``digest`` is of what must arrive below the one new Received field."""

    name: str
    tenant: str | None
    reverse_path: str
    recipients: tuple[str, ...]
    message: bytes
    digest: bytes


#: The recipients of a letter by manner and domain, and whether it is large.
Shape = tuple[tuple[tuple[Manner, int], ...], bool]

SHAPES: Final[tuple[Shape, ...]] = (
    (((Manner.TAKEN, 1),), False),
    (((Manner.RCPT_ONCE, 1),), False),
    (((Manner.LATER, 2),), False),
    (((Manner.TAKEN, 3), (Manner.RCPT_ONCE, 3)), False),
    (((Manner.DATA_ONCE, 4),), False),
    (((Manner.TAKEN, 1), (Manner.LATER, 2)), False),
    (((Manner.RCPT_ONCE, 6),), True),
    (((Manner.NEVER, 3),), False),
    (((Manner.LATER, 5), (Manner.TAKEN, 5), (Manner.NEVER, 5)), False),
    (((Manner.DATA_ONCE, 7), (Manner.DATA_ONCE, 8)), False),
    (((Manner.TAKEN, 2),), False),
    (((Manner.TAKEN, 4),), False),
    (((Manner.LATER, 6),), True),
    (((Manner.RCPT_ONCE, 7), (Manner.TAKEN, 8)), False),
    (((Manner.TAKEN, 5), (Manner.TAKEN, 5)), False),
)
#: What waits in the spool before a run begins, so that recovery and reclaim have something to do.
WAITING: Final[tuple[Shape, ...]] = (
    (((Manner.LATER, 1),), False),
    (((Manner.LATER, 2), (Manner.LATER, 2)), False),
    (((Manner.LATER, 3),), True),
    (((Manner.LATER, 4), (Manner.LATER, 5)), False),
)
PLAIN: Final[Shape] = (((Manner.TAKEN, 1),), False)


def letters(run: str, shapes: Sequence[Shape], count: int) -> Iterator[Letter]:
    """So many letters of these shapes, one after the other and again; ``run`` keeps their names apart from those of other runs."""
    for number, shape in zip(range(count), itertools.cycle(shapes), strict=False):
        yield letter(f"{run}.{number}", shape, (*TENANTS, None)[number % (len(TENANTS) + 1)])


def crowd_letters(run: str, draw: random.Random) -> Iterator[Letter]:
    """Letters without end for a load: mostly ordinary mail, now and then a large one."""
    ordinary = [shape for shape in SHAPES if not shape[1]]
    large = [shape for shape in SHAPES if shape[1]]
    for number in itertools.count():
        shape = draw.choice(large if draw.random() < 0.005 else ordinary)
        yield letter(f"{run}.{number}", shape, draw.choice((*TENANTS, None)))


def letter(name: str, shape: Shape, tenant: str | None) -> Letter:
    """One letter."""
    recipients, is_large = shape
    label = b"" if tenant is None else b"X-Tenant: " + tenant.encode() + b"\r\n"
    header = b"Subject: " + name.encode() + b"\r\n" + label + b"X-Test-Id: " + name.encode() + b"\r\n"
    body = b".first\r\n" + _LINE * (LARGE // len(_LINE) if is_large else 10) + name.encode() + b"\r\n"
    message = header + b"\r\n" + body
    paths = (
        f"{manner.value}.{name}.{place}@d{domain}.test" for place, (manner, domain) in enumerate(recipients)
    )
    return Letter(
        name, tenant, f"sender.{name}@source.test", tuple(paths), message, sha256(expected(message)).digest()
    )


def manner_of(recipient: str) -> Manner:
    """How a recipient is to be treated; ValueError if it is none of ours."""
    return Manner(recipient.partition(".")[0])

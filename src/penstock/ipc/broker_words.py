"""What lanes and the broker say to each other, on the bus of worker and supervisor; ``shaping.lending`` and ``shaping.counting`` say what it means.

All instants are of the host's monotonic clock. All words are notes.
"""

from __future__ import annotations

import msgspec

from penstock.mail.rate import Rate


class BrokerTokensAsk(msgspec.Struct, frozen=True, array_like=True):
    """So many more tokens of this rate, which is that of ``epoch``, are wanted in all; 0: none any more."""

    key: str
    rate: Rate
    epoch: int
    wanted: int


class BrokerTokensSettle(msgspec.Struct, frozen=True, array_like=True):
    """Of a lease, so many were used, none after ``last_use``, and so many will not be."""

    lease: int
    used: int
    last_use: float
    unused: int


class LaneTokensGrant(msgspec.Struct, frozen=True, array_like=True):
    """So many tokens, to be used before ``until``; ``most`` is what is given at a time."""

    key: str
    lease: int
    tokens: int
    most: int
    until: float


class LaneTokensWait(msgspec.Struct, frozen=True, array_like=True):
    """What was asked for comes at ``opens`` or later."""

    key: str
    opens: float


class BrokerUnitsAsk(msgspec.Struct, frozen=True, array_like=True):
    """So many more of ``limit`` units, which is that of ``epoch``, are wanted; 0: none any more."""

    key: str
    limit: int
    epoch: int
    wanted: int


class BrokerUnitsClaim(msgspec.Struct, frozen=True, array_like=True):
    """So many are held, lent by a broker before, or over another connection."""

    key: str
    limit: int
    epoch: int
    units: int


class BrokerUnitsRenew(msgspec.Struct, frozen=True, array_like=True):
    """What is held is still needed."""

    key: str


class BrokerUnitsRelease(msgspec.Struct, frozen=True, array_like=True):
    """So many are not needed any more."""

    key: str
    units: int


class LaneUnitsGrant(msgspec.Struct, frozen=True, array_like=True):
    """So many more units, and until when all that are held can be used."""

    key: str
    units: int
    until: float


#: In the order in which they are part of a bus's vocabulary.
BROKER_WORDS = (
    BrokerTokensAsk,
    BrokerTokensSettle,
    LaneTokensGrant,
    LaneTokensWait,
    BrokerUnitsAsk,
    BrokerUnitsClaim,
    BrokerUnitsRenew,
    BrokerUnitsRelease,
    LaneUnitsGrant,
)

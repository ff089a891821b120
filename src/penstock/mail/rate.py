"""Rates as operators write them: ``[local:]N/[k]period[,max_burst=B]``, such as ``"5/minute"``, ``"1,000/h"``, ``"10/2s,max_burst=1"``.

Sizes and durations live in ``duration``; a rate is a count over a duration, with the burst that GCRA may let through at once.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.duration import QuantityError, Seconds

_PERIODS: Final = {
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3600, "hr": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
}  # fmt: skip
_RATE = re.compile(
    r"(?P<local>local:)?\s*(?P<count>[0-9][0-9,_]*)\s*/\s*(?P<times>[0-9][0-9,_]*)?\s*(?P<period>[a-z]+)"
    r"(?:\s*,\s*max_burst\s*=\s*(?P<burst>[0-9][0-9,_]*))?",
    re.ASCII,
)
#: Above this a rate is no limit, and its emission interval is lost in the clock's resolution.
_COUNT_LIMIT: Final = 10**9
_EXPECTED: Final = 'write N/period, such as "5/minute", "100/s" or "1,000/h,max_burst=10"'


class Rate(msgspec.Struct, frozen=True):
    """``count`` events each ``period`` seconds, at most ``burst`` of them at once; ``local`` ones are never shared between lanes."""

    count: int
    period: Seconds
    burst: int
    local: bool = False

    def __str__(self) -> str:
        names = {1.0: "s", 60.0: "minute", 3600.0: "h", 86400.0: "day"}
        period = names.get(self.period) or f"{self.period:g}s"
        burst = "" if self.burst == self.count else f",max_burst={self.burst}"
        return f"{'local:' if self.local else ''}{self.count}/{period}{burst}"


def _number(digits: str) -> int:
    value = int(digits.replace(",", "").replace("_", "")) if len(digits) <= 20 else _COUNT_LIMIT + 1
    if not 0 < value <= _COUNT_LIMIT:
        raise QuantityError(f"{digits!r} is out of range in a rate; use 1 to {_COUNT_LIMIT:,}")
    return value


def parse_rate(text: str) -> Rate:
    """The rate that ``text`` writes; QuantityError, saying what would be right, if it writes none.

    Periods are ``s sec second m min minute h hr hour d day``, in the plural too; ``,`` and ``_`` separate thousands; the default burst is the count.

    >>> parse_rate("5/minute").period
    60.0
    """
    match = _RATE.fullmatch(text.strip().lower())
    if match is None:
        raise QuantityError(f"{text!r} is no rate; {_EXPECTED}")
    word = match["period"]
    unit = _PERIODS.get(word) or _PERIODS.get(word.removesuffix("s") or word)
    if unit is None:
        raise QuantityError(f"{word!r} is no period of a rate; {_EXPECTED}")
    count = _number(match["count"])
    times = _number(match["times"]) if match["times"] else 1
    burst = _number(match["burst"]) if match["burst"] else count
    return Rate(count, Seconds(float(unit * times)), burst, match["local"] is not None)

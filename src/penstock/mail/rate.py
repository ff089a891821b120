"""Rates as operators write them: ``[local:]N/[k]period[,max_burst=B]``, such as ``"5/minute"``, ``"1,000/h"``, ``"10/2s,max_burst=1"``.

Sizes and durations live in ``duration``; a rate is a count over a duration, with the burst that GCRA may let through at once.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from penstock.mail.duration import QuantityError, Seconds

# Words have plurals, letters do not: "ms" is no period, and must not be taken for minutes.
_PERIODS: Final = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
_DIGITS: Final = r"[0-9]+(?:[,_][0-9]+)*"
_RATE = re.compile(
    rf"(?P<local>local:)?\s*(?P<count>{_DIGITS})\s*/\s*(?P<times>{_DIGITS})?\s*(?P<period>[a-z]+)"
    rf"(?:\s*,\s*max_burst\s*=\s*(?P<burst>{_DIGITS}))?",
    re.ASCII | re.IGNORECASE,
)
#: Above this a rate is no limit, and its emission interval is lost in the clock's resolution.
_COUNT_LIMIT: Final = 10**9
#: A century, as for durations: instants beyond are no dates.
_PERIOD_LIMIT: Final = 100 * 365 * 86400
_EXPECTED: Final = 'write N/period, such as "5/minute", "100/s" or "1,000/h,max_burst=10"'


class Rate(msgspec.Struct, frozen=True):
    """``count`` events each ``period`` seconds, at most ``burst`` of them at once; ``local`` ones are never shared between lanes.

    The period is whole seconds; ``str()`` writes the rate so that it can be read again.
    """

    count: int
    period: Seconds
    burst: int
    local: bool = False

    def __str__(self) -> str:
        names = {1.0: "s", 60.0: "minute", 3600.0: "h", 86400.0: "day"}
        period = names.get(self.period) or f"{int(self.period)}s"
        burst = "" if self.burst == self.count else f",max_burst={self.burst}"
        return f"{'local:' if self.local else ''}{self.count}/{period}{burst}"


def _number(digits: str) -> int:
    value = int(digits.replace(",", "").replace("_", "")) if len(digits) <= 20 else _COUNT_LIMIT + 1
    if not 0 < value <= _COUNT_LIMIT:
        raise QuantityError(f"{digits[:60]!r} is out of range in a rate; use 1 to {_COUNT_LIMIT:,}")
    return value


def parse_rate(text: str) -> Rate:
    """The rate that ``text`` writes; QuantityError, saying what would be right, if it writes none.

    Periods are ``s sec second m min minute h hr hour d day``, the words also in the plural; ``,`` and ``_`` separate thousands; the default
    burst is the count.

    >>> parse_rate("5/minute").period
    60.0
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise QuantityError(f"{text[:60]!r} is no rate; {_EXPECTED}")
    unit = _PERIODS.get(match["period"].lower())
    if unit is None:
        raise QuantityError(f"{match['period'][:60]!r} is no period of a rate; {_EXPECTED}")
    count = _number(match["count"])
    times = _number(match["times"]) if match["times"] else 1
    if unit * times > _PERIOD_LIMIT:
        raise QuantityError(f"{text[:60]!r} has a period that is out of range; use up to 100 years")
    burst = _number(match["burst"]) if match["burst"] else count
    return Rate(count, Seconds(float(unit * times)), burst, match["local"] is not None)

"""Durations and byte sizes as operators write them: ``"17 mins"``, ``"24 hours"``, ``"1h30m"``, ``300``; ``"20MiB"``, ``"256 KB"``.

Digits are ASCII digits. What is out of range is refused like what is no quantity at all: it is a slip, and never reaches arithmetic.
"""

from __future__ import annotations

import re
from typing import Final, NewType

Seconds = NewType("Seconds", float)
#: Seconds since 1970 (UTC). Never mixed with MonotonicTime.
WallTime = NewType("WallTime", float)
#: Seconds of a clock that only goes forward, from a beginning without meaning.
MonotonicTime = NewType("MonotonicTime", float)
ByteCount = NewType("ByteCount", int)

_UNITS: Final = {
    "ms": 0.001, "msec": 0.001, "msecs": 0.001, "millisecond": 0.001, "milliseconds": 0.001,
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_SIZES: Final = {
    "": 1, "b": 1,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4,
    "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2, "g": 1024**3, "gib": 1024**3, "tib": 1024**4,
}  # fmt: skip
_TERM = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([a-z]+)\s*", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)
# "," and "_" part digits, as in 1,000,000
_SIZE = re.compile(r"([0-9]+(?:[,_][0-9]+)*)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
#: A century; anything longer is a slip, and sums of times stay exact far beyond it.
_LONGEST: Final = 100 * 366 * 86400
#: An exbibyte, for the same reason.
_LARGEST: Final = 1024**6


class QuantityError(ValueError):
    """The text is no duration, size or rate; ``str()`` of it says what would be."""


def parse_duration(value: str | float) -> Seconds:
    """Seconds of ``"5m"``, ``"5 min"``, ``"24 hours"``, ``"1h30m"``, or of a bare number, which is seconds; QuantityError otherwise."""
    if isinstance(value, bool):
        raise QuantityError('a duration is a number of seconds, or text such as "5m" or "24 hours"')
    if isinstance(value, int | float):
        return _bounded(value, value)
    text = value.strip()
    if _NUMBER.fullmatch(text):
        return _bounded(float(text), value)
    total, position = 0.0, 0
    while position < len(text):
        match = _TERM.match(text, position)
        unit = _UNITS.get(match[2].lower()) if match is not None else None
        if match is None or unit is None:
            raise QuantityError(f'{_shown(value)} is no duration; write "90s", "5m", "24 hours" or "1 day"')
        total += float(match[1]) * unit
        position = match.end()
    if not text:
        raise QuantityError('an empty text is no duration; write "90s", "5m", "24 hours" or "1 day"')
    return _bounded(total, value)


def _bounded(seconds: float, written: str | float) -> Seconds:
    # compared before it is converted: an integer of TOML may be too large for a float
    if not 0 <= seconds <= _LONGEST:
        raise QuantityError(f"{_shown(written)} is out of range; a duration is between 0 and 100 years")
    return Seconds(float(seconds))


def _shown(written: str | float) -> str:
    """What was written, short enough for a message; a number of thousands of digits cannot even be shown."""
    if isinstance(written, int) and abs(written) > _LARGEST:
        return "the number"
    text = repr(written)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_byte_size(value: str | int) -> ByteCount:
    """Octets of ``"256MiB"`` (1024s), ``"20 MB"`` (1000s), ``"64k"`` (1024s) or a bare number; QuantityError otherwise."""
    if isinstance(value, bool) or (isinstance(value, int) and value < 0):
        raise QuantityError('a size is a number of octets, or text such as "20MiB"')
    if isinstance(value, int):
        size = value
    else:
        match = _SIZE.fullmatch(value.strip())
        unit = _SIZES.get(match[2].lower()) if match is not None else None
        if match is None or unit is None:
            raise QuantityError(f'{_shown(value)} is no size; write "64KiB", "20MiB" or a number of octets')
        digits = match[1].replace(",", "").replace("_", "").lstrip("0") or "0"
        size = int(digits) * unit if len(digits) <= 20 else _LARGEST + 1
    if size > _LARGEST:
        raise QuantityError(f"{_shown(value)} is out of range; a size is at most an exbibyte")
    return ByteCount(size)


def to_next_second(now: MonotonicTime) -> Seconds:
    """How long until the monotonic clock shows a whole second, half a one at least.

    What is done once a second is done then: together, so that a process at rest wakes for all of it once.
    """
    left = 1.0 - now % 1.0
    return Seconds(left if left >= 0.5 else left + 1.0)

"""Durations, sizes and moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def shown_span(seconds: float) -> str:
    """A duration in its two largest units: ``3h 20m``; what is negative is ``0s``."""
    rest = max(0, int(seconds))
    words: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or words:
            words.append(f"{count}{unit}")
    return " ".join(words[:2]) or "0s"


def counted(number: int, noun: str) -> str:
    """So many of something: ``1 queue``, ``2 queues``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown_size(octets: float) -> str:
    """Octets in the largest unit that leaves a number of at least 1."""
    amount = float(octets)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def rfc3339(moment: float) -> str | None:
    """A time in RFC 3339, UTC, with microseconds, as in events; None for one that no calendar has."""
    try:
        return f"{_EPOCH + timedelta(seconds=moment):%Y-%m-%dT%H:%M:%S.%f}Z"
    except (OverflowError, ValueError):
        return None

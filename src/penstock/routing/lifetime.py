"""How long an answer is believed, in seconds.

Records live as long as their TTL says, within a floor and a ceiling: a TTL of 0 must not mean one question a message, and a TTL of a year
must not outlive a move (RFC 1035 3.2.1, RFC 2181 8). That something does not exist is believed for the SOA's minimum, at most five minutes
(RFC 2308 5 allows up to three hours; mail that bounces for a slip in a zone file is dearer than a question). A failure is asked about again
soon, then less often, so that a resolver that comes back is not met by every question at once (RFC 2308 7.1: at most five minutes).
"""

from __future__ import annotations

from typing import Final

from penstock.mail.duration import Seconds

FLOOR: Final = Seconds(5.0)
CEILING: Final = Seconds(86_400.0)
NEGATIVE_CEILING: Final = Seconds(300.0)
FAILURE_FIRST: Final = Seconds(30.0)
FAILURE_CEILING: Final = Seconds(300.0)


def positive(ttl: Seconds) -> Seconds:
    """For how long to believe records with this TTL."""
    return min(max(ttl, FLOOR), CEILING)


def negative(ttl: Seconds | None) -> Seconds:
    """For how long to believe that there are none; ``ttl`` is the SOA's word, None if there was none."""
    return NEGATIVE_CEILING if ttl is None else min(max(ttl, FLOOR), NEGATIVE_CEILING)


def failure(failures: int) -> Seconds:
    """For how long not to ask again after the ``failures``-th failure in a row, counted from 1: 30 s, 1, 2, 4, then 5 minutes."""
    doublings = min(max(failures - 1, 0), 10)
    return min(Seconds(FAILURE_FIRST * 2**doublings), FAILURE_CEILING)

"""How many connections a path should have, and how long it rests when none can be made."""

from __future__ import annotations

import math
from typing import Final

from penstock.mail.duration import Seconds

#: How quickly connections follow the mail that waits: with a limit of 32, 10 messages want 7 connections and 64 want 25.
_EAGERNESS: Final = 0.023
_FIRST_REST: Final = 1.0
_LONGEST_REST: Final = 300.0


def connections_wanted(limit: int, messages: int) -> int:
    """Connections for ``messages`` waiting or being sent: ``ceil(limit * (1 - e**(-0.023 * n)))``, never more than messages.

    >>> [connections_wanted(32, n) for n in (0, 1, 10, 32, 64, 128, 256)]
    [0, 1, 7, 17, 25, 31, 32]
    """
    return min(messages, math.ceil(limit * (1.0 - math.exp(-_EAGERNESS * messages))))


def reconnect_delay(failures: int, draw: float) -> Seconds:
    """Seconds to wait after the ``failures``-th failure in a row (from 1): 1 s, doubling up to 5 minutes, up to a quarter of it earlier."""
    delay = min(_FIRST_REST * 2.0 ** min(failures - 1, 30), _LONGEST_REST)
    return Seconds(delay * (1.0 - draw / 4.0))

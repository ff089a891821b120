"""When a deferred message is tried again: ``retry_interval`` after the first attempt, doubling with each, capped, and jittered.

Jitter is uniform within a fortieth of ``retry_interval`` and 30 s at most, either way, so that what failed together does not return together.
"""

from __future__ import annotations

from typing import Final

from penstock.mail.configuration import QueueConfig
from penstock.mail.duration import Seconds

_JITTER_SHARE: Final = 1 / 40
_JITTER_LIMIT: Final = 30.0
#: 2**40 times any interval is past every expiry; the cap keeps the arithmetic in floats exact.
_DOUBLINGS_LIMIT: Final = 40


def retry_delay(config: QueueConfig, attempts: int, draw: float) -> Seconds:
    """Seconds from the attempt that was the ``attempts``-th (from 1) to the next; ``draw`` is in [0, 1).

    >>> retry_delay(QueueConfig(retry_interval=Seconds(1200.0)), 3, 0.5)
    4800.0
    """
    delay = config.retry_interval * float(2 ** min(attempts - 1, _DOUBLINGS_LIMIT))
    if config.max_retry_interval is not None:
        delay = min(delay, config.max_retry_interval)
    jitter = min(config.retry_interval * _JITTER_SHARE, _JITTER_LIMIT)
    return Seconds(max(0.0, delay + (2.0 * draw - 1.0) * jitter))

"""A small world: limits of the spool brought down so far that a run of a hundred actions meets all of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Final
from unittest import mock

from penstock.spool import bodies, history, log, queued, reclaim, recovery, restart, scan

#: Larger contents are files of their own.
LARGE: Final = 600
#: Of the modules of the spool: their limits, and what they are here.
LIMITS: Final[tuple[tuple[ModuleType, str, int], ...]] = (
    (log, "INLINE_LIMIT", LARGE),
    (bodies, "_PIECE", 400),
    (queued, "_BITS", 3),
    (recovery, "_ROWS_AT_ONCE", 2),
    (restart, "_ROWS", 2),
    (scan, "_CHUNK", 4096),
    (scan, "_FRAMES_AT_ONCE", 2),
    (history, "_REMEMBERED", 4),
    (reclaim, "_ENVELOPE", 0),  # more is copied than needs to be
)


@contextlib.contextmanager
def small_world() -> Iterator[None]:
    """Let the limits be these, and the spool be silent about the errors that it meets."""
    logger = logging.getLogger("penstock.spool")
    level = logger.level
    with contextlib.ExitStack() as stack:
        for module, name, value in LIMITS:
            stack.enter_context(mock.patch.object(module, name, value))
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)

"""How many files and sockets this process may have open (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import resource


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one and return it. Where the system does not let us, the limit stays, and is returned as it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # fs.nr_open was lowered below the hard limit after it had been given
        return soft
    return hard

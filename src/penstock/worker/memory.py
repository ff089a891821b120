"""How much memory this process uses, and how much it may."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from penstock.mail.duration import ByteCount

#: Of the machine's (or the control group's) memory, for mail that is in memory.
_SHARE: Final = 0.5
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_OWN: Final = Path("/proc/self/statm")


def limit(configured: ByteCount | None, processes: int = 1) -> ByteCount:
    """The share of one of so many processes in the configured limit, or in half of what the machine or the control group has."""
    if configured is not None:
        return ByteCount(configured // processes)
    available = os.sysconf("SC_PHYS_PAGES") * _PAGE
    try:
        text = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        text = "max"
    if text.isdecimal():
        available = min(available, int(text))
    return ByteCount(int(available * _SHARE) // processes)


def resident() -> ByteCount:
    """The resident set of this process, in octets."""
    return ByteCount(int(_OWN.read_text(encoding="ascii").split()[1]) * _PAGE)

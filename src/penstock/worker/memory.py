"""How much memory this process uses, how much it may, and how large pieces of it grow."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from penstock.mail.duration import ByteCount

#: Of the machine's (or the control group's) memory, for mail that is in memory.
_SHARE: Final = 0.5
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_OWN: Final = Path("/proc/self/statm")
#: mallopt(3), ``M_MMAP_THRESHOLD``
_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 1024 * 1024


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


def grow_in_place() -> None:
    """Have what is larger than a mebibyte grow without being copied.

    The columns of a million rows are as long as each other, so they grow together: to copy all of them, as the C library would, stalls the loop
    for some 25 ms. Pieces that are mapped by themselves are moved by the kernel, which changes a few tables. Another C library does as it likes.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)

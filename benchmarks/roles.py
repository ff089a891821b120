"""The processes of a running server: which of them is what (proc(5)), and what they hold of the memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.processes import descendants

SUPERVISOR: Final = "supervisor"
#: A lane's process, and the one in reserve, which is a worker without a lane: the control socket tells them apart.
WORKER: Final = "worker"
SCRIBE: Final = "scribe"
SYNC_HELPER: Final = "sync helper"


def role_of(pid: int) -> str | None:
    """What a process of a server is by its command line; None if it is none of them, or has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if any(word.endswith(b"sync_helper.py") for word in words):
        return SYNC_HELPER
    for word, role in ((b"worker", WORKER), (b"scribe", SCRIBE), (b"serve", SUPERVISOR)):
        if word in words:
            return role
    return None


def members(root: int) -> dict[int, str]:
    """The living processes of the server that ``root`` is the supervisor of, or stands in front of, and what they are."""
    return {pid: role for pid in (root, *descendants(root)) if (role := role_of(pid)) is not None}


def memory_by_role(root: int) -> dict[str, int]:
    """Octets of memory that a server's processes hold, summed by what they are.

    A page counts for the processes that share it in equal parts (proc(5): smaps_rollup, Pss), so that the sum is what the server takes.
    """
    held: dict[str, int] = {}
    for pid, role in members(root).items():
        with contextlib.suppress(OSError):
            held[role] = held.get(role, 0) + sum(_proportional(pid))
    return held


def _proportional(pid: int) -> Iterator[int]:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            yield int(line.split()[1]) * 1024

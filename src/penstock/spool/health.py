"""Whether the spool takes new mail, and whether it can record what becomes of it.

New mail is refused while nothing can be written, for a while after that was so (longer each time it happens again), and while the file system has
less free space, or inodes, than is kept in reserve, until it has somewhat more again: outcomes and bounces are written from the reserve.
Outcomes cannot be recorded while nothing can be written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from penstock.mail.configuration import Reserve
from penstock.mail.duration import MonotonicTime
from penstock.mail.ports import Clock
from penstock.spool.files import FileError, Files

LOG = logging.getLogger(__name__)

#: Seconds without new mail after a fault: doubled with each that comes within ``_MEMORY`` of the last one, up to the last.
_FIRST_PENALTY: Final = 1.0
_LAST_PENALTY: Final = 60.0
_MEMORY: Final = 600.0
#: New mail is taken again when there is so much more than the reserve.
_HYSTERESIS: Final = 1.1
#: Inodes that are kept in reserve: segments and body files need few.
_INODE_RESERVE: Final = 64


class Health:
    """See the module. ``changed`` is called when an answer is another; ``free_bytes`` is what there was at the last look."""

    def __init__(self, files: Files, clock: Clock, reserve: Reserve, changed: Callable[[], None]) -> None:
        self._files = files
        self._clock = clock
        self._reserve = reserve
        self._changed = changed
        self._penalty = _FIRST_PENALTY
        self._penalty_ends = MonotonicTime(0.0)
        self._last_fault = MonotonicTime(-_MEMORY)
        self._was_faulty = ""
        self._shortage = ""
        self._before = (True, True)
        self.fault: str | None = None
        self.free_bytes = 0

    @property
    def refusing(self) -> str | None:
        """Why new mail is refused; None if it is not."""
        if self.fault is not None:
            return self.fault
        if self._clock.monotonic() < self._penalty_ends:
            return f"shortly after a fault: {self._was_faulty}"
        return self._shortage or None

    def use_reserve(self, reserve: Reserve) -> None:
        """Keep another reserve from now on."""
        self._reserve = reserve
        self.look()

    def has_room(self) -> bool:  # hot: throughput
        """Whether new mail is taken."""
        return self._before[0]

    def can_record(self) -> bool:  # hot: throughput
        """Whether outcomes can be recorded."""
        return self.fault is None

    def on_fault(self, fault: str | None) -> None:
        """Nothing can be written, and why; or it can again."""
        now = self._clock.monotonic()
        if fault is not None:
            if self.fault is None:
                is_new = now - self._last_fault > _MEMORY
                self._penalty = _FIRST_PENALTY if is_new else min(self._penalty * 2, _LAST_PENALTY)
            self._was_faulty = fault
            self._last_fault = now
        elif self.fault is not None:
            self._penalty_ends = MonotonicTime(now + self._penalty)
        self.fault = fault
        self._tell()

    def look(self) -> None:
        """About once a second: how much is free, and whether a penalty is over."""
        try:
            free, size, inodes, all_inodes = self._files.free()
        except FileError as error:
            self._shortage = str(error)
        else:
            self.free_bytes = free
            self._shortage = self._short_of(free, size, inodes, all_inodes)
        self._tell()

    def _short_of(self, free: int, size: int, inodes: int, all_inodes: int) -> str:
        slack = _HYSTERESIS if self._shortage else 1.0
        reserve = max(int(size * self._reserve.share), self._reserve.octets)
        if free < reserve * slack:
            return (
                f"{free >> 20} MiB are free on the spool's file system, and {reserve >> 20} are kept in reserve "
                "(spool.min_free_space); free some"
            )
        if all_inodes and inodes < min(_INODE_RESERVE, all_inodes // 10) * slack:
            return f"{inodes} inodes are free on the spool's file system; remove files, or give it more"
        return ""

    def _tell(self) -> None:
        refusing = self.refusing
        now = (refusing is None, self.fault is None)
        if now != self._before:
            self._before = now
            if refusing is not None:
                LOG.error("spool: new mail is refused: %s", refusing)
            else:
                LOG.warning("spool: new mail is taken again")
            self._changed()

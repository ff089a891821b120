"""Makes events and counts of what the spool writes down.

Every record passes here once, in order. Events are collected and written together: the disk is touched at most every 50 ms, or for 256 KiB.
"""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.events.log import EventLog
from penstock.events.record import derive, encode
from penstock.mail.records import SpoolRecord
from penstock.mail.status import Tally

_FLUSH_AFTER: Final = 0.05


class Journal:
    """Who is told of every record."""

    __slots__ = ("_handle", "_log", "_loop", "_node", "epoch", "tally")

    def __init__(self, log: EventLog, node: str, epoch: int) -> None:
        self.tally = Tally()
        self.epoch = epoch
        self._log = log
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def on_record(self, record: SpoolRecord) -> None:  # hot: throughput
        """Take note."""
        self._log.append(encode(derive(record, node=self._node, epoch=self.epoch)))
        self.tally.add(record)
        if self._handle is None:
            self._handle = self._loop.call_later(_FLUSH_AFTER, self._flush)

    def _flush(self) -> None:
        self._handle = None
        self._log.flush()
        if self._log.counts.waiting:
            self._handle = self._loop.call_later(1.0, self._flush)

    def close(self) -> None:
        """Write what is left."""
        if self._handle is not None:
            self._handle.cancel()
        self._log.close()

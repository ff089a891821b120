"""Makes events and counts of what the spool writes down.

Every record passes here once, in order. Events are made and written together: every 50 ms, or when some hundred records have come.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from penstock.events.event import Event
from penstock.events.log import EventLog
from penstock.events.record import derive, encode
from penstock.mail.records import SpoolRecord
from penstock.mail.status import Tally

LOG = logging.getLogger(__name__)

_FLUSH_AFTER: Final = 0.05
#: Records that do not wait for the time: their events are some 200 KB, made in about 2 ms.
_FLUSH_AT: Final = 200


class Journal:
    """Who is told of every record."""

    __slots__ = ("_epoch", "_handle", "_log", "_loop", "_node", "_records", "tally")

    def __init__(self, log: EventLog, node: str, epoch: int) -> None:
        self.tally = Tally()
        self._epoch = epoch
        self._records: list[SpoolRecord] = []
        self._log = log
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def on_record(self, record: SpoolRecord) -> None:  # hot: throughput
        """Take note."""
        records = self._records
        records.append(record)
        self.tally.add(record)
        if len(records) == _FLUSH_AT:
            # not here: whoever records must not suffer from what becomes of it
            self._loop.call_soon(self._write)
        elif self._handle is None:
            self._handle = self._loop.call_later(_FLUSH_AFTER, self.flush)

    def use_epoch(self, epoch: int) -> None:
        """What is recorded from now on happens under another configuration."""
        self._write()
        self._epoch = epoch

    def _write(self) -> None:
        """Make the events of what was recorded."""
        records, self._records = self._records, []
        node, epoch = self._node, self._epoch
        events: list[Event] = []
        try:
            for record in records:
                events += derive(record, node=node, epoch=epoch)
            self._log.append(encode(events))
        except Exception:
            # a fault of ours in making events must not end the mail that they are about
            LOG.exception("the events of %d records are lost", len(records))
            self._log.counts.dropped += len(records)

    def flush(self) -> None:
        """Write what there is; again in a second, if the disk does not take it."""
        self._handle = None
        if self._records:
            self._write()
        self._log.flush()
        if self._log.counts.waiting:
            self._handle = self._loop.call_later(1.0, self.flush)

    def close(self) -> None:
        """Write what is left."""
        if self._handle is not None:
            self._handle.cancel()
        if self._records:
            self._write()
        self._log.close()

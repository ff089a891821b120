"""The scribe with all that it needs: the event log of a configuration, the socket that lanes come to, and the keeping of its files."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from penstock.events.log import EventLog
from penstock.ipc.channel import Channel, ListeningServer, listen
from penstock.ipc.feed_words import scribe_socket
from penstock.mail.configuration import Configuration
from penstock.mail.ports import Clock
from penstock.mail.status import EventLogCounts
from penstock.scribe.aside import in_thread
from penstock.scribe.keeping import Keeping
from penstock.scribe.link import LaneLink
from penstock.scribe.scribe import Scribe
from penstock.spool.places import spools

#: Seconds that lanes which are ending have to say their last.
_PARTING: Final = 2.0


class ScribeService:
    """One scribe. Made on a running loop; ``start`` once, ``stop`` once. The folder ``run`` of the data directory is there."""

    def __init__(self, configuration: Configuration, clock: Clock) -> None:
        events = configuration.events
        self._data_dir = Path(configuration.node.data_dir)
        self.log = EventLog(
            self._data_dir / "events",
            clock=clock,
            max_file_size=events.max_file_size,
            max_segment_duration=events.max_segment_duration,
        )
        self.scribe = Scribe(self.log, configuration.node.hostname, configuration.epoch)
        loop = asyncio.get_running_loop()
        self._keeping = Keeping(self.log, events, lambda: self.scribe.saved_file, loop, in_thread)
        self._links: set[LaneLink] = set()
        self._server: ListeningServer | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def counts(self) -> EventLogCounts:
        """What the event log did."""
        return self.log.counts

    async def start(self) -> None:
        """Take lanes. OSError if the event log cannot be used, ChannelError if the socket cannot be had."""
        self.scribe.open(spools(self._data_dir))
        self._server = await listen(scribe_socket(self._data_dir), self._new_channel)
        self._keeping.start()

    def _new_channel(self) -> Channel:
        link = LaneLink(self.scribe, self._gone)
        self._links.add(link)
        self._empty.clear()
        return link.channel

    def _gone(self, link: LaneLink) -> None:
        self._links.discard(link)
        if not self._links:
            self._empty.set()

    async def stop(self) -> None:
        """Write down what lanes have told, then end. Lanes that are still there have a moment to say their last."""
        self._keeping.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PARTING):
                await self._empty.wait()
        if self._server is not None:
            self._server.close()
        await self.scribe.close()
        for link in list(self._links):
            link.channel.abort()

"""A connection to another lane that is made anew whenever it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from penstock.ipc.channel import Channel, ChannelError, connect
from penstock.ipc.frames import Frame

LOG = logging.getLogger(__name__)

#: Seconds between two tries, doubled up to the last: a worker that died is back within a second.
_FIRST_PAUSE: Final = 0.05
_LAST_PAUSE: Final = 1.0
#: After a connection that lasted for so long the next try comes soon.
_LASTED: Final = 1.0


class Party(Protocol):
    """Whose connection it is."""

    def connected(self, link: Channel) -> None:
        """It is there."""

    def received(self, frame: Frame) -> None:
        """A frame has come. ProtocolError ends the connection."""

    def ended(self, link: Channel, reason: str | None) -> None:
        """It is over; with None if one of the two sides has closed it."""


class Staying:
    """Stays connected to ``path``. ``pause`` waits between two tries."""

    def __init__(
        self, path: Path, party: Party, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._path = path
        self._party = party
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._over = asyncio.Event()

    def start(self) -> None:
        """Connect, and again whenever the connection ends, until ``close``."""
        name = f"stay connected to {self._path.name}"
        self._task = asyncio.get_running_loop().create_task(self._stay(), name=name)

    async def _stay(self) -> None:
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        while True:
            self._over.clear()
            begun = loop.time()
            await self._try()
            if loop.time() - begun >= _LASTED:
                pause = _FIRST_PAUSE
            await self._pause(pause)
            pause = min(pause * 2, _LAST_PAUSE)

    async def _try(self) -> None:
        """A connection, to its end; or none."""
        channel = Channel(self._party.received, lambda reason: self._ended(channel, reason))
        try:
            await connect(self._path, channel)
        except ChannelError as error:
            LOG.debug("%s", error)
            return
        if channel.is_open:
            self._channel = channel
            self._party.connected(channel)
            await self._over.wait()

    def _ended(self, channel: Channel, reason: str | None) -> None:
        if channel is self._channel:
            if reason is not None:
                LOG.warning("the connection to %s has ended: %s", self._path.name, reason)
            self._channel = None
            self._party.ended(channel, reason)
            self._over.set()

    async def close(self) -> None:
        """End it, and try no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        channel = self._channel
        if channel is not None:
            channel.abort()
            self._ended(channel, None)

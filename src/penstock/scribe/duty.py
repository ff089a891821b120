"""What the scribe does because the supervisor says so: it begins, says how it is, and drains. When the bus ends, so does the process.

HTTP is served by whoever starts this: ``numbers`` and ``fault`` say how the whole server is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.config import load_whole
from penstock.config.refusal import refused
from penstock.ipc.bus import Bus, BusEnded, BusFault
from penstock.ipc.channel import ChannelError
from penstock.ipc.scribe_words import (
    SCRIBE_BUS,
    ScribeBegin,
    ScribeCounts,
    ScribeDrain,
    ScribeServerFault,
    ScribeTellCounts,
    SupervisorScribeFailed,
    SupervisorScribeTick,
    SupervisorTellNumbers,
)
from penstock.mail.configuration import Configuration
from penstock.mail.duration import ByteCount, MonotonicTime, Seconds, to_next_second
from penstock.mail.ports import Clock
from penstock.mail.problem import ConfigError
from penstock.mail.status import EventLogCounts, MailCounts, Snapshot, SpoolCounts
from penstock.scribe.service import ScribeService

_LAG_WINDOW: Final = 60
#: The supervisor speaks once a second; one that has not for so long is not there, or stands still.
_SILENCE: Final = Seconds(5.0)
#: How long the supervisor has to ask all lanes, which it gives up itself after 2 s.
_NUMBERS: Final = 3.0
_PARTING: Final = 5.0

#: Told the configuration and the sockets of the HTTP listeners; serves them, and gives back how to end that.
ServeHttp = Callable[
    [Configuration, Sequence[Sequence[socket.socket]]], Awaitable[Callable[[], Awaitable[None]]]
]


class ScribeDuty:
    """The scribe's end of its bus. ``die`` ends the process at once. Made on a running loop; ``bus.channel`` is to be connected."""

    def __init__(
        self,
        clock: Clock,
        serve_http: ServeHttp,
        memory: Callable[[], ByteCount],
        die: Callable[[str], None],
    ) -> None:
        self.bus = Bus(
            SCRIBE_BUS,
            {
                ScribeBegin: self._begin,
                ScribeDrain: self._drain,
                ScribeServerFault: self._hear,
                ScribeTellCounts: self._counts,
            },
            self._bus_ended,
        )
        self._clock = clock
        self._serve_http = serve_http
        self._memory = memory
        self._die = die
        self._started = clock.wall()
        self._epoch = 0
        self._service: ScribeService | None = None
        self._stop_http: Callable[[], Awaitable[None]] | None = None
        self._fault: str | None = "starting"
        self._heard = clock.monotonic()
        self._last: Snapshot | None = None
        self._lags: deque[float] = deque(maxlen=_LAG_WINDOW)
        self._failure: str | None = None
        self._ending = asyncio.Event()
        self._parted = asyncio.Event()
        self._is_parting = False

    # -- what it is told

    async def _begin(self, word: ScribeBegin) -> None:
        try:
            configuration = _configuration(word)
            self._epoch = word.number
            service = ScribeService(configuration, self._clock)
            await service.start()
            sockets = [[socket.socket(fileno=each) for each in group] for group in word.listeners]
            self._stop_http = await self._serve_http(configuration, sockets)
        except (ConfigError, ChannelError, OSError) as error:
            self._failure = f"the event log cannot be used: {error}"
            self._ending.set()
            raise BusFault(self._failure) from error
        self._service = service

    def _drain(self, _: ScribeDrain) -> None:
        self._ending.set()

    def _hear(self, word: ScribeServerFault) -> None:
        self._fault = word.fault
        self._heard = self._clock.monotonic()

    def _counts(self, _: ScribeTellCounts) -> ScribeCounts:
        if self._service is None:
            raise BusFault("it has not begun yet")
        return ScribeCounts(self._service.counts, Seconds(max(self._lags, default=0.0)), self._memory())

    # -- how the server is, for those who ask over HTTP

    def fault(self) -> str | None:
        """Why the server takes no mail; None while it does."""
        if self._clock.monotonic() - self._heard > _SILENCE:
            return "the supervisor does not answer"
        return self._fault

    async def snapshot(self) -> Snapshot:
        """The numbers of the whole server. If they cannot be had, the last ones: counters do not go back."""
        try:
            answer = await self.bus.ask(SupervisorTellNumbers(), _NUMBERS)
        except (BusEnded, BusFault, TimeoutError):
            answer = None
        if isinstance(answer, Snapshot):
            self._last = answer
        if self._last is not None:
            return self._last
        counts = self._service.counts if self._service is not None else EventLogCounts()
        return Snapshot(self._started, self._epoch, MailCounts(), {}, counts, SpoolCounts())

    # -- its life

    def end(self) -> None:
        """Drain, told by somebody who is not the supervisor."""
        self._ending.set()

    async def run(self) -> int:
        """Until it is to end, and has; the exit code."""
        ticking = asyncio.create_task(self._ticking(), name="ticks")
        await self._ending.wait()
        if self._stop_http is not None:
            await self._stop_http()
        if self._service is not None:
            await self._service.stop()
        ticking.cancel()
        self._is_parting = True
        if self._failure is not None:
            self.bus.tell(SupervisorScribeFailed(self._failure))
        if self.bus.is_open:
            self.bus.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PARTING):
                    await self._parted.wait()
        return 1 if self._failure is not None else 0

    async def _ticking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.bus.tell(SupervisorScribeTick())
            delay = to_next_second(MonotonicTime(loop.time()))
            wanted = loop.time() + delay
            await asyncio.sleep(delay)
            self._lags.append(max(0.0, loop.time() - wanted))

    def _bus_ended(self, reason: str | None) -> None:
        self._parted.set()
        if not self._is_parting:
            self._die(reason or "the supervisor is gone")


def _configuration(word: ScribeBegin) -> Configuration:
    """An epoch from its octets alone; ConfigError."""
    files: Mapping[str, bytes] = word.files

    def read(path: Path) -> bytes:
        octets = files.get(str(path))
        if octets is None:
            raise refused("is not part of the epoch")
        return octets

    configuration = load_whole(word.root, read=read).configuration
    return msgspec.structs.replace(configuration, epoch=word.number)

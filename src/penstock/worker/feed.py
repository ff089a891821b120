"""Tells the scribe of the frames of a spool's log as they are stored, by their heads as they were written.

Frames of a moment are told together. What the scribe does not take in time is not kept for it: it is told that there is more, and reads it from
the log's files. So a slow, a dead or a missing scribe costs mail nothing but the room of segments that have no events yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from penstock.ipc.channel import Channel, ChannelError, connect
from penstock.ipc.feed_words import (
    FEED,
    FEED_TAIL_LIMIT,
    EpochWord,
    LaneEventsWritten,
    ScribeLaneBegin,
    ScribeLaneEpoch,
    ScribeLaneForget,
    ScribeLaneFrames,
    ScribeLaneSegments,
    SegmentWord,
    table,
)
from penstock.ipc.frames import Frame, ProtocolError
from penstock.mail.ports import LogPosition
from penstock.spool.entry import Entry
from penstock.spool.frame import FrameType
from penstock.spool.head import head_octets
from penstock.spool.shelf import Shelved

LOG = logging.getLogger(__name__)

#: How long frames wait for others to be told with, and octets of heads that do not wait.
_GATHERED_FOR: Final = 0.02
_GATHERED: Final = 128 * 1024
#: Octets that the scribe has not taken: with more, frames are not told.
_BACKLOG: Final = 1024 * 1024
_FIRST_RETRY: Final = 0.1
_LAST_RETRY: Final = 0.5
#: Seconds that the scribe has at the end to take what was told last.
_PARTING: Final = 2.0
#: Frames of which no event is made, and which no event needs.
_UNTOLD: Final = frozenset({FrameType.COPY, FrameType.ABANDON, FrameType.RELEASE, FrameType.SEAL})


class FedLog(Protocol):
    """The log of a spool, as far as the scribe is told of it."""

    @property
    def synced(self) -> LogPosition:
        """The place behind the last frame that is known to be stored."""

    def segments(self) -> list[Shelved]:
        """The segments that there are, oldest first."""

    def events_written(self, position: LogPosition) -> None:
        """The events of all frames before this place are on stable storage: nothing before it will be asked for again."""


class Feed:
    """A lane's end of the connection to the scribe, which is at ``path``; ``folder`` is that of the spool. Made on a running loop."""

    def __init__(self, lane: str, log: FedLog, folder: Path, path: Path, epoch: int) -> None:
        self.lane = lane
        #: up to where the scribe has events on stable storage
        self.written = LogPosition(0, 0)
        self._log = log
        self._folder = folder
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        #: it was told of the lane, and is told of its frames
        self._is_told = False
        self._epochs = [EpochWord(log.synced, epoch)]
        self._segment = -1
        #: all from here on is to be told
        self._first = self._last = LogPosition(0, 0)
        self._rows: list[int] = []
        self._heads: list[bytes] = []
        self._size = 0
        #: some of it is not told
        self._is_whole = True
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._is_closing = False
        #: the scribe has said how far it is
        self._heard = asyncio.Event()
        #: frames that were told
        self.told = 0

    def start(self) -> None:
        """Look for the scribe, again and again. The spool was recovered: all of its segments are known."""
        self._running = self._loop.create_task(self._run(), name=f"feed of lane {self.lane}")

    async def close(self) -> None:
        """Tell what is left, or at least that there is something, and go. To be called after the last frame was stored."""
        self._is_closing = True
        if self._running is not None and self._channel is None:
            self._running.cancel()
            await asyncio.wait({self._running})
            with suppress(ChannelError):
                await self._connect()
        self._flush()
        if self._channel is not None:
            self._channel.close()
            try:
                async with asyncio.timeout(_PARTING):
                    await self._ended.wait()
            except TimeoutError:
                self._channel.abort()
        if self._running is not None:
            await asyncio.wait({self._running})

    def abort(self) -> None:
        """Go at once: what was not told is not told."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            self._running.cancel()
        if self._channel is not None:
            self._channel.abort()

    async def written_all(self) -> None:
        """Wait until all that is stored has become events on stable storage. Without a scribe that takes for ever."""
        while self.written < self._log.synced:
            self._heard.clear()
            await self._heard.wait()

    async def forget(self) -> None:
        """The spool is empty and all of it has become events: tell that it is about to be removed, and go."""
        self._flush()
        if self._channel is not None:
            self._say(self._channel, ScribeLaneForget())
        await self.close()

    def use_epoch(self, number: int) -> None:
        """What is stored from now on is of another epoch."""
        self._flush()
        epoch = EpochWord(self._log.synced, number)
        self._epochs.append(epoch)
        if self._channel is not None and self._is_told:
            self._say(self._channel, ScribeLaneEpoch(epoch))

    @property
    def is_connected(self) -> bool:
        """Whether the scribe is there."""
        return self._is_told

    # -- frames

    def on_stored(self, entries: Sequence[Entry], position: LogPosition) -> None:  # hot: throughput
        """See ``spool.entry.Follower``."""
        if not self._is_told:
            return
        self._last = position
        rows, heads, size = self._rows, self._heads, self._size
        for entry in entries:
            payload = entry.payload
            kind = payload.meaning.kind
            if kind in _UNTOLD:
                continue
            head = head_octets(payload)
            length = len(head)
            rows += (
                entry.segment,
                entry.offset,
                kind | payload.version << 16,
                length,
                payload.length - length,
            )
            heads.append(head)
            size += length
        self._size = size
        if size >= _GATHERED:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(_GATHERED_FOR, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        """Tell what was gathered, or that it is not told."""
        channel = self._channel
        if channel is None or not self._is_told or self._first == self._last:
            return
        if channel.backlog > _BACKLOG or self._size > FEED_TAIL_LIMIT // 2:
            self._drop()
        if not self._is_whole and channel.backlog > _BACKLOG:
            return
        if self._last.segment != self._segment:
            self._segment = self._last.segment
            self._say(channel, ScribeLaneSegments(self._segments()))
        rows, heads = self._rows, self._heads
        word = ScribeLaneFrames(self._first, self._last, len(heads) if self._is_whole else None)
        self._say(channel, word, [table(rows), *heads] if heads else ())
        self.told += len(heads)
        self._rows, self._heads, self._size = [], [], 0
        self._first, self._is_whole = self._last, True

    def _drop(self) -> None:
        self._is_whole = False
        self._rows, self._heads, self._size = [], [], 0

    def _segments(self) -> tuple[SegmentWord, ...]:
        return tuple([SegmentWord(*segment.identity, segment.end) for segment in self._log.segments()])

    # -- the connection

    async def _run(self) -> None:
        delay = _FIRST_RETRY
        while not self._is_closing:
            try:
                await self._connect()
            except ChannelError as error:
                LOG.debug("feed: %s", error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LAST_RETRY)
                continue
            delay = _FIRST_RETRY
            await self._ended.wait()
            if not self._is_closing:
                await asyncio.sleep(delay)

    async def _connect(self) -> None:
        self._ended.clear()
        channel = Channel(self._received, self._on_ended, self._flush, tail_limit=FEED_TAIL_LIMIT)
        await connect(self._path, channel)
        self._channel = channel
        self._begin(channel)

    def _begin(self, channel: Channel) -> None:
        synced = self._log.synced
        self._drop()
        self._segment = synced.segment
        word = ScribeLaneBegin(self.lane, str(self._folder), self._segments(), synced, tuple(self._epochs))
        self._say(channel, word)
        self._first = self._last = synced
        self._is_told = self._is_whole = True

    def _say(self, channel: Channel, word: msgspec.Struct, tail: Sequence[bytes] = ()) -> None:
        kind, head = FEED.encode(word)
        channel.send(kind, 0, head, tail)

    def _received(self, frame: Frame) -> None:
        word = FEED.decode(frame.kind, frame.head)
        if not isinstance(word, LaneEventsWritten):
            raise ProtocolError("the scribe said what is for it to hear")
        self.written = LogPosition(*word.position)
        self._log.events_written(self.written)
        self._heard.set()
        old = sum(epoch.behind <= self.written for epoch in self._epochs)
        if old > 1:
            del self._epochs[: old - 1]

    def _on_ended(self, reason: str | None) -> None:
        if reason is not None and not self._is_closing:
            LOG.warning("feed: the scribe is gone: %s", reason)
        self._channel = None
        self._is_told = False
        self._drop()
        self._ended.set()

"""The scribe's end of a connection to a lane: what the lane tells, for the scribe, and what the scribe tells the lane."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from penstock.ipc.channel import Channel
from penstock.ipc.feed_words import (
    FEED,
    FEED_TAIL_LIMIT,
    LaneEventsWritten,
    ScribeLaneBegin,
    ScribeLaneEpoch,
    ScribeLaneForget,
    ScribeLaneFrames,
    ScribeLaneSegments,
    told_frames,
)
from penstock.ipc.frames import Frame, ProtocolError
from penstock.mail.ports import LogPosition
from penstock.scribe.followed import FollowedLog
from penstock.scribe.lane import Batch, Lane
from penstock.scribe.scribe import Scribe
from penstock.spool.files import FileError
from penstock.spool.head import Head

LOG = logging.getLogger(__name__)


class LaneLink:
    """One connection; ``channel`` is to be connected. A lane that comes a second time takes the place of its first connection.

    ``gone`` is told when it is over.
    """

    def __init__(self, scribe: Scribe, gone: Callable[[LaneLink], None] = lambda link: None) -> None:
        self.channel = Channel(self._received, self._ended, tail_limit=FEED_TAIL_LIMIT)
        self._scribe = scribe
        self._gone = gone
        self._lane: Lane | None = None
        self._log: FollowedLog | None = None

    def _received(self, frame: Frame) -> None:  # hot: throughput
        word = FEED.decode(frame.kind, frame.head)
        if isinstance(word, ScribeLaneBegin):
            self._begin(word)
            return
        lane, log = self._lane, self._log
        if lane is None or log is None:
            raise ProtocolError("a lane must say first which one it is")
        if lane.log is not log:
            return  # another process has the lane by now
        if isinstance(word, ScribeLaneFrames):
            self._take(lane, log, word, frame.tail)
        elif isinstance(word, ScribeLaneSegments):
            log.use_segments(word.segments)
        elif isinstance(word, ScribeLaneEpoch):
            self._scribe.use_epoch(lane, word.epoch.number, LogPosition(*word.epoch.behind))
        elif isinstance(word, ScribeLaneForget):
            self._scribe.forget(lane)
            self._lane = None
        else:
            raise ProtocolError("a lane said what is for it to hear")

    def _take(self, lane: Lane, log: FollowedLog, word: ScribeLaneFrames, tail: bytes | memoryview) -> None:
        log.synced = max(log.synced, LogPosition(*word.last))
        if word.count is None:
            self._scribe.on_gap(lane)
        elif lane.is_behind:
            self._scribe.on_behind()
        else:
            heads = list(map(Head._make, told_frames(tail, word.count)))
            self._scribe.on_frames(lane, Batch(LogPosition(*word.first), LogPosition(*word.last), heads))

    def _begin(self, word: ScribeLaneBegin) -> None:
        if self._lane is not None:
            raise ProtocolError("a lane said twice which one it is")
        try:
            log = FollowedLog(Path(word.spool), LogPosition(*word.synced), self._tell)
        except FileError as error:
            raise ProtocolError(f"the spool of lane {word.lane} cannot be read: {error}") from error
        log.use_segments(word.segments)
        self._log = log
        epochs = [(LogPosition(*epoch.behind), epoch.number) for epoch in word.epochs]
        self._lane = self._scribe.attach(word.lane, log, epochs)

    def _tell(self, position: LogPosition) -> None:
        kind, head = FEED.encode(LaneEventsWritten(position))
        self.channel.send(kind, 0, head)

    def _ended(self, reason: str | None) -> None:
        self._gone(self)
        lane = self._lane
        if lane is None or self._log is None:
            return
        if reason is not None:
            LOG.warning("lane %s: %s", lane.name, reason)
        if lane.log is self._log:
            self._scribe.detach(lane)

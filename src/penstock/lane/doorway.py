"""Where other lanes come to this one: the lane's own socket. Who connects says what for, and is served by whoever does that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from penstock.ipc.channel import Channel, ListeningServer, listen
from penstock.ipc.frames import Frame, ProtocolError
from penstock.ipc.lane_words import LANE, LaneSessionOpen

LOG = logging.getLogger(__name__)


class LaneSession(Protocol):
    """What another lane's connection is for."""

    def received(self, frame: Frame) -> None:
        """A frame has come. ProtocolError ends the connection."""

    def leave(self) -> None:
        """This process is about to end: have the other side go as soon as it can."""

    def ended(self) -> None:
        """The connection is over; nothing more comes, and what is sent goes nowhere."""


#: Makes the session of a connection, given the name of the lane that has come.
MakeSession = Callable[[Channel, str], LaneSession]


class Doorway:
    """The socket at ``path``. ``sessions`` are made by purpose (``lane_words``)."""

    def __init__(self, path: Path, sessions: Mapping[str, MakeSession]) -> None:
        self._path = path
        self._sessions = dict(sessions)
        self._visits: set[Visit] = set()
        self._server: ListeningServer | None = None
        self._empty = asyncio.Event()

    async def open(self) -> None:
        """Listen. ChannelError if that cannot be."""
        self._server = await listen(self._path, self.visit)

    def visit(self) -> Channel:
        """The channel of a connection that is about to be made."""
        visit = Visit(self._sessions, self._gone)
        self._visits.add(visit)
        return visit.channel

    def _gone(self, visit: Visit) -> None:
        self._visits.discard(visit)
        if not self._visits:
            self._empty.set()

    async def close(self, grace: float) -> None:
        """Take no more; let those who are there go when they have their answers, within ``grace`` seconds."""
        if self._server is not None:
            self._server.close()
        if self._visits:
            self._empty.clear()
            for visit in tuple(self._visits):
                visit.leave()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._empty.wait()
        for visit in tuple(self._visits):
            visit.channel.close()


class Visit:
    """A connection, of which nothing is known until it has said so."""

    def __init__(self, sessions: Mapping[str, MakeSession], gone: Callable[[Visit], None]) -> None:
        self.channel = Channel(self._received, self._ended)
        self._sessions = sessions
        self._gone = gone
        self._session: LaneSession | None = None

    def _received(self, frame: Frame) -> None:  # hot: micro_handover
        if self._session is not None:
            self._session.received(frame)
            return
        word = LANE.decode(frame.kind, frame.head)
        if not isinstance(word, LaneSessionOpen) or word.purpose not in self._sessions:
            raise ProtocolError("a lane did not say what it had come for, or for what is not done here")
        self._session = self._sessions[word.purpose](self.channel, word.lane)

    def leave(self) -> None:
        """Have the other side go."""
        if self._session is not None:
            self._session.leave()
        else:
            self.channel.close()

    def _ended(self, reason: str | None) -> None:
        self._gone(self)
        if reason is not None:
            LOG.warning("the connection of another lane has ended: %s", reason)
        if self._session is not None:
            self._session.ended()

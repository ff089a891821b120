"""A hostile server on sockets. It listens on loopback only."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from types import TracebackType
from typing import Final, cast

from penstock.mail.configuration import Endpoint
from penstock.sim.clock import LoopClock, TimedClock, Timer
from penstock.sim.hostile.acts import Act, Drip, Endless, Move, Script
from penstock.sim.hostile.peer import HostilePeer, Manners
from penstock.sim.tls import SecureTransport, ServerTls

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
#: Octets that are written at once of what has no end.
_GULP: Final = 65_536
#: A receive buffer that is soon full.
_LITTLE: Final = 4096
_SESSIONS_LIMIT: Final = 100_000
_LOOPBACK: Final = Endpoint("127.0.0.1", 0)


class HostileServer:
    """Every session of it goes by ``script``, but those behind the first by ``again``, where that is given.

    ``tls`` is what it shakes hands with; a certificate of nobody's is made where it is None and a script wants one.
    """

    def __init__(
        self,
        script: Script,
        *,
        manners: Manners | None = None,
        again: Script | None = None,
        tls: ServerTls | None = None,
        clock: TimedClock | None = None,
    ) -> None:
        self.sessions: list[HostileSession] = []
        self.manners = manners or Manners()
        self.clock = clock or LoopClock()
        self._script = script
        self._again = script if again is None else again
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def start(self, listen: Endpoint = _LOOPBACK) -> Endpoint:
        """Listen; where that is."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, listen.address, listen.port, backlog=4096)
        address, port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(address, port)

    async def stop(self) -> None:
        """Stop listening, and end every session."""
        if self._server is not None:
            self._server.close()
        for session in self.sessions:
            session.end()
        await asyncio.sleep(0)

    async def __aenter__(self) -> HostileServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def tls(self) -> ServerTls:
        """What sessions shake hands with."""
        if self._tls is None:
            self._tls = ServerTls(self.manners.hostname)
        return self._tls

    def _session(self) -> HostileSession:
        script = self._again if self.sessions else self._script
        session = HostileSession(self, HostilePeer(script, self.manners))
        if len(self.sessions) < _SESSIONS_LIMIT:
            self.sessions.append(session)
        return session


class HostileSession(asyncio.Protocol):
    """One connection; ``peer`` knows what was heard on it. ``is_over``: it has ended. ``has_client_ended``: the client has, before we did.

    One that ``is_deaf`` does not notice the client's end.
    """

    def __init__(self, server: HostileServer, peer: HostilePeer) -> None:
        self.peer = peer
        self.is_over = False
        self.has_client_ended = False
        self.is_deaf = False
        #: of what has no end
        self.octets_said = 0
        self._is_mute = False
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._secure: SecureTransport | None = None
        self._timer: Timer | None = None
        self._endless: Endless | None = None
        self._is_full = False
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or whatever the script says."""
        self._transport = cast("asyncio.Transport", transport)
        self._carry_out(self.peer.greet())

    def data_received(self, data: bytes) -> None:
        """Answer, or whatever the script says."""
        if self._has_ended:
            return
        if self._secure is not None:
            try:
                data = self._secure.feed(data)
            except ssl.SSLError:
                self._secure.give_up()
                return
        self._carry_out(self.peer.hear(data))

    def eof_received(self) -> bool:
        """The client will say no more."""
        self.has_client_ended = not self._has_ended
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.has_client_ended = self.has_client_ended or not self._has_ended
        self.is_over = True
        self._endless = None
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._is_full = False
        self._pour()

    def end(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _carry_out(self, acts: list[Act]) -> None:
        """Do it: octets that stand in a row leave in one segment."""
        gathered = b""
        for act in acts:
            if isinstance(act, bytes):
                gathered += act
                continue
            self._say(gathered)
            gathered = b""
            if isinstance(act, Move):
                self._move(act)
            elif isinstance(act, Drip):
                self._drip(act, 0)
            else:
                self._endless = act
                self._pour()
        self._say(gathered)

    def _say(self, octets: bytes) -> None:
        transport = None if self._is_mute else self._secure or self._transport
        if octets and transport is not None and not transport.is_closing():
            transport.write(octets)

    def _move(self, move: Move) -> None:
        transport = self._secure or self._transport
        if transport is None or transport.is_closing():
            return
        if move is Move.SECURE:
            self._begin_tls(transport)
        elif move is Move.DEAF:
            self._socket(transport).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
            transport.pause_reading()
            self.is_deaf = True
        elif move is Move.END_OUTPUT:
            if self._transport is not None and not self._is_mute:
                self._is_mute = True
                self._transport.write_eof()
        else:
            self._has_ended = True
            if move is Move.RESET:
                self._socket(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                transport.abort()
            else:
                transport.close()

    def _begin_tls(self, transport: asyncio.Transport) -> None:
        self._secure = SecureTransport(transport, self._server.tls)
        self.peer.secured()

    @staticmethod
    def _socket(transport: asyncio.Transport) -> socket.socket:
        return cast("socket.socket", transport.get_extra_info("socket"))

    def _pour(self) -> None:
        """Go on with what has no end, as long as the client takes it."""
        endless = self._endless
        if endless is None:
            return
        gulp = endless.octets * max(1, _GULP // len(endless.octets))
        while not self._is_full and not self.is_over and self.octets_said < endless.limit:
            self._say(gulp)
            self.octets_said += len(gulp)
            if self._transport is None or self._transport.is_closing():
                return

    def _drip(self, drip: Drip, place: int) -> None:
        self._say(drip.octets[place : place + 1])
        self._timer = self._server.clock.call_later(
            drip.interval, lambda: self._drip(drip, (place + 1) % len(drip.octets))
        )

"""One connection of a path: octets to and from its session, its deadlines, and the messages that it pulls.

A deadline belongs to what the session waits for. It is a time that is noted, and one timer that looks whether that time has come, so that
moving it costs nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from penstock.lane.delivery import Delivery
from penstock.mail.configuration import PathConfig
from penstock.mail.ids import SessionId
from penstock.mail.records import Peer
from penstock.queueing.queues import Path
from penstock.routing.targets import Target
from penstock.smtp.client import (
    Broken,
    ClientEvent,
    ClientSession,
    Finished,
    Introduced,
    SessionRefused,
    Stage,
)

#: Messages that need no word with the peer, one after the other, before others have their turn.
_PULLS_AT_ONCE: Final = 50
#: Octets that a peer must take within a deadline, for the rest of the mail data to have another: 100 a second with the usual 300 s.
_LEAST_SENT: Final = 30_000


def timeouts(config: PathConfig) -> dict[Stage, float]:
    """Seconds that each stage may take."""
    return {
        Stage.BANNER: config.banner_timeout,
        Stage.EHLO: config.ehlo_timeout,
        Stage.HELO: config.ehlo_timeout,
        Stage.IDLE: config.idle_timeout,
        Stage.RSET: config.rset_timeout,
        Stage.MAIL: config.mail_from_timeout,
        Stage.RCPT: config.rcpt_to_timeout,
        Stage.DATA: config.data_timeout,
        Stage.DOT: config.data_dot_timeout,
        Stage.QUIT: config.rset_timeout,
        Stage.CLOSED: config.rset_timeout,
    }


class Owner(Protocol):
    """What a connection asks of its lane."""

    def pull(self, connection: LaneConnection) -> Delivery | None:
        """A message for it; None if there is none, and it is idle from now on."""

    def closing_began(self, connection: LaneConnection) -> None:
        """It was idle, and is being closed."""

    def ended(self, connection: LaneConnection) -> None:
        """Its socket is closed."""

    def work_done(self) -> None:
        """The scheduler may have things to be done."""


class LaneConnection(asyncio.Protocol):
    """The protocol of one socket to ``target``. ``introduced`` is done when mail may be sent; its result is None, or why it may not."""

    def __init__(
        self, owner: Owner, path: Path, target: Target, ehlo_name: str, session_id: SessionId
    ) -> None:
        self.path = path
        self.introduced: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.is_idle = False
        self.is_closing = False
        self.is_introduced = False
        #: why the session is over, once it is
        self.reason = ""
        #: the configuration that it was made by
        self.config = path.config
        self.session = ClientSession(ehlo_name)
        self._owner = owner
        self._target = target
        self._session_id = session_id
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts(path.config)
        self._transport: asyncio.Transport | None = None
        self._delivery: Delivery | None = None
        self._deadline = 0.0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._peer = Peer(target.host, target.address, target.port, "", session_id)

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the banner."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        source = transport.get_extra_info("sockname") or ("", 0)
        target = self._target
        self._peer = Peer(target.host, target.address, target.port, source[0], self._session_id)
        self._set_deadline()

    def data_received(self, data: bytes) -> None:  # hot: throughput
        """Hand replies to the session and act on what they mean."""
        session = self.session
        before = session.replies
        self._handle(session.receive(data))
        # octets alone win no time, only whole replies do: a peer that drips is a peer that does not answer
        self._flush(is_progress=session.replies != before)
        self._owner.work_done()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; so is a message that was under way."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._delivery is not None and self.session.is_stale:
            delivery, self._delivery = self._delivery, None
            delivery.withdraw()
            self.session.lost("the connection had ended before")
        else:
            self._handle(self.session.lost(str(exc) if exc else "the peer closed the connection"))
        self._leave_idle()
        if not self.introduced.done():
            self.introduced.set_result("the connection ended before the session began")
        self._owner.ended(self)
        self._owner.work_done()

    # -- mail

    def pull(self) -> None:  # hot: throughput
        """Take the next message, if there is one, and send it; otherwise be idle."""
        self._pull()
        self._flush()

    def _pull(self) -> None:  # hot: throughput
        for _ in range(_PULLS_AT_ONCE):
            if self._delivery is not None or self.session.is_closed:
                return
            delivery = self._owner.pull(self)
            if delivery is None:
                return
            self._delivery = delivery
            self._send_next()
        if self._delivery is None:
            # message after message that this peer cannot be given at all: the others have their turn
            self._loop.call_soon(self._pull_on)

    def _pull_on(self) -> None:
        if self._transport is not None:
            self.pull()
            self._owner.work_done()

    def _send_next(self) -> None:  # hot: throughput
        """Send what is left of the message; what the session finishes without the peer is recorded at once."""
        delivery = self._delivery
        while delivery is not None:
            transmission = delivery.next_transmission() if not self.session.is_closed else None
            if transmission is None:
                self._delivery = None
                delivery.end()
                return
            finished = self.session.send(transmission)
            if finished is None:
                return
            delivery.record(finished, self._peer)

    def _handle(self, events: list[ClientEvent]) -> None:  # hot: throughput
        for event in events:
            if isinstance(event, Finished):
                delivery = self._delivery
                if delivery is not None:
                    delivery.record(event, self._peer)
                    self._send_next()
                    self._pull()
            elif isinstance(event, Introduced):
                self.is_introduced = True
                if not self.introduced.done():
                    self.introduced.set_result(None)
            elif isinstance(event, SessionRefused):
                self._refuse(f"refused after {event.stage.value}: {event.reply}")
            elif isinstance(event, Broken):
                self.reason = event.reason
                self._refuse(event.reason)

    def _refuse(self, reason: str) -> None:
        if not self.introduced.done():
            self.introduced.set_result(reason)

    # -- octets and time

    def _flush(self, *, is_progress: bool = True) -> None:  # hot: throughput
        transport = self._transport
        if transport is None:
            return
        output = self.session.take_output()
        if output:
            transport.write(output)
            self._unsent = transport.get_write_buffer_size()
        if self.session.is_closed:
            self._leave_idle()
            transport.close()
        if is_progress or output:
            self._set_deadline()

    def _set_deadline(self) -> None:  # hot: throughput
        deadline = self._loop.time() + self._timeouts[self.session.stage]
        self._deadline = deadline
        if self._timer is None:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)
        elif deadline < self._timer_at:
            self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        transport = self._transport
        if transport is None:
            return
        if self._loop.time() < self._deadline:
            self._timer_at = self._deadline
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif self.session.stage is Stage.IDLE and self.is_introduced:
            self.leave()
        elif self._is_sending(transport):
            self._set_deadline()
        else:
            self._handle(self.session.lost("the deadline passed"))
            self._owner.work_done()
            transport.abort()

    def _is_sending(self, transport: asyncio.Transport) -> bool:
        """Whether mail data is still leaving at an acceptable pace: its reply is due only when it has left."""
        unsent = transport.get_write_buffer_size()
        is_moving = self.session.stage is Stage.DOT and 0 < unsent <= self._unsent - _LEAST_SENT
        self._unsent = unsent
        return is_moving

    def leave(self) -> None:
        """Say QUIT, if nothing is under way."""
        if self.session.stage is Stage.IDLE:
            self._leave_idle()
            self.session.quit()
            self._flush()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def _leave_idle(self) -> None:
        if self.is_idle:
            self.is_idle = False
            self.is_closing = True
            self._owner.closing_began(self)

"""One connection of a path: octets to and from its session, through TLS once that is there, its deadlines, and the messages that it pulls.

A deadline belongs to what the session waits for. It is a time that is noted, and one timer that looks whether that time has come, so that
moving it costs nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

import msgspec

from penstock.lane.delivery import Delivery
from penstock.lane.encryption import Encryption
from penstock.lane.fetching import Fetching
from penstock.lane.turns import Turns
from penstock.mail.configuration import PathConfig
from penstock.mail.ids import SessionId
from penstock.mail.records import Peer
from penstock.net.tls import ClientContexts, TlsError
from penstock.queueing.queues import Path
from penstock.routing.targets import Target
from penstock.smtp.client import (
    ClientEvent,
    ClientSession,
    Finished,
    Introduced,
    NotBegun,
    SessionOptions,
    SessionRefused,
    Stage,
    TlsGranted,
)

#: Messages that need no word with the peer, one after the other, before others have their turn.
_PULLS_AT_ONCE: Final = 50
#: Octets that a peer must take within a deadline, for the rest of the mail data to have another: 100 a second with the usual 300 s.
_LEAST_SENT: Final = 30_000
#: Characters of a peer's reply that are kept as a reason.
_REASON_LIMIT: Final = 500


def timeouts(config: PathConfig) -> dict[Stage, float]:
    """Seconds that each stage may take."""
    return {
        Stage.BANNER: config.banner_timeout,
        Stage.EHLO: config.ehlo_timeout,
        Stage.HELO: config.ehlo_timeout,
        Stage.LHLO: config.ehlo_timeout,
        Stage.STARTTLS: config.starttls_timeout,
        Stage.TLS: config.starttls_timeout,
        Stage.AUTH: config.auth_timeout,
        Stage.IDLE: config.idle_timeout,
        Stage.RSET: config.rset_timeout,
        Stage.MAIL: config.mail_from_timeout,
        Stage.RCPT: config.rcpt_to_timeout,
        Stage.DATA: config.data_timeout,
        Stage.DOT: config.data_dot_timeout,
        Stage.QUIT: config.rset_timeout,
        Stage.CLOSED: config.rset_timeout,
    }


class Refusal(msgspec.Struct, frozen=True):
    """Why a connection came to no session. ``is_about_tls``: STARTTLS was offered and did not come about; in clear there may be one."""

    reason: str
    is_about_tls: bool = False


class Owner(Protocol):
    """What a connection asks of its lane. ``turns``: when it may work."""

    turns: Turns

    def pull(self, connection: LaneConnection) -> Delivery | Fetching | None:
        """A message for it, or one that is still to be fetched; None if there is none, and it is idle from now on."""

    def closing_began(self, connection: LaneConnection) -> None:
        """It was idle, and is being closed."""

    def ended(self, connection: LaneConnection) -> None:
        """Its socket is closed."""

    def work_done(self) -> None:
        """The scheduler may have things to be done."""


class LaneConnection(asyncio.Protocol):
    """The protocol of one socket to ``target``. ``introduced`` is done when mail may be sent; its result is None, or why it may not."""

    def __init__(
        self,
        owner: Owner,
        path: Path,
        target: Target,
        options: SessionOptions,
        session_id: SessionId,
        contexts: ClientContexts,
    ) -> None:
        self.path = path
        self.introduced: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self.is_idle = False
        self.is_closing = False
        self.is_introduced = False
        #: why the session is over, once it is
        self.reason = ""
        #: the configuration that it was made by
        self.config = path.config
        self.session = ClientSession(options)
        self._owner = owner
        self._target = target
        self._contexts = contexts
        self._is_verified = options.enable_tls.is_verified
        self._encryption: Encryption | None = None
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts(path.config)
        self._transport: asyncio.Transport | None = None
        self._delivery: Delivery | None = None
        #: the message that it waits for, idle towards the peer alone
        self._fetching: Fetching | None = None
        self._deadline = 0.0
        self._unsent = 0
        #: what came and waits for the lane's turn
        self._received: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._peer = Peer(target.host, target.address, target.port, "", session_id)

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the banner."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        source = transport.get_extra_info("sockname") or ("", 0)
        self._peer = msgspec.structs.replace(self._peer, source_address=source[0])
        self._set_deadline()

    def data_received(self, data: bytes) -> None:  # hot: throughput
        """Hand replies to the session and act on what they mean, now or when it is this lane's turn."""
        turns = self._owner.turns
        if self._received:
            # more than one read's worth is for the kernel to keep
            if self._transport is not None and len(self._received) == 1:
                self._transport.pause_reading()
            self._received.append(data)
        elif turns.has_time():
            self._receive(data)
        else:
            self._received.append(data)
            turns.wait(self._receive_late)

    def _receive_late(self) -> None:
        received, self._received = self._received, []
        if not received:
            return
        transport = self._transport
        # one that we have aborted meanwhile reads nothing more; what came before counts all the same
        if len(received) > 1 and transport is not None and not transport.is_closing():
            transport.resume_reading()
        self._receive(b"".join(received))

    def _receive(self, data: bytes) -> None:  # hot: throughput
        session, encryption = self.session, self._encryption
        before = session.replies
        if encryption is None:
            self._handle(session.receive(data))
        else:
            self._decipher(encryption, data)
        # octets alone win no time, only whole replies do: a peer that drips is a peer that does not answer
        self._flush(is_progress=session.replies != before)
        self._owner.work_done()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over; so is a message that was under way. What the peer has said before it counts."""
        self._transport = None
        self._receive_late()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._handle(self.session.lost(str(exc) if exc else "the peer closed the connection"))
        self._stop_fetching()
        if self._encryption is not None:
            self._encryption.end()
        self._leave_idle()
        self._refuse(Refusal("the connection ended before the session began"))
        self._owner.ended(self)
        self._owner.work_done()

    # -- encryption

    def _begin_tls(self) -> None:
        try:
            self._encryption = Encryption(self._contexts, self._target, is_verified=self._is_verified)
        except TlsError as error:
            self._tls_failed(error)

    def _decipher(self, encryption: Encryption, data: bytes) -> None:
        """Hand on what octets from the network hold."""
        channel, session = encryption.channel, self.session
        was_ready = channel.is_ready
        try:
            plain = channel.feed(data)
        except TlsError as error:
            self._tls_failed(error)
            return
        if channel.is_ready and not was_ready:
            facts = channel.facts()
            self._peer = msgspec.structs.replace(self._peer, tls=facts)
            self._handle(session.secured(facts))
        if plain:
            self._handle(session.receive(plain))
        if channel.has_ended:
            self._handle(session.lost("the peer closed the connection"))

    def _tls_failed(self, error: TlsError) -> None:
        self._refuse(Refusal(str(error), is_about_tls=self.session.stage is Stage.TLS))
        self._handle(self.session.lost(str(error)))

    # -- mail

    def pull(self) -> None:  # hot: throughput
        """Take the next message, if there is one, and send it; otherwise be idle."""
        self._pull()
        self._flush()

    def _pull(self) -> None:  # hot: throughput
        for _ in range(_PULLS_AT_ONCE):
            if self._delivery is not None or self._fetching is not None or not self.session.is_idle:
                return
            if self._transport is None or self._transport.is_closing():
                return
            pulled = self._owner.pull(self)
            if isinstance(pulled, Fetching):
                self._fetching = pulled
                return
            if pulled is None:
                return
            self._delivery = pulled
            self._send_next()
        if self._delivery is None and self._fetching is None:
            # message after message that this peer cannot be given at all: the others have their turn
            self._loop.call_soon(self._pull_on)

    def _pull_on(self) -> None:
        if self._transport is not None:
            self.pull()
            self._owner.work_done()

    def fetched(self, delivery: Delivery | None) -> None:
        """The message that it waits for is here; None if there is nothing to deliver."""
        self._fetching = None
        if delivery is not None:
            self._delivery = delivery
            self._send_next()
        self._pull()
        self._flush()
        self._owner.work_done()

    def _stop_fetching(self) -> None:
        if self._fetching is not None:
            self._fetching.give_back()
            self._fetching = None

    def _send_next(self) -> None:  # hot: throughput
        """Send what is left of the message; what the session finishes without the peer is recorded at once."""
        delivery = self._delivery
        while delivery is not None:
            transmission = delivery.next_transmission() if self.session.is_idle else None
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
            elif isinstance(event, NotBegun):
                delivery, self._delivery = self._delivery, None
                if delivery is not None:
                    delivery.withdraw()
            elif isinstance(event, Introduced):
                self.is_introduced = True
                self._peer = msgspec.structs.replace(self._peer, protocol=self.session.protocol)
                if not self.introduced.done():
                    self.introduced.set_result(None)
            elif isinstance(event, TlsGranted):
                self._begin_tls()
            elif isinstance(event, SessionRefused):
                # 421 says that the host is closing, whatever it was asked for
                is_about_tls = event.stage is Stage.STARTTLS and event.reply.code != 421
                answer = str(event.reply)[:_REASON_LIMIT]
                self._refuse(Refusal(f"refused after {event.stage.value}: {answer}", is_about_tls))
            else:
                is_about_tls = event.stage in (Stage.STARTTLS, Stage.TLS)
                self._refuse(Refusal(f"{event.reason} while waiting for {event.stage.value}", is_about_tls))

    def _refuse(self, refusal: Refusal) -> None:
        self.reason = self.reason or refusal.reason
        if not self.introduced.done():
            self.introduced.set_result(refusal)

    # -- octets and time

    def _flush(self, *, is_progress: bool = True) -> None:  # hot: throughput
        transport = self._transport
        if transport is None:
            return
        output = self.session.take_output()
        octets = output if self._encryption is None else self._encipher(self._encryption, output)
        if octets:
            transport.write(octets)
            self._unsent = transport.get_write_buffer_size()
        if self.session.is_closed:
            self._leave_idle()
            transport.close()
        # what only the handshake says wins no time
        if is_progress or output:
            self._set_deadline()

    def _encipher(self, encryption: Encryption, output: bytes) -> bytes:
        """What is to be written to the network for the session's output, or without one."""
        channel = encryption.channel
        if output:
            try:
                channel.write(output)
            except TlsError as error:
                self._tls_failed(error)
        if self.session.is_closed:
            channel.close()
        return channel.take_output()

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
        elif self._fetching is not None or self._is_sending(transport):
            self._set_deadline()
        elif self.session.stage is Stage.IDLE and self.is_introduced:
            self.leave()
        else:
            self._handle(self.session.late())
            self._owner.work_done()
            transport.abort()

    def _is_sending(self, transport: asyncio.Transport) -> bool:
        """Whether mail data is still leaving at an acceptable pace: its reply is due only when it has left."""
        unsent = transport.get_write_buffer_size()
        is_moving = self.session.stage is Stage.DOT and 0 < unsent <= self._unsent - _LEAST_SENT
        self._unsent = unsent
        return is_moving

    def leave(self) -> None:
        """Say QUIT, if nothing is under way with the peer; a message that is still to come is another's."""
        if self.session.stage is Stage.IDLE:
            self._stop_fetching()
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

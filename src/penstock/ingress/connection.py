"""One client's connection: octets to and from its session, through TLS where there is any.

Input is handled in slices, so that a client with a million commands in one segment takes turns with the others; a client that does not
read its replies is not read from either. Nothing is read while an event waits for its answer, but what came with it is kept, within one read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

from penstock.ingress import admission
from penstock.ingress.client import Client
from penstock.ingress.deadlines import Deadlines
from penstock.ingress.desk import Desk
from penstock.ingress.dialogue import Dialogue
from penstock.ingress.doors import Visit
from penstock.ingress.passage import Impassable, Passage
from penstock.ingress.terms import Terms
from penstock.mail.configuration import Endpoint, TlsMode
from penstock.mail.ids import SessionId
from penstock.mail.reply import reply
from penstock.mail.tls import TlsFacts
from penstock.net.tls import TlsError
from penstock.smtp.server import ServerSession

LOG = logging.getLogger(__name__)

#: Events handled before others have their turn.
_SLICE: Final = 50
SHUTTING_DOWN: Final = reply(421, "4.3.2", "shutting down; try again later")


class Rules(Protocol):
    """What a listener says about those who connect."""

    def terms(self, local: str, peer: str, *, host: str) -> Terms:
        """The terms of a client at ``peer`` that connected to ``local``, by a connection from ``host``."""

    def expects_proxy(self, host: str) -> bool | None:
        """Whether a connection from ``host`` begins with a PROXY header; None: it is not welcome, for it may send none."""


class Connection(asyncio.BufferedProtocol):
    """The protocol of one accepted socket. ``on_end`` is called when it is over.

    ``buffer`` is what sockets are read into, one for all connections of a listener: what was read is taken out before the next is read.
    """

    __slots__ = (
        "_buffer",
        "_client",
        "_counted",
        "_deadlines",
        "_desk",
        "_dialogue",
        "_has_ended_input",
        "_host",
        "_is_blocked",
        "_is_leaving",
        "_is_paused",
        "_is_scheduled",
        "_is_working",
        "_loop",
        "_name",
        "_on_end",
        "_passage",
        "_rules",
        "_session",
        "_timed_by",
        "_timer",
        "_timer_at",
        "_transport",
        "_visit",
    )

    def __init__(
        self, desk: Desk, rules: Rules, buffer: memoryview, on_end: Callable[[Connection], None]
    ) -> None:
        self._desk = desk
        self._rules = rules
        self._buffer = buffer
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._passage = Passage()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadlines = Deadlines(self._loop.time())
        self._counted = 0
        self._visit = Visit(desk.doors)
        self._is_blocked = False
        self._is_scheduled = False
        self._is_working = False
        self._is_paused = False
        self._is_leaving = False
        self._has_ended_input = False

    # -- the beginning

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what has to come first, or greet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        # neither is known of a connection that was reset before we looked
        gone = ("0.0.0.0", 0)
        peer = transport.get_extra_info("peername") or gone
        name = transport.get_extra_info("sockname") or gone
        self._host = peer[0]
        self._name = (name[0], name[1])
        self._meet((peer[0], peer[1]), self._name)
        self._timed_by = self._client.terms
        expects_proxy = self._rules.expects_proxy(self._host)
        if expects_proxy is None:
            self._refuse_header("it is not in allow_proxy, and this listener is for proxies only")
            self._transport.abort()
        elif peer is gone:
            self._transport.abort()
        elif expects_proxy:
            self._passage.expect_header()
        else:
            self._admit()
        self._on_timer()

    def _meet(self, peer: tuple[str, int], local: tuple[str, int]) -> None:
        """Make the session for a client at these addresses."""
        desk, host = self._desk, self._host
        terms = self._rules.terms(local[0], peer[0], host=host)
        session_id = SessionId(desk.ids.next(desk.clock.wall()))
        self._client = Client(peer, local, Endpoint(*self._name), session_id, terms)
        self._session = ServerSession(terms.limits, is_secure=terms.config.tls is TlsMode.IMPLICIT)
        self._dialogue = Dialogue(
            desk,
            self._client,
            self._session,
            self._visit,
            lambda local, peer: self._rules.terms(local, peer, host=host),
            self._resume,
            self._hang_up,
        )

    def _admit(self) -> None:
        """Turn away a client that has too much already; else begin."""
        client = self._client
        is_implicit = client.terms.config.tls is TlsMode.IMPLICIT
        negative = admission.refusal(self._desk, client)
        if negative is not None:
            # where TLS has to come first there is nobody to be told
            self._send(b"" if is_implicit else negative.to_bytes())
            self._close()
            return
        self._visit.enter(client.peer_address)
        if not is_implicit:
            self._begin()
            return
        try:
            self._passage.begin_tls(self._desk.contexts.context_for(client.terms.config))
        except TlsError:
            self._desk.handshakes_failed += 1
            self.abort()

    def _begin(self) -> None:
        self._dialogue.begin()
        self._flush()
        if self._session.has_more:
            self._schedule()

    # -- the transport's calls

    def get_buffer(self, sizehint: int) -> memoryview:  # hot: throughput
        """Where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:  # hot: throughput
        """Hand octets to the session and act on what they mean."""
        self._deadlines.received_at = self._loop.time()
        octets = bytes(self._buffer[:nbytes])
        if not self._passage.is_plain:
            octets = self._pass_in(octets)
            if not octets:
                return
        session = self._session
        session.feed(octets)
        if self._is_blocked or self._is_scheduled or not session.takes_input:
            # what came is kept, and no more is read until it has been handled
            self._pause()
        else:
            self._work()
        if self._counted or session.holds_octets:
            self._count()

    def _pass_in(self, octets: bytes) -> bytes:
        """The session's octets in those that came with a PROXY header, or through TLS."""
        passage = self._passage
        try:
            if passage.is_headed:
                octets = self._read_header(octets)
            if passage.has_tls:
                octets = passage.inward(octets)
        except Impassable as end:
            if end.is_handshake:
                self._desk.handshakes_failed += 1
                LOG.info("no TLS session with %s: %s", self._host, end)
            elif not passage.has_tls:
                self._refuse_header(str(end))
            self._send(passage.left_over())
            self._close()
            return b""
        self._send(passage.left_over())
        facts = passage.just_secured()
        if facts is not None:
            self._secured(facts)
        if passage.has_ended:
            self._has_ended_input = True
            self._loop.call_soon(self._close_if_done)
        return octets

    def _refuse_header(self, why: str) -> None:
        self._desk.headers_failed += 1
        LOG.info("connection from %s closed: %s", self._host, why)

    def _read_header(self, octets: bytes) -> bytes:
        """Take octets of a PROXY header; what came behind it."""
        found = self._passage.read_header(octets)
        if found is None:
            return b""
        header, rest = found
        if not header.is_local:
            self._meet(
                (header.source_address, header.source_port),
                (header.destination_address, header.destination_port),
            )
            self._client.proxy_address = self._host
        if self._client.terms.config.tls is not TlsMode.IMPLICIT:
            self._session.feed(rest)  # before the greeting: it is told so
            rest = b""
        self._admit()
        return rest

    def _secured(self, facts: TlsFacts) -> None:
        """The handshake is done."""
        self._desk.handshakes += 1
        self._deadlines.active_at = self._loop.time()
        if self._client.terms.config.tls is TlsMode.IMPLICIT:
            self._client.tls = facts
            self._begin()
        else:
            self._dialogue.secured(facts)

    def eof_received(self) -> bool:
        """The client will send no more; what it has sent is still answered."""
        self._has_ended_input = True
        self._close_if_done()
        return True

    def pause_writing(self) -> None:
        """The client does not read its replies: nothing more is read from it."""
        self._is_blocked = True
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_blocked = False
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, however it came."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._dialogue.end()
        self._visit.leave()
        self._desk.budget.used -= self._counted
        self._counted = 0
        self._on_end(self)

    # -- work

    def _work(self) -> None:  # hot: throughput
        """Handle what the session has, a slice at a time."""
        self._is_scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        session, dialogue = self._session, self._dialogue
        self._is_working = True
        for _ in range(_SLICE):
            event = session.next_event()
            if event is None:
                break
            dialogue.answer(event)
            if self._is_blocked or not session.has_more:
                break
        self._is_working = False
        self._flush()
        if self._counted:
            self._count()
        if self._is_blocked or session.is_waiting:
            return
        if session.has_more and session.has_work:
            self._schedule()
        elif self._is_paused and session.is_greeted:
            self._is_paused = False
            transport.resume_reading()

    def _resume(self) -> None:
        """An event was answered later than at once."""
        if not self._is_working:
            self._deadlines.active_at = self._loop.time()
            self._flush()
            self._schedule()

    def _hang_up(self) -> None:
        """An event can have no answer: what was said before it is written, and nothing more, and nothing more is read."""
        self._flush()
        self._close()

    def _flush(self) -> None:  # hot: throughput
        """Write what the session says, and note what it refused."""
        session = self._session
        if self._is_leaving and not session.is_waiting and not session.is_receiving_data:
            session.close(SHUTTING_DOWN)
        if session.refusals:
            self._note_refusals()
        self._deadlines.follow(session)
        if self._client.terms is not self._timed_by or session.is_waiting:
            self._hurry()
        transport = self._transport
        output = session.take_output()
        if transport is None:
            return
        if output:
            if self._passage.has_tls:
                output = self._pass_out(output)
            transport.write(output)
        if session.is_turning:
            self._turn(session)
        elif self._has_ended_input:
            self._close_if_done()

    def _turn(self, session: ServerSession) -> None:
        if session.is_closed:
            self._close()
        elif session.is_starting_tls and self._dialogue.context is not None and not self._passage.has_tls:
            self._passage.begin_tls(self._dialogue.context)

    def _pass_out(self, output: bytes) -> bytes:
        try:
            return self._passage.outward(output)
        except Impassable:
            self.abort()
            return b""

    def _send(self, octets: bytes) -> None:
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def _note_refusals(self) -> None:
        """Write them down, and send the client away if it was refused too often."""
        refused = self._dialogue.note_refusals()
        farewell = admission.dismissal(self._desk.clients, self._client, refused)
        if farewell is not None and not self._session.is_waiting:
            self._session.close(farewell)

    def _count(self) -> None:  # hot: throughput
        """Report the memory that the session holds, and let go of mail data if there is too much of it: everywhere, or of its sender."""
        session, budget = self._session, self._desk.budget
        held = session.buffered
        budget.used += held - self._counted
        self._counted = held
        self._visit.hold(held)
        if (
            held
            and session.is_receiving_data
            and (budget.is_exceeded() or admission.is_over(self._desk, self._client, self._visit, held))
        ):
            session.drop_data()
            self._counted = session.buffered
            budget.used += self._counted - held
            self._visit.hold(self._counted)

    def _close_if_done(self) -> None:
        session = self._session
        if not session.is_waiting and not session.has_work:
            self._close()

    def _close(self) -> None:
        """Close once what was written has gone."""
        transport = self._transport
        if transport is not None:
            self._send(self._passage.closed())
            transport.close()

    def _pause(self) -> None:
        transport = self._transport
        if transport is not None and not self._is_paused and not transport.is_closing():
            self._is_paused = True
            transport.pause_reading()

    def _schedule(self) -> None:
        """Go on with the work when the others have had their turn."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._work)

    # -- deadlines

    def _hurry(self) -> None:
        """The deadline may have become an earlier one."""
        deadline, _ = self._deadlines.due(self._session, self._client.terms.config)
        if self._timer is not None and deadline < self._timer_at:
            self._timer.cancel()
            self._on_timer()

    def _on_timer(self) -> None:
        """Look whether the deadline has really passed."""
        transport, session, deadlines = self._transport, self._session, self._deadlines
        if transport is None:
            return
        now = self._loop.time()
        deadline, farewell = deadlines.due(session, self._client.terms.config)
        self._timed_by = self._client.terms
        if now < deadline:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)
        elif transport.is_closing() or self._is_blocked or session.is_waiting or not self._passage.is_open:
            # a message that may yet be stored is not refused: no reply is better than a false one
            transport.abort()
        else:
            session.close(farewell)
            self._flush()
            deadlines.restart(now)
            self._timer_at = now + self._client.terms.config.client_timeout
            self._timer = self._loop.call_at(self._timer_at, self._on_timer)

    # -- the end

    def leave(self) -> None:
        """Say goodbye as soon as no transaction is receiving or storing mail data."""
        self._is_leaving = True
        if self._transport is None:
            return  # it is told as soon as it is there, or is gone already
        if self._passage.is_open:
            self._flush()
        else:
            self.abort()

    def dismiss(self) -> None:
        """Say goodbye now, unless a message is being stored: mail data that is still coming in is not kept."""
        if self._transport is None:
            return
        if not self._session.is_waiting and self._passage.is_open:
            self._session.close(SHUTTING_DOWN)
            self._flush()

    def abort(self) -> None:
        """End at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

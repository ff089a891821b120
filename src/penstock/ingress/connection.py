"""One client's connection: octets to and from its session, decisions asked for, deadlines kept.

Input is handled in slices, so that a client with a million commands in one segment takes turns with the others; a client that does not
read its replies is not read from either. Nothing is read while a message is being stored, but what came with it is kept, within one read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from penstock.ingress.acceptance import RELAYING_DENIED, accepted, assign, messages
from penstock.ingress.budget import OVER_LIMIT, Budget
from penstock.mail.configuration import QueuesConfig, SmtpListenerConfig
from penstock.mail.ids import IdSource, SessionId
from penstock.mail.ports import Clock, Spool, SpoolError
from penstock.mail.records import MessageRecord, Reception, RejectionRecord
from penstock.mail.reply import Reply, reply
from penstock.smtp.server import (
    DataAsked,
    Hello,
    MailGiven,
    MessageGiven,
    RecipientGiven,
    ServerEvent,
    ServerLimits,
    ServerSession,
)

#: Events handled before others have their turn.
_SLICE: Final = 50
_TIMED_OUT: Final = reply(421, "4.4.2", "nothing came for too long; closing connection")
SHUTTING_DOWN: Final = reply(421, "4.3.2", "shutting down; try again later")
_NOT_STORED: Final = reply(451, "4.3.0", "the message could not be stored; try again later")


class Deliverer(Protocol):
    """Who takes over messages once they are stored: the lane."""

    def submit(self, stored: Sequence[tuple[int, MessageRecord]]) -> None:
        """Deliver these messages, given with their positions in the spool."""


class Desk:
    """What the connections of a process share: the spool, the lane, ids, time, memory, the configuration of queues.

    ``connection_limit`` bounds the connections of all listeners together, by the descriptors that the process has.
    """

    __slots__ = ("budget", "clock", "connection_limit", "connections", "ids", "lane", "queues", "spool")

    def __init__(
        self,
        spool: Spool,
        lane: Deliverer,
        ids: IdSource,
        clock: Clock,
        budget: Budget,
        queues: QueuesConfig,
        connection_limit: int,
    ) -> None:
        self.spool = spool
        self.lane = lane
        self.ids = ids
        self.clock = clock
        self.budget = budget
        self.queues = queues
        self.connections = 0
        self.connection_limit = connection_limit


class Connection(asyncio.BufferedProtocol):
    """The protocol of one accepted socket. ``on_end`` is called when it is over.

    ``buffer`` is what sockets are read into, one for all connections of a listener: what was read is taken out before the next is read.
    """

    __slots__ = (
        "_active_at",
        "_buffer",
        "_config",
        "_counted",
        "_desk",
        "_has_ended_input",
        "_is_blocked",
        "_is_leaving",
        "_is_paused",
        "_is_scheduled",
        "_is_working",
        "_limits",
        "_loop",
        "_may_relay",
        "_on_end",
        "_peer",
        "_reception",
        "_session",
        "_session_id",
        "_timer",
        "_transport",
        "local",
    )

    def __init__(
        self,
        desk: Desk,
        config: SmtpListenerConfig,
        limits: ServerLimits,
        may_relay: Callable[[str], bool],
        buffer: memoryview,
        on_end: Callable[[Connection], None],
    ) -> None:
        self._desk = desk
        self._config = config
        self._limits = limits
        self._may_relay = may_relay
        self._buffer = buffer
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._session = ServerSession(limits)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._active_at = self._loop.time()
        self._peer = ("", 0)
        self.local = ""
        self._reception: Reception | None = None
        self._session_id = SessionId(desk.ids.next(desk.clock.wall()))
        self._counted = 0
        self._is_blocked = False
        self._is_scheduled = False
        self._is_working = False
        self._is_paused = False
        self._is_leaving = False
        self._has_ended_input = False

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are of no common class
        peer = transport.get_extra_info("peername") or ("", 0)
        self._peer = (peer[0], peer[1])
        name = transport.get_extra_info("sockname") or ("", 0)
        self.local = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        self._session.greet()
        self._arm(self._config.client_timeout)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # hot: throughput
        """Where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:  # hot: throughput
        """Hand octets to the session and act on what they mean."""
        self._active_at = self._loop.time()
        session = self._session
        session.feed(bytes(self._buffer[:nbytes]))
        if session.is_waiting or self._is_blocked or self._is_scheduled:
            # what came is kept, and no more is read until it has been handled
            self._pause()
        else:
            self._work()
        if self._counted or session.has_input or session.is_receiving_data:
            self._count()

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
        session = self._session
        self._is_working = True
        for _ in range(_SLICE):
            event = session.next_event()
            if event is None:
                break
            self._decide(event)
            if self._is_blocked or not session.has_input:
                break
        self._is_working = False
        self._flush()
        if self._is_blocked or session.is_waiting:
            return
        if session.has_input and session.has_work:
            self._schedule()
        elif self._is_paused:
            self._is_paused = False
            transport.resume_reading()
            self._count()

    def _decide(self, event: ServerEvent) -> None:  # hot: throughput
        session = self._session
        if isinstance(event, MessageGiven):
            self._store(event)
        elif isinstance(event, RecipientGiven):
            if self._may_relay(self._peer[0]):
                session.accept()
            else:
                session.refuse(RELAYING_DENIED)
        elif isinstance(event, MailGiven):
            if self._desk.budget.has_room():
                session.accept()
            else:
                session.refuse(OVER_LIMIT)
        elif isinstance(event, DataAsked):
            session.accept()
        else:
            self._introduce(event)

    def _introduce(self, event: Hello) -> None:
        self._reception = self._new_reception(event.name, "ESMTP" if event.is_extended else "SMTP")
        self._session.accept()

    def _new_reception(self, name: str, protocol: str) -> Reception:
        peer = self._peer
        return Reception(
            protocol, peer[0], peer[1], name, self.local, self._config.hostname, self._session_id
        )

    def _store(self, event: MessageGiven) -> None:  # hot: throughput
        desk = self._desk
        assignment = assign(event.content, desk.queues)
        if isinstance(assignment, Reply):
            self._session.refuse(assignment)
            return
        assert self._reception is not None  # noqa: S101 -- mail comes after EHLO only
        records = messages(event, assignment, self._reception, desk.ids, desk.clock.wall())
        spool = desk.spool
        try:
            stored = [(spool.append(record), record) for record in records]
            spool.commit(lambda fault: self._stored(stored, fault))
        except SpoolError:
            self._session.refuse(_NOT_STORED)

    def _stored(self, stored: Sequence[tuple[int, MessageRecord]], fault: SpoolError | None) -> None:
        """The spool has, or has not. What it has is delivered even if the client is gone and cannot be told."""
        if fault is None:
            self._desk.lane.submit(stored)
        if self._transport is None or not self._session.is_waiting:
            return
        if fault is None:
            self._session.accept(accepted([record for _, record in stored]))
        else:
            self._session.refuse(_NOT_STORED)
        if not self._is_working:
            self._flush()
            self._schedule()

    def _flush(self) -> None:  # hot: throughput
        """Write what the session says, and note what it refused."""
        session = self._session
        transport = self._transport
        if self._is_leaving and not session.is_waiting and not session.is_receiving_data:
            session.close(SHUTTING_DOWN)
        if session.refusals:
            self._note_refusals()
        output = session.take_output()
        if transport is None:
            return
        if output:
            transport.write(output)
        if session.is_closed:
            transport.close()
        elif self._has_ended_input:
            self._close_if_done()

    def _note_refusals(self) -> None:
        desk, session = self._desk, self._session
        refusals, session.refusals = session.refusals, []
        now = desk.clock.wall()
        reception = self._reception or self._new_reception("", "SMTP")
        for refused in refusals:
            desk.spool.note(
                RejectionRecord(
                    id=desk.ids.next(now),
                    time=now,
                    reception=reception,
                    reply=refused.reply,
                    command=refused.command,
                    reverse_path=refused.reverse_path,
                    recipient=refused.recipient,
                )
            )

    def _count(self) -> None:  # hot: throughput
        """Report the memory that the session holds, and let go of mail data if there is too much of it everywhere."""
        held = self._session.buffered
        budget = self._desk.budget
        budget.used += held - self._counted
        self._counted = held
        if held and budget.is_exceeded() and self._session.is_receiving_data:
            self._session.drop_data()
            budget.used += self._session.buffered - held
            self._counted = self._session.buffered

    def _close_if_done(self) -> None:
        session = self._session
        if self._transport is not None and not session.is_waiting and not session.has_work:
            self._transport.close()

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

    def _arm(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        """Look whether the deadline has really passed: activity only notes its time, so that it costs nothing."""
        transport = self._transport
        if transport is None:
            return
        idle = self._loop.time() - self._active_at
        is_ours = self._session.is_waiting
        timeout = self._config.data_processing_timeout if is_ours else self._config.client_timeout
        if idle < timeout:
            self._arm(timeout - idle)
        elif transport.is_closing() or self._is_blocked or is_ours:
            # a message that may yet be stored is not refused: no reply is better than a false one
            transport.abort()
        else:
            self._session.close(_TIMED_OUT)
            self._flush()
            self._active_at = self._loop.time()
            self._arm(self._config.client_timeout)

    # -- the end

    def leave(self) -> None:
        """Say goodbye as soon as no transaction is receiving or storing mail data."""
        self._is_leaving = True
        self._flush()

    def dismiss(self) -> None:
        """Say goodbye now, unless a message is being stored: mail data that is still coming in is not kept."""
        if not self._session.is_waiting:
            self._session.close(SHUTTING_DOWN)
            self._flush()

    def abort(self) -> None:
        """End at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

"""Makes events of the heads of frames, as the log of a lane has them.

An outcome is about a message that an earlier frame holds. Envelopes of messages that have just come are remembered, so that mail which goes
straight through is never read back; others are read from the log.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

from penstock.events import note, order
from penstock.events.envelope import Envelope, in_queue
from penstock.events.event import Event, Response
from penstock.events.field import COMMAND_LIMIT, CONTENT_LIMIT, PATH_LIMIT, moment_of
from penstock.events.record import (
    NO_CONNECTION,
    Client,
    Connection,
    Result,
    attempt_events,
    client_of,
    connection_of,
    expiration_events,
    reception_event,
)
from penstock.events.text import clean
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MetaValue, Verdict
from penstock.mail.reply import EnhancedCode
from penstock.spool import outline
from penstock.spool.codec import VERDICTS
from penstock.spool.forms import (
    AddressForm,
    ExpirationForm,
    FlushForm,
    QueueForm,
    RebindForm,
    RemovalForm,
    ReplyForm,
)
from penstock.spool.frame import Damaged
from penstock.spool.head import Head
from penstock.spool.outline import Attempt, MessageOutline, Messages, Ordered
from penstock.spool.parts import order_of, queue_of

#: How much of envelopes is remembered, of all lanes, in recipients: 20,000 messages of one recipient, about 16 MB.
#: Those that are settled go at once.
REMEMBERED: Final = 100_000
#: A message takes about as much as four recipients.
_MESSAGE: Final = 4
#: Sessions, in and out, and queues that are kept ready.
_SESSIONS: Final = 1024
_QUEUES: Final = 4096
#: Enhanced codes and commands.
_KNOWN: Final = 1024

#: Of a frame: lane, segment, offset.
Key = tuple[str, int, int]

#: Of an outcome, as frames have it.
_DEFERRED: Final = VERDICTS.index(Verdict.DEFERRED)


class Frames(Protocol):
    """Where frames of a lane can be read back."""

    def head(self, segment: int, offset: int) -> Head:
        """The head of the frame at a place. Damaged, FileError; KeyError if there is no such segment."""


class Envelopes:
    """Envelopes of messages that are not settled, by lane, segment and offset of their frames; the newest, up to a weight of ``limit``.

    They are in two halves: when the newer one is full, the older one goes. So what is settled soon, which is nearly all, costs no more than to
    be put in and taken out.
    """

    __slots__ = ("_half", "_newer", "_older", "_waiting", "_weight")

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._half = limit // 2
        self._newer: dict[Key, tuple[Envelope, ...]] = {}
        self._older: dict[Key, tuple[Envelope, ...]] = {}
        #: of the newer half; what is taken out of it is taken off
        self._weight = 0
        #: how many recipients wait, of frames that have more than one
        self._waiting: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def add(self, key: Key, envelopes: tuple[Envelope, ...]) -> None:  # hot: benchmarks/events_feed.py
        """Remember the messages of a frame, and forget older ones for them."""
        recipients = 0
        for envelope in envelopes:
            recipients += len(envelope.recipients)
        if recipients > 1:
            self._waiting[key] = recipients
        self._weight += _MESSAGE * len(envelopes) + recipients
        if self._weight > self._half:
            for old in self._older:
                self._waiting.pop(old, None)
            self._older, self._newer = self._newer, {}
            self._weight = _MESSAGE * len(envelopes) + recipients
        self._newer[key] = envelopes

    def get(self, key: Key) -> tuple[Envelope, ...] | None:
        """The messages of a frame, None if they are not remembered."""
        return self._newer.get(key) or self._older.get(key)

    def settle(self, key: Key, recipients: int) -> None:  # hot: benchmarks/events_feed.py
        """So many recipients of a frame are settled: with the last the frame goes."""
        if self._waiting and key in self._waiting:
            self._waiting[key] -= recipients
            if self._waiting[key] > 0:
                return
            del self._waiting[key]
        elif not recipients:
            return
        found = self._newer.pop(key, None)
        if found is None:
            self._older.pop(key, None)
        else:
            self._weight -= sum([_MESSAGE + len(envelope.recipients) for envelope in found])

    def forget_lane(self, lane: str) -> None:
        """Another log has the name of this lane from now on."""
        for half in (self._newer, self._older):
            for key in [key for key in half if key[0] == lane]:
                del half[key]
                self._waiting.pop(key, None)


class Deriver:
    """Heads in, events out; ``node`` is as events name the server. What the lanes have in common is remembered once."""

    __slots__ = ("_clients", "_connections", "envelopes", "node")

    def __init__(self, node: str, envelopes: Envelopes) -> None:
        self.node = node
        self.envelopes = envelopes
        self._clients: dict[bytes, Client] = {}
        self._connections: dict[bytes, Connection] = {}

    def events(
        self, lane: str, head: Head, epoch: int, frames: Frames
    ) -> list[Event]:  # hot: benchmarks/events_feed.py
        """The events of a frame. Damaged, FileError, KeyError if it, or the message that it is about, cannot be read."""
        told = outline.outline(head)
        if isinstance(told, Attempt):
            return self._attempt(lane, told, epoch, frames)
        if isinstance(told, Messages):
            return self._messages((lane, head.segment, head.offset), told, epoch)
        if isinstance(told, ExpirationForm):
            return self._expiration(lane, told, epoch, frames)
        if isinstance(told, RemovalForm | RebindForm | FlushForm):
            return self._order(lane, told, epoch, frames)
        return [note.event_of(told, self.node, epoch)] if told is not None else []

    def _messages(self, key: Key, told: Messages, epoch: int) -> list[Event]:
        client = self._client(told.reception)
        envelopes = _envelopes(told, client.protocol)
        self.envelopes.add(key, envelopes)
        if told.is_copy:
            return []
        node = self.node
        return [reception_event(envelope, client, node, epoch) for envelope in envelopes]

    def _attempt(self, lane: str, told: Attempt, epoch: int, frames: Frames) -> list[Event]:
        _, time, attempts, site, source, peer, outcomes, queue = told
        key, envelope = self._envelope(lane, told.place, frames)
        if queue:
            envelope = in_queue(envelope, queue_of(outline.queue(queue)))
        settled = 0
        results: list[Result] = []
        for item in outcomes:
            verdict = item.verdict
            settled += verdict != _DEFERRED
            response = _response(item.reply, item.command)
            results.append((item.recipient, VERDICTS[verdict], response, item.is_uncertain))
        connection = self._connection(peer) if peer else NO_CONNECTION
        try:
            events = attempt_events(
                envelope, connection, time, attempts, site, source, results, self.node, epoch
            )
        except IndexError as error:
            raise Damaged("an attempt of a recipient that its message does not have") from error
        self.envelopes.settle(key, settled)
        return events

    def _expiration(self, lane: str, told: ExpirationForm, epoch: int, frames: Frames) -> list[Event]:
        key, envelope = self._envelope(lane, told.place, frames, told.queue)
        response = _response(told.reply, None)
        try:
            events = expiration_events(
                envelope, told.time, told.attempts, told.site, told.recipients, response, self.node, epoch
            )
        except IndexError as error:
            raise Damaged("an expiry of a recipient that its message does not have") from error
        self.envelopes.settle(key, len(told.recipients))
        return events

    def _order(self, lane: str, told: Ordered, epoch: int, frames: Frames) -> list[Event]:
        key, envelope = self._envelope(lane, told.place, frames, told.queue)
        given, time, attempts, count = order_of(told.order), told.time, told.attempts, len(told.recipients)
        if isinstance(told, RebindForm):
            queue = queue_of(told.new_queue)
            return [order.rebind_event(envelope, time, attempts, count, queue, given, self.node, epoch)]
        if isinstance(told, FlushForm):
            return [order.flush_event(envelope, time, attempts, count, given, self.node, epoch)]
        response = _response(told.reply, None)
        try:
            events = order.removal_events(
                envelope, time, attempts, told.site, told.recipients, response, given, self.node, epoch
            )
        except IndexError as error:
            raise Damaged("a removal of a recipient that its message does not have") from error
        self.envelopes.settle(key, count)
        return events

    def _envelope(
        self, lane: str, place: tuple[int, int, int], frames: Frames, queue: QueueForm | None = None
    ) -> tuple[Key, Envelope]:
        """The message at a place, in the queue that it was in: None is its own."""
        segment, offset, part = place
        key = (lane, segment, offset)
        envelopes = self.envelopes.get(key)
        if envelopes is None:
            told = outline.outline(frames.head(segment, offset))
            if not isinstance(told, Messages):
                raise Damaged(f"no message is at segment {segment}, offset {offset}")
            envelopes = _envelopes(told, self._client(told.reception).protocol)
            self.envelopes.add(key, envelopes)
        if part >= len(envelopes):
            raise Damaged(f"a frame of {len(envelopes)} messages has none at {part}")
        envelope = envelopes[part]
        return key, in_queue(envelope, queue_of(queue)) if queue is not None else envelope

    def _client(self, octets: bytes) -> Client:
        client = self._clients.get(octets)
        if client is None:
            if len(self._clients) >= _SESSIONS:
                self._clients.clear()
            client = self._clients[octets] = client_of(outline.reception(octets))
        return client

    def _connection(self, octets: bytes) -> Connection:
        connection = self._connections.get(octets)
        if connection is None:
            if len(self._connections) >= _SESSIONS:
                self._connections.clear()
            connection = self._connections[octets] = connection_of(outline.peer(octets))
        return connection


def _envelopes(told: Messages, protocol: str) -> tuple[Envelope, ...]:
    meta, size = told.meta, told.size
    return tuple(
        [
            _envelope(item, item.meta if item.meta is not None else meta, size, protocol)
            for item in told.messages
        ]
    )


def _envelope(
    message: MessageOutline, meta: dict[str, MetaValue], size: int, protocol: str
) -> Envelope:  # hot: benchmarks/events_feed.py
    created, created_time = moment_of(message.created)
    name, tenant, campaign = _queue(bytes(message.queue))
    return Envelope(
        message.id,
        _path(message.reverse_path) if message.reverse_path is not None else "",
        tuple([_path(address) for address in message.recipients]),
        name,
        tenant,
        campaign,
        len(message.added_header) + size,
        created,
        created_time,
        meta,
        protocol,
    )


def _path(address: AddressForm) -> str:
    text = f"{address[0]}@{address[1]}"
    # as ``clean`` would find, but for the call: there are three of these for each message
    return text if len(text) <= PATH_LIMIT and text.isprintable() else clean(text, PATH_LIMIT)


@lru_cache(maxsize=_QUEUES)
def _queue(octets: bytes) -> tuple[str, str | None, str | None]:
    """Name, tenant and campaign."""
    form = outline.queue(octets)
    return (
        str(QueueName(form.domain, form.tenant, form.campaign, form.routing_domain)),
        form.tenant,
        form.campaign,
    )


def _response(reply: ReplyForm, command: str | None) -> Response:
    code, enhanced, text = reply
    return Response(
        code,
        _enhanced(enhanced) if enhanced is not None else None,
        clean(text, CONTENT_LIMIT),
        _command(command) if command else command,
    )


@lru_cache(maxsize=_KNOWN)
def _enhanced(code: tuple[int, int, int]) -> EnhancedCode:
    return EnhancedCode(*code)


@lru_cache(maxsize=_KNOWN)
def _command(command: str) -> str:
    return clean(command, COMMAND_LIMIT)

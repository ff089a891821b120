"""The giving side of a move: queued messages whose home is another lane, on their way there.

The protocol is ``queueing.moving``; here messages are read and offered, what is accepted is written down as gone, and whoever gave them is told. Many
are under way at once, up to a number and to a number of octets. Those of one frame go together, for they share one content.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from penstock.ipc.frames import TAIL_LIMIT, Frame, ProtocolError
from penstock.ipc.lane_words import LANE, MOVE, LaneSessionOpen, TakerOfferHold
from penstock.lane import parcels
from penstock.lane.leaving import Leaver, Source
from penstock.lane.wandering import Wanderers
from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource, MessageId
from penstock.mail.ports import Clock, SpoolError, Unreadable
from penstock.mail.records import Move, StoredMessage
from penstock.queueing.moving import (
    Confirmed,
    Forget,
    GiveBack,
    GiverOfferAccept,
    GiverOfferRefuse,
    GiverPartsAsk,
    GiverPartsConfirm,
    Giving,
    Part,
    Violation,
    Word,
)
from penstock.spool import passing
from penstock.spool.arrivals import Arrival
from penstock.spool.codec import INLINE_LIMIT, Body, version_of
from penstock.spool.log import SpoolLog
from penstock.spool.loop import Loop
from penstock.spool.reading import Background

LOG = logging.getLogger(__name__)

#: Messages that are under way to one lane, unconfirmed ones too, and octets of those that are not answered.
MESSAGES_LIMIT: Final = 1000
OCTETS_LIMIT: Final = 8 * 1024 * 1024
#: Messages that are taken up in one turn of the loop.
_TURN: Final = 50
#: Seconds until a message is tried again that cannot be read, or is too large to be sent.
_AFTER_FAULT: Final = Seconds(60.0)

Action = Forget[Leaver] | GiveBack[Leaver] | Confirmed | Word
Group = Sequence[tuple[Leaver, StoredMessage]]


class Link(Protocol):
    """What is asked of a connection (``ipc.channel.Channel``)."""

    def send(
        self, kind: int, number: int, head: bytes = b"", tail: Sequence[bytes | memoryview] = ()
    ) -> None:
        """Send a frame; nothing is sent if it is not open."""

    def abort(self) -> None:
        """End it."""


class Place(msgspec.Struct, frozen=True):
    """What all moves of one spool share: whose it is, and what is needed.

    ``parcels`` is the folder of large contents; ``life`` as of ``lane.parcels``, and no other's, ``numbers`` those of this life.
    """

    own: str
    spool: SpoolLog
    clock: Clock
    ids: IdSource
    loop: Loop
    background: Background
    wanderers: Wanderers
    parcels: Path
    life: int
    numbers: Iterator[int]


class Giver:
    """What goes to ``lane``. ``given`` counts messages that are that lane's, ``refused`` offers that it did not take."""

    def __init__(self, place: Place, lane: str, source: Source) -> None:
        self.lane = lane
        self._place = place
        self._spool = place.spool
        self._source = source
        self._giving: Giving[Leaver] = Giving()
        self._link: Link | None = None
        #: octets of what is not answered, by offer; and names of parcels
        self._octets: dict[MessageId, int] = {}
        self._parcels: dict[MessageId, str] = {}
        self._used = 0
        self._reading = 0
        self._is_scheduled = False
        self._is_leaving = False
        self.given = 0
        self.refused = 0

    def __len__(self) -> int:
        """How many messages are under way: read, offered, or not confirmed."""
        return len(self._giving) + self._reading

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._giving.is_open

    def restore(self, parts: Iterable[Part]) -> None:
        """At a start: these were forgotten, and are not known to be confirmed."""
        self._giving.restore(list(parts))

    def leave(self) -> None:
        """Offer nothing more: this process is about to end."""
        self._is_leaving = True

    def forget_lane(self) -> None:
        """The lane and its spool are gone, and all that it was given had been decided."""
        self._act([Confirmed(part) for part in self._giving.abandon()])

    # -- the connection

    def connected(self, link: Link) -> None:
        """There is a connection; one that there was is over."""
        if self._link is not None:
            self._link.abort()
            self.ended(self._link, "there is another")
        self._link = link
        kind, head = LANE.encode(LaneSessionOpen(self._place.own, MOVE))
        link.send(kind, 0, head)
        self._act(self._giving.opened())
        self._source.came_back()
        self.pump()

    def ended(self, link: Link, reason: str | None) -> None:
        """A connection has ended."""
        if link is not self._link:
            return
        self._link = None
        self._source.went_away(f"lane {self.lane} is away: {reason or 'it has closed the connection'}")
        self._act(self._giving.closed())

    def received(self, frame: Frame) -> None:
        """The lane has said something. ProtocolError if it may not say that."""
        word = LANE.decode(frame.kind, frame.head)
        try:
            self._act(self._heard(word))
        except Violation as violation:
            raise ProtocolError(f"lane {self.lane}: {violation}") from violation
        self.wake()

    def _heard(self, word: msgspec.Struct) -> Sequence[Action]:
        giving = self._giving
        match word:
            case GiverOfferAccept(offer):
                forget = giving.accepted(offer)
                self._answered(offer, is_taken=True)
                self._source.accepted()
                return forget
            case GiverOfferRefuse(offer, reason):
                return self._refused(offer, reason)
            case GiverPartsAsk(parts):
                return giving.asked(parts)
            case GiverPartsConfirm(parts):
                return giving.confirmed(parts)
        raise Violation(f"it said {type(word).__name__} of a move")

    def _refused(self, offer: MessageId, reason: str) -> Sequence[Action]:
        back = self._giving.refused(offer)
        LOG.warning("lane %s does not take what it is offered: %s", self.lane, reason)
        self.refused += 1
        self._answered(offer, is_taken=False)
        self._source.refused(reason)
        return back

    def _answered(self, offer: MessageId, *, is_taken: bool) -> None:
        self._used -= self._octets.pop(offer, 0)
        name = self._parcels.pop(offer, None)
        if name is not None and not is_taken:
            self._place.background.submit(partial(parcels.remove, self._place.parcels, name), _nothing)

    # -- offering

    def wake(self) -> None:
        """There may be more to be given."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._place.loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._is_scheduled = False
        self.pump()

    @property
    def _has_room(self) -> bool:
        return len(self) < MESSAGES_LIMIT and self._used < OCTETS_LIMIT

    def pump(self) -> None:
        """Offer what there is, as far as there is room; more of it in the loop's next turn."""
        if not self.is_open or self._is_leaving:
            return
        ready: list[tuple[Leaver, StoredMessage]] = []
        for _ in range(_TURN):
            leaver = self._source.next() if self._has_room else None
            if leaver is None:
                break
            self._take(leaver, ready)
        else:
            self.wake()
        self._offer_all(ready)

    def _take(self, leaver: Leaver, ready: list[tuple[Leaver, StoredMessage]]) -> None:
        try:
            stored = self._spool.get(leaver.position)
        except SpoolError as fault:
            self._unreadable(leaver, fault)
            return
        if stored is not None:
            ready.append((leaver, stored))
            return
        self._reading += 1
        self._spool.fetch(leaver.position, partial(self._fetched, leaver))

    def _fetched(self, leaver: Leaver, answer: StoredMessage | SpoolError) -> None:
        self._reading -= 1
        if isinstance(answer, SpoolError):
            self._unreadable(leaver, answer)
        elif self.is_open:
            self._offer_all([(leaver, answer)])
        else:
            self._source.put_back(leaver)
        self.wake()

    def _unreadable(self, leaver: Leaver, fault: SpoolError) -> None:
        if isinstance(fault, Unreadable):
            # the spool has written down that it is lost
            self._source.moved(leaver)
        else:
            LOG.error("a message cannot be read, and will be moved later: %s", fault)
            self._source.put_off(leaver, _AFTER_FAULT)

    def _offer_all(self, ready: Group) -> None:
        frames: dict[tuple[int, int], list[tuple[Leaver, StoredMessage]]] = {}
        for leaver, stored in ready:
            pause = self._place.wanderers.pause(stored.record.id)
            if pause:
                self._source.put_off(leaver, pause)
            else:
                frame = self._spool.departures.frame_of(leaver.position)
                frames.setdefault(frame, []).append((leaver, stored))
        for group in frames.values():
            self._offer(group)

    def _offer(self, group: Group) -> None:
        """Offer messages of one frame; one by one, if they are too many for one frame of a connection."""
        place = self._place
        offer = place.ids.next(place.clock.wall())
        arrivals = [
            self._spool.departures.offered(leaver.position, stored, Move(place.own, offer, part))
            for part, (leaver, stored) in enumerate(group)
        ]
        content = arrivals[0].record.content
        is_large = len(content) > INLINE_LIMIT
        pieces = passing.encoded_offer(arrivals, Body("parcel", len(content), 0) if is_large else None)
        if sum(map(len, pieces)) > TAIL_LIMIT:
            self._offer_in_parts(group)
            return
        leavers = [leaver for leaver, _ in group]
        self._giving.offer(offer, leavers)
        self._octets[offer] = octets = sum(map(len, pieces)) + len(content) * is_large
        self._used += octets
        if is_large:
            self._pack(offer, arrivals)
        else:
            self._send(offer, arrivals, pieces, 0)

    def _offer_in_parts(self, group: Group) -> None:
        if len(group) > 1:
            for item in group:
                self._offer([item])
            return
        ((leaver, stored),) = group
        LOG.error(
            "the envelope of message %s is too large to be moved to lane %s", stored.record.id, self.lane
        )
        self._source.put_off(leaver, _AFTER_FAULT)

    def _send(
        self, offer: MessageId, arrivals: Sequence[Arrival], pieces: Sequence[bytes], body_octets: int
    ) -> None:
        if self._link is not None:
            version = version_of([item.record for item in arrivals])
            kind, head = LANE.encode(TakerOfferHold(offer, len(arrivals), version, body_octets))
            self._link.send(kind, 0, head, pieces)

    def _pack(self, offer: MessageId, arrivals: Sequence[Arrival]) -> None:
        """Have a large content put into a parcel."""
        place = self._place
        name = self._parcels[offer] = parcels.name_of(place.own, place.life, next(place.numbers))
        pack = partial(parcels.pack, place.parcels, name, arrivals[0].record.content)
        place.background.submit(pack, partial(self._have_packed, offer, arrivals))

    def _have_packed(self, offer: MessageId, arrivals: Sequence[Arrival], body: Body | Exception) -> None:
        if offer not in self._octets:
            return  # it was taken back meanwhile
        if isinstance(body, Exception):
            self._act(self._refused(offer, f"a large content cannot be handed over: {body}"))
        else:
            self._send(offer, arrivals, passing.encoded_offer(arrivals, body), body.size)

    # -- what the protocol wants done

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Forget):
                self._forget(action.part, action.item)
            elif isinstance(action, GiveBack):
                self._answered(action.offer, is_taken=False)
                self._source.put_back(action.item)
            elif isinstance(action, Confirmed):
                self._spool.departures.confirm(self._move(action.part))
            else:
                self._say(action)

    def _say(self, word: Word) -> None:
        if self._link is not None:
            kind, head = LANE.encode(word)
            self._link.send(kind, 0, head)

    def _move(self, part: Part) -> Move:
        return Move(self.lane, part.offer, part.part)

    def _forget(self, part: Part, leaver: Leaver) -> None:
        try:
            self._spool.departures.forget(leaver.position, self._move(part), partial(self._forgotten, part))
        except SpoolError as fault:
            LOG.error("a message that lane %s holds is not moved: %s", self.lane, fault)
            self._act(self._giving.has_kept(part))
        self._source.moved(leaver)

    def _forgotten(self, part: Part) -> None:
        self.given += 1
        self._act(self._giving.has_forgotten(part))


def _nothing(_result: object) -> None:
    """Nobody waits for it."""

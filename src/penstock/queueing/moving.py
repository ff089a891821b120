"""How messages move from one lane to another, the protocol of both sides. No I/O: a shell carries out what is returned, and says what came of it.

A message is deliverable in one lane at any time, whatever ends when:

    giving lane                              taking lane
    OFFERED      ──── Offer ────▶            HOLDING     stores it, held: not deliverable
                 ◀─── Accept ────            HELD        it is on stable storage
    FORGETTING   writes that it has gone
    FORGOTTEN    that is on stable storage
                 ──── Release ──▶            RELEASING   deliverable here; writes that it is not held any more
    (confirmed)  ◀─── Released ──            (gone)      that is on stable storage

What the giving lane has on stable storage decides, and nothing else: a message that it has forgotten to the other is the other's, any other is its
own. So when a connection ends before the answer it takes the offer back, and may do with the message what it likes. A taking lane never decides: it
asks what is to become of what it holds, by ``Ask``, whenever it is connected, and is told to release what was forgotten, and to drop what was not.
The giving lane remembers what it has forgotten until that is confirmed, over its own restarts too.

Each offer has an id of its own, also of a message that was offered before: what an old one has left behind is not taken for a new one. The messages
of an offer are stored all or none; each is known by its part.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

import msgspec

from penstock.mail.ids import MessageId

T = TypeVar("T")


class Part(NamedTuple):
    """One message of an offer."""

    offer: MessageId
    part: int


class GiverOfferAccept(msgspec.Struct, frozen=True):
    """What was offered is held, on stable storage."""

    offer: MessageId


class GiverOfferRefuse(msgspec.Struct, frozen=True):
    """What was offered is not taken, and why."""

    offer: MessageId
    reason: str


class GiverPartsAsk(msgspec.Struct, frozen=True):
    """These are held; what is to become of them is asked."""

    parts: tuple[Part, ...]


class TakerPartsRelease(msgspec.Struct, frozen=True):
    """These are forgotten: they are yours."""

    parts: tuple[Part, ...]


class TakerPartsDrop(msgspec.Struct, frozen=True):
    """These are kept: they are not yours."""

    parts: tuple[Part, ...]


class GiverPartsConfirm(msgspec.Struct, frozen=True):
    """These are not held any more, for good: nobody will ask for them again."""

    parts: tuple[Part, ...]


#: What is said of moves, but for the offer itself, with which the messages go.
Word = (
    GiverOfferAccept
    | GiverOfferRefuse
    | GiverPartsAsk
    | TakerPartsRelease
    | TakerPartsDrop
    | GiverPartsConfirm
)


class Violation(Exception):
    """The other side said what it may not say. The connection is to be ended; nothing has changed."""


# -- the giving side


class Going(Enum):
    """How far a message has gone."""

    OFFERED = "offered, not answered"
    FORGETTING = "accepted; being forgotten"
    FORGOTTEN = "forgotten, on stable storage"


class Forget(NamedTuple, Generic[T]):
    """Write that this message has gone, and tell ``forgotten`` once that is on stable storage; or ``kept``, if it is not there to be forgotten."""

    part: Part
    item: T


class GiveBack(NamedTuple, Generic[T]):
    """This message of an offer is not going: it is deliverable here again, or may be offered again."""

    offer: MessageId
    item: T


class Confirmed(NamedTuple):
    """Nobody will ask for this any more."""

    part: Part


class Giving(Generic[T]):
    """What one lane gives to one other. Items are the shell's, whatever it knows messages by."""

    __slots__ = ("_going", "_items", "_offers", "is_open")

    def __init__(self) -> None:
        self._going: dict[Part, Going] = {}
        #: of those that are not forgotten
        self._items: dict[Part, T] = {}
        #: how many messages an offer has that is not answered
        self._offers: dict[MessageId, int] = {}
        self.is_open = False

    def __len__(self) -> int:
        """How many are not confirmed."""
        return len(self._going)

    @property
    def forgotten(self) -> int:
        """How many are forgotten, and not confirmed."""
        return len(self._going) - len(self._items)

    def restore(self, parts: Collection[Part]) -> None:
        """At a start: these were forgotten, and are not known to be confirmed."""
        self._going.update(dict.fromkeys(parts, Going.FORGOTTEN))

    def opened(self) -> list[Word]:
        """There is a connection; what is to be said first."""
        self.is_open = True
        forgotten = tuple([part for part, going in self._going.items() if going is Going.FORGOTTEN])
        return [TakerPartsRelease(forgotten)] if forgotten else []

    def closed(self) -> list[GiveBack[T]]:
        """The connection has ended: what was not answered is ours."""
        self.is_open = False
        return [back for offer in list(self._offers) for back in self._take_back(offer)]

    def abandon(self) -> list[Part]:
        """There is nobody who could ask: what was forgotten is as good as confirmed."""
        forgotten = [part for part, going in self._going.items() if going is Going.FORGOTTEN]
        for part in forgotten:
            del self._going[part]
        return forgotten

    def offer(self, offer: MessageId, items: Sequence[T]) -> None:
        """These are offered, by this id, while there is a connection."""
        if not self.is_open or offer in self._offers or not items:
            raise ValueError("an offer is made once, of something, and while there is somebody to hear it")
        self._offers[offer] = len(items)
        for number, item in enumerate(items):
            part = Part(offer, number)
            self._going[part] = Going.OFFERED
            self._items[part] = item

    def _take_back(self, offer: MessageId) -> list[GiveBack[T]]:
        back: list[GiveBack[T]] = []
        for number in range(self._offers.pop(offer)):
            part = Part(offer, number)
            del self._going[part]
            back.append(GiveBack(offer, self._items.pop(part)))
        return back

    def accepted(self, offer: MessageId) -> list[Forget[T]]:
        """The other lane holds it."""
        if offer not in self._offers:
            raise Violation("the lane accepted what it was not offered")
        parts = [Part(offer, number) for number in range(self._offers.pop(offer))]
        self._going.update(dict.fromkeys(parts, Going.FORGETTING))
        return [Forget(part, self._items[part]) for part in parts]

    def refused(self, offer: MessageId) -> list[GiveBack[T]]:
        """The other lane does not take it."""
        if offer not in self._offers:
            raise Violation("the lane refused what it was not offered")
        return self._take_back(offer)

    def has_forgotten(self, part: Part) -> list[Word]:
        """That it has gone is on stable storage."""
        if self._going.get(part) is not Going.FORGETTING:
            raise ValueError(f"{part} was not being forgotten")
        del self._items[part]
        self._going[part] = Going.FORGOTTEN
        return [TakerPartsRelease((part,))] if self.is_open else []

    def has_kept(self, part: Part) -> list[Word]:
        """It is not there to be forgotten, and nothing of that kind was written."""
        if self._going.get(part) is not Going.FORGETTING:
            raise ValueError(f"{part} was not being forgotten")
        del self._items[part], self._going[part]
        return [TakerPartsDrop((part,))] if self.is_open else []

    def asked(self, parts: Sequence[Part]) -> list[Word]:
        """The other lane holds these. Of what is being forgotten it will hear."""
        going = [self._going.get(part) for part in parts]
        if Going.OFFERED in going:
            raise Violation("the lane asked for what it had not answered")
        pairs = list(zip(parts, going, strict=True))
        released = tuple([part for part, stage in pairs if stage is Going.FORGOTTEN])
        dropped = tuple([part for part, stage in pairs if stage is None])
        return [
            *([TakerPartsRelease(released)] if released else []),
            *([TakerPartsDrop(dropped)] if dropped else []),
        ]

    def confirmed(self, parts: Sequence[Part]) -> list[Confirmed]:
        """The other lane will not ask for these again. What is not known was confirmed before."""
        known = [part for part in parts if part in self._going]
        if any(self._going[part] is not Going.FORGOTTEN for part in known):
            raise Violation("the lane released what it was not given")
        for part in known:
            del self._going[part]
        return [Confirmed(part) for part in known]


# -- the taking side


class Coming(Enum):
    """How far a message has come."""

    HELD = "held, on stable storage"
    RELEASING = "ours; being released"


class Free(NamedTuple, Generic[T]):
    """This message is ours, and deliverable: write that, and tell ``has_freed`` once it is on stable storage."""

    part: Part
    item: T


class Discard(NamedTuple, Generic[T]):
    """This message is the other lane's, which has it: it is to go from here."""

    part: Part
    item: T


class Taking(Generic[T]):
    """What one lane takes from one other. Items are the shell's, whatever it knows stored messages by."""

    __slots__ = ("_coming", "_connection", "_holding", "_items", "is_open")

    def __init__(self) -> None:
        self._coming: dict[Part, Coming] = {}
        self._items: dict[Part, T] = {}
        #: offers that are being stored, with the connection on which they came
        self._holding: dict[MessageId, int] = {}
        self._connection = 0
        self.is_open = False

    def __len__(self) -> int:
        """How many are held, or being released; and offers that are being stored."""
        return len(self._coming) + len(self._holding)

    def restore(self, items: dict[Part, T]) -> None:
        """At a start: these are held."""
        self._items.update(items)
        self._coming.update(dict.fromkeys(items, Coming.HELD))

    def opened(self) -> list[Word]:
        """There is a connection; what is to be said first."""
        self.is_open = True
        self._connection += 1
        held = tuple([part for part, coming in self._coming.items() if coming is Coming.HELD])
        return [GiverPartsAsk(held)] if held else []

    def closed(self) -> None:
        """The connection has ended."""
        self.is_open = False

    def offered(self, offer: MessageId) -> None:
        """It is being stored from now on, held; one of the next two tells what came of that."""
        if offer in self._holding or Part(offer, 0) in self._coming:
            raise Violation("the lane offered the same again")
        self._holding[offer] = self._connection

    def has_stored(self, offer: MessageId, items: Sequence[T]) -> list[Word]:
        """All of an offer is held, on stable storage."""
        connection = self._holding.pop(offer)
        parts = tuple([Part(offer, number) for number in range(len(items))])
        self._items.update(zip(parts, items, strict=True))
        self._coming.update(dict.fromkeys(parts, Coming.HELD))
        if not self.is_open:
            return []
        # whoever offered it on a connection that has ended has taken it back
        return [GiverOfferAccept(offer) if connection == self._connection else GiverPartsAsk(parts)]

    def has_not_stored(self, offer: MessageId, reason: str) -> list[Word]:
        """Nothing of an offer is held, or nobody knows: it is not taken."""
        connection = self._holding.pop(offer)
        is_asked = self.is_open and connection == self._connection
        return [GiverOfferRefuse(offer, reason)] if is_asked else []

    def released(self, parts: Sequence[Part]) -> list[Free[T] | Word]:
        """These are ours. What is not known was released before."""
        if any(part.offer in self._holding for part in parts):
            raise Violation("the lane released what was not accepted")
        free: list[Free[T] | Word] = []
        unknown: list[Part] = []
        for part in parts:
            coming = self._coming.get(part)
            if coming is None:
                unknown.append(part)
            elif coming is Coming.HELD:
                self._coming[part] = Coming.RELEASING
                free.append(Free(part, self._items[part]))
        return [*free, GiverPartsConfirm(tuple(unknown))] if unknown else free

    def dropped(self, parts: Sequence[Part]) -> list[Discard[T]]:
        """These are the other lane's. What is not known was dropped before."""
        known = [part for part in parts if part in self._coming]
        if any(part.offer in self._holding for part in parts) or any(
            self._coming[part] is Coming.RELEASING for part in known
        ):
            raise Violation("the lane dropped what was not accepted, or what it had released")
        for part in known:
            del self._coming[part]
        return [Discard(part, self._items.pop(part)) for part in known]

    def abandon(self) -> list[Discard[T]]:
        """There is nobody who could say: what is held was not forgotten, or it would have been released."""
        held = [part for part, coming in self._coming.items() if coming is Coming.HELD]
        return self.dropped(held)

    def has_freed(self, part: Part) -> list[Word]:
        """That it is not held any more is on stable storage."""
        del self._coming[part], self._items[part]
        return [GiverPartsConfirm((part,))] if self.is_open else []

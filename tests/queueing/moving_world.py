"""Lanes that move messages between them, with logs that lose what is not synced, and connections that end: what the protocol must hold against.

A lane's log is a list of entries, of which the first ``synced`` are on stable storage. A crash leaves these and any number of those behind them, and
the lane begins again with what they say. A connection carries words in order, each way, and loses what is on the way when it ends. The shell here is
as plain as it can be: what it does is what ``penstock.lane.moves`` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from penstock.mail.ids import MessageId
from penstock.queueing.moving import (
    Confirmed,
    Discard,
    Forget,
    Free,
    GiveBack,
    GiverOfferAccept,
    GiverOfferRefuse,
    GiverPartsAsk,
    GiverPartsConfirm,
    Giving,
    Part,
    TakerPartsDrop,
    TakerPartsRelease,
    Taking,
)

#: Turns after which there must be an end.
PATIENCE = 1000


class Entry(NamedTuple):
    """A record of a lane's log: ``accepted``, ``held``, ``released``, ``dropped``, ``forgotten``, ``confirmed`` or ``delivered``.

    ``message`` is which it is about, ``part`` and ``lane`` by which move it came or went.
    """

    what: str
    message: int
    part: Part | None = None
    lane: str = ""


class Offer(NamedTuple):
    """What goes with an offer: the messages."""

    offer: MessageId
    messages: tuple[int, ...]


class State:
    """What a log says: messages that are live, held and forgotten, and those that were delivered."""

    def __init__(self, log: list[Entry]) -> None:
        self.live: set[int] = set()
        self.held: dict[tuple[str, Part], int] = {}
        self.forgotten: dict[tuple[str, Part], int] = {}
        self.delivered: set[int] = set()
        for entry in log:
            key = (entry.lane, entry.part) if entry.part is not None else ("", Part(MessageId(""), 0))
            if entry.what == "accepted":
                self.live.add(entry.message)
            elif entry.what == "held":
                self.held[key] = entry.message
            elif entry.what == "released":
                self.live.add(self.held.pop(key))
            elif entry.what == "dropped":
                del self.held[key]
            elif entry.what == "forgotten":
                self.live.discard(entry.message)
                self.forgotten[key] = entry.message
            elif entry.what == "confirmed":
                self.forgotten.pop(key, None)
            else:
                self.live.discard(entry.message)
                self.delivered.add(entry.message)


class Lane:
    """One life of a lane. ``deliverable`` are messages that it may deliver now."""

    def __init__(self, world: World, name: str, log: list[Entry]) -> None:
        self.world = world
        self.name = name
        self.log = log
        self.synced = len(log)
        #: what is called when the log is synced as far as that
        self.waiting: list[tuple[int, Callable[[], None]]] = []
        state = State(log)
        self.deliverable = set(state.live)
        self.giving = {other: world.make_giving() for other in world.names if other != name}
        self.taking = {other: world.make_taking() for other in world.names if other != name}
        for lane, part in state.forgotten:
            self.giving[lane].restore([part])
        for (lane, part), message in state.held.items():
            self.taking[lane].restore({part: message})

    def write(self, entry: Entry, done: Callable[[], None] | None = None) -> None:
        self.log.append(entry)
        if done is not None:
            self.waiting.append((len(self.log), done))

    def sync(self) -> None:
        """All that was written is on stable storage, and who waits for it is told."""
        self.synced = len(self.log)
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            done()

    # -- what the protocol wants done

    def act(self, other: str, actions: Iterator[Any] | list[Any]) -> None:
        for action in actions:
            match action:
                case Forget(part, message):
                    self.write(
                        Entry("forgotten", message, part, other),
                        lambda part=part: self.act(other, self.giving[other].has_forgotten(part)),
                    )
                case GiveBack(_, message):
                    self.deliverable.add(message)
                case Confirmed(part):
                    self.write(Entry("confirmed", 0, part, other))
                case Free(part, message):
                    self.deliverable.add(message)
                    self.write(
                        Entry("released", message, part, other),
                        lambda part=part: self.act(other, self.taking[other].has_freed(part)),
                    )
                case Discard(part, message):
                    self.write(Entry("dropped", message, part, other))
                case _:
                    self.world.send(self.name, other, action)

    def hear(self, other: str, word: Any) -> None:
        giving, taking = self.giving[other], self.taking[other]
        match word:
            case Offer(offer, messages):
                taking.offered(offer)
                for number, message in enumerate(messages):
                    is_last = number == len(messages) - 1
                    self.write(
                        Entry("held", message, Part(offer, number), other),
                        (lambda: self.act(other, taking.has_stored(offer, messages))) if is_last else None,
                    )
            case GiverOfferAccept(offer):
                self.act(other, giving.accepted(offer))
            case GiverOfferRefuse(offer, _):
                self.act(other, giving.refused(offer))
            case GiverPartsAsk(parts):
                self.act(other, giving.asked(parts))
            case TakerPartsRelease(parts):
                self.act(other, taking.released(parts))
            case TakerPartsDrop(parts):
                self.act(other, taking.dropped(parts))
            case GiverPartsConfirm(parts):
                self.act(other, giving.confirmed(parts))


class World:
    """The lanes, and the connections between them. ``broken``: what is wrong, None if nothing is."""

    def __init__(
        self,
        names: str = "AB",
        make_giving: Callable[[], Giving[int]] = Giving,
        make_taking: Callable[[], Taking[int]] = Taking,
    ) -> None:
        self.names = names
        self.make_giving = make_giving
        self.make_taking = make_taking
        self.lanes = {name: Lane(self, name, []) for name in names}
        #: by pair in order of their names, words on their way: there, and back
        self.links: dict[tuple[str, str], deque[Any]] = {}
        self.messages = 0
        self.delivered: set[int] = set()
        self._offers = 0

    # -- connections

    def pairs(self) -> list[tuple[str, str]]:
        return [(one, other) for one in self.names for other in self.names if one < other]

    def is_connected(self, one: str, other: str) -> bool:
        return (one, other) in self.links

    def connect(self, one: str, other: str) -> None:
        self.links[(one, other)] = deque()
        self.links[(other, one)] = deque()
        for name, peer in ((one, other), (other, one)):
            lane = self.lanes[name]
            lane.act(peer, lane.giving[peer].opened())
            lane.act(peer, lane.taking[peer].opened())

    def disconnect(self, one: str, other: str, *dead: str) -> None:
        """Both sides hear of it, but for those that are dead."""
        del self.links[(one, other)], self.links[(other, one)]
        for name, peer in ((one, other), (other, one)):
            if name not in dead:
                lane = self.lanes[name]
                lane.act(peer, lane.giving[peer].closed())
                lane.taking[peer].closed()

    def send(self, one: str, other: str, word: Any) -> None:
        self.links[(one, other)].append(word)

    def on_the_way(self) -> list[tuple[str, str]]:
        return [pair for pair, words in self.links.items() if words]

    def pass_on(self, one: str, other: str) -> None:
        """The next word comes to ``other``."""
        self.lanes[other].hear(one, self.links[(one, other)].popleft())

    # -- what lanes do

    def accept(self, name: str) -> None:
        lane, message = self.lanes[name], self.messages
        self.messages += 1
        lane.write(Entry("accepted", message))
        lane.sync()
        lane.deliverable.add(message)

    def offer(self, one: str, other: str, messages: list[int]) -> None:
        lane = self.lanes[one]
        self._offers += 1
        offer = MessageId(f"{self._offers}")
        lane.deliverable.difference_update(messages)
        lane.giving[other].offer(offer, messages)
        self.send(one, other, Offer(offer, tuple(messages)))

    def refuse(self, one: str, other: str) -> bool:
        """The next word to ``other``, an offer, is not taken; whether it was one."""
        words = self.links[(one, other)]
        if not isinstance(words[0], Offer):
            return False
        offer = words.popleft().offer
        taking = self.lanes[other].taking[one]
        taking.offered(offer)
        self.lanes[other].act(one, taking.has_not_stored(offer, "no room"))
        return True

    def deliver(self, name: str, message: int) -> None:
        lane = self.lanes[name]
        assert message not in self.delivered, f"{message} is delivered twice"
        self.delivered.add(message)
        lane.deliverable.discard(message)
        lane.write(Entry("delivered", message))
        lane.sync()

    def crash(self, name: str, kept: int) -> None:
        """A lane begins again with what was synced, and so many entries behind that."""
        lane = self.lanes[name]
        for pair in self.pairs():
            if name in pair and pair in self.links:
                self.disconnect(*pair, name)
        self.lanes[name] = Lane(self, name, lane.log[: lane.synced + kept])

    # -- what must be true

    def check(self) -> None:
        """Nothing is deliverable twice, or after it was delivered; nothing is lost, whatever crashes now."""
        where: dict[int, list[str]] = {}
        for name, lane in self.lanes.items():
            for message in lane.deliverable:
                where.setdefault(message, []).append(name)
        for message, names in where.items():
            assert len(names) == 1, f"{message} is deliverable in {names}"
            assert message not in self.delivered, f"{message} was delivered, and is deliverable in {names}"
        for kept in (0, PATIENCE):
            states = {name: State(lane.log[: lane.synced + kept]) for name, lane in self.lanes.items()}
            for message in range(self.messages):
                assert message in self.delivered or self._is_there(states, message), (
                    f"{message} would be lost"
                )

    @staticmethod
    def _is_there(states: dict[str, State], message: int) -> bool:
        if any(message in state.live for state in states.values()):
            return True
        return any(
            held == message and (name, part) in states[lane].forgotten
            for name, state in states.items()
            for (lane, part), held in state.held.items()
        )

    def come_to_rest(self) -> None:
        """Everything is connected, every word comes, everything is synced: each message is deliverable somewhere, and nothing is under way."""
        for pair in self.pairs():
            if pair not in self.links:
                self.connect(*pair)
        for _ in range(PATIENCE):
            for pair in self.on_the_way():
                self.pass_on(*pair)
            for lane in self.lanes.values():
                lane.sync()
            self.check()
            if not self.on_the_way():
                break
        deliverable = [message for lane in self.lanes.values() for message in lane.deliverable]
        assert sorted(deliverable) == sorted(set(range(self.messages)) - self.delivered)
        for lane in self.lanes.values():
            assert not any(map(len, lane.giving.values())), "something is not confirmed"
            assert not any(map(len, lane.taking.values())), "something is held"

"""A broker, lanes, and what lies between them, as a simulation: time, deaths and delays are whatever a test says."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from penstock.mail.rate import Rate
from penstock.shaping.borrowing import Ask, Borrowing
from penstock.shaping.lending import Grant, Lending

KEY: Final = "a limit"


class Lane:
    """A lane: what it borrows, and what is on its way to and from the broker."""

    def __init__(self, name: str, borrowing: Borrowing) -> None:
        self.name = name
        self.borrowing = borrowing
        self.sent: deque[Any] = deque()
        self.coming: deque[Any] = deque()
        #: events that wait for a token
        self.waiting = 0
        #: when it used its latest token; 0 if that was given back
        self.latest = 0.0


class World:
    """Lanes that share one rate. ``uses`` are the instants at which something happened."""

    lending: type[Lending] = Lending
    borrowing: type[Borrowing] = Borrowing
    #: whether a grant waits for what it rests on to be kept
    is_careful = True

    def __init__(self, rate: Rate, lanes: int, now: float = 1000.0) -> None:
        self.rate = rate
        self.now = now
        self.disk: dict[str, float] = {}
        self.uses: list[float] = []
        self.epoch = 1
        self.starts = 0
        self.broker: Lending | None = self.lending(now, {}, is_clean=True, first_lease=0)
        self.lanes: list[Lane] = []
        for _ in range(lanes):
            self.start_lane()

    # -- what happens to processes

    def start_lane(self) -> None:
        """One more lane."""
        self.starts += 1
        lane = Lane(f"lane {self.starts}", self.borrowing())
        self.lanes.append(lane)
        if self.broker is not None:
            lane.borrowing.broker_back()

    def kill_lane(self, place: int, was_heard: bool) -> None:
        """It is gone, with what was on its way to it; what it had said arrives, or does not."""
        lane = self.lanes.pop(place)
        if self.broker is not None:
            lane.coming.clear()
            while lane.sent and was_heard:
                self.to_broker(lane)
            self.broker.gone(lane.name, self.now)

    def kill_broker(self) -> None:
        """It is gone, with all that it knew, and all that was on its way."""
        self.broker = None
        for lane in self.lanes:
            lane.sent.clear()
            lane.coming.clear()
            lane.borrowing.broker_gone()

    def start_broker(self) -> None:
        """Another one; lanes are connected anew."""
        self.starts += 1
        self.broker = self.lending(self.now, self.disk, is_clean=False, first_lease=self.starts * 10**6)
        for lane in self.lanes:
            self.starts += 1
            lane.name = f"lane {self.starts}"
            lane.borrowing.broker_back()
            self.collect(lane)

    # -- what they do

    def use(self, lane: Lane) -> bool:
        """Let an event of a lane happen if it may."""
        lane.borrowing.epoch = self.epoch
        held = lane.borrowing.take(KEY, self.rate, self.now)
        if held is None:
            self.uses.append(self.now)
            lane.latest = self.now
        self.collect(lane)
        return held is None

    def take_back(self, lane: Lane) -> None:
        """The latest event of a lane has not happened after all. If the token can still be used, that shows as one more event."""
        if not lane.latest:
            return
        before = lane.borrowing.room(KEY, self.now)
        lane.borrowing.give_back(KEY, lane.latest, self.now)
        if lane.borrowing.room(KEY, self.now) > before:
            self.uses.remove(lane.latest)
        lane.latest = 0.0
        self.collect(lane)

    def collect(self, lane: Lane) -> None:
        """Put what the lane has to say on its way, and let what waits for tokens happen."""
        borrowing = lane.borrowing
        while borrowing.opened:
            borrowing.opened.clear()
            while lane.waiting and borrowing.take(KEY, self.rate, self.now) is None:
                self.uses.append(self.now)
                lane.latest = self.now
                lane.waiting -= 1
        if self.broker is not None:
            lane.sent.extend(borrowing.asks)
        borrowing.asks.clear()

    def to_broker(self, lane: Lane) -> None:
        """The next thing that a lane said arrives."""
        if self.broker is None or not lane.sent:
            return
        said = lane.sent.popleft()
        if isinstance(said, Ask):
            self.broker.ask(lane.name, said.key, said.rate, said.epoch, said.wanted, self.now)
        else:
            self.broker.settle(lane.name, said.lease, said.used, said.last_use, said.unused, self.now)
        self.deal()

    def to_lane(self, lane: Lane) -> None:
        """The next thing that the broker said to a lane arrives."""
        if not lane.coming:
            return
        said = lane.coming.popleft()
        if isinstance(said, Grant):
            lane.borrowing.granted(said.key, said.lease, said.tokens, said.most, said.until, self.now)
        else:
            lane.borrowing.told(said.key, said.opens)
        self.collect(lane)

    def deal(self) -> None:
        """Give out what the broker has decided; the disk is quick here."""
        assert self.broker is not None
        for effect in self.broker.effects:
            if isinstance(effect, Grant) and effect.keep is not None and self.is_careful:
                self.disk[effect.key] = max(self.disk.get(effect.key, 0.0), effect.keep)
            for lane in self.lanes:
                if lane.name == effect.holder:
                    lane.coming.append(effect)
        self.broker.effects.clear()

    def advance(self, seconds: float) -> None:
        """Let time pass, all that is due happen at its instant."""
        end = self.now + seconds
        while (instant := self.next_wake()) <= end:
            self.now = max(self.now, instant)
            self.wake()
        self.now = end

    def next_wake(self) -> float:
        """When something is due."""
        return min(
            [lane.borrowing.next_wake() for lane in self.lanes]
            + ([self.broker.next_wake()] if self.broker is not None else []),
            default=float("inf"),
        )

    def wake(self) -> None:
        """Let all see what time it is."""
        if self.broker is not None:
            self.broker.wake(self.now)
            self.deal()
        for lane in self.lanes:
            lane.borrowing.wake(self.now)
            self.collect(lane)

    def settle_down(self) -> None:
        """Let everything arrive."""
        while any(lane.sent or lane.coming for lane in self.lanes):
            for lane in self.lanes:
                self.to_broker(lane)
                self.to_lane(lane)

    def check(self) -> None:
        """No window of time has more events than the rate allows."""
        interval, arrival = self.rate.period / self.rate.count, 0.0
        for instant in self.uses:
            ahead = max(0.0, arrival - instant)
            assert ahead <= (self.rate.burst - 1) * interval + interval * 1e-3, (
                f"{len(self.uses)} events, one of them {ahead:.3f} s ahead at {instant}"
            )
            arrival = max(arrival, instant) + interval

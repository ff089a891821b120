"""Rates that lanes share: never exceeded, whatever dies and whatever is late; used to the full where nothing dies."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock.mail.rate import parse_rate
from penstock.shaping.borrowing import Borrowing, Settle
from penstock.shaping.lending import LIFETIME, Grant, Lending
from penstock.shaping.ports import HeldBy
from penstock.shaping.tokens import SharedRate
from tests.shaping.lanes_and_broker import KEY, Lane, World

RATES = ["5/minute", "5/minute,max_burst=1", "3/h", "100/s", "100/s,max_burst=1", "200/s,max_burst=8", "600/minute", "1/s"]  # fmt: skip
few = settings(max_examples=60, stateful_step_count=60, deadline=None)


class Machine(RuleBasedStateMachine):
    """Anything, in any order."""

    @initialize(rate=st.sampled_from(RATES), lanes=st.integers(1, 4))
    def begin(self, rate: str, lanes: int) -> None:
        """A rate and lanes."""
        self.world = World(parse_rate(rate), lanes)

    def lane(self, place: int) -> Lane:
        """One of those that live."""
        return self.world.lanes[place % len(self.world.lanes)]

    @rule(place=st.integers(0, 9), count=st.integers(1, 30))
    def use(self, place: int, count: int) -> None:
        """A lane has mail."""
        for _ in range(count):
            self.world.use(self.lane(place))

    @rule(place=st.integers(0, 9), count=st.integers(1, 5))
    def wait(self, place: int, count: int) -> None:
        """A lane has mail that waits for its tokens."""
        lane = self.lane(place)
        while count and self.world.use(lane):
            count -= 1
        lane.waiting = min(lane.waiting + count, 10)

    @rule(place=st.integers(0, 9))
    def take_back(self, place: int) -> None:
        """What a lane used a token for has not happened."""
        self.world.take_back(self.lane(place))

    @rule(place=st.integers(0, 9))
    def hear(self, place: int) -> None:
        """Something arrives at the broker."""
        self.world.to_broker(self.lane(place))

    @rule(place=st.integers(0, 9))
    def tell(self, place: int) -> None:
        """Something arrives at a lane."""
        self.world.to_lane(self.lane(place))

    @rule()
    def all_arrive(self) -> None:
        """Everything arrives."""
        self.world.settle_down()

    @rule(seconds=st.sampled_from([0.0001, 0.01, 0.3, 1.0, 1.1, 13.0, 60.0, 4000.0]), is_prompt=st.booleans())
    def advance(self, seconds: float, is_prompt: bool) -> None:
        """Time passes, with everybody awake, or all of them stalled meanwhile."""
        if is_prompt:
            self.world.advance(seconds)
        else:
            self.world.now += seconds
            self.world.wake()

    @rule(place=st.integers(0, 9), was_heard=st.booleans())
    def kill_lane(self, place: int, was_heard: bool) -> None:
        """A lane dies; another one takes its place."""
        self.world.kill_lane(place % len(self.world.lanes), was_heard)
        self.world.start_lane()

    @rule()
    def kill_broker(self) -> None:
        """The broker dies."""
        self.world.kill_broker()

    @rule()
    def start_broker(self) -> None:
        """It comes back."""
        if self.world.broker is None:
            self.world.start_broker()

    @invariant()
    def never_exceeded(self) -> None:
        """What the limit is for."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """With everybody alive, whoever waits gets what it wants, and nothing stays lent."""
        if not hasattr(self, "world"):
            return
        if self.world.broker is None:
            self.world.start_broker()
        interval = self.world.rate.period / self.world.rate.count
        for _ in range(400):
            self.world.settle_down()
            if not any(lane.waiting for lane in self.world.lanes):
                break
            self.world.advance(max(interval, LIFETIME))
        assert not any(lane.waiting for lane in self.world.lanes)
        assert self.world.broker is not None
        for _ in range(400):
            if self.world.broker.to_keep() is not None:
                break
            self.world.advance(max(interval, LIFETIME))
            self.world.settle_down()
        assert self.world.broker.to_keep() is not None, "tokens stay lent"
        self.world.check()


TestSharedRates = Machine.TestCase
TestSharedRates.settings = few


class ForgetsTheDead(Lending):
    """Takes back what a lane had that died."""

    def gone(self, holder: str, now: float) -> None:
        for number in list(self._holders.get(holder, ())):
            self.settle(holder, number, 0, now, self._leases[number].count, now)
        super().gone(holder, now)


class BeginsEmpty(Lending):
    """Thinks that nothing happened before it began."""

    def __init__(self, now: float, kept: dict[str, float], *, is_clean: bool, first_lease: int) -> None:
        super().__init__(now, kept, is_clean=True, first_lease=first_lease)


class BelievesLateUses(Lending):
    """Lets the bucket drain while tokens are lent."""

    def _lend(self, key: str, lent, holder: str, batch: tuple[int, int], now: float) -> None:  # type: ignore[no-untyped-def]
        super()._lend(key, lent, holder, batch, now)
        number = self._last_lease
        if self._leases[number].count:
            lent.shared.settle(self._leases[number].count, now, 0)
            self._leases[number].count = 0
            self._end(number, self._leases[number], lent)


class UsesOldTokens(Borrowing):
    """Never looks at the clock."""

    def granted(self, key: str, lease: int, count: int, most: int, until: float, now: float) -> None:
        super().granted(key, lease, count, most, math.inf, now)
        for borrowed in self._rates.values():
            for batch in borrowed.batches:
                batch.until = math.inf


def lanes_die(world: World) -> None:
    """One after the other, with tokens that were used and not settled."""
    for _ in range(30):
        world.use(world.lanes[0])
        world.settle_down()
        while world.use(world.lanes[0]):
            pass
        world.kill_lane(0, was_heard=False)
        world.start_lane()


def brokers_die(world: World) -> None:
    """One after the other, with lanes that want more."""
    for _ in range(5):
        world.lanes[0].waiting = 100
        world.use(world.lanes[0])
        world.settle_down()
        world.kill_broker()
        world.start_broker()


def tokens_are_used_late(world: World) -> None:
    """When others have had what was drained meanwhile."""
    early, late = world.lanes[0], world.lanes[1]
    for _ in range(4):
        world.use(early)
        world.settle_down()
    world.advance(0.1)
    late.waiting = 100
    world.use(late)
    world.settle_down()
    while world.use(early):
        pass


def tokens_outlive_their_broker(world: World) -> None:
    """In a lane that was stalled, and comes to itself when the next broker lends."""
    for _ in range(4):
        world.use(world.lanes[0])
        world.settle_down()
    world.kill_broker()
    world.now += 10
    world.start_broker()
    world.now += 10
    world.lanes[1].waiting = 100
    world.use(world.lanes[1])
    world.settle_down()
    while world.use(world.lanes[0]):
        pass


class KeepsLate(World):
    """Gives tokens out before the disk knows."""

    is_careful = False


class LendsAsForgetful(World):
    """See ForgetsTheDead."""

    lending = ForgetsTheDead


class LendsAsFresh(World):
    """See BeginsEmpty."""

    lending = BeginsEmpty


class LendsAsTrusting(World):
    """See BelievesLateUses."""

    lending = BelievesLateUses


class BorrowsForEver(World):
    """See UsesOldTokens."""

    borrowing = UsesOldTokens


@pytest.mark.parametrize(
    ("rate", "story", "mistaken"),
    [
        ("200/s,max_burst=8", lanes_die, LendsAsForgetful),
        ("5/minute", brokers_die, KeepsLate),
        ("200/s,max_burst=8", brokers_die, LendsAsFresh),
        ("200/s,max_burst=16", tokens_are_used_late, LendsAsTrusting),
        ("200/s,max_burst=16", tokens_outlive_their_broker, BorrowsForEver),
    ],
)
def test_mistakes_are_found(rate: str, story: Callable[[World], None], mistaken: type[World]) -> None:
    """Each of these lets more through than is allowed, where the real ones do not."""
    world = World(parse_rate(rate), 2)
    story(world)
    assert world.uses
    world.check()
    world = mistaken(parse_rate(rate), 2)
    story(world)
    with pytest.raises(AssertionError, match="events, one of them"):
        world.check()


def busy(rate: str, lanes: int, seconds: float, latency: float, share: list[int]) -> World:
    """Lanes that have always mail, of which ``share`` says how much at a time each, with messages that take ``latency``."""
    world = World(parse_rate(rate), lanes)
    end = world.now + seconds
    while world.now < end:
        for lane, count in zip(world.lanes, share, strict=True):
            for _ in range(count):
                if not world.use(lane):
                    break
        world.advance(latency)
        for lane in world.lanes:
            for _ in range(len(lane.sent)):
                world.to_broker(lane)
            for _ in range(len(lane.coming)):
                world.to_lane(lane)
    world.check()
    return world


@pytest.mark.parametrize(
    ("rate", "seconds", "least"),
    [
        ("100/s", 20, 0.995),
        ("1000/s,max_burst=100", 5, 0.99),
        ("20/s,max_burst=5", 20, 0.98),
        ("600/minute", 20, 0.99),
    ],
)
@pytest.mark.parametrize("share", [[100, 3, 1, 0], [50, 50, 50, 50]], ids=["uneven", "even"])
def test_a_rate_is_used_to_the_full(rate: str, seconds: int, least: float, share: list[int]) -> None:
    """With one lane that wants more than all, and others that want little, at a latency of 2 ms."""
    world = busy(rate, 4, seconds, 0.002, share)
    allowed = world.rate.burst + seconds * world.rate.count / world.rate.period
    assert len(world.uses) >= least * allowed


def test_a_slow_rate_is_exact() -> None:
    """5/minute: five, then one each twelve seconds, whoever asks."""
    world = busy("5/minute", 4, 61, 0.01, [1, 1, 1, 1])
    assert len(world.uses) == 10
    assert [round(instant - world.uses[0]) for instant in world.uses] == [0, 0, 0, 0, 0, 12, 24, 36, 48, 60]


def test_a_slow_rate_survives_its_broker() -> None:
    """The next one goes on where it was, but for the tokens that were lent: they count as used when they ran out."""
    world = World(parse_rate("5/minute"), 1)
    lane = world.lanes[0]
    lane.waiting = 100
    world.use(lane)
    world.settle_down()
    assert len(world.uses) == 5
    begun = world.now
    world.kill_broker()
    world.advance(30)
    world.start_broker()
    world.settle_down()
    assert len(world.uses) == 7
    world.advance(6 + LIFETIME)
    world.settle_down()
    assert len(world.uses) == 8 and world.uses[-1] <= begun + 36 + LIFETIME


def test_a_lane_without_its_broker() -> None:
    """Uses what it has, is held by ``broker`` then, and goes on as soon as the broker is back and has something."""
    world = World(parse_rate("100/s"), 1)
    lane = world.lanes[0]
    for _ in range(3):
        world.use(lane)
        world.settle_down()
    while lane.borrowing._rates[KEY].batches == 0:
        world.settle_down()
    world.kill_broker()
    count = len(world.uses)
    while world.use(lane):
        pass
    assert len(world.uses) > count
    held = lane.borrowing.take(KEY, world.rate, world.now)
    assert held is not None and held.by is HeldBy.BROKER and held.until == math.inf
    lane.waiting = 1
    count = len(world.uses)
    world.advance(5)
    assert len(world.uses) == count
    world.start_broker()
    world.advance(LIFETIME + 0.05)
    world.settle_down()
    assert len(world.uses) == count + 1


def test_tokens_run_out_without_a_broker() -> None:
    """A lane does not use what the next broker counts as used."""
    world = World(parse_rate("100/s"), 1)
    lane = world.lanes[0]
    world.use(lane)
    world.settle_down()
    world.kill_broker()
    world.now += LIFETIME
    assert not world.use(lane)


def test_how_long_a_wait_takes_is_told() -> None:
    """Where it is worth it: the hold has the instant."""
    world = World(parse_rate("2/minute"), 2)
    for lane in world.lanes:
        lane.waiting = 2
        world.use(lane)
        world.settle_down()
    held = world.lanes[1].borrowing.take(KEY, world.rate, world.now)
    assert held is not None and held.by is HeldBy.RATE
    assert held.until == pytest.approx(world.now + 30, abs=0.1)


def test_a_newer_epoch_changes_a_rate() -> None:
    """Places that are filled stay filled, up to the new burst; an older epoch changes nothing, though a lane still has it."""
    shared = SharedRate(parse_rate("100/s"), 1, 1001.0)
    assert shared.room(1000.0) == 0
    shared.change(parse_rate("5/minute"), 2, 1000.0)
    assert shared.arrival == pytest.approx(1060.0)
    shared.change(parse_rate("100/s"), 1, 1000.0)
    assert shared.rate == parse_rate("5/minute")
    shared.change(parse_rate("10/minute"), 3, 1030.0)
    assert shared.arrival == pytest.approx(1045.0)


def test_who_waits_for_a_slow_rate_does_not_wait_for_it_when_it_is_faster() -> None:
    """A rate of one a day that becomes one a minute is one a minute at once, also for lanes that have asked already."""
    world = World(parse_rate("1/day"), 2)
    first, second = world.lanes
    assert not world.use(first)
    world.settle_down()
    assert world.use(first)
    for lane in (first, second):
        lane.waiting = 3
        assert not world.use(lane)
    world.settle_down()
    world.advance(60.0)
    assert len(world.uses) == 1
    world.rate, world.epoch = parse_rate("1/minute"), 2
    for lane in (first, second):
        assert not world.use(lane)
    for _ in range(800):
        world.settle_down()
        world.advance(0.5)
    assert len(world.uses) >= 6


def test_a_lane_that_wants_nothing_more_says_nothing_of_the_rate() -> None:
    """Tokens of the old configuration run out under the new one, whose rate the lane has not seen: the broker takes the new one when it comes."""
    world = World(parse_rate("100/s"), 1)
    (lane,) = world.lanes
    for _ in range(20):
        world.use(lane)
        world.settle_down()
    while not lane.sent:  # it asks for more before it has used what it has
        assert world.use(lane)
    lane.borrowing.epoch = world.epoch = 2
    world.advance(5.0)
    world.settle_down()
    world.rate = parse_rate("1/h")
    before = len(world.uses)
    for _ in range(100):
        world.use(lane)
        world.settle_down()
        world.advance(0.1)
    assert len(world.uses) - before <= 1


def test_what_is_not_a_lanes_own_is_not_believed() -> None:
    """Leases of others, more than was lent, uses in the future."""
    rate = parse_rate("100/s")
    lending = Lending(0.0, {}, is_clean=True, first_lease=0)
    lending.ask("a", KEY, rate, 1, 3, 10.0)
    (grant,) = lending.effects
    assert isinstance(grant, Grant)
    lending.settle("b", grant.lease, 0, 10.0, 3, 10.0)
    lending.settle("a", grant.lease, -5, 10.0, 3, 10.0)
    assert lending.to_keep() is None
    lending.settle("a", grant.lease, 99, 99.0, 99, 10.0)
    assert lending.to_keep() == {}
    assert lending._rates[KEY].shared.arrival == pytest.approx(10.03)


def test_a_fault_of_the_disk_lends_nothing() -> None:
    """The tokens are back, and the one who asked gets them when the disk works again."""
    rate = parse_rate("5/minute")
    lending = Lending(0.0, {}, is_clean=True, first_lease=0)
    lending.ask("a", KEY, rate, 1, 1, 10.0)
    grant = lending.effects.pop()
    assert isinstance(grant, Grant) and grant.keep == pytest.approx(10.0 + LIFETIME + 12)
    lending.failed(grant, 10.0)
    assert lending.effects == []
    lending.wake(lending.next_wake())
    again = lending.effects.pop()
    assert isinstance(again, Grant) and again.keep is not None and again.keep >= grant.keep
    assert lending._rates[KEY].shared.lent == 1
    lending.gone("a", 12.0)
    lending.failed(again, 12.0)
    assert not lending._rates[KEY].waiting


def test_rates_that_nothing_is_known_of_are_forgotten() -> None:
    """By the broker and by the lane: a name that comes once costs nothing for ever."""
    lending, borrowing = Lending(0.0, {}, is_clean=True, first_lease=0), Borrowing()
    borrowing.broker_back()
    rate = parse_rate("100/s")
    for number in range(1000):
        now = float(number)
        borrowing.wake(now)
        borrowing.take(f"key {number}", rate, now)
        lending.wake(now)
        lending.ask("a", f"key {number}", rate, 1, 1, now)
        for effect in lending.effects:
            assert isinstance(effect, Grant)
            borrowing.granted(effect.key, effect.lease, effect.tokens, effect.most, effect.until, now)
        lending.effects.clear()
        for said in borrowing.asks:
            if isinstance(said, Settle):
                lending.settle("a", said.lease, said.used, said.last_use, said.unused, now)
        borrowing.asks.clear()
        borrowing.opened.clear()
    assert len(lending) < 10 and len(borrowing) < 10


def test_what_a_lane_gives_back() -> None:
    """At its end: tokens in hand, and those on their way."""
    borrowing = Borrowing()
    borrowing.broker_back()
    borrowing.take(KEY, parse_rate("100/s"), 1.0)
    borrowing.granted(KEY, 7, 5, 5, 2.0, 1.0)
    assert borrowing.take(KEY, parse_rate("100/s"), 1.5) is None
    borrowing.asks.clear()
    borrowing.close()
    assert Settle(7, 1, 1.5, 4) in borrowing.asks
    borrowing.asks.clear()
    borrowing.granted(KEY, 8, 2, 2, 2.0, 1.0)
    assert borrowing.asks == [Settle(8, 0, 0.0, 2)]

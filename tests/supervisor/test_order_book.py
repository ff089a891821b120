"""Which lanes go by an order, and how far sweeps are, whatever lanes come, go, or are silent."""

from __future__ import annotations

from collections import deque

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.mail.control import ControlRefused
from penstock.mail.directive import Action, Criteria, Directive, Order, Progress, Sweep, SweepAction
from penstock.mail.duration import WallTime
from penstock.supervisor import order_book
from penstock.supervisor.order_book import AGAIN, LINGER, SHOWN, OrderBook, kept

NOW = WallTime(1e9)
LANES = ("0", "1", "2")


def directive(
    identity: str, tenant: str = "acme", action: Action = Action.SUSPEND, seconds: float = 300
) -> Directive:
    """A directive about a tenant."""
    return Directive(identity, action, "", NOW, WallTime(NOW + seconds), Criteria(tenant=tenant))


def sweep(identity: str, action: SweepAction = SweepAction.BOUNCE) -> Sweep:
    """A sweep over a tenant."""
    return Sweep(Order(identity, action, ""), Criteria(tenant="acme"), NOW)


def begun(*lanes: str) -> OrderBook:
    """A book of these lanes, which are all at work."""
    book = OrderBook(lanes)
    for lane in lanes:
        book.joined(lane)
        book.begins(lane)
    return book


def test_who_may_start_mail_lacks_a_change_until_it_answers() -> None:
    """Each lane for itself; a later answer speaks for what came before."""
    book = begun("0", "1")
    book.give(directive("a"), None)
    first = book.version
    assert book.lacking(first) == ("0", "1")
    book.applied("1", first)
    assert book.lacking(first) == ("0",)
    book.give(directive("b", "other"), None)
    book.applied("0", book.version)
    assert book.lacking(first) == ()
    assert book.lacking(book.version) == ("1",)


def test_a_lane_knows_what_it_was_told_before_it_begins() -> None:
    """It starts no mail until then, so nobody waits for it; what comes after that it has to answer."""
    book = OrderBook(["0"])
    book.joined("0")
    book.give(directive("a"), None)
    assert book.lacking(book.version) == ()
    book.begins("0")
    assert book.lacking(book.version) == ()
    book.give(directive("b", "other"), None)
    assert book.lacking(book.version) == ("0",)
    book.left("0")
    assert book.lacking(book.version) == ()


def test_a_lane_of_an_earlier_program_lacks_everything_until_it_has_gone() -> None:
    """It goes on without a bus, and starts mail."""
    book = OrderBook(["0"])
    book.unguided("0")
    book.give(directive("a"), None)
    assert book.lacking(book.version) == ("0",)
    book.left("0")
    book.joined("0")
    assert book.lacking(book.version) == ()


def test_the_same_criteria_take_the_place_of_the_old() -> None:
    """With its sweep, which the new one covers; the id of the old is told."""
    book = begun("0")
    bounce = directive("a", action=Action.BOUNCE)
    assert book.give(bounce, sweep("a")) is None
    again = directive("b", action=Action.BOUNCE, seconds=900)
    assert book.give(again, sweep("b")) == "a"
    assert book.given() == ((again,), (sweep("b"),))


def test_a_sweep_is_finished_when_each_lane_of_the_server_has_done_it() -> None:
    """Also one that is not there now; then it is given once more, for mail that was between lanes, and shown for an hour."""
    book = OrderBook(["0", "1"])
    book.joined("0")
    book.give(None, sweep("a"))
    assert book.progressed("0", {"a": Progress(5, 5, True)}, NOW) == []
    assert book.progressed("1", {"a": Progress(1, 1, True)}, NOW) == [], "nobody is there who says it"
    book.joined("1")
    assert book.given() == ((), (sweep("a"),))
    assert book.progressed("1", {"a": Progress(2, 1)}, NOW) == []
    assert book.progressed("1", {"a": Progress(2, 2, True)}, NOW) == ["a"]
    state = book.sweep("a")
    assert state is not None and (state.matched, state.done, state.finished) == (7, 7, NOW)
    assert book.next_wake() == NOW + AGAIN
    assert book.expire(WallTime(NOW + AGAIN)) == ([], [sweep("a")], [], [])
    assert book.progressed("1", {"a": Progress(1, 1, True)}, NOW) == []
    state = book.sweep("a")
    assert state is not None and (state.matched, state.done, state.finished) == (8, 8, NOW)
    assert book.next_wake() == NOW + LINGER
    assert book.expire(WallTime(NOW + LINGER)) == ([], [], ["a"], [])
    assert book.given() == ((), ())
    assert book.next_wake() == NOW + SHOWN
    assert book.expire(WallTime(NOW + SHOWN)) == ([], [], [], ["a"])
    assert book.next_wake() is None


@pytest.mark.parametrize("action", SweepAction)
def test_a_flush_is_not_given_once_more(action: SweepAction) -> None:
    """What it had due, and has failed meanwhile, would be tried twice; nor is it given to lanes that come when it is finished."""
    book = begun("0", "1")
    book.give(None, sweep("a", action))
    book.progressed("0", {"a": Progress(5, 5, True)}, NOW)
    assert book.given() == ((), (sweep("a", action),))
    assert book.progressed("1", {"a": Progress(2, 2, True)}, NOW) == ["a"]
    if action is not SweepAction.FLUSH:
        assert book.expire(NOW) == ([], [], [], [])
        assert book.expire(WallTime(NOW + AGAIN)) == ([], [sweep("a", action)], [], [])
        return
    assert book.next_wake() == NOW
    assert book.expire(NOW) == ([], [], ["a"], [])
    assert book.given() == ((), ())
    book.left("0")
    book.joined("0")
    book.progressed("0", {"a": Progress(5, 5, True)}, NOW)
    assert book.expire(WallTime(NOW + AGAIN)) == ([], [], [], [])
    state = book.sweep("a")
    assert state is not None and (state.matched, state.done, state.finished) == (7, 7, NOW)
    assert book.next_wake() == NOW + SHOWN


def test_a_lane_that_comes_again_does_what_is_left_of_a_sweep() -> None:
    """What its process before had done is counted once, and it is not over until the new one says so."""
    book = begun("0")
    book.give(None, sweep("a"))
    book.progressed("0", {"a": Progress(10, 4)}, NOW)
    book.left("0")
    book.joined("0")
    state = book.sweep("a")
    assert state is not None and (state.matched, state.done) == (4, 4)
    book.progressed("0", {"a": Progress(6, 1)}, NOW)
    state = book.sweep("a")
    assert state is not None and (state.matched, state.done) == (10, 5)
    later = OrderBook(["0"], sweeps=[kept(state)])
    later.joined("0")
    assert later.progressed("0", {"a": Progress(5, 5, True)}, NOW) == ["a"]
    state = later.sweep("a")
    assert state is not None and (state.matched, state.done) == (10, 10)


def test_what_was_done_before_a_lane_died_is_not_over_when_it_comes_again() -> None:
    """It may have mail again that it had not recorded as done."""
    book = begun("0", "1")
    book.give(None, sweep("a"))
    book.progressed("0", {"a": Progress(1, 1, True)}, NOW)
    book.left("0")
    book.joined("0")
    assert book.progressed("1", {"a": Progress(0, 0, True)}, NOW) == []
    assert book.progressed("0", {"a": Progress(0, 0, True)}, NOW) == ["a"]


def rebind(identity: str, criteria: Criteria) -> Sweep:
    """A sweep that puts mail into another queue."""
    return Sweep(Order(identity, SweepAction.REBIND, ""), criteria, NOW)


@pytest.mark.parametrize("later", [Criteria(tenant="acme"), Criteria()], ids=str)
def test_a_rebind_that_was_corrected_is_not_given_once_more(later: Criteria) -> None:
    """It would take out what the later one has put in: neither lanes that are there nor those that come get it; the later one they do."""
    book = begun("0", "1")
    first, second = rebind("a", Criteria(tenant="acme")), rebind("b", later)
    book.give(None, first)
    book.give(None, second)
    assert book.given() == ((), (first, second)), "what is not finished has to be done"
    for lane in ("0", "1"):
        book.progressed(lane, {"a": Progress(1, 1, True), "b": Progress(1, 1, True)}, NOW)
    assert book.given() == ((), (second,))
    assert book.expire(WallTime(NOW + AGAIN)) == ([], [second], [], [])


def test_rebinds_of_other_mail_are_given_once_more() -> None:
    """A later one that is about less, or about other mail, and one that is no rebind, correct nothing."""
    book = begun("0", "1")
    sweeps = [rebind("a", Criteria(tenant="acme")), rebind("b", Criteria(tenant="acme", domain="a.test"))]
    for each in (*sweeps, sweep("c")):
        book.give(None, each)
    done = Progress(1, 1, True)
    for lane in ("0", "1"):
        book.progressed(lane, {"a": done, "b": done, "c": done}, NOW)
    assert book.expire(WallTime(NOW + AGAIN)).again == [*sweeps, sweep("c")]


def test_cancelling_undoes_directive_and_sweep() -> None:
    """By their id; what is finished cannot be undone."""
    book = begun("0")
    book.give(directive("a", action=Action.BOUNCE), sweep("a"))
    assert book.has("a") and not book.has("b")
    assert book.cancel("a") == directive("a", action=Action.BOUNCE)
    assert not book.has("a") and book.given() == ((), ())
    book.give(None, sweep("b"))
    book.progressed("0", {"b": Progress(0, 0, True)}, NOW)
    assert not book.has("b")


def test_directives_go_when_their_time_is_over() -> None:
    """Their sweeps are done to the end."""
    book = begun("0")
    book.give(directive("a", action=Action.BOUNCE, seconds=60), sweep("a"))
    book.give(directive("b", "other", seconds=90), None)
    assert book.next_wake() == NOW + 60
    assert [item.id for item in book.expire(WallTime(NOW + 60))[0]] == ["a"]
    assert book.given() == ((directive("b", "other", seconds=90),), (sweep("a"),))
    assert book.listing(WallTime(NOW + 95)).directives == ()


def test_what_is_in_force_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused, and says what to do."""
    monkeypatch.setattr(order_book, "DIRECTIVES_LIMIT", 1)
    monkeypatch.setattr(order_book, "SWEEPS_LIMIT", 1)
    book = begun("0")
    book.give(directive("a"), sweep("s"))
    with pytest.raises(ControlRefused, match="penstock directives cancel"):
        book.check(directive("b"), None)
    with pytest.raises(ControlRefused, match="not finished"):
        book.check(None, sweep("t"))
    monkeypatch.setattr(order_book, "FINISHED_SHOWN", 0)
    book.progressed("0", {"s": Progress(0, 0, True)}, NOW)
    book.check(None, sweep("t"))
    assert book.expire(WallTime(NOW + LINGER)) == ([], [], ["s"], ["s"])


class _Process:
    """A lane's process: words on their way to it, and what it goes by."""

    def __init__(self, given: frozenset[str]) -> None:
        #: pairs of a version and what is in force with it; a version of None tells it to begin
        self.inbox: deque[tuple[int | None, frozenset[str]]] = deque()
        self.inbox.append((0, given))
        self.has_begun = False
        self.goes_by: frozenset[str] = frozenset()


class Lanes(RuleBasedStateMachine):
    """Lanes that take their words when they like. What was answered without naming a lane, that lane goes by whenever it starts mail."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook(LANES)
        self.there: dict[str, _Process] = {}
        self.old: set[str] = set()
        self.number = 0
        #: of each lane, what it must go by if it starts mail: in force, and answered for it
        self.promised: dict[str, set[str]] = {lane: set() for lane in LANES}
        self.versions: dict[str, int] = {}

    def _in_force(self) -> frozenset[str]:
        return frozenset(item.id for item in self.book.directives)

    @rule(lane=st.sampled_from(LANES))
    def comes(self, lane: str) -> None:
        """A process is started, and told the book."""
        if lane not in self.there and lane not in self.old:
            self.book.joined(lane)
            self.there[lane] = _Process(self._in_force())

    @rule(lane=st.sampled_from(LANES))
    def is_adopted(self, lane: str) -> None:
        """A process of an earlier program is there."""
        if lane not in self.there and lane not in self.old:
            self.book.unguided(lane)
            self.old.add(lane)
            self.promised[lane] = set()

    @rule(lane=st.sampled_from(LANES))
    def is_told_to_begin(self, lane: str) -> None:
        """Behind all that it was told."""
        process = self.there.get(lane)
        if process is not None and not any(version is None for version, _ in process.inbox):
            self.book.begins(lane)
            process.inbox.append((None, frozenset()))

    @rule(lane=st.sampled_from(LANES))
    def takes_a_word(self, lane: str) -> None:
        """And answers it."""
        process = self.there.get(lane)
        if process is None or not process.inbox:
            return
        version, force = process.inbox.popleft()
        if version is None:
            process.has_begun = True
        else:
            process.goes_by = force
            if version:
                self.book.applied(lane, version)

    @rule(lane=st.sampled_from(LANES))
    def dies(self, lane: str) -> None:
        """With all that it was told."""
        if lane in self.there or lane in self.old:
            self.there.pop(lane, None)
            self.old.discard(lane)
            self.book.left(lane)

    @rule(seconds=st.sampled_from([50, 500]))
    def gives(self, seconds: int) -> None:
        """Another directive."""
        self.number += 1
        identity = str(self.number)
        self.book.give(directive(identity, f"t{self.number % 4}", seconds=seconds), None)
        self._tell(identity)

    @precondition(lambda self: len(self.book.directives))
    @rule(data=st.data())
    def cancels(self, data: st.DataObject) -> None:
        """One that is in force."""
        identity = data.draw(st.sampled_from(sorted(self._in_force())))
        self.book.cancel(identity)
        self._tell(identity)

    def _tell(self, identity: str) -> None:
        self.versions[identity] = self.book.version
        for process in self.there.values():
            process.inbox.append((self.book.version, self._in_force()))

    @invariant()
    def what_was_answered_holds(self) -> None:
        """For each directive in force: a lane that is not named as lacking it, and has begun, goes by it."""
        for identity in self._in_force():
            lacking = self.book.lacking(self.versions[identity])
            for lane, process in self.there.items():
                if process.has_begun and lane not in lacking:
                    assert identity in process.goes_by
            assert self.old <= set(lacking)

    @invariant()
    def nobody_is_waited_for_in_vain(self) -> None:
        """A lane that has taken all its words lacks nothing, nor does one that was not told to begin."""
        lacking = self.book.lacking(self.book.version)
        for lane, process in self.there.items():
            if not process.inbox or not (
                process.has_begun or any(version is None for version, _ in process.inbox)
            ):
                assert lane not in lacking


TestLanes = Lanes.TestCase


def test_the_model_finds_a_lane_that_is_believed_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that begins is taken to know what it is told later."""

    def lacking(self: OrderBook, version: int) -> tuple[str, ...]:
        there = self._there.items()
        return tuple(lane for lane, item in there if item.may_start and item.sure < version - 1)

    monkeypatch.setattr(OrderBook, "lacking", lacking)
    machine = Lanes()
    machine.comes("0")
    machine.is_told_to_begin("0")
    for _ in range(2):
        machine.takes_a_word("0")
    machine.gives(50)
    with pytest.raises(AssertionError):
        machine.what_was_answered_holds()

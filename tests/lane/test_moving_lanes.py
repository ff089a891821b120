"""Messages that move between lanes whose disks and connections fail at any step, and mistakes that this must find."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import pytest

from penstock.lane.giving import Giver
from penstock.lane.taking import Taker
from penstock.queueing.moving import Discard, Free
from penstock.spool import queued as queued_module
from penstock.spool import reclaim as reclaim_module
from penstock.spool.arrivals import Arrivals
from penstock.spool.departures import Departures
from penstock.spool.meaning import State
from penstock.spool.queued import Queued
from tests.lane.moving_lanes import away_for_long, run

Patch = contextlib.AbstractContextManager[object]
MISTAKES: dict[str, Callable[[], Patch]] = {}
#: Mistakes that are found within a moment.
QUICK = (
    "told before it is forgotten",
    "held mail is delivered after a restart",
    "what has gone is not remembered",
)


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """Nobody hears of the errors that are made."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_message_is_delivered_once_whatever_fails() -> None:
    """None is lost, none is deliverable in two lanes at any step, and in the end all accounts are even; and all that may happen did."""
    kinds: Counter[str] = Counter()
    for seed in range(8):
        kinds += run(seed).kinds
    assert not {
        "deliveries", "messages moved", "segments removed", "kills", "power cuts", "connections that ended",
        "changes of homes",
    } - set(kinds)  # fmt: skip


def test_a_lane_that_was_away_for_long_is_told_what_is_its_own() -> None:
    """What has gone to it is known for as long as it may ask, whatever became of the log meanwhile."""
    assert away_for_long().accepted


def mistake(name: str) -> Callable[[Callable[[], Patch]], Callable[[], Patch]]:
    """What the function below makes is a mistake of this name."""

    def decorate(patch: Callable[[], Patch]) -> Callable[[], Patch]:
        MISTAKES[name] = patch
        return patch

    return decorate


def replaced(owner: object, name: str, made: Callable[..., Any]) -> Patch:
    """``made`` in place of a function; it is given the function first."""
    original = getattr(owner, name)
    return mock.patch.object(owner, name, lambda *args, **options: made(original, *args, **options))


@mistake("told before it is forgotten")
def _told_early() -> Patch:
    def forget(original: Any, self: Any, position: int, move: Any, done: Any) -> None:
        original(self, position, move, lambda: None)
        done()

    return replaced(Departures, "forget", forget)


@mistake("accepted before it is stored")
def _accepted_early() -> Patch:
    def hold(original: Any, self: Any, arrivals: Any, done: Any) -> None:
        rows: list[int] = []
        original(self, arrivals, lambda _positions, _fault: None)
        rows += list(self._queued.held)[-len(arrivals) :]
        done(rows, None)

    return replaced(Arrivals, "hold", hold)


@mistake("held mail is delivered after a restart")
def _not_held() -> Patch:
    def change(original: Any, self: Any, row: int, kind: int, change: Any) -> None:
        original(self, row, kind, change)
        self.held.pop(row, None) if kind == queued_module.FrameType.MOVED else None

    return replaced(Queued, "change", change)


@mistake("held mail is not held any more when it is copied")
def _copied_free() -> Patch:
    def state(*args: Any) -> State:
        return State(*args[:5])

    return mock.patch.object(reclaim_module, "State", state)


@mistake("what has gone is not remembered")
def _not_remembered() -> Patch:
    return replaced(Departures, "find", lambda _original, _self, _places: iter(()))


@mistake("what has gone is taken to be confirmed")
def _taken_to_be_confirmed() -> Patch:
    return replaced(Departures, "_mark", lambda _original, self: self._appender.position)


@mistake("what has gone goes with its segment")
def _goes() -> Patch:
    return replaced(Departures, "may_go", lambda _original, _self, _segment: True)


@mistake("confirmed before that is stored")
def _confirmed_early() -> Patch:
    def release(original: Any, self: Any, position: int, done: Any) -> None:
        original(self, position, lambda: None)
        self._loop.call_soon(done)

    return replaced(Arrivals, "release", release)


@mistake("what is released is delivered and not released")
def _never_released() -> Patch:
    def decide(_original: Any, self: Any, _row: int, done: Any, *, is_dropped: bool) -> None:
        self._loop.call_soon(done)

    return replaced(Arrivals, "_decide", decide)


@mistake("what is accepted is given again")
def _given_again() -> Patch:
    def forget(original: Any, self: Any, part: Any, leaver: Any) -> None:
        self._source.put_back(leaver)
        self._act(self._giving.has_kept(part))

    return replaced(Giver, "_forget", forget)


@mistake("what is dropped is delivered")
def _delivers_dropped() -> Patch:
    def act(original: Any, self: Any, actions: Iterable[Any]) -> None:
        freed = [Free(item.part, item.item) if isinstance(item, Discard) else item for item in actions]
        original(self, freed)

    return replaced(Taker, "_act", act)


def found(name: str, seeds: Iterable[int]) -> bool:
    """Whether a run goes wrong with this mistake."""
    with MISTAKES[name]():
        for story, seed in [(away_for_long, 1), *[(run, seed) for seed in seeds]]:
            try:
                story(seed)
            except Exception:  # noqa: BLE001 -- whatever the mistake leads to
                return True
    return False


@pytest.mark.parametrize("name", QUICK)
def test_a_mistake_is_found(name: str) -> None:
    """Some of them."""
    assert found(name, range(20))


@pytest.mark.campaign
@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_found(name: str) -> None:
    """All of them."""
    assert found(name, range(400))


@pytest.mark.campaign
def test_nothing_goes_wrong_in_many_runs() -> None:
    """Five hundred of them."""
    for seed in range(1000, 1500):
        run(seed)

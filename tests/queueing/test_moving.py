"""The protocol by which messages move between lanes: by hand, against a model, and with mistakes that the model must find."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from penstock.mail.ids import MessageId
from penstock.queueing.moving import (
    Coming,
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
    Going,
    Part,
    TakerPartsDrop,
    TakerPartsRelease,
    Taking,
    Violation,
)
from tests.queueing.mistakes import assert_found
from tests.queueing.moving_machine import MovingMachine

ONE = MessageId("1")
PARTS = (Part(ONE, 0), Part(ONE, 1))


def offered() -> Giving[str]:
    """Two messages, offered on a connection."""
    giving: Giving[str] = Giving()
    giving.opened()
    giving.offer(ONE, ["a", "b"])
    return giving


def held() -> Taking[str]:
    """Two messages, held."""
    taking: Taking[str] = Taking()
    taking.opened()
    taking.offered(ONE)
    taking.has_stored(ONE, ["a", "b"])
    return taking


def test_a_message_goes() -> None:
    """Offered, accepted, forgotten, released, confirmed."""
    giving = offered()
    assert giving.accepted(ONE) == [Forget(PARTS[0], "a"), Forget(PARTS[1], "b")]
    assert giving.has_forgotten(PARTS[1]) == [TakerPartsRelease((PARTS[1],))]
    assert giving.has_forgotten(PARTS[0]) == [TakerPartsRelease((PARTS[0],))]
    assert giving.confirmed(PARTS) == [Confirmed(part) for part in PARTS]
    assert len(giving) == 0


def test_a_message_comes() -> None:
    """Stored, accepted, released, and that written."""
    taking: Taking[str] = Taking()
    taking.opened()
    taking.offered(ONE)
    assert taking.has_stored(ONE, ["a", "b"]) == [GiverOfferAccept(ONE)]
    assert taking.released(PARTS[:1]) == [Free(PARTS[0], "a")]
    assert taking.has_freed(PARTS[0]) == [GiverPartsConfirm(PARTS[:1])]
    assert taking.dropped(PARTS[1:]) == [Discard(PARTS[1], "b")]
    assert len(taking) == 0


def test_an_offer_that_is_not_answered_is_taken_back_when_the_connection_ends() -> None:
    """All of it; the answer can only be that it is kept."""
    giving = offered()
    assert [(back.item, type(back)) for back in giving.closed()] == [("a", GiveBack), ("b", GiveBack)]
    assert giving.opened() == []
    assert giving.asked(PARTS) == [TakerPartsDrop(PARTS)]


def test_what_is_being_forgotten_goes_on_without_a_connection() -> None:
    """And is told with the next one."""
    giving = offered()
    giving.accepted(ONE)
    assert giving.closed() == []
    assert giving.asked(PARTS) == []
    assert giving.has_forgotten(PARTS[0]) == []
    assert giving.opened() == [TakerPartsRelease(PARTS[:1])]
    assert giving.asked(PARTS) == [TakerPartsRelease(PARTS[:1])]


def test_what_was_forgotten_before_a_restart_is_released() -> None:
    """It is told at once, and to whoever asks."""
    giving: Giving[str] = Giving()
    giving.restore(PARTS[:1])
    assert giving.opened() == [TakerPartsRelease(PARTS[:1])]
    assert giving.asked(PARTS) == [TakerPartsRelease(PARTS[:1]), TakerPartsDrop(PARTS[1:])]


def test_what_is_not_there_to_be_forgotten_is_kept() -> None:
    """The other lane drops what it holds."""
    giving = offered()
    giving.accepted(ONE)
    assert giving.has_kept(PARTS[0]) == [TakerPartsDrop(PARTS[:1])]
    assert giving.asked(PARTS) == [TakerPartsDrop(PARTS[:1])]


def test_what_is_held_is_asked_for_with_each_connection() -> None:
    """Also what was stored after the connection on which it came had ended."""
    taking: Taking[str] = Taking()
    taking.opened()
    taking.offered(ONE)
    taking.closed()
    taking.opened()
    assert taking.has_stored(ONE, ["a", "b"]) == [GiverPartsAsk(PARTS)]
    taking.closed()
    assert taking.opened() == [GiverPartsAsk(PARTS)]


def test_what_cannot_be_stored_is_refused() -> None:
    """Whoever offered it takes it back; on another connection it has done so."""
    for is_same, said in ((True, [GiverOfferRefuse(ONE, "full")]), (False, [])):
        taking: Taking[str] = Taking()
        taking.opened()
        taking.offered(ONE)
        if not is_same:
            taking.closed()
            taking.opened()
        assert taking.has_not_stored(ONE, "full") == said
    giving = offered()
    assert [back.item for back in giving.refused(ONE)] == ["a", "b"]


def test_a_release_is_confirmed_however_often_it_is_told() -> None:
    """Once it is on stable storage; of what is not known it was."""
    taking = held()
    assert taking.released(PARTS) == [Free(PARTS[0], "a"), Free(PARTS[1], "b")]
    assert taking.released(PARTS) == []
    assert taking.has_freed(PARTS[0]) == [GiverPartsConfirm(PARTS[:1])]
    assert taking.released(PARTS) == [GiverPartsConfirm(PARTS[:1])]


@pytest.mark.parametrize(
    "say",
    [
        lambda: offered().accepted(MessageId("2")),
        lambda: offered().refused(MessageId("2")),
        lambda: offered().asked(PARTS),
        lambda: offered().confirmed(PARTS),
        lambda: held().offered(ONE),
        lambda: _released().dropped(PARTS),
        lambda: _holding().released(PARTS),
        lambda: _holding().dropped(PARTS),
    ],
    ids=[
        "accepts what was not offered", "refuses what was not offered", "asks for what it has not answered",
        "confirms what it was not given", "offers the same again", "drops what it released",
        "releases what was not accepted", "drops what was not accepted",
    ],
)  # fmt: skip
def test_nonsense_is_a_violation(say: Callable[[], object]) -> None:
    """And changes nothing."""
    with pytest.raises(Violation):
        say()


def _released() -> Taking[str]:
    taking = held()
    taking.released(PARTS)
    return taking


def _holding() -> Taking[str]:
    taking: Taking[str] = Taking()
    taking.opened()
    taking.offered(ONE)
    return taking


# -- the model


def test_nothing_is_lost_or_deliverable_twice_whatever_crashes_when() -> None:
    """Two lanes or three, both sides at each step, connections that end, words that are lost with them."""
    examples = int(os.environ.get("PENSTOCK_EXAMPLES", "60"))
    run_state_machine_as_test(
        MovingMachine, settings=settings(max_examples=examples, stateful_step_count=60, deadline=None)
    )


class TakesAtOnce(Taking[int]):
    """Deliverable as soon as it is stored."""

    def has_stored(self, offer: MessageId, items: Sequence[int]) -> list[Any]:
        return [
            *super().has_stored(offer, items),
            *self.released([Part(offer, n) for n in range(len(items))]),
        ]


class ReleasesWhatItDoesNotKnow(Giving[int]):
    """What is not known must have gone."""

    def asked(self, parts: Sequence[Part]) -> list[Any]:
        return [
            TakerPartsRelease(word.parts) if isinstance(word, TakerPartsDrop) else word
            for word in super().asked(parts)
        ]


class DropsWhatItIsForgetting(Giving[int]):
    """What is not forgotten yet is dropped."""

    def asked(self, parts: Sequence[Part]) -> list[Any]:
        forgetting = tuple([part for part in parts if self._going.get(part) is Going.FORGETTING])
        return [*super().asked(parts), *([TakerPartsDrop(forgetting)] if forgetting else [])]


class ReleasesBeforeItIsForgotten(Giving[int]):
    """The other lane is told as soon as it has accepted."""

    def accepted(self, offer: MessageId) -> list[Any]:
        forget = super().accepted(offer)
        return [*forget, TakerPartsRelease(tuple([item.part for item in forget]))]


class ForgetsItsPast(Giving[int]):
    """What was forgotten is not remembered over a restart."""

    def restore(self, parts: Any) -> None:
        """Nothing."""


class TakesBackWhatWasAccepted(Giving[int]):
    """When the connection ends, all that is not forgotten comes back."""

    def closed(self) -> list[Any]:
        back: list[Any] = list(super().closed())
        forgetting = [part for part, going in self._going.items() if going is Going.FORGETTING]
        return [*back, *[GiveBack(part.offer, self._items[part]) for part in forgetting]]


class NeverTakesBack(Giving[int]):
    """What was not answered stays offered."""

    def closed(self) -> list[Any]:
        self.is_open = False
        return []


class SaysNothingFirst(Taking[int]):
    """What is held is never asked for."""

    def opened(self) -> list[Any]:
        super().opened()
        return []


class SaysNothingAgain(Giving[int]):
    """What was forgotten is not released on another connection, and not when it is asked for."""

    def opened(self) -> list[Any]:
        super().opened()
        return []

    def asked(self, parts: Sequence[Part]) -> list[Any]:
        return [word for word in super().asked(parts) if isinstance(word, TakerPartsDrop)]


class FreesTwice(Taking[int]):
    """What is told twice is done twice."""

    def released(self, parts: Sequence[Part]) -> list[Any]:
        again = [part for part in parts if self._coming.get(part) is Coming.RELEASING]
        return [*super().released(parts), *[Free(part, self._items[part]) for part in again]]


class ConfirmsAtOnce(Taking[int]):
    """That it is not held any more is told before it is stored."""

    def released(self, parts: Sequence[Part]) -> list[Any]:
        freed = [action for action in super().released(parts) if isinstance(action, Free)]
        return [*freed, GiverPartsConfirm(tuple(parts))]

    def has_freed(self, part: Part) -> list[Any]:
        super().has_freed(part)
        return []


class ForgetsOnConfirmation(Giving[int]):
    """Confirmed or not: what was released once is not remembered."""

    def has_forgotten(self, part: Part) -> list[Any]:
        said = super().has_forgotten(part)
        del self._going[part]
        return said


MISTAKES = (
    TakesAtOnce, ReleasesWhatItDoesNotKnow, DropsWhatItIsForgetting, ReleasesBeforeItIsForgotten, ForgetsItsPast,
    TakesBackWhatWasAccepted, NeverTakesBack, SaysNothingFirst, SaysNothingAgain, FreesTwice, ConfirmsAtOnce,
    ForgetsOnConfirmation,
)  # fmt: skip


#: Mistakes that are found within a moment.
QUICK = (TakesAtOnce, DropsWhatItIsForgetting, ForgetsItsPast)


def finds(mistake: type[Any]) -> None:
    """Show that the model finds it."""

    class Mistaken(MovingMachine):
        give = mistake if issubclass(mistake, Giving) else Giving
        take = mistake if issubclass(mistake, Taking) else Taking

    assert_found(Mistaken)


@pytest.mark.parametrize("mistake", QUICK, ids=lambda item: item.__name__)
def test_the_model_finds_a_mistake(mistake: type[Any]) -> None:
    """Some of them."""
    finds(mistake)


@pytest.mark.campaign
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda item: item.__name__)
def test_the_model_finds_every_mistake(mistake: type[Any]) -> None:
    """All of them."""
    finds(mistake)

"""Transactions from lane to lane over real sockets: who stores, who delivers, and what is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from penstock.ipc.lane_words import (
    HAND_OVER,
    LANE,
    LaneSessionOpen,
    LaneTransactionStore,
    SenderCreditGrant,
    SenderIntakeChange,
    SenderTransactionsConfirm,
    SenderTransactionSettle,
)
from penstock.lane.handing_over import Neighbour, Transfer
from penstock.mail.duration import Seconds
from penstock.mail.ports import SpoolError, SpoolUncertain
from penstock.queueing.handover import ANSWER_WITHIN, COMMIT_WITHIN, SEND_WITHIN, STALLED, Credit, Fate
from penstock.sim.clock import FakeClock
from penstock.spool import passing
from penstock.spool.codec import body_of
from penstock.spool.frame import SECOND, VERSION

from .lanes import HomeLane, Sender, Slow, Stranger, link, play, records, settle, until


def test_what_is_handed_over_is_answered_when_it_is_stored_and_not_before(tmp_path: Path) -> None:
    """All messages of a transaction, octet for octet; the lane delivers them."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        slow = Slow(lane)
        await link(sender, lane)
        given = records(1, parts=3)
        sender.hand_over(given)
        await until(lambda: len(slow))
        assert sender.fate(given) is None
        assert not lane.delivered
        slow.answer(0)
        await until(lambda: sender.told)
        assert sender.fate(given) is Fate.STORED
        assert lane.delivered == lane.shown == given
        await sender.neighbour.close()

    play(scene)


def test_many_are_under_way_and_answered_in_any_order(tmp_path: Path) -> None:
    """Each with the answer that is its own, in small frames and in large ones."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        slow = Slow(lane)
        await link(sender, lane)
        given = [records(number, content=b"x" * (number * 6000)) for number in range(40)]
        for each in given:
            sender.hand_over(each)
        await until(lambda: len(slow) == 40)
        faults = [None, SpoolError("full"), SpoolUncertain("odd")]
        order = sorted(range(40), key=lambda number: number * 7 % 40)
        waiting = list(range(40))
        for number in order:
            slow.answer(waiting.index(number), faults[number % 3])
            waiting.remove(number)
        await until(lambda: len(sender.told) == 40)
        fates = [Fate.STORED, Fate.NOT_STORED, Fate.UNCERTAIN]
        assert [sender.fate(each) for each in given] == [fates[number % 3] for number in range(40)]
        assert sorted(record.id for record in lane.delivered) == sorted(
            given[number][0].id for number in range(40) if number % 3 == 0
        )
        assert sender.neighbour.octets == 0
        await sender.neighbour.close()

    play(scene)


def test_of_what_was_sent_nothing_can_be_said_when_the_lane_is_gone(tmp_path: Path) -> None:
    """It may be stored, and here it is: it is delivered. What was not sent may go elsewhere."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path, Credit(10_000, 1)), Sender(clock)
        slow = Slow(lane)
        await link(sender, lane)
        first, second = records(1), records(2)
        sender.hand_over(first)
        sender.hand_over(second)
        await until(lambda: len(slow))
        sender.neighbour.end()
        assert (sender.fate(first), sender.fate(second)) == (Fate.UNCERTAIN, Fate.UNSENT)
        assert not sender.neighbour.is_taking
        await settle()
        slow.answer(0)
        await settle()
        assert lane.delivered == first
        assert len(sender.told) == 2
        sender.hand_over(records(3))
        assert not sender.taken[records(3)[0].id]
        await sender.neighbour.close()

    play(scene)


def test_what_comes_after_its_deadline_is_not_stored(tmp_path: Path) -> None:
    """A lane that was stopped for a while stores nothing that may have been answered otherwise."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        await link(sender, lane)
        given = records(1)
        sender.hand_over(given)  # it is in the kernel by now, or will be: the lane has not had its turn
        clock.advance(Seconds(COMMIT_WITHIN + 0.1))
        await until(lambda: sender.told)
        assert sender.fate(given) is Fate.NOT_STORED
        assert not lane.shown
        await sender.neighbour.close()

    play(scene)


def test_a_lane_that_does_not_answer_is_left(tmp_path: Path) -> None:
    """Nothing more is offered once it stands still; after the time for the answer whoever waits is told that nobody knows."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        slow = Slow(lane)
        await link(sender, lane)
        first, second, third = records(1), records(2), records(3)
        sender.hand_over(first)
        await until(lambda: len(slow))
        clock.advance(Seconds(STALLED + 0.1))
        sender.hand_over(second)
        assert not sender.taken[second[0].id]
        clock.advance(Seconds(ANSWER_WITHIN - STALLED - 0.2))
        sender.neighbour.look()
        assert not sender.told
        clock.advance(Seconds(0.2))
        sender.neighbour.look()
        assert sender.fate(first) is Fate.UNCERTAIN
        assert not sender.neighbour.is_taking
        await link(sender, lane)
        lane.spool.is_slow = False
        sender.hand_over(third)
        await until(lambda: sender.fate(third))
        assert sender.fate(third) is Fate.STORED
        await sender.neighbour.close()

    play(scene)


def test_what_finds_no_credit_waits_a_while_and_goes_elsewhere(tmp_path: Path) -> None:
    """What gets credit in time goes on its way."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path, Credit(10_000, 1)), Sender(clock)
        slow = Slow(lane)
        await link(sender, lane)
        given = [records(number) for number in range(3)]
        for each in given:
            sender.hand_over(each)
        await until(lambda: len(slow))
        slow.answer(0)
        await until(lambda: sender.fate(given[0]) and len(slow))
        clock.advance(Seconds(SEND_WITHIN + 0.1))
        sender.neighbour.look()
        assert [sender.fate(each) for each in given] == [Fate.STORED, None, Fate.UNSENT]
        slow.answer(0)
        await until(lambda: sender.fate(given[1]) is Fate.STORED)
        await settle()
        assert [record.id for record in lane.delivered] == [given[0][0].id, given[1][0].id]
        await sender.neighbour.close()

    play(scene)


def test_a_lane_that_takes_no_mail_is_offered_none(tmp_path: Path) -> None:
    """Said at the beginning, and whenever it changes; what is under way is answered."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        lane.spool.become(has_room=False)
        await link(sender, lane)
        assert not sender.neighbour.is_taking
        lane.spool.become()
        await until(lambda: sender.neighbour.is_taking)
        slow = Slow(lane)
        given = records(1)
        sender.hand_over(given)
        await until(lambda: len(slow))
        lane.spool.become(has_room=False)
        await until(lambda: not sender.neighbour.is_taking)
        sender.hand_over(records(2))
        assert not sender.taken[records(2)[0].id]
        slow.answer(0)
        await until(lambda: sender.fate(given) is Fate.STORED)
        await sender.neighbour.close()

    play(scene)


def test_a_lane_that_ends_answers_first(tmp_path: Path) -> None:
    """Senders hand over nothing more, and go when they have their answers: nobody is left in doubt by a restart."""

    async def scene(clock: FakeClock) -> None:
        lane, sender, idle = HomeLane(clock, tmp_path), Sender(clock), Sender(clock, "2")
        slow = Slow(lane)
        await link(sender, lane)
        await link(idle, lane)
        given = records(1)
        sender.hand_over(given)
        await until(lambda: len(slow))
        closing = asyncio.ensure_future(lane.doorway.close(30.0))
        await until(lambda: not sender.neighbour.is_taking and not idle.neighbour.is_taking)
        await settle()
        assert not closing.done()
        slow.answer(0)
        await closing
        assert sender.fate(given) is Fate.STORED
        await sender.neighbour.close()
        await idle.neighbour.close()

    play(scene)


def test_a_lane_that_cannot_wait_leaves_doubt(tmp_path: Path) -> None:
    """What is not stored within the grace is answered by nobody."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        slow = Slow(lane)
        await link(sender, lane)
        given = records(1)
        sender.hand_over(given)
        await until(lambda: len(slow))
        await lane.doorway.close(0.0)
        await until(lambda: sender.told)
        assert sender.fate(given) is Fate.UNCERTAIN
        await sender.neighbour.close()

    play(scene)


ONE = records(1)
PAYLOAD = b"".join(passing.encoded(ONE))
LATER = 1000.0 + COMMIT_WITHIN

HOSTILE: dict[str, list[tuple[msgspec.Struct | bytes, int, bytes]]] = {
    "it does not say what for": [(LaneTransactionStore(LATER, 1, VERSION), 1, PAYLOAD)],
    "for what is not done here": [(LaneSessionOpen("0", "chat"), 0, b"")],
    "says it twice": [(LaneSessionOpen("0", HAND_OVER), 0, b""), (LaneSessionOpen("0", HAND_OVER), 0, b"")],
    "no word": [(LaneSessionOpen("0", HAND_OVER), 0, b""), (b"\xff" * 20, 1, PAYLOAD)],
    "an answer": [
        (LaneSessionOpen("0", HAND_OVER), 0, b""),
        (SenderTransactionsConfirm((1,)), 0, b""),
    ],
    "no message": [
        (LaneSessionOpen("0", HAND_OVER), 0, b""),
        (LaneTransactionStore(LATER, 0, VERSION), 1, PAYLOAD),
    ],
    "more messages than it has credit for": [
        (LaneSessionOpen("0", HAND_OVER), 0, b""),
        (LaneTransactionStore(LATER, 1, VERSION), 1, PAYLOAD),
        (LaneTransactionStore(LATER, 5000, VERSION), 2, PAYLOAD),
    ],
    "a body of less than nothing": [
        (LaneSessionOpen("0", HAND_OVER), 0, b""),
        (LaneTransactionStore(LATER, 1, VERSION, -(2**40)), 1, PAYLOAD),
    ],
    "a number that was there before": [
        (LaneSessionOpen("0", HAND_OVER), 0, b""),
        (LaneTransactionStore(LATER, 1, VERSION), 7, PAYLOAD),
        (LaneTransactionStore(LATER, 1, VERSION), 7, PAYLOAD),
    ],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_sender_that_breaks_the_rules_loses_its_connection(what: str, tmp_path: Path) -> None:
    """Whatever it says next is not heard; others are served on."""

    async def scene(clock: FakeClock) -> None:
        lane, sender, stranger = HomeLane(clock, tmp_path), Sender(clock), Stranger()
        slow = Slow(lane)
        await link(sender, lane)
        await stranger.visit(lane)
        for word, number, tail in HOSTILE[what]:
            kind, head = (3, word) if isinstance(word, bytes) else LANE.encode(word)
            stranger.channel.send(kind, number, head, [tail] if tail else [])
        await until(lambda: stranger.is_over)
        assert len(slow) == (1 if len(HOSTILE[what]) == 3 else 0)
        given = records(2)
        sender.hand_over(given)
        await until(lambda: len(slow) == (2 if len(HOSTILE[what]) == 3 else 1))
        slow.answer(-1)
        await until(lambda: sender.fate(given) is Fate.STORED)
        await sender.neighbour.close()

    play(scene)


REFUSED: dict[str, tuple[LaneTransactionStore, bytes]] = {
    "no transaction": (LaneTransactionStore(LATER, 1, VERSION), b"\x01\x02"),
    "nothing": (LaneTransactionStore(LATER, 1, VERSION), b""),
    "other messages": (LaneTransactionStore(LATER, 2, VERSION), PAYLOAD),
    "another version": (LaneTransactionStore(LATER, 1, SECOND + 1), PAYLOAD),
    "no time": (LaneTransactionStore(float("nan"), 1, VERSION), PAYLOAD),
    "too far a deadline": (LaneTransactionStore(LATER + 5, 1, VERSION), PAYLOAD),
    "a deadline that is over": (LaneTransactionStore(900.0, 1, VERSION), PAYLOAD),
    "a body that is not named": (LaneTransactionStore(LATER, 1, VERSION, 5), PAYLOAD),
    "a parcel that is not there": (
        LaneTransactionStore(LATER, 1, VERSION, len(ONE[0].content)),
        b"".join(passing.encoded(ONE, body_of("0--1-1", ONE[0].content))),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_stored_is_answered_so(what: str, tmp_path: Path) -> None:
    """The sender stores it elsewhere; the connection goes on."""

    async def scene(clock: FakeClock) -> None:
        lane, stranger = HomeLane(clock, tmp_path), Stranger()
        await stranger.visit(lane)
        kind, head = LANE.encode(LaneSessionOpen("0", HAND_OVER))
        stranger.channel.send(kind, 0, head)
        word, tail = REFUSED[what]
        kind, head = LANE.encode(word)
        stranger.channel.send(kind, 1, head, [tail])
        kind, head = LANE.encode(LaneTransactionStore(LATER, 1, VERSION))
        stranger.channel.send(kind, 2, head, [PAYLOAD])
        await until(lambda: len(stranger.frames) == 3)
        words = {frame.number: LANE.decode(frame.kind, frame.head) for frame in stranger.frames[1:]}
        refused, stored = words[1], words[0]
        assert isinstance(refused, SenderTransactionSettle)
        assert refused.fate is Fate.NOT_STORED
        assert refused.reason
        assert stored == SenderTransactionsConfirm((2,))
        assert lane.delivered == ONE
        stranger.channel.abort()
        await until(lambda: stranger.is_over)

    play(scene)


CREDIT_WORD = SenderCreditGrant(10**6, 100, is_taking=True)

LIES: dict[str, tuple[msgspec.Struct, int]] = {
    "what was never sent is stored": (SenderTransactionsConfirm((9,)), 0),
    "what was never sent is not stored": (SenderTransactionSettle(Fate.NOT_STORED), 9),
    "what was sent is stored, by the wrong word": (SenderTransactionSettle(Fate.STORED), 1),
    "what was sent was not sent": (SenderTransactionSettle(Fate.UNSENT), 1),
    "a second credit": (CREDIT_WORD, 0),
    "a word of senders": (LaneSessionOpen("1", HAND_OVER), 0),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lane_that_says_what_cannot_be_is_left(what: str) -> None:
    """Nobody is told by it; of what it was sent nothing is known."""

    async def scene(clock: FakeClock) -> None:
        sender, stranger = Sender(clock), Stranger()
        await stranger.receive(sender)
        kind, head = LANE.encode(CREDIT_WORD)
        stranger.channel.send(kind, 0, head)
        await until(lambda: sender.neighbour.is_taking)
        given = records(1)
        sender.hand_over(given)
        await until(lambda: len(stranger.frames) == 2)
        word, number = LIES[what]
        kind, head = LANE.encode(word)
        stranger.channel.send(kind, number, head)
        await until(lambda: stranger.is_over)
        assert sender.fate(given) is Fate.UNCERTAIN
        await sender.neighbour.close()

    play(scene)


def test_a_second_answer_changes_nothing() -> None:
    """The first one was told, and the connection goes on."""

    async def scene(clock: FakeClock) -> None:
        sender, stranger = Sender(clock), Stranger()
        await stranger.receive(sender)
        kind, head = LANE.encode(CREDIT_WORD)
        stranger.channel.send(kind, 0, head)
        await until(lambda: sender.neighbour.is_taking)
        given = records(1)
        sender.hand_over(given)
        await until(lambda: len(stranger.frames) == 2)
        for word in (
            SenderTransactionSettle(Fate.NOT_STORED, "x"),
            SenderTransactionsConfirm((1, 1)),
            SenderTransactionSettle(Fate.UNCERTAIN, "x"),
        ):
            kind, head = LANE.encode(word)
            stranger.channel.send(kind, 1, head)
        kind, head = LANE.encode(SenderIntakeChange(is_taking=False))
        stranger.channel.send(kind, 0, head)
        await until(lambda: not sender.neighbour.is_taking)
        assert sender.fate(given) is Fate.NOT_STORED
        assert not stranger.is_over
        await sender.neighbour.close()
        await until(lambda: stranger.is_over)

    play(scene)


def test_who_is_told_and_fails_spares_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in one session is logged; the next one has its answer."""

    async def scene(clock: FakeClock) -> None:
        lane, sender = HomeLane(clock, tmp_path), Sender(clock)
        await link(sender, lane)
        sender.told = Broken(ONE[0].id)
        sender.hand_over(ONE)
        given = records(2)
        sender.hand_over(given)
        await until(lambda: sender.fate(given))
        assert sender.fate(given) is Fate.STORED
        await sender.neighbour.close()

    play(scene)
    assert "cannot be told" in caplog.text


class Broken(dict[str, Fate]):
    """It cannot be told of one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __setitem__(self, name: str, fate: Fate) -> None:
        if name == self._name:
            raise RuntimeError(name)
        super().__setitem__(name, fate)


def test_a_connection_is_made_anew_whenever_it_ends(tmp_path: Path) -> None:
    """Also if the lane is not there yet, and with a socket file that a dead one has left."""

    async def scene(clock: FakeClock) -> None:
        told: list[Fate] = []
        pauses: list[float] = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0)

        lane = HomeLane(clock, tmp_path)
        neighbour = Neighbour("0", tmp_path / "lane.sock", clock, pause)
        neighbour.start()
        await until(lambda: len(pauses) > 6)
        assert pauses[0] < pauses[-1] <= 1.0
        for life in range(3):
            await lane.doorway.open()
            await until(lambda: neighbour.is_taking)
            assert neighbour.hand_over(Transfer(passing.encoded(ONE), 1, 0, told.append))
            await until(lambda life=life: len(told) > life)  # type: ignore[misc]
            pauses.clear()
            await lane.doorway.close(5.0)
            await until(lambda: pauses)
            assert pauses[0] < 0.1
            lane = HomeLane(clock, tmp_path)
        assert told == [Fate.STORED] * 3
        await neighbour.close()

    play(scene)
